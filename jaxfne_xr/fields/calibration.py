"""Scale a readout to a reference."""

from __future__ import annotations

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import check_traced, is_traced, precision_of
from jaxfne_xr.core.dispatch import checked, jointly
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    UnitError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.labels import misaligned, remedy_of_times
from jaxfne_xr.core.numeric import as_floats
from jaxfne_xr.core.results import finish_several
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import magnitude, product, units_of


@public
def calibrate(
    readout: xr.Dataset | xr.DataArray, reference: xr.Dataset | xr.DataArray
) -> xr.Dataset:
    """Scale a readout to a reference by one gain, and report how well it fits.

    Parameters
    ----------
    readout : xr.Dataset or xr.DataArray
        With one variable: a proxy, or a potential.
    reference : xr.DataArray, or xr.Dataset with one variable
        The same quantity in physical units, on the same dims and labels: from a physical forward model, or recorded.

    Returns
    -------
    xr.Dataset
        ``<name>_calibrated`` in the unit of the reference, the gain times the readout; ``calibration_gain``, in that
        unit over the readout's, the least-squares gain ``<x y> / <x x>``; ``calibration_residual`` (1), the root mean
        square of the residual over that of the reference. The record holds gain, residual, and the name and the unit
        of the reference. The scope is that of the readout, or of the reference if it claims less, as a DataArray does.
        `amplitude_status` is 0: a proxy with a gain is still a proxy, and a fitted gain may not hold for other data.

    Raises
    ------
    DimensionError, UnitError
        If the two do not have the same dims, sizes and labels, or the reference has no unit.
    NonFiniteError, DataError
        If either holds NaN or Inf, or is 0 throughout; not checked under a JAX trace.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx, xarray as xr
    >>> ds = jfx.traces(np.array([[1.0, 2.0], [3.0, 4.0]]), ["time", "contact"], dt_ms=0.1, name="lfp_proxy", units="1")
    >>> reference = xr.DataArray(20 * ds.lfp_proxy.data.magnitude, dims=("time", "contact"), attrs={"units": "uV"})
    >>> made = calibrate(ds, reference)
    >>> made.calibration_gain.item(), made.calibration_residual.item(), made.attrs["amplitude_status"]
    (<Quantity(20.0, 'microvolt')>, <Quantity(0.0, 'dimensionless')>, 0)
    """
    arrays = [isinstance(data, xr.DataArray) for data in (readout, reference)]
    readout, reference = as_dataset(readout, "readout"), as_dataset(reference, "reference")
    (name, x, unit), (target, y, target_unit) = (
        _only(readout, "readout", arrays[0]),
        _only(reference, "reference", arrays[1]),
    )
    y = _aligned(readout, x, next(iter(reference.data_vars.values())), y)
    x, y = checked(x, name), checked(y, target)
    gain, residual = jointly(_fit, x, y, dims=[(), ()])
    if is_traced(gain.data):
        numbers: dict[str, float | str] = {"gain": "traced", "residual": "traced"}
        check_traced(name, lambda: jnp.isfinite(gain.data), "a readout that is not 0 throughout")
    else:
        numbers = {"gain": float(gain.data), "residual": float(residual.data)}
        # The gain is divided by the power of the readout, the residual by that of the reference.
        for what, number in ((name, numbers["gain"]), (target, numbers["residual"])):
            if not np.isfinite(number):
                raise DataError.of(
                    what,
                    found="0 throughout",
                    expected="values that are not all 0",
                    remedy="check what it was computed or read from",
                )
    # The gain was summed in another precision than the data may have; the result keeps that of the readout.
    with precision_of(x):
        scaled = xr.Variable(x.dims, x.data * gain.data.astype(x.dtype))
    ratio = product(target_unit, f"1/({unit})") if unit != "1" else target_unit
    return finish_several(
        readout,
        "calibrate",
        {
            f"{name}_calibrated": (scaled, target_unit),
            "calibration_gain": (gain, ratio),
            "calibration_residual": (residual, "1", {"long_name": "residual over reference"}),
        },
        {**numbers, "reference": target, "units": target_unit},
        others=[reference],
    )


def _only(ds: xr.Dataset, where: str, is_array: bool) -> tuple[str, xr.Variable, str]:
    """Return the name, the bare values and the unit of the only variable of a Dataset, or of a DataArray."""
    if len(ds.data_vars) != 1:
        found = f"the variables {list(ds)}"
        remedy = f"{where}[[{next(iter(ds))!r}]]" if ds.data_vars else "the result of a readout"
        raise ArgumentError.of(where, found=found, expected="one variable", remedy=remedy)
    ((key, array),) = ds.data_vars.items()
    name = str(key)
    unit = units_of(array)
    if unit is None:
        remedy = f'{where}["{name}"].attrs["units"] = "uV"'
        remedy = remedy.replace(f'["{name}"]', "") if is_array else remedy
        raise UnitError.of(
            name,
            found="no unit",
            expected="a unit, since the gain converts from one unit to the other",
            remedy=remedy,
        )
    return name, xr.Variable(array.dims, as_floats(magnitude(array.variable.data))), unit


def _aligned(
    readout: xr.Dataset, x: xr.Variable, reference: xr.DataArray, y: xr.Variable
) -> xr.Variable:
    """Return the reference on the dims of the readout; raise an error if sizes or labels differ."""
    if dict(x.sizes) != dict(y.sizes):
        raise DimensionError.of(
            "reference",
            found=f"{dict(y.sizes)}",
            expected=f"the dims and labels of the readout, {dict(x.sizes)}",
            remedy=remedy_of_times(readout, reference, "readout", "reference")
            or "the same samples, contacts or sites of both",
        )
    raise_problems(misaligned(readout, reference, "reference", "the readout", "readout"))
    return y.transpose(*x.dims)


def _fit(x: Array, y: Array) -> tuple[Array, Array]:
    """Return the least-squares gain, and the root mean square of the residual over that of the reference."""
    gain = jnp.sum(x * y) / jnp.sum(x * x)
    left = jnp.sqrt(jnp.mean((y - gain * x) ** 2) / jnp.mean(y * y))
    return gain, left
