"""Progress bars for work that takes longer than two seconds, in a terminal or a notebook.

They need tqdm; without it nothing is shown, and nothing is said. tqdm is imported when the first bar is shown. A bar
is removed when its work ends, whether it succeeded or not.
"""

from __future__ import annotations

import importlib.util
import sys
import threading
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from functools import lru_cache
from typing import Any, TypeVar

T = TypeVar("T")

#: Time until a bar is shown, s.
DELAY = 2.0
#: Interval at which the bar of work that cannot be counted is updated, s.
TICK = 0.5


def progress(items: Iterable[T], what: str) -> Iterable[T]:
    """Loop over `items` with a bar named `what`, shown after two seconds.

    Without a terminal or a notebook, `items` are returned as they are.
    """
    return _counted(items, what) if _watched() else items


@contextmanager
def working(what: str) -> Iterator[None]:
    """Show after two seconds that work named `what` goes on: its time, and the number of dask's tasks if any.

    Whether a bar is shown or not, the work can be interrupted. Use it in a ``with`` statement: as a decorator it would
    put a frame between a warning and the user's line.
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
    """Release dask's threads on Ctrl-C.

    A thread interrupted while it starts is registered nowhere: it would wait for work for ever, and Python for it.
    """
    try:
        yield
    except KeyboardInterrupt:
        threaded: Any = sys.modules.get("dask.threaded")
        pool = getattr(threaded, "default_pool", None)
        if pool is not None:
            threaded.default_pool = None  # dask makes another for the next computation
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
    """A count, and the bar that shows it after the delay."""

    def __init__(self, what: str, total: int | None = None) -> None:
        self.what, self.total, self.count = what, total, 0
        self.start = time.time()
        self.shown: Any = None  # tqdm's bar
        self.place: Any = None  # IPython's display handle

    def add(self) -> None:
        self.count += 1

    def show(self) -> None:
        """Make the bar, or update it."""
        if self.shown is None:
            # without a total only the time is shown
            uncounted = {} if self.total else {"bar_format": "{desc}: {elapsed}"}
            options = {"desc": self.what, "total": self.total, "leave": False, **uncounted}
            self.shown, self.place = _drawn(options)
            # count the time from the start of the work, not from the first display
            self.shown.start_t = self.shown.last_print_t = self.start
        elif self.total and self.shown.total != self.total:  # dask has started, and its tasks count
            self.shown.bar_format = None
            self.shown.reset(self.total)
            self.shown.start_t = self.shown.last_print_t = self.start
        self.shown.update(self.count - self.shown.n)
        if not self.total:
            self.shown.refresh()

    def tick(self, done: threading.Event) -> None:
        """Show the bar from the delay on until the work is done."""
        if not done.wait(DELAY):
            self.show()
            while not done.wait(TICK):
                self.show()

    def close(self) -> None:
        if self.shown is not None:
            self.shown.total = None  # a notebook would keep a bar that is not full, in red
            self.shown.close()
        if self.place is not None:  # a saved notebook would keep the text of the first update
            self.place.update({"text/plain": ""}, raw=True)


@contextmanager
def _dask_tasks(bar: _Bar) -> Iterator[None]:
    """Count the tasks that dask runs in this process meanwhile."""
    if "dask" not in sys.modules:
        yield
        return
    from dask.callbacks import Callback

    def begin(dsk: object, state: Mapping[str, Any]) -> None:
        bar.total = (bar.total or 0) + sum(len(state[k]) for k in ("ready", "waiting"))

    def end(key: object, result: object, dsk: object, state: object, worker: object) -> None:
        bar.add()

    with Callback(start_state=begin, posttask=end):
        yield


def _watched() -> bool:
    """Whether to show bars: in the main thread, in a terminal or a notebook, and if tqdm is installed."""
    if threading.current_thread() is not threading.main_thread():  # each of dask's would show one
        return False
    return _is_interactive() and _has_tqdm()


def _is_interactive() -> bool:
    return (sys.stderr is not None and sys.stderr.isatty()) or _in_notebook()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


def _drawn(options: dict[str, Any]) -> tuple[Any, Any]:
    """Return a bar of tqdm, and its display handle if it is a widget of a notebook.

    `tqdm.auto` is not used: in a notebook without ipywidgets it would warn, and write in red.
    """
    from tqdm import tqdm

    # with any delay above 0 tqdm draws nothing yet: the caller sets the start time first

    if not _in_notebook():
        return tqdm(**options, delay=1e-6), None
    if importlib.util.find_spec("ipywidgets") is None:
        return tqdm(**options, delay=1e-6, file=sys.stdout), None
    from IPython.display import display
    from tqdm.notebook import tqdm as widget

    bar = widget(**options, display=False)
    if bar.disable:  # by TQDM_DISABLE=1: there is no widget then
        return bar, None
    return bar, display(bar.container, display_id=True)


@lru_cache(maxsize=1)
def _has_tqdm() -> bool:
    return importlib.util.find_spec("tqdm") is not None
