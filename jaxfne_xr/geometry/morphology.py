"""Morphologies from plain arrays: the positions of segments, and the axial conductances between them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core import provenance, scope
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.errors import (
    ArgumentError,
    DataError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.inputs import as_dataset
from jaxfne_xr.core.numeric import real_numbers
from jaxfne_xr.core.results import assemble, is_quantified, with_unit
from jaxfne_xr.core.schema import STRUCTURE
from jaxfne_xr.core.types import ArrayLike, Morphology, Scalars, UnitText
from jaxfne_xr.core.units import convert, magnitude, unit_text, units_of
from jaxfne_xr.core.values import LARGEST, SMALLEST, carries_unit, plain, values_in

ROW = "recording"
#: Lengths and positions are often rounded to a few digits: relative difference that is not an error.
LENGTH_ROUNDING = 1e-3


@public
def morphology(
    start: Scalars,
    end: Scalars,
    diameter: Scalars,
    parent: ArrayLike,
    *,
    at: Scalars = 1.0,
    length: Scalars | None = None,
    axial_resistivity: Scalars = 100.0,
    membrane_area: Scalars | None = None,
    soma: ArrayLike | None = None,
    units: UnitText = "um",
    quantify: bool = True,
) -> xr.Dataset:
    """Build the morphology of one or more cells: labels, positions and axial conductances of their segments.

    Parameters
    ----------
    start, end : array (recording, 3)
        Where each segment starts and ends, um.
    diameter : float or array (recording)
        Diameter of each, um.
    parent : array (recording) of int
        The number of the segment that each is attached to; -1 for the root of a cell.
    at : float or array (recording)
        Where on its parent each is attached: 1 for the end, 0.5 for the middle, 0 for the start.
    length : array (recording), optional
        Path length of each, um, at least the distance from start to end; by default that distance. A root or soma that
        is traced as one point is as long as it is wide.
    axial_resistivity : float, str, pint.Quantity or array (recording)
        Axial resistivity, ohm cm.
    membrane_area : array (recording), optional
        Membrane area of each, um^2; by default that of a cylinder without caps.
    soma : array (recording) of bool, optional
        Which segments are the soma; by default the roots.
    units : str
        Unit of lengths without one.
    quantify : bool
        Whether the conductances become a pint quantity.

    Returns
    -------
    xr.Dataset
        ``conductance`` (uS) on ``edge``, between the segments ``edge_from`` and ``edge_to`` (`compartment_id`); on
        ``recording`` ``compartment_id``, ``unit`` (cells numbered from 0 in the order of their roots), ``x`` ...
        ``z_end`` and ``diameter`` (um), ``membrane_area`` (um^2), ``soma``.

    Raises
    ------
    DimensionError, UnitError, ArgumentError
        All problems at once. If a segment that is neither root nor soma starts where it ends and has no `length`: it
        would have no membrane and no resistance. If a `length` is shorter than the distance from start to end.

    Notes
    -----
    Each half of a segment has the resistance ``R = rho l / 2 / (pi d^2 / 4)``. A point where several halves meet has
    no membrane, so it is eliminated: ``g_ab = g_a g_b / sum(g)`` for every pair, as in NEURON and Jaxley.

    Examples
    --------
    >>> cell = morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 110]], [10.0, 2.0], [-1, 0])
    >>> cell.conductance.data.magnitude.round(4).tolist(), cell.z.values.tolist()
    ([0.0626], [5.0, 60.0])
    """
    units = unit_text(units)
    points, n = _ends(start, end, units)
    widths = _per_segment(diameter, units, "um", "diameter", n, positive=True)
    resistivity = _per_segment(
        axial_resistivity, "ohm*cm", "ohm*cm", "axial_resistivity", n, positive=True
    )
    parents = plain(parent, "parent")
    attached = _per_segment(at, "1", "1", "at", n, positive=False)
    raise_problems(_parent_problems(parents, n) or _at_problems(attached))
    roots = parents < 0
    somata = roots if soma is None else plain(soma, "soma")
    if not np.isin(somata, (False, True)).all():
        raise ArgumentError.of(
            "soma",
            found=repr(soma),
            expected="True or False for each",
            remedy="soma=np.asarray(parent) < 0",
        )
    somata = np.asarray(somata).astype(bool)
    if somata.shape != (n,):
        raise DimensionError(_shape("soma", somata.shape, f"({n},)"))
    chord = np.linalg.norm(points[1] - points[0], axis=1)
    if length is None:
        point = chord == 0
        raise_problems(_extent_problems(point & ~(roots | somata)))
        lengths = np.where(point, widths, chord)
    else:
        lengths = _per_segment(length, units, "um", "length", n, positive=True)
        raise_problems(_length_problems(lengths, chord))
    area = np.pi * widths * lengths
    if membrane_area is not None:
        area = _per_segment(membrane_area, "um^2", "um^2", "membrane_area", n, positive=True)

    unit = _cells(parents)
    half = resistivity / 100 * (lengths / 2) / (np.pi * widths**2 / 4)  # ohm cm / um is 0.01 MOhm
    i, j, g = joined(*_cable(parents, attached, half), n)
    return segments(
        *points,
        widths,
        (i, j, g),
        {"unit": unit, "compartment_id": np.arange(n), "membrane_area": area, "soma": somata},
        function="morphology",
        parameters={"n": n, "geometry": "declared"},
        quantify=quantify,
    )


@public
def with_morphology(ds: xr.Dataset | xr.DataArray, morphology: Morphology) -> xr.Dataset:
    """Add the labels, positions and axial conductances of a morphology to traces.

    Parameters
    ----------
    ds : xr.Dataset or xr.DataArray
        Traces or Signals with a voltage or currents on ``recording``: one row for each segment, in the same order.
    morphology : xr.Dataset
        From `morphology`, or `from_lfpy`.

    Returns
    -------
    xr.Dataset
        `ds` with the coordinates and ``conductance`` of the morphology instead of its own.

    Raises
    ------
    DimensionError, VariableError
        If the number of rows is not that of the segments, or `morphology` has no axial conductances.

    Examples
    --------
    >>> import jaxfne_xr as jfx
    >>> cell = morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 20]], 2.0, [-1, 0])
    >>> v = jfx.traces(np.zeros((2, 5)), ("recording", "time"), dt_ms=0.1)
    >>> with_morphology(v, cell).z.values.tolist()
    [5.0, 15.0]
    """
    ds = as_dataset(ds, "ds")
    if "conductance" not in morphology:
        raise VariableError.of(
            "morphology",
            found="no axial conductances",
            expected="a morphology",
            remedy="the result of jfx.morphology, jfx.from_jaxley or jfx.from_lfpy",
        )
    n = morphology.sizes[ROW]
    if ds.sizes.get(ROW) != n:
        raise DimensionError.of(
            ROW,
            found=f"the sizes {dict(ds.sizes)}",
            expected=f"{ROW}: {n}, a row for each segment in the order of the morphology",
            remedy=f"select the rows of the morphology with isel, or name their dim {ROW} with rename",
        )
    # Edges of an earlier morphology would not fit the new labels.
    old = [name for name, x in ds.variables.items() if x.dims == STRUCTURE]
    g = morphology.variables["conductance"]
    bare = xr.Variable(g.dims, convert(magnitude(g.data), str(units_of(g)), "uS"))
    made = ds.drop_vars(old).assign_coords(
        {name: c.variable for name, c in morphology.coords.items() if name not in ds.dims}
    )
    made = made.assign(
        conductance=with_unit(
            bare,
            "uS",
            quantify=is_quantified(ds, bare.data),
            attrs={"long_name": g.attrs["long_name"]},
        )
    )
    geometry = scope.geometry(provenance.read(morphology.attrs))
    return provenance.extend(made, "with_morphology", {"geometry": geometry, "n": n})


def segments(
    start: np.ndarray,
    end: np.ndarray,
    diameter: np.ndarray,
    edges: tuple[np.ndarray, np.ndarray, np.ndarray],
    labels: dict[str, np.ndarray],
    *,
    function: str,
    parameters: Mapping[str, Any],
    quantify: bool,
    variables: dict[str, tuple[xr.Variable, str]] | None = None,
    time: np.ndarray | None = None,
    origin: str = "array",
) -> xr.Dataset:
    """Return segments (um) and the conductances between them (uS) as a Dataset, with `variables` on them if given."""
    coords: dict[str, Any] = {name: (ROW, values) for name, values in labels.items()}
    if "membrane_area" in coords:
        coords["membrane_area"] = (*coords["membrane_area"], {"units": "um^2"})
    for suffix, points in (("", (start + end) / 2), ("_start", start), ("_end", end)):
        coords |= {
            axis + suffix: (ROW, points[:, k], {"units": "um"}) for k, axis in enumerate("xyz")
        }
    coords["diameter"] = (ROW, diameter, {"units": "um"})
    i, j, g = edges
    coords |= {
        "edge_from": ("edge", i),
        "edge_to": ("edge", j),
        "edge_unit": ("edge", labels["unit"][i]),
    }
    for name in {"branch", "compartment"} & labels.keys():
        coords |= {
            f"edge_{side}_{name}": ("edge", labels[name][k]) for side, k in (("from", i), ("to", j))
        }
    return assemble(
        {**(variables or {}), "conductance": (xr.Variable("edge", g), "uS")},
        time,
        coords,
        quantify=quantify,
        function=function,
        parameters=parameters,
        stage="traces" if variables else "morphology",
        origin=origin,
    )


def joined(
    a: np.ndarray, b: np.ndarray, g: np.ndarray, n: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Eliminate the points between segments: return segments i < j and the conductance between them.

    Parameters
    ----------
    a, b : int array (link)
        The two ends of each link: a segment (numbers below `n`) or a point (from `n` on). No link connects two points.
    g : array (link)
        uS.
    n : int
        Number of segments.
    """
    a, b = np.minimum(a, b), np.maximum(a, b)
    direct = b < n
    found = [(a[direct], b[direct], g[direct])]
    # Links to the same point become neighbours; each pair of them is one conductance, g_a g_b / sum(g).
    arm = np.flatnonzero(~direct)
    arm = arm[np.argsort(b[arm], kind="stable")]
    tip, link = a[arm], g[arm]
    _, hub, arms = np.unique(b[arm], return_inverse=True, return_counts=True)
    total = np.bincount(hub, link)
    for shift in range(1, arms.max(initial=0)):  # every link with the one `shift` places after it
        first = np.flatnonzero(hub[:-shift] == hub[shift:])
        second = first + shift
        found.append((tip[first], tip[second], link[first] * link[second] / total[hub[first]]))
    a, b, g = (np.concatenate(part) for part in zip(*found, strict=True))
    i, j = np.minimum(a, b), np.maximum(a, b)
    order = np.lexsort((j, i))
    return i[order], j[order], g[order]


def _cable(
    parent: np.ndarray, at: np.ndarray, half: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return the links from the middle of each segment to its end (n + i) and to where it is attached."""
    n = len(parent)
    own = np.arange(n)
    # What each is attached to: the end of its parent (at 1), its middle (0.5), or what the parent is attached to (0).
    attach = np.where(at == 1.0, n + parent, np.where(at == 0.5, parent, -1))
    attach[parent < 0] = 2 * n + own[parent < 0]
    while (open_ := np.flatnonzero(attach < 0)).size:
        attach[open_] = attach[parent[open_]]
    return (
        np.concatenate([own, own]),
        np.concatenate([n + own, attach]),
        1 / np.concatenate([half, half]),
    )


def _cells(parent: np.ndarray) -> np.ndarray:
    """Return the cell of each segment, numbered in the order of the roots."""
    # Each pass doubles the number of generations that are followed up.
    root = np.where(parent < 0, np.arange(len(parent)), parent)
    while not np.array_equal(above := root[root], root):
        root = above
    return np.unique(root, return_inverse=True)[1].ravel()


# -------------------------------------------------------------------------------------------------- arguments


def _ends(
    start: ArrayLike, end: ArrayLike, units: str
) -> tuple[tuple[np.ndarray, np.ndarray], int]:
    points = [_numbers(x, units, "um", name) for x, name in ((start, "start"), (end, "end"))]
    problems = [
        _shape(name, x.shape, "(n, 3), n at least 1, the same for both")
        for x, name in zip(points, ("start", "end"), strict=True)
        if x.ndim != 2 or x.shape[1] != 3 or not len(x) or x.shape != points[0].shape
    ]
    raise_problems(problems)
    bad = [
        name for x, name in zip(points, ("start", "end"), strict=True) if not np.isfinite(x).all()
    ]
    if bad:
        raise ArgumentError.of(
            bad[0],
            found="values not finite",
            expected="finite positions, um",
            remedy="correct the positions",
        )
    return (points[0], points[1]), len(points[0])


def _numbers(values: ArrayLike, units: str, target: str, name: str) -> np.ndarray:
    bare = magnitude(values)
    if is_traced(bare) or is_dask(bare):
        raise DataError.of(
            name,
            found="an array that JAX traces" if is_traced(bare) else "a dask array",
            expected="concrete numbers, which decide which segments meet",
            remedy="make the morphology outside, and differentiate in its displacement: "
            "jfx.translate(cell, x=x), jfx.rotate(cell, angle)",
        )
    if carries_unit(values) or isinstance(values, str):
        return np.array(values_in(values, target, name, given=units))
    remedy = "one row or number for each segment, in an array"
    return convert(real_numbers(values, name, remedy), units, target)


def _per_segment(
    values: ArrayLike, units: str, target: str, name: str, n: int, *, positive: bool
) -> np.ndarray:
    numbers = _numbers(values, units, target, name)
    if numbers.shape not in ((), (n,)):
        raise DimensionError(_shape(name, numbers.shape, f"one, or ({n},)"))
    if positive and not ((numbers >= SMALLEST) & (numbers <= LARGEST)).all():
        raise ArgumentError.of(
            name,
            found=f"{float(numbers.min()):g} {target}, or not finite",
            expected="positive numbers",
            remedy="correct them, or leave out these segments",
        )
    return np.array(np.broadcast_to(numbers, (n,)))


def _parent_problems(parent: np.ndarray, n: int) -> list[Problem]:
    found = None
    if parent.shape != (n,) or parent.dtype.kind not in "iu":
        found = f"shape {parent.shape} of {parent.dtype}"
    elif parent.max(initial=-1) >= n or parent.min(initial=0) < -1:
        found = f"numbers from {parent.min()} to {parent.max()}"
    else:
        above = parent
        # Each pass doubles the number of generations: what has not reached a root then is in a cycle.
        for _ in range(n.bit_length() + 1):
            above = np.where(above < 0, -1, above[above])
        if (above >= 0).any():
            found = f"a cycle, through segment {int(np.argmax(above >= 0))}"
    if found is None:
        return []
    return [
        Problem(
            where="parent",
            found=found,
            expected=f"for each of the {n} segments another's number, or -1 for the root of a cell",
            remedy=f"parent=np.arange({n}) - 1, if each segment continues the one before",
            error=ArgumentError,
        )
    ]


def _extent_problems(point: np.ndarray) -> list[Problem]:
    """Return the problem of segments without extent, of which no length is known."""
    if not point.any():
        return []
    number = np.flatnonzero(point)
    return [
        Problem(
            where="end",
            found=f"the position of start for segment{'s' * (len(number) > 1)} {_listed(number)}",
            expected="an extent, but of a root or a soma: a segment of no length has neither membrane nor resistance",
            remedy="leave it out, and attach its children to its parent; or pass length, if its path is closed",
            error=ArgumentError,
        )
    ]


def _length_problems(length: np.ndarray, chord: np.ndarray) -> list[Problem]:
    """Return the problem of lengths below the distance from start to end."""
    short = np.flatnonzero(length < chord * (1 - LENGTH_ROUNDING))
    if not short.size:
        return []
    k = short[0]
    return [
        Problem(
            where="length",
            found=f"{length[k]:g} um for segment {k}, from start to end {chord[k]:g} um"
            + (f" (also segments {_listed(short[1:])})" if short.size > 1 else ""),
            expected="a path at least as long as the distance from start to end",
            remedy="length=None for the distance itself, or correct start, end or the unit of length",
            error=ArgumentError,
        )
    ]


def _listed(numbers: np.ndarray) -> str:
    """Return the first few numbers as text."""
    return ", ".join(map(str, numbers[:5])) + ", ..." * (len(numbers) > 5)


def _at_problems(at: np.ndarray) -> list[Problem]:
    if np.isin(at, (0.0, 0.5, 1.0)).all():
        return []
    return [
        Problem("at", f"{at[~np.isin(at, (0, 0.5, 1))][0]:g}", "0, 0.5 or 1", "at=1", ArgumentError)
    ]


def _shape(where: str, shape: tuple[int, ...], expected: str) -> Problem:
    return Problem(
        where, f"shape {shape}", expected, "one row, or number, for each segment", DimensionError
    )
