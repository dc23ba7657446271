"""The configuration of a workflow: its network, what drives it, its field, and its probe.

A configuration is immutable: each method returns a new one. It is displayed as a pipeline, and survives the round trip
through JSON unchanged.
"""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection, Hashable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.cards import Badge, Card, Code
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    JfneError,
    Problem,
    SchemaError,
    raise_problems,
)
from jaxfne_xr.core.registry import readouts
from jaxfne_xr.core.types import (
    ArrayLike,
    Count,
    Groups,
    Length,
    Probe,
    ReadoutNames,
    Scalar,
    Sensors,
    Time,
    Voltage,
)
from jaxfne_xr.core.values import scalar
from jaxfne_xr.fields.proxies import DOMAINS, PROJECTIONS
from jaxfne_xr.geometry.positions import positions_along
from jaxfne_xr.signals.sources import SYNAPSES
from jaxfne_xr.signals.spikes import REFRACTORY_MS, SPIKE_RULES, refractory_ms, threshold_mV

from .options import Frozen, from_json, own, rows, to_json

#: Version and keys of what `Configuration.to_dict` writes.
SCHEMA_VERSION = 1
FORM = ("schema", "stages")
#: Kinds of activity that can drive a model.
MODES = ("external_voltage", "external_current", "external_spikes")
#: Suggested calls for stages that are missing.
EXAMPLES = {
    "network": 'network(groups={"E": 80, "I": 20})',
    "emitter": 'emitter(mode="external_voltage")',
    "field": 'field(domain="point")',
    "probe": 'probe(name="pipette", modes=["lfp_proxy", "spike_rate_hz"])',
}
#: The default projection, which is not stored: configurations made before there was a choice keep their hash.
AVERAGED = ("field", "mode", PROJECTIONS[0])
#: The stages, all of them required, in the order in which data passes through them. Maps each stored option to the
#: argument that sets it.
STAGES: dict[str, dict[str, str]] = {
    "network": {"n": "n", "labels": "groups"},
    "emitter": {
        "family": "family",
        "mode": "mode",
        "spike_threshold_mV": "spike_threshold",
        "spike_rule": "spike_rule",
        "refractory_ms": "refractory",
        "kernel": "kernel",
        "tau_ms": "tau",
        "weight_nA": "weight",
    },
    "field": {"domain": "domain", "sigma_um": "sigma", "mode": "mode"},
    "probe": {
        name: name
        for name in ("name", "contacts", "sensors", "modes", "eeg_lead_field", "meg_lead_field")
    },
}


@dataclass(frozen=True)
class Configuration:
    """Description of a pipeline: made by `configuration`, completed by its methods, run by `construct`.

    Attributes
    ----------
    stages : mapping
        Each stage that was set, with its options in plain units. Read-only: methods return a new configuration.

    Examples
    --------
    >>> cfg = configuration().network(n=1).emitter(mode="external_voltage").field(domain="point")
    >>> cfg.probe(name="soma")
    network(n=1) -> emitter(family='custom', mode='external_voltage') -> field(domain='point') -> probe(name='soma')
    >>> print(cfg)
    Configuration [needs probe]
      network  n=1
      emitter  family='custom', mode='external_voltage'
      field    domain='point'
      next     cfg = cfg.probe(name="pipette", modes=["lfp_proxy", "spike_rate_hz"])
    """

    stages: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Freeze the stages."""
        object.__setattr__(self, "stages", Frozen(self.stages))

    @public
    def network(
        self,
        *,
        n: Count | None = None,
        groups: Groups | None = None,
        **unknown: Any,
    ) -> Configuration:
        """Set the number of sites, and their groups.

        Parameters
        ----------
        n : int, optional
            Number of sites; the data must have as many.
        groups : mapping, optional
            For each label the number of its sites, group after group (``{"E": 80, "I": 20}``), or their indices
            (``{"E": [0, 2], "I": [1, 3]}``). Every site must have exactly one group. Becomes the coordinate
            ``population``.

        Returns
        -------
        Configuration

        Raises
        ------
        ArgumentError, DimensionError
            If neither is given, a site has no group or two groups, or the numbers disagree.
        """
        problems = _unknown("network", unknown, ("n", "groups"))
        if n is None and groups is None:
            problems.append(_problem("network", "neither n nor groups", "one of the two", "n=1"))
        raise_problems(problems)
        labels = None if groups is None else _labels(groups, n)
        return self._with("network", n=len(labels) if labels else int(n or 0), labels=labels)

    @public
    def emitter(
        self,
        *,
        family: str = "custom",
        mode: str = "external_voltage",
        spike_threshold: Voltage | None = 0.0,
        spike_rule: str = "crossing",
        kernel: str = "exponential",
        tau: Time = 5.0,
        weight: Scalar = 1.0,
        refractory: Time | None = None,
        **unknown: Any,
    ) -> Configuration:
        """Set what drives the model.

        Parameters
        ----------
        family : {"custom"}
            Activity that was simulated or recorded elsewhere.
        mode : {"external_voltage", "external_current", "external_spikes"}
            The input of `Model.simulate_external`: voltages (mV), currents (nA), or spikes, which are filtered with a
            synaptic kernel.
        spike_threshold, spike_rule, refractory
            For voltages, as in `to_signals`.
        kernel, tau, weight
            For spikes, as in `synaptic_source`.

        Returns
        -------
        Configuration

        Raises
        ------
        ArgumentError, UnitError
            If a name is not known, a value is of the wrong kind, or the mode does not use it. Lists what is known.
        """
        known = tuple(STAGES["emitter"].values())
        problems = _unknown("emitter", unknown, known)
        problems += _choices(("family", family, ("custom",)), ("mode", mode, MODES))
        problems += _choices(("spike_rule", spike_rule, SPIKE_RULES), ("kernel", kernel, SYNAPSES))
        # an option that the mode does not use is refused only if it was given, that is, not the default
        for_voltages = {
            "spike_threshold": _other(spike_threshold, 0.0),
            "spike_rule": _other(spike_rule, "crossing"),
            "refractory": refractory is not None,
        }
        for_spikes = {
            "kernel": _other(kernel, "exponential"),
            "tau": _other(tau, 5.0),
            "weight": _other(weight, 1.0),
        }
        unused = {
            "external_voltage": for_spikes,
            "external_current": for_voltages | for_spikes,
            "external_spikes": for_voltages,
        }
        problems += [
            _problem(
                key,
                f"a value, in mode {mode!r}",
                "none, since that mode does not use it",
                "leave it out",
            )
            for key, given in (unused.get(mode, {}) if isinstance(mode, str) else {}).items()
            if given
        ]
        raise_problems(problems)
        options: dict[str, Any] = {"family": family, "mode": mode}
        if mode == "external_voltage":
            threshold = None if spike_threshold is None else threshold_mV(spike_threshold)
            options |= {"spike_threshold_mV": threshold, "spike_rule": spike_rule}
            # none is not stored, as earlier versions had none: the same behaviour has the same hash
            if dead := refractory_ms(refractory, spike_rule):
                options["refractory_ms"] = dead
        if mode == "external_spikes":
            tau_ms = scalar(tau, "ms", "tau")
            if not 0 < tau_ms < float("inf"):
                found, expected = f"{tau_ms:g} ms", "a positive time"
                raise ArgumentError.of("tau", found=found, expected=expected, remedy='tau="5 ms"')
            weight_nA = scalar(weight, "nA", "weight")
            if not np.isfinite(weight_nA):
                found, expected, remedy = f"{weight_nA:g} nA", "a finite current", 'weight="1 nA"'
                raise ArgumentError.of("weight", found=found, expected=expected, remedy=remedy)
            options |= {"kernel": kernel, "tau_ms": tau_ms, "weight_nA": weight_nA}
        return self._with("emitter", **options)

    @public
    def field(
        self,
        *,
        domain: str = "point",
        sigma: Length | None = None,
        mode: str = PROJECTIONS[0],
        **unknown: Any,
    ) -> Configuration:
        """Set the domain of the field.

        Parameters
        ----------
        domain : {"point", "laminar", "volume"}
            Whether distance does not count, counts in depth (z) only, or in three dimensions.
        sigma : float, str or pint.Quantity, optional
            Width of the kernel, um (or ``"0.12 mm"``); required for ``"laminar"`` and ``"volume"``, not allowed for
            ``"point"``.
        mode : {"row_normalize", "density_preserving"}
            Whether the LFP proxy is an average or a sum of the sources, as in `lfp_proxy`.

        Returns
        -------
        Configuration

        Raises
        ------
        ArgumentError, UnitError
            If the domain or mode is not known, or sigma is missing or not a positive length.
        """
        problems = _unknown("field", unknown, ("domain", "sigma", "mode"))
        problems += _choices(("domain", domain, DOMAINS), ("mode", mode, PROJECTIONS))
        raise_problems(problems)
        options: dict[str, Any] = {"domain": domain}
        options |= {"mode": mode} if mode != AVERAGED[-1] else {}
        if domain == "point" and sigma is None:
            return self._with("field", **options)
        width = float("nan") if sigma is None else scalar(sigma, "um", "sigma")
        if not 0 < width < float("inf"):
            found = "none" if sigma is None else f"{width:g} um"
            expected, remedy = "a positive length", "sigma=120.0"
            raise ArgumentError.of("sigma", found=found, expected=expected, remedy=remedy)
        if domain == "point":
            found, expected = f"{width:g} um", "none for a point, which has no extent"
            raise ArgumentError.of(
                "sigma", found=found, expected=expected, remedy='domain="laminar"'
            )
        return self._with("field", **options, sigma_um=width)

    @public
    def probe(
        self,
        *,
        name: str = "probe",
        contacts: Probe | None = None,
        sensors: Sensors | None = None,
        modes: ReadoutNames = (),
        eeg_lead_field: ArrayLike | None = None,
        meg_lead_field: ArrayLike | None = None,
        **unknown: Any,
    ) -> Configuration:
        """Set the probe, the sensors and the readouts.

        Parameters
        ----------
        name : str
            Name of the probe.
        contacts, sensors : xr.Dataset, optional
            From `linear_probe`, `grid_probe` or `probe_at`: along ``contact``, and along ``channel`` for EEG and MEG.
            In the domain ``"laminar"``, contacts need the depth (z) only. Lengths are stored in um.
        modes : sequence of str
            Readouts that `Model.compute_readout` computes by default.
        eeg_lead_field, meg_lead_field : array (channel, site), optional
            See `eeg_proxy`.

        Returns
        -------
        Configuration

        Raises
        ------
        ArgumentError, DimensionError, UnitError
            If a readout is not known, or contacts have no positions.
        """
        known = ("name", "contacts", "sensors", "modes", "eeg_lead_field", "meg_lead_field")
        problems = _unknown("probe", unknown, known)
        modes = (modes,) if isinstance(modes, str) else tuple(modes)
        problems += _choices(*(("modes", mode, tuple(readouts())) for mode in modes))
        raise_problems(problems)
        for places, dim, axes in ((contacts, "contact", "z"), (sensors, "channel", "xyz")):
            if places is not None:
                positions_along(places, dim, axes)
        options: dict[str, Any] = {
            "name": name,
            "contacts": own(contacts),
            "sensors": own(sensors),
            "modes": list(modes),
            "eeg_lead_field": rows(eeg_lead_field, "eeg_lead_field"),
            "meg_lead_field": rows(meg_lead_field, "meg_lead_field"),
        }
        return self._with("probe", **options)

    def missing(self) -> list[str]:
        """Return the stages that are not set yet."""
        return [stage for stage in STAGES if stage not in self.stages]

    def to_dict(self) -> dict[str, Any]:
        """Return the configuration as JSON-safe values, which `from_dict` reads back without loss."""
        plain = {
            stage: {key: to_json(value) for key, value in options.items()}
            for stage, options in self.stages.items()
        }
        return {"schema": SCHEMA_VERSION, "stages": plain}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Configuration:
        """Read the configuration that `to_dict` wrote, with the same checks as when it was first given.

        Raises
        ------
        SchemaError
            If it has a newer schema, or is not a configuration.
        JfneError
            If a stage, an option or a value is not known. Lists all of them, and what is known.
        """
        # a bool is an int, and True would pass as version 1
        version = values.get("schema") if isinstance(values, Mapping) else None
        known = isinstance(version, int) and not isinstance(version, bool) and version >= 1
        newer = isinstance(version, int) and version > SCHEMA_VERSION
        if newer or not known or not isinstance(values.get("stages"), Mapping):
            raise SchemaError.of(
                "configuration",
                found=f"schema version {version}" if newer else f"{str(values)[:60]!r}",
                expected=f"the output of to_dict, of version {SCHEMA_VERSION} or older",
                remedy="pip install --upgrade jaxfne-xr" if newer else "cfg.to_dict()",
            )
        problems = _unknown(
            "configuration", {k: v for k, v in values.items() if k not in FORM}, FORM
        )
        made = cls()
        for stage, options in values["stages"].items():
            if stage not in STAGES:
                problems += _unknown("stages", {stage: options}, list(STAGES))
            elif not isinstance(options, Mapping):
                found, expected = repr(options), f"a mapping of {list(STAGES[stage])}"
                problems.append(_problem(stage, found, expected, "cfg.to_dict()"))
            else:
                try:
                    made = made._stored(stage, options)
                except JfneError as error:
                    named = (replace(p, where=f"{stage}: {p.where}") for p in error.problems)
                    problems += named
        raise_problems(problems)
        return made

    def _stored(self, stage: str, options: Mapping[str, Any]) -> Configuration:
        """Return a configuration with a stage that `to_dict` wrote."""
        arguments = STAGES[stage]
        other = {key: value for key, value in options.items() if key not in arguments}
        raise_problems(_unknown(stage, other, list(arguments)))
        given = {arguments[key]: from_json(key, value) for key, value in options.items()}
        if stage == "emitter" and options.get("mode", MODES[0]) == MODES[0]:
            given = {"refractory": 0.0, **given}  # what is not stored is none, not the default
        made = getattr(self, stage)(**given)
        # options that this mode or domain does not store are as wrong as unknown ones
        kept = made.stages[stage]
        unused = {k: v for k, v in options.items() if k not in kept and (stage, k, v) != AVERAGED}
        raise_problems(_unknown(stage, unused, list(kept)))
        return made

    def to_json(self) -> str:
        """Return the configuration as one line of JSON; equal configurations give the same line."""
        return json.dumps(self.to_dict(), sort_keys=True, allow_nan=False)

    def hash(self) -> str:
        """Return 16 hexadecimal digits, the same for equal configurations on any machine."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()[:16]

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Configuration):
            return NotImplemented
        return self.to_json() == other.to_json()

    def __hash__(self) -> int:
        return hash(self.to_json())

    def __repr__(self) -> str:
        return (
            " -> ".join(f"{stage}({options})" for stage, options in self.rows())
            or "configuration()"
        )

    def __str__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return the card that is printed or shown in a notebook."""
        missing = self.missing()
        badge = (
            Badge(f"needs {', '.join(missing)}", "caution")
            if missing
            else Badge("complete", "good")
        )
        step = f"cfg = cfg.{EXAMPLES[missing[0]]}" if missing else "model = jfx.construct(cfg)"
        return Card("Configuration", (*self.rows(), ("next", Code((step,)))), badge)

    def rows(self) -> tuple[tuple[str, str], ...]:
        """Return each stage that is set, with its options that differ from the default."""
        return tuple(
            (stage, ", ".join(_shown(k, v) for k, v in options.items() if _worth(k, v)))
            for stage, options in ((s, _told(self.stages[s])) for s in STAGES if s in self.stages)
        )

    def _with(self, stage: str, **options: Any) -> Configuration:
        return replace(self, stages={**self.stages, stage: options})


@public
def configuration() -> Configuration:
    """Start an empty configuration, to be completed by its methods.

    Examples
    --------
    >>> configuration().network(n=2).missing()
    ['emitter', 'field', 'probe']
    """
    return Configuration()


def _labels(groups: Mapping[str, Any], n: int | None) -> list[str]:
    """Return the label of each site."""
    if not isinstance(groups, Mapping) or not groups:
        raise _groups_error(repr(groups), n)
    kinds = {np.asarray(v).dtype.kind for v in groups.values()}
    if not kinds <= set("iu"):
        raise _groups_error(f"{groups!r}, not integers", n)
    dims = {np.ndim(v) for v in groups.values()}
    if dims not in ({0}, {1}):
        raise _groups_error(f"{groups!r}, with counts and indices mixed", n)
    if dims == {0}:
        if min(groups.values()) < 1:
            raise _groups_error(f"a group of {min(groups.values())} sites", n)
        labels = [str(label) for label, count in groups.items() for _ in range(int(count))]
        if n is not None and len(labels) != n:
            raise _groups_error(f"groups of {len(labels)} sites in total", n)
        return labels
    members = {str(label): np.asarray(indices) for label, indices in groups.items()}
    sites = np.concatenate([*members.values()])
    count = n if n is not None else int(sites.max()) + 1
    outside = (sites < 0) | (sites >= count)
    times = np.bincount(sites[~outside], minlength=count)
    for what, which in (
        ("in two groups", np.flatnonzero(times > 1)),
        ("in no group", np.flatnonzero(times == 0)),
        ("out of range", np.unique(sites[outside])),
    ):
        if which.size:
            found = f"{which.size} site(s) {what}, the first is {which[0]}"
            raise _groups_error(found, n)
    labels_of = np.empty(count, object)
    for label, indices in members.items():
        labels_of[indices] = label
    return list(labels_of)


def _groups_error(found: str, n: int | None) -> DimensionError:
    expected = "a group for every site" + ("" if n is None else f" of the {n}")
    remedy = 'groups={"E": 80, "I": 20}'
    return DimensionError.of("groups", found=found, expected=expected, remedy=remedy)


def _shown(key: str, value: Any) -> str:
    if isinstance(value, xr.Dataset):
        return f"{key}={next(iter(value.sizes.values()))}"
    if key == "labels":
        return f"groups={dict(Counter(value))}"
    if isinstance(value, tuple) and value and isinstance(value[0], tuple):
        return f"{key}=({len(value)}, {len(value[0])})"
    return f"{key}={list(value) if isinstance(value, tuple) else value!r}"


#: Options that are not shown while they have these values.
_USUAL = {
    "spike_threshold_mV": 0.0,
    "spike_rule": "crossing",
    "refractory_ms": REFRACTORY_MS,
    "modes": (),
}


def _told(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a stage with a dead time of 0, which is not stored."""
    crossings = options.get("spike_rule") == "crossing" and "refractory_ms" not in options
    return {**options, **({"refractory_ms": 0.0} if crossings else {})}


def _worth(key: str, value: object) -> bool:
    return value is not None and not (key in _USUAL and value == _USUAL[key])


def _choices(*given: tuple[str, object, Collection[str]]) -> list[Problem]:
    return [
        _problem(name, repr(value), f"one of {list(known)}", f"{name}={next(iter(known))!r}")
        for name, value, known in given
        if not isinstance(value, str) or value not in known
    ]


def _other(value: object, usual: float | str) -> bool:
    """Whether a value differs from the default, or cannot be compared, such as a quantity: then it was given."""
    return not isinstance(value, (int, float, str)) or value != usual


def _unknown(stage: str, unknown: Mapping[str, Any], known: Sequence[str]) -> list[Problem]:
    return [
        _problem(
            stage,
            f"{key}={value!r}, which is not an option",
            f"some of {list(known)}",
            "leave it out",
        )
        for key, value in unknown.items()
    ]


def _problem(where: str, found: str, expected: str, remedy: str) -> Problem:
    return Problem(where, found, expected, remedy, ArgumentError)


def stored_rows(attrs: Mapping[Hashable, Any]) -> list[tuple[str, str]]:
    """Return the stages and the hash of the configuration in the attrs of a bundle, or nothing if it cannot be read."""
    try:
        stages = Configuration.from_dict(json.loads(attrs["configuration"])).rows()
    except (JfneError, KeyError, TypeError, ValueError):
        return []
    return [*stages, ("hash", str(attrs.get("configuration_hash", "")))]
