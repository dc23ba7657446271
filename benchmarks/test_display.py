"""What a card costs: a notebook shows one after every cell."""

import time

import dask
import dask.array
import pytest

import jaxfne_xr as jfx


def refuse(*args, **options):
    raise AssertionError("the card computed dask data")


@pytest.mark.parametrize("shape", [(40_000, 1000), (1_000_000, 40)], ids=str)
def test_a_card_of_160_megabytes_on_dask(shape):
    data = dask.array.zeros(shape, chunks=(shape[0] // 40, shape[1]), dtype="float32")
    ds = jfx.traces(data, ("time", "unit"), dt_ms=0.1).jfne.to_signals()
    best = {"HTML": 1e9, "text": 1e9}
    with dask.config.set(scheduler=refuse):
        for _ in range(9):
            for name, show in (("HTML", ds.jfne._repr_html_), ("text", ds.jfne.__repr__)):
                start = time.perf_counter()
                show()
                best[name] = min(best[name], time.perf_counter() - start)
    print(
        f"\n{shape}: HTML {best['HTML'] * 1e3:.1f} ms, text {best['text'] * 1e3:.1f} ms; wanted 50"
    )
