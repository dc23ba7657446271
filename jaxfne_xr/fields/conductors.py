"""Forward models of the potential at a contact due to a current that leaves a segment.

Each is a frozen dataclass and a pytree: its numbers (conductivity, thickness, ...) are leaves, so that a loss can be
differentiated with respect to them and a model passed to a jitted function; its text settings (``shape="disk"``) are
static. Calling a model with a Dataset of sites and a Dataset of contacts returns the lead field (contact, site) in
uV/nA. `lead_field` accepts any other callable that does the same.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import ClassVar

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, Problem, raise_problems
from jaxfne_xr.core.types import Array, Conductivity, Length, Scalars
from jaxfne_xr.geometry.sites import ends, middles, radii, roots, sites_dim
from jaxfne_xr.kernels.fields import homogeneous as kernels
from jaxfne_xr.kernels.fields import slab

from .electrodes import SHAPES, Electrodes, electrodes_of, lead_field_of
from .model import ForwardModel, forward_model, static
from .parameters import array, is_number, is_vector, read

#: Kinds of source, and their names in ``field_solver_status``.
SOURCES = {"point": "point_source", "line": "line_source", "root_as_point": "root_as_point"}
#: The same in words, for the sentence that describes a solver.
SOURCE_WORDS = {
    "point": "point sources",
    "line": "line sources",
    "root_as_point": "line sources and a point for each soma",
}
#: Unbounded media, and their names in ``field_solver_status``.
UNBOUNDED = {
    "homogeneous": "an infinite homogeneous conductor",
    "anisotropic": "an infinite anisotropic conductor",
}


def solvers(kinds: Iterable[str], media: Mapping[str, str]) -> dict[str, str]:
    """Return the solver of every combination of a kind of source and a medium, with the sentence that describes it."""
    return {
        f"{SOURCES[kind]}_{medium}": f"The field is that of {SOURCE_WORDS[kind]} in {words}."
        for kind in kinds
        for medium, words in media.items()
    }


class Conductor(ForwardModel):
    """Base of models of the extracellular potential: the shape of electrodes, and the minimum distance."""

    # Only declared here: each model makes them its fields, in the order of its parameters.
    conductivity: Scalars
    min_distance: Length | None
    shape: str | None
    order: int
    root: str

    kind: ClassVar[str]
    units: ClassVar[Mapping[str, str]] = {"conductivity": "S/m", "min_distance": "um"}

    @property
    def medium(self) -> str:
        """The name of the medium in ``field_solver_status``."""
        return "anisotropic" if is_vector(self.conductivity) else "homogeneous"

    @property
    def solver(self) -> str:
        """The ``field_solver_status`` of potentials made with this model."""
        return f"{SOURCES[self.kind]}_{self.medium}"

    def solver_for(self, quantity: str) -> str:
        """Return the ``field_solver_status`` of potentials made with this model."""
        return self.solver

    def extent(self, sites: xr.Dataset) -> tuple[Array, ...]:
        """Return points (site, 3) that represent the sites, or their starts and ends, and which are roots; um."""
        dim = sites_dim(sites)
        if self.kind == "point":
            return (middles(sites, dim),)
        if self.kind == "root_as_point":
            return (*ends(sites, dim), roots(sites, dim, self.root))
        return ends(sites, dim)

    def limit(self, sites: xr.Dataset) -> Array:
        """Return the minimum distance (site,) of each site, um."""
        dim = sites_dim(sites)
        if self.min_distance is None:
            return radii(sites, dim, type(self).__name__)
        return array(self.min_distance, "min_distance") * np.ones(sites.sizes[dim])

    def _check_electrodes(self) -> None:
        if self.shape is not None and self.shape not in SHAPES:
            expected = f"one of {list(SHAPES)}"
            raise ArgumentError.of(
                "shape", found=repr(self.shape), expected=expected, remedy='shape="disk"'
            )
        if not _is_count(self.order):
            raise ArgumentError.of(
                "order", found=repr(self.order), expected="1 or more", remedy="order=3"
            )

    def electrodes(self, contacts: xr.Dataset, *, warn_if_unused: bool = False) -> Electrodes:
        """Return the contacts as points or surfaces; `warn_if_unused` warns of a size that is not used."""
        return electrodes_of(contacts, self.shape, warn_if_unused=warn_if_unused)


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class PointSource(Conductor):
    """Each site is a point, in an infinite conductor.

    Parameters
    ----------
    conductivity : float, str, pint.Quantity, or three of them
        Conductivity of the tissue, S/m; three for x, y and z.
    min_distance : float, str or pint.Quantity, optional
        Contacts nearer to a site than this, um, get the potential at this distance. By default the radius of each
        segment.
    shape : {"point", "disk", "square"}, optional
        Shape of the contacts. The potential is averaged over a disk or a square with the probe's ``radius`` (half the
        side of a square) and ``normal``. By default contacts that have both are disks, or what the coordinate ``shape``
        of the probe says; others are points.
    order : int
        Order of the quadrature over a surface. 3 is exact to 1e-5 on a disk for sources in front of it, as near as its
        radius, and to 5e-5 for sources in its plane, twice the radius from its middle; nearer ones need more.

    Notes
    -----
    ``phi = I / (4 pi sigma r)``. The medium is infinite, linear, without capacitance; the potential is
    zero at infinity. Nicholson and Freeman, J Neurophysiol 38, 1975. Gradients are finite everywhere.

    Examples
    --------
    >>> PointSource("3 mS/cm")
    PointSource(conductivity=0.3 S/m, min_distance=radius of each segment, shape=that of the contacts, order=3)
      phi = I / (4 pi sigma max(r, min_distance))
    """

    conductivity: Scalars = 0.3
    min_distance: Length | None = None
    shape: str | None = static(None)
    order: int = static(3)

    kind: ClassVar[str] = "point"
    solvers: ClassVar[Mapping[str, str]] = solvers(["point"], UNBOUNDED)
    equation: ClassVar[str] = "phi = I / (4 pi sigma max(r, min_distance))"

    def __post_init__(self) -> None:
        self._check_electrodes()
        read(self, positive=("conductivity",), vectors=("conductivity",))

    def __call__(self, sites: xr.Dataset, contacts: xr.Dataset) -> Array:
        """Compute the lead field (contact, site), uV/nA."""
        return lead_field_of(
            self.electrodes(contacts, warn_if_unused=True),
            *self.extent(sites),
            array(self.conductivity, "conductivity"),
            self.limit(sites),
            kernel=_HOMOGENEOUS[self.kind],
            order=self.order,
        )


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class LineSource(PointSource):
    """Each site is a straight line from its start to its end, in an infinite conductor; parameters as in `PointSource`.

    Notes
    -----
    ``phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))``, r1 and r2 the distances to the ends:
    the mean of a point source over the line. ``min_distance`` is measured to the finite line. Holt and Koch, J Comput
    Neurosci 6, 1999.

    Examples
    --------
    >>> print(LineSource((0.3, 0.3, 0.45), shape="disk"))
    LineSource(conductivity=(0.3, 0.3, 0.45) S/m, min_distance=radius of each segment, shape='disk', order=3)
      phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))
    """

    kind: ClassVar[str] = "line"
    solvers: ClassVar[Mapping[str, str]] = solvers(["line"], UNBOUNDED)
    equation: ClassVar[str] = "phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))"


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class RootAsPoint(PointSource):
    """As `LineSource`, but the segments of the root (the soma) are points at their middle.

    Parameters
    ----------
    conductivity, min_distance, shape, order
        As in `PointSource`.
    root : str
        Name of the boolean coordinate that is true for the segments of the root.

    Notes
    -----
    Hagen et al., Front Neuroinform 12:92, 2018.

    Examples
    --------
    >>> RootAsPoint(root="soma").solver
    'root_as_point_homogeneous'
    """

    root: str = static("soma")

    kind: ClassVar[str] = "root_as_point"
    solvers: ClassVar[Mapping[str, str]] = solvers(["root_as_point"], UNBOUNDED)
    equation: ClassVar[str] = LineSource.equation + "; of the root I / (4 pi sigma r)"


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class Slab(Conductor):
    """Tissue between two other conductors, as over a multi-electrode array or under the cortical surface.

    Parameters
    ----------
    thickness : float, str or pint.Quantity
        Thickness of the tissue, um.
    conductivity, below, above : float, str or pint.Quantity
        Conductivities of the tissue, of the medium below it and of the medium above it, S/m. The defaults are those of
        brain tissue on glass under saline.
    bottom : float, str or pint.Quantity
        z of the lower boundary, um.
    min_distance : float, str or pint.Quantity, optional
        As in `PointSource`.
    source : {"line", "point", "root_as_point"}
        Kind of source at each site, as in `LineSource`, `PointSource` and `RootAsPoint`.
    shape, order, root
        As in `PointSource` and `RootAsPoint`.
    images : int, optional
        Number of mirror images to sum. By default as many as full precision needs for the given conductivities.
        Required if JAX traces the conductivities when the model is made: 21 are enough if one neighbour conducts better
        than the tissue and the other worse.

    Notes
    -----
    The method of images: potential and normal current are continuous at both boundaries. Contacts and
    sites lie in the tissue or on its boundaries. Ness et al., Neuroinformatics 13, 2015; Barrera, Guzman and
    Balaguer, Am J Phys 46, 1978.

    Examples
    --------
    >>> Slab("300 um").images
    18
    """

    thickness: Length
    conductivity: Conductivity = 0.3
    below: Conductivity = 0.0
    above: Conductivity = 1.5
    bottom: Length = 0.0
    min_distance: Length | None = None
    source: str = static("line")
    shape: str | None = static(None)
    order: int = static(3)
    root: str = static("soma")
    images: int | None = static(None)

    equation: ClassVar[str] = (
        "phi = sum over images of W^n I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L)), "
        "W = prod (sigma - sigma_k) / (sigma + sigma_k)"
    )
    solvers: ClassVar[Mapping[str, str]] = solvers(
        SOURCES, {"slab": "a slab between two other conductors"}
    )
    units: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("conductivity", "below", "above"), "S/m"),
        **dict.fromkeys(("thickness", "bottom", "min_distance"), "um"),
    }

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            expected = f"one of {list(SOURCES)}"
            raise ArgumentError.of(
                "source", found=repr(self.source), expected=expected, remedy='source="line"'
            )
        if self.images is not None and not _is_count(self.images):
            remedy = "images=21, or leave it out"
            raise ArgumentError.of(
                "images", found=repr(self.images), expected="1 or more", remedy=remedy
            )
        self._check_electrodes()
        read(self, positive=("conductivity", "thickness"), signed=("bottom",))
        sigmas: tuple[Array, ...] = (self.conductivity, self.below, self.above)
        if self.images is None and all(is_number(s) for s in sigmas):
            try:
                # The count fixes the size of a loop, so it is taken from the numbers at hand and then static.
                images = slab.image_count(*map(float, sigmas))
            except ValueError as error:
                raise ArgumentError.of(
                    "below, above",
                    found="{:g} and {:g} S/m".format(*map(float, sigmas[1:])),
                    expected="a conductor on at least one side: the potential has no reference otherwise",
                    remedy="jfx.Slab(thickness, below=0.0, above=1.5)",
                ) from error
            object.__setattr__(self, "images", images)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """The kind of source at each site."""
        return self.source

    @property
    def medium(self) -> str:
        """The name of the medium in ``field_solver_status``."""
        return "slab"

    def __call__(self, sites: xr.Dataset, contacts: xr.Dataset) -> Array:
        """Compute the lead field (contact, site), uV/nA."""
        if self.images is None:
            raise ArgumentError.of(
                "images",
                found="none, with conductivities that JAX traces",
                expected="the number to sum, which fixes the size of a loop",
                remedy="images=21, or make the model outside the traced function and pass it",
            )
        extent, electrodes = self.extent(sites), self.electrodes(contacts, warn_if_unused=True)
        numbers = [
            array(getattr(self, name), name)
            for name in ("bottom", "thickness", "conductivity", "below", "above")
        ]
        raise_problems(self._outside(electrodes, extent))
        return lead_field_of(
            electrodes,
            *extent,
            *numbers,
            self.limit(sites),
            kernel=_slab_roots if self.kind == "root_as_point" else _slab,
            order=self.order,
            images=self.images,
            on_boundary=self._flat(electrodes),
        )

    def _flat(self, electrodes: Electrodes) -> bool:
        """Whether all contacts lie on the lower boundary, facing it, as those of a multi-electrode array.

        They need half of the images. The kernel then ignores their z, so this is not said of JAX positions, which may
        be differentiated.
        """
        contact, normal = electrodes.place, electrodes.normal
        if is_jax(contact) or is_jax(normal) or not is_number(self.bottom):
            return False
        facing = normal is None or bool(np.all(normal[:, :2] == 0))
        return facing and bool(np.all(contact[:, 2] == self.bottom))

    def _outside(self, electrodes: Electrodes, extent: tuple[Array, ...]) -> list[Problem]:
        """Return the problems of contacts and sites outside the tissue; traced numbers are left to `checkify`."""
        lower: Array = self.bottom
        thickness: Array = self.thickness
        if not (is_number(lower) and is_number(thickness)):
            return []
        low, high = float(lower), float(lower) + float(thickness)
        # Positions on a boundary may be off by rounding.
        slack = 1e-9 * max(abs(low), abs(high))
        reach: Array = 0.0
        if not (is_traced(electrodes.normal) or is_traced(electrodes.radius)):
            reach = electrodes.reach()[:, 2]
        problems = []
        ends = [x for x in extent[:2] if getattr(x, "ndim", 0) == 2]
        if self.kind == "root_as_point":
            # A root is a point at its middle: its ends are not used, and may lie outside.
            ends = list(on_arrays(_collapsed, *extent))
        for name, points, wide in (("contact", [electrodes.place], reach), ("site", ends, 0.0)):
            if any(map(is_traced, points)):
                inside = partial(_inside, points, low - slack + wide, high + slack - wide)
                check_traced(name, inside, "all of it in the slab")
                continue
            z = np.stack([np.asarray(x)[:, 2] for x in points])
            bad = ((z - wide < low - slack) | (z + wide > high + slack)).any(axis=0)
            if bad.any():
                first, down, up = int(np.argmax(bad)), (z - wide).min(), (z + wide).max()
                # rounded outwards, so that what is typed is enough
                bottom, top = np.floor(min(low, down)), np.ceil(max(high, up))
                shift = np.ceil(low - down) if down < low else np.floor(high - up)
                moved = f"jfx.translate({'probe' if name == 'contact' else 'ds'}, z={shift:.9g})"
                point = ', or shape="point"' if np.any(wide) else ""
                problems.append(
                    Problem(
                        where=name,
                        found=f"{np.count_nonzero(bad)} of {bad.size} outside the slab, the first "
                        f"{name} {first} at z = {z[:, first].min():g} to {z[:, first].max():g} um",
                        expected=f"all of it from z = {low:g} to {high:g} um",
                        remedy=f'jfx.Slab("{top - bottom:.9g} um", bottom={bottom:.9g}), or move it: {moved}{point}',
                        error=ArgumentError,
                    )
                )
        return problems


def _is_count(n: object) -> bool:
    return isinstance(n, int) and not isinstance(n, bool) and n >= 1


# ------------------------------------------------------------------------------------------------ the kernels


def _root_as_point(contact: Array, start: Array, end: Array, root: Array, *rest: Array) -> Array:
    return kernels.root_as_point(contact, start, end, root != 0, *rest)


def _slab(contact: Array, *arrays: Array, **options: int | bool) -> Array:
    *ends, bottom, thickness, tissue, below, above, limit = arrays
    # The kernel has the lower boundary at z = 0.
    down = jnp.asarray([0.0, 0.0, 1.0], contact.dtype) * bottom
    kernel: Callable[..., Array] = (
        slab.slab_point_source if len(ends) == 1 else slab.slab_line_source
    )
    moved = (x - down for x in (contact, *ends))
    return kernel(*moved, thickness, tissue, below, above, limit, **options)


def _slab_roots(
    contact: Array, start: Array, end: Array, root: Array, *rest: Array, **options: int | bool
) -> Array:
    return _slab(contact, *_collapsed(start, end, root), *rest, **options)


def _collapsed(start: Array, end: Array, root: Array) -> tuple[Array, Array]:
    return kernels.roots_collapsed(start, end, root != 0)


_HOMOGENEOUS: dict[str, Callable[..., Array]] = {
    "point": kernels.point_source,
    "line": kernels.line_source,
    "root_as_point": _root_as_point,
}


def _inside(points: list[Array], low: Array, high: Array) -> Array:
    return jnp.stack([(p[:, 2] >= low) & (p[:, 2] <= high) for p in points]).all()
