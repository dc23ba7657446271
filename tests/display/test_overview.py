"""What a Dataset says of itself: at every stage, of any array, without computing anything."""

import inspect
import json
import re
import tracemalloc

import dask
import dask.array
import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx
from jaxfne_xr.analysis import spectra
from jaxfne_xr.core import scope
from jaxfne_xr.display import overview
from jaxfne_xr.display import suggestions as next_steps


def refuse(*args, **options):
    raise AssertionError("the card computed dask data")


def test_every_stage_has_its_card(stages):
    for name, ds in stages.items():
        text, page = str(ds.jfne), ds.jfne._repr_html_()
        assert text.startswith(f"jaxfne_xr: {overview.facts(ds)['stage']}"), name
        assert "checks" in text
        assert "not valid" not in text
        assert page.count('class="jfne"') == 1
        json.dumps(overview.facts(ds), allow_nan=False)


def test_text_and_html_say_the_same(stages):
    for ds in stages.values():
        words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", ds.jfne._repr_html_(), flags=re.DOTALL)
        words = words.replace("&gt;", ">").replace("&quot;", '"').replace("&#x27;", "'")
        ours, theirs = (
            set(t.replace("[", " ").replace("]", " ").split()) for t in (str(ds.jfne), words)
        )
        assert ours == theirs


def test_the_next_steps_run(stages):
    names = {
        "jfx": jfx,
        "signals": stages["signals"],
        "currents": stages["currents"],
        "traces": stages["plain traces"],
    }
    seen = 0
    for stage, ds in stages.items():
        for line in overview.facts(ds)["next"]:
            if "to_netcdf" in line or "report" in line or "montage" in line:
                continue  # they write files; montages need MNE
            exec(line, {**names, "ds": ds})
            seen += 1
        plt.close("all")
        assert overview.facts(ds)["next"], stage
    assert seen > 15


def test_next_steps_know_what_is_usual():
    """The default of the public function, and the widest band, are those that suggestions go by."""
    assert inspect.signature(jfx.summary).parameters["bin"].default == next_steps.BIN_MS
    assert max(spectra.BANDS.values(), key=lambda band: band[1] - band[0]) == next_steps.WIDEST
    assert (next_steps.BIN_MS, next_steps.WIDEST) == (5.0, (30.0, 80.0))


def edges(stages):
    """Datasets at which something that usually makes sense does not."""
    lfp, psd, signals = stages["lfp"], stages["psd"], stages["signals"]
    few = signals.isel(time=slice(0, 40))
    cap = jfx.probe_at([[0, 0, 90], [0, 90, 0]], units="mm", name=["Cz", "Fpz"], dim="channel")
    return {
        "no sites": signals.isel(recording=[]).drop_dims("edge"),
        "one sample": few.isel(time=[0]),
        "too short for a summary": few,
        "readouts at a probe": signals.jfne.compute_readout(
            ["lfp_proxy", "csd_proxy"], probe=stages["probe"]
        ),
        "readouts at a point": signals.jfne.compute_readout(["lfp_proxy"], domain="point"),
        "contacts of unknown place": lfp.drop_vars(["x", "y", "z"]),
        "coarse spectrum": psd.isel(frequency=slice(None, None, 10)),
        "true density": stages["currents"].jfne.ground_truth_csd(np.arange(-50, 500, 100)),
        "sensors": cap,
        "a probe of unknown place": stages["probe"].drop_vars(["x", "y", "z"]),
    }


def test_next_steps_run_where_something_is_missing(stages):
    known = {
        "jfx": jfx,
        "signals": stages["signals"],
        "currents": stages["currents"],
        "dipoles": stages["dipoles"].jfne.move_to(x=0, y=0, z="78 mm"),
    }
    made = edges(stages)
    for case, ds in made.items():
        lines = overview.facts(ds)["next"]
        assert lines, case
        for line in lines:
            if "to_netcdf" not in line and "report" not in line:
                exec(line, {**known, "ds": ds})
        plt.close("all")
    drawn = {case: overview.facts(ds)["next"][0] for case, ds in made.items()}
    assert drawn["readouts at a probe"] == (
        'ds.jfne.plot.lfp(variable="lfp_proxy", depth="contact_z")'
    )
    assert drawn["readouts at a point"] == 'ds.jfne.plot.traces(variable="lfp_proxy")'
    assert drawn["true density"] == "ds.jfne.plot.csd()"


@pytest.mark.oracle
def test_the_next_step_of_dipoles_runs(stages):
    (line,) = [s for s in overview.facts(stages["dipoles"])["next"] if "montage" in s]
    exec(line, {"jfx": jfx, "ds": stages["dipoles"]})


def test_what_stands_in_a_card(stages):
    text = str(stages["signals"].jfne)
    assert "3 recordings of 1 unit; layer L5: 2, L2/3: 1" in text
    assert "1200 samples, dt 0.1 ms: 120 ms" in text
    assert re.search(
        r"V_m +membrane voltage +mV +recording: 3, time: 1200 +float64, NumPy, 28.8 kB", text
    )
    assert "with_morphology -> to_signals" in text
    assert "[proxy]" in text
    assert "[physical units]" in str(stages["lfp"].jfne)
    assert "line sources in an infinite homogeneous conductor" in str(stages["lfp"].jfne)
    assert "Until transmembrane currents are computed, voltages stand in" in " ".join(text.split())
    for stage in ("traces", "currents", "dipoles"):  # no proxies: there is no field yet
        assert "[no field yet]" in str(stages[stage].jfne)
        assert "proxy" not in str(stages[stage].jfne)
    for place in ("probe", "morphology"):
        assert not {"proxy", "physical"} & set(str(stages[place].jfne).split())


def test_a_lead_field_shows_its_equation_and_parameters(stages):
    probe = stages["probe"]
    for model, said in {
        jfx.LineSource("5 mS/cm"): "conductivity 0.5 S/m",
        jfx.PointSource((0.3, 0.3, 0.45), min_distance="1 um"): "min_distance 1.0 um",
        jfx.Slab("600 um", bottom="-100 um"): "thickness 600.0 um",
    }.items():
        ds = stages["currents"].jfne.lead_field(probe, model)
        text = " ".join(str(ds.jfne).split())
        assert f"{type(model).__name__}: {' '.join(model.equation.split())}" in text
        assert said in text
        assert "proxy" not in text
    for name in ("lfp", "eeg"):
        assert overview.facts(stages[name])["model"]["equation"] in " ".join(
            str(stages[name].jfne).split()
        )


def test_every_claim_has_its_words():
    for status in scope.STRENGTH["source_calibration_status"]:
        for solver in scope.STRENGTH["field_solver_status"]:
            for amplitude in (True, False):
                lines = overview.in_words(
                    scope.Scope("computational_scaffold", amplitude, status, solver)
                )
                assert len(set(lines)) == 4
    assert set(overview.SOURCE_WORDS) == set(scope.STRENGTH["source_calibration_status"])


def test_dask_is_not_computed():
    data = dask.array.zeros((40_000, 1000), chunks=(4000, 1000), dtype="float32")
    ds = jfx.traces(data, ("time", "unit"), dt_ms=0.1).jfne.to_signals()
    ds = ds.assign_coords(population=("unit", dask.array.full(1000, "E", chunks=100)))
    with dask.config.set(scheduler=refuse):
        assert "float32, dask, 160 MB" in str(ds.jfne)
        assert "160 MB" in ds.jfne._repr_html_()


def test_a_long_time_axis_is_not_copied():
    """Of 160 MB in four rows the card took 280 ms, all of them for the times."""
    n = 2_000_000
    data = dask.array.zeros((n, 4), chunks=(n // 10, 4), dtype="float32")
    ds = jfx.traces(data, ("time", "unit"), dt_ms=0.1)
    str(ds.jfne)
    tracemalloc.start()
    try:
        assert "2000000 samples, dt 0.1 ms: 3.33333 min" in str(ds.jfne)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < ds.time.nbytes / 4


def test_values_are_not_looked_at():
    ds = jfx.traces(np.zeros((2, 5)), ("unit", "time"), dt_ms=0.1)
    ds["v"] = ds.v.copy(data=np.full((2, 5), np.nan))
    ds.v.attrs["units"] = "mV"
    assert overview.facts(ds)["validation"]["valid"]
    assert overview.facts(ds)["validation"]["not_checked"] == [
        "whether v is finite (ds.jfne.validate() looks)"
    ]
    assert not ds.jfne.validate()


def test_jax_and_what_it_traces():
    ds = jfx.traces(jnp.zeros((2, 5)), ("unit", "time"), dt_ms=0.1, quantify=False)
    assert "float32, JAX" in str(ds.jfne)

    @jax.jit
    def traced(v):
        ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1)
        assert "JAX, traced" in str(ds.jfne)
        return ds.v.data

    traced(jnp.zeros((2, 5)))


BROKEN = {
    "empty": xr.Dataset(),
    "no record": xr.Dataset(attrs={"jaxfne_xr": "{"}),
    "no unit": xr.Dataset({"v": ("time", [1.0])}),
    "a scalar": xr.Dataset({"V_m": 3}),
    "no samples": xr.Dataset({"v": (("time", "unit"), np.zeros((0, 2)), {"units": "mV"})}),
    "objects": xr.Dataset({"a": ("x", np.array([None, {}], object))}),
    "names that are no text": xr.Dataset({3: ("unit", [1.0])}, {("a", 1): ("unit", [2])}),
    "uneven": xr.Dataset(
        {"v": ("time", [0.0, 1, 2], {"units": "mV"})}, {"time": ("time", [0.0, 1, 3])}
    ),
}


@pytest.mark.parametrize("case", BROKEN)
def test_any_dataset_has_a_card(case):
    ds = BROKEN[case]
    assert str(ds.jfne).startswith("jaxfne_xr: ")
    assert 'class="jfne"' in ds.jfne._repr_html_()
    json.dumps(overview.facts(ds), allow_nan=False)


@pytest.mark.parametrize("case", ["empty", "a grid of temperatures"])
def test_nothing_is_claimed_of_what_is_not_ours(case):
    ds = BROKEN["empty"]
    if case != "empty":
        ds = xr.Dataset({"t2m": (("lat", "lon"), np.zeros((3, 4)), {"units": "K"})})
    text = str(ds.jfne)
    assert "[not valid]" in text
    assert "oltages stand in" not in text
    assert "simulation" not in text
    assert overview.facts(ds)["scope"] is None


def test_every_site_is_counted():
    ds = jfx.traces(np.zeros((4, 5)), ("unit", "time"), dt_ms=0.1)
    ds = ds.assign_coords(population=("unit", np.array([np.nan, 1.0, float("nan"), np.nan])))
    assert "population nan: 3, 1.0: 1" in str(ds.jfne)


def test_names_from_elsewhere_do_not_steer_the_terminal_or_turn_the_line_around():
    ds = xr.Dataset(
        {"a\x1b[2Jb\nc\u202ed": ("unit", np.zeros(3)), "x" * 300: ("unit", np.zeros(3))},
        {"population": ("unit", ["مثبط", "E", "E"])},
    )
    for text in (str(ds.jfne), ds.jfne._repr_html_().partition("</style>")[2]):
        assert not {"\x1b", "\u202e"} & {*text}
        assert "a\\x1b[2Jb\\nc\\u202ed" in text
        assert "population \u2068مثبط\u2069: 1, E: 2" in text
    assert "x" * 37 + "..." in text
    assert "x" * 41 not in str(ds.jfne).partition("checks")[0]


def test_problems_are_in_the_card():
    ds = BROKEN["no unit"]
    text = str(ds.jfne)
    assert "[not valid]" in text
    assert "v: found no unit; expected mV" in text
    assert text.endswith("ds.jfne.validate()")


def test_whatever_a_user_named_is_escaped():
    bad = '<script>alert("1")</script>'
    ds = xr.Dataset(
        {f"{bad}2": (("unit", bad), np.zeros((2, 1)), {"units": bad, "long_name": bad})},
        {"population": ("unit", [bad, "&"]), bad: (bad, [bad])},
        {"jaxfne_xr": json.dumps({"schema": 1, "stage": bad, "steps": [{"function": bad}]})},
    )
    page = ds.jfne._repr_html_()
    assert "<script" not in page
    assert page.count("&lt;script&gt;") >= 8


def test_many_sites_groups_and_variables_are_cut_short():
    n = 50_000
    ds = xr.Dataset(
        {f"a{i}": ("unit", np.zeros(n)) for i in range(40)},
        {"population": ("unit", np.arange(n) % 500)},
    )
    text = str(ds.jfne)
    assert "and 481 more" in text
    assert "and 21 more" in text
    assert len(text) < 6000
