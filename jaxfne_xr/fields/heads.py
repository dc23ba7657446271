"""Head models: the potential and the magnetic field of current dipoles at EEG and MEG sensors.

A head is a frozen dataclass and a pytree, so that its numbers can be differentiated. `eeg` calls its
``eeg_lead_field(dipole, sensor)``, uV/(nA*um), and `meg` its ``meg_lead_field(dipole, sensor, normal)``, fT/(nA*um):
arrays (channel, xyz, dipole) from positions (dipole, xyz) and (channel, xyz), um. Any class with one of these two
methods can be used as a head.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Protocol

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import is_jax, is_traced, nonfinite_problem
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, UnitError, raise_problems
from jaxfne_xr.core.numeric import computable
from jaxfne_xr.core.types import Array, ArrayLike, Conductivity, Length, Scalars, UnitText
from jaxfne_xr.core.unit_checks import kind_problems
from jaxfne_xr.core.units import bare, factor, is_quantity, magnitude, unit_of, unit_text, units_of
from jaxfne_xr.core.values import positive, scalar, values_in
from jaxfne_xr.kernels.fields import dipoles as dipole_kernels
from jaxfne_xr.kernels.fields import heads as kernels

from .dipoles import XYZ
from .head_places import at_dipoles, check_places, distances, inside_problems, outside_head
from .model import ForwardModel, forward_model, shown, static
from .parameters import in_float64

CHANNEL = "channel"
#: The series of spheres is truncated at a multiple of this many terms, so that similar set-ups share a compiled kernel.
TERMS = 32
#: Terms if JAX traces what their number depends on. Enough for electrodes on the scalp and a brain of up to 0.95 times
#: the radius of the head, to 1e-8; nearer pairs, with a relative error above `TRUNCATED`, get NaN.
TERMS_TRACED = 512
TRUNCATED = 1e-6
#: Most terms of the series: a dipole in the brain 0.16 mm below an electrode on its surface needs as many.
MOST_TERMS = 30_000
#: The remedy for a lead field with other dims than it needs.
LABELLED = 'xr.DataArray(array, dims=("channel", "xyz", "dipole"), attrs={"units": "V/(A*m)"})'


class EEGHead(Protocol):
    """A head that `eeg` can use."""

    def eeg_lead_field(self, dipole: Array, sensor: Array, /) -> Array:
        """Compute the potential per moment (channel, xyz, dipole), uV/(nA*um), from positions, um."""


class MEGHead(Protocol):
    """A head that `meg` can use."""

    def meg_lead_field(self, dipole: Array, sensor: Array, normal: Array, /) -> Array:
        """Compute the field along the normals per moment (channel, xyz, dipole), fT/(nA*um), from positions, um."""


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class InfiniteHomogeneous(ForwardModel):
    r"""An infinite homogeneous medium, for EEG and MEG.

    .. math:: \phi = \frac{p \cdot d}{4 \pi \sigma |d|^3}, \qquad
              B_n = \frac{\mu_0}{4 \pi} \frac{(p \times d) \cdot n}{|d|^3}, \qquad d = r - r_0

    Parameters
    ----------
    conductivity : float, str or pint.Quantity
        sigma, S/m.
    min_distance : float, str or pint.Quantity
        Shorter distances are replaced by this one, um.

    Notes
    -----
    Without a skull, potentials at the scalp are overestimated. The magnetic field is that of the primary current:
    in an unbounded medium the return currents produce none.

    References
    ----------
    Naess et al. (2021), NeuroImage 225:117467, eq. 3. Hamalainen et al. (1993), Rev. Mod. Phys. 65:413, eq. 18.

    Examples
    --------
    >>> InfiniteHomogeneous("0.3 S/m")
    InfiniteHomogeneous(conductivity=0.3 S/m, min_distance=0 um)
      phi = p.d / (4 pi sigma |d|^3), ...
    """

    solvers: ClassVar[Mapping[str, str]] = {
        "infinite_homogeneous": "The field is that of current dipoles in an infinite homogeneous conductor."
    }
    equation: ClassVar[str] = (
        "phi = p.d / (4 pi sigma |d|^3), B_n = mu_0/(4 pi) (p x d).n / |d|^3, d from dipole to sensor"
    )
    units: ClassVar[Mapping[str, str]] = {"conductivity": "S/m", "min_distance": "um"}

    conductivity: Conductivity = 0.3
    min_distance: Length = static(0.0)  # noqa: RUF009 (a field, not its default)

    def __post_init__(self) -> None:
        """Convert the parameters to numbers in their units, and check them."""
        _read(self, "conductivity", positive)
        _read(self, "min_distance", scalar)
        distance: Array = self.min_distance
        if not 0 <= distance < np.inf:
            found = f"{distance:g} um"
            remedy = 'min_distance="10 um"'
            raise ArgumentError.of(
                "min_distance", found=found, expected="0 um or more", remedy=remedy
            )

    def eeg_lead_field(self, dipole: Array, sensor: Array) -> Array:
        """Compute the potential per moment (channel, xyz, dipole), uV/(nA*um)."""
        self._require_distance(dipole, sensor)
        sigma = in_float64(positive(self.conductivity, "S/m", "conductivity"))
        kernel = dipole_kernels.potential_lead_field
        return on_arrays(
            kernel,
            dipole,
            sensor,
            sigma,
            min_distance=scalar(self.min_distance, "um", "min_distance"),
        )

    def meg_lead_field(self, dipole: Array, sensor: Array, normal: Array) -> Array:
        """Compute the field along the normals per moment (channel, xyz, dipole), fT/(nA*um)."""
        self._require_distance(dipole, sensor)
        kernel = dipole_kernels.magnetic_lead_field
        return on_arrays(
            kernel,
            dipole,
            sensor,
            normal,
            min_distance=scalar(self.min_distance, "um", "min_distance"),
        )

    def _require_distance(self, dipole: Array, sensor: Array) -> None:
        if scalar(self.min_distance, "um", "min_distance") == 0:
            raise_problems(at_dipoles(dipole, sensor))


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class Spherical(ForwardModel):
    r"""A conductor whose conductivity depends only on the radius, for MEG, whose field is then independent of it.

    .. math:: B = \frac{\mu_0}{4 \pi F^2} \left( F\, p \times r_0 - (p \times r_0 \cdot r) \nabla F \right),
              \qquad F = a (r a + r^2 - r_0 \cdot r), \quad a = |r - r_0|

    Parameters
    ----------
    radius : float, str or pint.Quantity
        Radius of the head, um: dipoles are inside, sensors outside. The field does not depend on it.
    centre : (3,)
        Position of the centre, um.

    Notes
    -----
    Radial dipoles, and dipoles at the centre, produce no field.

    References
    ----------
    Sarvas (1987), Phys. Med. Biol. 32:11, eq. 25.

    Examples
    --------
    >>> Spherical("90 mm")
    Spherical(radius=90000 um, centre=(0, 0, 0) um)
      B = mu_0/(4 pi F^2) (F p x r0 - (p x r0 . r) grad F), ...
    """

    solvers: ClassVar[Mapping[str, str]] = {
        "spherical": "The field is that of current dipoles in a spherical conductor."
    }
    equation: ClassVar[str] = (
        "B = mu_0/(4 pi F^2) (F p x r0 - (p x r0 . r) grad F), F = a (r a + r^2 - r0.r), a = |r - r0|"
    )
    units: ClassVar[Mapping[str, str]] = {"radius": "um", "centre": "um"}

    radius: Length = static(90e3)  # noqa: RUF009
    centre: Scalars = (0.0, 0.0, 0.0)

    def __post_init__(self) -> None:
        """Convert the parameters to numbers in their units, and check them."""
        _read(self, "radius", positive)
        _read(self, "centre", values_in)
        raise_problems(_shape_problem("centre", self.centre, (3,)))

    def meg_lead_field(self, dipole: Array, sensor: Array, normal: Array) -> Array:
        """Compute the field along the normals per moment (channel, xyz, dipole), fT/(nA*um)."""
        return _sarvas(dipole, sensor, normal, self.centre, self.radius, self.radius)


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class FourSphere(ForwardModel):
    r"""Four concentric spheres, for EEG: brain, cerebrospinal fluid, skull, scalp. For MEG as `Spherical`.

    .. math:: \phi(r) = \frac{1}{4 \pi \sigma_1} \sum_{n=1}^{N} c_n(r) \frac{r_0^{n-1}}{r^{n+1}}
              \, p \cdot \left[ \hat r P_n'(x) - \hat r_0 P_{n-1}'(x) \right]

    Parameters
    ----------
    radii : sequence
        Outer radius of each shell, um, brain first. 79, 80, 85 and 90 mm by default. Any number of shells works.
    conductivities : sequence
        Conductivity of each shell, S/m. 0.3, 1.5, 0.015 and 0.3 by default.
    centre : (3,)
        Position of the centre, um.

    Notes
    -----
    Dipoles lie inside the brain, electrodes anywhere in the head: on the scalp, or in skull, fluid and brain, nearer to
    the centre than the dipole too. An electrode outside the scalp by at most 1 % of its radius is projected onto it.
    The series is summed to 1e-14; in the brain, the potential of the dipole in an infinite medium is added in closed
    form. The mean potential over the scalp is zero. Under a JAX trace of electrodes or radii, an electrode so near to a
    dipole that 512 terms are not exact to 1e-6 gets NaN.

    References
    ----------
    Naess, Chintaluri, Ness, Dale, Einevoll, Wojcik (2017), Front. Hum. Neurosci. 11:490: the model, and the default
    radii and conductivities (table 1), after Nunez and Srinivasan (2006), Electric Fields of the Brain.

    Examples
    --------
    >>> FourSphere(radii=("79 mm", "80 mm", "85 mm", "90 mm"))
    FourSphere(radii=(79000, 80000, 85000, 90000) um, conductivities=(0.3, 1.5, 0.015, 0.3) S/m, ...
    """

    solvers: ClassVar[Mapping[str, str]] = {
        "four_sphere": "The field is that of current dipoles in a head of concentric spheres."
    }
    equation: ClassVar[str] = (
        "phi = 1/(4 pi sigma_1) sum_n c_n(r) r0^(n-1)/r^(n+1) p.[r^ P_n'(x) - r0^ P_(n-1)'(x)]"
    )
    units: ClassVar[Mapping[str, str]] = {"radii": "um", "conductivities": "S/m", "centre": "um"}

    radii: Scalars = (79e3, 80e3, 85e3, 90e3)
    conductivities: Scalars = (0.3, 1.5, 0.015, 0.3)
    centre: Scalars = (0.0, 0.0, 0.0)

    def solver_for(self, quantity: str) -> str:
        """Return the ``field_solver_status`` of an ``"eeg"`` or ``"meg"`` made with this head."""
        # The magnetic field of a dipole in concentric spheres does not depend on the shells.
        return "four_sphere" if quantity == "eeg" else "spherical"

    def __post_init__(self) -> None:
        """Convert the parameters to numbers in their units, and check them."""
        for name in self.units:
            _read(self, name, values_in)
        raise_problems(_shell_problems(self) + _shape_problem("centre", self.centre, (3,)))

    def eeg_lead_field(self, dipole: Array, sensor: Array) -> Array:
        """Compute the potential per moment (channel, xyz, dipole), uV/(nA*um)."""
        raise_problems(_shell_problems(self))
        radii, sigma, centre = (
            in_float64(x) for x in (self.radii, self.conductivities, self.centre)
        )
        check_places(dipole, sensor, centre, radii[0], radii[-1], inside=True)
        terms = None
        if not is_traced(radii):
            brain, scalp = float(radii[0]), float(radii[-1])
            depth, height = distances(dipole, centre), distances(sensor, centre)
            found = inside_problems(depth, brain, "the brain sphere")
            if height is not None:
                found += outside_head(height, scalp)
                found += at_dipoles(dipole, sensor, height < brain)
            raise_problems(found)
            terms = _terms(depth, height, brain, scalp)
        return on_arrays(
            _sphere,
            dipole,
            sensor,
            radii,
            sigma,
            centre,
            n_terms=terms or TERMS_TRACED,
            bounded=terms is not None,
        )

    def meg_lead_field(self, dipole: Array, sensor: Array, normal: Array) -> Array:
        """Compute the field along the normals per moment (channel, xyz, dipole), fT/(nA*um)."""
        radii = in_float64(self.radii)
        return _sarvas(dipole, sensor, normal, self.centre, radii[0], radii[-1])


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class LeadField(ForwardModel):
    """A given lead field, for EEG or MEG, as of MNE or the New York Head.

    Parameters
    ----------
    array : xr.DataArray, or array (channel, xyz, dipole)
        Signal per moment along x, y and z. A DataArray may have its dims, ``channel``, ``xyz`` and one of any other
        name, in any order; if it has labels, the channels of the result get those of its channels, and its dipoles are
        matched with those of the moments.
    given_units : str
        Unit of the array, as in ``"uV/(nA*um)"``, ``"V/(A*m)"`` (MNE's EEG), ``"T/(A*m)"`` (MNE's MEG). By
        default the unit of the DataArray.

    Notes
    -----
    Positions of dipoles and sensors are not used. `amplitude_status` is 0, since the conductor behind the numbers is
    not known here.

    Examples
    --------
    >>> import numpy as np
    >>> LeadField(np.ones((2, 3, 5)), "V/(A*m)")
    LeadField(channel: 2, xyz: 3, dipole: 5; V/(A*m))
      signal = sum over xyz and dipoles of array times moment
    """

    solvers: ClassVar[Mapping[str, str]] = {
        "given_lead_field": "The field was made with a lead field that was given, whose conductor is not known here."
    }
    physical: ClassVar[bool] = False
    equation: ClassVar[str] = "signal = sum over xyz and dipoles of array times moment"

    array: xr.DataArray | ArrayLike
    given_units: UnitText | None = static(None)  # noqa: RUF009
    channels: tuple[Hashable, ...] | None = static(None)
    dipoles: tuple[Hashable, ...] | None = static(None)

    def __post_init__(self) -> None:
        """Order the axes of the array, and check it."""
        given = self.array
        if isinstance(given, xr.DataArray):
            given = self._of_labelled(given)
        elif is_quantity(given):
            object.__setattr__(self, "given_units", unit_of(given))
            given = bare(given)
        if self.given_units is not None:
            object.__setattr__(self, "given_units", unit_text(self.given_units))
        given = computable(given, "lead_field")
        given = given if is_jax(given) else computable(np.asarray(given))
        object.__setattr__(self, "array", given)
        if given.ndim != 3 or given.shape[1] != 3:
            raise DimensionError.of(
                "lead_field",
                found=f"the shape {given.shape}",
                expected="(channel, xyz, dipole), 3 along xyz",
                remedy=LABELLED,
            )
        raise_problems(kind_problems(given, "lead_field"))
        problem = None
        if not is_traced(given):
            problem = nonfinite_problem(given, (CHANNEL, XYZ, "dipole"), "lead_field")
        if problem is not None:
            remedy = "drop the channels or dipoles with NaN or Inf"
            raise_problems([replace(problem, remedy=remedy)])
        if self.given_units is None:
            raise UnitError.of(
                "lead_field",
                found="no unit",
                expected="the unit of a signal over that of a moment",
                remedy='jfx.LeadField(array, "V/(A*m)"), or "fT/(nA*um)"',
            )

    def _of_labelled(self, given: xr.DataArray) -> Array:
        others = [d for d in given.dims if d not in (CHANNEL, XYZ)]
        if given.ndim != 3 or len(others) != 1:
            raise DimensionError.of(
                "lead_field",
                found=f"the dims {given.dims}",
                expected="channel, xyz and one for dipoles",
                remedy=LABELLED,
            )
        if XYZ in given.coords:
            given = given.sel({XYZ: list(XYZ)})
        given = given.transpose(CHANNEL, XYZ, *others)
        if self.given_units is None:
            object.__setattr__(self, "given_units", units_of(given))
        for name, dim in (("channels", CHANNEL), ("dipoles", others[0])):
            if dim in given.coords:
                object.__setattr__(self, name, tuple(given[dim].values.tolist()))
        return magnitude(given.variable.data)

    def __repr__(self) -> str:
        return f"LeadField({self._sizes()}; {self.given_units})\n  {self.equation}"

    def _given(self) -> list[tuple[str, str]]:
        return [("array", self._sizes()), ("given_units", str(self.given_units))]

    def _sizes(self) -> str:
        sizes = zip((CHANNEL, XYZ, "dipole"), np.shape(self.array), strict=True)
        return ", ".join(f"{d}: {n}" for d, n in sizes)

    def parameters(self) -> dict[str, Any]:
        """Return the model, its equation, and the shape and unit of the array for the record, without its numbers."""
        array = {"shape": list(np.shape(self.array)), "units": self.given_units}
        return {"model": type(self).__name__, "equation": self.equation, **array}

    def eeg_lead_field(self, dipole: Array, sensor: Array) -> Array:
        """Convert the array to uV/(nA*um)."""
        return self.array * factor(str(self.given_units), "uV/(nA*um)")

    def meg_lead_field(self, dipole: Array, sensor: Array, normal: Array) -> Array:
        """Convert the array to fT/(nA*um)."""
        return self.array * factor(str(self.given_units), "fT/(nA*um)")


def _sphere(
    dipole: Array,
    sensor: Array,
    radii: Array,
    conductivities: Array,
    centre: Array,
    *,
    n_terms: int,
    bounded: bool,
) -> Array:
    dipole, sensor = dipole - centre, sensor - centre
    field = kernels.sphere_lead_field(dipole, sensor, radii, conductivities, n_terms=n_terms)
    if bounded:
        return field
    error = kernels.truncation(dipole, sensor, radii, n_terms=n_terms)
    return jnp.where(error[:, None] <= TRUNCATED, field, jnp.nan)


def _terms(
    depth: np.ndarray | None, height: np.ndarray | None, brain: float, scalp: float
) -> int | None:
    """Return the number of terms for dipoles and electrodes at these radii; None if JAX traces what it depends on."""
    if height is None:
        return None
    # A dipole in the brain needs no more terms than one at the brain's surface: the bound for traced dipoles.
    deepest = 1.0 if depth is None else float(depth.max(initial=0.0)) / brain
    ratio = np.minimum(height, scalp) / brain
    largest = deepest * float(np.minimum(ratio, 1 / np.maximum(ratio, 1e-300)).max(initial=0.0))
    if largest >= 1:
        return None
    terms = -(-kernels.series_terms(largest) // TERMS) * TERMS
    if terms <= MOST_TERMS:
        return terms
    if depth is None:
        return None
    raise ArgumentError.of(
        "sensors",
        found=f"an electrode and a dipole so near to each other and to the surface of the brain that {terms} terms are "
        "needed",
        expected=f"at most {MOST_TERMS}",
        remedy="move one of them by some hundred um, or head=jfx.InfiniteHomogeneous() close to the dipole",
    )


def _sarvas(
    dipole: Array, sensor: Array, normal: Array, centre: Array, brain: Array, radius: Array
) -> Array:
    """Return Sarvas' lead field, for dipoles within `brain` of the centre and sensors outside `radius`."""
    centre = in_float64(centre)
    check_places(dipole, sensor, centre, brain, radius, inside=False)
    if not is_traced(radius):
        found = inside_problems(distances(dipole, centre), float(brain), "the conductor")
        height = distances(sensor, centre)
        if height is not None and (height <= float(radius)).any():
            k = int(np.argmin(height))
            found.append(
                Problem(
                    where="sensors",
                    found=f"{(height <= float(radius)).sum()} of {len(height)} inside the head, number {k} at "
                    f"{height[k]:.6g} um from its centre",
                    expected=f"outside the radius of {float(radius):.6g} um",
                    remedy='jfx.probe_at(positions, units="mm"), if they are in mm; or head=jfx.Spherical("80 mm")',
                    error=ArgumentError,
                )
            )
        raise_problems(found)
    return on_arrays(_sarvas_centred, dipole, sensor, normal, centre)


def _sarvas_centred(dipole: Array, sensor: Array, normal: Array, centre: Array) -> Array:
    return kernels.sarvas_lead_field(dipole - centre, sensor - centre, normal)


def _shell_problems(head: FourSphere) -> list[Problem]:
    """Return the problems of radii and conductivities that JAX does not trace."""
    radii: Array = head.radii
    sigma: Array = head.conductivities
    # JAX also makes models of placeholders, which have no shape to check.
    if not all(isinstance(x, np.ndarray) or is_jax(x) for x in (radii, sigma)):
        return []
    if np.ndim(radii) != 1 or np.shape(radii) != np.shape(sigma) or not np.size(radii):
        return [
            Problem(
                where="conductivities",
                found=f"{np.size(radii)} radii and {np.size(sigma)} conductivities",
                expected="one radius and one conductivity for each shell",
                remedy='jfx.FourSphere(("79 mm", "80 mm", "85 mm", "90 mm"), (0.3, 1.5, 0.015, 0.3))',
                error=DimensionError,
            )
        ]
    found = []
    if not is_traced(radii) and not (np.diff(np.asarray(radii), prepend=0.0) > 0).all():
        found.append(
            (
                "radii",
                f"{shown(radii)} um",
                "positive radii, increasing outwards",
                'radii=("79 mm", ...)',
            )
        )
    if (
        not is_traced(sigma)
        and not ((np.asarray(sigma) > 0) & np.isfinite(np.asarray(sigma))).all()
    ):
        found.append(
            (
                "conductivities",
                f"{shown(sigma)} S/m",
                "positive, finite numbers",
                "conductivities=(0.3, ...)",
            )
        )
    return [Problem(*what, ArgumentError) for what in found]


def _shape_problem(name: str, value: object, shape: tuple[int, ...]) -> list[Problem]:
    if not isinstance(value, np.ndarray) or value.shape == shape:
        return []
    found, remedy = f"the shape {value.shape}", f"give {name} the shape {shape}"
    return [Problem(name, found, f"{shape}", remedy, DimensionError)]


def _read(head: ForwardModel, name: str, reader: Callable[[ArrayLike, str, str], Array]) -> None:
    """Convert a parameter to numbers in its unit, in place."""
    object.__setattr__(head, name, reader(getattr(head, name), head.units[name], name))
