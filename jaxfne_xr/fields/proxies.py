"""Proxy readouts of LFP, CSD, EEG and MEG, without physical amplitudes.

Each is a readout (see `readouts`), a function and a ``.jfne`` method. Their scope is proxy for any source, since no
conductor is declared. Potentials in microvolts are in the modules of the physical fields.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable

import jax
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax, is_traced
from jaxfne_xr.core.dispatch import contract, jointly, mean_over, on_arrays
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import (
    as_dataset,
    proxy_lead_field,
    source_dim,
    source_of,
    times_of,
    variable_of,
)
from jaxfne_xr.core.labels import misaligned, remedy_of_times
from jaxfne_xr.core.means import mean_of
from jaxfne_xr.core.registry import readout
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.scope import PROXY, register_solver
from jaxfne_xr.core.spikes import all_spikes_of
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, ArrayLike, Length, Probe, Sensors, Vector, Window
from jaxfne_xr.core.values import plain, positive
from jaxfne_xr.geometry.contact_layout import contacts_of
from jaxfne_xr.geometry.positions import positions_along, sensor_dim
from jaxfne_xr.geometry.sites import positions
from jaxfne_xr.kernels.fields import proxies as kernels

#: The axes in which distances are measured, for each domain of a field.
DOMAINS = {"point": "", "laminar": "z", "volume": "xyz"}
#: Whether the weights of each contact sum to 1, the default first.
PROJECTIONS = ("row_normalize", "density_preserving")


for _solver, _words in {
    "toy_lead_field_proxy": "The field is a sum with made-up weights.",
    "given_lead_field_proxy": "The field is a sum of stand-ins with weights that were given.",
    "gaussian_kernel_proxy": "The field is a sum with weights that fall off with distance as a Gaussian.",
}.items():
    register_solver(_solver, _words, PROXY)


@readout(
    units="1",
    formula="sum_n W_cn S_n, W a Gaussian of distance, rows summing to 1 unless density-preserving",
)
@public
def lfp_proxy(
    source: xr.Dataset | xr.DataArray,
    probe: Probe | None = None,
    *,
    domain: str = "volume",
    sigma: Length = 100.0,
    mode: str = "row_normalize",
) -> xr.Dataset:
    """Compute the LFP proxy: at each contact, the sources weighted by a Gaussian of their distance.

    Parameters
    ----------
    source : xr.Dataset or xr.DataArray
        Signals, or the result of `source`; sites with those of the positions ``x``, ``y``, ``z`` (um) that the domain
        needs.
    probe : xr.Dataset
        Contacts. Not needed with the domain ``"point"``, which then has one.
    domain : {"volume", "laminar", "point"}
        Whether distance counts in three dimensions, in depth (z) only, or not at all.
    sigma : float, str, pint.Quantity or JAX scalar
        Width of the Gaussian, um.
    mode : {"row_normalize", "density_preserving"}
        Whether the weights of each contact are divided by their sum. ``"row_normalize"``: an average of the sources,
        as large outside the population as inside. ``"density_preserving"`` (the default of jaxfne's projections): a
        sum, which decays with distance, and grows with the number of sites nearby.

    Returns
    -------
    xr.Dataset
        ``lfp_proxy`` (time, contact), ``W S`` with ``W_cn = G_cn / sum_m G_cm``, or ``W_cn = G_cn`` if
        density-preserving, and ``G_cn = exp(-|z_c - z_n|^2 / 2 sigma^2)``, which is 1 in the domain ``"point"``. Its
        numbers are averages or sums of the source's (nA, or mV of a voltage proxy), but it has no unit, since it is not
        a potential.

    Raises
    ------
    ArgumentError
        If the domain or mode is not known, or sigma is not a positive length.
    DimensionError, UnitError
        If positions are missing, or are not lengths.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> depth = {"z": ("unit", [0.0, 100.0])}
    >>> ds = jfx.traces(np.zeros((5, 2)) + [1.0, 3.0], ["time", "unit"], dt_ms=0.1, coords=depth)
    >>> lfp = lfp_proxy(ds.jfne.to_signals(), jfx.linear_probe(3), domain="laminar", sigma="50 um")
    >>> lfp.lfp_proxy[0].data.magnitude.round(3).tolist()
    [1.238, 2.0, 2.762]

    A millimetre away, only the density-preserving sum is zero:

    >>> far = jfx.probe_at([[0.0, 0.0, 1100.0]])
    >>> averaged, summed = (
    ...     lfp_proxy(ds.jfne.to_signals(), far, domain="laminar", mode=mode).lfp_proxy[0, 0].data.magnitude
    ...     for mode in ("row_normalize", "density_preserving")
    ... )
    >>> round(float(averaged), 3), round(float(summed), 3)
    (3.0, 0.0)
    """
    source = as_dataset(source, "source")
    name, variable = source_of(source)
    dim = source_dim(variable)
    raise_problems(
        Problem(key, repr(value), f"one of {list(known)}", remedy, ArgumentError)
        for key, value, known, remedy in (
            ("domain", domain, DOMAINS, 'domain="laminar"'),
            ("mode", mode, PROJECTIONS, 'mode="density_preserving"'),
        )
        if not isinstance(value, str) or value not in known
    )
    width = positive(sigma, "um", "sigma")
    weights, coords = _weights(
        source, dim, probe, DOMAINS[domain], width, normalise=mode == PROJECTIONS[0]
    )
    return finish(
        source,
        "lfp_proxy",
        contract(weights, variable, dim, "contact"),
        "1",
        {
            "of": name,
            "domain": domain,
            "sigma_um": "traced" if is_traced(width) else float(width),
            "mode": mode,
            "field_solver": "gaussian_kernel_proxy",
        },
        coords=coords,
    )


def _weights(
    source: xr.Dataset,
    dim: str,
    probe: xr.Dataset | None,
    axes: str,
    sigma: float | jax.Array,
    *,
    normalise: bool,
) -> tuple[Array, dict[Hashable, xr.DataArray]]:
    """Return the weights (contact, site), and the coordinates of contacts."""
    # Without distances every site has the same weight.
    if not axes:
        if probe is not None and sensor_dim(probe) != "contact":
            raise _sensor_dim_error("probe", "contact")
        count, n = 1 if probe is None else probe.sizes["contact"], source.sizes[dim]
        return np.full((count, n), 1 / n if normalise else 1.0), {} if probe is None else dict(
            probe.coords
        )
    if probe is None:
        raise VariableError.of(
            "lfp_proxy",
            found="no probe",
            expected="contacts",
            remedy="probe=jfx.linear_probe(n=16)",
        )
    contacts = positions_along(probe, "contact", axes)
    width = sigma if is_jax(sigma) else np.asarray(sigma)
    places = positions(source, dim, axes)
    weights = on_arrays(kernels.gaussian_weights, contacts, places, width, normalise=normalise)
    return weights, dict(probe.coords)


@readout(units="1/um^2", formula="-d2(lfp_proxy)/dz2 along the probe")
@public
def csd_proxy(lfp_proxy: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Compute the CSD proxy: minus the second spatial derivative of the LFP proxy along the probe.

    Parameters
    ----------
    lfp_proxy : xr.Dataset or xr.DataArray
        From `lfp_proxy`, at three contacts or more on one line, evenly spaced or not.

    Returns
    -------
    xr.Dataset
        ``csd_proxy`` (time, contact), 1/um^2, from the parabola through each contact and its neighbours on both sides,
        at the ends through the nearest three. Positive at a source. It involves no conductivity.

    Raises
    ------
    DimensionError
        If there are fewer than three contacts, they have no positions, or are not on one line.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> depth = {"z": ("unit", [0.0, 100.0])}
    >>> ds = jfx.traces(np.zeros((5, 2)) + [1.0, 3.0], ["time", "unit"], dt_ms=0.1, coords=depth)
    >>> lfp = lfp_proxy(ds.jfne.to_signals(), jfx.linear_probe(5), domain="laminar", sigma="50 um")
    >>> float(csd_proxy(lfp).csd_proxy[0, 2].data.magnitude.round(9))
    0.0
    """
    lfp_proxy = as_dataset(lfp_proxy, "lfp_proxy")
    lfp = _needed(lfp_proxy, "lfp_proxy")
    position = _position_on_line(lfp_proxy)
    matrix = on_arrays(kernels.second_derivative_matrix, position)
    made = contract(-matrix, lfp, "contact", "contact")
    return finish(lfp_proxy, "csd_proxy", made, "1/um^2", {"sign_convention": "source positive"})


@readout(units="1", formula="L S, L a lead field that is given, or a toy: cos(theta) / d^2")
@public
def eeg_proxy(
    source: xr.Dataset | xr.DataArray,
    sensors: Sensors | None = None,
    *,
    eeg_lead_field: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Compute the EEG proxy: a lead field times the source.

    Parameters
    ----------
    source : xr.Dataset or xr.DataArray
        Signals, or the result of `source`.
    sensors : xr.Dataset, optional
        Electrodes along ``channel``. Required for the toy lead field; otherwise they label the channels.
    eeg_lead_field : array (channel, site) or xr.DataArray, optional
        Any lead field, dimensionless. By default a toy, recorded as such: ``L_cn = cos(theta_cn) / d_cn^2`` over its
        maximum, with d the distance and theta the angle from z, the direction assumed for the dipole of every site; it
        needs positions.

    Returns
    -------
    xr.Dataset
        ``eeg_proxy`` (time, channel), ``L S``: no skull, no conductivity, no amplitude.

    Raises
    ------
    VariableError
        If neither a lead field nor sensors are given.
    DimensionError, UnitError
        If the lead field does not fit, or positions are missing.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.zeros((5, 2)) + [1.0, 3.0], ["time", "unit"], dt_ms=0.1)
    >>> eeg = eeg_proxy(ds.jfne.to_signals(), eeg_lead_field=[[1.0, 1.0], [1.0, -1.0]])
    >>> eeg.eeg_proxy[0].data.magnitude.tolist()
    [4.0, -2.0]
    """
    source = as_dataset(source, "source")
    return _remote("eeg_proxy", source, sensors, eeg_lead_field, kernels.toy_eeg_lead_field)


@readout(units="1", formula="L S, L a lead field that is given, or a toy: sin(theta) / d^2")
@public
def meg_proxy(
    source: xr.Dataset | xr.DataArray,
    sensors: Sensors | None = None,
    *,
    meg_lead_field: xr.DataArray | ArrayLike | None = None,
) -> xr.Dataset:
    """Compute the MEG proxy, as `eeg_proxy` with ``L_cn = sin(theta_cn) / d_cn^2`` for its toy lead field."""
    source = as_dataset(source, "source")
    return _remote("meg_proxy", source, sensors, meg_lead_field, kernels.toy_meg_lead_field)


def _remote(
    name: str,
    source: xr.Dataset,
    sensors: xr.Dataset | None,
    lead_field: ArrayLike,
    toy: Callable[..., Array],
) -> xr.Dataset:
    """Compute the product of a lead field, given or toy, and the source."""
    of, variable = source_of(source)
    dim = source_dim(variable)
    if sensors is not None and sensor_dim(sensors) != "channel":
        raise _sensor_dim_error("sensors", "channel")
    coords: dict[Hashable, xr.DataArray | xr.Variable] = (
        {} if sensors is None else dict(sensors.coords)
    )
    if lead_field is not None:
        matrix, solver = (
            _given(lead_field, dim, source, sensors, f"{name[:3]}_lead_field"),
            "given_lead_field_proxy",
        )
        if isinstance(lead_field, xr.DataArray) and "channel" in lead_field.coords:
            coords = {"channel": lead_field["channel"].variable, **coords}
    elif sensors is None:
        raise VariableError.of(
            name,
            found="neither sensors nor a lead field",
            expected="one of the two",
            remedy='sensors=jfx.probe_at(positions, dim="channel"), or '
            f"{name[:3]}_lead_field=an array of (channel, {dim})",
        )
    else:
        places = positions(source, dim, "xyz")
        matrix, solver = (
            on_arrays(toy, positions_along(sensors, "channel", "xyz"), places),
            "toy_lead_field_proxy",
        )
    made = contract(matrix, variable, dim, "channel")
    return finish(source, name, made, "1", {"of": of, "field_solver": solver}, coords=coords)


def _given(
    lead_field: ArrayLike, dim: str, source: xr.Dataset, sensors: xr.Dataset | None, name: str
) -> Array:
    """Return a given lead field as (channel, site), after a check of its shape and labels."""
    n = source.sizes[dim]
    if isinstance(lead_field, xr.DataArray):
        if set(lead_field.dims) != {"channel", dim}:
            raise _lead_field_error(f"the dims {lead_field.dims}", dim, n)
        raise_problems(misaligned(source, lead_field, "lead_field"))
        lead_field = lead_field.transpose("channel", dim)
    matrix = proxy_lead_field(lead_field, name)
    channels = None if sensors is None else sensors.sizes.get("channel")
    if np.ndim(matrix) != 2 or matrix.shape[1] != n or channels not in (None, matrix.shape[0]):
        raise _lead_field_error(f"the shape {np.shape(matrix)}", dim, n)
    return matrix


def _sensor_dim_error(name: str, dim: str) -> DimensionError:
    return DimensionError.of(
        name,
        found=f"no dim {dim!r}",
        expected=f"positions along {dim!r}",
        remedy=f'{name}=jfx.probe_at(positions, dim="{dim}")',
    )


def _lead_field_error(found: str, dim: str, n: int) -> DimensionError:
    return DimensionError.of(
        "lead_field",
        found=found,
        expected=f"(channel, {dim}), with {n} columns, and a row for each of the sensors",
        remedy=f'xr.DataArray(matrix, dims=("channel", "{dim}")), with its dims in either order',
    )


@readout(
    units="1", formula="weighted mean of rate, |source| and lfp_proxy^2, each over its own mean"
)
@public
def emm_proxy(
    signals: xr.Dataset | xr.DataArray,
    source: xr.Dataset | xr.DataArray,
    lfp_proxy: xr.Dataset | xr.DataArray,
    *,
    emm_weights: Vector = (1.0, 1.0, 1.0),
    emm_scales: Vector | None = None,
) -> xr.Dataset:
    """Compute the EMM proxy: a normalised cost of the activity in spikes, source and field.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        With ``spikes``.
    source, lfp_proxy : xr.Dataset or xr.DataArray
        The results of the functions of these names.
    emm_weights : three floats
        Vector of the terms, not negative and not all 0; only their ratios matter.
    emm_scales : three floats, optional
        The value of each term that is normalised to 1: a rate in Hz, the source's unit, and the square of that of the
        LFP proxy. By default the mean of each term over time, so that the mean cost is 1; to compare recordings, give
        scales.

    Returns
    -------
    xr.Dataset
        ``emm_proxy`` (time): ``(w1 r / r0 + w2 s / s0 + w3 f / f0) / (w1 + w2 + w3)`` with ``r = <spikes> / dt``,
        ``s = <|source|>``,
        ``f = <lfp_proxy^2>``, means over sites or contacts. It is neither an energy nor a metabolic rate.

    Raises
    ------
    ArgumentError
        If the weights are negative or all 0, or a scale is not positive.
    """
    signals = as_dataset(signals, "signals")
    source = as_dataset(source, "source")
    lfp_proxy = as_dataset(lfp_proxy, "lfp_proxy")
    weights = np.asarray(plain(emm_weights, "emm_weights"), float)
    scales = None if emm_scales is None else np.asarray(plain(emm_scales, "emm_scales"), float)
    bad = weights.shape != (3,) or (weights < 0).any() or not 0 < weights.sum() < np.inf
    if bad or (
        scales is not None
        and (scales.shape != (3,) or not ((scales > 0) & (scales < np.inf)).all())
    ):
        raise ArgumentError.of(
            "emm_weights" if bad else "emm_scales",
            found=repr(emm_weights if bad else emm_scales),
            expected="three numbers, not negative and not all 0"
            if bad
            else "three positive numbers",
            remedy="emm_weights=(1, 1, 1)" if bad else "emm_scales=(10.0, 0.1, 1.0), or None",
        )
    _, dt_ms = times_of(signals)
    for ds, name in ((source, "source"), (lfp_proxy, "lfp_proxy")):
        if remedy := remedy_of_times(signals, ds, "signals", name):
            found, expected = "other times than those of the Signals", "the same times in all three"
            raise DimensionError.of(name, found=found, expected=expected, remedy=remedy)
    spikes, (_, current) = all_spikes_of(signals), source_of(source)
    field = _needed(lfp_proxy, "lfp_proxy")
    if "contact" not in field.dims:
        raise DimensionError.of(
            "lfp_proxy",
            found=f"the dims {field.dims}",
            expected='contacts along "contact"',
            remedy="lfp_proxy=jfx.lfp_proxy(signals, jfx.linear_probe(n=16))",
        )
    rate = mean_over(spikes, [source_dim(spikes, "spikes")])
    terms = [
        xr.Variable(rate.dims, rate.data / (dt_ms * 1e-3)),
        mean_over(current, [source_dim(current)], "abs"),
        mean_over(field, ["contact"], "square"),
    ]
    dims = tuple(sorted(terms[0].dims, key=lambda d: d != TIME))
    terms = [term.transpose(*dims) for term in terms]
    (cost,) = jointly(
        kernels.activity_cost,
        *terms,
        dims=[dims],
        numbers=(tuple(weights.tolist()), None if scales is None else tuple(scales.tolist())),
        axis=dims.index(TIME),
    )
    # Spikes and source have no field solver: record that of the only field among the three inputs.
    solver = provenance.scope_of(lfp_proxy).field_solver_status
    shares = {
        "weights": weights.tolist(),
        "scales": None if scales is None else scales.tolist(),
        "field_solver": solver,
    }
    elsewhere = [ds for ds in (signals, source) if not provenance.continues(lfp_proxy, ds)]
    return finish(lfp_proxy, "emm_proxy", cost, "1", shares, others=elsewhere)


@readout(units="1", formula="mean of |lfp_proxy| over time and contacts")
@public
def lfp_abs_mean(
    lfp_proxy: xr.Dataset | xr.DataArray, *, window: Window | None = None
) -> xr.Dataset:
    """Compute the mean absolute LFP proxy over time and contacts; `window` as in `spike_rate_hz`."""
    lfp_proxy = as_dataset(lfp_proxy, "lfp_proxy")
    _needed(lfp_proxy, "lfp_proxy")
    return mean_of("lfp_abs_mean", lfp_proxy, "lfp_proxy", "abs", window)


@readout(units="1/um^2", formula="mean of |csd_proxy| over time and contacts")
@public
def csd_abs_mean(
    csd_proxy: xr.Dataset | xr.DataArray, *, window: Window | None = None
) -> xr.Dataset:
    """Compute the mean absolute CSD proxy over time and contacts, 1/um^2; `window` as in `spike_rate_hz`."""
    csd_proxy = as_dataset(csd_proxy, "csd_proxy")
    _needed(csd_proxy, "csd_proxy")
    return mean_of("csd_abs_mean", csd_proxy, "csd_proxy", "abs", window)


@readout(units="1", formula="mean of eeg_proxy^2 over time and channels")
@public
def eeg_power(eeg_proxy: xr.Dataset | xr.DataArray, *, window: Window | None = None) -> xr.Dataset:
    """Compute the mean square of the EEG proxy over time and channels; `window` as in `spike_rate_hz`."""
    eeg_proxy = as_dataset(eeg_proxy, "eeg_proxy")
    _needed(eeg_proxy, "eeg_proxy")
    return mean_of("eeg_power", eeg_proxy, "eeg_proxy", "square", window)


def _needed(ds: xr.Dataset, name: str) -> xr.Variable:
    remedy = f"jfx.{name} of the Signals first, or compute_readout, which does"
    return variable_of(ds, name, f"the result of {name}", remedy)


def _position_on_line(ds: xr.Dataset) -> Array:
    """Return the positions of contacts along their line, um."""
    n = ds.sizes.get("contact", 0)
    if n < 3:
        raise DimensionError.of(
            "contact",
            found=f"{n} contacts",
            expected="three or more contacts on one line",
            remedy="probe=jfx.linear_probe(n=16)",
        )
    return contacts_of(ds).place[:, 0]
