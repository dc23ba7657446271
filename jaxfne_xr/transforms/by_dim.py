"""JAX transformations by dim name: `jit`, `vmap`, `scan`, `grad` of functions of labelled data.

Each takes and returns functions of Datasets, DataArrays and plain arrays, in any nesting of dicts, lists and tuples.
They work without `jaxfne_xr.enable_pytrees`, also if another library has registered xarray's types, and they compose
with each other and with those of JAX.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from functools import wraps
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import xarray as xr

from jaxfne_xr.core.arguments import described, public
from jaxfne_xr.core.arrays import CHECKS
from jaxfne_xr.core.errors import ArgumentError, DataError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.types import Array, Count
from jaxfne_xr.core.units import product

from .dims import from_zero, put_back, require_same_carry, with_dim, without
from .pytrees import Entry, Labelled, Packed, Tree, is_packed, pack, unpack


@public
def jit(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Compile `fn` once for all windows of the same length.

    `jax.jit` of a function of Datasets compiles again for every new time coordinate. Here times count from the start of
    the data inside `fn`, so that they are the same for all windows of one length, and are restored on the result.

    Parameters
    ----------
    fn : callable
        Of Datasets, DataArrays, arrays and numbers. Anything else is bound first: ``functools.partial(fn, "hann")``.

    Returns
    -------
    callable
        The compiled function. Inside, ``time`` coordinates start at 0 ms; it is an error if several arguments start at
        different times. Only coordinates are restored: selections by time in `fn`, and times that it returns as values
        (`soft_spike_times`), count from the start of the data.

    Raises
    ------
    TimeAxisError
        When called with arguments that start at different times.
    UnitError, DataError
        When called with quantified, dask or text data.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxfne_xr as jfx
    >>> ds = jfx.traces(jnp.arange(100.0), ["time"], dt_ms=0.1, quantify=False)
    >>> power = jit(lambda ds: ds.assign(v=ds.v**2))
    >>> power(ds.isel(time=slice(50, 60))).time.values[:2].tolist()
    [5.0, 5.1]
    """
    run = jax.jit(_on_packed(fn))

    @wraps(fn)
    def compiled(*args: Any, **kwargs: Any) -> Any:
        arguments, times = from_zero(pack((args, kwargs)))
        made = run(arguments)
        return unpack(made if times is None else put_back(made, times))

    return compiled


@public
def checkify(fn: Callable[..., Any]) -> Callable[..., Any]:
    """Create a function that also returns the first failed check of values, such as a check for NaN.

    Values are not known while JAX traces. With `jax.experimental.checkify`, the checks become part of the computation,
    and report afterwards. They cost a pass over the data.

    Parameters
    ----------
    fn : callable
        Of Datasets, DataArrays and arrays; it may be jitted, differentiated or mapped.

    Returns
    -------
    callable
        Returns ``(error, result)``. ``error.throw()`` raises `jax.experimental.checkify.JaxRuntimeError` that names the
        variable; ``error.get()`` is the text, or None.

    Examples
    --------
    >>> import jax, jax.numpy as jnp, jaxfne_xr as jfx
    >>> def power(v):
    ...     return (jfx.traces(v, ["time"], dt_ms=0.1).jfne.to_signals().V_m.data ** 2).mean()
    >>> error, slope = jfx.checkify(jax.jit(jax.grad(power)))(jnp.array([1.0, jnp.nan]))
    >>> print(error.get().split(" (")[0])
    v: expected finite values only
    """
    from jax.experimental import checkify as jax_checkify

    run = _on_packed(fn)

    def checking(arguments: Tree) -> Tree:
        with CHECKS(True):
            return run(arguments)

    @wraps(fn)
    def with_checks(*args: Any, **kwargs: Any) -> Any:
        error, made = jax_checkify.checkify(checking)(pack((args, kwargs)))
        return error, unpack(made)

    return with_checks


@public
def vmap(fn: Callable[..., Any], dim: Hashable) -> Callable[..., Any]:
    """Vectorise `fn` over a dim: `jax.vmap` by dim name.

    Parameters
    ----------
    fn : callable
        Of Datasets and DataArrays without `dim`, and of anything else.
    dim : str
        The dim to map over. Arguments without it, including plain arrays, are passed whole every time.

    Returns
    -------
    callable
        Takes arguments with `dim`, and returns the results of `fn` with `dim` as their first dim and its coordinates
        restored. Inside `fn`, the index of `dim` and text along it are absent; numeric coordinates along it are
        scalars.

    Raises
    ------
    DimensionError
        When called: if no argument has `dim`, only some variables of a Dataset have it, or its length or labels differ.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxfne_xr as jfx
    >>> ds = jfx.traces(jnp.ones((4, 3, 10)), ("trial", "unit", "time"), dt_ms=0.1, quantify=False)
    >>> mean = vmap(lambda ds: ds.v.mean("unit"), dim="trial")
    >>> mean(ds).sizes["trial"], mean(ds).dims
    (4, ('trial', 'time'))
    """
    run = _on_packed(fn)

    @wraps(fn)
    def mapped(*args: Any, **kwargs: Any) -> Any:
        (inner, axes), labels = without(pack((args, kwargs)), dim, "vmap")
        # Flat, since each leaf has an axis of its own to map over, or None.
        flat, tree = jax.tree.flatten(inner)
        over = jax.vmap(lambda *leaves: run(jax.tree.unflatten(tree, leaves)), in_axes=axes)
        return unpack(with_dim(over(*flat), dim, labels))

    return mapped


@public
def scan(
    fn: Callable[[Tree, Tree], tuple[Tree, Tree]],
    init: Tree,
    xs: Tree,
    dim: Hashable = "time",
    *,
    reverse: bool = False,
    unroll: Count = 1,
) -> tuple[Tree, Tree]:
    """Scan over a dim while carrying a state: `jax.lax.scan` by dim name.

    Parameters
    ----------
    fn : callable
        ``fn(carry, x)`` -> ``(carry, y)``; `x` is one entry of `xs` along `dim`.
    init : Dataset, DataArray, array, or a tree of them
        The first carry. The carry that `fn` returns must have the same dims, attrs, units and labels.
    xs : Dataset, DataArray, or a tree of them
        The inputs, all with `dim`.
    dim : str
        The dim to scan over.
    reverse : bool
        Whether to scan from the end to the start.
    unroll : int
        Number of steps per iteration of the compiled loop.

    Returns
    -------
    carry, ys
        The last carry, and all `y`, with `dim` as their first dim and its coordinates restored.

    Raises
    ------
    DimensionError
        If `xs` or a part of it does not have `dim`.
    DataError
        If the carry changes, also in its attrs: xarray's arithmetic may drop or keep these, so set them again in `fn`.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxfne_xr as jfx
    >>> ds = jfx.traces(jnp.arange(4.0), ["time"], dt_ms=0.1, quantify=False)
    >>> last, total = scan(lambda c, x: (c + x.v.data,) * 2, jnp.array(0.0), ds)
    >>> float(last), total.tolist()
    (6.0, [0.0, 1.0, 3.0, 6.0])
    """
    (inner, axes), labels = without(pack(xs), dim, "scan")
    flat, tree = jax.tree.flatten(inner)
    bare = [i for i, axis in enumerate(axes) if axis is None]
    if bare:
        raise DimensionError.of(
            "xs",
            found=f"{len(bare)} array{'s' * (len(bare) > 1)} without the dim {dim!r}",
            expected=f"{dim!r} in all of them",
            remedy=f"arrays in xr.DataArray, with {dim!r} among the dims; what does not change goes into fn by closure",
        )
    # lax.scan goes along the first axis.
    flat = [
        jnp.moveaxis(x, axis, 0) for x, axis in zip(flat, axes, strict=True) if axis is not None
    ]
    first = pack(init)
    raise_problems(_carry_problems(first))

    def step(carry: Tree, leaves: list[jax.Array]) -> tuple[Tree, Tree]:
        made = fn(unpack(carry), unpack(jax.tree.unflatten(tree, leaves)))
        if not (isinstance(made, tuple) and len(made) == 2):
            raise ArgumentError.of(
                "fn",
                found=f"a {type(made).__name__} as its result",
                expected="the pair (carry, y)",
                remedy="return carry, None",
            )
        after, y = map(pack, made)
        require_same_carry(carry, after)
        return after, y

    last, ys = jax.lax.scan(step, first, flat, reverse=reverse, unroll=unroll)
    return unpack(last), unpack(with_dim(ys, dim, labels))


#: What `scan` carries from step to step.
CARRIED = jax.Array, np.ndarray, np.number, np.bool_, bool, int, float, complex


def _carry_problems(first: Tree) -> list[Problem]:
    """Return the problem of each part of the first carry that is no array."""
    problems = []
    for leaf in jax.tree.leaves(first):
        try:
            array = jnp.asarray(leaf) if isinstance(leaf, CARRIED) else None
        except (
            TypeError,
            ValueError,
            OverflowError,
        ):  # of texts or objects, masked, or beyond 32 bits
            array = None
        if array is None:
            expected = "arrays and numbers, in Datasets, dicts, lists and tuples"
            problem = Problem("init", described(leaf), expected, "init=jnp.zeros(3)", DataError)
            problems.append(problem)
    return problems


@public
def grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Create a function that computes the gradient of a loss; see `value_and_grad`, which also returns the loss.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxfne_xr as jfx
    >>> ds = jfx.traces(jnp.arange(3.0), ["time"], dt_ms=0.1, quantify=False)
    >>> slope = grad(lambda ds: (ds.v.data**2).sum())(ds)
    >>> slope.v.values.tolist(), slope.v.attrs["units"]
    ([0.0, 2.0, 4.0], '1/mV')
    """
    both = value_and_grad(fn, argnums, has_aux=has_aux)

    @wraps(fn)
    def gradient(*args: Any, **kwargs: Any) -> Any:
        value, slope = both(*args, **kwargs)
        return (slope, value[1]) if has_aux else slope

    return gradient


@public
def value_and_grad(
    fn: Callable[..., Any], argnums: int | Sequence[int] = 0, *, has_aux: bool = False
) -> Callable[..., Any]:
    """Create a function that computes a loss and its gradient, with labels and units.

    Parameters
    ----------
    fn : callable
        Returns one number: a 0-d array, a 0-d DataArray, or a Dataset of one 0-d variable. Its unit is in
        ``attrs["units"]``; a bare number is dimensionless. xarray keeps ``units`` through arithmetic: set it after
        squaring, as in the example.
    argnums : int or sequence of int
        Which arguments to differentiate with respect to: Datasets, DataArrays, arrays, or trees of them.
    has_aux : bool
        Whether `fn` returns ``(loss, more)``.

    Returns
    -------
    callable
        Returns ``(loss, gradient)``, or ``((loss, more), gradient)``. The gradient has the structure of the argument:
        for a Dataset, it is a Dataset of the variables that are floats, and of the coordinates that are JAX arrays of
        floats (positions, for example), as variables. Their ``units`` are the unit of the loss per unit of the
        variable: ``"1/mV"``, ``"uV^2/um"``. Other attrs are dropped: they describe the argument, not its gradient.

    Raises
    ------
    DimensionError
        When called: if the loss is not one number.
    DataError
        When called: if an argument has no floats, or has quantified (UnitError), dask or text data.

    Examples
    --------
    >>> import jax.numpy as jnp, jaxfne_xr as jfx
    >>> ds = jfx.traces(jnp.arange(3.0), ["time"], dt_ms=0.1, quantify=False)
    >>> loss, slope = value_and_grad(lambda ds: (ds.v**2).mean().assign_attrs(units="mV^2"))(ds)
    >>> loss.attrs["units"], slope.v.attrs["units"]
    ('mV^2', 'mV')
    """
    chosen = (argnums,) if isinstance(argnums, int) else tuple(argnums)

    @wraps(fn)
    def both(*args: Any, **kwargs: Any) -> Any:
        packed = [pack(args[i]) for i in chosen]
        leaves, tree = jax.tree.flatten(packed)
        # Only floats can be differentiated: all other leaves are constants of `loss_of`.
        floats = [i for i, leaf in enumerate(leaves) if _is_float(leaf)]
        raise_problems(_constant_problems(packed, chosen))
        units: list[str] = []  # of the loss: known when it is traced

        def loss_of(values: list[jax.Array]) -> tuple[Array, Tree]:
            now = list(leaves)
            for i, leaf in zip(floats, values, strict=True):
                now[i] = leaf
            given = list(args)
            for i, argument in zip(chosen, unpack(jax.tree.unflatten(tree, now)), strict=True):
                given[i] = argument
            made = fn(*given, **kwargs)
            loss, more = made if has_aux else (made, None)
            number, unit = _one_number(loss)
            units.append(unit)
            return number, pack((loss, more))

        (_, result), slopes = jax.value_and_grad(loss_of, has_aux=True)([leaves[i] for i in floats])
        loss, more = unpack(result)
        every: list[jax.Array | None] = [None] * len(leaves)
        for i, slope in zip(floats, slopes, strict=True):
            every[i] = slope
        gradients = unpack(
            [
                jax.tree.map(lambda x: _slope(x, units[-1]), part, is_leaf=is_packed)
                for part in jax.tree.unflatten(tree, every)
            ]
        )
        value = (loss, more) if has_aux else loss
        return value, gradients[0] if isinstance(argnums, int) else tuple(gradients)

    return both


def _on_packed(fn: Callable[..., Any]) -> Callable[[Tree], Tree]:
    """Return `fn` as a function of its packed (args, kwargs), whose result is packed too."""

    def run(arguments: Tree) -> Tree:
        args, kwargs = unpack(arguments)
        return pack(fn(*args, **kwargs))

    return run


# ----------------------------------------------------------------------------------------------- gradients


def _is_float(leaf: object) -> bool:
    return bool(jnp.issubdtype(getattr(leaf, "dtype", type(leaf)), jnp.floating))


def _constant_problems(packed: Sequence[Tree], chosen: Sequence[int]) -> list[Problem]:
    return [
        Problem(
            where=f"argument {i}",
            found=f"nothing to differentiate with respect to: {_described(part)}",
            expected="a variable or an array of floats",
            remedy="ds.astype(float), or another argnums; NumPy coordinates are labels: "
            'probe.assign_coords(x=("contact", jnp.asarray(probe.x.data)))',
            error=DataError,
        )
        for i, part in zip(chosen, packed, strict=True)
        if not any(map(_is_float, jax.tree.leaves(part)))
    ]


def _described(part: Tree) -> str:
    nodes = jax.tree.leaves(part, is_leaf=is_packed)
    said = [
        ", ".join(
            f"{e.name or n.static.name or 'data'} ({getattr(x, 'dtype', type(x).__name__)})"
            for e, x in zip(n.static.leaves, n.leaves, strict=True)
        )
        if is_packed(n)
        else str(getattr(n, "dtype", type(n).__name__))
        for n in nodes
    ]
    return "; ".join(filter(None, said)) or "no variables"


def _one_number(loss: Labelled | Array) -> tuple[Array, str]:
    """Return a loss as a 0-d array, and its unit."""
    if isinstance(loss, xr.Dataset):
        if len(loss.data_vars) != 1:
            raise DimensionError.of(
                "loss",
                found=f"a Dataset of {list(map(str, loss.data_vars))}",
                expected="one number",
                remedy='return ds["loss"]',
            )
        loss = next(iter(loss.data_vars.values()))
    unit = "1"
    dims = ""
    if isinstance(loss, (xr.DataArray, xr.Variable)):
        unit = str(loss.attrs.get("units", "1"))
        dims = f" on {loss.dims}"
        loss = loss.data
    if np.shape(loss):
        raise DimensionError.of(
            "loss",
            found=f"{np.size(loss)} numbers{dims or f' of shape {np.shape(loss)}'}",
            expected="one number",
            remedy="loss.mean(), or loss.sum()",
        )
    return loss, unit


def _slope(node: Tree, loss_unit: str) -> Tree:
    """Return a packed gradient: floats only, as variables, each in the unit of the loss per its own unit."""
    if not is_packed(node):
        return node
    static = node.static
    pairs = [
        (_of_slope(e, loss_unit), x)
        for e, x in zip(static.leaves, node.leaves, strict=True)
        if x is not None and (static.kind is xr.Dataset or not e.is_coord)
    ]
    made = static.replace(
        leaves=[e for e, _ in pairs],
        coords=() if static.kind is xr.Variable else static.coords.values(),
        attrs={},
    )
    return Packed([x for _, x in pairs], made)


def _of_slope(entry: Entry, loss_unit: str) -> Entry:
    unit = entry.attrs.get("units")
    per = loss_unit if unit is None else product(loss_unit, f"1/({unit})")
    return entry._replace(attrs={"units": per}, is_coord=False)
