"""The built site as people read it: at a desk and on a phone, light and dark, the console silent, nothing cut off."""

import os
import re
from pathlib import Path

import pytest

pytestmark = pytest.mark.browser

SITE = Path(__file__).parents[2] / "docs/_build/html"
WAYS = [(window, scheme) for window in ("desk", "phone") for scheme in ("light", "dark")]
#: The landing page, guides with outputs of every kind, pictures, lines beside lines, and the API.
PAGES = ["index", "ten-minutes", "gallery", "coming-from", "generated/api"]

WIDER = "return document.documentElement.scrollWidth - window.innerWidth"
IMAGES = """
return [...document.images].filter(i => i.offsetParent).map(i => [i.src, i.complete && i.naturalWidth, i.alt])
"""
#: What lies behind an element: the colour of the first around it that has one.
BEHIND = """
return [...document.querySelectorAll(arguments[0])].map(e => {
  for (; e; e = e.parentElement) {
    const colour = getComputedStyle(e).backgroundColor
    if (colour != 'rgba(0, 0, 0, 0)') return colour
  }
})
"""
COLOURS = "return [...document.querySelectorAll(arguments[0])].map(e => getComputedStyle(e).color)"
COLUMNS = """
return [...document.querySelectorAll('.beside')].map(pair => {
  const [a, b] = [...pair.children].map(e => e.getBoundingClientRect())
  return [a.top == b.top && a.right < b.left, a.bottom <= b.top, a.width]
})
"""
CUT = """
return [...document.querySelectorAll('.beside pre')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText)
"""


@pytest.fixture(scope="module")
def site():
    if not (SITE / "index.html").exists():
        missing = f"no site in {SITE}: type python3 dev.py docs"
        pytest.fail(missing) if os.environ.get("CI") == "true" else pytest.skip(missing)
    return lambda page: SITE / f"{page}.html"


def of_others(violation):
    """Whether xarray says it: each of its tables brings the same two icons, by the same names."""
    return violation.startswith('duplicate-id: <symbol id="icon-')


def brightness(colour):
    """Return the luminance of a CSS colour, 0 to 255."""
    red, green, blue = map(float, re.findall(r"[\d.]+", colour)[:3])
    luminance = 0.2126 * red + 0.7152 * green + 0.0722 * blue
    return luminance * 255 if colour.startswith("color(srgb") else luminance


@pytest.mark.parametrize(("window", "scheme"), WAYS)
@pytest.mark.parametrize("page", PAGES)
def test_a_page_can_be_read(browser, site, page, window, scheme):
    browser.show(site(page), window=window, scheme=scheme)
    assert browser.run("return document.documentElement.dataset.theme") == scheme
    assert browser.errors() == []
    assert [v for v in browser.violations() if not of_others(v)] == []
    assert browser.run(WIDER) <= 0
    images = browser.run(IMAGES)
    assert all(width and width > 100 and alt for _, width, alt in images), images
    assert len(images) >= {"index": 1, "ten-minutes": 2, "gallery": 20}.get(page, 0)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_outputs_of_notebooks_follow_the_theme(browser, site, scheme):
    browser.show(site("ten-minutes"), scheme=scheme)
    for shown in (".cell_output .jfne dd", ".cell_output .xr-var-dtype", ".cell_output .xr-attrs"):
        behind = browser.driver.execute_script(BEHIND, shown)
        colours = browser.driver.execute_script(COLOURS, shown)
        assert behind
        for back, front in zip(behind, colours, strict=True):
            contrast = brightness(front) - brightness(back)
            assert contrast > 100 if scheme == "dark" else contrast < -100, (shown, back, front)


@pytest.mark.parametrize("window", ["desk", "phone"])
def test_lines_stand_beside_lines_where_there_is_room(browser, site, window):
    browser.show(site("coming-from"), window=window)
    pairs = browser.run(COLUMNS)
    assert len(pairs) > 8
    for beside, below, width in pairs:
        assert (beside, below) == (window == "desk", window == "phone")
        assert width > 300
    if window == "desk":
        assert browser.run(CUT) == []
