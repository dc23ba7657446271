"""`validate`: all problems of a Dataset of traces or signals at once, each with its remedy."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import dataclass, replace

import numpy as np
import xarray as xr

from . import provenance, spikes
from .arguments import public
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
from .inputs import as_dataset, find_voltage, time_problems
from .places import every_disagreement
from .schema import FINITE, GEOMETRY, UNITS, VOLTAGES
from .time_axis import TIME, sampling
from .unit_checks import kind_problems, unit_problem
from .units import magnitude

#: The `stage` of a DataArray: one variable of any stage.
VARIABLE = "variable"
#: The `stage` of a part of a tree that holds something else, such as parameters; it is not checked.
OTHER = "other"


@dataclass(frozen=True)
class Report:
    """All problems that `validate` found; true if there are none.

    Attributes
    ----------
    stage : str
        The stage of the Dataset, such as ``"traces"`` or ``"signals"``; ``"variable"`` for a DataArray.
    problems : tuple of Problem
        Each problem with its remedy.
    unchecked : tuple of str
        What could not be checked, and why.
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
        """Return the card that a notebook shows."""
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
        """Raise one error that lists all problems; do nothing if there are none."""
        raise_problems(self.problems)


@public
def validate(ds: xr.Dataset | xr.DataArray) -> Report:
    """Check a Dataset of traces or signals, and list all problems, each with its remedy.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With a voltage along ``time`` and, if there are several sites, ``unit`` or ``recording``. A DataArray is
        checked as a single variable.

    Returns
    -------
    Report
        False if there is a problem; prints as a list, and as a table in a notebook. The values of dask data and of
        traced JAX data are not checked: the report says so.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> ds = xr.Dataset({"v": ("time", np.zeros(3), {"units": "S/m"})})
    >>> report = validate(ds)
    >>> bool(report), [p.where for p in report.problems]
    (False, ['v', 'time'])
    """
    return checks(
        as_dataset(ds, "ds", as_it_is=True), values=True, one=isinstance(ds, xr.DataArray)
    )


def parts_of(data: xr.Dataset | xr.DataTree) -> dict[str, xr.Dataset]:
    """Return the Datasets of a tree, with inherited coordinates, by their path from its root.

    A Dataset, and the root of a tree, have the path "". Nodes without variables are left out.
    """
    if isinstance(data, xr.Dataset):
        return {"": data}
    nodes = {path_in(data, node): node for node in data.subtree}
    return {
        path: node.to_dataset()
        for path, node in nodes.items()
        if node.to_dataset(inherit=False).variables
    }


def path_in(tree: xr.DataTree, node: xr.DataTree) -> str:
    """Return the path of a node from the root of `tree`, which may be a part of a larger tree."""
    return "" if node is tree else str(node.relative_to(tree))


def checks_of_parts(tree: xr.DataTree, *, values: bool = True) -> dict[str, Report]:
    """Check every node of a tree, by its path: see `checks`."""
    return {
        path_in(tree, node): checks(node.to_dataset(), values=values, part=True)
        for node in tree.subtree
    }


def unknown_tree(reports: Mapping[str, Report]) -> list[Problem]:
    """Return the problem of a tree in which all parts are something else."""
    if not all(report.stage == OTHER for report in reports.values()):
        return []
    parts = [path or "/" for path in reports]
    return [
        Problem(
            where="tree",
            found=f"nothing that this package made or knows in {parts}",
            expected="traces, signals or results in at least one part",
            remedy='tree.to_netcdf("run.nc")',
            error=VariableError,
        )
    ]


def validate_tree(tree: xr.DataTree, *, values: bool = True) -> Report:
    """Check every part of a tree that has a record of this package, or a voltage over time; there must be one.

    Without `values`, the time taken does not depend on the size of the data.
    """
    reports = checks_of_parts(tree, values=values)
    found = [
        replace(p, where=within(part, p.where))
        for part, report in reports.items()
        for p in report.problems
    ]
    found += unknown_tree(reports)
    unchecked = (
        within(part, text) for part, report in reports.items() for text in report.unchecked
    )
    return Report(stage_of_tree(tree), tuple(found), tuple(unchecked))


def within(part: str, text: str) -> str:
    """Return a text on a part of a tree; the root has the path ""."""
    return f"{part}: {text}" if part else text


def stage_of_tree(tree: xr.DataTree) -> str:
    """Return ``"bundle"`` or ``"tree"``."""
    return "bundle" if "bundle_schema" in tree.attrs else "tree"


def checks(ds: xr.Dataset, *, values: bool, one: bool = False, part: bool = False) -> Report:
    """Check as `validate` does. Without `values`, the time taken does not depend on the size of the data.

    `one` is for the single variable of a DataArray, which need not be a voltage; `part` for a part of a tree, which may
    hold anything.
    """
    if part and not is_ours(ds):
        return Report(OTHER, (), ())
    found: list[Problem] = []
    unchecked: list[str] = []
    for name, variable in ds.variables.items():
        found += _unit_problems(str(name), variable, is_index=name in ds.dims)
    stage = VARIABLE if one else stage_of(ds)
    voltages: list[Hashable] = [name for name in VOLTAGES if name in ds.data_vars]
    # Signals that were made from a current or from spikes need no voltage, nor do later results of this package
    driven = stage == "signals" and ("source" in ds or "spikes" in ds)
    made_by_hand = not one and provenance.KEY not in ds.attrs and not (part and not ds.data_vars)
    if not voltages and not driven and (stage == "signals" or made_by_hand):
        try:
            voltages = [find_voltage(ds)]
        except VariableError as error:
            found += error.problems
    for name in dict.fromkeys([*voltages, *(n for n in FINITE if n in ds.data_vars)]):
        variable = ds.variables[name]
        # `data` reads what has not been read from a file yet
        data = magnitude(variable.data if values else variable._data)
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
    if values:
        found += [p for p in every_disagreement(ds) if p not in found]
    if "spikes" in ds:
        found += _spike_problems(ds, values=values)
        if TIME in ds["spikes"].dims and not found:
            unchecked += spikes.unchecked(ds)
    found += provenance.problems(ds.attrs)
    return Report(stage, tuple(found), tuple(unchecked))


def stage_of(ds: xr.Dataset) -> str:
    """Return the stage in the record of a Dataset; without a record, signals if it has ``V_m``, else traces."""
    try:
        record = provenance.read(ds.attrs)
    except JfneError:
        record = None
    if record and "stage" in record:
        return str(record["stage"])
    return "signals" if "V_m" in ds else "traces"


def is_ours(ds: xr.Dataset) -> bool:
    """Whether a part of a tree has a record or a scope of this package, or a voltage or spikes over time."""
    if not provenance.OURS.isdisjoint(ds.attrs):
        return True
    over_time = ds[[name for name, variable in ds.data_vars.items() if TIME in variable.dims]]
    try:
        return "spikes" in over_time or bool(find_voltage(over_time))
    except VariableError:
        return False
    except JfneError:  # a voltage in a wrong unit
        return True


def _unit_problems(name: str, variable: xr.Variable, *, is_index: bool) -> list[Problem]:
    """Return the unit problems of a variable or coordinate whose name has a unit in this package."""
    if name in UNITS:
        return unit_problem(variable, name, UNITS[name])
    if name in GEOMETRY and not is_index:
        return unit_problem(variable, name, "um")
    return []


def _spike_problems(ds: xr.Dataset, *, values: bool) -> list[Problem]:
    given = ds["spikes"]
    problems = []
    data = magnitude(given.variable._data)
    if given.dtype.kind not in "bfiu":
        problems.append(
            Problem(
                where="spikes",
                found=f"values of type {given.dtype}",
                expected="bool, or numbers of spikes",
                remedy="ds.jfne.to_signals(), which makes them",
                error=DataError,
            )
        )
    elif values and not is_dask(data) and not is_traced(data):
        problems += spikes.value_problems(np.asarray(magnitude(given.variable.data)), given.dims)
    if "V_m" in ds and set(given.dims) != set(ds["V_m"].dims):
        problems.append(
            Problem(
                where="spikes",
                found=f"dimensions {given.dims}",
                expected=f"those of V_m, {ds['V_m'].dims}",
                remedy="ds.jfne.to_signals(), which makes them",
                error=DimensionError,
            )
        )
    return problems
