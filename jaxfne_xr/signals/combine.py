"""Combine several Datasets: units become those of the first, and the scope keeps the weakest claim of each kind."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    JfneError,
    Problem,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.labels import same_labels, with_labels_of
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.results import is_quantified, with_unit
from jaxfne_xr.core.schema import SITES, STRUCTURE
from jaxfne_xr.core.time_axis import TIME, in_ms, times_text
from jaxfne_xr.core.unit_checks import unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of
from jaxfne_xr.core.validation import stage_of
from jaxfne_xr.geometry.positions import prefixed


@public
def concat(
    datasets: Iterable[xr.Dataset | xr.DataArray],
    dim: str | xr.DataArray | xr.Variable | pd.Index,
) -> xr.Dataset:
    """Join Datasets along a dim: the cells of a population, trials, successive stretches of time.

    Parameters
    ----------
    datasets : iterable of xr.Dataset or xr.DataArray
        All with the same variables, in units that convert to each other, and the same labels along all other dims.
    dim : str, xr.DataArray or pandas.Index
        An existing dim or a new one, as for `xarray.concat`.

    Returns
    -------
    xr.Dataset
        The result of `xarray.concat`, with units converted to those of the first, and with the weakest claim of each
        kind as its scope. Attrs that differ are dropped.

    Raises
    ------
    ArgumentError, VariableError, UnitError, DimensionError
        If there are no Datasets, a variable is missing from one of them, a unit does not convert, labels differ, or
        axial conductances of several cells would have to be joined.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.full((2, 3), -65.0)
    >>> one = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=False)
    >>> other = jfx.traces(v, ("unit", "time"), dt_ms=0.1, quantify=False).assign(v=one.v.copy(data=v / 1e3))
    >>> other.v.attrs["units"] = "V"
    >>> concat([one, other], "trial").v.isel(unit=0, time=0).values
    array([-65., -65.])
    """
    parts = _alike(datasets)
    name = dim if isinstance(dim, str) else getattr(dim, "name", None)
    # Edges refer to compartments by their number, which is unique within one Dataset only.
    if name in SITES and any(STRUCTURE[0] in ds.dims for ds in parts):
        raise DimensionError.of(
            str(name),
            found="axial conductances, which join the compartments of each cell",
            expected="currents: axial conductances of several cells cannot be joined along a dim of sites",
            remedy="jfx.concat([ds.jfne.transmembrane_currents() for ds in cells], "
            f'"{name}"), or ds.drop_dims("{STRUCTURE[0]}") of each',
        )
    _require_same_variables(parts)
    parts = _labelled_alike(parts, but=name)
    # Along a new dim all variables are stacked; along an existing one, variables without it have to be equal.
    new = name not in parts[0].dims
    made = _combined(
        xr.concat,
        parts,
        _with_numpy_text(dim),
        data_vars="all" if new else "minimal",
        coords="different" if new else "minimal",
    )
    return _with_scope(made, parts, "concat", {"dim": str(name)})


def _with_numpy_text(dim: Any) -> Any:
    """Return a pandas Index of text as NumPy text: xarray makes it StringDType, which has no ``astype(str)``."""
    if not isinstance(getattr(dim, "dtype", None), pd.StringDtype):
        return dim
    labels = dim.to_numpy(dtype=object)
    return xr.DataArray(labels if dim.isna().any() else labels.astype(str), dims=dim.name)


@public
def merge(datasets: Iterable[xr.Dataset | xr.DataArray]) -> xr.Dataset:
    """Merge the variables of several Datasets into one Dataset.

    Parameters
    ----------
    datasets : iterable of xr.Dataset or xr.DataArray
        Variables with the same name must be equal, and shared dims must have the same labels.

    Returns
    -------
    xr.Dataset
        The result of `xarray.merge`, with units and scope as for `concat`: the scope holds for all variables together.
        If sites and contacts both have an ``x``, that of the contacts becomes ``contact_x``.

    Raises
    ------
    ArgumentError, UnitError, DimensionError
        As for `concat`.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> signals = jfx.traces(np.full((2, 3), -65.0), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    >>> list(merge([signals[["V_m"]], signals[["spikes"]]]))
    ['V_m', 'spikes']
    """
    parts = _alike(datasets)
    # Sites and contacts use the same names for their positions: those of contacts get a prefix.
    dims: dict[Hashable, set[tuple[Hashable, ...]]] = {}
    for ds in parts:
        for name, coord in ds.coords.items():
            dims.setdefault(name, set()).add(coord.dims)
    renamed = [
        ds.rename({n: prefixed(n, c.dims) for n, c in ds.coords.items() if len(dims[n]) > 1})
        for ds in parts
    ]
    made = _combined(xr.merge, _labelled_alike(renamed))
    return _with_scope(made, parts, "merge", {})


def _alike(datasets: Iterable[xr.Dataset | xr.DataArray]) -> list[xr.Dataset]:
    """Return the Datasets with each variable and coordinate in the unit that it has where it first occurs."""
    labelled = xr.Dataset, xr.DataArray
    one = isinstance(datasets, (str, bytes, *labelled)) or not np.iterable(datasets)
    parts = [datasets] if one else list(datasets)
    if one or not parts or not all(isinstance(part, labelled) for part in parts):
        raise ArgumentError.of(
            "datasets",
            found=f"{'' if one else 'a list of '}{[type(part).__name__ for part in parts]}",
            expected="a list of Datasets or DataArrays, one or more",
            remedy='jfx.concat([ds, other], "trial")',
        )
    given = [as_dataset(part, "datasets") for part in parts]
    known: dict[Hashable, xr.Variable] = {}
    problems, alike = [], []
    for ds in given:
        changed = {}
        for name, variable in ds.variables.items():
            first = known.setdefault(name, variable)
            unit, quantified = units_of(first), is_quantified(first)
            if unit is None or (units_of(variable), is_quantified(variable)) == (
                unit,
                quantified,
            ):
                continue
            problem = unit_problem(variable, str(name), unit)
            problems += problem
            if not problem:
                data = convert(magnitude(variable.data), str(units_of(variable)), unit)
                attrs = {k: v for k, v in variable.attrs.items() if k != "units"}
                bare = xr.Variable(variable.dims, data)
                changed[name] = with_unit(bare, unit, quantify=quantified, attrs=attrs)
        alike.append(ds.assign({n: v for n, v in changed.items() if n in ds.data_vars}))
        alike[-1] = alike[-1].assign_coords({n: v for n, v in changed.items() if n in ds.coords})
    raise_problems(problems)
    return alike


def _require_same_variables(parts: list[xr.Dataset]) -> None:
    """Raise if a variable is missing from a Dataset: xarray would fill it with NaN."""
    everywhere = set.intersection(*({*ds.data_vars} for ds in parts))
    for k, ds in enumerate(parts):
        if more := [str(n) for n in ds.data_vars if n not in everywhere]:
            raise VariableError.of(
                "datasets",
                found=f"the variables {more} in Dataset {k}, but not in all",
                expected="the same variables in all",
                remedy=f"ds.drop_vars({more}), or ds[{[*map(str, everywhere)]}] of each",
            )


def _labelled_alike(parts: list[xr.Dataset], but: Hashable = None) -> list[xr.Dataset]:
    """Return the Datasets with the labels of the first that has a dim, where they are the same up to rounding.

    Raises
    ------
    DimensionError
        If sizes or labels differ along a dim other than `but`.
    """
    known: dict[Hashable, xr.Dataset] = {}
    problems, alike = [], []
    for k, ds in enumerate(parts):
        shared = [d for d in ds.sizes if d in known and d != but]
        for dim in shared:
            first = known[dim]
            ds = with_labels_of(ds, first, [dim])
            problems += _label_problems(dim, first, ds, k)
        known |= {d: ds for d in ds.sizes if d not in known}
        alike.append(ds)
    raise_problems(problems)
    return alike


def _label_problems(dim: Hashable, first: xr.Dataset, ds: xr.Dataset, k: int) -> list[Problem]:
    """Return the problem of a dim along which the k-th Dataset has other labels, or another size, than `first`."""
    both = dim in first.coords and dim in ds.coords
    same_size = first.sizes[dim] == ds.sizes[dim]
    if same_size and not (both and not same_labels(dim, first[dim].variable, ds[dim].variable)):
        return []
    texts = [_labels_text(dim, x) for x in (first, ds)]
    apart = "xr.DataTree.from_dict({str(k): ds for k, ds in enumerate(datasets)}), which keeps all samples"
    positions = (
        f'ds.assign_coords({{"{dim}": datasets[0]["{dim}"]}}) of Dataset {k}, if they are the same'
    )
    return [
        Problem(
            where=str(dim),
            found=f"{texts[0]}; and in Dataset {k}, {texts[1]}",
            expected=f"the same labels along {dim!r} in all; nothing is cut, filled or interpolated",
            remedy=f"{apart}" + (f"; {positions}" if same_size and both else ""),
            error=DimensionError,
        )
    ]


def _labels_text(dim: Hashable, ds: xr.Dataset) -> str:
    """Describe the labels along a dim for an error."""
    n = ds.sizes[dim]
    if dim not in ds.coords or not n:
        return f"{n} along {dim!r}"
    variable = ds.variables[dim]
    if dim == TIME and variable.dtype.kind in "fium":
        try:
            return times_text(in_ms(np.asarray(magnitude(variable.data)), units_of(variable)))
        except JfneError:
            pass
    ends = np.asarray(magnitude(variable.data))[[0, -1]].tolist()
    return f"{n} along {dim!r}, from {ends[0]!r} to {ends[1]!r}"


def _combined(
    combine: Callable[..., xr.Dataset], parts: list[xr.Dataset], *arguments: object, **options: str
) -> xr.Dataset:
    """Return the result of xarray's `combine`; its errors are raised as DimensionError."""
    # Nothing is aligned, filled or overwritten: labels and shared variables have to be equal.
    same = {"join": "exact", "compat": "equals", "combine_attrs": "drop_conflicts"}
    try:
        with working(combine.__name__):
            return combine(parts, *arguments, **same, **options)
    except (ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise DimensionError.of(
            "datasets",
            found=f"what xarray cannot combine: {first}",
            expected="the same variables, and the same labels along every dim that they share",
            remedy="xr.DataTree.from_dict({str(k): ds for k, ds in enumerate(datasets)}), which keeps all; "
            "or leave out what differs",
        ) from error


def _with_scope(
    made: xr.Dataset, parts: list[xr.Dataset], function: str, parameters: Mapping[str, str]
) -> xr.Dataset:
    """Return a Dataset with the scope that all of its parts support."""
    first, *others = parts
    record = provenance.read(first.attrs) or {}
    return provenance.extend(
        made,  # xarray has dropped the attrs on which the parts differ, our record among them
        function,
        {"n": len(parts), **parameters},
        stage=record.get("stage", stage_of(made)),
        of=first,
        others=others,
    )
