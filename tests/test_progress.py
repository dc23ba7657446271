"""Bars: where somebody watches, after two seconds, gone at the end; nothing anywhere else."""

import os
import re
import subprocess
import sys
import time

import dask.array
import numpy as np
import pytest

from jaxfne_xr import progress

pty = pytest.importorskip("pty")  # not on Windows

SCRIPT = """
import time
from jaxfne_xr import progress
progress.DELAY, progress.TICK = {delay}, 0.05
{body}
print("done", flush=True)
"""

LOOP = """
for i in progress.progress(range(5), "looping"):
    time.sleep(0.1)
"""
CALL = """
with progress.working("calling"):
    time.sleep(0.6)
"""
DASK = """
import dask.array
def slow(x):
    time.sleep(0.1)
    return x
d = dask.array.zeros(8, chunks=1).map_blocks(slow, dtype=float)
with progress.working("writing"):
    d.compute(scheduler="synchronous")
"""
FAILS = """
try:
    with progress.working("failing"):
        for i in progress.progress(range(5), "looping"):
            time.sleep(0.1)
            if i == 3:
                raise KeyboardInterrupt
except KeyboardInterrupt:
    pass
"""


def in_terminal(body, delay=0.2, **variables):
    """Return what a script writes to a terminal of 80 columns."""
    main, side = pty.openpty()
    import fcntl
    import struct
    import termios

    fcntl.ioctl(side, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 80, 0, 0))
    code = SCRIPT.format(body=body, delay=delay)
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=side, stderr=side, env={**os.environ, **variables}
    )
    os.close(side)
    written = b""
    while True:
        try:
            part = os.read(main, 4096)
        except OSError:  # the other side is closed
            break
        if not part:
            break
        written += part
    os.close(main)
    assert process.wait() == 0, written.decode()
    return written.decode()


def test_a_loop_is_counted_once_it_takes_long():
    text = in_terminal(LOOP)
    assert re.search(r"looping: +\d+%.* [3-5]/5", text)
    assert text.rstrip().endswith("done")
    assert not re.search(r"looping[^\r]*\n", text)  # it is wiped, not left behind


def test_a_call_shows_its_time():
    assert re.search(r"calling: 00:0\d", in_terminal(CALL))


def test_tasks_of_dask_are_counted():
    text = in_terminal(DASK)
    assert re.search(r"writing: +\d+%.* [3-8]/\d", text)


def test_an_interruption_wipes_the_bar():
    text = in_terminal(FAILS)
    assert "looping" in text
    last = re.sub(r"\x1b\[\w", "", text).strip().splitlines()[-1]
    assert last.rpartition("\r")[2].strip() == "done"


@pytest.mark.parametrize("body", [LOOP, CALL, DASK], ids=["loop", "call", "dask"])
def test_what_is_short_shows_nothing(body):
    assert in_terminal(body, delay=60).strip() == "done"


def test_nothing_outside_a_terminal():
    for body in (LOOP, CALL, DASK):
        code = SCRIPT.format(body=body, delay=0.0)
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        assert done.stderr == b""
        assert done.stdout.strip() == b"done"


def test_without_tqdm_there_is_no_bar():
    hide = "import sys; sys.modules['tqdm'] = None\nprogress._has_tqdm = lambda: False\n"
    assert in_terminal(hide + LOOP + CALL).strip() == "done"


def test_a_missing_tqdm_is_seen(monkeypatch):
    progress._has_tqdm.cache_clear()
    monkeypatch.setattr(progress.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(progress, "_is_interactive", lambda: True)
    assert not progress._watched()
    progress._has_tqdm.cache_clear()


def test_a_notebook_is_interactive(monkeypatch):
    class IPython:
        @staticmethod
        def get_ipython():
            return type("Shell", (), {"kernel": object()})()

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    assert progress._is_interactive()


def notebook_bar(monkeypatch, total):
    """Return a bar that has been shown once in a notebook, two steps of its work done."""
    monkeypatch.setattr(progress, "_in_notebook", lambda: True)
    bar = progress._Bar("looping", total)
    bar.start -= 4.0
    bar.add()
    bar.add()
    bar.show()
    return bar


def test_a_bar_of_a_notebook_goes_away_before_it_is_full(monkeypatch):
    pytest.importorskip("ipywidgets")
    for total in (5, None):
        bar = notebook_bar(monkeypatch, total)
        container = bar.shown.container
        assert bar.shown.format_dict["elapsed"] > 3.9
        bar.close()
        assert container.comm is None  # the browser has been told to take it away
        assert container.layout.visibility == "hidden"


def test_a_bar_of_a_notebook_learns_how_much_there_is(monkeypatch):
    pytest.importorskip("ipywidgets")
    bar = notebook_bar(monkeypatch, None)
    bar.total = 5
    bar.show()
    _, drawn, words = bar.shown.container.children
    assert (drawn.value, drawn.max, drawn.layout.width) == (2, 5, None)
    assert "2/5" in words.value
    assert bar.shown.format_dict["elapsed"] > 3.9
    bar.close()


def test_a_notebook_without_ipywidgets_has_a_bar_of_text(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "ipywidgets", None)
    bar = notebook_bar(monkeypatch, 5)
    shown, said = capsys.readouterr()
    assert "looping:  40%" in shown
    assert "00:04<00:0" in shown  # at the speed since the start, not since it is shown
    assert said == ""  # a notebook shows what goes there in red
    bar.close()
    assert capsys.readouterr().out.strip() == ""


def test_items_come_back_as_they_are():
    items = [1, 2]
    assert progress.progress(items, "x") is items


def test_counted_items_are_the_same(monkeypatch):
    monkeypatch.setattr(progress, "_watched", lambda: True)
    assert list(progress.progress(range(5), "x")) == [0, 1, 2, 3, 4]
    assert list(progress.progress(iter("ab"), "x")) == ["a", "b"]


def test_errors_pass_through(monkeypatch):
    monkeypatch.setattr(progress, "_watched", lambda: True)
    with pytest.raises(ZeroDivisionError), progress.working("x"):
        raise ZeroDivisionError
    assert dask.array.zeros(3, chunks=1).sum().compute() == 0  # no callback is left behind


@pytest.mark.benchmark
def test_what_it_costs(monkeypatch):
    block = np.zeros(1 << 18, np.float32)  # 1 MB, the size of a block

    def loop(items):
        start = time.perf_counter()
        for _ in items:
            np.isfinite(block).all()
        return time.perf_counter() - start

    bare, unwatched, watched = [], [], []
    for _ in range(9):
        bare.append(loop(range(300)))
        unwatched.append(loop(progress.progress(range(300), "x")))
        with monkeypatch.context() as patch:
            patch.setattr(progress, "_watched", lambda: True)
            watched.append(loop(progress.progress(range(300), "x")))
    start = time.perf_counter()
    for _ in range(200):
        with progress.working("x"):
            pass
    call = (time.perf_counter() - start) / 200
    print(
        f"\na loop over blocks: {min(unwatched) / min(bare):.3f} times unwatched, "
        f"{min(watched) / min(bare):.3f} times watched; a call, unwatched: {call * 1e6:.1f} us"
    )
