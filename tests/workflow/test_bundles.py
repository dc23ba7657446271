"""Bundles: a run as one tree and one file, and run again to the same bits."""

import itertools
import json
import math
import subprocess
import sys

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pint
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.core.units import is_quantity

ureg = pint.application_registry
N, DT = 300, 0.1
DIMS = ("time", "unit", "trial")
POSITIONS = {
    a: ("unit", np.random.default_rng(0).uniform(0, 150, 7), {"units": "um"}) for a in "xyz"
}
NAMES = [
    *("vm", "spk", "source", "lfp_proxy", "csd_proxy", "eeg_proxy", "meg_proxy", "emm_proxy"),
    *(
        "spike_rate_hz",
        "spike_count",
        "mean_V_m",
        "source_abs_mean",
        "lfp_abs_mean",
        "csd_abs_mean",
        "eeg_power",
    ),
]
KINDS = ["numpy", "jax", "dask", "numpy quantified", "dask quantified"]
MATRIX = np.random.default_rng(1).normal(size=(2, 7)) / 3


def voltages(dtype="f4"):
    """Voltages on (time, unit, trial)."""
    return np.random.default_rng(5).normal(-50, 30, (N, 7, 2)).astype(dtype)


def a_model(mode="external_voltage", **probe):
    options = {
        "contacts": jfx.linear_probe(6, 30.0),
        "sensors": jfx.probe_at([[0, 0, 1e4], [1e4, 0, 0]], dim="channel", name=["Cz", "T8"]),
        "modes": NAMES
        if mode == "external_voltage"
        else ["source", "lfp_proxy", "source_abs_mean"],
        "eeg_lead_field": MATRIX,
    }
    cfg = jfx.configuration().network(groups={"E": 5, "I": 2}).emitter(mode=mode)
    return jfx.construct(
        cfg.field(domain="volume", sigma=1 / 0.03).probe(name="shank", **options | probe)
    )


def a_source(kind, order=DIMS, dtype="f4", values=None, units="mV", name="v"):
    v = (voltages(dtype) if values is None else values).transpose([DIMS.index(d) for d in order])
    quantified = kind.endswith("quantified")
    chunks = tuple({"time": 70, "unit": 4, "trial": 1}[d] for d in order)
    make = {
        "numpy": np.array,
        "jax": jnp.asarray,
        "dask": lambda x: dask.array.from_array(x, chunks=chunks),
    }
    ds = jfx.traces(
        make[kind.split()[0]](v),
        order,
        dt_ms=DT,
        coords=POSITIONS,
        units=units,
        name=name,
        quantify=quantified,
    )
    return ds


def a_run(kind="numpy", mode="external_voltage", names=None, settings=None, **options):
    model = a_model(mode)
    signals = model.simulate_external(a_source(kind, **options))
    return model, signals, model.compute_readout(signals, names, **(settings or {}))


def saved(tree, folder, **options):
    return jfx.open(jfx.to_netcdf(tree, folder / "run.nc"), **options)


# ------------------------------------------------------------------------------------------- what is in it


def test_what_a_bundle_holds():
    model, signals, readouts = a_run()
    tree = jfx.bundle(model, signals, readouts)
    assert isinstance(tree, xr.DataTree)
    assert set(tree.children) == {"signals", "readouts", "probe", "sensors"}
    assert tree["signals"].to_dataset().identical(signals)
    assert tree["readouts"].to_dataset().identical(readouts)
    assert tree["probe"].z.values.tolist() == [30.0 * k for k in range(6)]
    assert tree["sensors"]["name"].values.tolist() == ["Cz", "T8"]
    assert (
        jfx.Configuration.from_dict(json.loads(tree.attrs["configuration"])) == model.configuration
    )
    assert tree.attrs["configuration_hash"] == model.configuration.hash()
    assert tree.attrs["amplitude_status"] == 0
    assert tree.attrs["validation"].startswith("signals: valid")
    record = json.loads(tree.attrs["jaxfne_xr"])
    assert record["stage"] == "bundle"
    assert set(record["versions"]) >= {"jaxfne-xr", "jax", "numpy", "xarray"}


def test_a_point_needs_no_place():
    cfg = (
        jfx.configuration()
        .network(n=7)
        .emitter()
        .field(domain="point")
        .probe(name="soma", modes=["lfp_proxy"])
    )
    model = jfx.construct(cfg)
    signals = model.simulate_external(a_source("numpy"))
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    assert tree["probe"]["name"].values.tolist() == ["soma"]
    assert jfx.replay(tree)


@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_a_file_gives_it_back_identical(kind, tmp_path):
    tree = jfx.bundle(*a_run(kind))
    back = saved(tree, tmp_path)
    assert list(back.children) == list(tree.children)
    for name in tree.children:
        one, other = tree[name].to_dataset(), back[name].to_dataset()
        one = one.assign({n: x.compute() for n, x in one.data_vars.items()})
        assert {n: is_quantity(v.variable._data) for n, v in one.data_vars.items()} == {
            n: is_quantity(v.variable._data) for n, v in other.data_vars.items()
        }
        xr.testing.assert_identical(one.as_numpy() if kind == "jax" else one, other)
    assert {k: v for k, v in back.attrs.items() if k in tree.attrs} == tree.attrs


def test_anyone_opens_it_by_group(tmp_path):
    tree = jfx.bundle(*a_run())
    path = jfx.to_netcdf(tree, tmp_path / "run.nc")
    with xr.open_dataset(path, group="readouts", decode_timedelta=False) as plain:
        np.testing.assert_array_equal(plain.lfp_proxy, tree["readouts"].lfp_proxy)
        assert plain.lfp_proxy.attrs["units"] == "1"


# ----------------------------------------------------------------------------------------------------- replay


@pytest.mark.slow
@pytest.mark.parametrize(
    ("kind", "order"),
    list(zip(itertools.cycle(KINDS), itertools.permutations(DIMS), strict=False)),
    ids=lambda x: x if isinstance(x, str) else "-".join(x),
)
def test_replay_after_a_file_is_bit_for_bit(kind, order, tmp_path):
    tree = jfx.bundle(*a_run(kind, order=order))
    back = saved(tree, tmp_path)
    for each in (tree, back):
        again = jfx.replay(each)
        assert again, again
        assert set(again.differences) == {
            *("signals/V_m", "signals/spikes", "readouts/source_proxy"),
            *(f"readouts/{name}" for name in NAMES if name != "source"),
        }
    assert str(again) == "replay: 17 of 17 variables bit-identical"
    assert "17 of 17" in again._repr_html_()


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["f4", "f8", "i2"])
@pytest.mark.parametrize("layout", ["C", "F", "strided", "reversed"])
def test_replay_whatever_the_memory_looks_like(layout, dtype, tmp_path):
    """Sums are rounded in the order in which memory is walked through; a file does not keep that order."""
    v = np.repeat(voltages(dtype), 2, axis=0)
    v = {
        "C": v[::2].copy(),
        "F": np.asfortranarray(v[::2]),
        "strided": v[::2],
        "reversed": v[::-2],
    }[layout]
    ds = xr.Dataset({"v": (DIMS, v, {"units": "mV"})}, POSITIONS)
    model = a_model()
    signals = model.simulate_external(ds, dt_ms=DT)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    again = jfx.replay(saved(tree, tmp_path))
    assert again, again


@pytest.mark.parametrize(
    "part", [np.s_[:, ::-1], np.s_[::2], np.s_[:, ::2], np.s_[:, 3:4]], ids=str
)
def test_replay_of_a_part_of_larger_data(part, tmp_path):
    """What was sliced lies in memory with gaps or backwards, where NumPy adds up in another order."""
    rng = np.random.default_rng(0)
    v = np.ascontiguousarray(rng.normal(-65, 20, (3000, 40)))[part]
    n = v.shape[1]
    model = jfx.construct(
        jfx.configuration().network(n=n).emitter().field().probe(modes=["mean_V_m", "lfp_proxy"])
    )
    ds = xr.Dataset({"v": (("time", "unit"), v, {"units": "mV"})})
    signals = model.simulate_external(ds, dt_ms=DT)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    for each in (tree, saved(tree, tmp_path)):
        again = jfx.replay(each)
        assert again, again


@pytest.mark.slow
def test_replay_in_double_precision_on_jax(x64, tmp_path):
    tree = jfx.bundle(*a_run("jax", dtype="f8"))
    assert tree["readouts"].lfp_proxy.dtype == np.float64
    assert jfx.replay(saved(tree, tmp_path))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "jax", "dask"])
@pytest.mark.parametrize("mode", ["external_current", "external_spikes"])
def test_replay_in_every_mode(kind, mode, tmp_path):
    model = a_model(mode)
    if mode == "external_current":
        source = a_source(kind, units="nA", name="source")
    else:
        spikes = a_source(kind).v > 0
        source = xr.Dataset({"spikes": spikes.variable}, a_source(kind).coords)
        source = source.assign_coords(time=("time", DT * np.arange(N), {"units": "ms"}))
    signals = model.simulate_external(source)
    tree = jfx.bundle(model, signals, model.compute_readout(signals))
    assert tree.attrs["validation"].startswith("signals: valid")
    again = jfx.replay(saved(tree, tmp_path))
    assert again, again
    assert {"signals/source", "readouts/source"} <= set(again.differences)


@pytest.mark.slow
def test_replay_in_another_process(tmp_path):
    path = jfx.to_netcdf(jfx.bundle(*a_run()), tmp_path / "run.nc")
    code = f"import jaxfne_xr as jfx; print(jfx.replay(jfx.open({str(path)!r})))"
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "replay: 17 of 17 variables bit-identical"


def test_replay_with_settings_of_its_own(tmp_path):
    settings = {
        "sigma": ureg.Quantity(0.1 + 0.2, "mm") / 3,
        "window": ureg.Quantity([1.0, 20.0], "ms"),
        "emm_weights": np.array([1.0, 1 / 3, 2.0]),
        "emm_scales": (1.0, 2.0, 3.0),
        "meg_lead_field": xr.DataArray(MATRIX.T, dims=("unit", "channel")),
    }
    tree = jfx.bundle(*a_run(settings=settings))
    again = jfx.replay(saved(tree, tmp_path))
    assert again, again


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["numpy", "jax", "dask"])
def test_replay_keeps_what_describes_the_cells(kind, tmp_path):
    """Axial conductances travel with the Signals, on a separate dim."""
    model = a_model()
    source = a_source(kind).assign(conductance=("edge", [0.1, 0.2], {"units": "uS"}))
    source = source.assign_coords(edge_from=("edge", [0, 1]))
    signals = model.simulate_external(source)
    again = jfx.replay(saved(jfx.bundle(model, signals, model.compute_readout(signals)), tmp_path))
    assert again, again
    assert again.differences["signals/conductance"] == 0


def test_some_of_the_readouts_will_do(tmp_path):
    model, signals, readouts = a_run()
    tree = jfx.bundle(model, signals, readouts[["lfp_proxy", "vm"]])
    assert set(jfx.replay(saved(tree, tmp_path)).differences) == {
        *("signals/V_m", "signals/spikes", "readouts/lfp_proxy", "readouts/vm"),
    }


def test_what_differs_is_said():
    model, signals, readouts = a_run(names=["vm", "lfp_proxy", "mean_V_m"])
    changed = readouts.copy(deep=True)
    changed.lfp_proxy.values[5, 0, 1] += 0.25
    changed["mean_V_m"] = changed.mean_V_m.astype("f8")
    again = jfx.replay(jfx.bundle(model, signals, changed))
    assert not again
    assert again.differences["readouts/lfp_proxy"] == pytest.approx(0.25, rel=1e-4)
    assert again.differences["readouts/mean_V_m"] == math.inf  # of another kind
    assert again.differences["readouts/vm"] == 0
    assert str(again).splitlines() == [
        "replay: 3 of 5 variables bit-identical",
        "readouts/lfp_proxy: differs by up to 0.25",
        "readouts/mean_V_m: differs by up to inf",
    ]


def test_the_sign_of_zero_counts():
    model, signals, readouts = a_run(names=["spike_count"])
    readouts = readouts.assign(spike_count=lambda x: x.spike_count * 0.0)
    assert not jfx.replay(jfx.bundle(model, signals, readouts))


def test_nothing_is_changed():
    model, signals, readouts = a_run()
    before = signals.copy(deep=True), readouts.copy(deep=True)
    tree = jfx.bundle(model, signals, readouts)
    jfx.replay(tree)
    assert signals.identical(before[0])
    assert readouts.identical(before[1])
    assert "bundle_schema" not in readouts.attrs


# -------------------------------------------------------------------------------------------------- bad input


def test_a_readout_that_is_not_finite_is_named(refused):
    model, signals, readouts = a_run(names=["vm", "mean_V_m"])
    readouts.vm.values[3, 1, 0] = np.nan
    with refused(jfx.NonFiniteError, "vm: found 1 of 4200 values not finite"):
        jfx.bundle(model, signals, readouts)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["dask", "dask quantified"])
@pytest.mark.parametrize("name", ["vm", "lfp_proxy", "mean_V_m"])
def test_a_lazy_readout_that_is_not_finite_is_neither_written_nor_described(
    refused, kind, name, tmp_path
):
    model, signals, readouts = a_run(kind, names=["vm", "lfp_proxy", "mean_V_m", "spk"])
    hole = np.zeros(readouts[name].shape, "f4")
    hole[(-1,) * hole.ndim] = np.nan
    data = readouts[name].variable._data
    hole = dask.array.from_array(hole)
    data = type(data)(data.magnitude + hole, data.units) if is_quantity(data) else data + hole
    readouts = readouts.assign({name: readouts[name].copy(data=data)})
    tree = jfx.bundle(model, signals, readouts)
    path = tmp_path / "run.nc"
    path.write_bytes(b"what was there")
    with refused(jfx.NonFiniteError, f"{name}: found 1 of"):
        jfx.to_netcdf(tree, path)
    assert path.read_bytes() == b"what was there"
    assert [p.name for p in tmp_path.iterdir()] == ["run.nc"]
    with refused(jfx.NonFiniteError, f"{name}: found 1 of"):
        model.manifest(signals, readouts)
    with refused(jfx.NonFiniteError, f"{name}: found 1 of"):
        jfx.replay(tree)


@pytest.mark.parametrize("run", ["manifest", "bundle and file", "replay"])
def test_the_source_is_read_once(run, tmp_path):
    """What lazy readouts share is computed once for all of them, the check of their values included."""
    reads = []

    def read(block):
        reads.append(block.shape)
        return block

    model = a_model()
    v = dask.array.from_array(voltages(), chunks=voltages().shape).map_blocks(
        read, dtype="f4", meta=np.empty((0,) * 3, "f4")
    )
    source = jfx.traces(v, DIMS, dt_ms=DT, coords=POSITIONS)
    signals = model.simulate_external(source)
    readouts = model.compute_readout(signals, ["vm", "lfp_proxy", "csd_proxy", "mean_V_m"])
    assert not reads
    if run == "manifest":
        model.manifest(signals, readouts)
        assert len(reads) == 1
        return
    tree = jfx.bundle(model, signals, readouts)
    assert not reads
    if run == "replay":
        assert jfx.replay(tree)
        assert len(reads) <= 4  # signals and readouts, as stored and again
    else:
        jfx.to_netcdf(tree, tmp_path / "run.nc")
        assert len(reads) <= 2  # a group each


def test_a_configuration_is_no_model(refused):
    model, signals, readouts = a_run(names=["vm"])
    with refused(jfx.SchemaError, "a Configuration; expected the Model that ran"):
        jfx.bundle(model.configuration, signals, readouts)


def test_readouts_that_nobody_could_repeat_are_refused(refused):
    model, signals, readouts = a_run()
    with refused(jfx.SchemaError, "'lfp_proxy' as the last step"):
        jfx.bundle(model, signals, jfx.lfp_proxy(signals, model.contacts()))
    with refused(jfx.SchemaError, "no record"):
        jfx.bundle(model, signals, readouts.drop_attrs())


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda t: t.attrs.update(bundle_schema=2) or t, "schema version 2"),
        (lambda t: xr.DataTree.from_dict({"/": xr.Dataset(), "a": xr.Dataset()}), "no bundle"),
        (lambda t: t["readouts"].to_dataset(), "no bundle"),
        (lambda t: t.drop_nodes("signals"), "no bundle"),
        (lambda t: "run.nc", "no bundle"),
    ],
)
def test_what_is_no_bundle_is_said(refused, change, said):
    with refused(jfx.SchemaError, said):
        jfx.replay(change(jfx.bundle(*a_run(names=["vm"]))))


def test_a_configuration_of_a_newer_schema_is_refused(refused):
    tree = jfx.bundle(*a_run(names=["vm"]))
    newer = {**json.loads(tree.attrs["configuration"]), "schema": 99}
    tree.attrs["configuration"] = json.dumps(newer)
    with refused(jfx.SchemaError, "schema version 99", "pip install --upgrade"):
        jfx.replay(tree)


def test_a_run_on_jax_in_double_precision_needs_it_again(refused):
    with jax.enable_x64(True):
        tree = jfx.bundle(*a_run("jax", dtype="f8", names=["vm"])).map_over_datasets(
            lambda ds: ds.as_numpy()
        )
    with refused(jfx.DataError, "jax_enable_x64"):
        jfx.replay(tree)


def test_replay_of_a_voltage_and_a_current():
    cfg = jfx.configuration().network(n=2).emitter(mode="external_voltage").field(domain="point")
    model = jfx.construct(cfg.probe(name="a", modes=["lfp_proxy"]))
    v = np.random.default_rng(0).normal(-65, 5, (50, 2))
    ds = jfx.traces(v, ("time", "unit"), dt_ms=0.1).jfne.to_signals(source=v / 65)
    signals = model.simulate_external(ds)
    assert "source" in signals
    assert jfx.replay(jfx.bundle(model, signals, model.compute_readout(signals)))
