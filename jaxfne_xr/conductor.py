"""Forward models: how a current that leaves a segment becomes a potential at a contact.

Each is a frozen dataclass and a pytree: its numbers (conductivity, thickness, ...) are leaves, so that a loss can be
differentiated in them and a model handed to a jitted function; its words (``shape="disk"``) are static. Calling one
with a Dataset of sites and one of contacts returns the lead field (contact, site) in uV/nA. So does any other
callable that `lead_field` is given.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from ._arrays import is_jax, is_traced
from ._dispatch import on_arrays
from .display import model_card
from .errors import ArgumentError, DimensionError, Problem, VariableError, raise_problems
from .kernels import electrode, slab
from .kernels import field as kernels
from .probe import positions_along, positions_of
from .schema import SITES, unit_problem
from .units import convert, is_quantity, magnitude, scalar, units_of

#: What a contact may be.
SHAPES = ("point", "disk", "square")
#: How each kind of source is called, and whether it needs the ends of segments.
KINDS = ("point", "line", "root_as_point")


def _static(default: Any) -> Any:
    return field(default=default, metadata={"static": True})


def _pytree(cls: type) -> type:
    """Register a dataclass as a pytree whose copies are not checked: a gradient in a conductivity may be negative."""
    names = [f.name for f in fields(cls) if not f.metadata.get("static")]
    words = [f.name for f in fields(cls) if f.metadata.get("static")]

    def flatten(model: Any) -> tuple[list[tuple[Any, Any]], tuple[Any, ...]]:
        leaves = [(jax.tree_util.GetAttrKey(name), getattr(model, name)) for name in names]
        return leaves, tuple(getattr(model, word) for word in words)

    def unflatten(static: tuple[Any, ...], leaves: Iterable[Any]) -> Any:
        model: Any = object.__new__(cls)
        for name, value in zip((*words, *names), (*static, *leaves), strict=True):
            object.__setattr__(model, name, value)
        return model

    jax.tree_util.register_pytree_with_keys(cls, flatten, unflatten)
    return cls


@dataclass(frozen=True, repr=False)
class Conductor:
    """What the models share: an electrode's shape, a least distance, and how they are drawn and recorded."""

    kind: ClassVar[str]
    equation: ClassVar[str]
    units: ClassVar[dict[str, str]] = {"conductivity": "S/m", "min_distance": "um"}

    def __repr__(self) -> str:
        given = ", ".join(f"{f.name}={self._shown(f.name)}" for f in fields(self))
        return f"{type(self).__name__}({given})\n  {self.equation}"

    def _repr_html_(self) -> str:
        given = [(f.name, self._shown(f.name)) for f in fields(self)]
        return model_card(type(self).__name__, self.equation, given).html()

    def _shown(self, name: str) -> str:
        value, unit = getattr(self, name), self.units.get(name)
        if value is None:
            return {"min_distance": "radius of each segment"}.get(name, "None")
        if isinstance(value, tuple):
            value = f"({', '.join(f'{v:g}' if isinstance(v, float) else str(v) for v in value)})"
        elif isinstance(value, float):
            value = f"{value:g}"
        elif isinstance(value, str):
            value = repr(value)
        return f"{value} {unit}" if unit else str(value)

    def parameters(self) -> dict[str, Any]:
        """Return the model and its parameters for the record, units in the names."""
        suffix = {"S/m": "_S_per_m", "um": "_um"}
        made = {
            f.name + suffix.get(self.units.get(f.name, ""), ""): _recorded(getattr(self, f.name))
            for f in fields(self)
        }
        return {"model": type(self).__name__, **made}

    @property
    def medium(self) -> str:
        """What the tissue is, in ``field_solver_status``."""
        return "anisotropic" if _is_vector(self.conductivity) else "homogeneous"  # type: ignore[attr-defined]

    @property
    def solver(self) -> str:
        """The ``field_solver_status`` of what it makes."""
        name = {"point": "point_source", "line": "line_source"}.get(self.kind, self.kind)
        return f"{name}_{self.medium}"

    def extent(self, sites: xr.Dataset) -> tuple[Any, ...]:
        """Return what stands for the sites: points (site, 3), or starts and ends, and which are roots; um."""
        dim = sites_dim(sites)
        if self.kind == "point":
            return (_middles(sites, dim),)
        ends = tuple(_end_positions(sites, dim, suffix) for suffix in ("_start", "_end"))
        if self.kind == "root_as_point":
            return (*ends, _roots(sites, dim, self.root))  # type: ignore[attr-defined]
        return ends

    def limit(self, sites: xr.Dataset) -> Any:
        """Return the least distance of each site (site,), um."""
        dim = sites_dim(sites)
        given = self.min_distance  # type: ignore[attr-defined]
        if given is not None:
            return _array(given, "min_distance") * np.ones(sites.sizes[dim])
        if "diameter" not in sites.coords or sites.variables["diameter"].dims != (dim,):
            raise VariableError(
                Problem(
                    where="min_distance",
                    found=f"none, and no diameter along {dim!r} to take it from",
                    wanted="how near to a source a contact may read, um: else the potential has no bound",
                    remedy=f'{type(self).__name__}(min_distance="5 um")',
                    error=VariableError,
                )
            )
        variable = sites.variables["diameter"]
        raise_problems(unit_problem(variable, "diameter", "um"))
        return convert(magnitude(variable.data), str(units_of(variable)), "um") / 2

    def _electrodes(self, contacts: xr.Dataset) -> tuple[Any, ...]:
        """Return the normals and radii of contacts with a surface; nothing for points."""
        if self.shape == "point":  # type: ignore[attr-defined]
            return ()
        names = ("normal_x", "normal_y", "normal_z", "radius")
        missing = [name for name in names if name not in contacts.coords]
        if missing:
            raise VariableError(
                Problem(
                    where="shape",
                    found=f"{self.shape!r}, and contacts without {missing}",  # type: ignore[attr-defined]
                    wanted="the size of each contact and the way it faces",
                    remedy='jfx.linear_probe(16, radius="7.5 um", normal=(0, 1, 0)), or shape="point"',
                    error=VariableError,
                )
            )
        columns = [magnitude(contacts.variables[name].data) for name in names]
        stack = jnp.stack if any(map(is_jax, columns)) else np.stack
        return stack(columns[:3], axis=-1), columns[3]


@_pytree
@dataclass(frozen=True, repr=False)
class PointSource(Conductor):
    """Each site is a point, in an infinite conductor.

    Parameters
    ----------
    conductivity : float, str, pint.Quantity, or three of them
        Of the tissue, S/m; three for x, y and z.
    min_distance : float, str or pint.Quantity, optional
        Contacts nearer to a site read as at this distance, um; by default the radius of each segment.
    shape : {"point", "disk", "square"}
        Of the contacts; the last two average the potential over the surface that the probe's ``radius`` (half the side
        of a square) and ``normal`` give.
    order : int
        Of the quadrature over that surface.

    Notes
    -----
    ``phi = I / (4 pi sigma r)``. The medium is infinite, linear, without capacitance; the potential is
    zero at infinity. Nicholson and Freeman, J Neurophysiol 38, 1975. Gradients are finite everywhere.

    Examples
    --------
    >>> PointSource("3 mS/cm")
    PointSource(conductivity=0.3 S/m, min_distance=radius of each segment, shape='point', order=3)
      phi = I / (4 pi sigma max(r, min_distance))
    """

    conductivity: Any = 0.3
    min_distance: Any = None
    shape: str = _static("point")
    order: int = _static(3)

    kind: ClassVar[str] = "point"
    equation: ClassVar[str] = "phi = I / (4 pi sigma max(r, min_distance))"

    def __post_init__(self) -> None:
        _normalise(self, positive=("conductivity",), vectors=("conductivity",))

    def __call__(self, sites: xr.Dataset, contacts: xr.Dataset) -> Any:
        """Return the lead field (contact, site), uV/nA."""
        return on_arrays(
            _lead_field,
            positions_along(contacts, "contact", "xyz"),
            *self.extent(sites),
            _array(self.conductivity, "conductivity"),
            self.limit(sites),
            *self._electrodes(contacts),
            kernel=_HOMOGENEOUS[self.kind],
            shape=self.shape,
            order=self.order,
        )


@_pytree
@dataclass(frozen=True, repr=False)
class LineSource(PointSource):
    """Each site is a straight line from its start to its end, in an infinite conductor; parameters as in `PointSource`.

    Notes
    -----
    ``phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))``, r1 and r2 the distances to the ends:
    the mean of a point source over the line. The least distance is to the finite line. Holt and Koch, J Comput
    Neurosci 6, 1999.

    Examples
    --------
    >>> print(LineSource((0.3, 0.3, 0.45), shape="disk"))
    LineSource(conductivity=(0.3, 0.3, 0.45) S/m, min_distance=radius of each segment, shape='disk', order=3)
      phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))
    """

    kind: ClassVar[str] = "line"
    equation: ClassVar[str] = "phi = I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L))"


@_pytree
@dataclass(frozen=True, repr=False)
class RootAsPoint(PointSource):
    """As `LineSource`, but the segments of the root (the soma) are points at their middle.

    Parameters
    ----------
    conductivity, min_distance, shape, order
        As in `PointSource`.
    root : str
        The coordinate of truth values that says which segments are the root.

    Notes
    -----
    Hagen et al., Front Neuroinform 12:92, 2018.

    Examples
    --------
    >>> RootAsPoint(root="soma").solver
    'root_as_point_homogeneous'
    """

    root: str = _static("soma")

    kind: ClassVar[str] = "root_as_point"
    equation: ClassVar[str] = LineSource.equation + "; of the root I / (4 pi sigma r)"


@_pytree
@dataclass(frozen=True, repr=False)
class Slab(Conductor):
    """Tissue between two other conductors, as over a multi-electrode array or under the cortical surface.

    Parameters
    ----------
    thickness : float, str or pint.Quantity
        Of the tissue, um.
    conductivity, below, above : float, str or pint.Quantity
        Of the tissue, of the medium below it and of that above it, S/m: by default of brain tissue on glass under
        saline.
    bottom : float, str or pint.Quantity
        z of the lower boundary, um.
    min_distance : float, str or pint.Quantity, optional
        As in `PointSource`.
    source : {"line", "point", "root_as_point"}
        What each site is, as in `LineSource`, `PointSource` and `RootAsPoint`.
    shape, order, root
        As in `PointSource` and `RootAsPoint`.
    images : int, optional
        How many mirror images to sum. By default as many as full precision takes, from the conductivities that the
        model is made with; has to be given where it is made with numbers that JAX traces: 21 are enough where one
        neighbour conducts better than the tissue and the other worse.

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

    thickness: Any
    conductivity: Any = 0.3
    below: Any = 0.0
    above: Any = 1.5
    bottom: Any = 0.0
    min_distance: Any = None
    source: str = _static("line")
    shape: str = _static("point")
    order: int = _static(3)
    root: str = _static("soma")
    images: int | None = _static(None)

    equation: ClassVar[str] = (
        "phi = sum over images of W^n I / (4 pi sigma L) ln((r1 + r2 + L) / (r1 + r2 - L)), "
        "W = prod (sigma - sigma_k) / (sigma + sigma_k)"
    )
    units: ClassVar[dict[str, str]] = {
        **dict.fromkeys(("conductivity", "below", "above"), "S/m"),
        **dict.fromkeys(("thickness", "bottom", "min_distance"), "um"),
    }

    def __post_init__(self) -> None:
        if self.source not in KINDS:
            raise ArgumentError(
                Problem(
                    "source",
                    repr(self.source),
                    f"one of {list(KINDS)}",
                    'source="line"',
                    ArgumentError,
                )
            )
        _normalise(self, positive=("conductivity", "thickness"), vectors=())
        sigmas = self.conductivity, self.below, self.above
        if self.images is None and all(_is_number(s) for s in sigmas):
            try:
                images = slab.image_count(*map(float, sigmas))
            except ValueError as error:
                raise ArgumentError(
                    Problem(
                        where="below, above",
                        found=f"{float(self.below):g} and {float(self.above):g} S/m",
                        wanted="a conductor on one side at least: the potential has no reference otherwise",
                        remedy="Slab(thickness, below=0.0, above=1.5)",
                        error=ArgumentError,
                    )
                ) from error
            object.__setattr__(self, "images", images)

    @property
    def kind(self) -> str:  # type: ignore[override]
        """What each site is."""
        return self.source

    @property
    def medium(self) -> str:
        """What the tissue is, in ``field_solver_status``."""
        return "slab"

    def __call__(self, sites: xr.Dataset, contacts: xr.Dataset) -> Any:
        """Return the lead field (contact, site), uV/nA."""
        if self.images is None:
            raise ArgumentError(
                Problem(
                    where="images",
                    found="none, with conductivities that JAX traces",
                    wanted="how many to sum: that fixes the size of a loop",
                    remedy="make the model outside and hand it in, or Slab(..., images=21)",
                    error=ArgumentError,
                )
            )
        contact = positions_along(contacts, "contact", "xyz")
        extent, electrodes = self.extent(sites), self._electrodes(contacts)
        numbers = [
            _array(getattr(self, name), name)
            for name in ("bottom", "thickness", "conductivity", "below", "above")
        ]
        raise_problems(self._outside(contact, extent, electrodes))
        facing = not electrodes or (
            not is_jax(electrodes[0]) and bool(np.all(electrodes[0][:, :2] == 0))
        )
        flat = (
            not is_jax(contact)
            and _is_number(self.bottom)
            and bool(np.all(contact[:, 2] == self.bottom))
        )
        return on_arrays(
            _lead_field,
            contact,
            *extent,
            *numbers,
            self.limit(sites),
            *electrodes,
            kernel=_slab_roots if self.kind == "root_as_point" else _slab,
            shape=self.shape,
            order=self.order,
            images=self.images,
            on_boundary=flat and facing,
        )

    def _outside(
        self, contact: Any, extent: tuple[Any, ...], electrodes: tuple[Any, ...]
    ) -> list[Problem]:
        """Return the problems of contacts and sites that are not in the tissue, as far as numbers are known."""
        if not (_is_number(self.bottom) and _is_number(self.thickness)):
            return []
        low, high = float(self.bottom), float(self.bottom) + float(self.thickness)
        slack = 1e-9 * max(abs(low), abs(high))
        reach: Any = 0.0
        if electrodes and not any(map(is_jax, electrodes)):
            facing = electrodes[0][:, 2] / np.linalg.norm(electrodes[0], axis=1)
            reach = electrodes[1] * np.sqrt(np.clip(1 - facing**2, 0, None))
        problems = []
        ends = [x for x in extent[:2] if getattr(x, "ndim", 0) == 2]
        for name, points, wide in (("contact", [contact], reach), ("site", ends, 0.0)):
            if any(map(is_traced, points)):
                continue
            z = np.stack([np.asarray(x)[:, 2] for x in points])
            bad = ((z - wide < low - slack) | (z + wide > high + slack)).any(axis=0)
            if bad.any():
                first = int(np.argmax(bad))
                problems.append(
                    Problem(
                        where=name,
                        found=f"{np.count_nonzero(bad)} of {bad.size} outside the slab, the first "
                        f"{name} {first} at z = {z[:, first].min():g} to {z[:, first].max():g} um",
                        wanted=f"all of it from z = {low:g} to {high:g} um",
                        remedy=f'ds.assign_coords(z=ds.z + 100) (and z_start, z_end), or Slab("{high - low:g} um", '
                        f"bottom={z.min():g})",
                        error=ArgumentError,
                    )
                )
        return problems


# ------------------------------------------------------------------------------------------------ the kernels


def _lead_field(
    contact: Any, *arrays: Any, kernel: Callable[..., Any], shape: str, order: int, **options: Any
) -> Any:
    """Return the lead field of contacts of any shape; with a surface, normals and radii come last."""
    if shape == "point":
        return kernel(contact, *arrays, **options)
    *arguments, normal, radius = arrays
    nodes, weights = electrode.electrode_nodes(contact, normal, radius, shape=shape, order=order)  # type: ignore[arg-type]
    return electrode.electrode_mean(lambda p: kernel(p, *arguments, **options), nodes, weights)


def _root_as_point(contact: Any, start: Any, end: Any, root: Any, *rest: Any) -> Any:
    return kernels.root_as_point(contact, start, end, root != 0, *rest)


def _slab(contact: Any, *arrays: Any, **options: Any) -> Any:
    *ends, bottom, thickness, tissue, below, above, limit = arrays
    down = jnp.asarray([0.0, 0.0, 1.0], contact.dtype) * bottom
    kernel: Callable[..., Any] = slab.slab_point_source if len(ends) == 1 else slab.slab_line_source
    moved = (x - down for x in (contact, *ends))
    return kernel(*moved, thickness, tissue, below, above, limit, **options)


def _slab_roots(contact: Any, start: Any, end: Any, root: Any, *rest: Any, **options: Any) -> Any:
    return _slab(contact, *kernels.roots_collapsed(start, end, root != 0), *rest, **options)


_HOMOGENEOUS: dict[str, Callable[..., Any]] = {
    "point": kernels.point_source,
    "line": kernels.line_source,
    "root_as_point": _root_as_point,
}


# ------------------------------------------------------------------------------------------------- the sites


def sites_dim(sites: xr.Dataset) -> str:
    """Return the dim along which positions of sites lie."""
    for name in ("x", "x_start"):
        for dim in SITES:
            if name in sites.coords and sites.variables[name].dims == (dim,):
                return dim
    raise DimensionError(
        Problem(
            where="sites",
            found=f"no positions along {list(SITES)}, on a Dataset with the coordinates {list(map(str, sites.coords))}",
            wanted="where each site is: x, y, z, or x_start ... z_end, um",
            remedy='from_jaxley(...) has them; ds.assign_coords(x=("unit", x), y=("unit", y), z=("unit", z))',
            error=DimensionError,
        )
    )


def _middles(sites: xr.Dataset, dim: str) -> Any:
    if all(axis in sites.coords for axis in "xyz") or "x_start" not in sites.coords:
        return positions_of(sites, dim, "xyz")
    return (_end_positions(sites, dim, "_start") + _end_positions(sites, dim, "_end")) / 2


def _end_positions(sites: xr.Dataset, dim: str, suffix: str) -> Any:
    if f"x{suffix}" not in sites.coords:
        raise DimensionError(
            Problem(
                where=f"x{suffix}",
                found="positions without the ends of segments",
                wanted="x_start, y_start, z_start and x_end, y_end, z_end, um",
                remedy="PointSource(...), for sites that are points",
                error=DimensionError,
            )
        )
    return positions_of(sites, dim, [axis + suffix for axis in "xyz"])


def _roots(sites: xr.Dataset, dim: str, root: str) -> np.ndarray:
    flags = [str(n) for n, c in sites.coords.items() if c.dims == (dim,) and c.dtype == bool]
    if root not in flags:
        raise VariableError(
            Problem(
                where="root",
                found=f"{root!r}, which is no coordinate of truth values along {dim!r}",
                wanted=f"which segments are the root; there are {flags or 'none such'}",
                remedy=f'ds.assign_coords({root}=("{dim}", ds.compartment_id == 0))',
                error=VariableError,
            )
        )
    return np.asarray(sites.variables[root].data)


# --------------------------------------------------------------------------------------------- the parameters


def _normalise(model: Any, *, positive: tuple[str, ...], vectors: tuple[str, ...]) -> None:
    """Bring the parameters of a new model to numbers in its units, and check those that are known."""
    if model.shape not in SHAPES:
        raise ArgumentError(
            Problem(
                "shape", repr(model.shape), f"one of {list(SHAPES)}", 'shape="disk"', ArgumentError
            )
        )
    if isinstance(model.order, bool) or not isinstance(model.order, int) or model.order < 1:
        raise ArgumentError(
            Problem("order", repr(model.order), "1 or more", "order=3", ArgumentError)
        )
    problems: list[Problem] = []
    for name, unit in model.units.items():
        value = _in_unit(getattr(model, name), unit, name)
        object.__setattr__(model, name, value)
        vector = _is_vector(value)
        if vector and name not in vectors:
            problems.append(Problem(name, "several numbers", "one", f"{name}=0.3", ArgumentError))
        for number in np.ravel(np.asarray(value)) if _is_known(value) else ():
            least = "more than 0" if name in positive else "0 or more"
            bad = number <= 0 if least == "more than 0" else number < 0 and name != "bottom"
            if bad or not math.isfinite(number):
                problems.append(
                    Problem(
                        name,
                        f"{number:g} {unit}",
                        f"{least}, in {unit}",
                        _example(name, unit),
                        ArgumentError,
                    )
                )
    raise_problems(problems)


def _example(name: str, unit: str) -> str:
    return f'{name}="{"0.3" if unit == "S/m" else "300"} {unit}"'


def _in_unit(value: Any, unit: str, name: str) -> Any:
    """Return a float, or a tuple of three, from anything that says so; what JAX holds as it is."""
    if isinstance(value, (str, int, float, np.generic)):
        return scalar(value, unit, name)
    if is_quantity(value):
        unit_text = f"{value.units}"
        if np.ndim(value.magnitude) == 0:
            return scalar(value, unit, name)
        return (
            tuple(scalar(v * value.units, unit, name) for v in value.magnitude)
            if unit_text
            else value
        )
    if isinstance(value, np.ndarray):
        value = value.item() if value.ndim == 0 else tuple(value.tolist())
    if isinstance(value, (tuple, list)):
        if len(value) != 3:
            found, remedy = f"{len(value)} numbers", f"{name}=(0.3, 0.3, 0.45)"
            raise DimensionError(
                Problem(name, found, "one, or three for x, y and z", remedy, DimensionError)
            )
        return tuple(_in_unit(v, unit, name) for v in value)
    return value


def _is_vector(value: Any) -> bool:
    return isinstance(value, tuple) or getattr(value, "ndim", 0) == 1


def _is_known(value: Any) -> bool:
    """Whether the numbers can be looked at."""
    if isinstance(value, tuple):
        return all(map(_is_known, value))
    return isinstance(value, (float, np.ndarray, np.generic)) or (
        is_jax(value) and not is_traced(value)
    )


def _is_number(value: Any) -> bool:
    return _is_known(value) and not isinstance(value, tuple)


def _array(value: Any, name: str) -> Any:
    """Return a parameter as an array: NumPy, or JAX where a part of it is."""
    parts = value if isinstance(value, tuple) else (value,)
    if not all(isinstance(p, (int, float, np.ndarray, np.generic)) or is_jax(p) for p in parts):
        raise ArgumentError(Problem(name, repr(value), "a number", f"{name}=0.3", ArgumentError))
    if isinstance(value, tuple):
        return jnp.stack(value) if any(map(is_jax, parts)) else np.asarray(value)
    return value if is_jax(value) else np.asarray(value)


def _recorded(value: Any) -> Any:
    if isinstance(value, tuple):
        return [_recorded(v) for v in value]
    if is_jax(value):
        return "traced" if is_traced(value) else np.asarray(value).tolist()
    return value.tolist() if isinstance(value, (np.ndarray, np.generic)) else value
