"""Current source density (CSD), estimated from potentials.

In uA/mm^3; sources (outward membrane currents) are positive. Depth is the position along the probe: z if vertical.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import check_traced, is_jax, is_traced
from jaxfne_xr.core.dispatch import across, checked, contract, on_arrays
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
    renaming,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.schema import UNITS
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, ArrayLike, Conductivity, Length, Lengths, Scalars
from jaxfne_xr.core.unit_checks import kind_problems, unit_problem
from jaxfne_xr.core.units import factor, magnitude, same_dimension, units_of
from jaxfne_xr.core.values import number, positive, values_in
from jaxfne_xr.geometry.contact_layout import CONTACT, Contacts, contacts_of
from jaxfne_xr.geometry.positions import check_probe, positions_of, sensor_dim
from jaxfne_xr.kernels.fields import csd as kernels
from jaxfne_xr.kernels.fields.membrane_currents_numpy import transmembrane_current

from .kernel_csd import kernel_matrix
from .parameters import in_float64

#: um^2 uA/mm^3 / (S/m) is 1e-9 V, in uV.
UV = 1e-3
SIGN = {"sign_convention": "source positive"}
#: The settings of each method, in addition to the conductivity.
METHODS = {
    "standard": ("ends",),
    "delta": ("radius", "conductivity_top", "surface"),
    "step": ("radius", "conductivity_top", "surface"),
    "spline": ("radius", "conductivity_top", "surface", "at"),
    "kernel": ("radius", "at", "dims", "width", "regularisation", "n_sources", "basis"),
}
#: The values of a setting, the default first: it is accepted with any method, since it may not have been given.
CHOICES = {"ends": ("vaknin", "drop"), "basis": ("gauss", "step")}
#: Default radius of the discs of current, um: a diameter of 500 um, as in Pettersen et al. (2006).
RADIUS = 250.0


@public
def csd(
    lfp: xr.Dataset | xr.DataArray,
    method: str = "standard",
    *,
    conductivity: Conductivity = 0.3,
    radius: Lengths | None = None,
    conductivity_top: Conductivity | None = None,
    surface: Length | None = None,
    ends: str = "vaknin",
    at: xr.Dataset | Lengths | None = None,
    dims: str | None = None,
    width: Lengths | None = None,
    regularisation: Scalars | None = None,
    n_sources: int | None = None,
    basis: str = "gauss",
) -> xr.Dataset:
    r"""Estimate the current source density from extracellular potentials.

    Parameters
    ----------
    lfp : xr.Dataset or xr.DataArray
        ``lfp``, or the only voltage on ``contact``, in any unit of voltage; contacts with positions ``x``, ``y``,
        ``z`` or some of them, or ``depth`` (um), in any order. The potential is not filtered.
    method : {"standard", "delta", "step", "spline", "kernel"}
        ``"standard"``: minus the second difference times the conductivity, for evenly spaced contacts. ``"delta"``,
        ``"step"``, ``"spline"``: the densities of discs (infinitely thin, of constant density in each layer, or a
        cubic spline) that produce exactly these potentials. ``"kernel"``: the smoothest density that approximately
        produces them, in 1-D, 2-D or 3-D. All but the first accept uneven spacing.
    conductivity : float, str or pint.Quantity
        Conductivity of the tissue, S/m.
    radius : float, str, pint.Quantity or array (contact), optional
        Lateral extent of the density, um: the radius of the discs (1-D), one for all or, except with ``"kernel"``, one
        for each contact; or half the thickness of the layer of tissue (``"kernel"`` in 2-D). 250 um by default.
    conductivity_top : float, str or pint.Quantity, optional
        Conductivity beyond the surface, S/m: 0 for oil or air. By default the tissue has no surface.
    surface : float, str or pint.Quantity, optional
        Position of the surface along the depth, um (0 by default): above all contacts if their depth is z; at a smaller
        depth than all contacts if it is the coordinate ``depth``.
    ends : {"vaknin", "drop"}
        For ``"standard"``: repeat the potentials of the outermost contacts beyond the ends (Vaknin et al. 1988), which
        gives an estimate at every contact; or drop the outermost contacts, whose estimates rest on that assumption.
    at : array or probe, optional
        For ``"spline"`` and ``"kernel"``: positions of the estimates, if not those of the contacts: depths (um), points
        (point, dims), or a probe.
    dims : str, optional
        For ``"kernel"``: the axes in which to resolve the density, as in ``"z"``, ``"xz"``, ``"xyz"``. By default the
        line of the contacts if they are on one, else the axes in which their positions differ.
    width : float, str, pint.Quantity or several, optional
        For ``"kernel"``: the standard deviation (``"step"``: radius) of the basis sources, um; the best of several by
        cross-validation. By default the distance between neighbouring contacts and twice that; the distance alone if
        `regularisation` is one number.
    regularisation : float or several, optional
        For ``"kernel"``: lambda in units of the kernel's mean diagonal; the best of several by cross-validation. By
        default the best of 25 from 1e-12 to 1.
    n_sources : int, optional
        For ``"kernel"``: the largest number of basis sources, on a grid that extends two widths beyond the contacts. By
        default as many as lie no farther apart than the smallest width and the contacts; if they are farther apart than
        a width, the estimate depends on where they are. Thousands in 3-D are usual in other codes.
    basis : {"gauss", "step"}
        For ``"kernel"``: the shape of the basis sources.

    Returns
    -------
    xr.Dataset
        ``csd`` (time, contact), or on ``depth``, ``point`` or the probe's dim if `at` is given; uA/mm^3, sources
        positive. The width and regularisation chosen by leave-one-out are in the provenance. `amplitude_status` is 1
        if that of the potential is.

    Raises
    ------
    ArgumentError
        If a method, a setting or a combination is not known; if two contacts have the same position, or one is above
        the surface; if the spacing is uneven for ``"standard"``; if a number is not positive; if basis sources are so
        many that they would take more than 4 GB or a minute.
    DimensionError, VariableError, UnitError
        If there are too few contacts, or they are not on one line (except for ``"kernel"``); if positions, potentials
        or units are missing.

    Notes
    -----
    ``standard``: ``C_i = -sigma (phi_(i-1) - 2 phi_i + phi_(i+1)) / h^2`` (Nicholson and Freeman 1975).
    ``delta``, ``step``, ``spline``: ``C = F^-1 phi``, F from the potential of a disc on its axis (Pettersen et al.
    2006). ``kernel``: ``C = K~ (K + lambda)^-1 phi`` (Potworowski et al. 2012), lambda and width with the smallest
    error of predicting each contact from the others, over all samples, in closed form. Matrices are computed in
    float64 for NumPy and dask, and applied in the precision of the data.

    Linear in the potential (``kernel``: for a fixed lambda), and differentiable with respect to it, to positions, and
    to numbers that are JAX.

    Examples
    --------
    >>> import numpy as np, xarray as xr
    >>> z = 100.0 * np.arange(5)
    >>> lfp = xr.Dataset({"lfp": (("time", "contact"), [1e-4 * z**2], {"units": "uV"})})
    >>> lfp = lfp.assign_coords(z=("contact", z, {"units": "um"}))
    >>> csd(lfp, conductivity="0.3 S/m", ends="drop").csd.values.round(6)
    array([[-0.06, -0.06, -0.06]])
    """
    lfp = as_dataset(lfp, "lfp")
    given = {
        "radius": radius,
        "conductivity_top": conductivity_top,
        "surface": surface,
        "ends": ends,
        "at": at,
        "dims": dims,
        "width": width,
        "regularisation": regularisation,
        "n_sources": n_sources,
        "basis": basis,
    }
    raise_problems(_method_problems(method, given))
    name, variable = _potential(lfp)
    sigma = positive(conductivity, "S/m", "conductivity")
    scale = factor(str(units_of(variable)), UNITS["lfp"])
    settings: dict[str, Any] = {
        k: v for k, v in given.items() if k in METHODS[method] and v is not None
    }
    if method == "standard":
        source, made, record = _standard(lfp, name, sigma * scale, **settings)
        coords: dict[Hashable, xr.Variable] | None = None
    else:
        variable = checked(variable, name)
        target = contacts_of(lfp, settings.pop("dims", None), line=method != "kernel")
        raise_problems(_count_problems(len(target.place), 2, method))
        where, coords = _points(target, settings.pop("at", None))
        if method == "kernel":
            matrix, record = kernel_matrix(variable, target.place, where, sigma, scale, **settings)
        else:
            matrix, record = _inverse_matrix(target, where, sigma, method, **settings)
        source = lfp if coords is None else _without_contacts(lfp)
        new = CONTACT if coords is None else next(iter(coords.values())).dims[0]
        made = _applied(matrix, scale, variable, new)
    record = {"method": method, "conductivity_S_per_m": sigma, **record, **SIGN}
    return finish(
        source,
        "csd",
        made,
        UNITS["csd"],
        {key: provenance.recorded(value) for key, value in record.items()},
        coords=coords,
        stage="readout",
        attrs=SIGN,
    )


def _method_problems(method: str, given: Mapping[str, Any]) -> list[Problem]:
    """Return the problems of the method, of settings that it does not take, and of their values."""
    if method not in METHODS:
        return [
            Problem(
                "method", repr(method), f"one of {list(METHODS)}", 'method="step"', ArgumentError
            )
        ]
    found = [
        Problem(
            key,
            f"a setting that {method!r} does not take",
            f"no settings but {METHODS[method]}",
            f"leave out {key}=",
            ArgumentError,
        )
        for key, value in given.items()
        if value is not None
        and key not in METHODS[method]
        and not (key in CHOICES and value == CHOICES[key][0])
    ]
    found += [
        Problem(key, repr(given[key]), f"one of {known}", f'{key}="{known[0]}"', ArgumentError)
        for key, known in CHOICES.items()
        if given[key] is not None and given[key] not in known
    ]
    if given["surface"] is not None and given["conductivity_top"] is None:
        found.append(
            Problem(
                "surface",
                "a surface without a conductivity beyond it",
                "both, or neither",
                "conductivity_top=0",
                ArgumentError,
            )
        )
    return found


def _potential(lfp: xr.Dataset) -> tuple[str, xr.Variable]:
    """Return the name and the variable of the potential: ``lfp``, or the only voltage on contacts."""
    along = [str(n) for n, x in lfp.data_vars.items() if CONTACT in x.dims]
    voltages = [n for n in along if same_dimension(units_of(lfp[n]) or "1", "uV")]
    if "lfp" in along or len(voltages) == 1:
        name = "lfp" if "lfp" in along else voltages[0]
        variable = lfp.variables[name]
        raise_problems(
            unit_problem(variable, name, UNITS["lfp"])
            + kind_problems(magnitude(variable.data), name)
        )
        return name, variable
    have = {str(n): (x.dims, units_of(x)) for n, x in lfp.data_vars.items()}
    raise VariableError.of(
        "lfp",
        found=f"{voltages or 'no potential'} among {have}",
        expected=f"one potential, in a unit of voltage, along {CONTACT!r}",
        remedy=renaming((n for n in voltages or along or have if n != "lfp"), "lfp")
        + ", in a unit of voltage; for an lfp_proxy, csd_proxy",
    )


# ------------------------------------------------------------------------------------------ where to estimate


def _points(
    contacts: Contacts, at: xr.Dataset | ArrayLike | None
) -> tuple[Array, dict[Hashable, xr.Variable] | None]:
    """Return the positions of the estimates (point, dims) and their coordinates, which are None at the contacts."""
    if at is None:
        return contacts.place, None
    if isinstance(at, xr.Dataset):
        dim = sensor_dim(check_probe(at))
        coords = {n: c.variable for n, c in at.coords.items() if c.dims == (dim,)}
        return contacts.seen(positions_of(at, dim, contacts.axes)), coords
    where = values_in(at, "um", "at")
    n = contacts.place.shape[1]
    if n == 1 and where.ndim == 1:
        return where[:, None], {"depth": xr.Variable("depth", where, {"units": "um"})}
    if where.ndim != 2 or where.shape[1] != n:
        raise DimensionError.of(
            "at",
            found=f"the shape {where.shape}",
            expected="depths (point,)"
            if n == 1
            else f"points (point, {n}) in {''.join(contacts.axes)}, or a probe",
            remedy="at=np.arange(0.0, 1000.0, 10.0)" if n == 1 else "at=jfx.grid_probe((20, 4))",
        )
    axes = contacts.axes if contacts.line is None else ("depth",)
    return where, {
        a: xr.Variable("point", where[:, i], {"units": "um"}) for i, a in enumerate(axes)
    }


def _without_contacts(lfp: xr.Dataset) -> xr.Dataset:
    """Return a Dataset without the coordinates of contacts."""
    return lfp.drop_vars([n for n, c in lfp.coords.items() if CONTACT in c.dims])


def _count_problems(n: int, least: int, method: str) -> list[Problem]:
    if n >= least:
        return []
    return [
        Problem(
            CONTACT,
            f"{n} contacts",
            f"at least {least} for {method!r}",
            "use a probe with more contacts",
            DimensionError,
        )
    ]


# --------------------------------------------------------------------------------------------------- methods


def _standard(
    lfp: xr.Dataset, name: str, sigma: Array, *, ends: str = CHOICES["ends"][0]
) -> tuple[xr.Dataset, xr.Variable, dict[str, Any]]:
    """Return the Dataset of the contacts with an estimate, the estimates in the same order, and the record."""
    variable = lfp.variables[name]
    contacts = contacts_of(lfp, None, line=True)
    n = len(contacts.place)
    raise_problems(_count_problems(n, 3 if ends == "drop" else 2, "standard"))
    depth = contacts.place[:, 0]
    # Differences are between neighbours, and contacts may be in any order; traced positions are taken to be sorted.
    order = np.arange(n)
    if not is_traced(depth):
        steps = np.diff(np.asarray(depth))
        if not (np.all(steps > 0) or np.all(steps < 0)):
            order = np.argsort(np.asarray(depth))
    measure = kernels.contact_spacing
    ordered = depth[order]
    spacing, deviation = on_arrays(measure, ordered) if is_jax(depth) else measure(ordered)
    if is_traced(deviation):
        check_traced("spacing", lambda: deviation <= kernels.EVEN_SPACING, "evenly spaced contacts")
    elif deviation > kernels.EVEN_SPACING:
        steps = np.abs(np.diff(np.asarray(depth)[order]))
        raise ArgumentError.of(
            "spacing",
            found=f"uneven spacing, from {steps.min():g} to {steps.max():g} um",
            expected='evenly spaced contacts for "standard"',
            remedy='method="delta", "step", "spline" or "kernel", which take any spacing',
        )
    variable = xr.Variable(variable.dims, magnitude(variable.data))
    moved = bool((order != np.arange(n)).any())
    if moved:
        variable = variable.isel({CONTACT: order})
    # A gradient with respect to the conductivity or the positions needs the kernel of JAX, also for NumPy potentials.
    if (is_jax(sigma) or is_jax(spacing)) and isinstance(variable.data, np.ndarray):
        variable = xr.Variable(variable.dims, jnp.asarray(variable.data))
    spacing = spacing if is_jax(spacing) else float(spacing)
    numbers = (x if is_jax(x) else np.asarray(x) for x in (spacing, sigma))
    variable = checked(variable, name)
    made = across(_standard_of_jax, _standard_of_numpy, variable, CONTACT, *numbers)
    kept = order
    if ends == "drop":
        kept = order[1:-1]
        made = made.isel({CONTACT: slice(1, -1)})
    if moved:
        made = made.isel({CONTACT: np.argsort(kept)})
    rest = sorted((d for d in made.dims if d != CONTACT), key=lambda d: d != TIME)
    record = {"ends": ends, "spacing_um": spacing}
    inner = slice(1, -1) if ends == "drop" else slice(None)
    there = lfp.isel({CONTACT: np.sort(kept) if moved else inner})
    return there, made.transpose(*rest, CONTACT), record


def _standard_of_jax(
    potential: Array, spacing: Array, sigma: Array, *, axis: int, **_: object
) -> Array:
    """Compute the estimate at every contact, with the outermost potentials repeated beyond the ends."""
    return kernels.standard_csd(potential, spacing, sigma, axis=axis, ends="vaknin")


def _standard_of_numpy(
    potential: np.ndarray, spacing: Array, sigma: Array, *, axis: int, **_: object
) -> np.ndarray:
    """Compute the same as the currents between contacts joined by equal conductances."""
    # The second difference with repeated ends is the Laplacian of a chain, for which there is a blocked NumPy kernel.
    n = potential.shape[axis]
    each = np.full(n - 1, -sigma / spacing**2 / UV)
    return transmembrane_current(potential, np.arange(n - 1), np.arange(1, n), each, axis=axis)


def _inverse_matrix(
    contacts: Contacts,
    where: Array,
    sigma: Array,
    method: str,
    *,
    radius: Scalars = RADIUS,
    conductivity_top: Conductivity | None = None,
    surface: Length = 0.0,
) -> tuple[Array, dict[str, Any]]:
    """Return the matrix (point, contact) of delta, step or spline, and its parameters for the record."""
    place = contacts.place[:, 0]
    radii = _radii(radius, len(place))
    depth, point, top = place, where[:, 0], []
    record = {"radius_um": radii}
    if conductivity_top is not None:
        level = number(surface, "um", "surface")
        # The kernel has depth 0 at the surface, increasing downwards: as the coordinate depth, and against z.
        depth, point = (
            x - level if contacts.axes == ("depth",) else level - x for x in (depth, point)
        )
        top = [in_float64(_not_negative(conductivity_top))]
        record |= {"conductivity_top_S_per_m": top[0], "surface_um": level}
        if not is_traced(depth) and (above := np.asarray(depth) < 0).any():
            k = int(np.argmin(np.asarray(depth)))
            edge = np.min if contacts.axes == ("depth",) else np.max
            raise ArgumentError.of(
                "surface",
                found=f"{above.sum()} of {len(above)} contacts beyond it, contact {k} by {-float(depth[k]):g} um",
                expected="all contacts in the tissue",
                remedy=f"surface={float(edge(np.asarray(place))):g}, or where it is along the depth, um",
            )
    made = on_arrays(kernels.icsd_matrix, depth, 2 * radii, in_float64(sigma), *top, method=method)
    matrix, record["condition"] = made.matrix, made.condition
    # Of these methods only the spline takes `at`, since it has values between contacts.
    if where is not contacts.place:
        matrix = on_arrays(_at_points, depth, point, matrix)
    return matrix, record


def _at_points(depth: Array, point: Array, matrix: Array) -> Array:
    return jnp.matmul(kernels.spline_interpolation(depth, point), matrix, precision="highest")


def _applied(matrix: Array, scale: float, variable: xr.Variable, new: Hashable) -> xr.Variable:
    """Return the product of a matrix (per uV) and potentials in a unit of `scale` uV."""
    return contract(matrix * scale, variable, CONTACT, new)


def _radii(radius: Scalars, n: int) -> Array:
    """Return one radius, or one for each contact, um, checked to be positive."""
    values = values_in(radius, "um", "radius")
    if values.shape not in {(), (n,)}:
        raise DimensionError.of(
            "radius",
            found=f"the shape {values.shape}",
            expected=f"one number, or one for each of {n} contacts",
            remedy='radius="250 um"',
        )
    if (
        not is_traced(values)
        and not ((np.asarray(values) > 0) & np.isfinite(np.asarray(values))).all()
    ):
        raise ArgumentError.of(
            "radius", found=f"{values} um", expected="positive lengths", remedy='radius="250 um"'
        )
    return values


def _not_negative(conductivity: Conductivity) -> Array:
    sigma = number(conductivity, "S/m", "conductivity_top")
    if not is_jax(sigma) and not 0 <= sigma < float("inf"):
        raise ArgumentError.of(
            "conductivity_top",
            found=f"{sigma:g} S/m",
            expected="0 or more",
            remedy="conductivity_top=0",
        )
    return sigma
