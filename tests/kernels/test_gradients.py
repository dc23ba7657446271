"""Every kernel against numerical differences, forward and reverse, and twice; what has no gradient says why."""

import importlib
import inspect
import pkgutil

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from jaxfne_xr import kernels
from jaxfne_xr.kernels import mean
from jaxfne_xr.kernels.analysis import losses, spectrum, summary
from jaxfne_xr.kernels.fields import csd, distance, electrode, one_sphere, slab
from jaxfne_xr.kernels.fields import dipoles as dipole
from jaxfne_xr.kernels.fields import heads as head
from jaxfne_xr.kernels.fields import homogeneous as field
from jaxfne_xr.kernels.fields import kernel_csd as kcsd
from jaxfne_xr.kernels.fields import membrane_currents as current
from jaxfne_xr.kernels.fields import proxies as proxy
from jaxfne_xr.kernels.fields import true_csd as ground_truth
from jaxfne_xr.kernels.signals import soft_spikes
from jaxfne_xr.kernels.signals import synapses as source

random = np.random.default_rng(11)


def some(*shape, about=0.0, spread=1.0):
    return about + spread * random.normal(size=shape)


EDGES = (np.array([0, 1, 1]), np.array([1, 2, 3]))
G = np.array([1.0, 2.0, 0.5])
X, Y = some(3, 24), some(3, 24)
CUT = {"axis": 1, "nperseg": 8}
GROUP = np.array([0, 0, 1, 1])
CONTACT, START, END = some(2, 3, about=5), some(3, 3), some(3, 3)
DEPTH = np.array([0.0, 1.0, 2.1, 3.0, 4.2, 5.0])
BOXES = [np.array([-4.0, 0.1, 4.0])] * 3

#: name -> (function of arrays, arrays, highest order)
TABLE = {
    "csd.contact_spacing": (lambda d: csd.contact_spacing(d)[0], [DEPTH], 2),
    "csd.standard_csd": (
        lambda p, h, s: csd.standard_csd(p, h, s, axis=1),
        [some(3, 6), 1.2, 0.3],
        2,
    ),
    "csd.icsd_forward": (
        lambda d, w, s, t: csd.icsd_forward(d, w, s, t, method="step"),
        [1 + DEPTH, 3.0, 0.3, 1.5],
        1,
    ),
    "csd.icsd_matrix": (
        lambda d, w, s: csd.icsd_matrix(d, w, s, method="delta").matrix,
        [DEPTH, 3.0, 0.3],
        1,
    ),
    "csd.spline_interpolation": (csd.spline_interpolation, [DEPTH, np.array([0.4, 2.6])], 1),
    "membrane_currents.axial_current": (
        lambda v, g: current.axial_current(v, *EDGES, g, axis=0),
        [some(4, 5), G],
        2,
    ),
    "membrane_currents.transmembrane_current": (
        lambda v, g, s: current.transmembrane_current(
            v, *EDGES, g, axis=0, stimulus=s, method="crank_nicolson", time_axis=1
        ),
        [some(4, 5), G, some(4, 5)],
        2,
    ),
    "membrane_currents.fold": (lambda m, g: current.fold(m, *EDGES, g), [some(2, 4), G], 2),
    "membrane_currents.laplacian": (lambda g: current.laplacian(*EDGES, g, 4), [G], 2),
    "membrane_currents.current_sum": (
        lambda i: current.current_sum(i, GROUP, n_groups=2, axis=0),
        [some(4, 5)],
        2,
    ),
    "membrane_currents.rounding_bound": (
        lambda g: current.rounding_bound(np.ones(4), *EDGES, g) * 1e7,
        [G],
        1,
    ),
    "dipoles.dipole_moment": (
        lambda i, p: dipole.dipole_moment(i, p, axis=0, group=GROUP, n_groups=2),
        [some(4, 5), some(4, 3)],
        2,
    ),
    "dipoles.potential_lead_field": (dipole.potential_lead_field, [START, CONTACT, 0.3], 2),
    "dipoles.magnetic_lead_field": (dipole.magnetic_lead_field, [START, CONTACT, some(2, 3)], 2),
    "distance.nearest_segment": (
        lambda c, a, b: distance.nearest_segment(c, a, b, np.zeros(3))[0],
        [CONTACT, START, END],
        1,
    ),
    "electrode.electrode_nodes": (
        lambda c, n, r: electrode.electrode_nodes(c, n, r, shape="disk")[0],
        [CONTACT, some(2, 3), 0.5],
        2,
    ),
    "electrode.electrode_mean": (
        lambda nodes, weights: electrode.electrode_mean(
            lambda c: field.point_source(c, START, 0.3, 0.1), nodes, weights
        ),
        list(electrode.electrode_nodes(CONTACT, some(2, 3), 0.5, shape="square")),
        2,
    ),
    "homogeneous.point_source": (
        lambda c, s, g: field.point_source(c, s, g, 0.1),
        [CONTACT, START, 0.3],
        2,
    ),
    "homogeneous.line_source": (
        lambda c, a, b, g: field.line_source(c, a, b, g, 0.1),
        [CONTACT, START, END, 0.3],
        2,
    ),
    "homogeneous.root_as_point": (
        lambda c, a, b, g: field.root_as_point(c, a, b, np.array([True, False, False]), g, 0.1),
        [CONTACT, START, END, np.array([0.3, 0.4, 0.2])],
        2,
    ),
    "homogeneous.roots_collapsed": (
        lambda a, b: field.roots_collapsed(a, b, np.array([True, False, False])),
        [START, END],
        2,
    ),
    "homogeneous.atanh_series": (
        field.atanh_series,
        [np.array([2.0, 3.0]), np.array([0.1, 0.3])],
        2,
    ),
    "true_csd.laminar_binning": (
        lambda a, b, r: ground_truth.density_matrix(
            ground_truth.laminar_binning(a, b, np.array([-4.0, 0.1, 4.0]), r)
        ),
        [START, END, 6.0],
        1,
    ),
    "true_csd.voxel_binning": (
        lambda a, b: ground_truth.density_matrix(ground_truth.voxel_binning(a, b, BOXES)),
        [START, END],
        1,
    ),
    "true_csd.binned_density": (
        lambda i: ground_truth.binned_density(ground_truth.voxel_binning(START, END, BOXES), i),
        [some(3, 4)],
        2,
    ),
    "heads.eccentricity": (head.eccentricity, [0.3 * START, CONTACT, np.array([8.0, 9.0])], 1),
    "heads.sphere_lead_field": (
        lambda d, s, r, g: head.sphere_lead_field(d, s, r, g, n_terms=6),
        [
            0.1 * START,
            some(2, 3) / 20 + np.array([[0.5, 0.5, 0.5]]),
            np.array([0.8, 0.85, 0.95, 1.0]),
            np.array([0.3, 1.5, 0.1, 0.3]),
        ],
        1,
    ),
    "heads.sarvas_lead_field": (
        lambda d, s, n: head.sarvas_lead_field(d, s, n) * 1e-2,
        [0.3 * START, CONTACT, some(2, 3)],
        2,
    ),
    "kernel_csd.source_grid": (
        lambda a, b: kcsd.source_grid(a, b, shape=(2, 3)),
        [some(2), some(2, about=5)],
        2,
    ),
    "kernel_csd.basis_density": (kcsd.basis_density, [CONTACT, START, 4.0], 2),
    "kernel_csd.basis_potential": (kcsd.basis_potential, [CONTACT, START, 4.0, 0.3], 2),
    "kernel_csd.kcsd_matrix": (
        lambda *a: kcsd.kcsd_matrix(*a).matrix,
        [CONTACT, START, END, 4.0, 0.1, 0.3],
        1,
    ),
    "kernel_csd.kcsd_errors": (
        lambda c, p: kcsd.kcsd_errors(c, START, p, np.array([4.0]), np.array([0.1]), 0.3),
        [CONTACT, some(2, 5)],
        1,
    ),
    "kernel_csd.leave_one_out": (
        lambda k, p, r: kcsd.leave_one_out(k @ k.T + 3 * jnp.eye(4), p, r),
        [some(4, 4), some(4, 5), np.array([0.1, 1.0])],
        2,
    ),
    "mean.mean_over": (lambda x, c: mean.mean_over(x, c, axes=(1,), of="square"), [X, 0.3], 2),
    "one_sphere.one_sphere_point_source": (
        lambda c, s, r, a, b: one_sphere.one_sphere_point_source(c, s, r, a, b, 0.1),
        [np.concatenate([CONTACT, 0.2 * CONTACT]), 0.5 * START, 6.0, 0.3, 0.1],
        1,
    ),
    "proxies.gaussian_weights": (proxy.gaussian_weights, [CONTACT, START, 4.0], 2),
    "proxies.second_derivative_matrix": (proxy.second_derivative_matrix, [DEPTH], 2),
    "proxies.toy_eeg_lead_field": (proxy.toy_eeg_lead_field, [CONTACT, START], 2),
    "proxies.toy_meg_lead_field": (proxy.toy_meg_lead_field, [CONTACT, START], 2),
    "proxies.activity_cost": (
        lambda *a: proxy.activity_cost(*a, axis=0),
        [some(6, about=3, spread=0.3), some(6, about=3, spread=0.3), some(6, about=3, spread=0.3)],
        1,
    ),
    "slab.slab_point_source": (
        lambda c, s, h, g: slab.slab_point_source(c, s, h, g, 0.1, 1.5, 0.1, images=4),
        [CONTACT, some(3, 3, about=3, spread=0.5), 10.0, 0.3],
        2,
    ),
    "slab.slab_line_source": (
        lambda c, s, e, h, g: slab.slab_line_source(c, s, e, h, g, 0.1, 1.5, 0.1, images=3),
        [CONTACT, some(3, 3, about=3, spread=0.5), some(3, 3, about=4, spread=0.5), 10.0, 0.3],
        1,
    ),
    "synapses.synaptic_current": (
        lambda s, tau, w: source.synaptic_current(s, 0.5, tau, w, axis=1),
        [X, 2.0, 1.5],
        2,
    ),
    "spectrum.psd": (lambda x: spectrum.psd(x, 0.1, **CUT), [X], 2),
    "spectrum.cross_spectrum": (
        lambda x, y: jnp.abs(spectrum.cross_spectrum(x, y, 0.1, **CUT)) ** 2,
        [X, Y],
        2,
    ),
    "spectrum.coherence": (lambda x, y: spectrum.coherence(x, y, **CUT), [X, Y], 1),
    "spectrum.cross_spectrum_matrix": (
        lambda x: jnp.abs(spectrum.cross_spectrum_matrix(x, 0.1, group_axis=0, **CUT)) ** 2,
        [X],
        2,
    ),
    "spectrum.coherence_matrix": (
        lambda x: spectrum.coherence_matrix(x, group_axis=0, **CUT),
        [X],
        1,
    ),
    "spectrum.band_power": (
        lambda s, a, b: spectrum.band_power(s, np.arange(6.0), a, b, axis=0),
        [some(6, about=3), 0.7, 3.3],
        1,
    ),
    "summary.centred": (lambda x: summary.centred(x, axis=1), [X], 2),
    "summary.spike_counts": (lambda x: summary.spike_counts(x, samples=5, axis=1), [X], 2),
    "summary.firing_rate": (lambda x: summary.firing_rate(x, 0.1, axis=1), [X], 2),
    "summary.group_mean": (
        lambda x: summary.group_mean(x, GROUP, n_groups=2, axis=0),
        [some(4, 5)],
        2,
    ),
    "summary.correlation_matrix": (
        lambda x: summary.correlation_matrix(x, axis=1, site_axis=0),
        [X],
        2,
    ),
    "summary.pairwise_correlation": (
        lambda x: summary.pairwise_correlation(x, GROUP, n_groups=2, axis=1, site_axis=0).mean,
        [some(4, 9)],
        1,
    ),
    "summary.between_within_ratio": (
        lambda m: summary.between_within_ratio(m, np.ones((2, 2))),
        [np.array([[0.5, 0.2], [0.2, 0.7]])],
        1,
    ),
    "summary.chi": (summary.chi, [np.array([0.2, 0.4]), np.array([1.0, 1.5])], 2),
    "summary.synchrony": (
        lambda v: summary.synchrony(v, GROUP, n_groups=2, axis=1, site_axis=0),
        [some(4, 6)],
        2,
    ),
}

TABLE |= {
    "membrane_currents.difference_weights": (
        lambda w, g: current.difference_weights(w, *EDGES, g),
        [some(2, 4), G],
        2,
    ),
    "losses.standardised": (lambda x: losses.standardised(x, axis=1), [X], 2),
    "losses.log_ratio": (
        lambda p, r: losses.log_ratio(p, r, 1e-2, axis=1),
        [1 + some(3, 6) ** 2, 1 + some(3, 6) ** 2],
        2,
    ),
    "soft_spikes.crossing_times": (
        lambda v: soft_spikes.crossing_times(v, 0.0, 0.0, 0.1, 0.0, axis=1, n=2),
        [X],
        2,
    ),
    "soft_spikes.expected_crossings": (
        lambda v: soft_spikes.expected_crossings(v, 0.0, 0.5, axis=1),
        [X],
        2,
    ),
}

#: name -> why there is nothing to check
EXEMPT = {
    "membrane_currents_numpy.transmembrane_current": "NumPy",
    "loop.read_in_blocks": "takes functions: checked in test_loop",
    "soft_spikes.crossing_count": "whole numbers",
    "surrogate.arctan": "a derivative itself: checked in test_surrogate",
    "surrogate.fast_sigmoid": "a derivative itself: checked in test_surrogate",
    "surrogate.triangle": "a derivative itself: checked in test_surrogate",
    "surrogate.level": "its derivative is declared, not its own: checked in test_surrogate",
    "surrogate.crossing": "its derivative is declared, not its own: checked in test_surrogate",
    "surrogate.spike_dtype": "a type",
    "membrane_currents.neighbours": "whole numbers",
    "homogeneous.mean_inverse_distance": "the inside of line_source",
    "homogeneous.by_blocks": "the inside of point_source and line_source",
    "homogeneous.squared_limit": "the inside of point_source and line_source",
    "homogeneous.components": "takes an array apart",
    "true_csd.piece_count": "whole numbers",
    "true_csd.compact_binning": "picks pieces, of which density_matrix is made",
    "true_csd.density_matrix": "checked as what laminar_binning and voxel_binning are for",
    "heads.series_terms": "a whole number",
    "heads.truncation": "compared with a tolerance",
    "electrode.electrode_reach": "compared with the borders of a slab",
    "kernel_csd.compress_samples": "used without a gradient: it chooses a width, which is a constant to autodiff",
    "slab.image_count": "a whole number",
    "spectrum.frequencies": "NumPy, of settings",
    "spikes.level": "steps",
    "spikes.crossing": "steps",
    "summary.as_float": "a cast",
}


def public_kernels():
    for module in pkgutil.walk_packages(kernels.__path__, f"{kernels.__name__}."):
        inside = importlib.import_module(module.name)
        for name, value in vars(inside).items():
            if (
                callable(value)
                and not inspect.isclass(value)
                and not name.startswith("_")
                and getattr(value, "__module__", "") == inside.__name__
            ):
                yield f"{module.name.rpartition('.')[2]}.{name}"


def test_every_kernel_is_here():
    known = set(public_kernels())
    assert known - set(TABLE) - set(EXEMPT) == set()
    assert set(TABLE) <= known
    assert set(EXEMPT) <= known


@pytest.mark.slow
@pytest.mark.parametrize("name", TABLE)
def test_derivatives(name, check_derivatives):
    """Forward and in reverse; where the table says twice, forward over reverse too."""
    fn, arguments, order = TABLE[name]
    with jax.enable_x64(True):
        arguments = [jnp.asarray(a, "f8") for a in arguments]
        value = jax.jit(fn)(*arguments)
        scale = max(float(jnp.abs(x).max()) for x in jax.tree.leaves(value))
        assert scale > 0

        def scaled(*a):
            return jax.tree.map(lambda x: x / scale, fn(*a))

        check_derivatives(scaled, arguments, order=order, rtol=1e-5, atol=1e-6)
