"""Losses: the distance of simulated data from a reference, as one number with a unit and a gradient."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_traced, precision_of
from jaxfne_xr.core.dispatch import checked, jointly, mean_over, whole
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    JfneError,
    Problem,
    UnitError,
    VariableError,
    raise_problems,
    renaming,
)
from jaxfne_xr.core.inputs import as_dataset, no_dataset, require_time
from jaxfne_xr.core.labels import misaligned, remedy_of_times
from jaxfne_xr.core.numeric import together
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
from jaxfne_xr.core.unit_checks import kind_problems, unit_in
from jaxfne_xr.core.units import convert, magnitude, product, same_dimension, units_of
from jaxfne_xr.kernels.analysis import losses as kernels
from jaxfne_xr.signals.spikes import firing_rate

from .spectra import FREQUENCY, band_power, edges_Hz, psd


@public
def mean_square_loss(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    over: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Compute the mean square difference of two waveforms.

    Parameters
    ----------
    simulated : xr.Dataset or xr.DataArray
        The data that depend on the parameters: a potential, a voltage, spike times.
    reference : xr.Dataset or xr.DataArray
        The target, with the same labels along its dims, in any order and in any unit that converts. Missing dims are
        broadcast.
    variable : str, optional
        Name of the variable to compare; not needed if they have only one in common.
    over : str or sequence of str, optional
        Dims to average over; all by default. Others are kept: ``over=["time", "contact"]`` leaves one loss per trial.

    Returns
    -------
    xr.Dataset
        ``mean_square_loss``, ``<(x - y)^2>``, in the square of the unit of `simulated` (uV^2) and in its precision. The
        scope is the weaker of the two.

    Raises
    ------
    VariableError
        If they have no variable in common, or several and none is named.
    DimensionError
        If sizes or labels (times, for example) differ, or `over` names an unknown dim.
    UnitError
        If the units do not convert, or only one of the two has one.
    NonFiniteError
        If either has NaN or Inf: how many, and where. Dask data are checked when computed; there is no check under a
        JAX trace.

    Notes
    -----
    `jax.value_and_grad` needs ``.data`` of the result; an optax optimiser takes the gradient::

        optimiser = optax.adam(1e-2)
        state = optimiser.init(parameters)
        for _ in range(300):
            value, slope = jax.value_and_grad(loss)(parameters)
            updates, state = optimiser.update(slope, state)
            parameters = optax.apply_updates(parameters, updates)

    Examples
    --------
    >>> import jax, jax.numpy as jnp, numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(100) * 0.1
    >>> recorded = jfx.traces(3e-3 * np.sin(t), ["time"], dt_ms=0.1, name="lfp", units="mV")
    >>> def loss(gain):
    ...     lfp = jfx.traces(gain * jnp.sin(t), ["time"], dt_ms=0.1, name="lfp", units="uV", quantify=False)
    ...     return mean_square_loss(lfp, recorded).mean_square_loss.data
    >>> gain = 1.0
    >>> for _ in range(50):
    ...     value, slope = jax.value_and_grad(loss)(gain)
    ...     gain -= 0.3 * slope
    >>> print(round(float(gain), 3))
    3.0
    """
    return _mean_square("mean_square_loss", simulated, reference, variable, over)


@public
def correlation_loss(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    over: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Compute one minus the correlation of two waveforms in time, which ignores their amplitude and offset.

    Parameters
    ----------
    simulated, reference, variable
        As for `mean_square_loss`; with ``time``.
    over : str or sequence of str, optional
        Dims other than ``time`` to average over; all by default.

    Returns
    -------
    xr.Dataset
        ``correlation_loss`` (1), the mean of ``1 - r`` with Pearson's r along time of each contact (or site, or trial):
        0 if they differ by a positive factor and an offset only, 1 if they are uncorrelated, 2 if they are opposite. A
        simulated signal that is constant has r = 0, with a gradient of 0.

    Raises
    ------
    VariableError, DimensionError, UnitError, NonFiniteError
        As for `mean_square_loss`.
    DataError
        If a signal of the reference is constant, so that its correlation is not defined. Dask data, and data under a
        JAX trace, are not checked: r = 0 there.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(100) * 2 * np.pi / 100
    >>> wave = lambda phase: jfx.traces(np.sin(t + phase), ["time"], dt_ms=0.1, name="lfp", units="uV")
    >>> loss = correlation_loss(10 * wave(np.pi / 3), wave(0.0))
    >>> round(float(loss.correlation_loss.data.magnitude), 6)
    0.5
    """
    simulated, reference, name = _alike(simulated, reference, variable)
    ds, x, y = _matched(simulated, reference, name, time=True)
    _require_variation(y)
    dims = _over(over, tuple(d for d in x.dims if d != TIME))
    a, b = (whole(kernels.standardised, v, TIME, new_dim=TIME) for v in (x, y))
    with precision_of(a):
        distance = 1 - mean_over(a * b, [TIME])
    made = mean_over(distance, dims)
    parameters = {"of": name, "over": dims}
    return finish(ds, "correlation_loss", made, "1", parameters, others=[reference])


@public
def spectrum_loss(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None = None,
    *,
    over: str | Sequence[str] | None = None,
    bands: Bands | None = None,
    frequencies: Interval | None = None,
    segment: Time | None = None,
    floor: float = 1e-6,
) -> xr.Dataset:
    """Compute the mean square difference of the logarithms of two power spectra, which ignores phase.

    Parameters
    ----------
    simulated, reference, variable
        As for `mean_square_loss`; with ``time``.
    over : str or sequence of str, optional
        Dims to average over, including ``frequency`` (or ``band``); all by default.
    bands : mapping of str to pair of float, str or pint.Quantity, optional
        Compare the power in these bands, Hz, as in `band_power`, instead of the density at each frequency.
    frequencies : pair of float, str or pint.Quantity, optional
        The lowest and the highest frequency to compare, Hz; by default all but 0.
    segment : float, str or pint.Quantity, optional
        As for `psd`, ms.
    floor : float
        Fraction of the reference's mean power (over the frequencies or bands compared) below which differences are
        ignored.

    Returns
    -------
    xr.Dataset
        ``spectrum_loss`` (1), ``<ln((S + e) / (R + e))^2>`` with ``e = floor <R>``; times ``(10 / ln 10)^2``, about
        18.9, it is in dB^2.

    Raises
    ------
    VariableError, DimensionError, UnitError, NonFiniteError
        As for `mean_square_loss`.
    DataError
        If a signal of the reference is constant, so that it has no power. Dask data, and data under a JAX trace, are
        not checked: the difference is 0 there.
    ArgumentError
        If the floor is not positive, no frequency is left, both `bands` and `frequencies` are given, or a segment or
        band does not fit.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> t = np.arange(1000.0)
    >>> wave = lambda a: jfx.traces(a * np.sin(0.1 * np.pi * t), ["time"], dt_ms=1.0, name="lfp", units="uV")
    >>> loss = spectrum_loss(wave(10.0), wave(1.0), segment=200, bands={"gamma": (30, 80)})
    >>> round(float(loss.spectrum_loss.data.magnitude), 3), round(float(np.log(100)) ** 2, 3)
    (21.208, 21.208)
    """
    simulated, reference, name = _alike(simulated, reference, variable)
    ds, x, y = _matched(simulated, reference, name, time=True)
    problems = []
    if not 0 < floor < np.inf:
        expected = "a positive fraction of the reference's power"
        problems.append(Problem("floor", f"{floor!r}", expected, "floor=1e-6", ArgumentError))
    if bands is not None and frequencies is not None:
        found, remedy = (
            "bands and frequencies",
            'bands={"gamma": (30, 80)}, or frequencies=(1, 100)',
        )
        problems.append(Problem("bands", found, "one of the two", remedy, ArgumentError))
    raise_problems(problems)
    _require_variation(y)
    dim = FREQUENCY if bands is None else "band"
    dims = _over(over, tuple(dim if d == TIME else d for d in x.dims))
    spectra = [
        psd(xr.Dataset({name: v}, coords_along(ds, x.dims)), name, segment=segment) for v in (x, y)
    ]
    if bands is None:
        chosen = _between(spectra[0][FREQUENCY].values, frequencies)
        power, reference_power = (s.variables["psd"].isel({dim: chosen}) for s in spectra)
        labels = {dim: spectra[0][dim].variable.isel({dim: chosen})}
        compared: list[float] | dict[str, list[float]] = [float(labels[dim][i]) for i in (0, -1)]
    else:
        in_bands = [band_power(s, bands) for s in spectra]
        power, reference_power = (s.variables["band_power"] for s in in_bands)
        labels = {c: in_bands[0].variables[c] for c in ("band", "low", "high")}
        compared = {
            n: [float(v) for v in e]
            for n, *e in zip(*(c.data for c in labels.values()), strict=True)
        }
    # The floor keeps frequencies without power from dominating the logarithm.
    (ratio,) = jointly(
        kernels.log_ratio,
        power,
        reference_power,
        dims=[power.dims],
        numbers=(float(floor),),
        axis=power.get_axis_num(dim),
    )
    made = mean_over(ratio, dims, "square")
    parameters = {
        "of": name,
        "over": dims,
        "segment_ms": 1e3 / float(spectra[0][FREQUENCY][1]),
        "floor": floor,
        "bands_Hz" if bands else "frequencies_Hz": compared,
    }
    kept = labels if dim in made.dims else {}
    return finish(ds, "spectrum_loss", made, "1", parameters, coords=kept, others=[reference])


@public
def rate_loss(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str = "firing_rate",
    *,
    over: str | Sequence[str] | None = None,
) -> xr.Dataset:
    """Compute the mean square difference of firing rates.

    Parameters
    ----------
    simulated : xr.Dataset or xr.DataArray
        Rates, from `soft_firing_rate` or `summary`; or Signals, whose `firing_rate` is computed: made with a
        surrogate, since spikes have no gradient without one.
    reference : xr.Dataset or xr.DataArray
        Likewise; of any duration, since rates have no ``time``.
    variable : str
        Name of the variable with the rates.
    over : str or sequence of str, optional
        Dims to average over; all by default.

    Returns
    -------
    xr.Dataset
        ``rate_loss``, ``<(f - f_reference)^2>``, in the square of the unit of the simulated rate (Hz^2).

    Raises
    ------
    VariableError, DimensionError, UnitError, NonFiniteError
        As for `mean_square_loss`; VariableError also if there are neither rates nor spikes.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> v = np.where(np.arange(1000) % 100 == 50, 20.0, -65.0)
    >>> signals = jfx.traces(v, ["time"], dt_ms=0.1).jfne.to_signals(surrogate="arctan")
    >>> loss = rate_loss(signals, xr.DataArray(90.0, attrs={"units": "Hz"}))
    >>> round(float(loss.rate_loss.data.magnitude), 6), str(loss.rate_loss.pint.units)
    (100.0, 'hertz ** 2')
    """
    one, other = (
        firing_rate(data) if _has_spikes(data, variable) else data
        for data in (simulated, reference)
    )
    return _mean_square("rate_loss", one, other, variable, over)


def _has_spikes(data: object, variable: str) -> bool:
    """Whether `data` are Signals or spikes, of which rates have to be computed first."""
    if isinstance(data, xr.DataArray):
        return data.name == "spikes" or data.dtype.kind == "b"
    return isinstance(data, xr.Dataset) and variable not in data.data_vars


def _mean_square(
    function: str,
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None,
    over: str | Sequence[str] | None,
) -> xr.Dataset:
    simulated, reference, name = _alike(simulated, reference, variable)
    ds, x, y = _matched(simulated, reference, name)
    dims = _over(over, x.dims)
    with precision_of(x):
        difference = x - y
    unit = None if units_of(x) is None else unit_in(x, name)
    made = mean_over(difference, dims, "square")
    parameters = {"of": name, "over": dims}
    return finish(ds, function, made, unit and product(unit, unit), parameters, others=[reference])


# ------------------------------------------------------------------------------------------- matching the two


def _alike(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None,
) -> tuple[xr.Dataset, xr.Dataset, str]:
    """Return two Datasets, and the name of the variable that they have in common."""
    given = {"simulated": simulated, "reference": reference}
    for where, data in given.items():
        if not isinstance(data, (xr.Dataset, xr.DataArray)):
            raise no_dataset(data, where, "a Dataset or a DataArray")
    name = _common(simulated, reference, variable)
    one, other = (as_dataset(data, where, name=name) for where, data in given.items())
    return one, other, name


def _matched(
    simulated: xr.Dataset, reference: xr.Dataset, name: str, *, time: bool = False
) -> tuple[xr.Dataset, xr.Variable, xr.Variable]:
    """Return the simulated Dataset, and the variable of it and of the reference, bare and comparable.

    Both are checked, and have the dims, the unit (in attrs) and the precision of the simulated.
    """
    x, y = simulated.variables[name], reference.variables[name]
    if time:
        require_time(simulated, name)
        require_time(reference, name)
    units = [units_of(v) for v in (x, y)]
    problems = [p for v in (x, y) if v.dtype.kind != "b" for p in kind_problems(v, name)]
    problems += _unit_problems(*units) + _dim_problems(simulated[[name]], reference[name])
    raise_problems(problems)
    unit = units[0] or "1"
    a, b = (
        checked(xr.Variable(v.dims, magnitude(v.data)), called).data
        for v, called in ((x, name), (y, "reference"))
    )
    a, b = together(a, b)
    with precision_of(a):
        # Integers and booleans become floats: they cannot be converted or differentiated.
        a = a if a.dtype.kind not in "biu" else a * 1.0
        b = convert(b * 1.0 if b.dtype.kind in "biu" else b, units[1] or "1", unit).astype(a.dtype)
    b = xr.Variable(y.dims, b).set_dims(dict(x.sizes)).transpose(*x.dims).data
    attrs = {"units": unit}
    return simulated, xr.Variable(x.dims, a, attrs), xr.Variable(x.dims, b, attrs)


def _common(
    simulated: xr.Dataset | xr.DataArray,
    reference: xr.Dataset | xr.DataArray,
    variable: str | None,
) -> str:
    """Return the name of the variable that the two have in common; a DataArray matches any name."""
    given = (simulated, reference)
    names = [list(map(str, d.data_vars)) for d in given if isinstance(d, xr.Dataset)]
    called = [str(d.name) for d in given if isinstance(d, xr.DataArray) and d.name is not None]
    if not names:
        return variable or (called or ["waveform"])[0]
    common = [n for n in names[0] if n in names[-1]]
    if variable is None:
        named = [n for n in called if n in common]
        choice = (named or common)[0] if named or len(common) == 1 else None
    else:
        choice = variable if variable in common else None
    if choice is None:
        asked = f", and variable={variable!r}" if variable is not None else ""
        raise VariableError.of(
            "variable",
            found=f"the variables {' and '.join(map(str, names))}{asked}",
            expected="one variable in common, or the name of one of several",
            remedy=f'variable="{common[0]}"'
            if common
            else renaming(names[1], names[0][0] if names[0] else "lfp", of="reference"),
        )
    return choice


def _unit_problems(unit: str | None, other: str | None) -> list[Problem]:
    if unit == other or (unit and other and same_dimension(other, unit)):
        return []
    found = f"{other or 'no unit'}, and a simulation in {unit or 'no unit'}"
    expected = "two units that convert to each other, or none in either"
    remedy = f'reference.attrs["units"] = "{unit}", if that is what it is in'
    if unit is None:
        remedy = f'simulated.attrs["units"] = "{other}", if that is what it is in'
    return [Problem("reference", found, expected, remedy, UnitError)]


def _dim_problems(simulated: xr.Dataset, reference: xr.DataArray) -> list[Problem]:
    """Return the problems of broadcasting the reference to the simulated, dim by dim."""
    wrong = {str(d): n for d, n in reference.sizes.items() if n != simulated.sizes.get(d)}
    if wrong:
        expected = f"the sizes of the simulated, {dict(simulated.sizes)}"
        remedy = "the same samples, contacts or sites of both"
        if [*wrong] == [TIME]:
            remedy = remedy_of_times(simulated, reference, "simulated", "reference") or remedy
        return [Problem("reference", f"the sizes {wrong}", expected, remedy, DimensionError)]
    if TIME in reference.dims and all(TIME in d.coords for d in (simulated, reference)):
        try:
            t, _ = sampling(simulated, None)
            u, _ = sampling(reference.coords.to_dataset(), None)
        except JfneError as error:
            return list(error.problems)
        if not same_times(t, u):
            found = f"{times_text(u)}, and a simulation of {times_text(t)}"
            remedy = time_remedy(t, u, "simulated", "reference")
            return [Problem(TIME, found, "the same times in both", remedy, DimensionError)]
        reference = reference.drop_vars(TIME)
    return misaligned(simulated, reference, "reference", "the simulated", "simulated")


def _over(over: str | Sequence[str] | None, dims: tuple[Hashable, ...]) -> list[str]:
    """Return the dims to average over."""
    known = [str(d) for d in dims]
    if over is None:
        return known
    asked = [over] if isinstance(over, str) else list(over)
    unknown = [d for d in asked if d not in known]
    if unknown:
        found, remedy = f"{unknown}", f"over={known}, or leave it out"
        raise DimensionError.of("over", found=found, expected=f"some of {known}", remedy=remedy)
    return [d for d in known if d in asked]


def _require_variation(y: xr.Variable) -> None:
    """Raise if a signal of a reference whose values are known is constant in time."""
    if is_dask(y.data) or is_traced(y.data):
        return
    data = np.moveaxis(np.asarray(y.data), y.get_axis_num(TIME), 0)
    silent = (data == data[:1]).all(axis=0)
    if silent.any():
        rest = [str(d) for d in y.dims if d != TIME]
        first = ", ".join(f"{d}={i}" for d, i in zip(rest, np.argwhere(silent)[0], strict=True))
        raise DataError.of(
            "reference",
            found=f"{silent.sum()} of {silent.size} signals constant in time"
            + (f", the first at index {first}" if rest else ""),
            expected="signals that vary: constant ones have no correlation and no spectrum",
            remedy="leave them out of both with .isel, or use mean_square_loss",
        )


def _between(f: np.ndarray, limits: Interval | None) -> np.ndarray:
    """Return the indices of the frequencies from the lowest to the highest to compare; all but 0 by default."""
    if limits is None:
        return np.flatnonzero(f > 0)
    low, high = edges_Hz(limits, "frequencies", "frequencies=(1, 100)")
    # Limits are inclusive, up to rounding.
    chosen = np.flatnonzero((f >= low * (1 - 1e-9)) & (f <= high * (1 + 1e-9)))
    if not chosen.size:
        found = f"{low:g} to {high:g} Hz, with none of the {len(f)} frequencies"
        expected = f"some from {f[0]:g} to {f[-1]:g} Hz, {f[1]:g} Hz apart"
        remedy = "a wider range, or a longer segment"
        raise ArgumentError.of("frequencies", found=found, expected=expected, remedy=remedy)
    return chosen
