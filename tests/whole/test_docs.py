"""What the documentation says in code: the README's quickstart, and lines of other packages beside ours."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import jaxfne_xr as jfx

ROOT = Path(__file__).parents[2]
PAIR = re.compile(
    r":::\{container\} beside\n```python\n# (.+?)\n(.*?)```\n\n```python\n# (.+?)\n(.*?)```\n:::",
    re.DOTALL,
)
PAGE = (ROOT / "docs/coming-from.md").read_text()
SECTIONS = dict(part.split("\n", 1) for part in PAGE.split("\n## ")[1:])
SECTIONS.pop("Where next")


def first_block(page, kind):
    """Return the first block of code of a kind, without the options of its output."""
    block = re.search(rf"^```{re.escape(kind)}\n(.*?)^```", page, re.DOTALL | re.MULTILINE)[1]
    return re.sub(r"\A---\n.*?^---\n", "", block, flags=re.DOTALL | re.MULTILINE)


def readme():
    return first_block((ROOT / "README.md").read_text(), "python")


def test_the_quickstart_is_the_first_cell_word_for_word():
    page = (ROOT / "docs/ten-minutes.md").read_text()
    assert readme() == first_block(page, "{code-cell} python")


@pytest.mark.slow
def test_the_quickstart_runs(tmp_path, monkeypatch):
    pytest.importorskip("jaxley")
    pytest.importorskip("matplotlib").use("agg")
    monkeypatch.chdir(tmp_path)
    exec(compile(readme(), "README.md", "exec"), {})
    assert jfx.open("run.nc").spikes.any()


def test_pictures_are_small_and_shown():
    shown = re.findall(r"docs/(_static/[\w-]+\.png)", (ROOT / "README.md").read_text())
    assert len(shown) == 2
    for name in shown:
        assert 10_000 < (ROOT / "docs" / name).stat().st_size < 300_000
    assert shown[0] in (ROOT / "docs/index.md").read_text()


# ------------------------------------------------------------------------------------- lines beside lines


def of_jaxley():
    jx = pytest.importorskip("jaxley")
    from jaxley.channels import HH

    cell = jx.Cell(jx.Branch(ncomp=2), parents=[-1, 0])
    cell.insert(HH())
    step = jx.step_current(i_delay=5.0, i_dur=20.0, i_amp=0.1, delta_t=0.025, t_max=25.0)
    cell.branch(0).loc(0.0).stimulate(step, verbose=False)
    cell.record("v", verbose=False)
    return {"jx": jx, "cell": cell}


def of_jaxfne():
    rng = np.random.default_rng(0)
    v, depth = rng.normal(-50, 20, (30, 6)).astype("f4"), rng.uniform(0, 1, 6).astype("f4")
    coords = {
        a: ("unit", k * 1000 * depth, {"units": "um"})
        for a, k in zip("xyz", (0, 0, 1), strict=True)
    }
    placed = jfx.traces(v, ("time", "unit"), dt_ms=0.1, coords=coords).jfne.to_signals()
    places = np.stack([0 * depth, 0 * depth, depth], axis=1)
    return {"v": v, "places": places, "placed": placed}


def of_currents():
    rng = np.random.default_rng(1)
    node = np.cumsum(rng.normal(0, 20, (7, 3)), axis=0)
    d = rng.uniform(1, 3, 6)
    i_m = rng.normal(size=(6, 5))
    i_m -= i_m.mean(axis=0)
    shape = jfx.morphology(node[:-1], node[1:], diameter=d, parent=[-1, *range(5)])
    ds = jfx.traces(i_m, ("recording", "time"), dt_ms=0.1, units="nA", name="i_membrane")
    ends = {a: np.stack([node[:-1, k], node[1:, k]], axis=1) for k, a in enumerate("xyz")}
    far = 200.0 + 50.0 * np.arange(12).reshape(4, 3)
    scalp = np.array([[0, 0, 1], [0.6, 0, 0.8], [0, 0.8, 0.6]])
    currents = ds.jfne.with_morphology(shape)
    given = {"d": d, "i_m": i_m, "currents": currents, "contacts": far, "positions": far}
    return {**ends, **given, "electrodes": 90e3 * scalp}


def of_spikes():
    spikes = np.random.default_rng(2).random((5, 4000)) < 0.01
    spikes[:, 0] = False  # a crossing needs a sample before it
    v = np.where(spikes, 20.0, -65.0)
    coords = {"population": ("unit", ["E"] * 5)}
    ds = jfx.traces(v, ("unit", "time"), dt_ms=1.0, coords=coords)
    return {"signals": ds.jfne.to_signals(), "v": v}


GIVEN = {
    "Plain Jaxley": (of_jaxley, {}, 1e-6),
    "jaxfne": (of_jaxfne, {}, 1e-5),
    "LFPykit": (of_currents, {"lfp": 1e3, "eeg": 1e3}, 1e-5),
    "elephant": (of_spikes, {}, 1e-12),
    "hnn-core": (of_currents, {}, None),
}


def test_every_section_is_known_and_has_lines():
    assert set(SECTIONS) == set(GIVEN)
    assert sum(len(PAIR.findall(text)) for text in SECTIONS.values()) == PAGE.count("beside\n")


def last_name(code):
    return re.findall(r"^(\w+) = ", code, re.MULTILINE)[-1:]


@pytest.mark.parametrize("section", GIVEN)
def test_our_lines_run(section):
    pytest.importorskip("matplotlib").use("agg")
    space = {"jfx": jfx, "np": np, **GIVEN[section][0]()}
    for _, _, us, ours in PAIR.findall(SECTIONS[section]):
        assert us == "jaxfne_xr"
        exec(compile(ours, section, "exec"), space)


@pytest.mark.slow
@pytest.mark.oracle
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("section", [s for s in GIVEN if s != "hnn-core"])
def test_their_lines_give_the_same(section):
    make, units, tolerance = GIVEN[section]
    given = {"jfx": jfx, "np": np, **make()}
    if section == "LFPykit":
        given["lfpykit"] = pytest.importorskip("lfpykit")
    if section == "elephant":
        import neo
        import quantities as pq

        spikes = given["signals"].spikes.values
        trains = [neo.SpikeTrain(np.flatnonzero(s), units=pq.ms, t_stop=len(s)) for s in spikes]
        given |= {"pq": pq, "trains": trains}
    here, there = dict(given), dict(given)
    for _, theirs, _, ours in PAIR.findall(SECTIONS[section]):
        exec(compile(theirs, section, "exec"), there)
        exec(compile(ours, section, "exec"), here)
        (name,) = last_name(ours)
        assert [name] == last_name(theirs)
        made = here[name].pint.dequantify().values.astype(float).squeeze()
        want = np.asarray(there[name], float) * units.get(name, 1.0)  # mV in uV
        want = want.T if want.T.shape == made.shape != want.shape else want
        assert want.shape == made.shape, name
        assert np.abs(made - want).max() <= tolerance * np.abs(want).max(), name


# ------------------------------------------------------------------------------------ the site as a whole


def test_every_public_name_and_every_guide_has_its_place(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(ROOT / "docs")
    import reference

    reference.write_reference(tmp_path / "generated" / "api.md")
    text = (tmp_path / "generated" / "api.md").read_text()
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == list(reference.SECTIONS)
    listed = re.findall(r"^   (\w[\w.]*)$", text, re.MULTILINE)
    assert sorted(listed) == sorted(reference.public_names())
    for entry in sum(reference.SECTIONS.values(), ()):
        importlib.import_module(f"jaxfne_xr.{entry}")

    pages = {path.stem: path.read_text() for path in (ROOT / "docs").glob("*.md")}
    listed = re.findall(r"^[\w-]+$", pages["index"], re.MULTILINE)
    assert set(listed) == {name for name in pages if name not in ("index", "_transformations")}
    start, guides = (part.split("```")[0] for part in pages["index"].split("caption: ")[1:3])
    for name in re.findall(r"^[a-z-]+$", start + guides, re.MULTILINE):
        if name not in ("gallery", "plots", "display"):  # which lead somewhere all along
            assert "\n## Where next\n" in pages[name], name


def test_equations_are_drawn_into_the_page(monkeypatch):
    pytest.importorskip("sphinx")
    pytest.importorskip("matplotlib")
    monkeypatch.syspath_prepend(ROOT / "docs")
    import equations

    made = equations.drawing(r"\frac{a}{b} < 1", "max-width: 100%")
    assert 'aria-label="\\frac{a}{b} &lt; 1"' in made
    _, _, width, height = map(int, re.search(r'viewBox="(.*?)"', made)[1].split())
    assert f"width: {width / 1000:.3f}em" in made
    assert width > height > 0.5 * width  # a fraction stands taller than a line, and is not cut
    with pytest.raises(ValueError, match="nosuch"):
        equations.drawing(r"\nosuch", "")


def test_links_that_lead_nowhere_and_pictures_without_text_are_found(tmp_path):
    (tmp_path / "index.html").write_text(
        '<p id="here"><a href="#here"></a><a href="sub/b.html#c"></a><a href="https://example.org/x"></a>'
        '<a href="#gone"></a><img src="no.png" alt="a cell"><a href="sub/b.html#d"></a>'
        '<img src="there.png" alt="there.png"><img src="there.png" alt="">'  # "" says: for the eye only
        '<script src="https://example.org/x.js"></script>'
    )
    (tmp_path / "there.png").touch()
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub/b.html").write_text('<p id="c"><a href="../index.html"></a>')
    check = [sys.executable, str(ROOT / "docs/links.py")]
    done = subprocess.run([*check, str(tmp_path)], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    said = done.stderr.splitlines()[1:]
    assert said == [
        "index.html: there.png (no text)",
        "index.html: https://example.org/x.js (from outside)",
        "index.html: #gone",
        "index.html: no.png",
        "index.html: sub/b.html#d",
    ]
    assert (
        subprocess.run([*check, str(tmp_path / "sub")], capture_output=True, check=False).returncode
        == 1
    )
