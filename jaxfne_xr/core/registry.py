"""The registry of readouts: functions that are found by name, with what they need, their unit and formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import xarray as xr

from .cards import Card, Code, Content, Table
from .errors import ArgumentError

#: What a readout may need that is no readout: handed to `compute_readout`, or set in a configuration.
GIVEN = {
    "signals": "Signals, from ds.jfne.to_signals()",
    "probe": "contacts, as in probe=jfx.linear_probe(n=16)",
    "sensors": 'EEG or MEG sensors, as in sensors=jfx.probe_at(positions, dim="channel")',
}


@dataclass(frozen=True, repr=False)
class Readout:
    """One readout: how it is called, what it needs, and what comes out.

    Attributes
    ----------
    name : str
        As in ``compute_readout(signals, [name])``.
    function : callable
        Datasets in, a Dataset with one variable out.
    needs, takes : tuple of str
        Inputs that it cannot do without, what is given and other readouts; and those, given, that it can.
    settings : mapping
        Keyword parameters and their defaults.
    units : str
        Unit of the result.
    formula : str
        What it computes, in one line.
    """

    name: str
    function: Callable[..., xr.Dataset]
    needs: tuple[str, ...]
    takes: tuple[str, ...]
    settings: Mapping[str, Any]
    units: str
    formula: str

    def __repr__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return what is printed, and what a notebook shows."""
        needs = tuple(f"{need}: {GIVEN.get(need, 'another readout')}" for need in self.needs)
        takes = tuple(f"{take}, if there is: {GIVEN[take]}" for take in self.takes)
        settings = Table(
            ("setting", "by default"), tuple((k, repr(v)) for k, v in self.settings.items())
        )
        given = "".join(f", {n}={n}" for n in given_for(self.name) if n != "signals")
        rows: list[tuple[str, Content]] = [
            ("formula", self.formula),
            ("units", self.units),
            ("needs", (*needs, *takes)),
            *([("settings", settings)] if self.settings else []),
            ("next", Code((f'signals.jfne.compute_readout("{self.name}"{given})',))),
        ]
        return Card(f"Readout {self.name}", tuple(rows))


class Readouts(Mapping[str, Readout]):
    """All known readouts by name; a table, in print and in a notebook."""

    def __init__(self, known: Mapping[str, Readout]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> Readout:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return (name, units, inputs, formula) of each; inputs that it can do without in brackets."""
        return [
            (r.name, r.units, ", ".join([*r.needs, *(f"[{t}]" for t in r.takes)]), r.formula)
            for r in self.values()
        ]

    def __repr__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return what is printed, and what a notebook shows."""
        table = Table(("name", "units", "needs", "formula"), tuple(self.rows()))
        lines = 'signals.jfne.compute_readout(["vm", "spike_rate_hz"])', 'jfx.readouts()["lfp"]'
        return Card("Readouts", (("readouts", table), ("next", Code(lines))))


#: Every readout by name, in the order in which they were registered.
KNOWN: dict[str, Readout] = {}


def readout(
    *, units: str, formula: str, settings: Sequence[str] = ()
) -> Callable[[Callable[..., xr.Dataset]], Any]:
    """Register a function as a readout under its own name.

    Parameters
    ----------
    units : str
        Unit of the result.
    formula : str
        What it computes, in one line.
    settings : sequence of str
        Parameters that are settings although they can be given by position.

    Returns
    -------
    callable
        A decorator; the function comes back unchanged.

    Raises
    ------
    ArgumentError
        If a readout of this name is known already, or it needs something that is neither given nor known.

    Examples
    --------
    >>> @readout(units="mV", formula="max over time and sites of V_m")
    ... def peak_V_m(signals):
    ...     return signals[["V_m"]].max().rename(V_m="peak_V_m")
    >>> "peak_V_m" in readouts()
    True
    """

    def register(function: Callable[..., xr.Dataset]) -> Callable[..., xr.Dataset]:
        name = function.__name__
        parameters = inspect.signature(function).parameters.values()
        named = {p.name for p in parameters if p.kind is p.KEYWORD_ONLY} | {*settings}
        inputs = [
            p for p in parameters if p.kind is p.POSITIONAL_OR_KEYWORD and p.name not in named
        ]
        needs = tuple(p.name for p in inputs if p.default is p.empty)
        takes = tuple(p.name for p in inputs if p.default is not p.empty)
        defaults = {p.name: p.default for p in parameters if p.name in named}
        unknown = [need for need in needs if need not in GIVEN and need not in KNOWN]
        unknown += [take for take in takes if take not in GIVEN]
        if name in KNOWN and KNOWN[name].function.__module__ != function.__module__:
            raise _refuse("readout", repr(name), "a name that is not taken", "another name")
        if unknown:
            raise _refuse(
                name,
                f"the inputs {unknown}",
                f"some of {[*GIVEN, *KNOWN]}; with a default, of {[*GIVEN]}",
                "name its parameters so, and settings after a *",
            )
        KNOWN[name] = Readout(name, function, needs, takes, defaults, units, formula)
        return function

    return register


def readouts() -> Readouts:
    """Return every readout that `compute_readout` knows: its unit, what it needs, and its formula.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> jfx.readouts()["spike_rate_hz"].units
    'Hz'
    """
    return Readouts(KNOWN)


def chain(names: Iterable[str]) -> set[str]:
    """Return the readouts named and all that they need."""
    found: set[str] = set()
    for name in names:
        if name in KNOWN and name not in found:
            found |= {name} | chain(KNOWN[name].needs)
    return found


def given_for(name: str) -> list[str]:
    """Return what may be given for a readout: what it, and those that it needs, are made of."""
    expected = {n for each in chain([name]) for n in (*KNOWN[each].needs, *KNOWN[each].takes)}
    return [given for given in GIVEN if given in expected]


def _refuse(where: str, found: str, expected: str, remedy: str) -> ArgumentError:
    return ArgumentError.of(where, found=found, expected=expected, remedy=remedy)
