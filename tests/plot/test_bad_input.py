"""A sensible picture or a named error, whatever comes: never a traceback, or a warning, from inside matplotlib."""

from __future__ import annotations

from itertools import pairwise

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.text import Text

import jaxfne_xr as jfx
from jaxfne_xr.plot import _text

from .conftest import make_cell, make_eeg, make_field, make_lfp, make_signals

NAMES = [
    "a population with a name much too long for any axis",
    "מרכז הראייה",
    "القشرة البصرية",
    "錐体細胞第五層",
    "नमस्ते",
    "cost_{5$} per $^unit",
    "_hidden",
    "two\nlines\tand tabs",
    "",
    "\ud800 broken \x07",
    "🧠",
    r"\frac{x}",
]


def draws(made):
    """Draw what a picture returned, to the last pixel, and return all that is written in it."""
    figure = np.ravel(np.asarray(made, object))[0].figure
    figure.canvas.draw()
    return [text.get_text() for text in figure.findobj(Text) if text.get_visible()]


def density(lfp):
    return jfx.csd(lfp, "step")


CASES = {
    "traces": (make_signals, lambda ds: ds.jfne.plot.traces()),
    "raster": (make_signals, lambda ds: ds.jfne.plot.raster()),
    "spectrum": (make_signals, lambda ds: ds.jfne.plot.spectrum()),
    "spectrogram": (lambda: make_signals().isel(unit=0), lambda ds: ds.jfne.plot.spectrogram()),
    "summary": (make_signals, lambda ds: ds.jfne.plot.summary()),
    "lfp": (make_lfp, lambda ds: ds.jfne.plot.lfp()),
    "csd": (lambda: density(make_lfp()), lambda ds: ds.jfne.plot.csd()),
    "probe": (make_field, lambda ds: ds.jfne.plot.probe()),
    "morphology": (make_cell, lambda ds: ds.jfne.plot.morphology()),
    "topomap": (make_eeg, lambda ds: ds.jfne.plot.topomap()),
}


@pytest.mark.parametrize("name", CASES)
def test_an_empty_selection_is_said(name, refused):
    plt.close("all")
    make, draw = CASES[name]
    ds = make()
    for dim in {"time", "unit", "contact", "recording", "channel"} & set(ds.dims):
        with pytest.raises(jfx.JfneError):
            draw(ds.isel({dim: slice(0, 0)}))
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", ["traces", "raster", "lfp", "csd"])
def test_a_single_sample_can_be_seen(name):
    make, draw = CASES[name]
    ax = draw(make().isel(time=[7]))
    draws(ax)
    if name in ("traces", "lfp"):
        assert all(line.get_marker() == "." for line in ax.lines if len(line.get_xdata()) == 1)


@pytest.mark.parametrize("name", ["spectrum", "spectrogram", "summary"])
def test_a_single_sample_has_no_spectrum(name):
    make, draw = CASES[name]
    with pytest.raises(jfx.JfneError):
        draw(make().isel(time=[7]))


def only_nan(ds):
    """Return a Dataset whose variables are NaN, or no spikes."""
    blank = {
        n: (x.dims, np.full(x.shape, False if x.dtype.kind == "b" else np.nan), {"units": "mV"})
        for n, x in ds.data_vars.items()
        if x.dims != ("edge",)
    }
    return ds.assign(blank)


@pytest.mark.parametrize("name", [n for n in CASES if n not in ("summary", "morphology")])
def test_only_nan_is_said_in_the_picture(name):
    make, draw = CASES[name]
    said = draws(draw(only_nan(make())))
    assert {"no finite values", "no spikes", "no power"} & set(said), said


def test_a_summary_of_what_is_not_defined(signals):
    made = signals.isel(time=slice(0, 400)).jfne.summary()
    draws(only_nan(made).jfne.plot.summary())


def test_gaps_and_infinities_are_left_out(signals):
    v = signals.V_m.data.magnitude.copy()
    v[0, 100:200], v[1, 50], v[2] = np.nan, np.inf, np.nan
    ax = signals.assign(V_m=(signals.V_m.dims, v, {"units": "mV"})).jfne.plot.traces(by=None)
    draws(ax)
    assert len([line for line in ax.lines if len(line.get_xdata()) > 1000]) == 11
    for line in ax.lines[:2]:
        assert np.isnan(line.get_ydata()).any()
        assert np.nanmax(np.abs(line.get_ydata())) < 20


@pytest.mark.parametrize("value", [0.0, 5.0, 1e-30, 1e30])
@pytest.mark.slow
def test_a_constant_is_drawn(value, lfp):
    flat = lfp.assign(lfp=(lfp.lfp.dims, np.full(lfp.lfp.shape, value), {"units": "uV"}))
    signals = jfx.traces(np.full((2, 500), value), ("unit", "time"), dt_ms=1.0).jfne.to_signals()
    draws(flat.jfne.plot.lfp())
    draws(density(flat).jfne.plot.csd())
    draws(flat.isel(time=0).jfne.plot.probe())
    draws(signals.jfne.plot.traces())
    draws(signals.jfne.plot.raster())
    draws(signals.jfne.plot.spectrum())
    draws(signals.isel(unit=0).jfne.plot.spectrogram())
    draws(signals.jfne.summary(by=None).jfne.plot.summary())


def test_a_million_points_are_drawn_by_their_extremes_and_it_is_said():
    v = np.random.default_rng(0).normal(size=(2, 1_000_000)).astype(np.float32)
    v[1, 654_321] = 60.0
    ax = jfx.traces(v, ("unit", "time"), dt_ms=0.1).jfne.plot.traces()
    draws(ax)
    line = ax.lines[1]
    assert len(line.get_xdata()) < 5000
    assert line.get_xdata()[np.argmax(line.get_ydata())] == pytest.approx(65_432.1, abs=100)
    assert any("min-max envelope of" in text.get_text() for text in ax.texts)
    short = ax.figure.axes[0].get_xlim()
    np.testing.assert_allclose(short, [0, 99_999.9])


@pytest.mark.parametrize("name", ["lfp", "csd", "probe", "morphology", "topomap"])
def test_no_positions_is_said_with_what_to_type(name, refused):
    make, draw = CASES[name]
    ds = make()
    ds = ds.drop_vars([c for c in ds.coords if c not in ds.dims and c != "unit"])
    with refused(jfx.DimensionError, "assign_coords"):
        draw(ds)
    assert not plt.get_fignums()


@pytest.mark.parametrize("name", ["lfp", "csd", "probe", "morphology", "topomap"])
def test_what_is_nowhere_is_counted(name, refused):
    make, draw = CASES[name]
    ds = make()
    dim = next(d for d in ("contact", "channel", "recording") if d in ds.dims)
    z = np.where(np.arange(ds.sizes[dim]) == 3, np.nan, ds.z.values)
    some = ds.assign_coords(z=(dim, z, ds.z.attrs))
    with refused(jfx.NonFiniteError, f"1 of {len(z)}", f"ds.isel({dim}=np.isfinite("):
        draw(some)
    draws(draw(some.isel({dim: np.isfinite(some.z.values)})))


@pytest.mark.parametrize("name", ["traces", "lfp", "csd"])
def test_a_time_with_gaps_is_refused(name, refused):
    make, draw = CASES[name]
    ds = make()
    time = np.where(np.arange(ds.sizes["time"]) == 5, np.nan, ds.time.values)
    with refused(jfx.NonFiniteError, f"1 of {len(time)}"):
        draw(ds.assign_coords(time=("time", time, ds.time.attrs)))


@pytest.mark.parametrize("kind", [complex, str, "timedelta64[ns]"])
def test_what_is_no_number_is_refused(kind, refused, signals, lfp):
    odd = signals.assign(odd=signals.spikes.astype(kind), spikes=signals.spikes.astype(kind))
    one, density = odd.isel(unit=0), lfp.assign(odd=lfp.lfp.astype(bool).astype(kind))
    for draw in (
        lambda: odd.jfne.plot.traces("odd"),
        odd.jfne.plot.raster,
        lambda: odd.jfne.plot.spectrum("odd"),
        lambda: one.jfne.plot.spectrogram("odd"),
        lambda: density.jfne.plot.lfp("odd"),
        lambda: density.jfne.plot.csd("odd"),
    ):
        with refused(jfx.DataError, "real numbers"):
            draw()


def test_spikes_that_are_not_known_are_not_drawn(signals):
    some = signals.spikes.values.astype(float)
    some[3] = np.nan
    ds = signals.assign(spikes=(signals.spikes.dims, some))
    marks = sum(len(line.get_xdata()) // 3 for line in ds.jfne.plot.raster().lines)
    assert marks == np.nansum(some)
    ax = ds.assign(spikes=ds.spikes * np.nan).jfne.plot.raster()
    assert "nothing observed" in draws(ax)


def test_a_constant_field_has_no_contours():
    flat = make_eeg().assign(eeg=("channel", np.full(25, 3.0), {"units": "uV"}))
    ax = flat.jfne.plot.topomap()
    draws(ax)
    assert all(len(c.get_paths()) == 0 for c in ax.collections if "Contour" in type(c).__name__)


def test_lines_that_reach_far_are_not_cut_off(lfp):
    for one in (lfp.isel(contact=[3]), lfp):
        for scale in (None, "5 uV"):
            ax = one.jfne.plot.lfp(scale=scale)
            drawn = np.concatenate([line.get_ydata() for line in ax.lines if line.get_clip_on()])
            assert ax.get_ylim()[0] <= drawn.min() <= drawn.max() <= ax.get_ylim()[1]


def test_axes_in_use_are_taken_as_they_are(signals, lfp):
    """On logarithmic axes, and on axes that share theirs, as on separate ones."""
    for draw in (signals.jfne.plot.traces, signals.jfne.plot.raster, lfp.jfne.plot.lfp):
        ax = plt.figure().add_subplot(xscale="log", yscale="log")
        assert draws(draw(ax=ax))
        assert ax.get_yscale() == "linear"
        _, shared = plt.subplots(1, 2, sharex=True, sharey=True)
        for one in shared:
            draws(draw(ax=one))


def test_two_contacts_at_one_depth(refused, lfp):
    two = lfp.assign_coords(z=("contact", np.repeat(100.0 * np.arange(8), 2), {"units": "um"}))
    ax = two.jfne.plot.lfp()
    assert [t.get_text() for t in ax.get_yticklabels()][:3] == ["700", "700", "600"]
    by_hand = density(lfp).assign_coords(z=two.z)
    with refused(jfx.DimensionError, "two contacts at the same depth"):
        by_hand.jfne.plot.csd()


@pytest.mark.slow
def test_groups_of_one_and_of_many_and_more_groups_than_colours(signals):
    for labels in (["a"] * 11 + ["b"], list("abcdefghijkl"), ["a"] * 12, [None] * 6 + ["a"] * 6):
        ds = signals.assign_coords(population=("unit", np.array(labels, object)))
        draws(ds.jfne.plot.traces())
        draws(ds.jfne.plot.raster())
        draws(ds.jfne.plot.spectrum())
        draws(ds.jfne.plot.raster(col="population"))
        draws(ds.jfne.plot.traces(row="population"))
        if None not in labels:
            draws(ds.jfne.plot.summary())
        plt.close("all")


def test_of_very_many_groups_some_are_named():
    """All of them would leave no room for the picture, which matplotlib warns of."""
    labels = np.array([f"group number {k}" for k in range(150)])
    ds = make_signals(150, 500).assign_coords(population=("unit", labels))
    for draw in (ds.jfne.plot.traces, ds.jfne.plot.spectrum):
        legend = draw().get_legend()
        draws(legend.axes)
        assert [t.get_text() for t in legend.get_texts()] == list(labels[::10])
        assert legend.get_title().get_text() == "population, 1 in 10"
    ax = ds.jfne.plot.raster()
    draws(ax)
    boxes = [text.get_window_extent() for text in ax.get_yticklabels()]
    assert 5 < len(boxes) < 20
    assert not any(a.overlaps(b) for a, b in pairwise(boxes))


@pytest.mark.slow
def test_any_name_is_written_without_a_warning(signals, lfp):
    names = np.array(NAMES, object)
    ds = signals.assign_coords(population=("unit", names))
    said = [
        *draws(ds.jfne.plot.traces()),
        *draws(ds.jfne.plot.raster()),
        *draws(ds.jfne.plot.spectrum()),
        *draws(ds.jfne.plot.traces(col="population", order="population")),
        *draws(ds.isel(unit=slice(0, 8)).jfne.plot.summary()),
        *draws(ds.swap_dims(unit="population").drop_vars("unit").jfne.plot.traces(by=None)),
    ]
    assert any(text.startswith("a population with") and text.endswith("…") for text in said)
    assert any("מרכז" in text for text in said)
    v = signals.V_m.drop_vars("population")
    v.attrs["long_name"] = "電位 $x^"
    odd = v.to_dataset().rename(unit="ニューロン")
    draws(odd.jfne.plot.traces())
    draws(odd.jfne.plot.spectrum())
    names = np.resize(names, 25)
    draws(make_eeg().assign_coords(name=("channel", names)).jfne.plot.topomap(names=True))
    cell = make_cell().assign_coords(part=("recording", names[:6]))
    draws(cell.jfne.plot.morphology(by="part"))


def test_a_character_that_no_font_has_is_a_box():
    letter = "\U0001f9e0"
    (made,), _ = _text.names([f"a{letter}"])
    assert made in (f"a{_text.MISSING}", f"a{letter}")
    assert _text.names(["µ and …"])[0] == ["µ and …"]


@pytest.mark.parametrize(
    ("draw", "error"),
    [
        (lambda s, f: s.jfne.plot.traces("nothing"), jfx.VariableError),
        (lambda s, f: xr.Dataset().jfne.plot.traces(), jfx.VariableError),
        (lambda s, f: s.jfne.plot.traces(by="nothing"), jfx.DimensionError),
        (lambda s, f: s.jfne.plot.traces(order="nothing"), jfx.DimensionError),
        (lambda s, f: s.jfne.plot.traces(row="nothing"), jfx.DimensionError),
        (lambda s, f: s.jfne.plot.traces(row="unit", ax=plt.figure().gca()), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.traces(ax=3), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.traces(ax=plt.figure().subplots(2)), jfx.ArgumentError),
        (
            lambda s, f: s.jfne.plot.traces(ax=plt.figure().add_subplot(projection="polar")),
            jfx.ArgumentError,
        ),
        (
            lambda s, f: f.jfne.plot.lfp(ax=plt.figure().add_subplot(projection="3d")),
            jfx.ArgumentError,
        ),
        (lambda s, f: jfx.plot.traces(s.V_m.variable), jfx.ArgumentError),
        (lambda s, f: jfx.plot.csd(np.zeros((3, 4))), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.traces(by=["population"]), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.raster(order=["z"]), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.raster(col=["population"]), jfx.ArgumentError),
        (
            lambda s, f: s.assign_coords(
                g=("unit", np.array([None, "a", 3] * 4, object))
            ).jfne.plot.traces(order="g"),
            jfx.DataError,
        ),
        (lambda s, f: s.rename(time="t").jfne.plot.traces(), jfx.VariableError),
        (lambda s, f: f.isel(contact=0).jfne.plot.lfp(), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.traces(scale=-1), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.traces(scale="1 nA"), jfx.UnitError),
        (lambda s, f: s.jfne.plot.traces(col="time"), jfx.DimensionError),
        (lambda s, f: s.jfne.plot.raster(col="time"), jfx.DimensionError),
        (lambda s, f: f.jfne.plot.probe("lfp", col="time"), jfx.ArgumentError),
        (lambda s, f: s.drop_vars("spikes").jfne.plot.raster(), jfx.VariableError),
        (lambda s, f: s.jfne.plot.raster(bin="1 s"), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.spectrogram(), jfx.DimensionError),
        (lambda s, f: s.isel(unit=0).jfne.plot.spectrogram(up_to=0), jfx.ArgumentError),
        (lambda s, f: s.isel(unit=0).jfne.plot.spectrogram(segment="9 s"), jfx.ArgumentError),
        (lambda s, f: s.drop_vars("z").jfne.plot.lfp("V_m"), jfx.DimensionError),
        (lambda s, f: f.expand_dims(trial=2).jfne.plot.lfp(), jfx.ArgumentError),
        (lambda s, f: density(f).expand_dims(trial=2).jfne.plot.csd(), jfx.ArgumentError),
        (lambda s, f: density(f).jfne.plot.csd(sink="green"), jfx.ArgumentError),
        (lambda s, f: density(f).jfne.plot.csd(limit=0), jfx.ArgumentError),
        (lambda s, f: density(f).jfne.plot.csd(sink=["red"]), jfx.ArgumentError),
        (lambda s, f: s.isel(unit=0).jfne.plot.spectrogram(overlap="0.5"), jfx.ArgumentError),
        (lambda s, f: f.isel(time=0).jfne.plot.probe(cell=3), jfx.ArgumentError),
        (lambda s, f: f.isel(time=0).jfne.plot.probe(cell=f), jfx.ArgumentError),
        (lambda s, f: f.isel(time=0).jfne.plot.probe(col="contact"), jfx.DimensionError),
        (lambda s, f: make_eeg().jfne.plot.topomap(centre=(1, 2)), jfx.ArgumentError),
        (lambda s, f: make_eeg().isel(channel=[1] * 5).jfne.plot.topomap(), jfx.ArgumentError),
        (lambda s, f: s.jfne.summary().jfne.plot.summary(3), jfx.ArgumentError),
        (lambda s, f: s.jfne.summary().jfne.plot.summary([]), jfx.VariableError),
        (lambda s, f: f.jfne.plot.probe("lfp"), jfx.VariableError),
        (lambda s, f: f.jfne.plot.probe(plane="zz"), jfx.ArgumentError),
        (lambda s, f: s.jfne.plot.probe(), jfx.DimensionError),
        (lambda s, f: f.jfne.plot.morphology(), jfx.DimensionError),
        (lambda s, f: f.jfne.plot.topomap(), jfx.DimensionError),
        (lambda s, f: make_eeg().isel(channel=[0, 1]).jfne.plot.topomap(), jfx.ArgumentError),
        (lambda s, f: f.jfne.plot.summary(), jfx.VariableError),
        (lambda s, f: s.jfne.summary().jfne.plot.summary("nothing"), jfx.VariableError),
        (lambda s, f: s.jfne.summary().jfne.plot.summary(ax=[1, 2]), jfx.ArgumentError),
        (
            lambda s, f: s.jfne.summary().expand_dims(trial=2).jfne.plot.summary(),
            jfx.DimensionError,
        ),
    ],
)
def test_what_cannot_be_drawn_is_said(draw, error, refused, signals, lfp):
    with refused(error):
        draw(signals, lfp)


def test_a_data_array_is_drawn_as_its_dataset(signals, lfp):
    pairs = [
        (jfx.plot.traces(signals.V_m), signals.jfne.plot.traces("V_m")),
        (lfp.lfp.jfne.plot.lfp(), lfp.jfne.plot.lfp()),
        (signals.spikes.jfne.plot.raster(), signals.jfne.plot.raster()),
    ]
    for one, whole in pairs:
        assert one.get_ylabel() == whole.get_ylabel()
        assert len(one.get_children()) == len(whole.get_children())


def test_traced_data_are_refused(refused):
    import jax

    def draw(v):
        jfx.traces(v, ("unit", "time"), dt_ms=0.1).jfne.plot.traces()
        return v.sum()

    with refused(jfx.DataError, "outside jit and grad"):
        jax.grad(draw)(np.zeros((2, 5), np.float32))
