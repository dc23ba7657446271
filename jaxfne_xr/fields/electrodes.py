"""The shape of contacts: points, or surfaces over which a potential is averaged."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, VariableError, raise_problems, warn
from jaxfne_xr.core.stored import as_stored
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.unit_checks import unit_problem
from jaxfne_xr.core.units import convert, magnitude, units_of
from jaxfne_xr.geometry.positions import position_name, positions_along, positions_of
from jaxfne_xr.kernels.fields import electrode

#: Shapes of contacts.
SHAPES = ("point", "disk", "square")
#: Other names for them, in the coordinate ``shape`` of a probe.
SYNONYMS = {"circle": "disk", "disc": "disk"}
#: The plural of each, for results.
PLURALS = {"point": "points", "disk": "disks", "square": "squares"}
NORMALS = ("normal_x", "normal_y", "normal_z")


@dataclass(frozen=True)
class Electrodes:
    """Contacts, each a point or a flat surface.

    Attributes
    ----------
    place : array (contact, 3)
        The middle of each, um.
    shapes : array (contact) of str
        One of `SHAPES` for each.
    normal, radius : array (contact, 3) and array (contact), or None
        Of surfaces: the vector perpendicular to each, and its radius, or half the side of a square, um.
    """

    place: Array
    shapes: np.ndarray
    normal: Array = None
    radius: Array = None

    @property
    def words(self) -> str:
        """What the contacts are: ``"points"``, ``"disks"``, ``"disks and points"``."""
        return " and ".join(PLURALS[shape] for shape in sorted({*self.shapes.tolist()}))

    def by_shape(self) -> list[tuple[str, np.ndarray, Array, tuple[Array, ...]]]:
        """Return each shape that occurs, the contacts that have it, their places, and their normals and radii."""
        parts = []
        for shape in sorted({*self.shapes.tolist()}):
            rows = np.flatnonzero(self.shapes == shape)
            surface = () if shape == "point" else (self.normal[rows], self.radius[rows])
            parts.append((shape, rows, self.place[rows], surface))
        return parts

    def reach(self) -> Array:
        """Return how far each extends from its middle along x, y and z (contact, 3), um; 0 for points."""
        reach = np.zeros((len(self.shapes), 3))
        for shape, rows, _, surface in self.by_shape():
            if surface:
                reach[rows] = on_arrays(electrode.electrode_reach, *surface, shape=shape)
        return reach


def electrodes_of(
    contacts: xr.Dataset,
    shape: str | None = None,
    dim: str = "contact",
    *,
    warn_if_unused: bool = False,
) -> Electrodes:
    """Return the contacts of a probe, as surfaces if their size and the normal of their surface are known.

    Parameters
    ----------
    contacts : xr.Dataset
        With positions; with ``radius`` (or ``area``) and ``normal_x`` ... ``normal_z`` for surfaces, which are disks
        unless the coordinate ``shape`` says ``"square"``.
    shape : str, optional
        One of `SHAPES`, for all contacts.
    dim : str
        The dim of the contacts.
    warn_if_unused : bool
        Whether to warn of contacts that have a size but no normal, and so are taken as points.

    Raises
    ------
    VariableError, ArgumentError, UnitError
        If `shape` is a surface and there is no size or no normal; if a radius is negative or not finite, or a normal 0.
    """
    contacts = as_stored(contacts)
    place = positions_along(contacts, dim, "xyz")
    known = {
        name: found
        for name in (*NORMALS, "radius", "area", "shape")
        if (found := position_name(contacts, name, dim)) in contacts.coords
        and contacts.variables[found].dims == (dim,)
    }
    sized = "radius" in known or "area" in known
    missing = [n for n in NORMALS if n not in known] + ([] if sized else ["radius"])
    if shape not in (None, "point") and missing:
        raise VariableError.of(
            "shape",
            found=f"{shape!r}, but contacts without {missing}",
            expected="the size of each contact and the normal of its surface",
            remedy='jfx.linear_probe(16, radius="7.5 um", normal=(0, 1, 0)), or shape="point"',
        )
    if shape == "point" or missing:
        if warn_if_unused and shape is None and sized:
            warn(
                "contacts have a radius but no normal, so they are taken as points, not as surfaces: "
                'jfx.linear_probe(..., normal=(0, 1, 0)), or shape="point" if points are meant.'
            )
        return Electrodes(place, np.full(len(place), "point"))
    shapes = np.full(len(place), shape or "disk")
    if shape is None and "shape" in known:
        shapes = _shapes(contacts.variables[known["shape"]])
    columns = [magnitude(contacts.variables[known[name]].data) for name in NORMALS]
    normal = (jnp.stack if any(map(is_jax, columns)) else np.stack)(columns, axis=-1)
    radius = _radii(contacts, known, dim, shapes)
    _require_surfaces(normal, radius, dim)
    return Electrodes(place, shapes, normal, radius)


def _shapes(variable: xr.Variable) -> np.ndarray:
    names = [str(name) for name in np.asarray(variable.data).tolist()]
    shapes = np.array([SYNONYMS.get(name, name) for name in names])
    unknown = sorted({*shapes.tolist()} - {*SHAPES})
    if unknown:
        raise ArgumentError.of(
            "shape",
            found=f"contacts of the shape {unknown[0]!r}",
            expected=f"one of {list(SHAPES)} for each",
            remedy='probe.drop_vars("shape"), for disks with the radius of each',
        )
    return shapes


def _radii(contacts: xr.Dataset, known: dict[str, str], dim: str, shapes: np.ndarray) -> Array:
    """Return the radius of each disk and half the side of each square, um, from ``radius``, else from ``area``."""
    if "radius" in known:
        return positions_of(contacts, dim, ["radius"])[:, 0]
    variable = contacts.variables[known["area"]]
    raise_problems(unit_problem(variable, "area", "um^2"))
    area = convert(magnitude(variable.data), str(units_of(variable)), "um^2")
    return (area / np.where(shapes == "square", 4.0, np.pi)) ** 0.5


def _require_surfaces(normal: Array, radius: Array, dim: str) -> None:
    """Raise if a radius is negative or not finite, or a normal has no direction; traced values are not checked."""
    if is_traced(normal) or is_traced(radius):
        check_traced("radius", lambda: jnp.all(jnp.asarray(radius) >= 0), "0 um or more")
        return
    size, length = np.asarray(radius, float), np.linalg.norm(np.asarray(normal, float), axis=1)
    for name, values, bad, expected, shown in (
        ("radius", size, ~((size >= 0) & (size < np.inf)), "0 um or more", " um"),
        ("normal", length, ~((length > 0) & (length < np.inf)), "a direction, not all 0", ""),
    ):
        if bad.any():
            first = int(np.argmax(bad))
            of = "a normal of length " if name == "normal" else ""
            raise ArgumentError.of(
                name,
                found=f"{of}{values[first]:g}{shown} at {dim} {first}",
                expected=expected,
                remedy=f'probe.drop_isel({dim}=[{first}]), or probe.drop_vars("radius") for points',
            )


def lead_field_of(
    contacts: Electrodes,
    *arrays: Array,
    kernel: Callable[..., Array],
    order: int,
    **options: Hashable,
) -> Array:
    """Compute the lead field (contact, site) of contacts of any shape, averaged over the surface of each."""
    parts = contacts.by_shape()
    fields = [
        on_arrays(
            _of_one_shape,
            place,
            *arrays,
            *surface,
            kernel=kernel,
            shape=shape,
            order=order,
            **options,
        )
        for shape, _, place, surface in parts
    ]
    return in_order(fields, [rows for _, rows, _, _ in parts])


def in_order(parts: list[Array], rows: list[np.ndarray]) -> Array:
    """Join arrays of some contacts each, given the number of each contact."""
    if len(parts) == 1:
        return parts[0]
    joined = (jnp if any(map(is_jax, parts)) else np).concatenate(parts)
    return joined[np.argsort(np.concatenate(rows))]


def _of_one_shape(
    contact: Array,
    *arrays: Array,
    kernel: Callable[..., Array],
    shape: str,
    order: int,
    **options: Hashable,
) -> Array:
    """Compute the lead field of contacts of one shape; for surfaces the last arrays are their normals and radii."""
    if shape == "point":
        return kernel(contact, *arrays, **options)
    *arguments, normal, radius = arrays
    nodes, weights = electrode.electrode_nodes(contact, normal, radius, shape=shape, order=order)  # type: ignore[arg-type]
    return electrode.electrode_mean(lambda p: kernel(p, *arguments, **options), nodes, weights)


def averaged(
    contacts: Electrodes, lead_field: Callable[[Array, np.ndarray], Array], order: int = 3
) -> Array:
    """Average a lead field over the surface of each contact.

    Parameters
    ----------
    contacts : Electrodes
        The contacts.
    lead_field : callable
        From positions (row, 3), um, and the number of the contact that each is on, to an array (row, ...).
    order : int
        Order of the quadrature.
    """
    fields, rows_of = [], []
    for shape, rows, place, surface in contacts.by_shape():
        rows_of.append(rows)
        if not surface:
            fields.append(lead_field(place, rows))
            continue
        nodes, weights = on_arrays(
            electrode.electrode_nodes, place, *surface, shape=shape, order=order
        )
        n, k = nodes.shape[:2]
        each = lead_field(nodes.reshape(n * k, 3), np.repeat(rows, k))
        each = each.reshape(n, k, *each.shape[1:])
        fields.append((each * weights.reshape(1, k, *(1,) * (each.ndim - 2))).sum(axis=1))
    return in_order(fields, rows_of)
