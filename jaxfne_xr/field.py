"""Fields: from transmembrane currents, or from the voltages that imply them, to microvolts at contacts."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import xarray as xr

from ._arrays import check_traced, is_jax, is_traced, precision_of, require_finite
from ._dispatch import checked, contract, jointly, on_arrays
from .cable import Cable, cable_of, folded, site_dim_of
from .conductor import Conductor, LineSource
from .current import (
    current_name,
    groups_of,
    in_nA,
    is_transmembrane,
    transmembrane_currents,
    voltage_of,
)
from .errors import (
    ArgumentError,
    DataError,
    DimensionError,
    Problem,
    UnitError,
    raise_problems,
    warn,
)
from .kernels import distance
from .probe import check_probe, positions_along, prefixed
from .progress import working
from .results import finish, finish_several
from .schema import kind_problems
from .sites import extent, sites_dim
from .units import convert, is_quantity, magnitude, product, same_dimension, text_of, units_of

#: A model: a lead field (contact, site) in uV/nA from a Dataset of sites and one of contacts.
Model = Callable[[xr.Dataset, xr.Dataset], Any]

LEAD_FIELD = "uV/nA"
#: Beyond this, um, no contact is near enough to be meant: positions are in another unit.
FAR = 10_000.0


def lead_field(sites: xr.Dataset, probe: xr.Dataset, model: Model | None = None) -> xr.Dataset:
    """Return the potential at every contact of 1 nA leaving from every site.

    Parameters
    ----------
    sites : xr.Dataset
        With positions on ``recording`` or ``unit``: ``x``, ``y``, ``z``, or ``x_start`` ... ``z_end``, and
        ``diameter``, um.
    probe : xr.Dataset
        Contacts: `linear_probe`, `grid_probe`, `probe_at`, `from_probeinterface`.
    model : PointSource, LineSource, RootAsPoint, Slab or callable, optional
        ``LineSource()`` by default. A callable gets `sites` and `probe` and returns an array (contact, site), uV/nA.

    Returns
    -------
    xr.Dataset
        ``lead_field`` (contact, recording), uV/nA. Sites keep their coordinates; those of contacts are ``contact_x``,
        .... JAX where positions or parameters are JAX, else float64.

    Raises
    ------
    DimensionError, UnitError, ArgumentError, VariableError
        If positions are missing or outside the conductor, or what a model returned does not fit.

    Warns
    -----
    UserWarning
        If contacts lie within ``min_distance`` of a site: how many. If the whole probe lies over 10 mm from every site.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0]], [[0, 0, 20]], diameter=2.0, parent=[-1])
    >>> made = lead_field(cell, jfx.linear_probe(2, origin=(50, 0, 0)), jfx.LineSource(0.3))
    >>> made.lead_field.data.magnitude.round(2).tolist()
    [[5.17], [4.15]]
    """
    model = LineSource() if model is None else model
    matrix, _ = matrix_of(sites, probe, model)
    dim = sites_dim(sites)
    contacts = {prefixed(name, c.dims): c.variable for name, c in check_probe(probe).coords.items()}
    return finish(
        sites,
        "lead_field",
        xr.Variable(("contact", dim), matrix),
        LEAD_FIELD,
        _recorded(model),
        coords=contacts,
        stage="lead_field",
    )


def lfp(
    ds: xr.Dataset, probe: xr.Dataset, model: Model | None = None, *, by: str | None = None
) -> xr.Dataset:
    """Return the extracellular potential at every contact.

    Parameters
    ----------
    ds : xr.Dataset
        With positions of sites, and ``i_membrane`` or ``source`` (nA), or a voltage of every compartment with axial
        conductances, as `from_jaxley` makes it; any other dims, in any order.
    probe : xr.Dataset
        Contacts, um.
    model : PointSource, LineSource, RootAsPoint, Slab or callable, optional
        ``LineSource()`` by default; see `lead_field`.
    by : str, optional
        A coordinate of the sites (``"unit"``, ``"population"``, ``"layer"``, ...): the part of each of its values on
        a dim of that name, which adds up to the whole.

    Returns
    -------
    xr.Dataset
        ``lfp`` (time, contact), uV, or (time, `by`, contact); zero at infinity, nothing filtered. Coordinates of the
        contacts.

    Raises
    ------
    VariableError
        If there is only a voltage: it is no source, and the error says how to get currents.
    DimensionError, UnitError, ArgumentError
        As for `lead_field` and `transmembrane_currents`.

    Warns
    -----
    UserWarning
        As for `lead_field`, and if voltages are float32.

    Notes
    -----
    ``phi = L I``, L the lead field. From float64 voltages with more samples than contacts, L and the
    axial Laplacian G are one matrix: ``phi = (L G) V`` costs one product, and currents are never made. From float32
    voltages the differences have to come first, so currents are. Both are of the scheme ``"backward_euler"``; for
    others, or a stimulus to be included, use `transmembrane_currents` first.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], diameter=2.0, parent=[-1, 0])
    >>> v = jfx.traces(np.array([[-65.0, -60.0], [-65.0, -64.0]]), ("recording", "time"), dt_ms=0.1)
    >>> made = lfp(v.jfne.with_morphology(cell), jfx.linear_probe(2, origin=(50, 0, 0)))
    >>> made.lfp.data.magnitude.round(3).tolist(), made.attrs["amplitude_status"]
    ([[0.0, 0.0], [-0.245, 0.505]], 1)
    """
    model = LineSource() if model is None else model
    positions_along(probe, "contact", "xyz")
    name = current_name(ds)
    cable, physical = None, True
    if name is None:
        of, variable = "voltage", voltage_of(ds)
        cable = cable_of(ds)
        if not _cheaper_folded(variable, cable.dim, probe):
            ds, cable = transmembrane_currents(ds), None
            variable = in_nA(ds.variables["i_membrane"])
    else:
        of, physical = name, is_transmembrane(ds, name)
        variable = in_nA(ds.variables[name])
        variable = (
            variable if physical else checked(variable, name)
        )  # the others come of finite voltages
    dim = site_dim_of(variable, of)
    if sites_dim(ds) != dim:
        raise _elsewhere(of, dim, sites_dim(ds))
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
    model: Model,
    parameters: dict[str, Any],
    labels: dict[str, Any] | None = None,
) -> xr.Dataset:
    """Return potentials (uV) that a model gave at a probe as a Dataset, with what the record says of them."""
    return finish(
        ds,
        "lfp",
        potential,
        "uV",
        {**_recorded(model), **parameters},
        coords={**probe.coords, **(labels or {})},
        attrs={"reference": "zero at infinity"},
    )


def calibrate(readout: xr.Dataset, reference: xr.Dataset | xr.DataArray) -> xr.Dataset:
    """Return a readout scaled to a reference by one gain, and how well it fits: declared, and no more than that.

    Parameters
    ----------
    readout : xr.Dataset
        With one variable: a proxy, or a potential.
    reference : xr.DataArray, or xr.Dataset with one variable
        The same quantity in physical units, on the same dims and labels: a physical forward model's, or a recording.

    Returns
    -------
    xr.Dataset
        ``<name>_calibrated`` in the unit of the reference, ``gain`` times the readout; ``calibration_gain``, in that
        unit over the readout's, the least-squares one, ``<x y> / <x x>``; ``calibration_residual`` (1), the root mean
        square of what is left over that of the reference. The record holds all three, and what the reference was. The
        scope is the readout's, or the reference's where that claims less, as a DataArray does, and no amplitude is
        claimed to be true: a proxy with a gain is still a proxy, and where else a fitted gain holds is not known.

    Raises
    ------
    DimensionError, UnitError
        If the two do not have the same dims, sizes and labels, or the reference has no unit.
    DataError
        If JAX traces them.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx, xarray as xr
    >>> ds = jfx.traces(np.array([[1.0, 2.0], [3.0, 4.0]]), ["time", "contact"], dt_ms=0.1, name="lfp_proxy", units="1")
    >>> reference = xr.DataArray(20 * ds.lfp_proxy.data.magnitude, dims=("time", "contact"), attrs={"units": "uV"})
    >>> made = calibrate(ds, reference)
    >>> made.calibration_gain.item(), made.calibration_residual.item(), made.attrs["amplitude_status"]
    (<Quantity(20.0, 'microvolt')>, <Quantity(0.0, 'dimensionless')>, 0)
    """
    (name, x, unit), (target, y, target_unit) = (
        _only(readout, "readout"),
        _only(reference, "reference"),
    )
    y = _aligned(readout, x, reference, y)
    gain, residual = jointly(_fit, x, y, dims=[(), ()])
    if is_traced(gain.data):
        numbers: dict[str, Any] = {"gain": "traced", "residual": "traced"}
        check_traced(name, lambda: jnp.isfinite(gain.data), "a readout that is not 0 throughout")
    else:
        numbers = {"gain": float(gain.data), "residual": float(residual.data)}
        if not np.isfinite(numbers["gain"]):
            raise DataError(
                Problem(
                    name,
                    "a readout that is 0 throughout",
                    "one that varies",
                    "check the readout",
                    DataError,
                )
            )
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


def _only(data: Any, where: str) -> tuple[str, xr.Variable, str]:
    """Return the name, the bare values and the unit of the one variable in a Dataset, or of a DataArray."""
    found = ""
    if isinstance(data, xr.DataArray):
        name, array = str(data.name or where), data
    elif isinstance(data, xr.Dataset) and len(data.data_vars) == 1:
        ((key, array),) = data.data_vars.items()
        name = str(key)
    else:
        found = (
            f"the variables {list(data)}"
            if isinstance(data, xr.Dataset)
            else f"a {type(data).__name__}"
        )
        name, array = where, xr.DataArray()
    if found:
        remedy = f'calibrate(lfp_proxy, reference=lfp), or {where}[["lfp"]] for one of several'
        raise ArgumentError(Problem(where, found, "one variable", remedy, ArgumentError))
    unit = units_of(array)
    if unit is None:
        remedy = f'{where}.attrs["units"] = "uV"'
        raise UnitError(
            Problem(name, "no unit", "a unit: a gain is from one to the other", remedy, UnitError)
        )
    return name, xr.Variable(array.dims, magnitude(array.variable.data)), unit


def _aligned(readout: xr.Dataset, x: xr.Variable, reference: Any, y: xr.Variable) -> xr.Variable:
    """Return the reference on the dims of the readout, in its precision; raise where labels differ."""
    found = f"{dict(y.sizes)}" if dict(x.sizes) != dict(y.sizes) else ""
    for dim in () if found else x.dims:
        labels = [d.coords[dim].variable.data for d in (readout, reference) if dim in d.coords]
        if len(labels) == 2 and not np.array_equal(labels[0], labels[1]):
            found = f"other labels along {dim!r}"
    if found:
        raise DimensionError(
            Problem(
                where="reference",
                found=found,
                wanted=f"the dims and labels of the readout, {dict(x.sizes)}",
                remedy="xr.align(readout, reference, join='exact'), or select the same samples of both",
                error=DimensionError,
            )
        )
    return y.transpose(*x.dims)


def _fit(x: Any, y: Any) -> tuple[Any, Any]:
    """Return the least-squares gain, and what is left over the reference, both as root mean squares."""
    gain = jnp.sum(x * y) / jnp.sum(x * x)
    left = jnp.sqrt(jnp.mean((y - gain * x) ** 2) / jnp.mean(y * y))
    return gain, left


# ------------------------------------------------------------------------------------------------- the matrix


def matrix_of(sites: xr.Dataset, probe: xr.Dataset, model: Model) -> tuple[Any, int | None]:
    """Return the lead field (contact, site), and how many contacts are inside a site, None where that is not known."""
    contact = positions_along(probe, "contact", "xyz")
    if not callable(model) or isinstance(model, type):
        found = (
            f"the class {model.__name__}"
            if isinstance(model, type)
            else f"a {type(model).__name__}"
        )
        wanted = "a model, or a function of sites and contacts that returns a matrix"
        raise ArgumentError(
            Problem("model", found, wanted, "model=jfx.LineSource(0.3)", ArgumentError)
        )
    with working("lead field"):
        matrix = model(sites, probe)
    return _checked(matrix, sites, probe, model), _look(sites, contact, model)


def _checked(matrix: Any, sites: xr.Dataset, probe: xr.Dataset, model: Model) -> Any:
    """Return what a model made as an array (contact, site), uV/nA, checked to be one."""
    dims = ("contact", sites_dim(sites))
    shape = tuple({**sites.sizes, **probe.sizes}[d] for d in dims)
    unit = None
    if isinstance(matrix, xr.DataArray):
        if set(matrix.dims) == {*dims}:
            matrix = matrix.transpose(*dims)
        unit, matrix = units_of(matrix), matrix.variable.data
    elif is_quantity(matrix):
        unit = text_of(matrix.units)
    matrix = magnitude(matrix)
    if not isinstance(matrix, np.ndarray) and not is_jax(matrix):
        matrix = np.asarray(matrix)
    if matrix.shape != shape:
        raise DimensionError(
            Problem(
                where="model",
                found=f"a matrix of shape {matrix.shape}",
                wanted=f"(contact, site), {shape}",
                remedy="return one row for each contact and one column for each site",
                error=DimensionError,
            )
        )
    raise_problems(kind_problems(matrix, "model"))
    if unit is not None:
        if not same_dimension(unit, LEAD_FIELD):
            raise UnitError(
                Problem(
                    where="model",
                    found=f"a matrix in {unit!r}",
                    wanted=f"{LEAD_FIELD}, or a unit that converts to it",
                    remedy="matrix.drop_attrs(), where xarray has only kept the unit of what it was made of",
                    error=UnitError,
                )
            )
        matrix = convert(matrix, unit, LEAD_FIELD)
    if not isinstance(model, Conductor) and not is_traced(matrix):
        require_finite(matrix, dims, "model")
    return matrix


def _look(sites: xr.Dataset, contact: Any, model: Model) -> int | None:
    """Warn of contacts inside of sites, and of a probe that is nowhere near; return how many are inside."""
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
            f"{count} of {len(inside)} contacts lie within min_distance of a site, and read as at that distance: "
            "a contact inside a cell has no extracellular potential."
        )
    return count


def nearest(sites: xr.Dataset, contact: Any, model: Model) -> tuple[np.ndarray, np.ndarray] | None:
    """Return how far each contact is from the nearest site, um, and whether it is inside; None where JAX traces it."""
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


def _recorded(model: Model) -> dict[str, Any]:
    """Return what the record says of a model."""
    if type(model).__module__ == Conductor.__module__ and isinstance(model, Conductor):
        return {**model.parameters(), "field_solver": model.solver}
    name = getattr(model, "__name__", type(model).__name__)
    return {"model": name, "field_solver": "custom"}


def _cheaper_folded(variable: xr.Variable, dim: str, probe: xr.Dataset) -> bool:
    """Whether to take the Laplacian into the lead field: G goes over contacts then, instead of over samples.

    A product with voltages takes no differences first, which only float64 affords.
    """
    samples = np.prod([n for d, n in variable.sizes.items() if d != dim])
    return bool(variable.dtype == np.float64 and probe.sizes.get("contact", 0) < samples)


def _part(
    matrix: Any, variable: xr.Variable, dim: str, member: np.ndarray, cable: Cable | None
) -> xr.Variable:
    """Return what the sites of one group contribute."""
    if cable is None:
        used, weights = member, matrix[:, member]
    else:  # their currents depend on the voltages of their neighbours too
        used = member.copy()
        start, stop = cable.ends.arrays
        used[stop[member[start]]] = True
        used[start[member[stop]]] = True
        weights = folded(matrix * member, cable)[:, used]
    return contract(weights, variable.isel({dim: np.flatnonzero(used)}), dim, "contact")


def _elsewhere(of: str, dim: str, where: str) -> DimensionError:
    return DimensionError(
        Problem(
            where=of,
            found=f"currents along {dim!r}, and positions along {where!r}",
            wanted="both along the same dim",
            remedy=f'ds.assign_coords(x=("{dim}", x), y=("{dim}", y), z=("{dim}", z))',
            error=DimensionError,
        )
    )
