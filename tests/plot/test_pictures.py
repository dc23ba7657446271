"""Every picture, compared with one that was looked at.

`python3 dev.py test tests/plot/test_pictures.py --write-baseline` rewrites them, to be looked at again.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.legend import Legend
from matplotlib.testing.compare import compare_images
from matplotlib.text import Text

BASELINE = Path(__file__).parent.parent / "baseline"
#: Root of the mean square of differences, of 255. A missing curve makes more than 3, matplotlib 3.9 in place of 3.11
#: and another FreeType less than 1; but images, which it resamples otherwise, 10.
TOLERANCE, IMAGES = 2.0, {"raster_image": 20.0}
NAMES = [
    "traces",
    "traces_envelope",
    "traces_facets",
    "raster",
    "raster_image",
    "lfp",
    "csd",
    "csd_uneven",
    "spectrum",
    "spectrogram",
    "summary",
    "probe",
    "morphology",
    "topomap",
]


def figure_of(result: Any) -> Any:
    """Return the figure of what a picture returned, without what depends on fonts: text, and where it leaves room."""
    figure = np.ravel(np.asarray(result, object))[0].figure
    figure.set_layout_engine("none")
    figure.canvas.draw()  # makes all ticks
    for text in figure.findobj(lambda artist: isinstance(artist, (Text, Legend))):
        text.set_visible(False)
    return figure


def difference(figure: Any, name: str, folder: Path) -> str | None:
    """Return what `compare_images` says, None where the picture is as it was."""
    made = folder / f"{name}.png"
    figure.savefig(made, dpi=60)
    return compare_images(str(BASELINE / f"{name}.png"), str(made), IMAGES.get(name, TOLERANCE))


@pytest.mark.parametrize("name", NAMES)
def test_it_is_as_it_was(
    name: str,
    pictures: dict[str, Callable[[], Any]],
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    if name == "topomap":
        pytest.importorskip("mne")
    figure = figure_of(pictures[name]())
    if request.config.getoption("--write-baseline"):
        figure.savefig(BASELINE / f"{name}.png", dpi=60, metadata={"Software": None})
        return
    said = difference(figure, name, tmp_path)
    assert said is None, said


def test_there_is_a_picture_of_each(pictures):
    assert list(pictures) == NAMES
    assert {path.stem for path in BASELINE.glob("*.png")} == set(NAMES)
    assert all(path.stat().st_size < 60_000 for path in BASELINE.glob("*.png"))


@pytest.mark.parametrize("name", ["traces", "lfp", "spectrum", "raster"])
def test_a_missing_curve_would_be_seen(
    name: str, pictures: dict[str, Callable[[], Any]], tmp_path: Path
) -> None:
    figure = figure_of(pictures[name]())
    lines = [line for line in figure.axes[0].lines if len(line.get_xdata()) > 50]
    lines[len(lines) // 2].remove()
    assert difference(figure, name, tmp_path) is not None


def test_what_is_drawn_in_a_dark_theme_can_be_seen(signals):
    with plt.style.context("dark_background"):
        ax = signals.jfne.plot.traces(by=None)
        assert {line.get_color() for line in ax.lines} == {"white"}
        assert signals.jfne.plot.raster(by=None).lines[0].get_color() == "white"
