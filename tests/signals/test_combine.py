"""`concat` and `merge`: labels by xarray, units of the first, and the weakest claim, which no later step forgets."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pandas as pd
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import magnitude, units_of

PROBE = jfx.linear_probe(3, 50.0, origin=(60, 0, 0))
V = np.random.default_rng(0).normal(-65, 5, (2, 9))


def cell(k, backend=None, v=V):
    """Return the k-th cell of two segments, 100 um from the one before."""
    start = np.array([[100.0 * k, 0, 0], [100.0 * k, 0, 20]])
    shape = jfx.morphology(start, start + [0, 0, 20.0], 2.0, [-1, 0], quantify=False)
    dims = ("recording", "time")
    ds = backend.traces(v, dims) if backend else jfx.traces(v, dims, dt_ms=0.1, quantify=False)
    ds = ds.jfne.with_morphology(shape)
    return ds.assign_coords(unit=ds.unit + k)


def by_hand():
    ds = cell(9).jfne.transmembrane_currents()
    return ds.drop_attrs(deep=False)


def test_a_population(backend):
    currents = [cell(k, backend, V + k).jfne.transmembrane_currents() for k in range(3)]
    made = jfx.concat(currents, "recording")
    assert backend.holds(made.i_membrane)
    assert made.i_membrane.dims == ("recording", "time")
    assert made.unit.values.tolist() == [0, 0, 1, 1, 2, 2]
    want = np.concatenate([backend.values(i.i_membrane) for i in currents])
    np.testing.assert_array_equal(backend.values(made.i_membrane), want)
    lfp = made.jfne.lfp(PROBE, by="unit")
    assert lfp.attrs["amplitude_status"] == 1
    for k, i in enumerate(currents):
        one = backend.values(i.jfne.lfp(PROBE).lfp)
        np.testing.assert_allclose(backend.values(lfp.lfp)[:, k], one, rtol=1e-9)
    assert made.jfne.validate()


def test_the_weakest_claim_stays():
    good, poor = cell(0).jfne.transmembrane_currents(), by_hand()
    assert jfx.lfp(good, PROBE).attrs["amplitude_status"] == 1
    for order in itertools.permutations([good, cell(1).jfne.transmembrane_currents(), poor]):
        made = jfx.concat(order, "recording")
        assert made.attrs["source_calibration_status"] == "uncalibrated_voltage_proxy"
        later = made.jfne.lfp(PROBE)  # a separate step: nothing is lost
        assert later.attrs["amplitude_status"] == 0
        assert later.jfne.scope.source_calibration_status != "transmembrane_current"
        assert later.jfne.validate()
    both = jfx.concat([jfx.concat([good, poor], "recording"), good], "recording")
    assert both.jfne.lfp(PROBE).attrs["amplitude_status"] == 0


def test_what_is_the_same_is_recorded_once():
    currents = [cell(k).jfne.transmembrane_currents() for k in range(20)]
    made = jfx.concat(currents, "recording")
    assert "with" not in made.jfne.provenance["steps"][-1]
    assert made.jfne.provenance["steps"][-1]["parameters"] == {"n": 20, "dim": "recording"}
    assert len(made.attrs["jaxfne_xr"]) < 2 * len(currents[0].attrs["jaxfne_xr"])


def test_a_file_keeps_what_went_in(tmp_path):
    made = jfx.concat([cell(0).jfne.transmembrane_currents(), by_hand()], "recording")
    back = jfx.open(jfx.to_netcdf(made, tmp_path / "run.nc"))
    assert back.identical(made)
    made.attrs["source_calibration_status"] = "transmembrane_current"
    assert not made.jfne.validate()


def test_a_new_dim(backend):
    runs = [cell(0, backend, V + k) for k in range(2)]
    made = jfx.concat(runs, xr.DataArray([10, 20], dims="trial", name="trial"))
    assert made.trial.values.tolist() == [10, 20]
    assert made.v.dims == ("trial", "recording", "time")
    assert backend.holds(made.v)
    i = made.drop_vars("conductance").assign(conductance=runs[0].conductance)
    want = np.stack([backend.values(r.jfne.transmembrane_currents().i_membrane) for r in runs])
    np.testing.assert_allclose(
        backend.values(i.jfne.transmembrane_currents().i_membrane), want, rtol=1e-12
    )


def test_units_become_those_of_the_first(refused):
    def potential(units, scale, quantify=True):
        return jfx.traces(
            np.full((3, 2), scale), ("time", "contact"), dt_ms=0.1, name="lfp", units="uV"
        ).assign(lfp=(("time", "contact"), np.full((3, 2), scale), {"units": units}))

    one, other = potential("uV", 5.0).jfne.quantify(), potential("mV", 0.005)
    made = jfx.concat([one, other], "contact")
    np.testing.assert_allclose(made.lfp.data.magnitude, 5.0)
    assert units_of(made.lfp) == "uV"
    back = jfx.concat([other, one], "contact")
    np.testing.assert_allclose(back.lfp, 0.005)
    assert back.lfp.attrs["units"] == "mV"
    with refused(jfx.UnitError, "lfp", "'nA'"):
        jfx.concat([one, potential("nA", 1.0)], "contact")


def test_merge_sites_and_contacts(backend):
    ds = cell(0, backend)
    signals, lfp = ds.jfne.to_signals(), ds.jfne.lfp(PROBE)
    made = jfx.merge([signals, lfp])
    assert {"V_m", "spikes", "lfp"} <= set(made)
    assert made.x.dims == ("recording",)
    assert made.contact_x.dims == ("contact",)
    assert made.attrs["amplitude_status"] == 0
    assert made.attrs["source_calibration_status"] == "uncalibrated_voltage_proxy"
    alone = lfp.jfne.csd().csd
    np.testing.assert_array_equal(
        backend.values(made.jfne.csd().csd), backend.values(alone)
    )  # contacts are found in a Dataset that also has sites
    fields = jfx.merge([lfp, lfp.jfne.csd()])
    assert fields.attrs["amplitude_status"] == 1


def test_jax_goes_through():
    def total(v):
        runs = [cell(k, v=v).jfne.transmembrane_currents() for k in range(2)]
        return (jfx.concat(runs, "recording").jfne.lfp(PROBE).lfp.data ** 2).sum()

    with jax.enable_x64(True):
        v = jnp.asarray(V)
        slope = jax.jit(jax.grad(total))(v)
        step = 1e-4 * np.random.default_rng(1).normal(size=V.shape)
        change = float(total(v + step) - total(v - step)) / 2
        assert change == pytest.approx(float((slope * step).sum()), rel=1e-6)


def test_what_cannot_be_combined(refused):
    one, other = cell(0), cell(1)
    with refused(jfx.DimensionError, "axial conductances", "transmembrane_currents"):
        jfx.concat([one, other], "recording")
    for nothing in ([], [one.v.values]):
        with refused(jfx.ArgumentError, "datasets", "Dataset"):
            jfx.concat(nothing, "recording")
    i = one.jfne.transmembrane_currents()
    with refused(jfx.DimensionError, "9 samples from 0 to 0.8 ms", "5 samples", "DataTree"):
        jfx.concat([i, i.isel(time=slice(5))], "recording")
    with refused(jfx.VariableError, "['i_membrane'] in Dataset 0", "not in all"):
        jfx.concat([i, one.jfne.to_signals()[["V_m"]]], "recording")
    with refused(jfx.DimensionError, "xarray cannot combine", "i_membrane"):
        jfx.merge([i, i.assign(i_membrane=i.i_membrane.copy(data=2 * i.i_membrane.data))])


def test_attrs_of_ones_own_that_agree_are_kept():
    one = cell(0).jfne.transmembrane_currents().assign_attrs(lab="a", day=1)
    made = jfx.concat([one, one.assign_attrs(day=2)], "recording")
    assert made.attrs["lab"] == "a"
    assert "day" not in made.attrs
    assert magnitude(made.i_membrane.data).shape == (4, 9)


@pytest.mark.parametrize("missing", [False, True])
def test_text_of_pandas_is_text_of_numpy(missing):
    ds = jfx.traces(np.zeros((2, 5)), ("unit", "time"), dt_ms=0.1)
    labels = ["before", None if missing else "after"]
    made = jfx.concat([ds, ds], pd.Index(labels, name="epoch"))
    assert made.sizes["epoch"] == 2
    assert made.epoch.dtype.kind == ("O" if missing else "U")
    assert made.epoch.astype(str).values[0] == "before"
    assert made.sel(epoch="before").identical(made.isel(epoch=0))


# ------------------------------------------------------------------------------ times that agree up to rounding


def of_times(time, name="v", **more):
    """Return Signals at some times, from a file of an earlier version or new."""
    v = np.random.default_rng(5).normal(-65, 30, (2, len(time)))
    return jfx.traces(v, ("unit", "time"), time=time, **more).jfne.to_signals()


K = np.arange(200)
#: The times of 0.1 ms as anybody may have computed them.
TIMES = {
    "k / 10": K / 10,
    "k * 0.1, as earlier versions did": K * 0.1,
    "linspace": np.linspace(0, 19.9, 200),
    "arange": np.arange(0, 19.95, 0.1),
    "a running sum": np.cumsum(np.full(200, 0.1)) - 0.1,
    "float32": (K * 0.1).astype("f4"),
}


@pytest.mark.parametrize("how", TIMES)
def test_times_that_agree_up_to_rounding_join_everywhere(how, tmp_path):
    a = jfx.traces(np.zeros((2, 200)), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
    b = jfx.open(jfx.to_netcdf(of_times(TIMES[how]), tmp_path / "old.nc"))
    w = b[["V_m"]]
    v = 2 * w.assign_coords(time=a.time)  # plain arithmetic drops what has not the very same label
    for first, second in ((a, b), (b, a)):
        for made in (
            jfx.concat([first, second], "trial"),
            jfx.concat([first, second], "unit"),
            jfx.merge([first[["V_m"]], second[["spikes"]]]),
        ):
            np.testing.assert_array_equal(made.time, first.time)
    assert jfx.coherence(w, v, segment=5).sizes["frequency"] == 26
    assert jfx.mean_square_loss(v, w).mean_square_loss.data.magnitude > 0
    assert jfx.calibrate(w, v).V_m_calibrated.sizes["time"] == 200
    current = b.V_m.pint.dequantify().assign_attrs(units="nA")
    assert (
        jfx.traces(np.zeros((2, 200)), ("unit", "time"), dt_ms=0.1)
        .jfne.to_signals(source=current)
        .source.sizes["time"]
        == 200
    )


def test_another_interval_is_refused_with_what_keeps_all_samples(refused):
    a = of_times(K / 10)
    for other in (of_times(K[:100] / 5), of_times(K / 10 + 0.05), of_times(K[:150] / 10)):
        datasets = [a, other]
        for join in (
            lambda ds: jfx.concat(ds, "trial"),
            lambda ds: jfx.merge([ds[0][["V_m"]], ds[1][["spikes"]]]),
        ):
            with refused(
                jfx.DimensionError, "200 samples from 0 to 19.9 ms, every 0.1 ms", "DataTree"
            ) as caught:
                join(datasets)
            remedy = caught.value.problems[0].remedy.split(", which keeps")[0]
            tree = eval(remedy, {"xr": xr, "datasets": datasets})
            sizes = [tree[str(k)].sizes["time"] for k in range(2)]
            assert sizes == [ds.sizes["time"] for ds in datasets]
            assert tree["0"].to_dataset().identical(a)
