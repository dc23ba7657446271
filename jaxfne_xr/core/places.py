"""Whether the positions of segments agree: the middle of each lies between its two ends.

A segment has its place three times: ``x``, ``y``, ``z``, and ``x_start`` ... ``z_end``. Models of points read the
first, models of lines the others. A cell that was moved by some of them only would stay where it was for one of the
two.

The middle need not be half-way between the ends: along a curved segment it lies off the straight line. It is then
within reach of both ends along the path, and the segments of a cell differ in where it lies, while those of a cell that
was moved are all off by the same.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from .arrays import is_traced
from .errors import ArgumentError, Problem
from .schema import SITES
from .unit_checks import unit_problem
from .units import convert, factor, magnitude, same_dimension, units_of

#: Middles and ends agree if they differ by less than this, um, or than this fraction of the largest coordinate, which
#: allows for coordinates in float32.
CLOSE = (0.01, 1e-6)
#: The path along a segment may be longer than the one that its area and diameter give by this factor, since segments
#: need not be cylinders; and longer than the distance between its ends by this one, if the path is not known.
LONGER = (1.25, 4.0)
#: More displacements than this are not listed in a remedy.
MANY = 12


@dataclass(frozen=True)
class _Segments:
    """The places of segments along some axes, (site, axis), um, and how long their paths can be, (site)."""

    axes: tuple[str, ...]
    middle: np.ndarray
    start: np.ndarray
    end: np.ndarray
    longest: np.ndarray

    @property
    def names(self) -> list[str]:
        return [axis + suffix for suffix in ("", "_start", "_end") for axis in self.axes]


def place_disagreement(ds: xr.Dataset, dim: str) -> list[Problem]:
    """Return the problem of segments along `dim` whose middles do not lie between their ends, or are not finite.

    None if there are no middles, no ends, or JAX traces one of them. A position without a unit, or in one that is no
    length, cannot be compared, so it is a problem too, also of a model that does not need it.
    """
    axes = tuple(
        a
        for a in "xyz"
        if all(
            n in ds.coords and ds.variables[n].dims == (dim,) for n in (a, a + "_start", a + "_end")
        )
    )
    names = [a + end for a in axes for end in ("", "_start", "_end")]
    if problems := [p for name in names for p in unit_problem(ds.variables[name], name, "um")]:
        return problems
    columns = {name: x for name in names if (x := _um(ds, name)) is not None}
    if not axes or len(columns) < len(names):
        return []
    middle, start, end = (
        np.stack([columns[a + suffix] for a in axes], axis=1) for suffix in ("", "_start", "_end")
    )
    off = middle - (start + end) / 2
    scale = max(float(np.abs(x).max(initial=0.0)) for x in (middle, start, end))
    close = max(CLOSE[0], CLOSE[1] * scale) if np.isfinite(scale) else CLOSE[0]
    # negated, so that NaN is off
    if bool((np.abs(off) <= close).all()):
        return []
    if not np.isfinite(off).all():
        return [_not_finite(columns, dim)]
    segments = _Segments(
        axes, middle, start, end, _longest(ds, dim, np.linalg.norm(end - start, axis=1))
    )
    groups = _groups(ds, dim, len(off))
    shifts = {g: _shared(off[groups == g], close) for g in np.unique(groups)}
    if all(shift is None for shift in shifts.values()) and len(off) > 1:
        shift = _shared(off, close)  # cells of one segment each, all moved together
        shifts = dict.fromkeys(shifts, shift) if shift is not None else shifts
    path = np.linalg.norm(middle - start, axis=1) + np.linalg.norm(middle - end, axis=1)
    bad = (np.abs(off) > close).any(axis=1) & (path > segments.longest + close)
    for g, shift in shifts.items():
        if shift is not None:
            bad |= (groups == g) & (np.abs(off - shift) <= close).all(axis=1)
    if not bad.any():
        return []
    return [_moved(ds, dim, segments, off, bad, shifts, close)]


def every_disagreement(ds: xr.Dataset) -> list[Problem]:
    """Return the problems of `place_disagreement` along every dim of sites."""
    return [p for dim in SITES if dim in ds.dims for p in place_disagreement(ds, dim)]


def _um(ds: xr.Dataset, name: str) -> np.ndarray | None:
    """Return a coordinate in um; None if JAX traces it."""
    variable = ds.variables[name]
    data = magnitude(variable.data)
    if is_traced(data):
        return None
    return np.asarray(convert(np.asarray(data, float), str(units_of(variable)), "um"))


def _longest(ds: xr.Dataset, dim: str, chord: np.ndarray) -> np.ndarray:
    """Return how long the path along each segment can be, um, from its area and diameter or from its ends."""
    known: dict[str, np.ndarray] = {}
    for name, unit in (("diameter", "um"), ("membrane_area", "um^2")):
        if name in ds.coords and ds.variables[name].dims == (dim,):
            variable = ds.variables[name]
            data, given = magnitude(variable.data), units_of(variable) or unit
            if not is_traced(data) and same_dimension(given, unit):
                known[name] = np.asarray(convert(np.asarray(data, float), given, unit))
    diameter = known.get("diameter", np.zeros_like(chord))
    longest = LONGER[1] * np.where(chord > 0, chord, diameter)
    if len(known) < 2:
        return longest
    with np.errstate(divide="ignore", invalid="ignore"):
        length = known["membrane_area"] / (np.pi * diameter)
    return np.where(np.isfinite(length) & (length > 0), LONGER[0] * length, longest)


def _groups(ds: xr.Dataset, dim: str, n: int) -> np.ndarray:
    """Return the number of the cell of each segment."""
    if dim != "unit" and "unit" in ds.coords and ds.variables["unit"].dims == (dim,):
        return np.unique(np.asarray(ds.variables["unit"].data), return_inverse=True)[1].ravel()
    return np.arange(n) if dim == "unit" else np.zeros(n, int)


def _shared(off: np.ndarray, close: float) -> np.ndarray | None:
    """Return the displacement that more than half of several segments share, and that is not 0; else None."""
    if len(off) < 2:
        return None
    shift = np.median(off, axis=0)
    same = (np.abs(off - shift) <= close).all(axis=1)
    moved = bool((np.abs(shift) > close).any())
    return shift if moved and 2 * np.count_nonzero(same) > len(off) else None


def _not_finite(columns: dict[str, np.ndarray], dim: str) -> Problem:
    bad = {name: ~np.isfinite(x) for name, x in columns.items()}
    sites = np.any(list(bad.values()), axis=0)
    first = int(np.argmax(sites))
    names = [name for name, x in bad.items() if x.any()]
    return Problem(
        where=", ".join(names),
        found=f"{np.count_nonzero(sites)} of {len(sites)} sites with an invalid value, "
        f"{dim} {first} first: {columns[names[0]][first]}",
        expected="a finite position of every site, um",
        remedy=f"correct it, or leave the site out: ds.drop_isel({dim}=[{first}])",
        error=ArgumentError,
    )


def _moved(
    ds: xr.Dataset,
    dim: str,
    segments: _Segments,
    off: np.ndarray,
    bad: np.ndarray,
    shifts: dict[int, np.ndarray | None],
    close: float,
) -> Problem:
    first = int(np.argmax(bad))
    by = ", ".join(f"{x:.6g}" for x in off[first])
    names = ", ".join(segments.axes)
    return Problem(
        where=names,
        found=f"{names} of {np.count_nonzero(bad)} of {len(bad)} sites away from the middle between their ends, "
        f"{dim} {first} first, by ({by}) um: moved by some of their coordinates only",
        expected=f"{', '.join(segments.names)} all moved together",
        remedy=_remedy(ds, segments, bad, shifts, close),
        error=ArgumentError,
    )


def _remedy(
    ds: xr.Dataset,
    segments: _Segments,
    bad: np.ndarray,
    shifts: dict[int, np.ndarray | None],
    close: float,
) -> str:
    axes = segments.axes
    dropped = f"ds.drop_vars({list(axes)})"
    by_unit = [shifts[g] for g in sorted(shifts)]
    known = [np.zeros(len(axes)) if s is None else s for s in by_unit]
    alike = all(np.abs(s - known[0]).max() <= close for s in known)
    if all(s is None for s in by_unit) or (not alike and len(known) > MANY):
        return f"{dropped}, if the ends are right; jfx.translate and jfx.rotate move all coordinates together"
    moved = _which(segments, bad)
    if moved and alike:
        # with its start moved by s, the middle of the ends is off by s / 2
        shift = -2 * known[0]
        back = ", ".join(
            f"{a}_{moved}={_less(ds, f'{a}_{moved}', x)}"
            for a, x in zip(axes, shift, strict=True)
            if abs(x) > close
        )
        return f"jfx.translate(ds.assign_coords({back}), {_arguments(axes, [shift], close)})"
    given = known[:1] if alike else known
    return f"jfx.translate({dropped}, {_arguments(axes, given, close)})"


def _less(ds: xr.Dataset, name: str, shift: float) -> str:
    """Return the expression of a coordinate less a displacement in um, in its own unit, which it keeps."""
    shift /= factor(str(units_of(ds.variables[name])), "um")
    return f"(ds.{name} - {shift:.9g}).assign_attrs(ds.{name}.attrs)"


def _arguments(axes: tuple[str, ...], shifts: list[np.ndarray], close: float) -> str:
    """Return displacements as keyword arguments of `translate`, one number or one for each cell."""
    texts = []
    for axis, values in zip(axes, np.transpose(shifts), strict=True):
        if (np.abs(values) > close).any():
            numbers = [f"{0.0 if abs(x) <= close else x:.9g}" for x in values]
            texts.append(
                f"{axis}={numbers[0]}" if len(numbers) == 1 else f"{axis}=[{', '.join(numbers)}]"
            )
    return ", ".join(texts)


def _which(segments: _Segments, bad: np.ndarray) -> str:
    """Return which ends were moved, if middles and the other ends are as far apart as the path allows: else ``""``."""
    longest = segments.longest[bad]
    middle, start, end = (x[bad] for x in (segments.middle, segments.start, segments.end))
    if (np.linalg.norm(end - start, axis=1) <= longest).all():
        return ""
    for name, other in (("start", end), ("end", start)):
        if (2 * np.linalg.norm(middle - other, axis=1) <= longest).all():
            return name
    return ""
