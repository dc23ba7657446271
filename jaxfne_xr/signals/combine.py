"""Several Datasets as one: units brought to those of the first, and the weakest claim of each kind kept."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from typing import Any

import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset, unit_problem
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.results import is_quantified, with_unit
from jaxfne_xr.core.schema import SITES, STRUCTURE
from jaxfne_xr.core.units import convert, magnitude, units_of
from jaxfne_xr.core.validation import stage_of
from jaxfne_xr.geometry.positions import prefixed


def concat(
    datasets: Iterable[xr.Dataset | xr.DataArray], dim: Hashable | xr.Variable | Any
) -> xr.Dataset:
    """Join Datasets along a dim: cells to a population, trials, stretches of time.

    Parameters
    ----------
    datasets : iterable of xr.Dataset or xr.DataArray
        With the same variables, each in any unit of the same dimension, and the same labels along all other dims.
    dim : str, xr.DataArray or pandas.Index
        A dim of theirs, or a new one; as `xarray.concat` takes it.

    Returns
    -------
    xr.Dataset
        As `xarray.concat` makes it, but for units, which become those of the first, and for the scope: the weakest
        claim of each kind. Attrs on which they differ are dropped.

    Raises
    ------
    ArgumentError, VariableError, UnitError, DimensionError
        If there are none, a variable is not in all, a unit does not convert, labels differ, or axial conductances
        of several cells would have to be joined.

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
    if name in SITES and any(STRUCTURE[0] in ds.dims for ds in parts):
        raise DimensionError.of(
            str(name),
            found="axial conductances, which join the compartments of each cell",
            expected="currents: a conductance has no place along the dim of another cell",
            remedy="jfx.concat([ds.jfne.transmembrane_currents() for ds in cells], "
            f'"{name}"), or ds.drop_dims("{STRUCTURE[0]}") of each',
        )
    _require_same_variables(parts)
    new = name not in parts[0].dims
    made = _refusing(
        xr.concat,
        parts,
        dim,
        data_vars="all" if new else "minimal",
        coords="different" if new else "minimal",
    )
    return _claimed(made, parts, "concat", {"dim": str(name)})


def merge(datasets: Iterable[xr.Dataset | xr.DataArray]) -> xr.Dataset:
    """Put the variables of Datasets side by side in one.

    Parameters
    ----------
    datasets : iterable of xr.Dataset or xr.DataArray
        With variables of different names, or equal ones, and the same labels along dims that they share.

    Returns
    -------
    xr.Dataset
        As `xarray.merge` makes it, but for units and for the scope, as for `concat`: the claims are of all variables
        together. Where sites and contacts both have an ``x``, that of contacts becomes ``contact_x``.

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
    dims: dict[Hashable, set[Any]] = {}
    for ds in parts:
        for name, coord in ds.coords.items():
            dims.setdefault(name, set()).add(coord.dims)
    made = _refusing(
        xr.merge,
        [
            ds.rename({n: prefixed(n, c.dims) for n, c in ds.coords.items() if len(dims[n]) > 1})
            for ds in parts
        ],
    )
    return _claimed(made, parts, "merge", {})


def _alike(datasets: Iterable[xr.Dataset | xr.DataArray]) -> list[xr.Dataset]:
    """Return Datasets whose variables and coordinates have the units of the first that has them."""
    labelled = xr.Dataset, xr.DataArray
    one = not isinstance(datasets, Iterable) or isinstance(datasets, (str, bytes, *labelled))
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
    """Raise where a variable is not in all: xarray would fill it up with NaN."""
    everywhere = set.intersection(*({*ds.data_vars} for ds in parts))
    for k, ds in enumerate(parts):
        if more := [str(n) for n in ds.data_vars if n not in everywhere]:
            raise VariableError.of(
                "datasets",
                found=f"the variables {more} in number {k}, and not in all",
                expected="the same variables in all",
                remedy=f"ds.drop_vars({more}), or ds[{[*map(str, everywhere)]}] of each",
            )


def _refusing(combine: Any, *arguments: Any, **options: Any) -> xr.Dataset:
    """Return what xarray combines; its own refusals as ours."""
    same = {"join": "exact", "compat": "equals", "combine_attrs": "drop_conflicts"}
    try:
        with working(combine.__name__):
            return combine(*arguments, **same, **options)
    except (ValueError, KeyError) as error:
        first = str(error).splitlines()[0]
        raise DimensionError.of(
            "datasets",
            found=f"what xarray cannot combine: {first}",
            expected="the same variables, and the same labels along every dim that they share",
            remedy='xr.align(*datasets, join="inner"), or ds.drop_vars(name) of what differs',
        ) from error


def _claimed(
    made: xr.Dataset, parts: list[xr.Dataset], function: str, parameters: dict[str, Any]
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
