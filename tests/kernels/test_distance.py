"""How near contacts come to segments, against a plain loop."""

import jax
import jax.numpy as jnp
import numpy as np

from jaxfne_xr.kernels.fields.distance import nearest_segment


def test_against_a_loop():
    random = np.random.default_rng(0)
    contact, start = random.normal(0, 50, (20, 3)), random.normal(0, 50, (30, 3))
    end, limit = start + random.normal(0, 20, (30, 3)), random.uniform(1, 15, 30)
    end[:3] = start[:3]  # points
    share = np.linspace(0, 1, 20_001)[:, None]
    want = np.empty((20, 30))
    for k, j in np.ndindex(want.shape):
        along = start[j] + share * (end[j] - start[j])
        want[k, j] = np.linalg.norm(along - contact[k], axis=1).min()
    with jax.enable_x64(True):
        distance, inside = nearest_segment(*(jnp.asarray(x) for x in (contact, start, end, limit)))
    np.testing.assert_allclose(distance, want.min(axis=1), rtol=1e-6)
    np.testing.assert_array_equal(inside, (want < limit).any(axis=1))
    assert inside.any()
    assert not inside.all()


def test_nothing_near_nothing():
    distance, inside = nearest_segment(jnp.zeros((2, 3)), *[jnp.zeros((0, 3))] * 2, jnp.zeros(0))
    assert np.isinf(distance).all()
    assert not inside.any()
    assert nearest_segment(jnp.zeros((0, 3)), *[jnp.zeros((1, 3))] * 2, jnp.zeros(1))[0].shape == (
        0,
    )


def test_gradient_is_finite_on_a_segment():
    def loss(p):
        return nearest_segment(p[None], jnp.zeros((1, 3)), jnp.array([[0.0, 0, 10]]), jnp.ones(1))[
            0
        ].sum()

    for p in ([0.0, 0, 5], [0.0, 0, 0], [3.0, 0, 5]):
        assert np.isfinite(jax.grad(loss)(jnp.array(p))).all()
