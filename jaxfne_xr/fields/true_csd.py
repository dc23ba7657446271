"""The ground truth of the current source density: the currents of a simulation, binned in space.

In uA/mm^3; sources (outward membrane currents) are positive.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax, is_traced
from jaxfne_xr.core.dispatch import checked, contract, on_arrays, whole
from jaxfne_xr.core.errors import ArgumentError, DimensionError
from jaxfne_xr.core.inputs import as_dataset, require_site_dim
from jaxfne_xr.core.results import finish_several
from jaxfne_xr.core.schema import UNITS
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, ArrayLike, Length, Lengths
from jaxfne_xr.core.unit_checks import in_nA
from jaxfne_xr.core.values import positive, values_in
from jaxfne_xr.geometry.sites import extent
from jaxfne_xr.kernels.fields import true_csd as kernels

from .membrane_currents import with_currents

SIGN = {"sign_convention": "source positive"}


@public
def ground_truth_csd(
    ds: xr.Dataset | xr.DataArray,
    bins: Lengths | None = None,
    *,
    grid: Mapping[str, ArrayLike] | None = None,
    radius: Length = 250.0,
    centre: Lengths = (0.0, 0.0),
    along: str = "z",
) -> xr.Dataset:
    """Compute the true current source density: the currents of segments, binned in space.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        ``i_membrane`` (nA, outward positive), or voltages to compute it from, or a ``source`` in nA; on sites with
        ends ``x_start`` ... ``z_end``, or with ``x``, ``y``, ``z`` for points (um).
    bins : array (edge,)
        Borders of stacked cylinders, um, increasing; a laminar probe would be in their axis.
    grid : mapping, in place of bins
        Borders of boxes along ``"x"``, ``"y"`` and ``"z"``, um.
    radius : float, str or pint.Quantity
        Radius of the cylinders, um.
    centre : (2,)
        Position of their axis in the two other dimensions, um.
    along : {"x", "y", "z"}
        Direction of their axis.

    Returns
    -------
    xr.Dataset
        ``csd`` (time, depth), or (time, x, y, z), uA/mm^3, sources positive. The middle of each bin, its ``volume``
        (um^3) and, for cylinders, its borders ``depth_lower`` and ``depth_upper`` are coordinates. ``i_outside`` (nA):
        the current outside of all bins, so that ``(csd * volume).sum() * 1e-6 + i_outside`` is the sum of all
        currents.

    Raises
    ------
    VariableError, DimensionError, UnitError, ArgumentError
        If there are no currents or positions, or the bins cannot be used.

    Notes
    -----
    The current of a segment is spread evenly over its length and split exactly at the borders: none is lost,
    none is counted twice. No conductor is involved, so the scope claims no amplitude of a field.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> i = xr.Dataset({"i_membrane": (("time", "recording"), [[-1.0, 1.0]], {"units": "nA"})})
    >>> i = i.assign_coords({a: ("recording", [0.0, 0.0], {"units": "um"}) for a in "xy"})
    >>> i = i.assign_coords(z=("recording", [50.0, 350.0], {"units": "um"}))
    >>> made = ground_truth_csd(i, bins=[0, 100, 200, 300, 400], radius="100 um")
    >>> made.csd.values.round(4), made.depth.values
    (array([[-0.3183,  0.    ,  0.    ,  0.3183]]), array([ 50., 150., 250., 350.]))
    """
    ds = as_dataset(ds, "ds")
    if (bins is None) == (grid is None):
        found = "neither bins nor grid" if bins is None else "both bins and grid"
        raise ArgumentError.of(
            "bins",
            found=found,
            expected="one of the two",
            remedy="bins=np.arange(0, 1001, 100)" if bins is None else "bins=None, or grid=None",
        )
    ds, name = with_currents(ds)
    variable = checked(in_nA(ds.variables[name]), name)
    dim = require_site_dim(variable, name)
    start, end = extent(ds, dim)
    if grid is None:
        if along not in tuple("xyz"):
            raise ArgumentError.of(
                "along", found=repr(along), expected="x, y or z", remedy='along="z"'
            )
        edges = _edges(bins, "bins")
        size = positive(radius, "um", "radius")
        size = size if is_jax(size) else np.asarray(size)
        middle = values_in(centre, "um", "centre")
        if middle.shape != (2,):
            raise DimensionError.of(
                "centre",
                found=f"the shape {middle.shape}",
                expected="two numbers",
                remedy="centre=(0, 0)",
            )
        matrix, outside, volume = on_arrays(
            _cylinders, start, end, edges, size, middle, depth_axis="xyz".index(along)
        )
        made = contract(matrix, variable, dim, "depth")
        coords = {"depth": _coordinate("depth", (edges[1:] + edges[:-1]) / 2)}
        # Positions along x, y or z need not increase downwards, as the usual name of depth would say.
        coords["depth"].attrs["long_name"] = f"position along {along}"
        coords |= {
            f"depth_{side}": _coordinate("depth", x)
            for side, x in (("lower", edges[:-1]), ("upper", edges[1:]))
        }
        record: dict[str, Any] = {"radius_um": size, "centre_um": middle, "along": along}
        dims: tuple[str, ...] = ("depth",)
    else:
        if set(grid) != set("xyz"):
            raise ArgumentError.of(
                "grid",
                found=f"borders along {list(grid)}",
                expected="along x, y and z",
                remedy='grid=dict.fromkeys("xyz", np.arange(-500, 501, 100))',
            )
        dims = tuple("xyz")
        borders = [_edges(grid[a], a) for a in dims]
        # Most segments lie in a few boxes: their number is found first, so that the kernel keeps no empty pieces. Under
        # a trace it has to keep them all.
        pieces = on_arrays(_most_pieces, start, end, *borders)
        pieces = None if is_traced(pieces) else int(pieces)
        binning = on_arrays(_boxes, start, end, *borders, pieces=pieces)
        outside, volume = binning.outside, binning.volume
        made = whole(_binned, variable, dim, binning, new_dim="voxel")
        made = made.unstack(voxel={a: len(b) - 1 for a, b in zip(dims, borders, strict=True)})
        made = made.transpose(
            *sorted((d for d in made.dims if d not in dims), key=lambda d: d != TIME), *dims
        )
        coords = {
            a: _coordinate(a, (b[1:] + b[:-1]) / 2) for a, b in zip(dims, borders, strict=True)
        }
        record = {"voxels": [len(b) - 1 for b in borders]}
    coords["volume"] = xr.Variable(dims, volume, {"units": "um^3"})
    left = contract(outside, variable, dim, None)
    return finish_several(
        ds,
        "ground_truth_csd",
        {"csd": (made, UNITS["csd"], SIGN), "i_outside": (left, UNITS["i_outside"])},
        {key: provenance.recorded(value) for key, value in record.items()} | {"of": name, **SIGN},
        coords=coords,
    )


def _edges(given: ArrayLike, name: str) -> np.ndarray:
    edges = np.asarray(values_in(given, "um", name), float)
    if (
        edges.ndim != 1
        or len(edges) < 2
        or not (np.isfinite(edges).all() and (np.diff(edges) > 0).all())
    ):
        raise ArgumentError.of(
            name,
            found=f"{edges.ravel()[:6].tolist()} um",
            expected="two or more increasing borders",
            remedy=f"{name}=np.arange(0, 1001, 100)",
        )
    return edges


def _coordinate(dim: str, values: Array) -> xr.Variable:
    return xr.Variable(dim, values, {"units": "um"})


def _cylinders(
    start: Array, end: Array, edges: Array, radius: Array, centre: Array, *, depth_axis: int
) -> tuple[Array, Array, Array]:
    made = kernels.laminar_binning(start, end, edges, radius, centre, depth_axis=depth_axis)
    return kernels.density_matrix(made), made.outside, made.volume


def _most_pieces(start: Array, end: Array, *edges: Array) -> Array:
    return kernels.piece_count(kernels.voxel_binning(start, end, edges))


def _boxes(start: Array, end: Array, *edges: Array, pieces: int | None) -> kernels.Binning:
    made = kernels.voxel_binning(start, end, edges)
    return made if pieces is None else kernels.compact_binning(made, pieces=pieces)


def _binned(current: Array, binning: kernels.Binning, *, axis: int) -> Array:
    rest = [n for i, n in enumerate(current.shape) if i != axis]
    made = kernels.binned_density(binning, jnp.moveaxis(current, axis, 0))
    return jnp.moveaxis(made.reshape(-1, *rest), 0, axis)
