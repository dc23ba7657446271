"""Reports: one file that needs nothing else, of any stage, whole or not at all."""

import base64
import re
import signal
import subprocess
import sys
from html.parser import HTMLParser

import dask.array
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import xarray as xr

import jaxfne_xr as jfx

report_module = sys.modules[
    "jaxfne_xr.display.html_report"
]  # the function of the same name hides it
VOID = {"meta", "img"}


class Page(HTMLParser):
    """The tags of a page, in order, each closed where it has to be; and what is read."""

    def __init__(self, path):
        super().__init__()
        self.open, self.tags, self.words = [], [], []
        self.source = path.read_text(encoding="utf-8")
        self.feed(self.source)
        assert self.open == []
        self.text = " ".join(" ".join(self.words).split())

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] != "style":
            self.words.append(data)

    def every(self, tag):
        return [attrs for name, attrs in self.tags if name == tag]


@pytest.fixture(scope="module")
def bundle():
    """A run of forty cells as a bundle."""
    rng = np.random.default_rng(0)
    v = np.where(rng.random((4000, 8)) < 0.003, 20.0, rng.normal(-65, 2, (4000, 8)))
    cfg = jfx.configuration().network(groups={"E": 6, "I": 2}).emitter().field(domain="point")
    model = jfx.construct(cfg.probe(name="soma", modes=["vm", "lfp_proxy", "spike_rate_hz"]))
    signals = model.simulate_external(v, dt_ms=0.1)
    return jfx.bundle(model, signals, model.compute_readout(signals))


#: How many pictures each stage has.
PICTURES = {
    "plain traces": 1,
    "traces": 1,
    "signals": 2,
    "spike times": 0,
    "firing rate": 0,
    "source": 1,
    "currents": 1,
    "lead field": 0,
    "lfp": 1,
    "csd": 1,
    "psd": 1,
    "dipoles": 1,
    "eeg": 1,
    "lfp proxy": 1,
    "readouts": 1,
    "summary": 1,
    "probe": 1,
    "morphology": 1,
}


@pytest.mark.parametrize("stage", PICTURES)
def test_every_stage(tmp_path, stages, stage):
    page = Page(stages[stage].jfne.report(tmp_path / "run.html"))
    assert len(page.every("img")) == PICTURES[stage]
    assert "no picture" not in page.text
    assert "valid" in page.text
    for image in page.every("img"):
        kind, _, data = image["src"].partition(";base64,")
        assert kind in ("data:image/svg+xml", "data:image/png")
        assert base64.b64decode(data, validate=True)
        assert len(image["alt"]) > 20
    for function in (s["function"] for s in stages[stage].jfne.provenance["steps"]):
        assert function in page.text


def test_it_needs_nothing_else(tmp_path, bundle):
    page = Page(jfx.report(bundle, tmp_path / "run.html"))
    assert not {"script", "link", "iframe", "object", "base"} & {tag for tag, _ in page.tags}
    for _, attrs in page.tags:
        assert not [name for name in attrs if name.startswith("on")]
        for name in ("src", "href"):
            assert attrs.get(name, "#").startswith(("#", "data:"))
    assert "url(" not in page.source
    assert "default-src 'none'" in page.source


def test_a_bundle_has_a_section_for_each_part(tmp_path, bundle):
    page = Page(jfx.report(bundle, tmp_path / "run.html"))
    targets = {a["href"].lstrip("#") for a in page.every("a")}
    assert targets == {a["id"] for a in page.every("section") if "id" in a}
    assert len(targets) == 3
    for said in ("Configuration", "domain='point'", bundle.attrs["configuration_hash"], "Versions"):
        assert said in page.text
    assert f"jax {jax.__version__}" in page.text
    assert "population E: 6, I: 2" in page.text


def test_numbers_are_those_of_the_data(tmp_path):
    v = np.arange(12.0).reshape(3, 4) - 70
    spikes = v > -61
    for array in (np.asarray, jnp.asarray, lambda x: dask.array.from_array(x, chunks=2)):
        ds = xr.Dataset(
            {
                "V_m": (("unit", "time"), array(v), {"units": "mV"}),
                "spikes": (("unit", "time"), array(spikes)),
                "broken": ("unit", array(np.array([1.0, np.nan, 4.0]))),
            },
            {"time": ("time", np.arange(4.0), {"units": "ms"})},
        )
        text = Page(jfx.report(ds, tmp_path / "run.html")).text
        assert "V_m -70 -64.5 -59 mV" in text
        assert f"spikes 0 {2 / 12:.5g} 1 2" in text
        assert "broken 1 2.5 4 1" in text


def test_the_same_data_make_the_same_file(tmp_path, bundle):
    texts = [jfx.report(bundle, tmp_path / "run.html").read_bytes() for _ in range(2)]
    assert texts[0] == texts[1]


def test_names_are_escaped(tmp_path):
    bad = '<script>alert("1")</script>'
    ds = jfx.traces(
        np.zeros((2, 50)), ("unit", "time"), dt_ms=0.1, coords={"population": ("unit", [bad, "b"])}
    )
    ds["v"] = ds.v.assign_attrs(long_name=bad)
    ds[bad] = ("unit", [1.0, 2.0])
    page = Page(jfx.report(ds, tmp_path / "<b>.html"))
    assert "script" not in {tag for tag, _ in page.tags}
    assert "b" not in {tag for tag, _ in page.tags}
    assert page.text.count(bad) >= 3


def test_problems_are_told_and_nothing_stops_the_rest(tmp_path):
    v = np.zeros((2, 50))
    v[1, 30:] = np.nan
    ds = xr.Dataset({"V_m": (("unit", "time"), v, {"units": "mV"})})
    page = Page(jfx.report(ds, tmp_path / "run.html"))
    assert "not valid" in page.text
    assert "20 of 100 values not finite" in page.text
    assert "no time coordinate" in page.text


def test_an_empty_dataset(tmp_path):
    page = Page(jfx.report(xr.Dataset(), tmp_path / "run.html"))
    assert "not valid" in page.text


def test_many_sites_are_thinned_and_dims_are_named(tmp_path):
    ds = jfx.traces(np.zeros((100, 50)), ("unit", "time"), dt_ms=0.1)
    assert "40 of 100 units, at even steps" in Page(jfx.report(ds, tmp_path / "a.html")).text
    z = ("contact", [0.0, 50.0, 100.0], {"units": "um"})
    lfp = xr.Dataset(
        {
            "lfp": (
                ("trial", "time", "contact"),
                np.random.default_rng(0).random((4, 50, 3)),
                {"units": "uV"},
            )
        },
        {"time": ("time", 0.1 * np.arange(50), {"units": "ms"}), "z": z},
    )
    page = Page(jfx.report(lfp, tmp_path / "a.html"))
    assert "the first of 4 trials" in page.text
    assert len(page.every("img")) == 1


@pytest.fixture
def kept(tmp_path):
    """A file that must be as it was afterwards, alone in its folder."""
    path = tmp_path / "run.html"
    path.write_text("as it was")
    yield path
    assert [p.name for p in path.parent.iterdir()] == ["run.html"]
    assert path.read_text() == "as it was"


def test_what_fails_midway_writes_nothing(kept, stages, monkeypatch):
    def stop(*args, **options):
        raise KeyboardInterrupt

    monkeypatch.setattr(report_module.plot, "raster", stop)
    with pytest.raises(KeyboardInterrupt):
        stages["signals"].jfne.report(kept)

    def stop_writing(*args, **options):
        raise OSError("disk full")

    monkeypatch.undo()
    monkeypatch.setattr(report_module.Path, "write_text", stop_writing)
    with pytest.raises(OSError, match="disk full"):
        stages["probe"].jfne.report(kept)
    monkeypatch.undo()


def test_bad_input_is_refused(kept, stages, refused):
    with refused(jfx.ArgumentError, "a DataArray", "to_dataset"):
        jfx.report(stages["signals"].V_m, kept)
    for name in ("run.nc", kept.with_name("run.nc")):
        with refused(jfx.ArgumentError, "the name 'run.nc'", 'run.nc")'):
            jfx.report(name, kept)
    with refused(jfx.FileError, "no folder"):
        jfx.report(stages["signals"], kept.parent / "nowhere" / "a.html")
    with refused(jfx.FileError, "a folder named"):
        jfx.report(stages["signals"], kept.parent)

    def traced(v):
        with refused(jfx.ArgumentError, "traces"):
            jfx.report(jfx.traces(v, ("unit", "time"), dt_ms=0.1), kept)
        return v

    jax.jit(traced)(jnp.zeros((2, 3)))


@pytest.mark.parametrize("name", ["run.nc", "run", "run.html.pdf"])
def test_a_page_does_not_take_the_place_of_something_else(tmp_path, stages, refused, name):
    """As after ``ds.jfne.report("run.nc")`` the data would be gone."""
    path = tmp_path / name
    path.write_bytes(b"data")
    with refused(jfx.FileError, "ends in .html", f'"{path.with_suffix(".html").name}"'):
        stages["signals"].jfne.report(path)
    assert path.read_bytes() == b"data"
    stages["probe"].jfne.report(tmp_path / "RUN.HTM")


@pytest.mark.slow
def test_fields_of_unknown_place_are_drawn_as_lines(tmp_path, stages, bundle):
    page = Page(jfx.report(bundle, tmp_path / "run.html"))
    assert len([a for a in page.every("img") if a["alt"].startswith("LFP (proxy)")]) == 1
    assert "no picture" not in page.text  # nor is there one of a probe whose place is not known
    probe = stages["probe"]
    beside = stages["signals"].jfne.compute_readout(["lfp_proxy", "csd_proxy"], probe=probe)
    true = stages["currents"].jfne.ground_truth_csd(np.arange(-50, 500, 100))
    tree = xr.DataTree.from_dict({"readouts": beside, "true": true, "probe": probe})
    page = Page(jfx.report(tree, tmp_path / "run.html"))
    assert "no picture" not in page.text
    assert len(page.every("img")) == 4
    assert page.text.count("Traces from") == 2


def test_an_empty_tree(tmp_path):
    assert "empty" in Page(jfx.report(xr.DataTree(), tmp_path / "run.html")).text


INTERRUPTED = """
import pathlib, signal, sys, time
import numpy as np
import jaxfne_xr as jfx

signal.signal(signal.SIGINT, signal.default_int_handler)
ds = jfx.traces(np.zeros((3, 500)), ("unit", "time"), dt_ms=0.1).jfne.to_signals()
raster = sys.modules["jaxfne_xr.plot"].raster

def slow(*args, **options):
    made = raster(*args, **options)
    print("drawing", flush=True)
    time.sleep(60)
    return made

sys.modules["jaxfne_xr.plot"].raster = slow
try:
    ds.jfne.report(sys.argv[1])
finally:
    import matplotlib.pyplot as plt
    print("open figures:", plt.get_fignums(), flush=True)
"""


@pytest.mark.parametrize("how", ["SIGINT", "SIGKILL"])
@pytest.mark.slow
def test_a_signal_leaves_the_file_as_it_was(kept, how):
    command = [sys.executable, "-c", INTERRUPTED, str(kept)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout.readline() == b"drawing\n"
        process.send_signal(getattr(signal, how))
        said, wrong = process.communicate(timeout=60)
    if how == "SIGINT":
        assert b"KeyboardInterrupt" in wrong
        assert said == b"open figures: []\n"
    else:
        assert process.returncode == -signal.SIGKILL


def test_without_matplotlib(kept, stages, refused, monkeypatch):
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    with refused(jfx.MissingDependencyError, "jaxfne-xr[plot]"):
        stages["signals"].jfne.report(kept)


def test_nothing_is_left_open(tmp_path, stages):
    import matplotlib.pyplot as plt

    before = plt.get_fignums(), plt.rcParams["font.size"]
    stages["signals"].jfne.report(tmp_path / "run.html")
    assert (plt.get_fignums(), plt.rcParams["font.size"]) == before


@pytest.mark.slow
def test_a_long_run_stays_small(tmp_path):
    """Ten minutes of 64 cells and 32 contacts, under 5 MB."""
    rng = np.random.default_rng(0)
    n = 600_000
    v = rng.normal(-65, 3, (n, 64)).astype("float32")
    v[rng.random(v.shape) < 0.005] = 30
    signals = jfx.traces(v, ("time", "unit"), dt_ms=1.0).jfne.to_signals()
    z = ("contact", 50.0 * np.arange(32), {"units": "um"})
    lfp = rng.normal(0, 20, (n, 32)).astype("float32")
    field = xr.Dataset(
        {"lfp": (("time", "contact"), lfp, {"units": "uV"})}, {"time": signals.time, "z": z}
    )
    csd = field.assign_coords(x=0 * field.z, y=0 * field.z).jfne.csd()
    tree = xr.DataTree.from_dict({"signals": signals, "lfp": field, "csd": csd})
    path = jfx.report(tree, tmp_path / "run.html")
    print(f"\n{path.stat().st_size / 1e6:.2f} MB")
    assert path.stat().st_size < 5e6
    assert len(re.findall("<img", path.read_text())) == 4
