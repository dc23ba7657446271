"""A sphere in another, infinite conductor: the potential of currents, and of dipoles, inside it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arrays import check_traced, is_traced
from jaxfne_xr.core.dispatch import on_arrays
from jaxfne_xr.core.errors import ArgumentError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.types import Array, Conductivity, Length, Scalars
from jaxfne_xr.kernels.fields import one_sphere

from .conductors import Conductor, solvers
from .electrodes import lead_field_of
from .model import forward_model, static
from .parameters import array, is_vector, read


@forward_model
@dataclass(frozen=True, repr=False, eq=False)
class OneSphere(Conductor):
    """Each site is a point in a sphere inside another, infinite conductor; contacts may be in either.

    Parameters
    ----------
    radius : float, str or pint.Quantity
        Radius of the sphere, um.
    conductivity, outside : float, str or pint.Quantity
        Conductivities of the sphere and of the medium around it, S/m. Both are above 0: in an insulated sphere the
        potential of a single source has no reference.
    centre : three numbers, str or pint.Quantity
        Position of the centre of the sphere, um.
    min_distance : float, str or pint.Quantity, optional
        As in `PointSource`; for `eeg` 0 um by default.
    shape, order
        As in `PointSource`.

    Notes
    -----
    Potential and normal current are continuous at the surface; the potential is zero at infinity. Sites lie in the
    sphere or on its surface. The series is summed as image points and an image line, which is integrated to 1e-15, so
    that it is as exact near the surface as elsewhere. As a head for `eeg`, a dipole is the limit of two such points,
    and electrodes may lie anywhere. Deng, J Electrostat 66:549, 2008.

    Examples
    --------
    >>> OneSphere("10 mm", outside="0.03 S/m")
    OneSphere(radius=10000 um, conductivity=0.3 S/m, outside=0.03 S/m, centre=(0, 0, 0) um, ...
    """

    radius: Length
    conductivity: Conductivity = 0.3
    outside: Conductivity = 1.5
    centre: Scalars = (0.0, 0.0, 0.0)
    min_distance: Length | None = None
    shape: str | None = static(None)
    order: int = static(3)

    kind: ClassVar[str] = "point"
    solvers: ClassVar[Mapping[str, str]] = solvers(
        ["point"], {"one_sphere": "a sphere inside another conductor"}
    )
    equation: ClassVar[str] = (
        "phi = I / (4 pi sigma) (1 / d + sum_n (sigma - sigma_o) (n + 1) / S_n (r r0)^n / R^(2n+1) P_n) inside, "
        "I / (4 pi) sum_n (2n + 1) / S_n r0^n / r^(n+1) P_n outside, S_n = sigma n + sigma_o (n + 1)"
    )
    units: ClassVar[Mapping[str, str]] = {
        **dict.fromkeys(("conductivity", "outside"), "S/m"),
        **dict.fromkeys(("radius", "centre", "min_distance"), "um"),
    }

    def __post_init__(self) -> None:
        self._check_electrodes()
        positive = ("radius", "conductivity", "outside")
        read(self, positive=positive, vectors=("centre",), signed=("centre",))
        if not is_vector(self.centre):
            raise DimensionError.of(
                "centre",
                found=f"one number, {self.centre}",
                expected="three, for x, y and z, um",
                remedy="centre=(0, 0, 0)",
            )

    @property
    def medium(self) -> str:
        """The name of the medium in ``field_solver_status``."""
        return "one_sphere"

    def __call__(self, sites: xr.Dataset, contacts: xr.Dataset) -> Array:
        """Compute the lead field (contact, site), uV/nA."""
        (site,) = self.extent(sites)
        raise_problems(self._outside(site, "site"))
        return lead_field_of(
            self.electrodes(contacts, warn_if_unused=True),
            site,
            *self._numbers(),
            self.limit(sites),
            kernel=_one_sphere,
            order=self.order,
        )

    def eeg_lead_field(self, dipole: Array, sensor: Array) -> Array:
        """Compute the potential per moment (channel, xyz, dipole), uV/(nA*um)."""
        raise_problems(self._outside(dipole, "dipoles"))
        limit = array(0.0 if self.min_distance is None else self.min_distance, "min_distance")
        return on_arrays(_one_sphere_dipole, sensor, dipole, *self._numbers(), limit)

    def _numbers(self) -> list[Array]:
        names = ("centre", "radius", "conductivity", "outside")
        return [array(getattr(self, name), name) for name in names]

    def _outside(self, place: Array, name: str) -> list[Problem]:
        """Return the problem of sites or dipoles outside the sphere; traced numbers are left to `checkify`."""
        centre, radius = array(self.centre, "centre"), array(self.radius, "radius")
        if any(map(is_traced, (place, centre, radius))):

            def inside() -> Array:
                return (jnp.linalg.norm(place - centre, axis=-1) <= radius).all()

            check_traced(name, inside, "all of it in the sphere")
            return []
        depth = np.linalg.norm(np.asarray(place, float) - np.asarray(centre, float), axis=-1)
        bad = depth > float(radius)
        if not bad.any():
            return []
        k = int(np.argmax(depth))
        return [
            Problem(
                where=name,
                found=f"{np.count_nonzero(bad)} of {bad.size} outside the sphere, number {k} at "
                f"{depth[k]:.6g} um from its centre",
                expected=f"inside the radius of {float(radius):.6g} um",
                remedy=f'jfx.OneSphere("{np.ceil(depth[k]):g} um"), or centre=(x, y, z) of the sphere in um',
                error=ArgumentError,
            )
        ]


def _one_sphere(contact: Array, site: Array, centre: Array, *rest: Array) -> Array:
    return one_sphere.one_sphere_point_source(contact - centre, site - centre, *rest)


def _one_sphere_dipole(sensor: Array, dipole: Array, *rest: Array) -> Array:
    """Differentiate the lead field with respect to the position of each source: (channel, xyz, dipole)."""
    # A dipole is the limit of two opposite currents, so its potential is a derivative along the moment; forward mode
    # gives it for all dipoles in three passes.
    axes = jnp.eye(3, dtype=jnp.result_type(float, dipole))
    moves = jnp.broadcast_to(axes[:, None], (3, *dipole.shape))

    def along(move: Array) -> Array:
        return jax.jvp(lambda place: _one_sphere(sensor, place, *rest), (dipole,), (move,))[1]

    return jax.vmap(along, out_axes=1)(moves)
