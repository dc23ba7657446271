"""A bar for what takes longer than two seconds, where somebody is there to see it.

With tqdm installed, in a terminal or a notebook; else nothing, without a word. tqdm is imported when the first bar is
due. A bar goes away when its work ends, in whichever way it does.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")

#: What takes less shows nothing, s.
DELAY = 2.0
#: How often the time of work that cannot be counted is shown anew, s.
TICK = 0.5


def progress(items: Iterable[T], what: str) -> Iterable[T]:
    """Return `items` to loop over, with a bar named `what` once that takes over two seconds.

    Where nobody watches, they come back as they are.
    """
    return _counted(items, what) if _watched() else items


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show that work named `what` goes on, once it takes over two seconds: its time, and dask's tasks if any.

    Seen or not, it can be interrupted.
    To be used in a ``with``: as a decorator it would put a frame between a warning and the user's line.
    """
    if not _watched():
        with interruptible():
            yield
        return
    bar, done = _Bar(what), threading.Event()
    ticker = threading.Thread(target=bar.tick, args=(done,), daemon=True)
    ticker.start()
    try:
        with _dask_tasks(bar), interruptible():
            yield
    finally:
        done.set()
        ticker.join()
        bar.close()


@contextmanager
def interruptible() -> Iterator[None]:
    """Let go of dask's threads where Ctrl-C comes meanwhile.

    One that is just being started is known to nobody afterwards: it would wait for work for ever, and Python for it.
    """
    try:
        yield
    except KeyboardInterrupt:
        threaded: Any = sys.modules.get("dask.threaded")
        pool = getattr(threaded, "default_pool", None)
        if pool is not None:
            threaded.default_pool = None  # the next computation makes another
            pool.shutdown(wait=False, cancel_futures=True)
        raise


def _counted(items: Iterable[T], what: str) -> Iterator[T]:
    total = len(items) if hasattr(items, "__len__") else None  # type: ignore[arg-type]
    bar, start = _Bar(what, total), time.monotonic()
    try:
        for item in items:
            yield item
            bar.add()
            if time.monotonic() - start > DELAY:
                bar.show()
    finally:
        bar.close()


class _Bar:
    """A count, and the bar that shows it once it is due."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total, self.count = what, total, 0
        self.start = time.time()
        self.shown: Any = None
        self.place: Any = None

    def add(self) -> None:
        self.count += 1

    def show(self) -> None:
        """Make the bar, or bring it up to date."""
        if self.shown is None:
            uncounted = {} if self.total else {"bar_format": "{desc}: {elapsed}"}
            options = {"desc": self.what, "total": self.total, "leave": False, **uncounted}
            self.shown, self.place = _drawn(options)
            self.shown.start_t = self.shown.last_print_t = self.start
        elif self.total and self.shown.total != self.total:  # dask has come to say how many
            self.shown.bar_format = None
            self.shown.reset(self.total)
            self.shown.start_t = self.shown.last_print_t = self.start
        self.shown.update(self.count - self.shown.n)
        if not self.total:
            self.shown.refresh()

    def tick(self, done: threading.Event) -> None:
        """Show the bar from when it is due, until the work is done."""
        if not done.wait(DELAY):
            self.show()
            while not done.wait(TICK):
                self.show()

    def close(self) -> None:
        if self.shown is not None:
            self.shown.total = None  # in a notebook, a bar that is not full would stay, in red
            self.shown.close()
        if self.place is not None:  # a saved notebook would show for ever how far it was at first
            self.place.update({"text/plain": ""}, raw=True)


@contextmanager
def _dask_tasks(bar: _Bar) -> Iterator[None]:
    """Count the tasks that dask does meanwhile in this process."""
    if "dask" not in sys.modules:
        yield
        return
    from dask.callbacks import Callback

    def begin(dsk: Any, state: Any) -> None:
        bar.total = (bar.total or 0) + sum(len(state[k]) for k in ("ready", "waiting"))

    def end(key: Any, result: Any, dsk: Any, state: Any, worker: Any) -> None:
        bar.add()

    with Callback(start_state=begin, posttask=end):
        yield


def _watched() -> bool:
    """Whether somebody would see a bar: in a terminal or a notebook, and if tqdm is there to draw it."""
    if threading.current_thread() is not threading.main_thread():  # one of many, as dask's are
        return False
    return _is_interactive() and _has_tqdm()


def _is_interactive() -> bool:
    return (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _drawn(options: dict[str, Any]) -> tuple[Any, Any]:
    """Return a bar of tqdm, and its place among a notebook's outputs if it is a widget there.

    In a notebook without ipywidgets, `tqdm.auto` would warn, and write in red.
    """
    from tqdm import tqdm

    if not _in_notebook():
        return tqdm(**options, delay=1e-6), None
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm(**options, delay=1e-6, file=sys.stdout), None
    from IPython.display import display
    from tqdm.notebook import tqdm as widget

    bar = widget(**options, display=False)
    return bar, display(bar.container, display_id=True)


@lru_cache(maxsize=1)
def _has_tqdm() -> bool:
    return importlib.util.find_spec("tqdm") is not None
