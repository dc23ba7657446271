"""Remove a dim from trees of labelled data and restore it, and count their times from zero, for `by_dim`."""

from __future__ import annotations

from collections.abc import Hashable

import jax
import numpy as np
import xarray as xr
from xarray.indexes import PandasIndex

from jaxfne_xr.core.errors import DataError, DimensionError, JfneError, Problem, raise_problems
from jaxfne_xr.core.time_axis import (
    DT_TOLERANCE,
    TIME,
    as_typed,
    even_times,
    same_times,
    time_from_dt,
    time_problem,
    time_variable,
)

from .pytrees import Entry, Packed, Static, Tree, is_packed, same

#: Significant digits of a sampling interval: windows get the same times inside `jit` if it is equal up to these.
_DIGITS = 10


def without(
    packed: Tree, dim: Hashable, what: str
) -> tuple[tuple[Tree, list[int | None]], Static | None]:
    """Remove `dim` from a tree: return it, the axis of `dim` in each leaf, and the coordinates along `dim`."""
    nodes, tree = jax.tree.flatten(packed, is_leaf=is_packed)
    problems: list[Problem] = []
    labels: Static | None = None
    lengths: dict[int, str] = {}
    found: set[Hashable] = set()
    inner: list[Tree] = []
    axes: list[int | None] = []
    for node in nodes:
        if not is_packed(node):
            inner.append(node)
            axes += [None] * len(jax.tree.leaves(node))
            continue
        static = node.static
        found |= {d for e in static.leaves for d in e.dims}
        problems += _partial(static, dim, what)
        box, mine, here = _taken(node, dim)
        inner.append(box)
        axes.extend(mine)
        for leaf, axis in zip(box.leaves, mine, strict=True):
            if axis is not None:
                lengths.setdefault(np.shape(leaf)[axis], str(static))
        if here is not None and labels is not None:
            problems += _other_labels(labels, here, dim)
        labels = here if labels is None else _joined(labels, here)
    if len(lengths) > 1:
        said = "; ".join(f"{n} in {where}" for n, where in lengths.items())
        problems.append(
            Problem(
                str(dim), f"different lengths: {said}", "the same length",
                "select the same entries of each first", DimensionError,
            )
        )  # fmt: skip
    if not lengths:
        dims = sorted(map(str, found))
        known = ", ".join(map(repr, dims)) or "none at all"
        problems.append(
            Problem(
                str(dim), f"no labelled argument with this dim; their dims are {known}",
                f"{dim!r} in at least one argument", f"dim={dims[0]!r}" if dims else "pass labelled data",
                DimensionError,
            )
        )  # fmt: skip
    raise_problems(problems)
    return (jax.tree.unflatten(tree, inner), axes), labels


def _partial(static: Static, dim: Hashable, what: str) -> list[Problem]:
    variables = [e for e in static.leaves if not e.is_coord]
    have = [str(e.name) for e in variables if dim in e.dims]
    lack = [str(e.name) for e in variables if dim not in e.dims]
    if not (have and lack):
        return []
    return [
        Problem(
            where=str(dim),
            found=f"only in {', '.join(have)}, not in {', '.join(lack)}",
            expected="all variables of a Dataset with it, or none",
            remedy=f'ds.drop_vars({lack}) and pass them separately, or ds["{lack[0]}"].expand_dims({dim}=n)'
            if what == "vmap"
            else f"ds.drop_vars({lack}), and use them in fn by closure",
            error=DimensionError,
        )
    ]


def _taken(box: Packed, dim: Hashable) -> tuple[Packed, list[int | None], Static | None]:
    """Return a packed object without `dim`, the axis of `dim` in each leaf, and the labels along it."""
    # Numeric coordinates along `dim` are mapped like data. Indexes and text cannot be leaves: they are set aside.
    static = box.static
    numbers = [
        e
        for e in static.coords.values()
        if dim in e.dims and e.name not in static.indexes and e.values.dtype.kind in "biuf"
        and isinstance(e.values, np.ndarray)
    ]  # fmt: skip
    mapped = {e.name for e in numbers}
    gone = {e.name: e for e in static.coords.values() if dim in e.dims and e.name not in mapped}
    entries = [*static.leaves, *(e._replace(values=None) for e in numbers)]
    leaves = [*box.leaves, *(e.values for e in numbers)]
    axes = [e.dims.index(dim) if dim in e.dims else None for e in entries]
    inner = static.replace(
        leaves=[e._replace(dims=tuple(d for d in e.dims if d != dim)) for e in entries],
        coords=[e for e in static.coords.values() if e.name not in {*gone, *mapped}],
        indexes={k: index for k, index in static.indexes.items() if k not in gone},
    )
    if not gone:
        return Packed(leaves, inner), axes, None
    indexes = {k: index for k, index in static.indexes.items() if k in gone}
    return Packed(leaves, inner), axes, Static(xr.Dataset, (), gone.values(), indexes)


def _joined(one: Static, two: Static | None) -> Static:
    """Return the labels of both; those of the first where both have them."""
    if two is None:
        return one
    coords = {**two.coords, **one.coords}.values()
    return one.replace(coords=coords, indexes=two.indexes | one.indexes)


def _other_labels(one: Static, two: Static, dim: Hashable) -> list[Problem]:
    names = [
        n for n in one.coords if n in two.coords and not _alike(n, one.coords[n], two.coords[n])
    ]
    return [
        Problem(
            where=str(name),
            found=f"labels along {dim!r} that differ between the arguments",
            expected="the same labels in the same order, with the same unit",
            remedy=f'b.assign_coords({name}=a["{name}"]) to match by position; the same window of both otherwise',
            error=DimensionError,
        )
        for name in names
    ]


def _alike(name: Hashable, one: Entry, two: Entry) -> bool:
    """Whether two coordinates are the same, times up to rounding."""
    if one.same(two) or name != TIME or one.attrs != two.attrs:
        return one.same(two)
    a, b = (np.asarray(e.values.data) for e in (one, two))
    return a.dtype.kind == b.dtype.kind == "f" and same_times(a, b)


def with_dim(tree: Tree, dim: Hashable, labels: Static | None) -> Tree:
    """Label the first axis of all leaves as `dim` in the labelled parts of a tree, and add its coordinates."""

    def add(node: Tree) -> Tree:
        if not is_packed(node):
            return node
        static = node.static
        if static.kind is xr.IndexVariable:
            return node
        taken = [*static.leaves, *static.coords.values()]
        if any(dim in e.dims for e in taken):
            raise DimensionError.of(
                str(dim),
                found=f"a dim of this name in the result of fn: {static}",
                expected="another name",
                remedy=f'return ds.rename({dim}="{dim}_of_each")',
            )
        dims = {dim, *(d for e in taken for d in e.dims)}
        present = {e.name for e in taken}
        more: list[Entry] = []
        indexes: dict[Hashable, xr.Index] = {}
        if labels is not None and static.kind is not xr.Variable:
            more = [
                e
                for e in labels.coords.values()
                if e.name not in present and dims.issuperset(e.dims)
            ]
            names = {e.name for e in more}
            indexes = {k: index for k, index in labels.indexes.items() if k in names}
        return Packed(
            node.leaves,
            static.replace(
                leaves=[e._replace(dims=(dim, *e.dims)) for e in static.leaves],
                coords=[*static.coords.values(), *more],
                indexes=static.indexes | indexes,
            ),
        )

    return jax.tree.map(add, tree, is_leaf=is_packed)


def require_same_carry(before: Tree, after: Tree) -> None:
    """Raise if a step of a scan changed the dims, labels or types of what it carries."""
    old, form = jax.tree.flatten(before, is_leaf=is_packed)
    new, new_form = jax.tree.flatten(after, is_leaf=is_packed)
    problems = []
    if str(form) != str(new_form) or [is_packed(x) for x in old] != [is_packed(x) for x in new]:
        problems.append(_changed("carry", str(form), str(new_form)))
    else:
        for a, b in zip(old, new, strict=True):
            if is_packed(a) and a.static != b.static:
                problems += _changes(a.static, b.static)
    raise_problems(problems)


def _changes(a: Static, b: Static) -> list[Problem]:
    """Return the differences between the static parts of two objects."""
    if str(a) != str(b):
        return [_changed("carry", str(a), str(b))]
    found = [
        _changed(str(e.name or a.name or "carry"), f"the attrs {e.attrs}", f"{f.attrs}")
        for e, f in zip(a.leaves, b.leaves, strict=True)
        if not same(e.attrs, f.attrs)
    ]
    if not same(a.attrs, b.attrs):
        differ = [k for k in {**a.attrs, **b.attrs} if not same(a.attrs.get(k), b.attrs.get(k))]
        found.append(_changed("carry", "the attrs of the Dataset", f"others, in {differ}"))
    if not found:
        names = sorted({*map(str, a.coords), *map(str, b.coords)})
        found.append(_changed("carry", f"the coordinates {names}", "others, or other labels"))
    return found


def _changed(where: str, old: str, new: str) -> Problem:
    return Problem(
        where=where,
        found=f"{old} before a step, and after it {new}",
        expected="a carry whose dims, units, attrs and labels stay the same",
        remedy="at the end of fn: new = carry.copy(data=new.data), or new.assign_attrs(carry.attrs)",
        error=DataError,
    )


# ---------------------------------------------------------------------------------------- times from zero


class Times:
    """The original times of the data, ms, and the times from zero that replace them inside `fn`."""

    def __init__(self, entry: Entry, dt: float, inside: np.ndarray) -> None:
        self.entry, self.dt, self.inside = entry, dt, inside
        self.given = np.asarray(entry.values.data)


def from_zero(packed: Tree) -> tuple[Tree, Times | None]:
    """Shift even times in ms to start at 0; return the tree and the original times, None if there are none."""
    nodes, tree = jax.tree.flatten(packed, is_leaf=is_packed)
    times: Times | None = None
    for i, node in enumerate(nodes):
        mine = _even(node.static) if is_packed(node) else None
        if mine is None:
            continue
        if times is not None and abs(times.given[0] - mine.given[0]) > DT_TOLERANCE * times.dt:
            raise time_problem(
                f"data that start at {times.given[0]:g} ms, and others that start at {mine.given[0]:g} ms",
                "one start, from which jfx.jit counts the times",
                "select the same window of each, or jax.jit after jfx.enable_pytrees(), which compiles again for each",
            )
        times = times or mine
        nodes[i] = Packed(node.leaves, _retimed(node.static, mine.inside, mine.entry))
    return jax.tree.unflatten(tree, nodes), times


def _even(static: Static) -> Times | None:
    entry, index = static.coords.get(TIME), static.indexes.get(TIME)
    if entry is None or type(index) is not PandasIndex or entry.attrs.get("units") != "ms":
        return None
    try:
        given, dt = even_times(entry.values, None)
    except JfneError:  # uneven times stay as they are: `fn` raises if it needs even ones
        return None
    if dt is None:
        return None
    # Rounded: times of different windows differ in the last digits, for which JAX would compile again.
    dt = float(f"{dt:.{_DIGITS}g}")
    return Times(entry, dt, time_from_dt(dt, len(given)))


def _retimed(static: Static, times: np.ndarray, like: Entry) -> Static:
    variable = time_variable(times)
    entry = like._replace(values=variable)
    coords = [entry if e.name == TIME else e for e in static.coords.values()]
    return static.replace(coords=coords, indexes=static.indexes | {TIME: PandasIndex(times, TIME)})


def put_back(made: Tree, times: Times) -> Tree:
    """Restore the original times: the same floats if all are among them, else counted from their start."""

    def put(node: Tree) -> Tree:
        entry = node.static.coords.get(TIME) if is_packed(node) else None
        if entry is None or type(node.static.indexes.get(TIME)) is not PandasIndex:
            return node
        inside = np.asarray(entry.values.data, float)
        k = np.rint(inside / times.dt)
        step = float(inside[1] - inside[0]) if len(inside) > 1 else None
        known = (
            np.all(np.abs(inside - k * times.dt) <= DT_TOLERANCE * times.dt)
            and (k >= 0).all()
            and (k < len(times.given)).all()
        )
        outside = times.given[k.astype(int)] if known else as_typed(times.given[0] + inside, step)
        return Packed(node.leaves, _retimed(node.static, outside, entry))

    return jax.tree.map(put, made, is_leaf=is_packed)
