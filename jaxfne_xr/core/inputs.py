"""Find and check the inputs in a Dataset: everything that several functions need to know is decided here."""

from __future__ import annotations

import os
from collections.abc import Hashable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from . import provenance
from .dispatch import checked
from .errors import (
    ArgumentError,
    DimensionError,
    JfneError,
    Problem,
    UnitError,
    VariableError,
    raise_problems,
)
from .lost_units import restored
from .schema import (
    CURRENTS,
    INTRACELLULAR,
    KINDS,
    LONG_NAMES,
    POTENTIALS,
    SITES,
    STRUCTURE,
    UNITS,
    VOLTAGES,
)
from .stored import as_stored
from .time_axis import TIME, sampling, time_problem
from .types import Array, ArrayLike
from .unit_checks import in_unit, kind_problems, like, unit_problem
from .units import (
    convert,
    is_quantity,
    magnitude,
    same_dimension,
    unit_of,
    units_of,
)
from .values import carries_unit, values_in

#: Remedy for a Dataset without the axial conductances of its cells.
GET_CABLE = (
    "jfx.from_jaxley and jfx.from_lfpy attach the axial conductances; "
    "for plain arrays, ds.jfne.with_morphology of a jfx.morphology"
)

# ---------------------------------------------------------------------------------------- a Dataset or a DataArray


def as_dataset(
    data: object, where: str, *, name: Hashable | None = None, as_it_is: bool = False
) -> xr.Dataset:
    """Return a Dataset as it is, and a DataArray as a Dataset of one variable; every public function begins with this.

    Parameters
    ----------
    data : xr.Dataset or xr.DataArray
        The argument. A DataArray has no provenance record: its attrs become those of the variable, so that the scope
        of any result is the weakest, whatever they claim.
    where : str
        The name of the argument.
    name : str, optional
        The name of the variable made of a DataArray. By default the DataArray's own name, else the one that its unit
        suggests, else `where` if that is the name of a variable, else ``"array"``.
    as_it_is : bool
        Do not restore the unit of a voltage that has lost it (`restored`): to describe or check a Dataset.

    Raises
    ------
    ArgumentError
        If it is neither, or a DataArray has the name of one of its coordinates.
    """
    if isinstance(data, xr.Dataset):
        return as_stored(data, compute=False) if as_it_is else restored(as_stored(data))
    if not isinstance(data, xr.DataArray):
        raise no_dataset(data, where, "a Dataset or a DataArray")
    if name is None:
        name = data.name if data.name is not None else _name_by_kind(data, where)
    if name in {*data.coords, *data.dims}:
        raise ArgumentError.of(
            where,
            found=f"a DataArray with the name of its coordinate {name!r}",
            expected="a variable with a name that none of its coordinates has",
            remedy='ds["v"], or array.rename("v")',
        )
    return as_stored(data.to_dataset(name=name), code=f"{where}.data")


def no_dataset(data: object, where: str, expected: str) -> ArgumentError:
    """Make the error of an argument of the wrong type; the remedy makes a Dataset of it."""
    found, ndim = f"a {type(data).__name__}", getattr(data, "ndim", 2)
    dims = {1: '["time"]', 3: '("trial", "unit", "time")'}.get(ndim, '("unit", "time")')
    remedy = f"jfx.traces(values, dims={dims}, dt_ms=0.1)"
    if data is None:
        found = "None"
    elif isinstance(data, xr.DataArray):
        name = f'"{data.name}"' if isinstance(data.name, str) else repr(data.name or "v")
        remedy = f"array.to_dataset(name={name})"
        if data.name is not None:
            remedy = f"ds[[{name}]], which keeps the record, or {remedy}"
    elif isinstance(data, xr.DataTree):
        nodes = [node.path.strip("/") for node in data.subtree if node.data_vars]
        remedy = f'tree["{nodes[0] if nodes else "signals"}"].to_dataset()'
    elif isinstance(data, xr.Variable):
        remedy = 'xr.Dataset({"v": variable})'
    elif isinstance(data, (str, os.PathLike)):
        path = Path(data)
        found, remedy = f"the name {path.name!r}", f'jfx.open("{path.as_posix()}")'
    return ArgumentError.of(where, found=found, expected=expected, remedy=remedy)


def _name_by_kind(array: xr.DataArray, where: str) -> str:
    """Return a name for a DataArray without one, by its dtype, unit and dims."""
    if array.dtype.kind == "b":
        return "spikes"
    unit = units_of(array) or "1"
    kind = next((name for known, name in KINDS.items() if same_dimension(unit, known)), None)
    if kind == "v":
        return next((name for dim, name in POTENTIALS.items() if dim in array.dims), kind)
    return kind or (where if where in UNITS else "array")


# ------------------------------------------------------------------------------------------------ any variable


def variable_of(ds: xr.Dataset, name: str, expected: str, remedy: str) -> xr.Variable:
    """Return the variable `name` of a Dataset.

    Raises
    ------
    VariableError
        If there is none. `expected` and `remedy` are parts of the error; if the only variable of the Dataset has the
        right kind of unit, the remedy renames it.
    """
    if name in ds.data_vars:
        return ds.variables[name]
    names = list(ds.data_vars)
    if len(names) == 1 and names[0] not in LONG_NAMES and _could_be(ds.variables[names[0]], name):
        remedy = f'ds.rename({{{names[0]!r}: "{name}"}}), if that is what it is; of a DataArray, array.rename("{name}")'
    found = f"no such variable among {list(map(str, names))}"
    raise VariableError.of(name, found=found, expected=expected, remedy=remedy)


def _could_be(variable: xr.Variable, name: str) -> bool:
    """Whether a variable of another name may be the one called `name` here, judged by its unit."""
    if name not in UNITS:
        return name == "spikes" and variable.dtype.kind == "b"
    # a dimensionless number may be anything
    return UNITS[name] != "1" and same_dimension(units_of(variable) or "1", UNITS[name])


def only_variable(ds: xr.Dataset, variable: str | None) -> str:
    """Return the name of the chosen variable, by default of the only one; raise if it has no ``time`` dim."""
    names = [str(n) for n in ds.data_vars]
    chosen = variable if variable is not None else names[0] if len(names) == 1 else None
    if chosen not in names:
        raise VariableError.of(
            "variable",
            found="none named" if chosen is None else repr(chosen),
            expected=f"one of {names}",
            remedy=f"ds[[{names[0]!r}]]" if names else "a Dataset with a variable",
        )
    if ds.variables[chosen].dtype.kind != "b":
        raise_problems(kind_problems(ds.variables[chosen], chosen))
    require_time(ds, chosen)
    return chosen


# ------------------------------------------------------------------------------------- voltage, spikes, current


def find_voltage(ds: xr.Dataset, name: Hashable | None = None) -> Hashable:
    """Return the name of the voltage: `name`, else ``v`` or ``V_m``, else the only variable in a unit of voltage.

    Raises
    ------
    VariableError
        If there is none, or the choice is ambiguous: the error lists the candidates.
    UnitError
        If the voltage has no unit, or one that is not a unit of voltage.
    """
    names = list(ds.data_vars)
    if name is None:
        name = next((known for known in VOLTAGES if known in names), None)
    elif name not in names:
        raise VariableError.of(
            "voltage",
            found=f"{name!r}, which is not among the variables {[str(n) for n in names]}",
            expected="the name of a variable",
            remedy=f'ds.jfne.to_signals(voltage="{next(iter(names), "v")}")',
        )
    if name is None:
        candidates = [n for n in names if same_dimension(units_of(ds[n]) or "1", "mV")]
        if len(candidates) == 1:
            return candidates[0]
        have = {str(n): units_of(ds[n]) for n in names}
        bare = [str(n) for n, unit in have.items() if unit is None]
        raise VariableError.of(
            "voltage",
            found=f"the candidates {[str(c) for c in candidates]}"
            if candidates
            else f"no variable in a unit of voltage among {have}",
            expected='one voltage: a variable named "v" or "V_m", or the only one in a unit of voltage',
            remedy=f'ds.jfne.to_signals(voltage="{candidates[0]}")'
            if candidates
            else f'ds["{bare[0]}"].attrs["units"] = "mV", if that is what it is in; '
            'of a DataArray, array.attrs["units"] = "mV"'
            if bare
            else "jfx.traces, jfx.from_jaxley or another reader gives voltages",
        )
    raise_problems(unit_problem(ds[name].variable, str(name), "mV"))
    return name


def voltage_of(ds: xr.Dataset) -> xr.Variable:
    """Return the voltage, bare, in mV; its values are checked to be finite real numbers."""
    name = find_voltage(ds)
    variable = ds.variables[name]
    raise_problems(kind_problems(magnitude(variable.data), str(name)))
    v = checked(variable, str(name))
    return xr.Variable(v.dims, convert(magnitude(v.data), str(units_of(variable)), "mV"))


def V_m_of(signals: xr.Dataset) -> xr.Variable:
    """Return the voltage of Signals, mV."""
    how = how_signals(signals, "V_m")
    return in_unit(variable_of(signals, "V_m", "Signals of voltages", how), "V_m", "mV")


def how_signals(signals: xr.Dataset, name: str) -> str:
    """Return the remedy for a missing voltage or missing spikes.

    Signals made from a current or from spikes alone have no voltage to derive it from.
    """
    others = [driven for driven in ("source", "spikes") if driven in signals.data_vars]
    if not others or {*VOLTAGES} & {*signals.data_vars}:
        return "ds.jfne.to_signals() first" + (
            ", with a spike_threshold" if name == "spikes" else ""
        )
    emitters = 'jfx.configuration().emitter(mode="external_voltage")'
    emitters += ', or "external_spikes"' if name == "spikes" else ""
    return f"{emitters}: there is no {name} in what was driven by {' and '.join(others)} alone"


def source_of(signals: xr.Dataset) -> tuple[str, xr.Variable]:
    """Return the name and the variable of the source in Signals, or in the result of `source`.

    It is the current if there is one, else the voltage, whose numbers are a dimensionless proxy for it.
    """
    if "source" in signals.data_vars:
        return "source", in_unit(signals.variables["source"], "source", "nA")
    if "source_proxy" in signals.data_vars:
        return "source_proxy", signals.variables["source_proxy"]
    if "V_m" not in signals.data_vars:
        raise VariableError.of(
            "source",
            found=f"neither a source nor a voltage among {list(map(str, signals.data_vars))}",
            expected="Signals",
            remedy="ds.jfne.to_signals(), with source= if there is a current",
        )
    v = in_unit(signals.variables["V_m"], "V_m", "mV")
    return "source_proxy", like(v, magnitude(v.data), "1", LONG_NAMES["source_proxy"])


def current_name(ds: xr.Dataset) -> str | None:
    """Return the name of the current, checked to be real and to convert to nA.

    None if there are only voltages and axial conductances, from which the transmembrane currents follow.
    """
    for name in CURRENTS:
        if name in ds.data_vars:
            raise_problems(unit_problem(ds.variables[name], name, "nA"))
            raise_problems(kind_problems(magnitude(ds.variables[name].data), name))
            return name
    voltages = [n for n, x in ds.data_vars.items() if same_dimension(units_of(x) or "1", "mV")]
    if voltages and "conductance" in ds.variables:
        return None
    have = [f"{n} ({units_of(x) or 'no unit'})" for n, x in ds.data_vars.items()]
    unnamed = [n for n, x in ds.data_vars.items() if _could_be(x.variable, "source")]
    rename = f'ds.rename({{{unnamed[0]!r}: "source"}}), if that is the current; ' if unnamed else ""
    raise VariableError.of(
        "source",
        found=f"no current among {have}",
        expected="transmembrane currents in nA; a voltage is not a source of a physical field",
        remedy=f"{rename}{GET_CABLE}; or ds.jfne.to_signals with your own current as source; "
        "for a proxy, ds.jfne.lfp_proxy",
    )


def proxy_lead_field(matrix: ArrayLike, name: str) -> Array:
    """Return the bare numbers of a lead field given to a proxy, `name`: in uV/nA or fT/nA if they have a unit."""
    unit = "fT/nA" if name.startswith("meg") else "uV/nA"
    if isinstance(matrix, xr.DataArray):
        given, matrix = units_of(matrix), magnitude(matrix.variable.data)
    elif is_quantity(matrix):
        given, matrix = unit_of(matrix), magnitude(matrix)
    elif carries_unit(matrix):
        return values_in(matrix, unit, name)
    else:
        return matrix if hasattr(matrix, "shape") else np.asarray(matrix, float)
    if given is None or same_dimension(given, "1"):
        return matrix if given is None else convert(matrix, given, "1")
    if not same_dimension(given, unit):
        raise UnitError.of(
            name,
            found=f"a matrix in {given!r}",
            expected=f"pure numbers, or a unit that converts to {unit}",
            remedy=f"{name}=matrix, without a unit, or in {unit}",
        )
    return convert(matrix, given, unit)


def is_transmembrane(ds: xr.Dataset, name: str) -> bool:
    """Whether the provenance says that a current is the transmembrane current of a morphology."""
    status = provenance.scope_of(ds).source_calibration_status
    return name == "i_membrane" and status == "transmembrane_current"


def structure_of(ds: xr.Dataset) -> dict[Hashable, xr.Variable]:
    """Return the variables that are kept with a voltage: axial conductances, and currents that it does not show."""
    return {
        name: ds.variables[name]
        for name in ds.data_vars
        if name == INTRACELLULAR or ds.variables[name].dims == STRUCTURE
    }


# --------------------------------------------------------------------------------------------------- dims, labels


def site_dim(dims: Iterable[Hashable]) -> str | None:
    """Return the dim of sites among `dims`, ``unit`` or ``recording``; None if there is neither."""
    dims = set(dims)
    return next((dim for dim in SITES if dim in dims), None)


def require_site_dim(
    variable: xr.Variable,
    name: str,
    *,
    site: str = "recording",
    error: type[JfneError] = DimensionError,
) -> str:
    """Return the dim of sites of a variable.

    Parameters
    ----------
    variable : xr.Variable
        A voltage, current or spikes.
    name : str
        Name of the variable.
    site : str
        The name that the remedy proposes: ``"recording"`` for compartments, ``"unit"`` for neurons.
    error : type of JfneError
        The error to raise if there is none.
    """
    dim = site_dim(variable.dims)
    if dim is not None:
        return dim
    others = [d for d in variable.dims if d != TIME]
    raise error.of(
        name,
        found=f"the dims {variable.dims}",
        expected=f"sites along one of {list(SITES)}",
        remedy=f'ds.rename({{{others[0]!r}: "{site}"}}), if that is what it is'
        if others
        else f'ds.expand_dims("{site}") for a single trace',
    )


def source_dim(variable: xr.Variable, name: str = "source") -> str:
    """Return the dim of sites of the source, or of the spikes, in Signals."""
    return require_site_dim(variable, name, site="unit", error=VariableError)


def groups_of(ds: xr.Dataset, dim: str, by: str) -> tuple[list[Any], np.ndarray]:
    """Return the sorted labels in the coordinate `by` along `dim`, and the number of each row's group."""
    if by == dim and by not in ds.coords:
        return list(range(ds.sizes[dim])), np.arange(ds.sizes[dim])
    if by not in ds.coords or ds.variables[by].dims != (dim,):
        known = [str(n) for n, c in ds.coords.items() if c.dims == (dim,)]
        raise VariableError.of(
            "by",
            found=f"{by!r}, which is not a coordinate along {dim!r}",
            expected=f"one of {known}",
            remedy=f'ds.assign_coords({by}=("{dim}", labels))',
        )
    labels, group = np.unique(np.asarray(ds.variables[by].data), return_inverse=True)
    return labels.tolist(), group.ravel()


# ---------------------------------------------------------------------------------------------------------- time


def time_problems(name: str, dims: tuple[Hashable, ...]) -> list[Problem]:
    """Return the problems of the dims of a variable that must have ``time``."""
    if TIME not in dims:
        expected = 'a dimension named "time"'
        other = [d for d in dims if d not in SITES]
        remedy = (
            f'ds.rename({other[0]}="time")' if other else "keep time, or save it with plain xarray"
        )
    elif len({*dims}) < len(dims):
        expected, remedy = (
            "each dimension once",
            "give each axis another name, in the dims of jfx.traces",
        )
    else:
        return []
    return [Problem(name, f"dimensions {list(map(str, dims))}", expected, remedy, DimensionError)]


def require_time(ds: xr.Dataset, name: Hashable) -> None:
    """Raise if a variable has no ``time`` dimension, or a dimension twice."""
    raise_problems(time_problems(str(name), ds.variables[name].dims))


def times_of(ds: xr.Dataset) -> tuple[np.ndarray, float]:
    """Return the sample times and the interval between them, ms, of at least two samples.

    Raises
    ------
    TimeAxisError
        If there is a single sample, which has no interval; otherwise as `sampling`.
    """
    time, dt_ms = sampling(ds, None)
    if dt_ms is None:
        raise time_problem(
            "one sample", "at least two, for the interval between them", "select more samples"
        )
    return time, dt_ms
