"""`validate`: every problem of a Dataset of traces or signals at once, each with its remedy."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

import xarray as xr

from . import provenance
from .arrays import is_dask, is_traced, nonfinite_problem
from .cards import Badge, Card, Content, Table
from .errors import (
    DataError,
    DimensionError,
    JfneError,
    Problem,
    VariableError,
    listing,
    raise_problems,
)
from .inputs import as_dataset, find_voltage, kind_problems, time_problems, unit_problem
from .schema import FINITE, GEOMETRY, UNITS, VOLTAGES
from .time_axis import TIME, sampling
from .units import magnitude

#: What a DataArray is taken for: one variable of any stage.
VARIABLE = "variable"


@dataclass(frozen=True)
class Report:
    """Every problem that `validate` found; true where there is none.

    Attributes
    ----------
    stage : str
        What the Dataset was taken for: ``"traces"`` or ``"signals"``; of a DataArray ``"variable"``.
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
            ("where", "found", "expected", "remedy"),
            tuple((p.where, p.found, p.expected, p.remedy) for p in self.problems),
        )
        rows: list[tuple[str, Content]] = [] if self else [("problems", table)]
        if self.unchecked:
            rows.append(("not checked", self.unchecked))
        badge = Badge(verdict, "good" if self else "bad")
        return Card(f"Checks of {self.stage}", tuple(rows), badge)

    def raise_problems(self) -> None:
        """Raise one error that lists all problems; nothing where there are none."""
        raise_problems(self.problems)


def validate(ds: xr.Dataset | xr.DataArray) -> Report:
    """Return every problem of a Dataset of traces or signals, each with its remedy.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With a voltage on ``time`` and, where there are several sites, ``unit`` or ``recording``. A DataArray is
        checked as the one variable that it is.

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
    return checks(as_dataset(ds, "ds"), values=True, one=isinstance(ds, xr.DataArray))


def checks(ds: xr.Dataset, *, values: bool, one: bool = False) -> Report:
    """Return what `validate` does; without looking at `values`, in a time that does not grow with them.

    Where there is only `one` variable, of a DataArray, no voltage is missing.
    """
    found: list[Problem] = []
    unchecked: list[str] = []
    for name, variable in ds.variables.items():
        found += _unit_problems(str(name), variable, is_index=name in ds.dims)
    stage = VARIABLE if one else stage_of(ds)
    voltages: list[Hashable] = [name for name in VOLTAGES if name in ds.data_vars]
    driven = stage == "signals" and ("source" in ds or "spikes" in ds)  # by a current, or by spikes
    made_by_hand = not one and provenance.KEY not in ds.attrs
    if not voltages and not driven and (stage == "signals" or made_by_hand):
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
            why = f"{'array' if one else 'ds'}.jfne.validate() looks"
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
                expected="bool, or numbers of spikes",
                remedy="ds.jfne.to_signals() makes them",
                error=DataError,
            )
        )
    if "V_m" in ds and set(spikes.dims) != set(ds["V_m"].dims):
        problems.append(
            Problem(
                where="spikes",
                found=f"dimensions {spikes.dims}",
                expected=f"those of V_m, {ds['V_m'].dims}",
                remedy="ds.jfne.to_signals() makes them",
                error=DimensionError,
            )
        )
    return problems
