"""The ``.jfne`` of a tree: a card that computes nothing, and what can be done with all parts at once."""

import re

import dask
import dask.array
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx


@pytest.fixture(scope="module")
def bundle():
    v = np.where(np.arange(200)[:, None] % 50 == 10, 20.0, -65.0) + np.zeros(3)
    cfg = jfx.configuration().network(groups={"E": 2, "I<b>": 1}).emitter().field(domain="point")
    model = jfx.construct(cfg.probe(name="soma", modes=["vm", "lfp_proxy"]))
    signals = model.simulate_external(v, dt_ms=0.1)
    return jfx.bundle(model, signals, model.compute_readout(signals))


def test_the_card_of_a_bundle(bundle):
    text, page = str(bundle.jfne), bundle.jfne._repr_html_()
    assert text.startswith("jaxfne_xr: bundle\n")
    assert bundle.attrs["configuration_hash"] in text
    assert "mode='external_voltage'" in text
    for part in ("signals", "readouts", "probe"):
        assert re.search(rf"^ +{part} +", text, re.MULTILINE)
    assert re.search("checks +valid\n", text)
    assert "I<b>" in text
    assert "I<b>" not in page
    words = re.sub(r"<style>.*?</style>|<[^>]+>", " ", page, flags=re.DOTALL)
    for word in ("bundle", "lfp_proxy", "tree.jfne.replay()"):
        assert word in words


@pytest.mark.slow
def test_what_the_card_suggests_runs(bundle, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    lines = [line.strip() for line in str(bundle.jfne).partition("  next")[2].splitlines()]
    assert len(lines) == 4
    names = {"jfx": jfx, "tree": bundle}
    for line in lines:
        exec(line, names)
    assert names["signals"].jfne.validate()
    assert {path.name for path in tmp_path.iterdir()} == {"run.html", "run.nc"}
    assert jfx.open("run.nc").jfne.replay()


def test_long_names_are_cut_off():
    ds = jfx.traces(np.zeros((5, 2)), ("time", "unit"), dt_ms=0.1)
    text = str(xr.DataTree.from_dict({"a " * 50: ds.rename(v="v" * 99)}).jfne)
    assert f"{'a ' * 18}a...  traces" in text
    assert "v" * 38 not in text


def test_problems_are_told_with_their_part(bundle):
    bad = bundle.copy()
    signals = bad["signals"].to_dataset()
    v = np.array(signals.V_m.data.magnitude)
    v[3, 0] = np.nan
    bad["signals"] = xr.DataTree(signals.assign(V_m=("time", v[:, 0], {"units": "mV"})))
    report = bad.jfne.validate()
    assert not report
    assert {p.where for p in report.problems} >= {"signals: V_m", "signals: spikes"}
    assert str(report).startswith("bundle: not valid")
    assert bundle.jfne.validate()
    assert "[not valid]" in str(bad.jfne)
    assert "signals: spikes: found" in str(bad.jfne)


def test_nothing_is_computed():
    def refuse(*args, **options):
        raise AssertionError("the card computed dask data")

    data = dask.array.zeros((4000, 100), chunks=(400, 100))
    tree = xr.DataTree.from_dict({"a b": jfx.traces(data, ("time", "unit"), dt_ms=0.1)})
    with dask.config.set(scheduler=refuse):
        assert "a b   traces  no field yet  time: 4000, unit: 100  v" in str(tree.jfne)
        assert "to_dataset" not in str(tree.jfne)  # no name to give it


@pytest.mark.parametrize(
    "tree",
    [
        xr.DataTree(),
        xr.DataTree(xr.Dataset({"t2m": ("x", [1.0])})),
        xr.DataTree(xr.Dataset(attrs={"configuration": "{", "bundle_schema": 1})),
    ],
    ids=["empty", "foreign", "broken"],
)
def test_any_tree_has_a_card(tree):
    assert str(tree.jfne).startswith("jaxfne_xr: ")
    assert 'class="jfne"' in tree.jfne._repr_html_()


def test_parts_of_something_else_are_shown_and_saved(tmp_path):
    ds = jfx.traces(np.full((3, 100), -65.0), ("unit", "time"), dt_ms=0.1)
    params = xr.Dataset({"g": ("k", [1.0, 2.0]), "v": ("k", [0.1, 0.2])})
    tree = xr.DataTree.from_dict({"/": params, "/run": ds, "/run/notes": params})
    text = str(tree.jfne)
    assert re.search("checks +valid\n", text)
    assert re.search(r"^ +parts .*\n +/ +other +", text, re.MULTILINE)
    assert re.search(r"^ +run/notes +other +", text, re.MULTILINE)
    assert tree.jfne.validate()
    page = tree.jfne.report(tmp_path / "run.html").read_text(encoding="utf-8")
    assert "not valid" not in page
    assert jfx.open(tree.jfne.to_netcdf(tmp_path / "run.nc")).identical(tree)
    assert jfx.open(tree["run"].jfne.to_netcdf(tmp_path / "part.nc")).identical(tree["run"].copy())
    unknown = xr.DataTree.from_dict({"/params": params})
    assert not unknown.jfne.validate()
    assert "[not valid]" in str(unknown.jfne)
    assert "to_netcdf" not in str(unknown.jfne)
    with pytest.raises(jfx.VariableError, match="nothing that this package made"):
        unknown.jfne.to_netcdf(tmp_path / "no.nc")
