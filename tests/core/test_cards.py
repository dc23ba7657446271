"""Cards: nothing gets through unescaped, and every text can be read on what lies behind it."""

import html
import re
from html.parser import HTMLParser

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core import cards as display
from jaxfne_xr.core.cards import Badge, Card, Code, Table

BAD = "<script>alert('1')</script>&\""


class Tags(HTMLParser):
    """Checks that tags close in order; collects what is read."""

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.text = [], [], []

    def handle_starttag(self, tag, attrs):
        self.open.append(tag)
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open[-1] != "style":
            self.text.append(data)


def parsed(page):
    tags = Tags()
    tags.feed(page)
    assert tags.open == []
    return tags


def test_everything_is_escaped():
    rows = (
        (BAD, BAD),
        (BAD, (BAD, BAD)),
        (BAD, Table((BAD,), ((BAD,), (BAD,)))),
        (BAD, Code((BAD, BAD))),
        (BAD, Badge(BAD, "good")),
    )
    tags = parsed(Card(BAD, rows, Badge(BAD, "bad")).html())
    assert "script" not in {tag for tag, _ in tags.seen}
    read = "".join(tags.text)
    # title, badge; five labels; and 1 + 2 + 3 + 2 + 1 contents
    assert read.count(BAD) == 2 + 5 + 9
    assert [a["aria-label"] for tag, a in tags.seen if a.get("class") == "jfne"] == [BAD]


def test_text_wraps_and_keeps_its_columns():
    words = "word " * 60
    card = Card(
        "title", (("a", words), ("longer", ("x", "y")), ("t", Table(("p", "q"), (("1", "2"),))))
    )
    lines = str(card).splitlines()
    assert max(map(len, lines)) <= display.WIDTH
    assert lines[0] == "title"
    assert {line[:10] for line in lines[1:]} == {
        "  a       ",
        "          ",
        "  longer  ",
        "  t       ",
    }
    assert str(Card("alone", ())) == "alone"


def test_wide_letters_keep_the_columns():
    """Characters of Chinese and Japanese take two columns of a terminal, combining accents none."""
    table = Table(("n", "u"), (("膜電位", "mV"), ("e\u0301", "mV"), ("abcdef", "mV")))
    lines = str(Card("t", (("", table),))).splitlines()[1:]
    assert [line.strip() for line in lines] == [
        "n       u",
        "膜電位  mV",
        "e\u0301       mV",
        "abcdef  mV",
    ]


def luminance(colour):
    """Relative luminance, by the definition of WCAG 2.1."""
    parts = [int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


@pytest.mark.parametrize("colours", [display.LIGHT, display.DARK], ids=["light", "dark"])
def test_contrast(colours):
    assert list(colours) == list(display.LIGHT)
    pairs = [(text, back) for text in ("text", "muted", "link") for back in ("back", "panel")]
    pairs += [(tone, f"{tone}-back") for tone in ("good", "caution", "bad")]
    for text, back in pairs:
        low, high = sorted(luminance(colours[name]) for name in (text, back))
        assert (high + 0.05) / (low + 0.05) >= 4.5, (text, back)


MODELS = [
    jfx.PointSource("3 mS/cm"),
    jfx.LineSource((0.3, 0.3, 0.45)),
    jfx.RootAsPoint(),
    jfx.Slab("300 um"),
    jfx.InfiniteHomogeneous(),
    jfx.Spherical("90 mm"),
    jfx.FourSphere(),
    jfx.LeadField(np.ones((2, 3, 5)), "V/(A*m)"),
]


@pytest.mark.parametrize("model", MODELS, ids=lambda m: type(m).__name__)
def test_models_show_their_equation_and_parameters(model):
    text, tags = repr(model), parsed(model._repr_html_())
    read = "".join(tags.text)
    assert model.equation in text
    assert model.equation in read
    assert type(model).__name__ in read
    for leaf in ("S/m", "um"):
        assert (f" {leaf}" in text) == (f" {leaf}" in read)


@pytest.mark.parametrize("model", MODELS[:-1], ids=lambda m: type(m).__name__)
def test_a_traced_model_shows_itself(model):
    @jax.jit
    def shown(model):
        assert model.equation in repr(model)
        parsed(model._repr_html_())
        return jax.tree.leaves(model)[0]

    shown(jax.tree.map(jnp.asarray, model))


def test_configurations_and_models():
    cfg = jfx.configuration()
    assert "needs network, emitter, field, probe" in "".join(parsed(cfg._repr_html_()).text)
    cfg = cfg.network(groups={"E<b>": 2, "I": 1}).emitter().field().probe(name="<script>")
    page = cfg._repr_html_()
    assert "complete" in page
    assert "<script>" not in page
    model = jfx.construct(cfg)
    page = "".join(parsed(model._repr_html_()).text)
    assert cfg.hash() in page
    assert "E<b>" in page
    assert repr(cfg) in repr(model)
    for each in (cfg, model, jfx.configuration()):  # print says the same as the notebook
        shown = re.sub(r"<style>.*?</style>|<[^>]+>", " ", each._repr_html_(), flags=re.DOTALL)
        texts = (re.sub(r"[][]", " ", text).split() for text in (str(each), html.unescape(shown)))
        assert len({frozenset(words) for words in texts}) == 1


def test_the_next_steps_of_a_configuration_lead_to_a_model():
    names = {"jfx": jfx, "cfg": jfx.configuration(), "data": np.full((50, 100), -65.0)}
    for _ in range(5):
        exec(str(names["cfg"]).rpartition("next")[2].strip(), names)
    for line in str(names["model"]).rpartition("next")[2].splitlines():
        exec(line.strip(), names)
    assert jfx.replay(names["tree"])


def test_reports():
    good = jfx.traces(np.zeros((2, 5)), ("unit", "time"), dt_ms=0.1)
    assert "valid" in "".join(parsed(good.jfne.validate()._repr_html_()).text)
    bad = good.copy()
    bad["v"] = ("time", np.zeros(5), {"units": "<b>"})
    report = bad.jfne.validate()
    read = "".join(parsed(report._repr_html_()).text)
    for problem in report.problems:
        assert problem.found in read
        assert problem.remedy in read
    replay = jfx.Replay({"signals/<b>": 0.0, "readouts/x": 0.5})
    read = "".join(parsed(replay._repr_html_()).text)
    assert "signals/<b>" in read
    assert "differs" in read


def test_a_report_of_currents(stages):
    report = stages["currents"].jfne.check_currents()
    read = "".join(parsed(report._repr_html_()).text)
    assert "closed" in read
    assert "not included" in read
