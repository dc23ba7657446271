"""What the data of each stage looks like: names, dims, units; the checks that constructors and `validate` share."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from . import provenance
from ._arrays import is_dask, is_traced, nonfinite_problem
from .display import Badge, Card, Content, Table
from .errors import (
    DataError,
    DimensionError,
    JfneError,
    Problem,
    UnitError,
    VariableError,
    listing,
    raise_problems,
)
from .time_axis import TIME, sampling
from .units import factor, is_quantity, magnitude, readable, same_dimension, units_of

#: The dimensions along which sources lie: neurons, or recorded rows of neurons.
SITES = ("unit", "recording")
#: What a voltage may be called; the first found is it.
VOLTAGES = ("v", "V_m")

#: What holds no NaN and no Inf.
FINITE = (*VOLTAGES, "source")
#: What describes the cells rather than their activity, and travels with it: the dims it lies on.
STRUCTURE = ("edge",)

#: The unit of every variable that this package makes, and what plots call it.
UNITS = {
    "v": "mV",
    "V_m": "mV",
    "vm": "mV",
    "source": "nA",
    "i_membrane": "nA",
    "lead_field": "uV/nA",
    "lfp": "uV",
    "source_proxy": "1",
    "lfp_proxy": "1",
    "csd_proxy": "1/um^2",
    "eeg_proxy": "1",
    "meg_proxy": "1",
    "emm_proxy": "1",
    "csd": "uA/mm^3",
    "i_outside": "nA",
    "dipole_moment": "nA*um",
    "eeg": "uV",
    "meg": "fT",
    "firing_rate": "Hz",
    "conductance": "uS",
    "population_rate": "Hz",
}
LONG_NAMES = {
    "v": "membrane voltage",
    "V_m": "membrane voltage",
    "spikes": "spikes",
    "vm": "membrane voltage",
    "spk": "spikes",
    "source": "source current",
    "i_membrane": "transmembrane current",
    "lead_field": "lead field",
    "lfp": "extracellular potential",
    "source_proxy": "source (voltage proxy)",
    "lfp_proxy": "LFP (proxy)",
    "csd_proxy": "CSD (proxy)",
    "eeg_proxy": "EEG (proxy)",
    "meg_proxy": "MEG (proxy)",
    "emm_proxy": "activity cost (proxy)",
    "csd": "current source density",
    "i_outside": "membrane current outside the bins",
    "dipole_moment": "current dipole moment",
    "eeg": "EEG",
    "meg": "MEG",
    "firing_rate": "firing rate",
    "spike_rate_hz": "mean firing rate",
    "spike_count": "number of spikes",
    "mean_V_m": "mean membrane voltage",
    "source_abs_mean": "mean size of the source",
    "lfp_abs_mean": "mean size of the LFP (proxy)",
    "csd_abs_mean": "mean size of the CSD (proxy)",
    "eeg_power": "power of the EEG (proxy)",
    "psd": "power spectral density",
    "coherence": "magnitude-squared coherence",
    "band_power": "power in the band",
    "conductance": "axial conductance",
}
#: Coordinates that are positions or lengths, in um.
GEOMETRY = tuple(a + end for end in ("", "_start", "_end") for a in "xyz") + ("diameter",)


@dataclass(frozen=True)
class Report:
    """Every problem that `validate` found; true where there is none.

    Attributes
    ----------
    stage : str
        What the Dataset was taken for: ``"traces"`` or ``"signals"``.
    problems : tuple of Problem
        What is wrong, each with its remedy.
    unchecked : tuple of str
        What could not be looked at, and why.
    """

    stage: str
    problems: tuple[Problem, ...]
    unchecked: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return not self.problems

    def __str__(self) -> str:
        head = (
            f"{self.stage}: valid" if self else f"{self.stage}: not valid\n{listing(self.problems)}"
        )
        return "\n".join([head, *(f"not checked: {text}" for text in self.unchecked)])

    __repr__ = __str__

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return what a notebook shows."""
        n = len(self.problems)
        verdict = "valid" if self else "1 problem" if n == 1 else f"{n} problems"
        table = Table(
            ("where", "found", "wanted", "remedy"),
            tuple((p.where, p.found, p.wanted, p.remedy) for p in self.problems),
        )
        rows: list[tuple[str, Content]] = [] if self else [("problems", table)]
        if self.unchecked:
            rows.append(("not checked", self.unchecked))
        badge = Badge(verdict, "good" if self else "bad")
        return Card(f"Checks of {self.stage}", tuple(rows), badge)

    def raise_problems(self) -> None:
        """Raise one error that lists all problems; nothing where there are none."""
        raise_problems(self.problems)


def validate(ds: xr.Dataset) -> Report:
    """Return every problem of a Dataset of traces or signals, each with its remedy.

    Parameters
    ----------
    ds : xr.Dataset
        With a voltage on ``time`` and, where there are several sites, ``unit`` or ``recording``.

    Returns
    -------
    Report
        False where something is wrong; prints as a list, and as a table in a notebook. The values of dask data and
        of traced JAX data are not looked at: the report says so.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"v": ("time", np.zeros(3), {"units": "S/m"})})
    >>> report = validate(ds)
    >>> bool(report), [p.where for p in report.problems]
    (False, ['v', 'time'])
    """
    return checks(ds, values=True)


def checks(ds: xr.Dataset, *, values: bool) -> Report:
    """Return what `validate` does; without looking at `values`, in a time that does not grow with them."""
    found: list[Problem] = []
    unchecked: list[str] = []
    for name, variable in ds.variables.items():
        found += _unit_problems(str(name), variable, is_index=name in ds.dims)
    stage = stage_of(ds)
    voltages: list[Hashable] = [name for name in VOLTAGES if name in ds.data_vars]
    driven = stage == "signals" and ("source" in ds or "spikes" in ds)  # by a current, or by spikes
    if not voltages and not driven and (stage == "signals" or provenance.KEY not in ds.attrs):
        try:
            voltages = [find_voltage(ds)]
        except VariableError as error:
            found += error.problems
    for name in dict.fromkeys([*voltages, *(n for n in FINITE if n in ds.data_vars)]):
        variable = ds.variables[name]
        data = magnitude(variable.data)
        wrong_kind = kind_problems(data, str(name))
        misplaced = time_problems(str(name), variable.dims)
        found += wrong_kind + misplaced
        if misplaced:
            continue
        if is_dask(data) or is_traced(data) or not values:
            why = "ds.jfne.validate() looks"
            if is_dask(data) or is_traced(data):
                why = "dask data is checked when computed" if is_dask(data) else "traced by JAX"
            unchecked.append(f"whether {name} is finite ({why})")
        elif not wrong_kind and (problem := nonfinite_problem(data, variable.dims, str(name))):
            found.append(problem)
    if TIME in ds.dims:
        try:
            sampling(ds, None)
        except JfneError as error:
            found += [p for p in error.problems if p not in found]
    if "spikes" in ds:
        found += _spike_problems(ds)
    found += provenance.problems(ds.attrs)
    return Report(stage, tuple(found), tuple(unchecked))


def stage_of(ds: xr.Dataset) -> str:
    """Return the stage that a Dataset says it is, else the one it looks like."""
    try:
        record = provenance.read(ds.attrs)
    except JfneError:
        record = None
    if record and "stage" in record:
        return str(record["stage"])
    return "signals" if "V_m" in ds else "traces"


def find_voltage(ds: xr.Dataset, name: Hashable | None = None) -> Hashable:
    """Return the name of the voltage: `name`, else ``v`` or ``V_m``, else the only variable in a unit of voltage.

    Raises
    ------
    VariableError
        If there is none, or several could be meant: lists the candidates.
    UnitError
        If the voltage has no unit, or one that is not a voltage's.
    """
    names = list(ds.data_vars)
    if name is None:
        name = next((known for known in VOLTAGES if known in names), None)
    elif name not in names:
        raise VariableError(
            Problem(
                where="voltage",
                found=f"{name!r}, which is not among the variables {[str(n) for n in names]}",
                wanted="the name of a variable",
                remedy="ds.jfne.to_signals(voltage=...) with one of them",
                error=VariableError,
            )
        )
    if name is None:
        candidates = [n for n in names if same_dimension(units_of(ds[n]) or "1", "mV")]
        if len(candidates) == 1:
            return candidates[0]
        have = {str(n): units_of(ds[n]) for n in names}
        raise VariableError(
            Problem(
                where="voltage",
                found=f"the candidates {[str(c) for c in candidates]}"
                if candidates
                else f"no variable in a unit of voltage among {have}",
                wanted='one voltage: a variable named "v" or "V_m", or the only one in a unit of voltage',
                remedy=f'ds.jfne.to_signals(voltage="{candidates[0]}")'
                if candidates
                else 'ds.rename(your_name="v") and ds["v"].attrs["units"] = "mV"',
                error=VariableError,
            )
        )
    raise_problems(unit_problem(ds[name].variable, str(name), "mV"))
    return name


def unit_problem(variable: xr.Variable, name: str, wanted: str) -> list[Problem]:
    """Return the problem of a variable whose unit is missing or does not convert to `wanted`."""
    unit = units_of(variable)
    if unit is None:
        found, remedy = "no unit", f'{name}.attrs["units"] = "{wanted}", if that is what it is in'
        if is_dask(variable._data) and is_quantity(getattr(variable._data, "_meta", None)):
            found = "a dask array of quantities, as .chunk() makes it of quantified data"
            remedy = 'quantified.pint.dequantify(format="~P").chunk(...): units to attrs first'
    else:
        try:
            factor(unit, wanted)
            return []
        except UnitError as error:
            found, remedy = error.problems[0].found, error.problems[0].remedy
    return [
        Problem(
            where=name,
            found=found,
            wanted=f"{wanted}, or a unit that converts to it",
            remedy=remedy,
            error=UnitError,
        )
    ]


def kept_unit(name: str, unit: str) -> str:
    """Return the unit in which a variable given in `unit` is kept: its own, mV for any other voltage, else `unit`."""
    if name not in UNITS:
        return "mV" if same_dimension(unit, "mV") else readable(unit)
    raise_problems(unit_problem(xr.Variable((), 0.0, {"units": unit}), name, UNITS[name]))
    return UNITS[name]


def kind_problems(data: Any, name: str) -> list[Problem]:
    """Return the problem of data that are not real numbers."""
    if np.dtype(data.dtype).kind in "fiu" or data.dtype.name == "bfloat16":
        return []
    return [
        Problem(
            where=name,
            found=f"values of type {data.dtype}",
            wanted="real numbers (float or integer)",
            remedy="take the real part, or convert with .astype(float) where that is right",
            error=DataError,
        )
    ]


def time_problems(name: str, dims: tuple[Hashable, ...]) -> list[Problem]:
    """Return what is wrong with the dims of a variable that lies along time."""
    if TIME not in dims:
        wanted = 'a dimension named "time"'
        other = [d for d in dims if d not in SITES]
        remedy = (
            f'ds.rename({other[0]}="time")' if other else "keep time, or save it with plain xarray"
        )
    elif len({*dims}) < len(dims):
        wanted, remedy = (
            "each dimension once",
            "name the axes anew: jfx.traces(array, dims=(...), ...)",
        )
    else:
        return []
    return [Problem(name, f"dimensions {list(map(str, dims))}", wanted, remedy, DimensionError)]


def require_time(ds: xr.Dataset, name: Hashable) -> None:
    """Raise if a variable has no ``time`` dimension, or one of its dimensions twice."""
    raise_problems(time_problems(str(name), ds.variables[name].dims))


def _unit_problems(name: str, variable: xr.Variable, *, is_index: bool) -> list[Problem]:
    """Return the unit problems of any variable or coordinate whose name this package gives a meaning to."""
    if name in UNITS:
        return unit_problem(variable, name, UNITS[name])
    if name in GEOMETRY and not is_index:
        return unit_problem(variable, name, "um")
    return []


def _spike_problems(ds: xr.Dataset) -> list[Problem]:
    spikes = ds["spikes"]
    problems = []
    if spikes.dtype.kind not in "bfiu":
        problems.append(
            Problem(
                where="spikes",
                found=f"values of type {spikes.dtype}",
                wanted="bool, or numbers of spikes",
                remedy="ds.jfne.to_signals() makes them",
                error=DataError,
            )
        )
    if "V_m" in ds and set(spikes.dims) != set(ds["V_m"].dims):
        problems.append(
            Problem(
                where="spikes",
                found=f"dimensions {spikes.dims}",
                wanted=f"those of V_m, {ds['V_m'].dims}",
                remedy="ds.jfne.to_signals() makes them",
                error=DimensionError,
            )
        )
    return problems
