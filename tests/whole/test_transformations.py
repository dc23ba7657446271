"""Every public function under every transformation, with 64 bits on and off, against plain differences and loops."""

import inspect
import sys
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parent))
from transformed import CELL, CURRENT, PROBE, ROWS, Refused, Row, currents, table

TABLE = Path(__file__).parents[2] / "docs" / "_transformations.md"
CASES = {
    (f"{name}, {kind}" if kind else name): row
    for name, rows in ROWS.items()
    if not isinstance(rows, str)
    for kind, row in rows.items()
}
WORKING = {name: row for name, row in CASES.items() if isinstance(row, Row)}
REFUSED = {name: row for name, row in CASES.items() if isinstance(row, Refused)}

pytestmark = pytest.mark.filterwarnings(
    "ignore:voltages are float32", "ignore:the currents of", "ignore:.* lie within min_distance"
)


def numbers(made):
    """Return the numbers of a result that a transformation sees."""
    if isinstance(made, xr.Dataset):
        made = [v.data for v in made.data_vars.values()]
    made = [m.data if isinstance(m, xr.DataArray) else m for m in jax.tree.leaves(made)]
    return [m for m in made if isinstance(m, jax.Array)]


def close(a, b, tol):
    a, b = np.asarray(a, float), np.asarray(b, float)
    np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
    a, b = np.nan_to_num(a), np.nan_to_num(b)
    assert a.shape == b.shape
    assert np.abs(a - b).max(initial=0) <= tol * np.abs(b).max(initial=0)


def loss_of(row):
    """Return a number that depends on every float of the result, each in its own way."""

    def loss(x):
        total = 0.0
        for i, y in enumerate(numbers(row.fn(x))):
            w = np.random.default_rng(i).normal(size=y.shape)
            y = jnp.where(jnp.isnan(y), 0, y) if y.dtype.kind == "f" else y.astype(x.dtype)
            total = total + (w * y).sum()
        return total

    return loss


@pytest.mark.slow
@pytest.mark.parametrize("name", WORKING)
def test_every_transformation_in_both_precisions(name):
    """All of a precision are one program, so that the labelled layers are traced and compiled together."""
    row = WORKING[name]
    loss = loss_of(row)
    given = np.asarray(row.x, "f4")  # numbers that both precisions hold
    along = np.random.default_rng(3).normal(size=row.x.shape)
    along *= 1e-6 * np.abs(row.x).max() / np.abs(along).max()

    def run(x):
        return numbers(row.fn(x))

    with jax.enable_x64(True):
        x = jnp.asarray(given, "f8")
        two = jnp.stack([x, 1.01 * x])

        def transformed(x, two):
            made = run(x), run(two[1]), jax.vmap(run)(two)
            slopes = jax.grad(loss)(x), jax.grad(jax.checkpoint(loss))(x), jax.jacfwd(loss)(x)
            return *made, *slopes, (loss(x + along) - loss(x - along)) / 2

        lowered = jax.jit(transformed).lower(x, two)
        assert "callback" not in lowered.as_text()
        jitted, other, vmapped, slope, checkpointed, forward, rise = lowered.compile()(x, two)
        eager = run(x)
        assert len(eager) == len(jitted) > 0
        for a, b in zip(jitted, eager, strict=True):
            close(a, b, 1e-9)
        for a, b, c in zip(vmapped, jitted, other, strict=True):
            close(a, np.stack([b, c]), 1e-9)
        close(checkpointed, slope, 1e-10)
        close(forward, slope, 1e-8)
        if row.gradient == "0":
            assert not np.asarray(slope).any()
        else:
            assert np.asarray(slope).any()
        if row.gradient not in ("0", "surrogate"):
            assert abs(rise - (slope * along).sum()) <= row.tol * np.abs(slope * along).sum()

    @jax.jit
    def narrow(x):
        made = run(x), jax.vmap(run)(x[None])
        return *made, jax.grad(loss)(x), jax.jacfwd(jax.checkpoint(loss))(x)

    made, vmapped, slope_32, forward = narrow(jnp.asarray(given))
    for y, z in zip(made, vmapped, strict=True):
        assert y.dtype != np.float64
        close(z[0], y, 1e-4)
    assert slope_32.dtype == np.float32
    close(slope_32, slope, 5e-3)
    close(forward, slope, 5e-3)


@pytest.mark.parametrize("name", REFUSED)
@pytest.mark.parametrize("transform", [jax.jit, jax.grad, jax.vmap, jax.jacfwd, jax.checkpoint])
def test_refusals_say_so(name, transform):
    row = REFUSED[name]
    with pytest.raises(row.error) as caught:
        jax.jit(transform(row.fn))(
            jnp.asarray(row.x if transform is not jax.vmap else row.x[None], "f4")
        )
    assert type(caught.value) is row.error
    assert "Remedy" in str(caught.value)


def test_every_public_function_has_a_row():
    functions = {
        name
        for name, value in vars(jfx).items()
        if not name.startswith("_") and inspect.isfunction(value)
    }
    assert functions - set(ROWS) == set()
    assert {name for name in ROWS if not hasattr(jfx, name)} == set()


def test_one_trace_for_a_hundred_calls():
    traced = []

    @jax.jit
    def run(x):
        traced.append(1)
        return numbers(WORKING["lfp"].fn(x))

    for k in range(100):
        run(jnp.asarray(WORKING["lfp"].x + k, "f4"))
    assert len(traced) == 1


def test_labels_cost_no_operations():
    """The compiled function is the compiled product, and its gradient takes twice as many operations."""
    x = jnp.asarray(CURRENT, "f4")
    matrix = jnp.asarray(jfx.lead_field(CELL, PROBE).lead_field.data, "f4")

    def product(x):
        return jnp.matmul(x, matrix.T, precision=jax.lax.Precision.HIGHEST)

    def flops(fn):
        return jax.jit(fn).lower(x).compile().cost_analysis()["flops"]

    def labelled(x):
        return jfx.lfp(currents(x), PROBE).lfp.data

    assert flops(labelled) == flops(product)
    assert flops(jax.grad(lambda x: (labelled(x) ** 2).sum())) < 3 * flops(product)


def test_the_table_in_the_docs_is_this_one():
    """To write it again: python tests/whole/test_transformations.py."""
    assert TABLE.read_text() == table()


if __name__ == "__main__":
    TABLE.write_text(table())
