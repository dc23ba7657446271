"""Units of the states that Jaxley records, from the source code of its mechanisms."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from jaxfne_xr.core.errors import Problem, UnitError
from jaxfne_xr.core.units import readable

#: Units of the states of Jaxley's mechanisms, from their source code; ``{}`` is the name of the instance. `w` of AdEx
#: and `u` of Izhikevich are left out, since no unit makes their equations consistent: the user has to name one. The
#: "current" of a pump is a change of concentration; that of the Nernst pump is zero, and added to the calcium current.
_STATES = {
    "HH": {"{}_m": "1", "{}_h": "1", "{}_n": "1"},
    "Na": {"{}_m": "1", "{}_h": "1"},
    "K": {"{}_n": "1"},
    "Km": {"{}_p": "1"},
    "CaL": {"{}_q": "1", "{}_r": "1"},
    "CaT": {"{}_u": "1"},
    "Fire": {"{}_spikes": "1"},
    "AdEx": {"{}_spikes": "1"},
    "CaPump": {"i_Ca": "mA/cm^2", "CaCon_i": "mM", "i_CaPump": "mM/ms"},
    "CaFaradayConcentrationChange": {"i_Ca": "mA/cm^2", "CaCon_i": "mM", "i_CaCurrent": "mM/ms"},
    "CaNernstReversal": {"i_Ca": "mA/cm^2", "eCa": "mV", "CaCon_i": "mM", "CaCon_e": "mM"},
    "IonotropicSynapse": {"{}_s": "1"},
    "TestSynapse": {"{}_c": "1"},
}


def units_of_states(
    module: Any, states: Iterable[str], given: Mapping[str, str]
) -> tuple[dict[str, str], list[Problem]]:
    """Return the unit of each state, that of the voltage first, and the problems of states without one."""
    units: dict[str, str] = {}
    problems: list[Problem] = []
    for state in sorted(states, key=lambda state: state != "v"):
        known, named = known_unit(module, state), given.get(state)
        try:
            unit = known if named is None else readable(named)
        except UnitError as error:
            problems += error.problems
            continue
        if unit is None:
            problems.append(_unit_problem(state, "a state whose unit is not known", "its unit"))
        elif known is not None and unit != known:
            problems.append(_unit_problem(state, f"the unit {unit!r}", f"{known!r}, as in Jaxley"))
        else:
            units[state] = unit
    return units, problems


def _unit_problem(state: str, found: str, expected: str) -> Problem:
    return Problem(
        where=state,
        found=found,
        expected=expected,
        remedy=f'units={{"{state}": "1"}}, if it is a gate',
        error=UnitError,
    )


def known_unit(module: Any, state: str) -> str | None:
    """Return the unit of a recorded state if Jaxley's own code determines it, else None."""
    mechanisms = [*module.channels, *module.pumps, *module.synapses]
    own = [m for m in mechanisms if type(m).__module__.startswith("jaxley.")]
    if state == "v":  # Rate makes the voltage a number without a unit
        return None if any(type(m).__name__ == "Rate" for m in own) else "mV"
    found = {
        unit
        for mechanism in own
        for name, unit in _STATES.get(type(mechanism).__name__, {}).items()
        if name.format(mechanism.name) == state
    }
    # Jaxley's base classes require these units or convert by them: channel densities and synaptic point currents.
    if any(channel.current_name == state for channel in module.channels):
        found.add("mA/cm^2")
    if any(f"i_{synapse.name}" == state for synapse in module.synapses):
        found.add("nA")
    return found.pop() if len(found) == 1 else None
