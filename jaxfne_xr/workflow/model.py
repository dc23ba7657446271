"""Construct a model from a configuration; the model labels external activity and computes readouts."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, TypeAlias

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public, require_array
from jaxfne_xr.core.cards import Card, Code
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    Problem,
    SchemaError,
    raise_problems,
    renaming,
)
from jaxfne_xr.core.inputs import require_time, site_dim
from jaxfne_xr.core.numeric import native
from jaxfne_xr.core.registry import chain, readouts
from jaxfne_xr.core.results import assemble, is_quantified, with_unit
from jaxfne_xr.core.schema import LONG_NAMES, SITES
from jaxfne_xr.core.time_axis import TIME, check_dt, coords_along, sampling
from jaxfne_xr.core.types import ArrayLike, Example, ReadoutNames, Time, TimeStep
from jaxfne_xr.core.unit_checks import kind_problems, unit_problem
from jaxfne_xr.core.units import bare, convert, magnitude, units_of
from jaxfne_xr.core.values import array_in, plain, scalar
from jaxfne_xr.fields.proxies import DOMAINS
from jaxfne_xr.geometry.positions import axes_along
from jaxfne_xr.geometry.probes import probe_at
from jaxfne_xr.signals.sources import synaptic_source
from jaxfne_xr.signals.spike_lists import is_spike_list, spikes_from_list
from jaxfne_xr.signals.spikes import to_signals
from jaxfne_xr.signals.traces import traces

from .configuration import EXAMPLES, Configuration
from .manifest import manifest
from .readouts import asked_for, compute_readout

#: The name of bare data in each mode, and its unit.
BARE = {
    "external_voltage": ("v", "mV"),
    "external_current": ("source", "nA"),
    "external_spikes": ("spikes", "1"),
}


#: A configuration, complete or not.
Settings: TypeAlias = Annotated[
    Configuration, Example("jfx.Configuration.from_dict(values), or jfx.configuration()")
]


@public
def construct(configuration: Settings) -> Model:
    """Construct the model of a complete configuration.

    Parameters
    ----------
    configuration : Configuration
        With all stages set.

    Raises
    ------
    SchemaError
        If a stage is missing, or the probe lacks contacts or positions that the domain of the field needs.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cfg = (jfx.configuration().network(n=1).emitter(family="custom", mode="external_voltage")
    ...        .field(domain="point").probe(name="jaxley_soma"))
    >>> model = construct(cfg)
    >>> v = np.where(np.arange(4000) % 1000 == 500, 20.0, -65.0)[:, None]
    >>> signals = model.simulate_external(v, dt_ms=0.025)
    >>> readouts = model.compute_readout(signals, ["vm", "spike_rate_hz", "lfp_proxy"])
    >>> round(float(readouts.spike_rate_hz.data.magnitude), 9)
    40.0
    """
    missing = configuration.missing()
    if missing:
        raise SchemaError.of(
            "configuration",
            found=f"no {', no '.join(missing)} in {configuration!r}",
            expected="network, emitter, field and probe",
            remedy="".join(f".{EXAMPLES[stage]}" for stage in missing),
        )
    raise_problems(_contact_problems(configuration))
    return Model(configuration)


def _contact_problems(configuration: Configuration) -> list[Problem]:
    """Return the problem of a probe without the positions that the domain of the field needs."""
    contacts = configuration.stages["probe"]["contacts"]
    domain = configuration.stages["field"]["domain"]
    if not DOMAINS[domain]:
        return []
    missing = "no contacts"
    if contacts is not None:
        known = axes_along(contacts, "contact")
        missing = ", ".join(f"contacts without {a}" for a in DOMAINS[domain] if a not in known)
    if not missing:
        return []
    return [
        Problem(
            where="probe",
            found=f"{missing}, in a field of the domain {domain!r}",
            expected=f"contacts with {' and '.join(DOMAINS[domain])}, um",
            remedy=".probe(contacts=jfx.linear_probe(n=16)), "
            'or .field(domain="point"), for which distance does not count',
            error=SchemaError,
        )
    ]


@dataclass(frozen=True)
class Model:
    """A constructed configuration: ``simulate_external``, then ``compute_readout``.

    Attributes
    ----------
    configuration : Configuration
        The configuration that it was made from.
    """

    configuration: Configuration

    def __repr__(self) -> str:
        return f"Model {self.configuration.hash()}: {self.configuration!r}"

    def __str__(self) -> str:
        return str(self.card())

    def _repr_html_(self) -> str:
        return self.card().html()

    def card(self) -> Card:
        """Return the card that is printed or shown in a notebook."""
        steps = (
            "signals = model.simulate_external(data, dt_ms=0.1)",
            "readouts = model.compute_readout(signals)",
            "tree = jfx.bundle(model, signals, readouts)",
        )
        rows = (("hash", self.configuration.hash()), *self.configuration.rows())
        return Card("Model", (*rows, ("next", Code(steps))))

    @public
    def simulate_external(
        self,
        source: xr.Dataset | xr.DataArray | ArrayLike | Sequence[Any],
        dt_ms: TimeStep | None = None,
        *,
        duration: Time | None = None,
    ) -> xr.Dataset:
        """Make Signals of activity that was simulated elsewhere.

        Parameters
        ----------
        source : xr.Dataset, xr.DataArray or array (time, neuron) or (time, neuron, feature)
            Voltages (mV), currents (nA) or spikes, by the mode of the emitter. Of a Dataset, the variable ``v`` or
            ``V_m``, ``source``, or ``spikes`` is used; or the only one. Spikes may also be a list of their times: what
            `spike_times` returned, or a list with the times of each neuron, ms, and `duration`. Each spike is in the
            first sample at or after its time, where `to_signals` marks a crossing; two in one sample count two.
        dt_ms : float, str or pint.Quantity, optional
            Sampling interval, ms; required if `source` has no ``time`` coordinate.
        duration : float, str or pint.Quantity, optional
            For a list of spike times: the duration of the recording, ms, from 0; by default that of the Signals that
            `spike_times` listed.

        Returns
        -------
        xr.Dataset
            ``V_m`` and ``spikes``; or ``source``; or ``spikes`` and ``source``, by mode. With the coordinate
            ``population`` if groups were set.

        Raises
        ------
        DimensionError
            If the number of sites differs from the network's.
        DataError
            If a spike time lies outside the recording.
        JfneError
            As `traces`, `to_signals` and `synaptic_source` do.
        """
        emitter = self.configuration.stages["emitter"]
        mode = emitter["mode"]
        if mode == "external_spikes" and is_spike_list(source, duration):
            sites = self.configuration.stages["network"]["n"]
            ds, dt_ms = spikes_from_list(source, sites, dt_ms, duration), None
        elif duration is not None:
            found = f"{duration!r}, and no list of spike times in the mode {mode!r}"
            expected = "none: an array has as many samples as it has"
            raise ArgumentError.of(
                "duration", found=found, expected=expected, remedy="leave it out"
            )
        else:
            ds = _labelled(source, mode, dt_ms)
        if mode == "external_voltage":
            # a configuration of an earlier version has no dead time
            dead = emitter.get("refractory_ms", 0.0)
            threshold, rule = emitter["spike_threshold_mV"], emitter["spike_rule"]
            signals = to_signals(ds, dt_ms, threshold, rule, refractory=dead)
        else:
            signals = _driven(ds, mode, dt_ms, isinstance(source, xr.DataArray))
            if mode == "external_spikes":
                names = {"kernel": "kernel", "tau": "tau_ms", "weight": "weight_nA"}
                signals = synaptic_source(signals, **{k: emitter[v] for k, v in names.items()})
        return provenance.extend(
            self._grouped(signals),
            "simulate_external",
            {"configuration": self.configuration.hash(), "mode": mode},
            stage="signals",
        )

    @public
    def compute_readout(
        self, signals: xr.Dataset, names: ReadoutNames | None = None, **settings: Any
    ) -> xr.Dataset:
        """Compute readouts of Signals, with the probe and the field of the configuration.

        Parameters
        ----------
        signals : xr.Dataset
            From `simulate_external`.
        names : str or sequence of str, optional
            Some of `readouts`; by default the modes of the probe.
        **settings
            Keyword parameters of the readouts; they override those of the configuration.

        Returns
        -------
        xr.Dataset
            As from `jaxfne_xr.compute_readout`.
        """
        probe = self.configuration.stages["probe"]
        names = asked_for(probe["modes"] if names is None else names)
        if not names:
            raise ArgumentError.of(
                "names",
                found="none, and a probe without modes",
                expected=f"some of {list(readouts())}",
                remedy='model.compute_readout(signals, ["vm"]), or .probe(modes=["vm"])',
            )
        options = {**self._settings(), **settings}
        # settings of the configuration that no readout takes are dropped; unknown ones of the user raise an error
        taken = {key for name in chain(names) for key in readouts()[name].settings}
        options = {key: v for key, v in options.items() if key in taken or key in settings}
        return compute_readout(
            signals, names, probe=self.contacts(), sensors=probe["sensors"], **options
        )

    def manifest(self, signals: xr.Dataset, readouts: xr.Dataset) -> dict[str, Any]:
        """Describe a run and its results as strict JSON values.

        Parameters
        ----------
        signals, readouts : xr.Dataset
            From `simulate_external` and `compute_readout`.

        Returns
        -------
        dict
            Configuration and hash, scope, provenance, versions, validation report. A scalar readout has its ``value``;
            an array has its dims, shape and dtype, and its minimum, mean and maximum.

        Raises
        ------
        NonFiniteError
            If a readout is not finite; the error names it.
        """
        return manifest(self.configuration, signals, readouts)

    def contacts(self) -> xr.Dataset | None:
        """Return the contacts of the probe; in the domain "point", by default one without position."""
        probe = self.configuration.stages["probe"]
        if probe["contacts"] is None and self.configuration.stages["field"]["domain"] == "point":
            return probe_at([[0.0, 0.0, 0.0]], name=[probe["name"]]).drop_vars(("x", "y", "z"))
        return probe["contacts"]

    def _settings(self) -> dict[str, Any]:
        field, probe = self.configuration.stages["field"], self.configuration.stages["probe"]
        settings = {"domain": field["domain"]}
        settings |= {"sigma": field["sigma_um"]} if "sigma_um" in field else {}
        settings |= {"mode": field["mode"]} if "mode" in field else {}
        for key in ("eeg_lead_field", "meg_lead_field"):
            if probe[key] is not None:
                settings[key] = np.asarray(probe[key])
        return settings

    def _grouped(self, signals: xr.Dataset) -> xr.Dataset:
        """Label Signals by group; raise if they have not as many sites as the network."""
        network = self.configuration.stages["network"]
        dim = site_dim(signals.dims)
        count = 1 if dim is None else signals.sizes[dim]
        if count != network["n"]:
            raise DimensionError.of(
                "network",
                found=f"{count} sites along {dim!r}"
                if dim
                else f"no dim of sites, {' or '.join(SITES)}, among {tuple(signals.dims)}",
                expected=f"the {network['n']} of network(n={network['n']})",
                remedy=f"the network of the configuration with n={count}, or select one site of each neuron first"
                if dim
                else renaming((d for d in signals.dims if d != TIME), "unit", of="source"),
            )
        if network["labels"] is None:
            return signals
        if dim is None:
            return signals.assign_coords(population=network["labels"][0])
        return signals.assign_coords(population=(dim, np.array(network["labels"])))


def _labelled(
    source: xr.Dataset | xr.DataArray | ArrayLike | Sequence[Any],
    mode: str,
    dt_ms: TimeStep | None,
) -> xr.Dataset:
    """Return the input of the model as a Dataset."""
    name, units = BARE[mode]
    if isinstance(source, xr.Dataset):
        return source
    if isinstance(source, xr.DataArray):
        return source.to_dataset(name=name)
    require_array(source, "source")  # a list of any kind is accepted until the mode is known
    source = array_in(source, units, "source")
    data = plain(source, "source") if mode == "external_spikes" else bare(source)
    data = native(data, "source")
    if np.ndim(data) not in (2, 3):
        raise DimensionError.of(
            "source",
            found=f"an array of {np.ndim(data)} axes",
            expected="(time, neuron) or (time, neuron, feature)",
            remedy="np.asarray(source)[:, None], for a single neuron"
            if np.ndim(data) == 1
            else "name the axes with jfx.traces",
        )
    dims = (TIME, "unit", "feature")[: np.ndim(data)]
    if mode == "external_spikes":
        step = None if dt_ms is None else check_dt(scalar(dt_ms, "ms", "dt_ms"))
        spikes = xr.Variable(dims, np.array(data) if isinstance(data, np.ndarray) else data)
        time, _ = sampling(xr.Dataset({name: spikes}), step)
        return assemble(
            {name: (spikes, None)},
            time,
            None,
            quantify=False,
            function="spikes",
            parameters={"dims": list(dims)},
            stage="traces",
            origin="array",
        )
    return traces(source, dims, dt_ms=dt_ms, units=units, name=name)


def _driven(
    ds: xr.Dataset, mode: str, interval: TimeStep | None, is_array: bool = False
) -> xr.Dataset:
    """Make Signals of a current or of spikes, without a voltage."""
    name, units = BARE[mode]
    variables = list(ds.data_vars)
    chosen = name if name in variables else variables[0] if len(variables) == 1 else None
    if chosen is None:
        raise DataError.of(
            name,
            found=f"the variables {list(map(str, variables))}",
            expected=f"one named {name!r}, or only one",
            remedy=renaming(variables, name, of="source"),
        )
    require_time(ds, chosen)
    variable = ds.variables[chosen]
    step = None if interval is None else check_dt(scalar(interval, "ms", "dt_ms"))
    time, dt_ms = sampling(ds, step)
    attrs = {"long_name": LONG_NAMES[name]}
    data = magnitude(variable.data)
    if mode == "external_spikes":
        problems = []
        # a comparison returns bool, but xarray keeps the unit of what was compared
        if data.dtype.kind != "b":
            problems += kind_problems(data, str(chosen))
            if units_of(variable) is not None:
                problems += unit_problem(variable, str(chosen), units)
        raise_problems(problems)
        made = checked(xr.Variable(variable.dims, data, attrs), str(chosen), counts=True)
    else:
        problems = unit_problem(variable, str(chosen), units)
        if is_array:  # the user has no Dataset
            called = f'ds["{chosen}"]'
            problems = [replace(p, remedy=p.remedy.replace(called, "source")) for p in problems]
        raise_problems(kind_problems(data, str(chosen)) + problems)
        data = convert(data, str(units_of(variable)), units)
        bare = checked(xr.Variable(variable.dims, data), str(chosen))
        made = with_unit(bare, units, quantify=is_quantified(variable, data), attrs=attrs)
    kind = "current" if mode == "external_current" else "spikes"
    driven = xr.Dataset({name: made}, coords_along(ds, variable.dims, time), ds.attrs)
    return provenance.extend(driven, mode, {"source": kind, "dt_ms": dt_ms}, stage="signals")
