"""xarray objects in JAX's trees: the numbers are leaves, the labels are static and compared.

What a transformation sees of a Dataset is its data variables and those coordinates that are JAX arrays. All else
(names, dims, attrs, units, index coordinates, labels in NumPy) is static: JAX compares it at every call, and compiles
anew where it differs. Whatever is static is compared, attrs and provenance too, so that a result never carries the
labels of an earlier call.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

import jax
import numpy as np
import xarray as xr
from jax import tree_util

from jaxfne_xr.core.arrays import is_dask, is_jax
from jaxfne_xr.core.errors import DataError, DimensionError, Problem, UnitError, raise_problems
from jaxfne_xr.core.units import is_quantity, magnitude, quantity, units_of

#: What `enable_pytrees` registers. An index variable is another type to JAX, and has no leaves.
TYPES = (xr.Dataset, xr.DataArray, xr.Variable, xr.IndexVariable)

#: Kinds of NumPy data that JAX has no type for.
_FOREIGN_KINDS = "OSUTMm"

_ours: set[type] = set()


def enable_pytrees() -> tuple[str, ...]:
    """Let xarray objects cross the boundaries of `jax.jit`, `jax.grad`, `jax.lax.scan` and the like.

    Registers `xarray.Dataset`, `xarray.DataArray` and `xarray.Variable` with JAX, for the whole process; there is no
    way back. Nothing of it is done at import, since JAX takes one registration only: a library that registers them
    later would fail. The functions by name, `jaxfne_xr.jit`, `jaxfne_xr.vmap`, `jaxfne_xr.scan` and `jaxfne_xr.grad`,
    need none of this.

    Returns
    -------
    tuple of str
        The types that are registered by this package. One that another library registered before is left to it, with
        what it makes of attrs and units; calling this again changes nothing.

    Notes
    -----
    Leaves are the data variables, and the coordinates that are JAX arrays. NumPy coordinates that are not an index are
    copied once and read-only in what comes back: they are part of what JAX keeps. `encoding` does not cross.

    `jax.grad` hands its result back in the tree of the argument, with the attrs and the unit of that: mV where 1/mV is
    meant. `jaxfne_xr.grad` gives slopes their own.

    Examples
    --------
    >>> import jax, numpy as np, jaxfne_xr as jfx
    >>> enable_pytrees()
    ('Dataset', 'DataArray', 'Variable', 'IndexVariable')
    >>> ds = jfx.traces(np.zeros((2, 5), np.float32), ("unit", "time"), dt_ms=0.1, quantify=False)
    >>> jax.jit(lambda ds: ds.isel(unit=0))(ds).v.attrs["units"]
    'mV'
    """
    for kind in TYPES:
        if kind in _ours or _is_registered(kind):
            continue
        tree_util.register_pytree_with_keys(
            kind, _with_keys, lambda static, leaves: static.join(leaves), split
        )
        _ours.add(kind)
    return tuple(kind.__name__ for kind in TYPES if kind in _ours)


def _is_registered(kind: type) -> bool:
    """Whether JAX takes such an object apart; only a leaf is its own leaf."""
    if kind is xr.Dataset:
        example: Any = xr.Dataset({"a": ("x", np.zeros(1))})
    else:
        example = kind(np.zeros(1), dims="x") if kind is xr.DataArray else kind("x", np.zeros(1))
    leaves = jax.tree.leaves(example)
    return not (len(leaves) == 1 and leaves[0] is example)


# ------------------------------------------------------------------------------------------- the two halves


class Entry(NamedTuple):
    """A leaf's labels, or a static coordinate with its values."""

    name: Hashable
    dims: tuple[Hashable, ...]
    attrs: dict[Any, Any]
    is_coord: bool = False
    #: NumPy array or quantity that nobody can change, or the index variable; None for a leaf.
    values: Any = None

    def same(self, other: Entry) -> bool:
        """Whether all of it is equal."""
        return (
            self.name == other.name
            and self.dims == other.dims
            and self.is_coord == other.is_coord
            and same(self.attrs, other.attrs)
            and _same_values(self.values, other.values)
        )


class Static:
    """All of an xarray object but its leaves, as JAX compares it: identity first, then what is cheap, then arrays."""

    __slots__ = ("attrs", "coords", "indexes", "kind", "leaves", "name")

    def __init__(
        self,
        kind: type,
        leaves: Sequence[Entry],
        coords: Iterable[Entry] = (),
        indexes: Mapping[Hashable, xr.Index] | None = None,
        attrs: Mapping[Any, Any] | None = None,
        name: Hashable = None,
    ) -> None:
        self.kind = kind
        self.leaves = tuple(leaves)
        self.coords = {entry.name: entry for entry in coords}
        self.indexes = dict(indexes or {})
        self.attrs = dict(attrs or {})
        self.name = name

    def replace(self, **changes: Any) -> Static:
        """Return the same with some parts changed."""
        parts = {part: getattr(self, part) for part in self.__slots__}
        parts["coords"] = self.coords.values()
        return Static(**(parts | changes))

    def __hash__(self) -> int:
        return hash((self.kind, self.name, tuple((e.name, e.dims) for e in self.leaves)))

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Static) or self.kind is not other.kind or self.name != other.name:
            return False
        if len(self.leaves) != len(other.leaves) or self.coords.keys() != other.coords.keys():
            return False
        return (
            same(self.attrs, other.attrs)
            and all(a.same(b) for a, b in zip(self.leaves, other.leaves, strict=True))
            and _same_indexes(self.indexes, other.indexes)
            and all(entry.same(other.coords[name]) for name, entry in self.coords.items())
        )

    def __repr__(self) -> str:
        leaves = ", ".join(
            f"{'' if e.name is None else e.name}({', '.join(map(str, e.dims))})"
            for e in self.leaves
        )
        return f"{self.kind.__name__}[{leaves}]"

    def join(self, leaves: Iterable[Any]) -> Any:
        """Return the xarray object with these leaves, which need not be arrays."""
        data = self._shaped(tuple(leaves))
        if self.kind is xr.IndexVariable:
            (entry,) = self.coords.values()
            return _variable(entry, entry.values)
        variables = [_variable(e, x) for e, x in zip(self.leaves, data, strict=True)]
        if self.kind is xr.Variable:
            return variables[0]
        coords = {e.name: _variable(e, e.values) for e in self.coords.values()}
        named = dict(zip((e.name for e in self.leaves), variables, strict=True))
        coords |= {e.name: named[e.name] for e in self.leaves if e.is_coord}
        labels = xr.Coordinates(coords, indexes=self.indexes)
        if self.kind is xr.DataArray:
            array = variables[0]
            return xr.DataArray(array.data, labels, array.dims, self.name, array.attrs)
        inside = {e.name: named[e.name] for e in self.leaves if not e.is_coord}
        return xr.Dataset(inside, labels, _own(self.attrs))

    def _shaped(self, leaves: tuple[Any, ...]) -> list[Any]:
        """Return the leaves, each with as many axes as its dims; what is no array, in a placeholder."""
        sizes: dict[Hashable, int] = {}
        problems, arrays = [], []
        for entry, leaf in zip(self.leaves, leaves, strict=True):
            arrays.append(isinstance(leaf, (jax.Array, np.ndarray, np.generic)))
            if not arrays[-1]:
                continue
            if np.ndim(leaf) == len(entry.dims):
                sizes |= zip(entry.dims, np.shape(leaf), strict=True)
                continue
            label = self.name or "the DataArray" if entry.name is None else entry.name
            problems.append(
                Problem(
                    where=str(label),
                    found=f"{np.ndim(leaf)} axes for the dims {entry.dims}",
                    expected="one for each: a transformation added or took one, and cannot say which",
                    remedy='name it: jfx.vmap(fn, dim="trial"), jfx.scan(fn, init, xs, dim="time"); for other '
                    "transformations, hand in and return arrays",
                    error=DimensionError,
                )
            )
        raise_problems(problems)
        if all(arrays):
            return list(leaves)
        for entry in self.coords.values():
            sizes = dict(zip(entry.dims, entry.values.shape, strict=True)) | sizes
        return [
            leaf if is_array else Placeholder(leaf, tuple(sizes.get(d, 1) for d in entry.dims))
            for entry, leaf, is_array in zip(self.leaves, leaves, arrays, strict=True)
        ]


class Placeholder:
    """What stands for an array where JAX puts something else into a tree: a truth value, a shape, an axis."""

    __slots__ = ("dtype", "shape", "value")

    def __init__(self, value: Any, shape: tuple[int, ...]) -> None:
        self.value = value
        self.shape = shape
        self.dtype = getattr(value, "dtype", np.dtype(object))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __array_namespace__(self) -> Any:  # by which xarray takes it as it is
        raise TypeError("a placeholder in a tree has no numbers")

    def __repr__(self) -> str:
        return f"<{self.value!r} in place of an array>"

    def _repr_inline_(self, max_width: int) -> str:
        return repr(self)[:max_width]


def split(labelled: Any) -> tuple[tuple[Any, ...], Static]:
    """Return the leaves of an xarray object, and all else.

    Raises
    ------
    DataError
        If a variable is quantified, dask, or of a kind that JAX has no type for (text, objects, dates).
    """
    if isinstance(labelled, xr.IndexVariable):
        entry = _coordinate(labelled.name, labelled, is_index=True)
        return (), Static(xr.IndexVariable, (), (entry,))
    if isinstance(labelled, xr.Variable):
        variables, coords, indexes = [(None, labelled)], {}, {}
    elif isinstance(labelled, xr.DataArray):
        variables = [(None, labelled.variable)]
        coords = {name: c.variable for name, c in labelled.coords.items()}
        indexes = dict(labelled.xindexes)
    else:
        variables = [(name, labelled.variables[name]) for name in labelled.data_vars]
        coords = {name: labelled.variables[name] for name in labelled.coords}
        indexes = dict(labelled.xindexes)
    name = getattr(labelled, "name", None)
    problems, entries, leaves, static = [], [], [], []
    for key, variable in variables:
        leaf, problem = _leaf(variable, str(key if key is not None else name or "data"))
        leaves.append(leaf)
        entries.append(Entry(key, variable.dims, _own(variable.attrs)))
        problems += problem
    for key, variable in coords.items():
        if key not in indexes and isinstance(variable._data, (jax.Array, Placeholder)):
            leaves.append(_leaf(variable, str(key))[0])
            entries.append(Entry(key, variable.dims, _own(variable.attrs), True))
        else:
            static.append(_coordinate(key, variable, is_index=key in indexes))
    raise_problems(problems)
    kind = next(kind for kind in TYPES if isinstance(labelled, kind))
    attrs = _own(labelled.attrs) if kind is xr.Dataset else {}
    return tuple(leaves), Static(
        kind, entries, static, indexes, attrs, name if kind is xr.DataArray else None
    )


def _with_keys(labelled: Any) -> tuple[list[tuple[Any, Any]], Static]:
    """Return the halves, and the leaves' names for JAX's messages."""
    leaves, static = split(labelled)
    names = [tree_util.GetAttrKey("data" if e.name is None else str(e.name)) for e in static.leaves]
    return list(zip(names, leaves, strict=True)), static


def _leaf(variable: xr.Variable, name: str) -> tuple[Any, list[Problem]]:
    """Return the data of a variable as JAX takes it, or what is wrong with it."""
    data: Any = variable._data
    if isinstance(data, Placeholder):
        return data.value, []
    if is_jax(data):
        return data, []
    data = variable.data  # reads what was opened lazily
    if is_quantity(data):
        found, expected = (
            "a pint quantity, which JAX cannot hold",
            "a bare array, its unit in attrs",
        )
        return None, [
            Problem(
                name,
                found,
                expected,
                "ds.jfne.to_jax(), or quantify=False where it is made",
                UnitError,
            )
        ]
    if is_dask(data):
        found, expected = "a dask array, which JAX cannot hold", "numbers in memory"
        return None, [Problem(name, found, expected, "ds.compute()", DataError)]
    if np.dtype(data.dtype).kind in _FOREIGN_KINDS:
        return None, [
            Problem(
                name,
                f"values of type {data.dtype}, which JAX has no type for",
                "numbers or truth values in variables",
                f'ds.drop_vars("{name}"), or make it a coordinate: ds.set_coords("{name}")',
                DataError,
            )
        ]
    return data, []


def _coordinate(name: Hashable, variable: xr.Variable, *, is_index: bool) -> Entry:
    """Return a coordinate as nobody can change it."""
    values: Any = variable if is_index else variable.data
    if is_dask(values):
        raise DataError.of(
            str(name), found="a dask coordinate", expected="labels in memory", remedy="ds.compute()"
        )
    bare = magnitude(values)
    if not is_index and isinstance(bare, np.ndarray) and bare.flags.writeable:
        bare = bare.copy()
        bare.flags.writeable = False
        values = quantity(bare, str(units_of(variable))) if is_quantity(values) else bare
    return Entry(name, variable.dims, _own(variable.attrs), True, values)


def _variable(entry: Entry, values: Any) -> xr.Variable:
    if isinstance(values, xr.Variable):
        made = values.copy(deep=False)
        made.attrs = _own(entry.attrs)
        return made
    return xr.Variable(entry.dims, values, _own(entry.attrs), fastpath=True)


def _own(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return attrs that nobody else can change."""
    plain = (str, int, float, type(None))
    return {k: v if isinstance(v, plain) else copy.deepcopy(v) for k, v in attrs.items()}


# ------------------------------------------------------------------------------------------------- equality


def same(a: Any, b: Any) -> bool:
    """Whether two attrs, or parts of them, are equal in type and value; NaN is equal to NaN."""
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, Mapping):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    if isinstance(a, (list, tuple)):
        return len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, (np.ndarray, jax.Array)):
        return _same_array(a, b)
    try:
        return bool(a == b) or bool(a != a and b != b)
    except Exception:  # whatever somebody put there cannot be compared: it counts as another
        return False


def _same_array(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    if isinstance(a, jax.core.Tracer) or isinstance(b, jax.core.Tracer):
        return False
    if a.dtype.kind == "O":
        return all(map(same, a.ravel(), b.ravel()))
    if np.array_equal(a, b):
        return True
    return a.dtype.kind in "fc" and bool(np.array_equal(a, b, equal_nan=True))


def _same_values(a: Any, b: Any) -> bool:
    if a is b:
        return True
    if type(a) is not type(b):
        return False
    if isinstance(a, xr.Variable):
        if a._data is b._data:
            return True
        a, b = a.data, b.data
    if is_quantity(a) or is_quantity(b):
        return (
            is_quantity(a)
            and is_quantity(b)
            and a.units == b.units
            and _same_array(a.magnitude, b.magnitude)
        )
    return _same_array(np.asarray(a), np.asarray(b))


def _same_indexes(a: Mapping[Hashable, xr.Index], b: Mapping[Hashable, xr.Index]) -> bool:
    """Whether indexes are of the same kinds; the values of pandas indexes are compared as coordinates."""
    if a.keys() != b.keys():
        return False
    for name, index in a.items():
        other = b[name]
        if type(index) is not type(other):
            return False
        if (
            index is not other
            and not isinstance(index, xr.indexes.PandasIndex)
            and not index.equals(other)
        ):
            return False
    return True


# --------------------------------------------------------------------------------------- without registration


@tree_util.register_pytree_node_class
class Packed:
    """A box around an xarray object's halves: a tree of our own, whoever registered xarray's types, or nobody."""

    __slots__ = ("leaves", "static")

    def __init__(self, leaves: Sequence[Any], static: Static) -> None:
        self.leaves, self.static = tuple(leaves), static

    def tree_flatten(self) -> tuple[tuple[Any, ...], Static]:
        """Return the leaves and the static half."""
        return self.leaves, self.static

    @classmethod
    def tree_unflatten(cls, static: Static, leaves: Sequence[Any]) -> Packed:
        """Return the box again."""
        return cls(leaves, static)


def is_labelled(x: object) -> bool:
    """Whether `x` is an xarray object that `pack` boxes."""
    return isinstance(x, TYPES)


def is_packed(x: object) -> bool:
    """Whether `x` is a box."""
    return isinstance(x, Packed)


def pack(tree: Any) -> Any:
    """Return a tree with its xarray objects in boxes."""
    return jax.tree.map(
        lambda x: Packed(*split(x)) if is_labelled(x) else x, tree, is_leaf=is_labelled
    )


def unpack(tree: Any) -> Any:
    """Return a tree with its xarray objects out of their boxes."""
    return jax.tree.map(
        lambda x: x.static.join(x.leaves) if is_packed(x) else x, tree, is_leaf=is_packed
    )
