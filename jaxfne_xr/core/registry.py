"""The registry of readouts: functions by name, with their inputs, unit and formula."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import xarray as xr

from .arguments import public
from .cards import Card, Code, Content, Table
from .errors import ArgumentError

#: The function of a readout, which the decorator returns unchanged.
F = TypeVar("F", bound=Callable[..., xr.Dataset])

#: Inputs of readouts that are not readouts: passed to `compute_readout`, or set in a configuration.
GIVEN = {
    "signals": "Signals, from ds.jfne.to_signals()",
    "probe": "contacts, as in probe=jfx.linear_probe(n=16)",
    "sensors": 'EEG or MEG sensors, as in sensors=jfx.probe_at(positions, dim="channel")',
}


@dataclass(frozen=True, repr=False)
class Readout:
    """One readout: its function, its inputs and settings, and its result.

    Attributes
    ----------
    name : str
        As in ``compute_readout(signals, [name])``.
    function : callable
        From Datasets to a Dataset with one variable.
    needs, takes : tuple of str
        Required inputs, given ones and other readouts; and optional inputs, given ones only.
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
        """Return the card that is printed, and shown in a notebook."""
        needs = tuple(f"{need}: {GIVEN.get(need, 'another readout')}" for need in self.needs)
        takes = tuple(f"{take} (optional): {GIVEN[take]}" for take in self.takes)
        settings = Table(
            ("setting", "default"), tuple((k, repr(v)) for k, v in self.settings.items())
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
    """All known readouts by name; shown as a table when printed and in a notebook."""

    def __init__(self, known: Mapping[str, Readout]) -> None:
        self._known = dict(known)

    def __getitem__(self, name: str) -> Readout:
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._known)

    def __len__(self) -> int:
        return len(self._known)

    def rows(self) -> list[tuple[str, str, str, str]]:
        """Return (name, units, inputs, formula) of each; optional inputs in brackets."""
        return [
            (r.name, r.units, ", ".join([*r.needs, *(f"[{t}]" for t in r.takes)]), r.formula)
            for r in self.values()
        ]

    def __repr__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return the card that is printed, and shown in a notebook."""
        table = Table(("name", "units", "needs", "formula"), tuple(self.rows()))
        lines = 'signals.jfne.compute_readout(["vm", "spike_rate_hz"])', 'jfx.readouts()["lfp"]'
        return Card("Readouts", (("readouts", table), ("next", Code(lines))))


#: All readouts by name, in the order of registration.
KNOWN: dict[str, Readout] = {}


@public
def readout(*, units: str, formula: str, settings: Sequence[str] = ()) -> Callable[[F], F]:
    """Register a function as a readout under its name.

    Parameters
    ----------
    units : str
        Unit of the result.
    formula : str
        What it computes, in one line.
    settings : sequence of str
        Parameters that are settings although they can be passed by position.

    Returns
    -------
    callable
        A decorator that returns the function unchanged.

    Raises
    ------
    ArgumentError
        If a readout of this name exists already, or an input is neither given nor a readout.

    Examples
    --------
    >>> @readout(units="mV", formula="max over time and sites of V_m")
    ... def peak_V_m(signals):
    ...     return signals[["V_m"]].max().rename(V_m="peak_V_m")
    >>> "peak_V_m" in readouts()
    True
    """

    def register(function: F) -> F:
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
        # the same module may register it again, as when a notebook's cell is run twice
        if name in KNOWN and KNOWN[name].function.__module__ != function.__module__:
            raise ArgumentError.of(
                "readout",
                found=repr(name),
                expected="a name that is not taken",
                remedy="another name",
            )
        if unknown:
            raise ArgumentError.of(
                name,
                found=f"the inputs {unknown}",
                expected=f"some of {[*GIVEN, *KNOWN]}; with a default, of {[*GIVEN]}",
                remedy="rename its parameters to these, and put settings after a *",
            )
        KNOWN[name] = Readout(name, function, needs, takes, defaults, units, formula)
        return function

    return register


@public
def readouts() -> Readouts:
    """List the readouts that `compute_readout` knows, with their units, inputs and formulas.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> jfx.readouts()["spike_rate_hz"].units
    'Hz'
    """
    return Readouts(KNOWN)


def chain(names: Iterable[str]) -> set[str]:
    """Return the named readouts and all readouts that they need."""
    found: set[str] = set()
    for name in names:
        if name in KNOWN and name not in found:
            found |= {name} | chain(KNOWN[name].needs)
    return found


def given_for(name: str) -> list[str]:
    """Return the inputs that may be given for a readout and for the readouts that it needs."""
    expected = {n for each in chain([name]) for n in (*KNOWN[each].needs, *KNOWN[each].takes)}
    return [given for given in GIVEN if given in expected]
