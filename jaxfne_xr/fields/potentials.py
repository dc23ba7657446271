"""Extracellular potentials at contacts, from transmembrane currents or from the voltages that imply them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeAlias

import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_jax, is_traced, require_finite
from jaxfne_xr.core.dispatch import checked, contract, on_arrays
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    UnitError,
    raise_problems,
    warn,
)
from jaxfne_xr.core.inputs import (
    as_dataset,
    current_name,
    groups_of,
    is_transmembrane,
    require_site_dim,
    voltage_of,
)
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.results import finish
from jaxfne_xr.core.types import Array, Example, Probe
from jaxfne_xr.core.unit_checks import in_nA, kind_problems
from jaxfne_xr.core.units import (
    convert,
    is_quantity,
    magnitude,
    same_dimension,
    unit_of,
    units_of,
)
from jaxfne_xr.geometry.cable import Cable, cable_of, folded
from jaxfne_xr.geometry.positions import check_probe, positions_along, prefixed
from jaxfne_xr.geometry.sites import extent, sites_dim
from jaxfne_xr.kernels.fields import distance

from .conductors import Conductor, LineSource
from .membrane_currents import needs_currents, transmembrane_currents
from .model import recorded_model

#: A model: returns a lead field (contact, site) in uV/nA from a Dataset of sites and one of contacts.
PotentialModel: TypeAlias = Annotated[
    Callable[[xr.Dataset, xr.Dataset], Array], Example("jfx.LineSource(0.3)")
]

LEAD_FIELD = "uV/nA"
#: If no contact is nearer to a site than this, um, positions are probably in another unit.
FAR = 10_000.0


@public
def lead_field(
    sites: xr.Dataset | xr.DataArray, probe: Probe, model: PotentialModel | None = None
) -> xr.Dataset:
    """Compute the lead field: the potential at every contact of 1 nA leaving from every site.

    Parameters
    ----------
    sites : xr.Dataset or xr.DataArray
        Positions on ``recording`` or ``unit``: ``x``, ``y``, ``z``, or ``x_start`` ... ``z_end``, and
        ``diameter``, um.
    probe : xr.Dataset
        Contacts: `linear_probe`, `grid_probe`, `probe_at`, `from_probeinterface`.
    model : PointSource, LineSource, RootAsPoint, Slab or callable, optional
        ``LineSource()`` by default. A callable gets `sites` and `probe` and returns an array (contact, site), uV/nA.

    Returns
    -------
    xr.Dataset
        ``lead_field`` (contact, recording), uV/nA. Sites keep their coordinates; those of contacts are ``contact_x``,
        .... Contacts with a ``radius`` and a normal are disks, over which the potential is averaged;
        ``attrs["contacts"]`` says what they were taken for. JAX if positions or parameters are JAX, else float64.

    Raises
    ------
    DimensionError, UnitError, ArgumentError, VariableError
        If positions are missing or outside the conductor, or the array that a model returned does not fit.

    Warns
    -----
    UserWarning
        If contacts lie within ``min_distance`` of a site, with their number. If the whole probe is more than 10 mm from
        every site. If contacts have a radius but no normal, and so are taken as points.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0]], [[0, 0, 20]], diameter=2.0, parent=[-1])
    >>> made = lead_field(cell, jfx.linear_probe(2, origin=(50, 0, 0)), jfx.LineSource(0.3))
    >>> made.lead_field.data.magnitude.round(2).tolist()
    [[5.17], [4.15]]
    """
    sites = as_dataset(sites, "sites")
    model = LineSource() if model is None else model
    matrix, _ = matrix_of(sites, probe, model)
    dim = sites_dim(sites)
    contacts = {prefixed(name, c.dims): c.variable for name, c in check_probe(probe).coords.items()}
    shape = contact_shape(model, probe)
    return finish(
        sites,
        "lead_field",
        xr.Variable(("contact", dim), matrix),
        LEAD_FIELD,
        {**recorded_model(model, "lfp"), **shape},
        coords=contacts,
        stage="lead_field",
        attrs=shape,
    )


@public
def lfp(
    ds: xr.Dataset | xr.DataArray,
    probe: Probe,
    model: PotentialModel | None = None,
    *,
    by: str | None = None,
) -> xr.Dataset:
    """Compute the extracellular potential at every contact.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        With positions of sites, and ``i_membrane`` or ``source`` (nA), or a voltage of every compartment with axial
        conductances, as from `from_jaxley`; any other dims, in any order.
    probe : xr.Dataset
        Contacts, um.
    model : PointSource, LineSource, RootAsPoint, Slab or callable, optional
        ``LineSource()`` by default; see `lead_field`.
    by : str, optional
        A coordinate of the sites (``"unit"``, ``"population"``, ``"layer"``, ...): the contributions of its values on a
        dim of that name, which sum to the potential.

    Returns
    -------
    xr.Dataset
        ``lfp`` (time, contact), uV, or (time, `by`, contact), with the coordinates of the contacts. Zero at infinity,
        and not filtered. Contacts with a ``radius`` and a normal are disks, over which the potential is averaged;
        ``attrs["contacts"]`` says what they were taken for.

    Raises
    ------
    VariableError
        If there is only a voltage, which is not a source; the error says how to get currents.
    DimensionError, UnitError, ArgumentError
        As for `lead_field` and `transmembrane_currents`.

    Warns
    -----
    UserWarning
        As for `lead_field`, and if voltages are float32.

    Notes
    -----
    ``phi = L I``, L the lead field. For float64 voltages with more samples than contacts, L and the
    axial Laplacian G are multiplied first: ``phi = (L G) V`` costs one product, and currents are not computed. For
    float32 voltages their differences must be taken first, so currents are computed. Both use the scheme
    ``"backward_euler"``; for others, or to include a stimulus, call `transmembrane_currents` first.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0])
    >>> v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    >>> made = lfp(v.jfne.with_morphology(cell), jfx.linear_probe(2, origin=(50, 0, 0)))
    >>> made.lfp.data.magnitude.round(3).tolist(), made.attrs["amplitude_status"]
    ([[0.0, 0.0], [-0.245, 0.505]], 1)
    """
    ds = as_dataset(ds, "ds")
    model = LineSource() if model is None else model
    positions_along(probe, "contact", "xyz")
    name = current_name(ds)
    cable, physical = None, True
    if name is None:
        of, variable = "voltage", voltage_of(ds)
        cable = cable_of(ds)
        if needs_currents(ds) or not _cheaper_folded(variable, cable.dim, probe):
            ds, cable = transmembrane_currents(ds), None
            variable = in_nA(ds.variables["i_membrane"])
    else:
        of, physical = name, is_transmembrane(ds, name)
        variable = in_nA(ds.variables[name])
        # Transmembrane currents were computed from checked voltages.
        variable = variable if physical else checked(variable, name)
    dim = require_site_dim(variable, of)
    if sites_dim(ds) != dim:
        raise DimensionError.of(
            of,
            found=f"currents along {dim!r}, and positions along {sites_dim(ds)!r}",
            expected="both along the same dim",
            remedy=f'ds.assign_coords(x=("{dim}", x), y=("{dim}", y), z=("{dim}", z))',
        )
    matrix, inside = matrix_of(ds, probe, model)
    if by is None:
        matrix = matrix if cable is None else folded(matrix, cable)
        made = contract(matrix, variable, dim, "contact")
        labels = {}
    else:
        names, group = groups_of(ds, dim, by)
        parts = [_part(matrix, variable, dim, group == k, cable) for k in range(len(names))]
        made = xr.Variable.concat(parts, by)
        made = made.transpose(*(d for d in ("time", by) if d in made.dims), ..., "contact")
        labels = {by: (by, np.asarray(names))}
    parameters = {
        "of": of,
        "source": "transmembrane_current" if physical else "current",
        "by": by,
        "contacts_inside": inside,
    }
    return labelled_lfp(ds, made, probe, model, parameters, labels)


def labelled_lfp(
    ds: xr.Dataset,
    potential: xr.Variable,
    probe: xr.Dataset,
    model: PotentialModel,
    parameters: dict[str, Any],
    labels: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Return the potentials (uV) that a model gave at a probe as a Dataset, with their record."""
    shape = contact_shape(model, probe)
    return finish(
        ds,
        "lfp",
        potential,
        "uV",
        {**recorded_model(model, "lfp"), **parameters, **shape},
        coords={**probe.coords, **(labels or {})},
        attrs={"reference": "zero at infinity", **shape},
    )


def contact_shape(model: PotentialModel, probe: xr.Dataset) -> dict[str, str]:
    """Return what a model took the contacts for, as attrs: ``{"contacts": "disks"}``; empty if that is not known."""
    return {"contacts": model.electrodes(probe).words} if isinstance(model, Conductor) else {}


# ------------------------------------------------------------------------------------------------- the matrix


def matrix_of(
    sites: xr.Dataset, probe: xr.Dataset, model: PotentialModel
) -> tuple[Array, int | None]:
    """Return the lead field (contact, site), and the number of contacts inside a site; None under a JAX trace."""
    contact = positions_along(probe, "contact", "xyz")
    if isinstance(model, type):
        raise ArgumentError.of(
            "model",
            found=f"the class {model.__name__}",
            expected="a model, or a function of sites and contacts that returns a matrix",
            remedy="model=jfx.LineSource(0.3)",
        )
    with working("lead field"):
        matrix = model(sites, probe)
    return _checked(matrix, sites, probe, model), _warn_of_distances(sites, contact, model)


def _checked(matrix: Array, sites: xr.Dataset, probe: xr.Dataset, model: PotentialModel) -> Array:
    """Return the result of a model as an array (contact, site), uV/nA, after checks of shape, unit and values."""
    dims = ("contact", sites_dim(sites))
    shape = tuple({**sites.sizes, **probe.sizes}[d] for d in dims)
    unit = None
    if isinstance(matrix, xr.DataArray):
        if set(matrix.dims) == {*dims}:
            matrix = matrix.transpose(*dims)
        unit, matrix = units_of(matrix), matrix.variable.data
    elif is_quantity(matrix):
        unit = unit_of(matrix)
    matrix = magnitude(matrix)
    if not isinstance(matrix, np.ndarray) and not is_jax(matrix):
        matrix = np.asarray(matrix)
    if matrix.shape != shape:
        raise DimensionError.of(
            "model",
            found=f"a matrix of shape {matrix.shape}",
            expected=f"(contact, site), {shape}",
            remedy="return one row for each contact and one column for each site",
        )
    raise_problems(kind_problems(matrix, "model"))
    if unit is not None:
        if not same_dimension(unit, LEAD_FIELD):
            raise UnitError.of(
                "model",
                found=f"a matrix in {unit!r}",
                expected=f"{LEAD_FIELD}, or a unit that converts to it",
                remedy="matrix.drop_attrs(), if xarray kept the unit of what the matrix was computed from",
            )
        matrix = convert(matrix, unit, LEAD_FIELD)
    # Models of this package are finite everywhere; others may divide by a distance of 0.
    if not isinstance(model, Conductor) and not is_traced(matrix):
        require_finite(matrix, dims, "model")
    return matrix


def _warn_of_distances(sites: xr.Dataset, contact: Array, model: PotentialModel) -> int | None:
    """Warn of contacts inside sites, and of a probe far from all sites; return the number of contacts inside."""
    near = nearest(sites, contact, model)
    if near is None:
        return None
    distances, inside = near
    if distances.min() > FAR:
        warn(
            f"the probe lies {distances.min() / 1000:.3g} mm from the nearest site: are its positions in um? "
            'jfx.probe_at(positions, units="mm") converts.'
        )
    count = int(np.count_nonzero(inside))
    if count:
        warn(
            f"{count} of {len(inside)} contacts lie within min_distance of a site, and get the potential at that "
            "distance: a contact inside a cell has no extracellular potential."
        )
    return count


def nearest(
    sites: xr.Dataset, contact: Array, model: PotentialModel
) -> tuple[np.ndarray, np.ndarray] | None:
    """Return the distance of each contact to the nearest site, um, and whether it is inside; None under a JAX trace."""
    dim = sites_dim(sites)
    if isinstance(model, Conductor):
        place, limit = model.extent(sites), model.limit(sites)
        start, end = place[:2] if len(place) > 1 else place * 2
    else:
        start, end = extent(sites, dim)
        limit = np.zeros(len(start))
    if any(map(is_traced, (contact, start, end, limit))) or not len(start):
        return None
    distances, inside = on_arrays(
        distance.nearest_segment, *(np.asarray(a, float) for a in (contact, start, end, limit))
    )
    return distances, inside


def _cheaper_folded(variable: xr.Variable, dim: str, probe: xr.Dataset) -> bool:
    """Whether to multiply the Laplacian with the lead field: it is then applied to contacts instead of samples.

    Voltages are then multiplied before differences are taken, which is accurate in float64 only.
    """
    samples = np.prod([n for d, n in variable.sizes.items() if d != dim])
    return bool(variable.dtype == np.float64 and probe.sizes.get("contact", 0) < samples)


def _part(
    matrix: Array, variable: xr.Variable, dim: str, member: np.ndarray, cable: Cable | None
) -> xr.Variable:
    """Return the potential due to the currents of one group of sites."""
    if cable is None:
        used, weights = member, matrix[:, member]
    else:  # the currents also depend on the voltages of neighbouring sites
        used = member.copy()
        start, stop = cable.ends.arrays
        used[stop[member[start]]] = True
        used[start[member[stop]]] = True
        weights = folded(matrix * member, cable)[:, used]
    return contract(weights, variable.isel({dim: np.flatnonzero(used)}), dim, "contact")
