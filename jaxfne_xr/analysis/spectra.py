"""Spectra by Welch's method: power, coherence and band power, with a ``frequency`` coordinate in Hz."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.dispatch import jointly, whole
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.inputs import as_dataset, only_variable, times_of, variable_of
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.time_axis import TIME, coords_along, sampling
from jaxfne_xr.core.types import Bands, Interval, Time
from jaxfne_xr.core.units import magnitude, product, scalar, units_of
from jaxfne_xr.kernels.analysis import spectrum as kernels

FREQUENCY = "frequency"
#: The default bands of `band_power` and `summary`, Hz.
BANDS = {
    "delta": (1.0, 4.0),
    "theta": (4.0, 8.0),
    "alpha": (8.0, 13.0),
    "beta": (13.0, 30.0),
    "gamma": (30.0, 80.0),
}


@public
def psd(
    data: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    segment: Time | None = None,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: str = "constant",
) -> xr.Dataset:
    """Estimate the power spectral density of a variable along time.

    Parameters
    ----------
    data : xr.Dataset or xr.DataArray
        With ``time`` and any other dims, in any order.
    variable : str, optional
        Name of the variable; not needed if there is only one.
    segment : float, str or pint.Quantity, optional
        Duration of a segment, ms: the inverse of the frequency spacing. Eight segments that overlap by half by default.
    overlap : float
        Fraction of a segment that overlaps with the next: at least 0, less than 1.
    window : {"hann", "boxcar"}
        Taper.
    detrend : {"constant", "none"}
        Whether the mean of each segment is subtracted.

    Returns
    -------
    xr.Dataset
        ``psd`` with the dim ``frequency`` (Hz) instead of ``time``, in the square of the unit per Hz: one-sided, so
        that its sum times the frequency spacing is the variance (Welch 1967; as `scipy.signal.welch`).

    Raises
    ------
    ArgumentError, UnitError
        If a segment does not fit the data, or `overlap`, `window` or `detrend` is none of these.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(4000) * 1.0
    >>> ds = jfx.traces(2 * np.sin(2 * np.pi * 50e-3 * t), ["time"], dt_ms=1.0)
    >>> power = psd(ds, segment="200 ms")
    >>> float(power.frequency[int(power.psd.data.magnitude.argmax())]), str(power.psd.pint.units)
    (50.0, 'millivolt ** 2 / hertz')
    """
    ds = as_dataset(data, "data")
    name = only_variable(ds, variable)
    dt_ms, options = segments(ds, segment, overlap, window, detrend)
    made = whole(kernels.psd, ds.variables[name], TIME, dt_ms, new_dim=FREQUENCY, **options)
    unit = units_of(ds.variables[name]) or "1"
    units = product(unit, unit, "1/Hz")
    labels = frequency_coord(options["nperseg"], dt_ms)
    return finish(ds, "psd", made, units, {"of": name, **options}, coords=labels)


@public
def coherence(
    data: xr.Dataset | xr.DataArray,
    other: xr.Dataset | xr.DataArray,
    *,
    segment: Time | None = None,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: str = "constant",
) -> xr.Dataset:
    """Estimate the magnitude-squared coherence of two variables along time.

    Parameters
    ----------
    data, other : xr.Dataset with one variable, or xr.DataArray
        With the same ``time``; other dims are matched by name and broadcast.
    segment, overlap, window, detrend
        As for `psd`.

    Returns
    -------
    xr.Dataset
        ``coherence``, ``|S_ab|^2 / (S_aa S_bb)``, from 0 to 1, with the dim ``frequency`` (Hz) instead of
        ``time``. NaN where either has no power. K segments of independent signals give about 1/K.

    Raises
    ------
    DimensionError
        If their times differ.
    ArgumentError
        If only one segment fits: the coherence of one segment is 1 for any signals.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> x = jfx.traces(np.sin(np.arange(400.0) ** 2), ["time"], dt_ms=1.0)
    >>> bool((abs(coherence(x, -x).coherence.data.magnitude - 1) < 1e-9).all())
    True
    """
    first, second = as_dataset(data, "data"), as_dataset(other, "other")
    name_a, name_b = only_variable(first, None), only_variable(second, None)
    t, u = (sampling(ds, None)[0] for ds in (first, second))
    if t.shape != u.shape or not np.allclose(t, u, rtol=1e-9, atol=1e-9):
        raise DimensionError.of(
            TIME,
            found=f"{len(t)} samples from {t[0]:g} ms and {len(u)} from {u[0]:g} ms",
            expected="the same times in both",
            remedy="select the same samples of both",
        )
    dt_ms, options = segments(first, segment, overlap, window, detrend, several=True)
    x, y = _broadcast(first.variables[name_a], second.variables[name_b])
    dims = tuple(FREQUENCY if d == TIME else d for d in x.dims)
    (made,) = jointly(kernels.coherence, x, y, dims=[dims], axis=x.get_axis_num(TIME), **options)
    labels: dict[Hashable, Any] = {
        **coords_along(second, dims),
        **frequency_coord(options["nperseg"], dt_ms),
    }
    parameters = {"of": [name_a, name_b], **options}
    return finish(first, "coherence", made, "1", parameters, coords=labels, others=[second])


@public
def band_power(spectrum: xr.Dataset | xr.DataArray, bands: Bands | None = None) -> xr.Dataset:
    """Compute the power in frequency bands.

    Parameters
    ----------
    spectrum : xr.Dataset or xr.DataArray
        From `psd`.
    bands : mapping of str to pair of float, str or pint.Quantity, optional
        Name, lower and upper edge, Hz. By default delta 1 to 4, theta to 8, alpha to 13, beta to 30 and gamma to 80:
        those that the spectrum covers and resolves.

    Returns
    -------
    xr.Dataset
        ``band_power`` with the dim ``band`` instead of ``frequency``: the integral of ``psd``, interpolated linearly
        between its frequencies, from ``low`` to ``high`` (Hz), in the square of the signal's unit.

    Raises
    ------
    ArgumentError, UnitError
        If a band is empty, narrower than the frequency spacing, or reaches beyond the Nyquist frequency.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(4000) * 1.0
    >>> ds = jfx.traces(2 * np.sin(2 * np.pi * 50e-3 * t), ["time"], dt_ms=1.0)
    >>> power = band_power(psd(ds, segment="200 ms"), {"gamma": (30, 80)})
    >>> round(float(power.band_power.data.magnitude[0]), 9)
    2.0
    """
    spectrum = as_dataset(spectrum, "spectrum")
    variable = variable_of(
        spectrum, "psd", "what psd returns", "jfx.band_power(jfx.psd(signals, 'V_m'))"
    )
    f = np.asarray(spectrum[FREQUENCY].values, float)
    names, low, high = _edges(bands, f)
    dims = tuple("band" if d == FREQUENCY else d for d in variable.dims)
    axis = variable.get_axis_num(FREQUENCY)
    (made,) = jointly(kernels.band_power, variable, dims=[dims], numbers=(f, low, high), axis=axis)
    units = str(units_of(variable))
    labels = {
        "band": ("band", np.array(names)),
        "low": ("band", low, {"units": "Hz"}),
        "high": ("band", high, {"units": "Hz"}),
    }
    return finish(
        spectrum, "band_power", made, product(units, "Hz"), {"bands": names}, coords=labels
    )


def segments(
    ds: xr.Dataset,
    segment: Time | None,
    overlap: float,
    window: str,
    detrend: str,
    *,
    several: bool = False,
) -> tuple[float, dict[str, Any]]:
    """Return the sampling interval, ms, and the options of the kernel; raise if `several` segments do not fit."""
    time, dt_ms = times_of(ds)
    n = len(time)
    if segment is None:
        nperseg = max(2, int(n / 4.5))  # eight segments that overlap by half span 4.5 of them
    else:
        duration = scalar(segment, "ms", "segment")
        nperseg = round(duration / dt_ms) if np.isfinite(duration) else 0
    problems = []
    if not 2 <= nperseg <= n:
        problems.append(
            Problem(
                where="segment",
                found=f"{nperseg} samples, of {n} in all",
                expected="at least two samples, and no more than there are",
                remedy=f"segment='{n * dt_ms / 4.5:g} ms'",
                error=ArgumentError,
            )
        )
    if not (isinstance(overlap, Real) and 0 <= overlap < 1):
        problems.append(
            Problem(
                "overlap", repr(overlap), "at least 0, less than 1", "overlap=0.5", ArgumentError
            )
        )
    known = {"window": (window, ("hann", "boxcar")), "detrend": (detrend, ("constant", "none"))}
    problems += [
        Problem(key, repr(value), f"one of {list(choices)}", f"{key}={choices[0]!r}", ArgumentError)
        for key, (value, choices) in known.items()
        if value not in choices
    ]
    raise_problems(problems)
    noverlap = int(nperseg * overlap)
    if several and 2 * nperseg - noverlap > n:
        found, expected = (
            f"one segment of {nperseg} samples, of {n} in all",
            "at least two: the coherence of one is 1",
        )
        remedy = f"segment='{n * dt_ms / 4.5:g} ms'"
        raise ArgumentError.of("segment", found=found, expected=expected, remedy=remedy)
    return dt_ms, {"nperseg": nperseg, "noverlap": noverlap, "window": window, "detrend": detrend}


def frequency_coord(nperseg: int, dt_ms: float) -> dict[Hashable, Any]:
    """Return the frequency coordinate, Hz."""
    values = kernels.frequencies(nperseg, dt_ms)
    return {FREQUENCY: (FREQUENCY, values, {"units": "Hz", "long_name": "frequency"})}


def _broadcast(a: xr.Variable, b: xr.Variable) -> tuple[xr.Variable, xr.Variable]:
    """Return two variables, bare, broadcast to the dims of both in the same order."""
    sizes = {**a.sizes, **b.sizes}
    x, y = (xr.Variable(v.dims, magnitude(v.data)).set_dims(sizes) for v in (a, b))
    return x, y.transpose(*x.dims)


def resolved_bands(f: np.ndarray) -> dict[str, tuple[float, float]]:
    """Return those of `BANDS` that a spectrum at the frequencies `f`, Hz, covers and resolves."""
    return {
        name: edges
        for name, edges in BANDS.items()
        if edges[1] <= f[-1] and not _too_narrow(*edges, f)
    }


def _too_narrow(low: float, high: float, f: np.ndarray) -> bool:
    """Whether a band is narrower than the frequency spacing, so that the spectrum does not resolve it."""
    return high - low < (f[1] - f[0]) * (1 - 1e-9)  # up to rounding


def _edges(bands: Bands | None, f: np.ndarray) -> tuple[list[str], np.ndarray, np.ndarray]:
    """Return the names and edges of bands, Hz, checked to be resolved and to lie below the Nyquist frequency."""
    nyquist, spacing = float(f[-1]), float(f[1] - f[0])
    if bands is None:
        bands = resolved_bands(f)
    if not isinstance(bands, Mapping):
        expected, remedy = "a mapping of names to edges", 'bands={"gamma": (30, 80)}'
        raise ArgumentError.of("bands", found=repr(bands), expected=expected, remedy=remedy)
    problems, names, low, high = [], [], [], []
    for name, pair in bands.items():
        start, stop = edges_Hz(pair, f"bands[{name!r}]", 'bands={"gamma": (30, 80)}')
        if not 0 <= start < stop <= nyquist * (1 + 1e-9):
            problems.append(
                Problem(
                    where=f"bands[{name!r}]",
                    found=f"{start:g} to {stop:g} Hz",
                    expected=f"a lower edge, and a higher one up to {nyquist:g} Hz, the Nyquist frequency",
                    remedy="a lower band, or a shorter sampling interval",
                    error=ArgumentError,
                )
            )
        elif _too_narrow(start, stop, f):
            needed = 1000 / (stop - start)
            problems.append(
                Problem(
                    where=f"bands[{name!r}]",
                    found=f"{start:g} to {stop:g} Hz, narrower than the frequency spacing of {spacing:g} Hz",
                    expected=f"a band of at least {spacing:g} Hz, or segments of at least {needed:g} ms",
                    remedy=f"segment='{needed:g} ms', if the data are as long; or a wider band",
                    error=ArgumentError,
                )
            )
        names.append(str(name))
        low.append(start)
        high.append(stop)
    if not names and not problems:
        needed = 1000 / max(high - low for low, high in BANDS.values())
        problems.append(
            Problem(
                where="bands",
                found=f"none, in a spectrum up to {nyquist:g} Hz in steps of {spacing:g} Hz",
                expected=f"at least one band; of {list(BANDS)}, the widest needs segments of {needed:g} ms, "
                "and the lowest a Nyquist frequency of 4 Hz",
                remedy=f'segment="{needed:g} ms", or bands={{"all": (0, {nyquist:g})}}',
                error=ArgumentError,
            )
        )
    raise_problems(problems)
    return names, np.array(low), np.array(high)


def edges_Hz(pair: Interval, name: str, remedy: str) -> tuple[float, float]:
    """Return the lower and the upper edge of a range of frequencies, Hz, passed as the argument `name`."""
    try:
        low, high = pair
    except (TypeError, ValueError) as error:
        expected = "a lower and an upper edge, Hz"
        raise ArgumentError.of(name, found=repr(pair), expected=expected, remedy=remedy) from error
    return scalar(low, "Hz", name), scalar(high, "Hz", name)
