"""Summaries of groups of sites: the activity of each group, and correlations between groups."""

from __future__ import annotations

from collections.abc import Hashable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.dispatch import checked, contract, jointly, mean_over, whole
from jaxfne_xr.core.errors import ArgumentError, DimensionError, NonFiniteError, TimeAxisError
from jaxfne_xr.core.inputs import as_dataset, source_dim, source_of
from jaxfne_xr.core.results import finish_several
from jaxfne_xr.core.spikes import all_spikes_of
from jaxfne_xr.core.time_axis import TIME, coords_along, sampling, windowed
from jaxfne_xr.core.types import Bands, Time, Window
from jaxfne_xr.core.unit_checks import in_unit
from jaxfne_xr.core.units import magnitude, units_of
from jaxfne_xr.core.values import scalar
from jaxfne_xr.kernels.analysis import spectrum as spectrum_kernels
from jaxfne_xr.kernels.analysis import summary as kernels

from .spectra import FREQUENCY, band_power, frequency_coord, psd, resolved_bands, segments

BAND_LABELS = ("band", "low", "high")
#: The names of a summary's variables and dims, which `by` cannot have.
NAMES = (
    *("firing_rate", "population_rate", "sites", "silent_sites", "mean_V_m", "synchrony"),
    *("field_power", "coherence", "pairwise_correlation", "rate_correlation"),
    *("between_correlation", "between_within_ratio"),
    *(TIME, "bin", FREQUENCY, *BAND_LABELS),
)

#: Default bin in which spikes are counted for correlations, ms. A summary needs at least two.
BIN_MS = 5.0


@public
def summary(
    signals: xr.Dataset | xr.DataArray,
    by: str | None = "population",
    window: Window | None = None,
    *,
    bin: Time = BIN_MS,
    bands: Bands | None = None,
    segment: Time | None = None,
) -> xr.Dataset:
    """Summarise the activity of each group of sites, and correlations between groups.

    Parameters
    ----------
    signals : xr.Dataset or xr.DataArray
        From `to_signals`, with spikes.
    by : str or None
        The coordinate along the sites that holds their group; None for one group of all sites.
    window : pair of float, str or pint.Quantity, optional
        Start and stop, ms; all of the data by default.
    bin : float, str or pint.Quantity
        Width of the bins, ms, in which spikes are counted for correlations.
    bands : mapping, optional
        As for `band_power`.
    segment : float, str or pint.Quantity, optional
        As for `psd`, ms.

    Returns
    -------
    xr.Dataset
        With the dims ``population`` (or the name in `by`) for a group, and ``population_other`` for the other one of
        a pair.

        Local: ``firing_rate`` (Hz, mean of the sites); ``mean_V_m`` (mV) and ``synchrony`` (chi of Golomb and Rinzel
        1993), if there is a voltage; ``field_power`` (of the group's mean source, in each ``band``, in the square of
        its unit; by default in the bands that the data are long enough for, if any); ``pairwise_correlation`` of spike
        counts (mean over the pairs of sites in the group), ``sites``, and ``silent_sites`` (left out of the
        correlation, which is not defined without spikes, or with the same number in every bin).

        Global: ``population_rate`` (Hz); ``rate_correlation`` of the groups' binned rates; ``coherence`` of the
        groups' mean sources, with ``frequency``; ``between_correlation`` (mean over the pairs of sites of two
        groups), and ``between_within_ratio``, the mean correlation over pairs in different groups divided by that over
        pairs in the same group.

        NaN if a number is not defined (no pair, no variance).

        Samples at either end that were observed at no site (NaN in every variable) are left out.

    Raises
    ------
    NonFiniteError
        If there are other NaN or Inf: the error names the longest window without. Dask data are checked when computed.
    DimensionError
        If there are no sites, a site has no group, or `by` is not a coordinate along the sites.
    TimeAxisError, ArgumentError, UnitError
        If the window, the bin, a segment or a band does not fit, or `by` is a name that the summary itself uses.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> rng = np.random.default_rng(0)
    >>> v = np.where(rng.random((4, 5000)) < 0.01, 20.0, -65.0)
    >>> ds = jfx.traces(v, ["unit", "time"], dt_ms=1.0, coords={"population": ("unit", list("EEII"))})
    >>> made = summary(ds.jfne.to_signals())
    >>> made.population.values.tolist(), made.firing_rate.dims, made.coherence.dims
    (['E', 'I'], ('population',), ('population', 'population_other', 'frequency'))
    """
    signals = as_dataset(signals, "signals")
    ds = _observed(windowed(signals, window))
    name, source = source_of(ds)
    dim = source_dim(source)
    spikes = all_spikes_of(ds)
    time, dt_ms = sampling(ds, None)
    samples = _samples(bin, dt_ms, len(time))
    interval = float(dt_ms or 0.0)
    group, labels = _groups(signals, dim, by)
    by, other = by or "group", f"{by or 'group'}_other"
    size = np.bincount(group, minlength=len(labels))
    # Weights (group, site): a product with them averages over the sites of each group.
    members = (np.arange(len(labels))[:, None] == group) / size[:, None]

    made: dict[str, tuple[xr.Variable, str]] = {}
    per_second = 1 / (interval * 1e-3)
    rate = mean_over(spikes, [TIME])
    made["firing_rate"] = _times(contract(members, rate, dim, by), per_second), "Hz"
    made["population_rate"] = _times(mean_over(rate, [dim]), per_second), "Hz"
    made["sites"] = xr.Variable(by, size), "1"

    # The mean source of a group stands for its field.
    field = contract(members, source, dim, by)
    if "V_m" in ds.data_vars:
        v = in_unit(ds.variables["V_m"], "V_m", "mV")
        # A source proxy has the values of V_m: its mean is already there.
        of_group = field if name == "source_proxy" else contract(members, v, dim, by)
        made["mean_V_m"] = mean_over(of_group, [TIME]), "mV"
        made["synchrony"] = _synchrony(v, of_group, members, dim, by), "1"

    attrs = {"units": str(units_of(source))}
    fields = xr.Dataset(
        {name: xr.Variable(field.dims, field.data, attrs)}, coords_along(ds, [TIME], time), ds.attrs
    )
    spectrum = psd(fields, segment=segment)
    labels_of_bands: dict[Hashable, xr.Variable] = {}
    if bands is not None or resolved_bands(spectrum[FREQUENCY].values):
        power = band_power(spectrum, bands)
        in_bands = power.variables["band_power"].transpose(..., "band")
        made["field_power"] = in_bands, str(units_of(power["band_power"]))
        labels_of_bands = {c: power.variables[c] for c in BAND_LABELS}
    interval_ms, options = segments(fields, segment, 0.5, "hann", "constant", several=True)
    rest = [d for d in field.dims if d not in (TIME, by)]
    (coherent,) = jointly(
        spectrum_kernels.coherence_matrix,
        field,
        dims=[(*rest, by, other, "frequency")],
        axis=field.get_axis_num(TIME),
        group_axis=field.get_axis_num(by),
        **options,
    )
    made["coherence"] = coherent, "1"

    counts = whole(kernels.spike_counts, spikes, TIME, new_dim="bin", samples=samples)
    made |= _correlations(counts, contract(members, counts, dim, by), group, dim, by, other)

    coords: dict[Hashable, Any] = {
        by: (by, labels),
        other: (other, labels),
        **labels_of_bands,
        **frequency_coord(options["nperseg"], interval_ms),
    }
    return finish_several(
        signals,
        "summary",
        made,
        {
            "by": by,
            "start_ms": float(time[0]),
            "stop_ms": float(time[-1]) + interval,
            "bin_ms": samples * interval,
            "segment_ms": options["nperseg"] * interval,
        },
        coords=coords,
        along=rest,
    )


def _observed(ds: xr.Dataset) -> xr.Dataset:
    """Return the samples from the first to the last that were observed at any site; raise if there are gaps in them."""
    names = [n for n in ("V_m", "source", "source_proxy", "spikes") if n in ds.data_vars]
    floats = [n for n in names if ds[n].dtype.kind == "f" and TIME in ds[n].dims]
    data = {n: xr.Variable(ds[n].dims, magnitude(ds.variables[n].data)) for n in floats}
    if any(is_traced(v.data) for v in data.values()):
        return ds
    if any(is_dask(v.data) for v in data.values()):
        return ds.assign({n: checked(ds.variables[n], n) for n in floats})
    finite = {n: np.isfinite(np.asarray(v.transpose(TIME, ...).data)) for n, v in data.items()}
    rows = {n: x.reshape(len(x), -1) for n, x in finite.items()}
    if all(x.all() for x in rows.values()):
        return ds
    # spikes as true and false do not say what was observed
    anywhere = np.any([x.any(axis=1) for x in rows.values()], axis=0)
    kept = np.flatnonzero(anywhere) if len(rows) == len(names) else np.arange(len(anywhere))
    cut = slice(int(kept[0]), int(kept[-1]) + 1) if kept.size else slice(0)
    gaps = [(n, x[cut]) for n, x in rows.items() if not x[cut].all()]
    if kept.size and not gaps:
        return ds.isel({TIME: cut})
    name, missing = gaps[0] if gaps else next(iter(rows.items()))
    everywhere = np.all([x.all(axis=1) for x in rows.values()], axis=0)
    raise NonFiniteError.of(
        name,
        found=f"{int((~missing).sum())} of {missing.size} values not finite, in gaps or at some sites only",
        expected="finite values at every site in the whole window",
        remedy=_longest(everywhere, ds)
        or "the sites or trials that were observed together: signals.isel(...)",
    )


def _longest(good: np.ndarray, ds: xr.Dataset) -> str:
    """Return the longest window of good samples as an argument; empty if there is none."""
    edges = np.flatnonzero(np.diff(np.concatenate([[False], good, [False]])))
    if not edges.size:
        return ""
    starts, stops = edges[::2], edges[1::2]
    k = int(np.argmax(stops - starts))
    time, dt_ms = sampling(ds, None)
    return f"window=({time[starts[k]]:.9g}, {time[stops[k] - 1] + (dt_ms or 0.0):.9g})"


def _times(variable: xr.Variable, number: float) -> xr.Variable:
    return xr.Variable(variable.dims, variable.data * number)


def _synchrony(
    v: xr.Variable, of_group: xr.Variable, members: np.ndarray, dim: str, by: str
) -> xr.Variable:
    """Return chi of each group, from variances in time of the group's mean and of its sites."""
    mean_of = contract(members, _variance(v), dim, by)
    of_mean = _variance(of_group).transpose(*mean_of.dims)
    (chi,) = jointly(kernels.chi, of_mean, mean_of, dims=[mean_of.dims])
    return chi


def _variance(x: xr.Variable) -> xr.Variable:
    """Return the variance in time; exactly 0 for a constant."""
    # Relative to the first sample: the mean of equal numbers is not exactly that number.
    bare = xr.Variable(x.dims, magnitude(x.data))
    first = bare.isel({TIME: 0})
    return mean_over(bare, [TIME], "square", about=first + mean_over(bare, [TIME], about=first))


def _correlations(
    counts: xr.Variable, of_group: xr.Variable, group: np.ndarray, dim: str, by: str, other: str
) -> dict[str, tuple[xr.Variable, str]]:
    """Return correlations of spike counts between sites, and of rates between groups."""
    rest = [d for d in counts.dims if d not in ("bin", dim)]
    pair = (*rest, by, other)
    n = int(group.max()) + 1
    mean, pairs, silent = jointly(
        kernels.pairwise_correlation,
        counts,
        dims=[pair, pair, (*rest, by)],
        numbers=(group,),
        n_groups=n,
        axis=counts.get_axis_num("bin"),
        site_axis=counts.get_axis_num(dim),
    )
    (ratio,) = jointly(kernels.between_within_ratio, mean, pairs, dims=[tuple(rest)])
    (rates,) = jointly(
        kernels.correlation_matrix,
        of_group,
        dims=[pair],
        axis=of_group.get_axis_num("bin"),
        site_axis=of_group.get_axis_num(by),
    )
    (within,) = jointly(_diagonal, mean, dims=[(*rest, by)])
    return {
        "pairwise_correlation": (within, "1"),
        "silent_sites": (xr.Variable(silent.dims, silent.data.astype(int)), "1"),
        "rate_correlation": (rates, "1"),
        "between_correlation": (mean, "1"),
        "between_within_ratio": (ratio, "1"),
    }


def _diagonal(matrix: jax.Array) -> jax.Array:
    return jnp.diagonal(matrix, axis1=-2, axis2=-1)


def _samples(bin: Time, dt_ms: float | None, n: int) -> int:
    """Return how many samples a bin holds."""
    duration = scalar(bin, "ms", "bin")
    samples = round(duration / dt_ms) if dt_ms and np.isfinite(duration) else 0
    if not 1 <= samples <= n // 2:
        step = dt_ms or 0.0
        fits = f"bin={max(step, min(BIN_MS, n // 2 * step)):.9g}, or any from {step:g} to {n // 2 * step:g} ms"
        raise TimeAxisError.of(
            "bin",
            found=f"{duration:g} ms, {samples} samples of {n}",
            expected="at least one sample, and at least two bins",
            remedy=fits if n > 1 else "more samples, or a longer window",
        )
    return samples


def _groups(ds: xr.Dataset, dim: str, by: str | None) -> tuple[np.ndarray, np.ndarray]:
    """Return the number of each site's group, and the labels of groups in the order of their first site."""
    if ds.sizes[dim] == 0:
        expected, remedy = f"at least one {dim}", "check the selection of sites"
        raise DimensionError.of(dim, found="no sites", expected=expected, remedy=remedy)
    if by is None:
        return np.zeros(ds.sizes[dim], int), np.array(["all"])
    along = [str(c) for c, x in ds.coords.items() if x.dims == (dim,)]
    taken = [*NAMES, *(str(d) for d in ds.dims if d != dim)]
    if by in taken or f"{by}_other" in taken:
        raise ArgumentError.of(
            "by",
            found=f"{by!r}, a name that the summary itself uses",
            expected=f"a name other than {taken}",
            remedy=f'signals.rename({by}="group"), and by="group"',
        )
    if by not in along:
        raise DimensionError.of(
            by,
            found=f"no such coordinate along {dim!r} among {along}",
            expected=f"the group of every {dim}",
            remedy=f'signals.assign_coords({by}=("{dim}", labels)), or by=None for all as one',
        )
    values = np.asarray(ds[by].values)
    # None, empty text and NaN are no group.
    without = [i for i, x in enumerate(values.tolist()) if x is None or x == "" or x != x]
    if without:
        raise DimensionError.of(
            by,
            found=f"{len(without)} of {len(values)} sites without a group, the first at {without[0]}",
            expected="a group for every site",
            remedy=f'label them, or leave them out: signals.isel({dim}=signals["{by}"].values != "")',
        )
    # np.unique sorts the labels: number them by first occurrence instead.
    labels, first, group = np.unique(values, return_index=True, return_inverse=True)
    order = np.argsort(first)
    return np.argsort(order)[group], labels[order]
