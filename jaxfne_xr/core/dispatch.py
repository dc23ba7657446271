"""Run bare-array kernels on labelled variables of NumPy, JAX or dask.

A kernel gets a bare array and the number of an axis. Here a dimension name becomes that number (nothing is transposed
or copied), and the kernel runs as one jitted call on a JAX array, over cache-sized blocks of a NumPy array, or over the
chunks of a dask array, each extended by as many earlier samples as the kernel looks back. The caller adds labels, units
and scope to the result; no attrs are copied from the input.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr
from numpy.typing import DTypeLike

from jaxfne_xr.kernels import mean as mean_kernel

from .arrays import (
    all_finite,
    blocks,
    check_traced,
    is_dask,
    is_jax,
    is_staged,
    is_traced,
    precision_of,
    require_counts,
    require_finite,
    take,
)
from .blocks import product
from .blocks import total as sum_over
from .numeric import as_floats, computable, together
from .progress import progress, working
from .types import Array
from .units import bare, magnitude

#: Bytes from which work that is not done in blocks may take seconds, and is shown by a progress bar.
SHOWN_BYTES = 1 << 24

#: A function of bare arrays and parameters, with axis numbers and other static options by keyword; it returns an
#: array or a tuple of arrays.
Kernel = Callable[..., Any]
#: The static options of a kernel, hashable as `jit` needs them.
_Static = tuple[tuple[str, Hashable], ...]


def along(
    kernel: Kernel,
    variable: xr.Variable,
    dim: Hashable,
    *parameters: float,
    look_back: int,
    fill: bool | float,
    dtype: DTypeLike,
    finite: str | None = None,
) -> xr.Variable:
    """Apply `kernel` to every sample of a variable along `dim`.

    Parameters
    ----------
    kernel : callable
        ``kernel(array, *parameters, axis=)``, written with operators that NumPy and JAX arrays share; its result is
        `look_back` samples shorter than its input along the axis. A function of a module, so that dask can pickle it.
    variable : xr.Variable
        NumPy-, JAX- or dask-backed, bare or quantified.
    dim : str
        The dimension along which the kernel looks back.
    *parameters : float
        Numbers in the unit of the data.
    look_back : int
        How many earlier samples one result needs.
    fill : scalar
        The result for the first `look_back` samples.
    dtype : dtype
        Of the result.
    finite : str, optional
        The variable's name: raise if a value is not finite. Traced values are checked under `jaxfne_xr.checkify` only,
        and those of dask not at all (see `checked`).

    Returns
    -------
    xr.Variable
        Same dims and kind of array as `variable`; no attrs.
    """
    data = magnitude(variable.data)
    axis = variable.get_axis_num(dim)
    run = partial(kernel, axis=axis)
    call: dict[str, Any] = {"axis": axis, "look_back": look_back, "fill": fill}
    names = tuple(str(d) for d in variable.dims)
    if is_jax(data):
        if finite is not None and is_traced(data):
            _check_finite(data, finite)
        check = finite is not None and not is_traced(data)
        with precision_of(data):
            out, ok = _jax(data, parameters, kernel=kernel, check=check, **call)
            if check and is_traced(ok):
                # a constant inside a user's jit: its values are known already, the result of the jitted call is not
                if any(map(is_traced, parameters)):
                    require_finite(data, names, str(finite))
                    check = False
                else:
                    with jax.ensure_compile_time_eval():
                        out, ok = _jax(data, parameters, kernel=kernel, check=check, **call)
        if check and not ok:
            require_finite(data, names, str(finite))
    elif is_dask(data):
        out = _dask(data, run, parameters, dtype=dtype, **call)
    else:
        out, ok = _numpy(data, run, parameters, dtype=dtype, **call)
        if finite is not None and not ok:
            require_finite(data, names, finite)
    return xr.Variable(variable.dims, out)


def checked(variable: xr.Variable, name: str, *, counts: bool = False) -> xr.Variable:
    """Check that all values are finite, and `counts` not negative: now, or when dask computes them.

    Returns the same object unless it is dask; traced values are checked under `jaxfne_xr.checkify` only.
    """
    data = bare(variable.data)
    names = tuple(str(d) for d in variable.dims)
    require = require_counts if counts else require_finite
    if is_dask(data):
        made = data.map_blocks(
            _require_chunk,
            require=require,
            dims=names,
            name_=name,
            dtype=data.dtype,
            meta=data._meta,
        )
        if data is not variable.data:  # a quantity again
            made = type(variable.data)(made, variable.data.units)
        return variable.copy(deep=False, data=made)
    if is_traced(data):
        _check_finite(data, name)
    else:
        require(data, names, name)
    return variable


def _check_finite(data: jax.Array, name: str) -> None:
    check_traced(name, lambda: jnp.isfinite(data).all(), "finite values only")


@partial(jax.jit, static_argnames=("kernel", "axis", "look_back", "fill", "check"))
def _jax(
    data: jax.Array,
    parameters: tuple[float, ...],
    *,
    kernel: Kernel,
    axis: int,
    look_back: int,
    fill: bool | float,
    check: bool,
) -> tuple[jax.Array, jax.Array | bool]:
    out = kernel(data, *parameters, axis=axis)
    pad = [(0, 0)] * data.ndim
    pad[axis] = (min(look_back, data.shape[axis]), 0)
    out = jnp.pad(out, pad, constant_values=fill)
    if not (check and jnp.issubdtype(data.dtype, jnp.floating)):
        return out, True
    # 0 * NaN and 0 * Inf are NaN: one pass, fused with the kernel's own, which isfinite().all() is not.
    return out, jnp.sum(data * 0) == 0


def _numpy(
    data: np.ndarray,
    run: Kernel,
    parameters: tuple[float, ...],
    *,
    axis: int,
    look_back: int,
    fill: bool | float,
    dtype: DTypeLike,
) -> tuple[np.ndarray, bool]:
    """Return the kernel's result over blocks of `data`, and whether all values are finite."""
    out = np.empty_like(data, dtype=dtype, subok=False)  # in the memory order of the input
    out[take(axis, slice(0, look_back))] = fill
    block_axis, slices = blocks(data)
    ok = True
    for where in progress(slices, "computing"):
        if block_axis == axis:
            # a block along time is read from `look_back` samples earlier on
            begin = max((where.start or 0) - look_back, 0)
            source = data[take(axis, slice(begin, where.stop))]
            target = out[take(axis, slice(begin + look_back, where.stop))]
        else:
            source = data[take(block_axis, where)]
            target = out[take(block_axis, where)][take(axis, slice(look_back, None))]
        target[...] = run(source, *parameters)
        ok = ok and all_finite(source)
    return out, ok


def _dask(
    data: Array,
    run: Kernel,
    parameters: tuple[float, ...],
    *,
    axis: int,
    look_back: int,
    fill: bool | float,
    dtype: DTypeLike,
) -> Array:
    import dask.array

    if data.shape[axis] <= look_back:  # more than dask can overlap
        return dask.array.full(data.shape, fill, dtype, chunks=data.chunks)
    return dask.array.map_overlap(
        partial(
            _dask_chunk, run=run, parameters=parameters, axis=axis, look_back=look_back, fill=fill
        ),
        data,
        depth={axis: (look_back, 0)},
        boundary="none",
        dtype=dtype,
        meta=np.empty((0,) * data.ndim, dtype),
    )


def _dask_chunk(
    chunk: np.ndarray,
    *,
    run: Kernel,
    parameters: tuple[float, ...],
    axis: int,
    look_back: int,
    fill: bool | float,
) -> np.ndarray:
    """Return the kernel's result for a chunk with its halo, of the same shape: dask trims the halo afterwards."""
    result = np.asarray(run(chunk, *parameters))
    pad = [(0, 0)] * chunk.ndim
    pad[axis] = (min(look_back, chunk.shape[axis]), 0)
    return np.pad(result, pad, constant_values=fill)


def _require_chunk(
    chunk: np.ndarray,
    require: Callable[..., None],
    dims: tuple[str, ...],
    name_: str,
    block_info: dict[Any, Any] | None = None,
) -> np.ndarray:
    # dask fills `block_info` in: where the chunk lies in the whole array, so that the error gives that index
    where = block_info[0]["array-location"] if block_info else ()
    require(chunk, dims, name_, [start for start, _ in where])
    return chunk


# ------------------------------------------------------------------------------------- kernels that change the dims


def contract(
    matrix: Array, variable: xr.Variable, dim: Hashable, new_dim: Hashable | None
) -> xr.Variable:
    """Sum a variable over `dim`, weighted by each row of a matrix: a lead field, a group mean.

    Parameters
    ----------
    matrix : array (new_dim, dim), NumPy or JAX, or dask with a dask variable; or (dim,) if `new_dim` is None
        The weights, in the order of the variable's `dim`.
    variable : xr.Variable
        NumPy-, JAX- or dask-backed, bare or quantified.
    dim, new_dim : str
        The dim to sum over, and the one that replaces it, as the last dim.

    Returns
    -------
    xr.Variable
        The other dims, ``time`` first if there is one, then `new_dim`; bare. One product, in the precision of the
        data; on dask one for each chunk of the other dims.
    """
    data, matrix = together(as_floats(magnitude(variable.data)), computable(matrix))
    axis = variable.get_axis_num(dim)
    rest = [d for d in variable.dims if d != dim]
    order = sorted(rest, key=lambda d: d != "time")
    axes = (*(variable.get_axis_num(d) for d in order), axis)
    dims = (*order, *(() if new_dim is None else (new_dim,)))
    if is_jax(data) or is_jax(matrix):
        with precision_of(data):
            return xr.Variable(dims, _jax_product(matrix, data, axes=axes))
    weights = matrix if is_dask(matrix) else np.asarray(matrix)
    if data.dtype.kind == "f":
        weights = weights.astype(data.dtype)
    if is_dask(data):
        import dask.array

        # with a vector of weights, dask's tensordot adds the chunks up wrongly
        rows = weights if weights.ndim == 2 else weights[None]
        made = dask.array.tensordot(data.transpose(axes), rows, axes=(-1, 1))
        return xr.Variable(dims, made if weights.ndim == 2 else made[..., 0])
    with _shown(data):
        return xr.Variable(dims, product(data.transpose(axes), weights))


@partial(jax.jit, static_argnames="axes")
def _jax_product(matrix: jax.Array, data: jax.Array, *, axes: tuple[int, ...]) -> jax.Array:
    weights = matrix.T.astype(jnp.result_type(data, 1.0))
    return jnp.matmul(data.transpose(axes), weights, precision=jax.lax.Precision.HIGHEST)


def whole(
    kernel: Kernel,
    variable: xr.Variable,
    dim: Hashable,
    /,
    *numbers: float | jax.Array,
    new_dim: Hashable | None = None,
    **static: Hashable,
) -> xr.Variable:
    """Apply a kernel to all of `dim` at once, separately for each entry of the other dims.

    Parameters
    ----------
    kernel : callable
        ``kernel(array, *numbers, axis=, **static)`` -> array with another length along the axis, or without it if
        `new_dim` is None. JAX, and a function of a module.
    variable : xr.Variable
        NumPy-, JAX- or dask-backed, bare or quantified. On dask, `dim` is gathered into one chunk.
    dim, new_dim : str
        The dim that the kernel needs as a whole, and the one that replaces it.
    *numbers : float
        Passed to the kernel; a new value does not compile it again.
    **static : hashable
        Passed to the kernel; a new value compiles it again.
    """
    data = as_floats(magnitude(variable.data))
    axis = variable.get_axis_num(dim)
    dims = tuple(
        new_dim if d == dim else d for d in variable.dims if d != dim or new_dim is not None
    )
    run = partial(_on_bare, kernel, numbers=numbers, static=(("axis", axis), *static.items()))
    if not is_dask(data):
        return xr.Variable(dims, run(data))
    data = data.rechunk({axis: -1})
    like = jax.ShapeDtypeStruct(data.shape, data.dtype)
    with precision_of(data, host=True):
        shape = jax.eval_shape(partial(kernel, axis=axis, **static), like, *numbers)
    gone = {"drop_axis": axis} if new_dim is None else {}
    chunks = list(data.chunks)
    chunks[axis : axis + 1] = [] if new_dim is None else [(shape.shape[axis],)]
    meta = np.empty((0,) * len(dims), shape.dtype)
    return xr.Variable(
        dims, data.map_blocks(run, dtype=shape.dtype, chunks=tuple(chunks), meta=meta, **gone)
    )


def across(
    kernel: Kernel,
    host: Kernel,
    variable: xr.Variable,
    dim: Hashable,
    /,
    *parameters: Array,
    look_back: int = 0,
    **static: Hashable,
) -> xr.Variable:
    """Apply a kernel to all of `dim` at every sample, and return an array of the same shape.

    Parameters
    ----------
    kernel : callable
        ``kernel(array, *parameters, axis=, time_axis=, **static)`` -> array of the same shape; `time_axis` is None
        if there is no time. JAX, and a function of a module.
    host : callable
        The same function for NumPy arrays, written in NumPy, which divides them into cache-sized tiles itself.
    variable : xr.Variable
        NumPy-, JAX- or dask-backed, bare or quantified. On dask, `dim` is gathered into one chunk.
    dim : str
        The dim that the kernel needs as a whole.
    *parameters : array
        Passed to the kernel in the precision of the data; new values do not compile it again. If JAX traces one, the
        result is JAX.
    look_back : int
        How many earlier samples one result needs; the kernel itself handles the start, where there are none.
    **static : hashable
        Passed to the kernel; a new value compiles it again.
    """
    data = as_floats(magnitude(variable.data))
    axis = variable.get_axis_num(dim)
    time_axis = variable.get_axis_num("time") if "time" in variable.dims else None
    options: dict[str, Any] = {"axis": axis, "time_axis": time_axis, **static}
    if is_jax(data) or (not is_dask(data) and any(map(is_traced, parameters))):
        with precision_of(data):
            made = _jitted(kernel, (data,), _like(parameters, data), tuple(options.items()))
            return xr.Variable(variable.dims, made)
    parameters = _like(tuple(map(np.asarray, parameters)), data)
    run: Kernel = partial(_on_host, host=host, parameters=parameters, **options)
    if not is_dask(data):
        with _shown(data):
            return xr.Variable(variable.dims, run(data))
    import dask.array

    dtype = np.dtype(data.dtype if data.dtype.kind == "f" else np.float64)
    made = dask.array.map_overlap(
        run,
        data.rechunk({axis: -1}),
        depth={time_axis: (look_back, 0)} if look_back and time_axis is not None else {},
        boundary="none",
        dtype=dtype,
        meta=np.empty((0,) * data.ndim, dtype),
    )
    return xr.Variable(variable.dims, made)


def _on_host(
    block: np.ndarray, host: Kernel, parameters: tuple[np.ndarray, ...], **options: Any
) -> np.ndarray:
    return host(block, *parameters, **options)


def _like(parameters: tuple[Array, ...], data: Array) -> tuple[Array, ...]:
    """Return parameters in the precision of `data`: otherwise they would change the precision of the result."""
    dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
    return tuple(p.astype(dtype) for p in parameters)


def jointly(
    kernel: Kernel,
    /,
    *variables: xr.Variable,
    dims: Sequence[Sequence[Hashable]],
    numbers: tuple[Array, ...] = (),
    **static: Hashable,
) -> list[xr.Variable]:
    """Apply a kernel to several variables at once: a correlation, a coherence.

    Parameters
    ----------
    kernel : callable
        ``kernel(*arrays, *numbers, **static)`` -> array, or a tuple of them. JAX, and a function of a module.
    *variables : xr.Variable
        NumPy-, JAX- or dask-backed. On dask the result is lazy, and computing it gathers them: pass small ones.
    dims : sequence of sequences of str
        The dims of each result.
    numbers, **static
        As for `whole`.
    """
    data = together(*(as_floats(magnitude(v.data)) for v in variables))
    run = partial(_on_bare, kernel, numbers=numbers, static=tuple(static.items()))
    if not any(map(is_dask, data)):
        made = run(*data)
        made = made if isinstance(made, tuple) else (made,)
        return [xr.Variable(d, m) for d, m in zip(dims, made, strict=True)]
    import dask
    import dask.array

    like = [jax.ShapeDtypeStruct(d.shape, d.dtype) for d in data]
    with precision_of(_widest(data), host=True):
        shapes = jax.eval_shape(partial(kernel, **static), *like, *numbers)
    later = dask.delayed(run, nout=len(dims))(*data)
    shapes = shapes if isinstance(shapes, tuple) else (shapes,)
    parts = list(later) if len(dims) > 1 else [later]
    return [
        xr.Variable(
            d,
            dask.array.from_delayed(
                part, s.shape, s.dtype, meta=np.empty((0,) * len(s.shape), s.dtype)
            ),
        )
        for d, part, s in zip(dims, parts, shapes, strict=True)
    ]


def on_arrays(kernel: Kernel, /, *arrays: Array, **static: Hashable) -> Any:
    """Apply a kernel to small bare arrays, such as positions; the result is NumPy, or JAX if one of them is JAX."""
    arrays = together(*(as_floats(computable(a)) for a in arrays))
    like = next((a for a in arrays if is_jax(a)), None)
    if like is not None:
        with precision_of(like):
            arrays = tuple(jnp.asarray(a, like.dtype) for a in arrays)
    return _on_bare(kernel, *arrays, numbers=(), static=tuple(static.items()))


def mean_over(
    variable: xr.Variable,
    dims: Iterable[Hashable],
    of: str = "value",
    about: xr.Variable | None = None,
) -> xr.Variable:
    """Average a variable, its absolute value or its square over some dims, without an intermediate array.

    Parameters
    ----------
    variable : xr.Variable
        NumPy-, JAX- or dask-backed, bare or quantified.
    dims : iterable of str
        The dims to average over.
    of : {"value", "abs", "square"}
        What is averaged.
    about : xr.Variable, optional
        On the other dims: what is subtracted first. With the mean, and ``"square"``, the result is the variance.
    """
    data = magnitude(variable.data)
    axes = tuple(variable.get_axis_num(d) for d in dims)
    rest = tuple(d for i, d in enumerate(variable.dims) if i not in axes)
    index = tuple(None if i in axes else slice(None) for i in range(data.ndim))
    centre = 0 if about is None else about.transpose(*rest).data[index]
    if not isinstance(data, np.ndarray) or not axes:  # of a NumPy array, a block at a time
        data = as_floats(data)
    if not axes:
        with precision_of(data):
            return xr.Variable(rest, mean_kernel.OF[of](data - centre))
    if is_jax(data):
        with precision_of(data):
            return xr.Variable(rest, _jax_mean(data, centre, axes=axes, of=of))
    if is_dask(data):
        return xr.Variable(rest, mean_kernel.OF[of](data - centre).mean(axis=axes))
    return xr.Variable(rest, _numpy_mean(data, centre, axes, of))


_jax_mean = jax.jit(mean_kernel.mean_over, static_argnames=("axes", "of"))


def _numpy_mean(data: np.ndarray, centre: Array, axes: tuple[int, ...], of: str) -> np.ndarray:
    dtype = data.dtype if data.dtype.kind == "f" else np.dtype(np.float64)
    # in float64, since float32 loses digits in the sum of many samples
    total = np.zeros([n for i, n in enumerate(data.shape) if i not in axes])
    axis, slices = blocks(data)
    for where in progress(slices, "averaging"):
        part = as_floats(data[take(axis, where)])
        if np.ndim(centre):
            part = part - (centre if axis in axes else centre[take(axis, where)])
        part = sum_over(mean_kernel.OF[of](part), axes)
        if axis in axes:
            total += part
        else:  # the number of that axis among those that are left
            total[take(axis - sum(a < axis for a in axes), where)] = part
    count = np.prod([data.shape[a] for a in axes])
    return np.asarray(total / count, dtype)


def _on_bare(kernel: Kernel, /, *arrays: Array, numbers: tuple[Array, ...], static: _Static) -> Any:
    """Call the jitted `kernel`; for NumPy arrays return NumPy, in their precision."""
    arrays = tuple(as_floats(computable(a)) for a in arrays)
    host = not any(map(is_jax, arrays))
    # Inside a user's jit, NumPy arrays would otherwise be traced, and the result would not be NumPy. Only there:
    # elsewhere this would compile every constant of a kernel separately, which takes longer than the kernel.
    now = jax.ensure_compile_time_eval() if host and is_staged() else nullcontext()
    shown = _shown(*arrays) if host else nullcontext()
    with shown, precision_of(_widest(arrays), host=host), now:
        made = _jitted(kernel, arrays, numbers, static)
        return jax.tree.map(np.array, made) if host else made


def _shown(*arrays: Array) -> AbstractContextManager[None]:
    """Return the context that shows that work goes on, if the arrays are large."""
    large = sum(a.nbytes for a in arrays) > SHOWN_BYTES
    return working("computing") if large else nullcontext()


def _widest(arrays: Sequence[Array]) -> Array:
    """Return the array of the highest precision; counts and booleans become float64."""
    return max(arrays, key=lambda a: 8 if a.dtype.kind in "iub" else a.dtype.itemsize)


@partial(jax.jit, static_argnames=("kernel", "static"))
def _jitted(
    kernel: Kernel, arrays: tuple[Array, ...], numbers: tuple[Array, ...], static: _Static
) -> Any:
    return kernel(*arrays, *numbers, **dict(static))
