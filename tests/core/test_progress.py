"""Bars: where somebody watches, after two seconds, gone at the end; nothing anywhere else."""

import os
import re
import subprocess
import sys
from contextlib import contextmanager

import dask.array
import numpy as np
import pytest

import jaxfne_xr as jfx
from jaxfne_xr.core import dispatch as _dispatch
from jaxfne_xr.core import progress
from jaxfne_xr.io import netcdf as io

pty = pytest.importorskip("pty")  # not on Windows

SCRIPT = """
import time
import jaxfne_xr as jfx
from jaxfne_xr.core import dispatch as _dispatch, progress
from jaxfne_xr.io import netcdf as io
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


@pytest.mark.slow
def test_tasks_of_dask_are_counted():
    text = in_terminal(DASK)
    assert re.search(r"writing: +\d+%.* [3-8]/\d", text)


@pytest.mark.slow
def test_an_interruption_wipes_the_bar():
    text = in_terminal(FAILS)
    assert "looping" in text
    last = re.sub(r"\x1b\[\w", "", text).strip().splitlines()[-1]
    assert last.rpartition("\r")[2].strip() == "done"


@pytest.mark.slow
def test_what_is_short_shows_nothing():
    assert in_terminal(LOOP + CALL + DASK, delay=60).strip() == "done"


@pytest.mark.slow
def test_nothing_outside_a_terminal():
    code = SCRIPT.format(body=LOOP + CALL + DASK, delay=0.0)
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


def several(ds):
    return jfx.concat([ds, ds], "trial")


#: What may take over two seconds of large data, and of which stage.
LONG = {
    "to_signals": ("traces", lambda ds, probe: ds.jfne.to_signals()),
    "transmembrane_currents": ("traces", lambda ds, probe: ds.jfne.transmembrane_currents()),
    "lfp": ("currents", lambda ds, probe: ds.jfne.lfp(probe)),
    "lfp by layer": ("currents", lambda ds, probe: ds.jfne.lfp(probe, by="layer")),
    "lfp of voltages": ("traces", lambda ds, probe: ds.jfne.lfp(probe)),
    "dipole_moment": ("currents", lambda ds, probe: ds.jfne.dipole_moment()),
    "eeg": ("dipoles", lambda ds, probe: ds.jfne.move_to(x=0, y=0, z="78 mm").jfne.eeg(CAP)),
    "ground_truth_csd": (
        "currents",
        lambda ds, probe: ds.jfne.ground_truth_csd(np.arange(-50, 500, 100)),
    ),
    "lfp_proxy": ("signals", lambda ds, probe: ds.jfne.lfp_proxy(probe)),
    "csd_proxy": ("lfp proxy", lambda ds, probe: ds.jfne.csd_proxy()),
    "standard": ("lfp", lambda ds, probe: ds.jfne.csd("standard")),
    "delta": ("lfp", lambda ds, probe: ds.jfne.csd("delta", radius=100)),
    "kernel": ("lfp", lambda ds, probe: ds.jfne.csd("kernel")),
    "psd": ("lfp", lambda ds, probe: ds.jfne.psd()),
    "coherence": ("lfp", lambda ds, probe: ds.jfne.coherence(ds)),
    "summary": ("signals", lambda ds, probe: ds.jfne.summary(by="layer")),
    "synaptic_source": ("signals", lambda ds, probe: ds.jfne.synaptic_source()),
    "mean_square_loss": ("lfp", lambda ds, probe: ds.jfne.mean_square_loss(ds)),
    "concat": ("lfp", lambda ds, probe: several(ds)),
}
CAP = jfx.probe_at([[0, 0, 90], [0, 90, 0]], units="mm", name=["Cz", "Fpz"], dim="channel")


@pytest.fixture
def shown(monkeypatch):
    """The names of the bars that are due at once, wherever somebody watches."""
    names = []
    monkeypatch.setattr(progress, "_watched", lambda: True)
    monkeypatch.setattr(progress, "DELAY", 0.0)
    monkeypatch.setattr(progress._Bar, "show", lambda bar: names.append(bar.what))
    monkeypatch.setattr(progress._Bar, "close", lambda bar: names.append(bar.what))
    return names


@pytest.mark.parametrize("name", LONG)
def test_what_may_take_long_shows_it(stages, shown, monkeypatch, name):
    stage, call = LONG[name]
    least = min(v.nbytes for v in stages[stage].data_vars.values() if "time" in v.dims)
    monkeypatch.setattr(_dispatch, "SHOWN_BYTES", least // 2)  # not what is done with positions
    call(stages[stage], stages["probe"])
    assert {*shown} - {"lead field", "kernel CSD: cross-validation"}


def test_reading_is_shown_from_its_start(stages, shown, tmp_path, monkeypatch):
    """The checks of `open` are the first to read the values."""
    path = stages["signals"].jfne.to_netcdf(tmp_path / "run.nc")
    assert "writing run.nc" in shown
    begun, check = [], io.validate

    @contextmanager
    def working(what):
        begun.append(what)
        yield

    def looking(ds):
        assert begun == ["reading run.nc"]
        return check(ds)

    monkeypatch.setattr(io, "working", working)
    monkeypatch.setattr(io, "validate", looking)
    jfx.open(path)
    assert begun == ["reading run.nc"]
    begun.clear()
    monkeypatch.setattr(io, "validate", check)
    jfx.open(path, chunks={}).close()
    assert begun == []


STARTING = """
import concurrent.futures.thread, sys, threading
import dask.array
import numpy as np
from jaxfne_xr.core import progress

class Interrupted(threading.Thread):
    def start(self):
        super().start()
        raise KeyboardInterrupt  # as where Ctrl-C comes while it is being started

concurrent.futures.thread.threading.Thread = Interrupted
with progress.interruptible():
    dask.array.ones((4, 4), chunks=1).sum().compute()
"""


@pytest.mark.slow
def test_ctrl_c_while_a_thread_starts_lets_python_end():
    command = [sys.executable, "-c", STARTING]
    done = subprocess.run(command, capture_output=True, timeout=60, check=False)
    assert b"KeyboardInterrupt" in done.stderr
    assert done.returncode != 0


def test_dask_goes_on_after_an_interruption():
    data = dask.array.ones((4, 4), chunks=1)
    assert data.sum().compute() == 16
    with pytest.raises(KeyboardInterrupt), progress.interruptible():
        raise KeyboardInterrupt
    assert data.sum().compute() == 16
