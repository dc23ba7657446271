"""Every labelled function in JAX's strict modes, and on arrays that are divided over a mesh."""

import os
import subprocess
import sys
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parent))
from forms import CALLS, Form, difference

MODES = {
    "rank promotion": lambda: jax.numpy_rank_promotion("raise"),
    "type promotion": lambda: jax.numpy_dtype_promotion("strict"),
    "NaN": lambda: jax.debug_nans(True),
    "checks": lambda: jax.enable_checks(True),
}


@pytest.mark.parametrize(
    ("mode", "kind"), [*((mode, "jax") for mode in MODES), ("rank promotion", "numpy")]
)
@pytest.mark.slow
def test_functions_work_in_every_mode(mode, kind):
    form = Form(kind=kind, dtype="f4")
    for name, (call, inputs) in CALLS.items():
        changed = [form.of(ds, Form()) for ds in inputs]
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            want = call(*inputs)
            with MODES[mode]():
                made = call(*changed)
        assert difference(made, want)[0] < 3e-4, name


@pytest.mark.parametrize("mode", list(MODES)[:2])
@pytest.mark.slow
def test_gradients_work_where_promotion_is_refused(mode):
    v = jnp.asarray(np.random.default_rng(0).normal(-40, 25, (48, 4)), jnp.float32)

    def loss(v, slope):
        ds = jfx.traces(v, ("time", "unit"), dt_ms=0.5, quantify=False)
        signals = ds.jfne.to_signals(surrogate="arctan", slope=slope)
        rates = jfx.firing_rate(signals).firing_rate.data.sum()
        soft = jfx.soft_spike_times(ds, 2, fill=0).spike_time.data.sum()
        return rates + soft + jfx.psd(ds, segment=10.0).psd.data.sum()

    want = jax.grad(loss, argnums=(0, 1))(v, 0.1)
    with MODES[mode]():
        made = jax.jit(jax.value_and_grad(loss, argnums=(0, 1)))(v, 0.1)[1]
    for a, b in zip(made, want, strict=True):
        assert np.abs(a - b).max() <= 1e-4 * np.abs(b).max()


@pytest.mark.slow
def test_arrays_divided_over_a_mesh():
    # `python tests/whole/sharded.py every` divides along every dim in every way, which takes minutes
    script = Path(__file__).with_name("sharded.py")
    root = str(Path(__file__).parents[2])
    path = os.pathsep.join([root, os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, str(script)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": path, "JAX_PLATFORMS": "cpu"},
        check=False,
    )
    assert done.stdout == f"{len(CALLS)} functions on 2 devices\n", done.stdout + done.stderr
