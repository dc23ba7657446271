"""Cards and reports as people see them: readable, light and dark, at a desk and on a phone, the console silent."""

import numpy as np
import pytest

import jaxfne_xr as jfx

pytestmark = pytest.mark.browser

WAYS = [(window, scheme) for window in ("desk", "phone") for scheme in ("light", "dark")]
#: What a page calls itself, whatever the reader's system likes: JupyterLab, Sphinx, VS Code.
HOSTS = {
    "light": ('data-jp-theme-light="true"', 'data-theme="light"', 'class="vscode-light"'),
    "dark": ('data-jp-theme-light="false"', 'data-theme="dark"', 'class="vscode-dark"'),
}
WIDER = "return document.documentElement.scrollWidth - window.innerWidth"


def cards(stages):
    """Return everything that has a card, one below the other."""
    broken = stages["signals"].assign(V_m=("time", np.zeros(stages["signals"].sizes["time"])))
    cfg = jfx.configuration().network(groups={"E": 80, "I": 20}).emitter()
    shown = [ds.jfne for ds in stages.values()]
    shown += [broken.jfne, broken.jfne.validate(), stages["currents"].jfne.check_currents(), cfg]
    shown += [
        jfx.LineSource(),
        jfx.Slab("300 um"),
        jfx.FourSphere(),
        jfx.Replay({"a": 0.0, "b": 1.0}),
    ]
    return "".join(each._repr_html_() for each in shown)


@pytest.mark.parametrize(("window", "scheme"), WAYS)
def test_cards_can_be_read(browser, stages, page, window, scheme):
    browser.show(page(cards(stages)), window=window, scheme=scheme)
    assert browser.violations() == []
    assert browser.errors() == []
    assert browser.run(WIDER) <= 0
    assert browser.is_dark() == (scheme == "dark")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("theme", ["light", "dark"])
def test_the_theme_of_a_notebook_goes_before_that_of_the_system(
    browser, stages, page, theme, scheme
):
    for host in HOSTS[theme]:
        browser.show(page(stages["lfp"].jfne._repr_html_(), host), scheme=scheme)
        assert browser.is_dark() == (theme == "dark"), host


@pytest.fixture(scope="module")
def run(tmp_path_factory, stages):
    """A report with a picture of every kind."""
    import xarray as xr

    names = ["signals", "lfp", "csd", "psd", "eeg", "summary", "probe", "morphology"]
    tree = xr.DataTree.from_dict({name: stages[name] for name in names})
    return jfx.report(tree, tmp_path_factory.mktemp("report") / "run.html")


@pytest.mark.parametrize(("window", "scheme"), WAYS)
def test_a_report_can_be_read(browser, run, window, scheme):
    browser.show(run, window=window, scheme=scheme)
    assert browser.violations() == []
    assert browser.errors() == []  # nothing was blocked by its own policy either
    assert browser.run(WIDER) <= 0
    assert browser.is_dark() == (scheme == "dark")
    images = "return [...document.images].map(i => [i.complete, i.naturalWidth, i.clientWidth])"
    drawn = browser.run(images)
    assert len(drawn) == 9
    available = {"desk": 1280, "phone": 390}[window]
    assert all(
        complete and natural > 100 and 100 < width < available for complete, natural, width in drawn
    )


def test_a_report_asks_for_nothing(browser, run):
    browser.show(run)
    loaded = browser.run("return performance.getEntriesByType('resource').map(r => r.name)")
    assert all(name.startswith("data:") for name in loaded)


def test_a_report_prints(browser, run):
    browser.show(run)
    made = browser.driver.execute_cdp_cmd("Page.printToPDF", {"printBackground": False})
    assert len(made["data"]) > 50_000


def test_contrast_is_seen_by_the_checker(browser, page):
    """The checker would find what the others must not have."""
    bad = '<p style="color:#999;background:#aaa">grey</p><img src="data:image/gif;base64,R0lGODlhAQABAAAAACw=">'
    browser.show(page(bad))
    found = " ".join(browser.violations())
    assert "color-contrast" in found
    assert "image-alt" in found
