"""What a bar costs: a loop over blocks with it and without, and one short call."""

import time

import numpy as np

from jaxfne_xr.core import progress


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
