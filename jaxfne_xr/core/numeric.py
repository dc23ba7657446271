"""The types in which arrays are stored and computed: any type, byte order and place of data, decided here only.

`native` is for data that are kept, `computable` for data that a kernel reads, `as_floats` for those it does arithmetic
with. What is no number, is masked, or has no known size is refused.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import NamedSharding, PartitionSpec

from .arrays import explicit_sharding, is_array, is_dask, is_jax, is_traced, precision_of
from .errors import ArgumentError, DataError, DimensionError, JfneError, Problem
from .types import Array, ArrayLike

#: Types in which data are computed, or counted, as they are: 32 and 64 bits, integers and booleans, in the byte order
#: of this machine.
PLAIN = frozenset(map(np.dtype, "?bhilqBHILQfd"))


def native(data: Array, name: str = "data") -> Array:
    """Return an array with the same values in a type that can be computed with and stored; unchanged if it has one.

    NumPy and dask data in the byte order of another machine get that of this one, which the kernels assume. Long double
    becomes float64, and integers of fewer than 8 bits get 8. Other objects, and data that are no numbers, are returned
    unchanged.

    Raises
    ------
    DataError
        If the data, passed as `name`, are masked.
    DimensionError
        If dask does not know their size.
    """
    if type(data) is np.ndarray and data.dtype in PLAIN:
        return data
    if not is_array(data):
        return data
    if is_dask(data) and has_unknown_size(data):
        raise unknown_size(name, data.shape, f"{name}.compute_chunk_sizes()")
    masked = masked_problem(data, name, name)
    if masked is not None:
        raise DataError(masked)
    return data if is_native(data.dtype) else data.astype(_kept_type(data.dtype))


def computable(data: Array, name: str = "data") -> Array:
    """Return an array as kernels read it: `native`, `gathered`, and float32 if it has fewer than 32 bits.

    Nullable data of pandas become NumPy's, with NaN for what is missing.
    """
    data = gathered(native(_of_pandas(data), name))
    if not is_array(data) or data.dtype in PLAIN or not is_floating(data.dtype):
        return data
    return data.astype(np.float32)


def _of_pandas(data: Array) -> Array:
    """Return the numbers and booleans in nullable data of pandas as NumPy's, NaN for None; other data as they are."""
    kind = getattr(getattr(data, "dtype", None), "numpy_dtype", None)
    if kind is None or not hasattr(data, "to_numpy") or np.dtype(kind).kind not in "biuf":
        return data
    if data.isna().any():
        return data.to_numpy(dtype=np.float64, na_value=np.nan)
    return data.to_numpy(dtype=kind)


def gathered(data: Array) -> Array:
    """Return a JAX array that is divided along explicit axes of a mesh as a whole on each device; others as they are.

    Explicit axes ask every operation for the sharding of its result. With automatic axes XLA finds it: there, data stay
    divided.
    """
    sharding = explicit_sharding(data)
    if sharding is None or not any(sharding.spec):
        return data
    return jax.sharding.reshard(data, NamedSharding(sharding.mesh, PartitionSpec()))


def together(*arrays: Array) -> tuple[Array, ...]:
    """Return arrays that can be computed together, of JAX or of dask: as the first of them, or JAX if one is traced.

    Raises
    ------
    DataError
        If JAX arrays were put on different devices.
    """
    of_jax = [a for a in arrays if is_jax(a)]
    placed = [a for a in of_jax if not is_traced(a) and a.committed]
    if len(placed) > 1 and len({frozenset(a.sharding.device_set) for a in placed}) > 1:
        raise DataError.of(
            "data",
            found=f"JAX arrays on the devices {' and '.join(str(a.sharding.device_set) for a in placed)}",
            expected="all on the same devices",
            remedy="jax.device_put(data, other.sharding)",
        )
    if not of_jax or not any(map(is_dask, arrays)):
        return arrays
    first = next(a for a in arrays if is_jax(a) or is_dask(a))
    if is_dask(first) and not any(map(is_traced, arrays)):
        return tuple(np.asarray(a) if is_jax(a) else a for a in arrays)
    return tuple(a.compute() if is_dask(a) else a for a in arrays)


def as_floats(data: Array) -> Array:
    """Return integers as floating-point numbers: float64, or JAX's default float for JAX; other numbers as they are.

    The absolute value, the negative and the square of an integer may not fit into its type.

    Raises
    ------
    DataError
        If the data are neither real numbers nor booleans.
    """
    dtype = data.dtype
    if dtype.kind == "b" or is_floating(dtype):
        return data
    if not is_real_type(dtype):
        raise DataError(kind_problem(dtype, "data"))
    if not is_jax(data):
        return data.astype(np.float64)
    with precision_of(data):
        return data.astype(float)


def real_numbers(values: ArrayLike, name: str, remedy: str) -> np.ndarray:
    """Return a float64 copy of real numbers in an array of any kind, or in nested sequences.

    Raises
    ------
    ArgumentError
        If they are no real numbers; `remedy` is part of the error.
    """
    try:
        array = np.asarray(native(values, name))
    except (TypeError, ValueError) as error:
        if isinstance(error, JfneError):
            raise
        array = np.asarray(None)
    if not is_real_type(array.dtype):
        found = f"values of type {array.dtype}" if array.dtype.kind not in "OUS" else repr(values)
        raise ArgumentError.of(name, found=found, expected="real numbers", remedy=remedy)
    return array.astype(np.float64)


def masked_problem(data: Array, name: str, code: str) -> Problem | None:
    """Return the problem of masked data, called `name`, that `code` evaluates to; None of any other.

    The remedy writes NaN where the mask is, which is not taken for a value, as 0 mV would be.
    """
    lazy = is_dask(data)
    if not isinstance(data._meta if lazy else data, np.ma.MaskedArray):
        return None
    if data.dtype.kind != "b" and not is_floating(data.dtype):
        code = f"{code}.astype(float)"
    value = "False" if data.dtype.kind == "b" else "np.nan"
    return Problem(
        where=name,
        found="a masked array, whose mask would be lost",
        expected="a plain array",
        remedy=f"{code}.map_blocks(np.ma.filled, {value})" if lazy else f"{code}.filled({value})",
        error=DataError,
    )


def kind_problem(dtype: Any, name: str) -> Problem:
    """Return the problem of data of a type that is not of real numbers."""
    remedy = "convert with .astype(float) where that is right"
    data = name if name.isidentifier() else "data"
    kind = getattr(dtype, "kind", "")  # types of pandas, and of JAX's keys, are not NumPy's
    if kind == "c":
        remedy = "take the real part with .real, or the absolute value"
    elif kind in ("m", "M"):
        since = f"({data} - {data}.min())" if kind == "M" else data
        remedy = f'divide by a unit of time: {since} / np.timedelta64(1, "ms")'
    elif kind == "V" and getattr(dtype, "names", None):
        remedy = f'take one field: {data}["{dtype.names[0]}"]'
    return Problem(
        where=name,
        found=f"values of type {dtype}",
        expected="real numbers (float or integer)",
        remedy=remedy,
        error=DataError,
    )


def has_unknown_size(data: Array) -> bool:
    """Whether a dask array has chunks of unknown size, as one that was masked by another."""
    return any(n != n for n in data.shape)  # NaN


def unknown_size(name: str, shape: tuple[float, ...], remedy: str) -> DimensionError:
    """Make the error of a dask array whose size is not known."""
    return DimensionError.of(
        name,
        found=f"a dask array of the shape {shape}, with chunks of unknown size",
        expected="known sizes, which the selection of samples by a mask leaves to be computed",
        remedy=remedy,
    )


def is_real_type(dtype: Any) -> bool:
    """Whether a type is of real numbers, floating-point or integers; booleans are none."""
    return is_floating(dtype) or _is(dtype, jnp.integer)


def is_floating(dtype: Any) -> bool:
    """Whether a type is of real floating-point numbers, those of ml_dtypes (bfloat16) included."""
    return _is(dtype, jnp.floating)


def is_native(dtype: Any) -> bool:
    """Whether `native` returns data of a type unchanged."""
    return dtype in PLAIN or not isinstance(dtype, np.dtype) or _kept_type(dtype) == dtype


def _is(dtype: Any, kind: Any) -> bool:
    # types of pandas are not known to NumPy and JAX; to NumPy, a timedelta64 is an integer
    return isinstance(dtype, np.dtype) and dtype.kind != "m" and bool(jnp.issubdtype(dtype, kind))


def _kept_type(dtype: np.dtype) -> np.dtype:
    """Return the type with the same values in which data of another type are kept."""
    if not dtype.isnative:
        dtype = dtype.newbyteorder("=")
    if dtype.kind == "f" and dtype.itemsize > 8:
        return np.dtype(np.float64)
    if dtype.kind == "V" and jnp.issubdtype(dtype, jnp.integer):  # int4, uint4, ... of ml_dtypes
        return np.dtype(np.int8 if jnp.issubdtype(dtype, jnp.signedinteger) else np.uint8)
    return dtype
