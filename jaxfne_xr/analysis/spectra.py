"""Spectra by Welch's method: power, coherence and band power, with a ``frequency`` coordinate in Hz."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from numbers import Real
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_traced, nonfinite_problem
from jaxfne_xr.core.dispatch import checked, jointly, whole
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    NonFiniteError,
    Problem,
    UnitError,
    raise_problems,
    warn,
)
from jaxfne_xr.core.inputs import as_dataset, only_variable, times_of, variable_of
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.time_axis import (
    TIME,
    coords_along,
    same_times,
    sampling,
    time_remedy,
    times_text,
)
from jaxfne_xr.core.types import Bands, Interval, Time
from jaxfne_xr.core.unit_checks import unit_in, unit_problem
from jaxfne_xr.core.units import convert, magnitude, product, units_of
from jaxfne_xr.core.values import parts, scalar
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
    skipna: bool | None = None,
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
    skipna : bool, optional
        Whether segments with NaN are left out, of each signal its own. By default they are, and a warning says how many
        are left; True does so without a warning, and False refuses NaN. Values that JAX traces are not looked at, so
        that NaN stay NaN there unless this is True.

    Returns
    -------
    xr.Dataset
        ``psd`` with the dim ``frequency`` (Hz) instead of ``time``, in the square of the unit per Hz: one-sided, so
        that its sum times the frequency spacing is the variance (Welch 1967; as `scipy.signal.welch`).

    Raises
    ------
    ArgumentError, UnitError
        If a segment does not fit the data, or `overlap`, `window` or `detrend` is none of these.
    NonFiniteError
        If a signal has no segment without NaN, or there are Inf, or NaN and `skipna` is False. Dask data are checked
        when computed.

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
    return power_spectra(ds, variable, segment, overlap, window, detrend, skipna)


def power_spectra(
    ds: xr.Dataset,
    variable: str | None,
    segment: Time | None,
    overlap: float = 0.5,
    window: str = "hann",
    detrend: str = "constant",
    skipna: bool | None = None,
    *,
    least: int = 1,
) -> xr.Dataset:
    """Estimate spectra as `psd` does; with `least` = 0 they are NaN for signals without a segment that has no NaN."""
    name = only_variable(ds, variable)
    dt_ms, options = segments(ds, segment, overlap, window, detrend)
    signal, gaps = _without_gaps(ds.variables[name], name, dt_ms, options, skipna, least=least)
    how = {**options, "gaps": True} if gaps else options
    made = whole(kernels.psd, signal, TIME, dt_ms, new_dim=FREQUENCY, **how)
    made = checked(made, "psd") if gaps and least and is_dask(made.data) else made
    unit = unit_in(ds.variables[name], name)
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
    skipna: bool | None = None,
) -> xr.Dataset:
    """Estimate the magnitude-squared coherence of two variables along time.

    Parameters
    ----------
    data, other : xr.Dataset with one variable, or xr.DataArray
        With the same ``time``; other dims are matched by name and broadcast.
    segment, overlap, window, detrend, skipna
        As for `psd`; a segment is left out if either has NaN in it.

    Returns
    -------
    xr.Dataset
        ``coherence``, ``|S_ab|^2 / (S_aa S_bb)``, from 0 to 1, with the dim ``frequency`` (Hz) instead of
        ``time``. NaN where either has no power. K segments of independent signals give about 1/K.

    Raises
    ------
    DimensionError
        If their times differ.
    NonFiniteError
        As for `psd`; also if only one segment has no NaN.
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
    if not same_times(t, u):
        raise DimensionError.of(
            TIME,
            found=f"{times_text(t)}, and {times_text(u)}",
            expected="the same times in both",
            remedy=time_remedy(t, u, "data", "other"),
        )
    dt_ms, options = segments(first, segment, overlap, window, detrend, several=True)
    x, y = _broadcast(first.variables[name_a], second.variables[name_b])
    dims = tuple(FREQUENCY if d == TIME else d for d in x.dims)
    (x, y), gaps = _without_gaps_in_either(x, y, (name_a, name_b), dt_ms, options, skipna)
    how = {**options, "gaps": True} if gaps else options
    (made,) = jointly(kernels.coherence, x, y, dims=[dims], axis=x.get_axis_num(TIME), **how)
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
    variable = checked(variable, "psd")
    f = _frequencies(spectrum)
    names, low, high = _edges(bands, f)
    dims = tuple("band" if d == FREQUENCY else d for d in variable.dims)
    axis = variable.get_axis_num(FREQUENCY)
    (made,) = jointly(kernels.band_power, variable, dims=[dims], numbers=(f, low, high), axis=axis)
    units = unit_in(variable, "psd", "mV^2/Hz")
    labels = {
        "band": ("band", np.array(names)),
        "low": ("band", low, {"units": "Hz"}),
        "high": ("band", high, {"units": "Hz"}),
    }
    return finish(
        spectrum, "band_power", made, product(units, "Hz"), {"bands": names}, coords=labels
    )


def _frequencies(spectrum: xr.Dataset) -> np.ndarray:
    """Return the frequencies of a spectrum, Hz."""
    variable = spectrum[FREQUENCY].variable
    raise_problems(unit_problem(variable, FREQUENCY, "Hz"))
    return convert(np.asarray(magnitude(variable.data), float), str(units_of(variable)), "Hz")


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


def _without_gaps(
    variable: xr.Variable,
    name: str,
    dt_ms: float,
    options: Mapping[str, Any],
    skipna: bool | None,
    *,
    least: int = 1,
) -> tuple[xr.Variable, bool]:
    """Return a variable, checked, and whether its spectra have to leave out segments with NaN; `least` have to stay."""
    data = magnitude(variable.data)
    if not isinstance(variable.dtype, np.dtype):  # nullable booleans of pandas
        variable = xr.Variable(variable.dims, data)
    if skipna not in (None, True, False):
        expected, remedy = "True, False, or None for a warning", "skipna=True"
        raise ArgumentError.of("skipna", found=repr(skipna), expected=expected, remedy=remedy)
    if np.dtype(data.dtype).kind != "f":
        return variable, False
    if skipna is False:
        return checked(variable, name), False
    if is_traced(data):
        return variable, bool(skipna)
    if is_dask(data):
        return variable, True
    problem = nonfinite_problem(data, variable.dims, name)
    if problem is None:
        return variable, False
    # the other dims as rows
    array = np.moveaxis(np.asarray(data), variable.get_axis_num(TIME), -1)
    rest = [d for d in variable.dims if d != TIME]
    if least and np.isinf(array).any():
        raise NonFiniteError(problem)
    if not least:
        variable = xr.Variable(variable.dims, np.where(np.isfinite(data), data, np.nan))
    whole = _whole_segments(np.isfinite(array), options)
    if (whole < least).any():
        raise NonFiniteError(_gap_problem(name, array, rest, whole, dt_ms, least))
    if skipna is None and whole.any():
        left = f"{whole.min()} to {whole.max()}" if whole.min() < whole.max() else f"{whole.min()}"
        total = _whole_segments(np.ones(array.shape[-1], bool), options)
        warn(
            f"{name}: {int(np.isnan(array).sum())} of {array.size} values are NaN. Spectra are means over the segments "
            f"without, {left} of {total}; skipna=True says that this is meant, skipna=False refuses NaN"
        )
    return variable, True


def _without_gaps_in_either(
    x: xr.Variable,
    y: xr.Variable,
    names: tuple[str, str],
    dt_ms: float,
    options: Mapping[str, Any],
    skipna: bool | None,
) -> tuple[tuple[xr.Variable, xr.Variable], bool]:
    """Return two variables of the same dims, checked, and whether to leave out segments with NaN in either."""
    bare = [xr.Variable(v.dims, magnitude(v.data)) for v in (x, y)]
    known = not any(is_dask(v.data) or is_traced(v.data) for v in bare)
    floats = [v for v in bare if v.dtype.kind == "f"]
    if known and len(floats) == 2 and skipna is not False:
        both = bare[0] + 0 * bare[1].astype(bare[0].dtype)  # NaN where either is
        if not np.isinf(np.asarray(x.data)).any() and not np.isinf(np.asarray(y.data)).any():
            return (x, y), _without_gaps(
                both, " and ".join(names), dt_ms, options, skipna, least=2
            )[1]
    made, gaps = zip(
        *(
            _without_gaps(v, n, dt_ms, options, skipna, least=2)
            for v, n in zip((x, y), names, strict=True)
        ),
        strict=True,
    )
    return made, any(gaps)


def _whole_segments(good: np.ndarray, options: Mapping[str, Any]) -> np.ndarray:
    """Return the number of segments without a bad sample along the last axis."""
    nperseg, step = options["nperseg"], options["nperseg"] - options["noverlap"]
    bad = np.concatenate([np.zeros((*good.shape[:-1], 1), int), np.cumsum(~good, axis=-1)], axis=-1)
    starts = np.arange(0, good.shape[-1] - nperseg + 1, step)
    return (bad[..., starts + nperseg] == bad[..., starts]).sum(axis=-1)


def _gap_problem(
    name: str,
    array: np.ndarray,
    rest: list[Hashable],
    whole: np.ndarray,
    dt_ms: float,
    least: int,
) -> Problem:
    """Return the problem of signals without enough segments that have no NaN; the remedy is a segment that fits."""
    few = np.argwhere(whole < least)
    first = ", ".join(f"{d}={i}" for d, i in zip(rest, few[0], strict=True))
    rows = ~np.isnan(array.reshape(-1, array.shape[-1]))
    padded = np.pad(rows, [(0, 0), (1, 1)]).astype(np.int8)
    stretch = []
    for row in padded:
        edges = np.flatnonzero(np.diff(row))
        stretch.append(int((edges[1::2] - edges[::2]).max()) if edges.size else 0)
    # segments start at multiples of a step: a third of the stretch fits wherever it lies
    fits = min(stretch) // (3 * least)
    dropped = f'data.dropna("{rest[0]}", how="all")' if rest else "data without NaN"
    return Problem(
        where=name,
        found=f"{len(few)} of {max(whole.size, 1)} signals with fewer than {least} segments without NaN"
        + (f", the first at {first}" if first else ""),
        expected=f"at least {least} for each signal",
        remedy=f'segment="{fits * dt_ms:g} ms"'
        if fits >= 2
        else f"{dropped}, or leave such signals out",
        error=NonFiniteError,
    )


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
        low, high = parts(pair, "Hz", name)
    except UnitError:
        raise
    except (TypeError, ValueError) as error:
        expected = "a lower and an upper edge, Hz"
        raise ArgumentError.of(name, found=repr(pair), expected=expected, remedy=remedy) from error
    return scalar(low, "Hz", name), scalar(high, "Hz", name)
