"""Headless Chromium, as wide as a desk or a phone, light or dark."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import Any

import pytest

#: Width and height of the window, and whether it is a phone's.
WINDOWS = {"desk": (1280, 900, False), "phone": (390, 844, True)}

AXE = """
const [where, done] = arguments
axe.run(where || document).then(done, e => done({error: String(e)}))
"""


class Browser:
    """A browser that shows pages of this machine and tells what is wrong with them."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def show(self, page: Path | str, *, window: str = "desk", scheme: str = "light") -> None:
        """Show a file or an address in a window of this kind, for a reader who likes it light or dark."""
        width, height, mobile = WINDOWS[window]
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": mobile}
        # without transitions, in the midst of which a colour might be looked at
        wishes = {"prefers-color-scheme": scheme, "prefers-reduced-motion": "reduce"}
        features = [{"name": name, "value": value} for name, value in wishes.items()]
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", metrics)
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
        self.driver.get(page if isinstance(page, str) else page.resolve().as_uri())

    def run(self, script: str) -> Any:
        """Return what JavaScript returns on the page."""
        return self.driver.execute_script(script)

    def is_dark(self) -> bool:
        """Whether the first card on the page is."""
        colour = self.run(
            "return getComputedStyle(document.querySelector('.jfne')).backgroundColor"
        )
        return int(re.findall(r"\d+", colour)[0]) < 128

    def errors(self) -> list[str]:
        """Return the errors and warnings of the console since it was asked last."""
        entries = self.driver.get_log("browser")
        return [entry["message"] for entry in entries if entry["level"] in ("SEVERE", "WARNING")]

    def violations(self, where: str = "") -> list[str]:
        """Return what axe-core finds against WCAG and good practice: contrast, alternative texts, structure.

        `where` is a selector: of the whole page, if not given.
        """
        self.driver.execute_script(files("axe_core_python").joinpath("axe.min.js").read_text())
        found = self.driver.execute_async_script(AXE, where)
        assert len(found["passes"]) > 5, found
        return [
            f"{v['id']}: {node['html'][:200]} {node.get('failureSummary', '')}"
            for v in found["violations"]
            for node in v["nodes"]
        ]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    """Return a browser; it knows of no network."""
    webdriver = pytest.importorskip("selenium.webdriver")
    program, helper = shutil.which("chromium"), shutil.which("chromedriver")
    if not program or not helper:
        pytest.skip("needs chromium and chromedriver: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = program
    for switch in (
        "headless=new",
        "no-sandbox",
        "disable-gpu",
        "disable-quic",
        "disable-dev-shm-usage",
        "disable-background-networking",
        "disable-component-update",
        "disable-sync",
        "no-first-run",
        "host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
        "no-proxy-server",
        f"user-data-dir={tmp_path_factory.mktemp('chromium')}",
    ):
        options.add_argument(f"--{switch}")
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(helper))
    try:
        yield Browser(driver)
    finally:
        driver.quit()


@pytest.fixture
def page(tmp_path: Path) -> Callable[[str], Path]:
    """Return a function that makes a page of what a notebook would show."""

    def make(content: str, body: str = "") -> Path:
        path = tmp_path / "page.html"
        path.write_text(
            '<!doctype html><html lang="en"><head><meta charset="utf-8"><title>card</title>'
            '<meta name="viewport" content="width=device-width, initial-scale=1"></head>'
            f"<body {body}><main><h1>Cells</h1>{content}</main></body></html>",
            encoding="utf-8",
        )
        return path

    return make
