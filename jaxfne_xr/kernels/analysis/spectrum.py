"""Spectra by Welch's method: power, cross spectra, coherence, and the power in a band.

A signal is divided into overlapping segments; each has its mean subtracted, is tapered and
transformed, and the products of the transforms are averaged over segments. Densities are one-sided:
the frequencies between 0 and Nyquist include the power of the negative ones, so that the sum over
frequencies times their spacing is the variance. Conventions are those of ``scipy.signal.welch``.

References
----------
.. [1] P. D. Welch, "The use of fast Fourier transform for the estimation of power spectra", IEEE
   Trans. Audio Electroacoust. 15, 70 (1967).
"""

from __future__ import annotations

from fractions import Fraction
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from jaxfne_xr.kernels.grid import exact, grid

from .summary import as_float, centred

if TYPE_CHECKING:
    from collections.abc import Callable

    from jaxtyping import Array, Bool, Complex, Float, Num

_HIGHEST = jax.lax.Precision.HIGHEST
# Numbers transformed at a time: 2^19 float32 and their spectra fit into a cache of some MB.
_BLOCK = 2**19


def frequencies(nperseg: int, dt: float) -> np.ndarray:
    """Compute the frequencies of a segment's spectrum.

    Parameters
    ----------
    nperseg : int
        Samples in a segment.
    dt : float
        Sampling interval, ms.

    Returns
    -------
    numpy array of float64 (frequency)
        ``k / (nperseg dt)`` for k = 0 ... nperseg // 2, Hz, each the double nearest to it.

    Examples
    --------
    >>> frequencies(4, 0.5)
    array([   0.,  500., 1000.])
    """
    return grid(0, Fraction(1000) / (nperseg * exact(float(dt))), nperseg // 2 + 1)


def psd(
    x: Num[Array, "*before time *after"],
    dt: float,
    *,
    axis: int,
    nperseg: int,
    noverlap: int | None = None,
    window: str = "hann",
    detrend: str = "constant",
    gaps: bool = False,
) -> Float[Array, "*before frequency *after"]:
    """Estimate the power spectral density.

    Parameters
    ----------
    x : array (any dims, time along `axis`)
        Signal, in any unit.
    dt : float
        Sampling interval, ms.
    axis : int
        The time axis, which becomes the axis of frequency (see `frequencies`).
    nperseg : int
        Samples in a segment, 2 or more; its duration is one over the frequency spacing.
    noverlap : int, optional
        Samples shared by neighbouring segments; half a segment by default.
    window : {"hann", "boxcar"}
        Taper; "boxcar" means none.
    detrend : {"constant", "none"}
        "constant" subtracts each segment's mean.
    gaps : bool
        Whether segments with NaN are left out of the mean, separately for each signal; NaN if none is left.

    Returns
    -------
    array (dims of x, frequency for time)
        ``S_k = c_k dt / sum_n w_n^2 <|sum_n w_n x_n exp(-2 pi i k n / nperseg)|^2>``, in the unit of `x`
        squared per Hz, with c_k = 1 at 0 and at Nyquist and 2 between, and the mean over segments.
        Samples after the last complete segment are not used.

    Raises
    ------
    ValueError
        If no segment fits, or a window or a detrending is not known.

    Notes
    -----
    Signals are transformed in blocks, and their spectra are computed again for a gradient rather than
    kept, so that memory is input, output and one block in both directions.

    Examples
    --------
    A sine of amplitude 2 has a power of 2, all of it near its frequency:

    >>> x = 2 * jnp.sin(2 * jnp.pi * 50 * jnp.arange(4000) * 1e-3)
    >>> power = psd(x, 1.0, axis=0, nperseg=200)
    >>> f = frequencies(200, 1.0)
    >>> print(f[power.argmax()], round(float(power.sum() * f[1]), 3))
    50.0 2.0
    """
    power = lambda a: jnp.square(a.real).mean(0) + jnp.square(a.imag).mean(0)
    taper, starts = _segments(x.shape[axis], nperseg, noverlap, window)

    def one(a: Array) -> Array:
        if not gaps:
            return power(_spectra(a, taper, starts, detrend))
        a, whole = _without_gaps(a, taper, starts)
        share = whole.mean(dtype=a.dtype)
        # segments with gaps are 0 now, and so are their spectra
        total = power(_of_pieces(a, taper, detrend))
        return jnp.where(share > 0, total / jnp.where(share > 0, share, 1), jnp.nan)

    mean = _by_block(one, x, axis=axis)
    return jnp.moveaxis(mean * _density(taper, dt, mean.dtype), -1, axis)


def cross_spectrum(
    x: Num[Array, "*before time *after"],
    y: Num[Array, "*before time *after"],
    dt: float,
    *,
    axis: int,
    nperseg: int,
    noverlap: int | None = None,
    window: str = "hann",
    detrend: str = "constant",
) -> Complex[Array, "*before frequency *after"]:
    """Estimate the cross spectral density of pairs of signals.

    Parameters
    ----------
    x, y : array (any dims that broadcast, time along `axis`)
        Signals, in any units.
    dt, axis, nperseg, noverlap, window, detrend
        As for `psd`.

    Returns
    -------
    array of complex (broadcast dims, frequency for time)
        ``<conj(X_k) Y_k>`` scaled like `psd`, in the unit of `x` times that of `y` per Hz. Its angle is
        negative if `y` lags `x`.

    Raises
    ------
    ValueError
        As for `psd`.

    Examples
    --------
    >>> x = jnp.sin(jnp.arange(64.0))
    >>> s = cross_spectrum(x, x, 1.0, axis=0, nperseg=16)
    >>> bool(jnp.allclose(s.real, psd(x, 1.0, axis=0, nperseg=16)))
    True
    """
    x, y = jnp.broadcast_arrays(x, y)
    taper, starts = _segments(x.shape[axis], nperseg, noverlap, window)

    def product(a: Array, b: Array) -> Array:
        a, b = (_spectra(s, taper, starts, detrend) for s in (a, b))
        return (a.conj() * b).mean(0)

    mean = _by_block(product, x, y, axis=axis)
    return jnp.moveaxis(mean * _density(taper, dt, mean.real.dtype), -1, axis)


def coherence(
    x: Num[Array, "*before time *after"],
    y: Num[Array, "*before time *after"],
    *,
    axis: int,
    nperseg: int,
    noverlap: int | None = None,
    window: str = "hann",
    detrend: str = "constant",
    gaps: bool = False,
) -> Float[Array, "*before frequency *after"]:
    """Estimate the magnitude-squared coherence of pairs of signals.

    Parameters
    ----------
    x, y : array (any dims that broadcast, time along `axis`)
        Signals, in any units.
    axis, nperseg, noverlap, window, detrend, gaps
        As for `psd`; a segment is left out if either signal has NaN in it.

    Returns
    -------
    array (broadcast dims, frequency for time)
        ``|S_xy|^2 / (S_xx S_yy)``, between 0 and 1, dimensionless. NaN at frequencies where either
        signal has no power beyond rounding errors (all of them for a constant signal): it is not defined
        there, and the gradient is 0.

    Raises
    ------
    ValueError
        As for `psd`; or if only one segment fits, whose coherence is 1 whatever the signals.

    Notes
    -----
    The estimate is biased: K segments without overlap of independent signals give about 1/K.

    Examples
    --------
    >>> x = jnp.sin(jnp.arange(64.0) ** 2)
    >>> bool(jnp.allclose(coherence(x, -3 * x, axis=0, nperseg=16), 1))
    True
    """
    x, y = jnp.broadcast_arrays(x, y)
    taper, starts = _segments(x.shape[axis], nperseg, noverlap, window)
    _check_several(starts, nperseg)

    def ratio(a: Array, b: Array) -> Array:
        enough: Array | bool = True
        if gaps:
            (a, whole_a), (b, whole_b) = (_without_gaps(s, taper, starts) for s in (a, b))
            whole = whole_a & whole_b
            enough = whole.sum() > 1  # the coherence of one segment is 1
            spectra = [_of_pieces(s * whole[:, None], taper, detrend) for s in (a, b)]
        else:
            spectra = [_spectra(s, taper, starts, detrend) for s in (a, b)]
        (a, some_a), (b, some_b) = map(_unit_power, spectra)
        return _squared((a.conj() * b).sum(0), some_a & some_b & enough)

    return jnp.moveaxis(_by_block(ratio, x, y, axis=axis), -1, axis)


def cross_spectrum_matrix(
    x: Num[Array, "*dims"],
    dt: float,
    *,
    axis: int,
    group_axis: int,
    nperseg: int,
    noverlap: int | None = None,
    window: str = "hann",
    detrend: str = "constant",
) -> Complex[Array, "*rest group group frequency"]:
    """Estimate the cross spectral density of all pairs of a few signals, such as group means.

    Parameters
    ----------
    x : array (any dims, time along `axis`, signals along `group_axis`)
        Signals, in any unit.
    dt : float
        Sampling interval, ms.
    axis, group_axis : int
        The two axes.
    nperseg, noverlap, window, detrend
        As for `psd`.

    Returns
    -------
    array of complex (other dims, group, group, frequency)
        ``S_gh = <conj(X_g) X_h>`` scaled like `psd`, in the unit of `x` squared per Hz: Hermitian, with
        the power spectra on the diagonal. It holds group^2 * frequency numbers.

    Raises
    ------
    ValueError
        As for `psd`.

    Examples
    --------
    >>> x = jnp.sin(jnp.arange(3.0)[:, None] * jnp.arange(64.0))
    >>> cross_spectrum_matrix(x, 1.0, axis=1, group_axis=0, nperseg=16).shape
    (3, 3, 9)
    """
    taper, starts = _segments(x.shape[axis], nperseg, noverlap, window)
    x = jnp.moveaxis(jnp.asarray(x), (group_axis, axis), (-2, -1))
    s = _all_pairs(_spectra(x, taper, starts, detrend)) / len(starts)
    return s * _density(taper, dt, s.real.dtype)


def coherence_matrix(
    x: Num[Array, "*dims"],
    *,
    axis: int,
    group_axis: int,
    nperseg: int,
    noverlap: int | None = None,
    window: str = "hann",
    detrend: str = "constant",
) -> Float[Array, "*rest group group frequency"]:
    """Estimate the magnitude-squared coherence of all pairs of a few signals.

    Parameters
    ----------
    x : array (any dims, time along `axis`, signals along `group_axis`)
        Signals, in any unit.
    axis, group_axis : int
        The two axes.
    nperseg, noverlap, window, detrend
        As for `psd`.

    Returns
    -------
    array (other dims, group, group, frequency)
        ``|S_gh|^2 / (S_gg S_hh)``, dimensionless; 1 on the diagonal, NaN as for `coherence`.

    Raises
    ------
    ValueError
        As for `coherence`.

    Examples
    --------
    >>> x = jnp.sin(jnp.arange(3.0)[:, None] * jnp.arange(64.0) + 1)
    >>> coherence_matrix(x, axis=1, group_axis=0, nperseg=16).shape
    (3, 3, 9)
    """
    taper, starts = _segments(x.shape[axis], nperseg, noverlap, window)
    _check_several(starts, nperseg)
    x = jnp.moveaxis(jnp.asarray(x), (group_axis, axis), (-2, -1))
    spectra, some = _unit_power(_spectra(x, taper, starts, detrend))
    return _squared(_all_pairs(spectra), some[..., :, None, :] & some[..., None, :, :])


def band_power(
    psd: Float[Array, "*before frequency *after"],
    frequency: Float[Array, " frequency"] | np.ndarray,
    low: Float[Array, "*band"] | float,
    high: Float[Array, "*band"] | float,
    *,
    axis: int,
) -> Float[Array, "*before *band *after"]:
    """Integrate a power spectral density over one band, or several.

    Parameters
    ----------
    psd : array (any dims, frequency along `axis`)
        Power spectral density, unit^2/Hz.
    frequency : array (frequency)
        Frequencies, Hz, increasing; evenly spaced or not.
    low, high : float or array (band)
        Edges of the band, or of each band, Hz; they need not be among the frequencies.
    axis : int
        The frequency axis, which becomes the axis of bands; for one band it is removed.

    Returns
    -------
    array (dims of psd, bands for frequency)
        ``integral from low to high of S(f) df``, unit^2, with S linear between the frequencies: the
        trapezoid rule if the edges are frequencies. Adjacent bands add up to their union. Beyond the
        first and last frequency nothing is added: the caller has to reject such a band.

    Notes
    -----
    Linear in `psd`, and differentiable in the edges (the derivative is S at the edge).

    Examples
    --------
    >>> f = frequencies(8, 10.0)
    >>> band_power(jnp.ones(5), f, 10.0, 35.0, axis=0)
    Array(25., dtype=float32)
    """
    psd = jnp.asarray(psd)
    f = jnp.asarray(frequency, psd.dtype)
    low, high = (jnp.asarray(edge, psd.dtype)[..., None] for edge in (low, high))
    start, stop = jnp.clip(low, f[:-1], f[1:]), jnp.clip(high, f[:-1], f[1:])
    # over a part of an interval, the integral of a line is its length times the value half way
    along = ((start + stop) / 2 - f[:-1]) / (f[1:] - f[:-1])
    left, right = (stop - start) * (1 - along), (stop - start) * along
    end = [(0, 0)] * (left.ndim - 1)
    weight = jnp.pad(left, [*end, (0, 1)]) + jnp.pad(right, [*end, (1, 0)])
    power = jnp.tensordot(psd, weight, axes=(axis, -1), precision=_HIGHEST)
    return jnp.moveaxis(power, -1, axis) if weight.ndim == 2 else power


def _segments(
    n_time: int, nperseg: int, noverlap: int | None, window: str
) -> tuple[np.ndarray, np.ndarray]:
    """Return the taper and each segment's first sample; raise for arguments that give none."""
    noverlap = nperseg // 2 if noverlap is None else noverlap
    problems = []
    if nperseg < 2:
        problems.append(f"nperseg={nperseg}: a segment needs 2 samples or more")
    if nperseg > n_time:
        problems.append(f"nperseg={nperseg} is longer than the signal of {n_time} samples")
    if not 0 <= noverlap < nperseg:
        problems.append(f"noverlap={noverlap} must be from 0 to nperseg - 1 = {nperseg - 1}")
    if window not in _WINDOWS:
        problems.append(f"window={window!r} is not one of {', '.join(map(repr, _WINDOWS))}")
    if problems:
        raise ValueError("; ".join(problems))
    return _WINDOWS[window](nperseg), np.arange(0, n_time - nperseg + 1, nperseg - noverlap)


_WINDOWS: dict[str, Callable[[int], np.ndarray]] = {
    # periodic, as for spectra in SciPy: the next sample would be the first again
    "hann": lambda n: np.sin(np.pi * np.arange(n) / n) ** 2,
    "boxcar": np.ones,
}


def _check_several(starts: np.ndarray, nperseg: int) -> None:
    if len(starts) < 2:
        raise ValueError(
            f"only one segment of nperseg={nperseg} fits, and the coherence of one segment is 1 "
            "whatever the signals; use a shorter nperseg"
        )


def _spectra(
    x: Num[Array, "*dims time"], taper: np.ndarray, starts: np.ndarray, detrend: str
) -> Complex[Array, "*dims segment frequency"]:
    """Divide the last axis into segments and transform them."""
    return _of_pieces(_pieces(x, taper, starts), taper, detrend)


def _pieces(
    x: Num[Array, "*dims time"], taper: np.ndarray, starts: np.ndarray
) -> Float[Array, "*dims segment sample"]:
    return as_float(x)[..., starts[:, None] + np.arange(len(taper))]


def _without_gaps(
    x: Num[Array, " time"], taper: np.ndarray, starts: np.ndarray
) -> tuple[Float[Array, "segment sample"], Bool[Array, " segment"]]:
    """Divide a signal into segments, those with NaN set to 0; also return which have none."""
    pieces = _pieces(x, taper, starts)
    whole = ~jnp.isnan(pieces).any(-1)
    return jnp.where(whole[:, None], pieces, 0), whole


def _of_pieces(
    pieces: Float[Array, "*dims segment sample"], taper: np.ndarray, detrend: str
) -> Complex[Array, "*dims segment frequency"]:
    if detrend == "constant":
        # from the first sample, so that a mean of -65 mV costs a small fluctuation no digits
        pieces = centred(pieces - pieces[..., :1], axis=-1)
    elif detrend != "none":
        raise ValueError(f"detrend={detrend!r} is not one of 'constant', 'none'")
    return jnp.fft.rfft(pieces * jnp.asarray(taper, pieces.dtype))


def _density(taper: np.ndarray, dt: float, dtype: jnp.dtype) -> Float[Array, " frequency"]:
    """Return the factors that make |X|^2 a one-sided density per Hz."""
    # 0 and Nyquist, which an odd number of samples does not have, have no negative counterparts
    double = np.full(len(taper) // 2 + 1, 2.0)
    double[0] = 1
    if len(taper) % 2 == 0:
        double[-1] = 1
    return jnp.asarray(double / np.sum(taper**2), dtype) * (dt * 1e-3)


def _unit_power(
    spectra: Complex[Array, "*dims segment frequency"],
) -> tuple[Complex[Array, "*dims segment frequency"], Bool[Array, "*dims frequency"]]:
    """Scale to a power of 1, summed over segments, at each frequency; also return where there is power.

    Rounding errors do not count as power: 16 eps^2 of the total is more than the rounding of a transform
    puts at one frequency, and less than a signal of that precision can represent.
    """
    power = (jnp.square(spectra.real) + jnp.square(spectra.imag)).sum(-2)
    least = 16 * jnp.finfo(power.dtype).eps ** 2 * power.sum(-1, keepdims=True)
    some = power > least
    scale = jnp.where(some, 1 / jnp.sqrt(jnp.where(some, power, 1)), 0)
    return spectra * scale[..., None, :], some


def _squared(
    s: Complex[Array, "*dims frequency"], defined: Bool[Array, "*dims frequency"]
) -> Float[Array, "*dims frequency"]:
    return jnp.where(defined, jnp.square(s.real) + jnp.square(s.imag), jnp.nan)


def _all_pairs(
    spectra: Complex[Array, "*rest group segment frequency"],
) -> Complex[Array, "*rest group group frequency"]:
    return jnp.einsum("...gsf,...hsf->...ghf", spectra.conj(), spectra, precision=_HIGHEST)


def _by_block(f: Callable[..., Array], *signals: Num[Array, "*dims"], axis: int) -> Array:
    """Apply `f` to each signal along its last axis, some signals at a time; see `psd`."""
    moved = [jnp.moveaxis(jnp.asarray(s), axis, -1) for s in signals]
    dims, n_time = moved[0].shape[:-1], moved[0].shape[-1]
    rows = tuple(s.reshape(-1, n_time) for s in moved)
    if not rows[0].size:  # a loop without iterations has no shape to return
        out = jax.vmap(f)(*rows)
    else:
        most = max(1, _BLOCK // (len(rows) * n_time))
        # a divisor of the number of rows, since `map` would copy the rows to handle a remainder
        size = next(b for b in range(min(most, len(rows[0])), 0, -1) if len(rows[0]) % b == 0)
        out = jax.lax.map(lambda row: jax.checkpoint(f)(*row), rows, batch_size=size)
    return out.reshape(*dims, out.shape[-1])
