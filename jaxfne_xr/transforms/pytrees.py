"""xarray objects as JAX pytrees: arrays are leaves, labels are static data that JAX compares.

The leaves of a Dataset are its data variables and those coordinates that are JAX arrays. All else (names, dims, attrs,
units, index coordinates, labels in NumPy) is static: JAX compares it at every call, and compiles again if it differs.
All static data are compared, including attrs and provenance, so that a result never has the labels of an earlier call.
"""

from __future__ import annotations

import copy
from collections.abc import Hashable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple, TypeAlias

import jax
import numpy as np
import xarray as xr
from jax import tree_util

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_jax
from jaxfne_xr.core.errors import DataError, DimensionError, Problem, UnitError, raise_problems
from jaxfne_xr.core.numeric import native
from jaxfne_xr.core.types import Array
from jaxfne_xr.core.units import bare, is_quantity, quantity, units_of

#: The types that `enable_pytrees` registers. To JAX, an index variable is a separate type; it has no leaves.
TYPES = (xr.Dataset, xr.DataArray, xr.Variable, xr.IndexVariable)

#: Any nesting of dicts, lists and tuples, of xarray objects (packed or not), arrays and numbers.
Tree: TypeAlias = Any
#: An object of one of `TYPES`.
Labelled: TypeAlias = xr.Dataset | xr.DataArray | xr.Variable

#: Kinds of NumPy data that JAX has no type for.
_FOREIGN_KINDS = "OSUTMm"

#: The types that this package has registered; another library may have registered some of `TYPES`.
_ours: set[type] = set()


@public
def enable_pytrees() -> tuple[str, ...]:
    """Register xarray objects as pytrees, which `jax.jit`, `jax.grad`, `jax.lax.scan` and others can take and return.

    Registers `xarray.Dataset`, `xarray.DataArray` and `xarray.Variable` with JAX for the whole process; this cannot be
    undone. It is not done at import, since JAX allows one registration per type: another library that registers them
    later would fail. `jaxfne_xr.jit`, `jaxfne_xr.vmap`, `jaxfne_xr.scan` and `jaxfne_xr.grad` do not need it.

    Returns
    -------
    tuple of str
        The types that this package has registered. Types that another library registered before are left to it,
        including how it treats attrs and units. Calling this again has no effect.

    Notes
    -----
    Leaves are the data variables, and the coordinates that are JAX arrays. NumPy coordinates that are not an index are
    copied once and are read-only in the result, since JAX keeps them as static data. `encoding` is lost.

    `jax.grad` returns its result in the tree of the argument, with its attrs and unit: mV instead of 1/mV.
    `jaxfne_xr.grad` sets the unit of the gradient.

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
    """Whether JAX flattens objects of this type; an object that is not registered is its own only leaf."""
    if kind is xr.Dataset:
        example: Labelled = xr.Dataset({"a": ("x", np.zeros(1))})
    else:
        example = kind(np.zeros(1), dims="x") if kind is xr.DataArray else kind("x", np.zeros(1))
    leaves = jax.tree.leaves(example)
    return not (len(leaves) == 1 and leaves[0] is example)


# ------------------------------------------------------------------------------------ leaves and static data


class Entry(NamedTuple):
    """A leaf's labels, or a static coordinate with its values."""

    name: Hashable
    dims: tuple[Hashable, ...]
    attrs: dict[Any, Any]
    is_coord: bool = False
    #: Read-only NumPy array or quantity, or the index variable; None for a leaf.
    values: Any = None

    def same(self, other: Entry) -> bool:
        """Whether all fields are equal."""
        return (
            self.name == other.name
            and self.dims == other.dims
            and self.is_coord == other.is_coord
            and same(self.attrs, other.attrs)
            and _same_values(self.values, other.values)
        )


class Static:
    """All of an xarray object except its leaves. Equality compares identity first, then cheap parts, then arrays."""

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
        """Return a copy with some parts changed."""
        parts = {part: getattr(self, part) for part in self.__slots__}
        parts["coords"] = self.coords.values()
        return Static(**(parts | changes))

    def __hash__(self) -> int:
        # Cheap: attrs, which may not be hashable, and coordinates are left to __eq__.
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

    def join(self, leaves: Iterable[Any]) -> Labelled:
        """Return the xarray object with these leaves, which may be other objects than arrays."""
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
        """Return the leaves, checked to have an axis per dim; objects that are not arrays become placeholders."""
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
                    expected="one axis for each: a transformation added or removed one, and which is not known",
                    remedy='name it: jfx.vmap(fn, dim="trial"), jfx.scan(fn, init, xs, dim="time"); for other '
                    "transformations, pass and return arrays",
                    error=DimensionError,
                )
            )
        raise_problems(problems)
        if all(arrays):
            return list(leaves)
        # xarray needs the sizes of placeholders: known from the arrays, else from the coordinates.
        for entry in self.coords.values():
            sizes = dict(zip(entry.dims, entry.values.shape, strict=True)) | sizes
        return [
            leaf if is_array else Placeholder(leaf, tuple(sizes.get(d, 1) for d in entry.dims))
            for entry, leaf, is_array in zip(self.leaves, leaves, arrays, strict=True)
        ]


class Placeholder:
    """Takes the place of an array where JAX puts another object into a tree: a bool, a shape, an axis."""

    __slots__ = ("dtype", "shape", "value")

    def __init__(self, value: object, shape: tuple[int, ...]) -> None:
        self.value = value
        self.shape = shape
        self.dtype = getattr(value, "dtype", np.dtype(object))

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return len(self.shape)

    def __array_namespace__(self) -> Any:  # with it, xarray does not convert the object
        raise TypeError("a placeholder in a pytree has no values")

    def __repr__(self) -> str:
        return f"<{self.value!r} in place of an array>"

    def _repr_inline_(self, max_width: int) -> str:
        return repr(self)[:max_width]


def split(labelled: Any) -> tuple[tuple[Any, ...], Static]:
    """Split an xarray object into its leaves and its static data.

    Raises
    ------
    DataError
        If a variable is quantified, dask, or of a kind that JAX has no type for (text, objects, dates).
    """
    if isinstance(labelled, xr.IndexVariable):
        entry = _coordinate(labelled.name, labelled, is_index=True)
        return (), Static(xr.IndexVariable, (), (entry,))
    variables: list[tuple[Hashable, xr.Variable]]
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


def _with_keys(labelled: Any) -> tuple[list[tuple[tree_util.GetAttrKey, Any]], Static]:
    """Return the leaves with their names, which JAX's messages show, and the static data."""
    leaves, static = split(labelled)
    names = [tree_util.GetAttrKey("data" if e.name is None else str(e.name)) for e in static.leaves]
    return list(zip(names, leaves, strict=True)), static


def _leaf(variable: xr.Variable, name: str) -> tuple[Any, list[Problem]]:
    """Return the data of a variable as a leaf, or its problem."""
    # `.data` would load data that were opened lazily: a placeholder or a JAX array needs no loading.
    data: Array = variable._data
    if isinstance(data, Placeholder):
        return data.value, []
    if is_jax(data):
        return data, []
    data = variable.data  # loads data that were opened lazily
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
                "numbers or booleans in variables",
                f'ds.drop_vars("{name}"), or make it a coordinate: ds.set_coords("{name}")',
                DataError,
            )
        ]
    return native(data, name), []


def _coordinate(name: Hashable, variable: xr.Variable, *, is_index: bool) -> Entry:
    """Return a coordinate as static data, with read-only values."""
    values: Array | xr.Variable = variable if is_index else variable.data
    if is_dask(values):
        raise DataError.of(
            str(name), found="a dask coordinate", expected="labels in memory", remedy="ds.compute()"
        )
    array = bare(values)
    if not is_index and isinstance(array, np.ndarray) and array.flags.writeable:
        array = array.copy()
        array.flags.writeable = False
        values = quantity(array, str(units_of(variable))) if is_quantity(values) else array
    return Entry(name, variable.dims, _own(variable.attrs), True, values)


def _variable(entry: Entry, values: Array | xr.Variable) -> xr.Variable:
    if isinstance(values, xr.Variable):
        made = values.copy(deep=False)
        made.attrs = _own(entry.attrs)
        return made
    return xr.Variable(entry.dims, values, _own(entry.attrs), fastpath=True)


def _own(attrs: Mapping[Any, Any]) -> dict[Any, Any]:
    """Return a copy of attrs, deep enough that later changes to the original have no effect."""
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
    except (
        Exception
    ):  # values of any type may be in attrs: those that cannot be compared count as different
        return False


def _same_array(a: Array, b: Array) -> bool:
    if a is b:
        return True
    if a.shape != b.shape or a.dtype != b.dtype:
        return False
    # The values of tracers are not known: two of them count as different.
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
    """An xarray object as a pytree of this package: works whether or not xarray's own types are registered."""

    __slots__ = ("leaves", "static")

    def __init__(self, leaves: Sequence[Any], static: Static) -> None:
        self.leaves, self.static = tuple(leaves), static

    def tree_flatten(self) -> tuple[tuple[Any, ...], Static]:
        """Return the leaves and the static data."""
        return self.leaves, self.static

    @classmethod
    def tree_unflatten(cls, static: Static, leaves: Sequence[Any]) -> Packed:
        """Return the packed object with these leaves."""
        return cls(leaves, static)


def is_labelled(x: object) -> bool:
    """Whether `x` is an xarray object, which `pack` wraps."""
    return isinstance(x, TYPES)


def is_packed(x: object) -> bool:
    """Whether `x` is a packed xarray object."""
    return isinstance(x, Packed)


def pack(tree: Tree) -> Tree:
    """Wrap the xarray objects of a tree in `Packed`."""
    return jax.tree.map(
        lambda x: Packed(*split(x)) if is_labelled(x) else x, tree, is_leaf=is_labelled
    )


def unpack(tree: Tree) -> Tree:
    """Unwrap the xarray objects of a tree."""
    return jax.tree.map(
        lambda x: x.static.join(x.leaves) if is_packed(x) else x, tree, is_leaf=is_packed
    )
