"""Notebooks run in a real JupyterLab: cards in its light and its dark, bars while they last, long data panned."""

import importlib.util
import json
import os
import re
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

pytestmark = pytest.mark.browser

PAGE = (Path(__file__).parents[2] / "docs/interactive.md").read_text(encoding="utf-8")

#: Cells that a person would run to see a bar, with and without ipywidgets, a card, a model and a picture.
CELLS = [
    """
import sys
import time
import dask, dask.array
import numpy as np
import jaxfne_xr as jfx

def slowly(block):
    time.sleep(0.3)
    return block

slow = dask.array.zeros((10, 100), chunks=(1, 100)).map_blocks(slowly, dtype="f4")
dask.config.set(scheduler="synchronous")
jfx.traces(slow, ("unit", "time"), dt_ms=0.1).jfne.to_netcdf("slow.nc");
""",
    """
sys.modules["ipywidgets"] = None  # as if it were not installed
jfx.traces(slow, ("unit", "time"), dt_ms=0.1).jfne.to_netcdf("slower.nc");
""",
    """
v = np.random.default_rng(0).normal(-65, 5, (4, 2000)).astype("f4")
ds = jfx.traces(v, ("unit", "time"), dt_ms=0.1)
ds.jfne
""",
    'jfx.LineSource("0.3 S/m")',
    "ds.jfne.plot.traces();",
]

CURRENT = "jupyterapp.shell.currentWidget"
READY = f"return !!(window.jupyterapp && {CURRENT}?.sessionContext?.session?.kernel)"
#: Commands answer when all is done, and a script waits no longer than asked.
COMMAND = """
window.done = false
jupyterapp.commands.execute(arguments[0], arguments[1]).then(() => { window.done = true })
"""
OUTPUTS = f"return {CURRENT}.content.model.toJSON().cells.map(cell => cell.outputs)"
SEEN = "return [...document.querySelectorAll('.jp-OutputArea-output')].map(e => e.innerText)"
#: The place of an element on the screen, in the shadows that widgets keep too, brought into view.
PLACE = """
const find = root => {
  for (const e of root.querySelectorAll('*')) {
    if (e.matches(arguments[0])) return e
    const found = e.shadowRoot && find(e.shadowRoot)
    if (found) return found
  }
}
for (const output of document.querySelectorAll('.jp-OutputArea-output')) {
  const found = find(output)
  if (!found) continue
  found.scrollIntoView({block: 'center'})
  const {x, y, width, height} = found.getBoundingClientRect()
  return [x, y, width, height]
}
"""
#: What Bokeh has been sent: every line's samples, and the range of time in view.
DRAWN = """
const models = Bokeh.documents.flatMap(document => [...document._all_models.values()])
const figure = models.find(m => m.type == 'Figure')
const lines = models.filter(m => m.type == 'ColumnDataSource' && m.data.lfp)
return {
  x: [figure.x_range.start, figure.x_range.end],
  y: [figure.y_range.start, figure.y_range.end],
  lines: lines.map(m => [[...m.data.time], [...m.data.lfp]]),
}
"""


#: What the console says of others: hvplot's import asks a CDN in vain, notebooks are left unsaved, there is no GPU.
OTHERS = ("https://cdn.", "beforeunload", "WebGL")


def ours(errors):
    return [error for error in errors if not any(other in error for other in OTHERS)]


def wait(condition, what, seconds=60):
    """Return what `condition` gives once it is true."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds} s for {what}")
        time.sleep(0.05)
    return found


class Lab:
    """A JupyterLab in a separate folder, and the browser that shows it."""

    def __init__(self, browser, folder, url):
        self.browser, self.folder, self.url = browser, folder, url

    def open(self, name, cells):
        """Make a notebook of these cells, and open it."""
        made = [
            {
                "cell_type": "code",
                "id": f"cell-{i}",
                "metadata": {},
                "outputs": [],
                "execution_count": None,
                "source": cell.strip(),
            }
            for i, cell in enumerate(cells)
        ]
        kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
        notebook = {
            "cells": made,
            "metadata": {"kernelspec": kernel},
            "nbformat": 4,
            "nbformat_minor": 5,
        }
        (self.folder / name).write_text(json.dumps(notebook), encoding="utf-8")
        self.browser.show(f"{self.url}/lab/tree/{name}?reset")
        wait(lambda: self.browser.run(READY), "the notebook and its kernel")

    def command(self, name, options=None):
        """Start one of JupyterLab's commands."""
        self.browser.driver.execute_script(COMMAND, name, options or {})

    def run_cell(self, i):
        """Run one cell to its end."""
        self.browser.run(f"{CURRENT}.content.activeCellIndex = {i}")
        self.command("notebook:run-cell")
        wait(self.done, f"cell {i}")

    def done(self):
        return self.browser.run("return window.done")

    def outputs(self):
        """Return the outputs of every cell, of which none may be an error."""
        found = self.browser.run(OUTPUTS)
        for output in (each for outputs in found for each in outputs):
            assert output["output_type"] != "error", "\n".join(output["traceback"])
        return found

    def place(self, selector):
        """Bring an element into view, and return where it is: left, top, width, height."""
        found = wait(lambda: self.browser.driver.execute_script(PLACE, selector), selector)
        time.sleep(0.3)  # the notebook scrolls, and then lays out what came into view
        return self.browser.driver.execute_script(PLACE, selector) or found

    def shot(self, name):
        """Keep a picture for people to look at, where they ask for it: JFNE_SHOTS=folder."""
        if os.environ.get("JFNE_SHOTS"):
            Path(os.environ["JFNE_SHOTS"]).mkdir(parents=True, exist_ok=True)
            self.browser.driver.save_screenshot(f"{os.environ['JFNE_SHOTS']}/{name}.png")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A JupyterLab that knows nothing of the user's settings, and asks nothing of the network: folder, address, log."""
    if importlib.util.find_spec("jupyterlab") is None:
        pytest.skip("needs JupyterLab: pip install -e .[browser]")
    home = tmp_path_factory.mktemp("lab")
    folders = {name: home / name for name in ("config", "data", "runtime", "ipython", "notebooks")}
    for folder in folders.values():
        folder.mkdir()
    settings = folders["config"] / "lab/user-settings/@jupyterlab/apputils-extension"
    settings.mkdir(parents=True)
    news = {"fetchNews": "false", "checkForUpdates": False}
    (settings / "notification.jupyterlab-settings").write_text(json.dumps(news))
    variables = {
        "JUPYTER_CONFIG_DIR": folders["config"],
        "JUPYTER_DATA_DIR": folders["data"],
        "JUPYTER_RUNTIME_DIR": folders["runtime"],
        "IPYTHONDIR": folders["ipython"],
        "PYTHONPATH": Path(__file__).parents[2],
    }
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = [
        "--no-browser",
        "--allow-root",
        "--expose-app-in-browser",
        "--ip=127.0.0.1",
        f"--port={port}",
        "--ServerApp.port_retries=0",
        "--IdentityProvider.token=",
        "--LabApp.extension_manager=readonly",
        f"--ServerApp.root_dir={folders['notebooks']}",
    ]
    environment = {**os.environ, **{name: str(folder) for name, folder in variables.items()}}
    environment.pop("MPLBACKEND", None)  # a kernel's own, which shows pictures
    log = home / "server.log"
    with log.open("w") as file:
        process = subprocess.Popen(
            [sys.executable, "-m", "jupyterlab", *options],
            env=environment,
            stdout=file,
            stderr=subprocess.STDOUT,
        )

    def answers():
        assert process.poll() is None, f"JupyterLab did not start:\n{log.read_text()[-3000:]}"
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", port)) == 0

    try:
        wait(answers, "JupyterLab to start")
        yield folders["notebooks"], f"http://127.0.0.1:{port}", log
    finally:
        process.terminate()  # its kernels go with it
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


@pytest.fixture
def lab(browser, server):
    """JupyterLab in the browser; where a test fails, pytest shows what the server said meanwhile."""
    folder, url, log = server
    before = len(log.read_text())
    yield Lab(browser, folder, url)
    browser.show("about:blank")  # a page left open would say that it has lost its server
    browser.errors()
    print(log.read_text()[before:][-3000:])


def watched(lab, seconds=90):
    """Run all cells; return what was seen of bars meanwhile, with and without ipywidgets."""
    lab.command("notebook:run-all-cells")
    seen = {"slow.nc": [], "slower.nc": []}
    end = time.monotonic() + seconds
    while not lab.done():
        assert time.monotonic() < end, f"cells ran for {seconds} s"
        for text in lab.browser.run(SEEN):
            if found := re.search(r"writing\s+(slow(?:er)?\.nc):\s+(\d+)%", text):
                if not seen[found[1]]:
                    lab.shot(f"bar-{found[1]}")
                seen[found[1]].append(int(found[2]))
        time.sleep(0.1)
    return seen


def test_a_notebook_in_jupyterlab(lab, browser):
    lab.open("cards.ipynb", CELLS)
    seen = watched(lab)
    for name, percents in seen.items():
        assert percents, f"no bar was seen while {name} was written"
        assert percents == sorted(percents)
        assert any(0 < percent < 100 for percent in percents)
    outputs = lab.outputs()
    assert "writing" not in json.dumps(outputs)  # of bars, nothing is kept in the notebook
    assert "image/png" in outputs[4][0]["data"]
    said = [each["text"] for output in outputs for each in output if each.get("name") == "stderr"]
    assert said == []
    assert (lab.folder / "slower.nc").stat().st_size > 1000
    assert not any("writing" in text for text in browser.run(SEEN)), "a bar was left behind"

    left, _, width, height = lab.place(".jfne")
    assert 500 < width <= 1280 - left
    assert 200 < height < 700
    cards = browser.run("return [...document.querySelectorAll('.jfne')].map(e => e.innerText)")
    assert len(cards) == 2
    for words in ("jaxfne_xr: traces", "no field yet", "4 units", "dt 0.1 ms", "plot.traces()"):
        assert words in cards[0]
    for words in ("LineSource", "phi = I", "0.3 S/m"):
        assert words in cards[1]
    for theme, is_dark in {"JupyterLab Light": False, "JupyterLab Dark": True}.items():
        lab.command("apputils:change-theme", {"theme": theme})
        wait(lab.done, theme)
        wait(lambda is_dark=is_dark: browser.is_dark() == is_dark, f"a card as in {theme}", 10)
        lab.place(".jfne")
        lab.shot(theme)
        assert browser.violations(".jfne") == []
    lab.command("apputils:change-theme", {"theme": "JupyterLab Light"})
    wait(lab.done, "the light theme")
    assert ours(browser.errors()) == []


def blocks():
    """Return the cell of the page on long data that makes them, and all that is not run where the page is built."""
    data, *_ = re.findall(r"^```\{code-cell\} python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)
    return data, re.findall(r"^```python\n(.*?)^```", PAGE, re.DOTALL | re.MULTILINE)


def test_ten_minutes_are_panned(lab, browser):
    for package in ("hvplot", "tsdownsample", "ipywidgets"):
        pytest.importorskip(package)
    from selenium.webdriver import ActionChains
    from selenium.webdriver.common.actions.wheel_input import ScrollOrigin

    data, cells = blocks()
    lab.open("long.ipynb", [f'{data}\nlfp.jfne.to_netcdf("ten_minutes.nc");', *cells])
    for i, cell in enumerate([data, *cells]):
        lab.run_cell(i)
        if "extension" in cell:  # else hvplot, when imported, asks a CDN for it
            wait(lambda: browser.run("return typeof Bokeh == 'object'"), "Bokeh's JavaScript")
    lab.outputs()

    left, top, width, height = lab.place("canvas")
    assert width > 500
    assert height > 300
    x, y = int(left + width / 2), int(top + height / 2)
    lab.shot("all")
    everything = browser.run(DRAWN)
    assert len(everything["lines"]) == 4
    space = {}
    exec(compile(data, "docs/interactive.md", "exec"), space)
    want = space["potential"].T
    for (_, sent), potential in zip(everything["lines"], want, strict=True):
        assert len(sent) < 2000
        assert np.isclose(max(sent), potential.max())  # no burst is lost
        assert np.isclose(min(sent), potential.min())

    wheel = ScrollOrigin.from_viewport(x, int(top + height - 25))  # over the time axis
    near = everything
    for _ in range(12):  # a turn is lost while the picture is not yet connected to its kernel
        ActionChains(browser.driver).scroll_from_origin(wheel, 0, -300).perform()
        near = drawn_again(browser, near)
        if near["x"][1] - near["x"][0] < 60_000:
            break
    lab.shot("near")
    assert near["x"][1] - near["x"][0] < 60_000
    assert in_view(near), near["x"]
    density = [density_of(d) for d in (everything, near)]
    assert density[1] > 10 * density[0]
    assert near["y"] == everything["y"]  # in time alone

    drag = ActionChains(browser.driver)
    pointer = drag.w3c_actions.pointer_action
    pointer.move_to_location(x, y).pointer_down()
    pointer.move_to_location(x - 60, y).move_to_location(x - 150, y).pointer_up()
    drag.perform()
    later = drawn_again(browser, near, 10)
    assert later["x"][0] > near["x"][0]
    assert in_view(later), later["x"]
    lab.shot("later")

    lab.place(".noUi-handle")
    handle = browser.run("return document.querySelector('.noUi-handle')")
    pictures = "return [...document.querySelectorAll('.jupyter-widgets img')].map(i => i.src)"
    before = wait(lambda: browser.run(pictures), "the first window of the slider", 10)
    ActionChains(browser.driver).drag_and_drop_by_offset(handle, 40, 0).perform()
    wait(lambda: browser.run(pictures) not in ([], before), "another window of the slider", 10)
    lab.shot("slider")
    start = browser.run("return document.querySelector('.widget-readout').innerText")
    assert 0 < int(start) < 597
    lab.outputs()
    assert ours(browser.errors()) == []


def density_of(drawn):
    """Return how many samples there are to a ms of what is in view."""
    (start, end), (time, _) = drawn["x"], drawn["lines"][0]
    return sum(start <= t <= end for t in time) / (end - start)


def in_view(drawn):
    """Whether what has been sent is what is in view, and no more."""
    start, end = drawn["x"]
    margin = 0.05 * (end - start)
    return all(
        abs(time[0] - start) <= margin and abs(time[-1] - end) <= margin
        for time, _ in drawn["lines"]
    )


def drawn_again(browser, before, seconds=1):
    """Return what is drawn, as soon as it is all of another view, or after some time."""
    end = time.monotonic() + seconds
    while True:
        now = browser.run(DRAWN)
        if (now["x"] != before["x"] and in_view(now)) or time.monotonic() > end:
            return now
        time.sleep(0.1)
