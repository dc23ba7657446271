"""What pictures take and give: every kind of array, any order of dims, labels, facets, `ax=`; the methods."""

from __future__ import annotations

import inspect
import subprocess
import sys
from itertools import pairwise, permutations

import matplotlib.pyplot as plt
import numpy as np
import pytest
import xarray as xr
from matplotlib.axes import Axes
from matplotlib.colors import to_rgb

import jaxfne_xr as jfx
from jaxfne_xr import plot
from jaxfne_xr.core.units import factor, units_of

from .conftest import make_cell

PICTURES = [
    "traces", "raster", "lfp", "csd", "spectrum", "spectrogram", "summary", "probe", "morphology",
    "topomap",
]  # fmt: skip


def lines_of(ax):
    """Return the y values of what is drawn along time."""
    return [line.get_ydata() for line in ax.lines if len(line.get_xdata()) > 2]


@pytest.mark.parametrize("name", PICTURES)
def test_a_method_is_the_function_of_its_name(name, monkeypatch):
    function, method = getattr(plot, name), getattr(plot.Plot, name)
    given, expected = (
        list(inspect.signature(f).parameters.values())[1:] for f in (method, function)
    )
    assert [(p.name, p.kind, p.default) for p in given] == [
        (p.name, p.kind, p.default) for p in expected
    ]
    assert f"jaxfne_xr.plot.{name}" in method.__doc__
    ds = xr.Dataset()
    monkeypatch.setattr(inspect.getmodule(function), name, lambda *a, **k: (a, k))
    values = {p.name: object() for p in given}
    args, options = getattr(ds.jfne.plot, name)(**values)
    bound = inspect.signature(function).bind(*args, **options).arguments
    assert bound.pop("ds") is ds
    assert bound == values


def test_these_are_all_the_pictures():
    methods = [n for n, _ in inspect.getmembers(plot.Plot, inspect.isfunction) if n[0] != "_"]
    assert sorted(methods) == sorted(PICTURES)
    assert all(name in repr(xr.Dataset().jfne.plot) for name in PICTURES)


def test_without_matplotlib_the_error_names_the_extra():
    code = """
import sys
sys.modules["matplotlib"] = None
import numpy as np, jaxfne_xr as jfx
try:
    jfx.traces(np.zeros((2, 5)), ("unit", "time"), dt_ms=1.0).jfne.plot.traces()
except jfx.MissingDependencyError as error:
    print(error)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert 'pip install "jaxfne-xr[plot]"' in done.stdout


def test_without_mne_the_error_names_the_extra(monkeypatch, refused):
    monkeypatch.setitem(sys.modules, "mne.viz", None)
    place = np.random.default_rng(0).normal(size=(6, 3)) * 1e4
    ds = jfx.probe_at(place, dim="channel").assign(eeg=("channel", np.arange(6.0)))
    with refused(jfx.MissingDependencyError, "jaxfne-xr[mne]"):
        ds.jfne.plot.topomap()
    assert not plt.get_fignums()


@pytest.mark.parametrize("dims", list(permutations(("time", "unit", "trial"))), ids="-".join)
def test_any_kind_of_array_in_any_order_makes_the_same_picture(backend, dims):
    values = np.random.default_rng(0).normal(-50, 30, (9, 3, 2)).astype(np.float32)
    ordered = xr.DataArray(values, dims=("time", "unit", "trial"))
    signals = backend.by_hand(ordered.transpose(*dims).values, dims).jfne.to_signals()
    by_numpy = xr.Dataset({"v": ordered.assign_attrs(units="mV")}).jfne.to_signals(dt_ms=0.1)
    got, expected = (
        ds.transpose(..., "unit", "trial").jfne.plot.traces() for ds in (signals, by_numpy)
    )
    assert got.get_xlabel() == "time (ms)"
    assert got.get_ylabel() == "unit, trial"
    for a, b in zip(lines_of(got), lines_of(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-6)
    for ds in (signals, by_numpy):
        spikes = ds.transpose(..., "unit", "trial").jfne.plot.raster().lines[0]
        drawn = np.column_stack([spikes.get_xdata(), spikes.get_ydata()])
        assert len(drawn) == 3 * int(by_numpy.spikes.sum())
    spectra = [ds.isel(trial=0).jfne.plot.spectrum(segment="0.4 ms") for ds in (signals, by_numpy)]
    for a, b in zip(*map(lines_of, spectra), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-3)


@pytest.mark.slow
def test_csd_lfp_and_probe_take_any_kind_of_array(backend, lfp):
    by_hand = backend.by_hand(lfp.lfp.values, lfp.lfp.dims, "uV", "lfp", 0.5)
    ds = by_hand.assign_coords({a: lfp[a] for a in "xyz"})
    for one in (ds, ds.transpose("contact", "time")):
        ax = one.jfne.plot.lfp()
        assert ax.get_ylabel() == "z (µm)"
        assert ax.texts[0].get_text().endswith("µV")
        image = jfx.csd(one, "step").jfne.plot.csd().collections[0].get_array()
        expected = jfx.csd(lfp, "step").csd.values.T
        assert np.abs(image - expected).max() <= 1e-4 * np.abs(expected).max()
        colour = one.isel(time=30).jfne.plot.probe().collections[0].get_array()
        np.testing.assert_allclose(colour, lfp.lfp.values[30], rtol=1e-6)
        one.isel(contact=3, drop=True).jfne.plot.spectrogram()


# ------------------------------------------------------------------------------------------ what is drawn is right


def test_the_sink_is_of_the_colour_asked_for(lfp):
    density = jfx.csd(lfp, "step")
    for sink, channel in (("red", 0), ("blue", 2)):
        ax = density.jfne.plot.csd(sink=sink)
        mesh, bar = ax.collections[0], ax.figure.axes[1]
        low, high = mesh.get_clim()
        assert low == -high == pytest.approx(-np.abs(density.csd.values).max())
        assert np.argmax(to_rgb(mesh.to_rgba(low)[:3])) == channel
        assert {t.get_text() for t in bar.texts} == {"sink", "source"}
        places = {t.get_text(): t.get_position()[1] for t in bar.texts}
        assert places["sink"] < 0 < 1 < places["source"]
        assert bar.get_ylabel() == "current source density (µA/mm³)"


def test_the_limit_may_have_a_unit(lfp):
    ax = jfx.csd(lfp, "step").jfne.plot.csd(limit="2 nA/mm^3")
    np.testing.assert_allclose(ax.collections[0].get_clim(), (-2e-3, 2e-3))


def test_a_colour_bar_says_where_there_is_more_than_its_limit(lfp):
    density = jfx.csd(lfp, "step")
    largest = float(np.abs(density.csd.values).max())
    for limit, extend in ((None, "neither"), (largest, "neither"), (largest / 2, "both")):
        ax = density.jfne.plot.csd(limit=limit)
        assert ax.collections[0].colorbar.extend == extend


def test_cells_of_the_csd_end_half_way_between_uneven_contacts(lfp):
    some = lfp.isel(contact=[9, 0, 1, 4])
    mesh = jfx.csd(some, "step").jfne.plot.csd().collections[0]
    borders = mesh.get_coordinates()[:, 0, 1]
    np.testing.assert_allclose(borders, [-25, 25, 125, 325, 575])
    expected = jfx.csd(some, "step").csd.transpose("contact", "time").values[[1, 2, 3, 0]]
    np.testing.assert_allclose(mesh.get_array(), expected)
    times = mesh.get_coordinates()[0, :, 0]
    np.testing.assert_allclose(times[[0, 1, -1]], [-0.25, 0.25, 199.75])


def test_a_depth_that_is_called_so_rises_downwards(lfp):
    renamed = lfp.drop_vars(["x", "y", "z"]).assign_coords(
        depth=("contact", lfp.z.values, {"units": "um"})
    )
    density = jfx.csd(renamed, "step")
    for ax in (density.jfne.plot.csd(), renamed.jfne.plot.lfp(depth="depth")):
        assert ax.get_ylim()[0] > ax.get_ylim()[1]
        assert ax.get_ylabel() == "depth (µm)"
    current = xr.Dataset({"i_membrane": (("time", "recording"), [[-1.0, 1.0]], {"units": "nA"})})
    places = dict.fromkeys("xyz", ("recording", [50.0, 150.0], {"units": "um"}))
    current = current.assign_coords({**places, "time": ("time", [0.0], {"units": "ms"})})
    truth = jfx.ground_truth_csd(current, bins=[0, 100, 200], radius=500)
    ax = truth.jfne.plot.csd()
    assert np.diff(ax.get_ylim()) > 0
    assert ax.get_ylabel() == "position along z (µm)"  # which rises upwards, as depth would not


def test_the_rate_is_that_of_the_mean_row(signals):
    ax = signals.jfne.plot.raster(bin="20 ms")
    (above,) = ax.child_axes
    assert above.get_ylabel() == "rate (Hz)"
    for patch, group in zip(above.patches, "EI", strict=True):
        spikes = signals.spikes[signals.population.values == group]
        expected = spikes.values.reshape(len(spikes), -1, 200).sum(axis=(0, 2)) / len(spikes) / 0.02
        np.testing.assert_allclose(patch.get_data().values, expected)
        doubled = signals.assign(spikes=2 * signals.spikes.astype(int))
        with pytest.warns(UserWarning, match="Sums over sites or trials are exact"):
            twice = doubled.jfne.plot.raster(bin="20 ms")
        rate = twice.child_axes[0].patches["EI".index(group)].get_data().values
        np.testing.assert_allclose(rate, 2 * expected)
    assert not signals.jfne.plot.raster(rate=False).child_axes


def test_groups_stand_apart_in_their_colours_and_rows_are_ordered(signals):
    mixed = signals.isel(unit=[11, 0, 9, 3, 8])
    ax = mixed.jfne.plot.traces(order="z")
    assert [t.get_text() for t in ax.get_yticklabels()] == ["11", "9", "8", "3", "0"]
    drawn = [line for line in ax.lines if len(line.get_xdata()) > 2]
    first, last = drawn[0].get_color(), drawn[-1].get_color()
    assert [line.get_color() for line in drawn] == [first] * 3 + [last] * 2
    assert first != last
    assert [t.get_text() for t in ax.get_legend().get_texts()] == ["I", "E"]
    ax = mixed.jfne.plot.raster()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["I", "E"]
    assert ax.get_ylabel() == "unit, by population"
    assert ax.get_yticklabels()[0].get_color() == first


def test_the_scale_bar_is_as_long_as_it_says(signals):
    ax = signals.jfne.plot.traces(scale="200 mV")
    bar = next(line for line in ax.lines if not line.get_clip_on())
    assert ax.texts[0].get_text() == "200 mV"
    assert np.ptp(bar.get_ydata()) == pytest.approx(1.0)
    row = lines_of(ax)[0]
    assert np.ptp(row) == pytest.approx(np.ptp(signals.V_m.data.magnitude[0]) / 200)


def test_a_line_for_itself_is_not_faint(signals):
    means = signals.V_m.groupby("population").mean()
    for one in (means, signals.V_m.isel(unit=[0, 11])):
        ax = one.to_dataset(name="V_m").jfne.plot.spectrum(segment="100 ms")
        drawn = [line for line in ax.lines if len(line.get_xdata()) > 2]
        assert [line.get_linewidth() for line in drawn] == [1.2, 1.2]
        assert [line.get_alpha() for line in drawn] == [None, None]


def test_spectra_are_those_of_psd(signals):
    power = jfx.psd(signals, "V_m", segment="100 ms")
    for ds in (power, signals):
        options = {} if ds is power else {"segment": "100 ms"}
        ax = ds.isel(unit=[2]).jfne.plot.spectrum(by=None, **options)
        assert ax.get_xlabel() == "frequency (Hz)"
        assert ax.get_ylabel() == "power spectral density (mV²/Hz)"
        line = ax.lines[0]
        np.testing.assert_allclose(line.get_ydata(), power.psd.data.magnitude[2, 1:])
        np.testing.assert_allclose(line.get_xdata(), power.frequency.values[1:])


def test_a_spectrogram_has_its_power_where_the_signal_has():
    t = np.arange(4000.0)
    x = np.where(t < 2000, np.sin(2 * np.pi * 0.02 * t), np.sin(2 * np.pi * 0.08 * t))
    ax = jfx.traces(x, ["time"], dt_ms=1.0).jfne.plot.spectrogram(segment="200 ms")
    mesh = ax.collections[0]
    power, place = np.asarray(mesh.get_array()), mesh.get_coordinates()
    f = (place[1:, 0, 1] + place[:-1, 0, 1]) / 2
    middle = (place[0, 1:, 0] + place[0, :-1, 0]) / 2
    loudest = f[power.argmax(axis=0)]
    assert set(np.round(loudest[middle < 1900])) == {20.0}
    assert set(np.round(loudest[middle > 2100])) == {80.0}
    assert ax.get_ylim()[1] < 210
    # a stretch with one tone has its variance between the borders
    (k,) = np.flatnonzero(np.abs(middle - 1000) <= 10)[:1]
    assert power[:, k].sum() * 5 == pytest.approx(0.5, rel=0.02)


def test_readouts_side_by_side_are_drawn_each_at_its_own_places(lfp, refused):
    """As `compute_readout` has them: the positions of contacts and of channels together with those of sites."""
    both = {f"contact_{a}": lfp[a].variable for a in "xyz"}
    both |= {"contact_radius": ("contact", np.full(16, 7.0), {"units": "um"})}
    both |= {f"channel_{a}": ("channel", [1e4, 0.0, -1e4], {"units": "um"}) for a in "xyz"}
    both |= {"z": ("unit", [1.0, 2.0], {"units": "um"})}
    ds = xr.Dataset({"lfp": lfp.lfp.variable}, {"time": lfp.time, **both})
    ds = ds.assign(eeg=(("time", "channel"), lfp.lfp.values[:, :3], {"units": "uV"}))
    for a, b in zip(*map(lines_of, (ds.jfne.plot.lfp(), lfp.jfne.plot.lfp())), strict=True):
        np.testing.assert_allclose(a, b)
    now = ds.isel(time=30)
    discs = now.jfne.plot.probe("lfp").collections[0]
    np.testing.assert_allclose(discs.get_array(), lfp.lfp.values[30])
    np.testing.assert_allclose(np.ptp(discs.get_paths()[0].vertices, axis=0), 14.0)
    assert len(now.jfne.plot.probe("eeg").collections[0].get_array()) == 3
    with refused(jfx.VariableError, "['lfp', 'eeg']"):
        now.jfne.plot.probe()


def test_contacts_and_segments_are_to_scale():
    ax = jfx.linear_probe(3, "50 um", radius="7 um").jfne.plot.probe()
    assert ax.get_aspect() == 1.0
    corners = ax.collections[0].get_paths()[2].vertices
    np.testing.assert_allclose(corners.max(axis=0) - corners.min(axis=0), 14.0)
    np.testing.assert_allclose((corners.max(axis=0) + corners.min(axis=0)) / 2, [0, 100], atol=1e-9)
    cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [30, 0, 50]], [10.0, 2.0], [-1, 0])
    for plane, expected in (("xz", (10.0, 10.0)), ("xy", (10.0, 10.0))):
        soma = cell.jfne.plot.morphology(plane=plane).collections[0].get_paths()[0].vertices
        np.testing.assert_allclose(np.ptp(soma, axis=0), expected)
    dendrite = cell.jfne.plot.morphology().collections[0].get_paths()[1].vertices[:4]
    np.testing.assert_allclose(np.linalg.norm(dendrite[0] - dendrite[3]), 2.0)
    np.testing.assert_allclose(np.linalg.norm(dendrite[0] - dendrite[1]), 50.0)
    bar = ax.lines[-1]
    assert ax.texts[-1].get_text() == f"{np.ptp(bar.get_xdata()):g} µm"


def test_what_is_written_beside_what_is_to_scale_is_inside_the_figure(lfp):
    cell = make_cell().assign_coords(part=("recording", list("aabbcc")))
    field = cell.assign(v=("recording", -45.0 - 2 * np.arange(6), {"units": "mV"}))
    for ax in (
        field.jfne.plot.morphology(),
        field.jfne.plot.morphology(plane="zx"),
        cell.jfne.plot.morphology(by="part"),
        lfp.isel(time=30).jfne.plot.probe(cell=cell),
        jfx.linear_probe(16, "50 um").jfne.plot.probe(),
    ):
        figure = ax.figure
        figure.canvas.draw()
        for axes in figure.axes:
            box = axes.get_tightbbox()
            assert box.x0 >= -1
            assert box.y0 >= -1
            assert box.x1 <= figure.bbox.x1 + 1
            assert box.y1 <= figure.bbox.y1 + 1


def test_small_contacts_of_a_long_shank_can_be_seen():
    probe = jfx.grid_probe((192, 2), ("20 um", "32 um"), radius="6 um")
    field = probe.assign(lfp=("contact", np.where(probe.row % 2, 1.0, -1.0), {"units": "uV"}))
    ax = field.jfne.plot.probe()
    ax.figure.canvas.draw()
    image = np.asarray(ax.figure.canvas.buffer_rgba())[..., :3].astype(int)
    box = ax.get_window_extent()
    rows = slice(int(ax.figure.bbox.height - box.y1), int(ax.figure.bbox.height - box.y0))
    inside = image[rows, int(box.x0) + 5 : int(box.x1)]
    colourful = np.ptp(inside, axis=-1) > 40
    assert colourful.sum() > 384


def test_matrices_and_bars_are_those_of_the_summary(signals):
    made = signals.jfne.summary()
    axes = made.jfne.plot.summary(["firing_rate", "rate_correlation", "coherence", "field_power"])
    assert isinstance(axes, np.ndarray)
    rates = [bar.get_width() for bar in axes[0].patches]
    np.testing.assert_allclose(rates, made.firing_rate.data.magnitude)
    np.testing.assert_allclose(axes[1].images[0].get_array(), made.rate_correlation.data.magnitude)
    bands = slice(float(made.low.min()), float(made.high.max()))
    assert bands.start > made.frequency[1]  # not all of the spectrum
    inside = made.coherence.sel(frequency=bands).data.magnitude
    np.testing.assert_allclose(
        axes[2].images[0].get_array(), np.nanmean(inside, axis=-1), rtol=1e-6
    )
    assert isinstance(made.jfne.plot.summary("firing_rate"), Axes)
    ax = plt.figure().subplots(1, 2)
    assert list(made.jfne.plot.summary(["synchrony", "coherence"], ax=ax)) == list(ax)


# ------------------------------------------------------------------------------------------------ ax, facets, labels


def test_it_draws_in_the_axes_handed_in(signals, lfp):
    fig = plt.figure()
    for part in (fig, fig.subfigures(1, 2)[0]):
        for draw in (signals.jfne.plot.traces, signals.jfne.plot.raster, lfp.jfne.plot.lfp):
            ax = part.add_subplot()
            assert draw(ax=ax) is ax
    fig.canvas.draw()
    assert plt.get_fignums() == [fig.number]


def test_nothing_is_shown(pictures, monkeypatch):
    monkeypatch.setattr(plt, "show", lambda *a, **k: pytest.fail("shown"))
    pictures["traces"]()
    pictures["csd"]()


def test_facets_lie_in_a_grid_and_share_what_can_be_compared(signals, lfp):
    some = signals.expand_dims(trial=3).assign_coords(trial=[5, 6, 7])
    axes = some.jfne.plot.traces(row="population", col="trial")
    assert axes.shape == (2, 3)
    assert axes[0, 1].get_title(loc="left") == "population = E\ntrial = 6"
    assert len({ax.get_ylim() for ax in axes.flat}) == 1
    assert [ax.get_xlabel() for ax in axes[:, 0]] == ["", "time (ms)"]
    assert [ax.get_ylabel() for ax in axes[0]] == ["unit", "", ""]
    colours = [lines.get_color() for ax in axes[:, 0] for lines in ax.lines[:1]]
    assert colours[0] != colours[1]
    both = xr.concat([jfx.csd(lfp, "step"), 3 * jfx.csd(lfp, "step")], "trial")
    axes = both.jfne.plot.csd(col="trial")
    assert axes[0, 0].collections[0].get_clim() == axes[0, 1].collections[0].get_clim()
    assert len(axes[0, 0].figure.axes) == 3  # one colour bar
    axes = lfp.isel(time=[10, 60]).jfne.plot.probe(col="time")
    assert [ax.get_title(loc="left") for ax in axes[0]] == ["time = 5 ms", "time = 30 ms"]
    assert signals.jfne.plot.raster(col="population").shape == (1, 2)
    assert signals.jfne.plot.spectrum(row="population", segment="50 ms").shape == (2, 1)
    axes[0, 0].figure.canvas.draw()


def test_facets_of_which_there_is_nothing_say_so(signals, lfp):
    two = signals.assign_coords(layer=("unit", ["2/3"] * 4 + ["5"] * 8))
    halves = {
        "shank": ("contact", list("aaaaaaaaabbbbbbb")),
        "half": ("contact", list("uuuu" + 12 * "v")),
    }
    shanks = lfp.assign_coords(halves)
    for draw, facets in (
        (two.jfne.plot.traces, {"row": "layer", "col": "population"}),
        (two.jfne.plot.raster, {"row": "layer", "col": "population"}),
        (two.jfne.plot.spectrum, {"row": "population", "col": "layer"}),
        (shanks.jfne.plot.lfp, {"row": "shank", "col": "half"}),
        (
            shanks.jfne.csd("step").assign_coords(halves).jfne.plot.csd,
            {"row": "shank", "col": "half"},
        ),
        (shanks.isel(time=30).jfne.plot.probe, {"row": "shank", "col": "half"}),
    ):
        axes = draw(**facets)
        axes[0, 0].figure.canvas.draw()
        said = [[text.get_text() for text in ax.texts] for ax in axes.flat]
        empty = [k for k, texts in enumerate(said) if any(t.startswith("no ") for t in texts)]
        assert len(empty) == 1, said
        assert all(ax.has_data() for k, ax in enumerate(axes.flat) if k not in empty)
    axes = signals.assign_coords(g=("unit", [np.nan, 1.0] * 6)).jfne.plot.traces(row="g")
    assert [ax.get_title(loc="left") for ax in axes.flat] == ["g = none", "g = 1"]
    assert [len(lines_of(ax)) for ax in axes.flat] == [6, 6]


def test_facets_along_contacts_have_theirs_and_one_scale(lfp):
    """Two columns of a probe, each contact of one at the depth of one of the other."""
    column = np.arange(16) % 2
    z = ("contact", 100.0 * (np.arange(16) // 2), {"units": "um"})
    two = lfp.assign_coords(column=("contact", column), z=z)
    axes = two.jfne.plot.lfp(col="column")[0]
    assert axes[0].get_ylim() == axes[1].get_ylim()
    for k, ax in enumerate(axes):
        lines = lines_of(ax)
        assert len(lines) == 8
        per_um = np.ptp(lines[0]) / np.ptp(two.lfp.values[:, column == k][:, -1])
        for line, want in zip(lines, two.lfp.values[:, column == k].T[::-1], strict=True):
            np.testing.assert_allclose(np.ptp(line), per_um * np.ptp(want), rtol=1e-6)
            assert ax.get_ylim()[0] < line.min() < line.max() < ax.get_ylim()[1]
    by_hand = xr.Dataset({"csd": lfp.lfp.assign_attrs(units="uA/mm^3")}, two.coords)
    for k, ax in enumerate(by_hand.jfne.plot.csd(col="column")[0]):
        mesh = ax.collections[0]
        np.testing.assert_allclose(mesh.get_array(), lfp.lfp.values[:, column == k].T)
        np.testing.assert_allclose(mesh.get_coordinates()[:, 0, 1], np.arange(-50, 751, 100))
    for k, ax in enumerate(two.isel(time=30).jfne.plot.probe(col="column")[0]):
        dots = ax.collections[0]
        np.testing.assert_allclose(dots.get_offsets()[:, 1], z[1][column == k])
        np.testing.assert_allclose(dots.get_array(), two.lfp.values[30, column == k])


def test_rates_of_facets_can_be_compared(signals):
    axes = signals.jfne.plot.raster(col="population")[0]
    limits = {ax.child_axes[0].get_ylim() for ax in axes}
    assert len(limits) == 1
    ((_, top),) = limits
    assert all(p.get_data().values.max() <= top for ax in axes for p in ax.child_axes[0].patches)


def test_names_of_ticks_in_narrow_facets_do_not_touch(lfp):
    long = lfp.assign_coords(time=("time", 50.0 * np.arange(400), lfp.time.attrs))
    for ax in xr.concat([long] * 3, "trial").jfne.plot.lfp(col="trial")[0]:
        ax.figure.canvas.draw()
        low, high = ax.get_xlim()
        shown = [t for t in ax.get_xticklabels() if low <= t.get_position()[0] <= high]
        boxes = [text.get_window_extent() for text in shown]
        assert len(boxes) > 1
        assert all(a.x1 < b.x0 for a, b in pairwise(boxes))


def test_a_title_does_not_lie_on_the_note(signals, lfp):
    for ax in (signals.jfne.plot.traces(), lfp.jfne.plot.lfp()):
        ax.set_title("a title as long as the axes are wide, in the middle")
        ax.figure.canvas.draw()
        (note,) = [text for text in ax.texts if text.get_ha() == "right"]
        assert ("envelope" in note.get_text()) == ("V_m" in signals and ax.get_ylabel() == "unit")
        box = note.get_window_extent()
        assert not box.overlaps(ax.title.get_window_extent())
        assert ax.figure.bbox.y1 >= box.y1
    for ax in plt.figure(figsize=(9, 3)).subplots(1, 3):
        signals.jfne.plot.traces(ax=ax)
        ax.figure.canvas.draw()
        (note,) = [text for text in ax.texts if text.get_ha() == "right"]
        assert note.get_window_extent().x0 >= ax.yaxis.label.get_window_extent().x0
    both = plt.figure().add_subplot()
    jfx.csd(lfp, "step").jfne.plot.csd(ax=both)
    signals.jfne.plot.traces(ax=both)
    signals.jfne.plot.traces(ax=both)
    (note,) = [text for text in both.texts if text.get_ha() == "right"]
    assert note.get_text().count("membrane voltage") == 1
    axes = signals.jfne.plot.traces(col="population")
    axes[0, 0].figure.suptitle("mine")
    assert "envelope" in axes[0, 0].figure.get_supxlabel()


def test_an_error_leaves_no_figure(signals, lfp):
    for draw in (
        lambda: lfp.jfne.plot.lfp(scale=-1),
        lambda: jfx.csd(lfp, "step").jfne.plot.csd(limit="1 mV"),
        lambda: signals.jfne.plot.traces(order="nothing"),
    ):
        with pytest.raises(jfx.JfneError):
            draw()
        assert not plt.get_fignums()
    mine = plt.figure()
    with pytest.raises(jfx.JfneError):
        lfp.jfne.plot.lfp(scale=-1, ax=mine.add_subplot())
    assert plt.get_fignums() == [mine.number]


MADE = {
    "v": ("membrane voltage", "mV"),
    "V_m": ("membrane voltage", "mV"),
    "source": ("source current", "nA"),
    "i_membrane": ("transmembrane current", "nA"),
    "lfp": ("extracellular potential", "uV"),
    "csd": ("current source density", "uA/mm^3"),
    "lfp_proxy": ("LFP (proxy)", "1"),
    "eeg": ("EEG", "uV"),
    "meg": ("MEG", "fT"),
    "dipole_moment": ("current dipole moment", "nA*um"),
    "psd": ("power spectral density", "mV^2/Hz"),
    "coherence": ("magnitude-squared coherence", "1"),
    "firing_rate": ("firing rate", "Hz"),
    "band_power": ("power in the band", "mV^2"),
}


@pytest.fixture(scope="module")
def made():
    """One of each variable, made by this package, with its unit in attrs and as a quantity."""
    cell = jfx.morphology([[0, 0, 0], [0, 0, 10]], [[0, 0, 10], [0, 0, 110]], [10.0, 2.0], [-1, 0])
    rng = np.random.default_rng(0)
    traces = jfx.traces(rng.normal(-65, 9, (2, 200)), ("recording", "time"), dt_ms=0.1)
    current = jfx.transmembrane_currents(traces.jfne.with_morphology(cell))
    with_source = jfx.to_signals(traces, source=rng.normal(size=(2, 200)))
    lfp = jfx.lfp(current, jfx.linear_probe(5, origin=(20, 0, 0)))
    dipole = jfx.dipole_moment(current, by=None)
    scalp = jfx.probe_at([[0, 0, 9e4], [9e4, 0, 0.0]], dim="channel")
    above = jfx.probe_at([[0, 0, 1e5], [1e5, 0, 0.0]], dim="channel", normal=(1, 0, 0))
    moved = jfx.move_to(dipole, x=0, y=0, z="70 mm")
    power = jfx.psd(traces)
    places = dict.fromkeys("xyz", ("recording", [0.0, 50.0], {"units": "um"}))
    return {
        "v": traces,
        "V_m": with_source,
        "source": with_source,
        "i_membrane": current,
        "lfp": lfp,
        "csd": jfx.csd(lfp, "step"),
        "lfp_proxy": jfx.lfp_proxy(
            jfx.to_signals(traces).assign_coords(places), jfx.linear_probe(3, origin=(20, 0, 0))
        ),
        "eeg": jfx.eeg(moved, scalp),
        "meg": jfx.meg(moved, above, jfx.Spherical()),
        "dipole_moment": dipole,
        "psd": power,
        "coherence": jfx.coherence(traces.isel(recording=0, drop=True), traces),
        "firing_rate": jfx.firing_rate(jfx.to_signals(traces)),
        "band_power": jfx.band_power(power, {"low": (30, 1000)}),
    }


@pytest.mark.slow
@pytest.mark.parametrize("name", MADE)
def test_plain_xarray_labels_what_this_package_makes(name, made):
    expected, unit = MADE[name]
    variable = made[name][name]
    assert variable.attrs["long_name"] == expected
    assert factor(units_of(variable), unit) == 1.0
    flat = variable.isel(dict.fromkeys(variable.dims[:0:-1], 0)) if variable.ndim > 1 else variable
    for one in (flat, flat.pint.dequantify(format="~P")):
        dim = flat.dims[0]
        plt.figure()
        (line,) = (
            one.plot(x=dim) if dim in flat.coords and flat[dim].dtype.kind == "f" else one.plot()
        )
        label = line.axes.get_ylabel()
        assert label.startswith(expected)
        assert unit == "1" or "[" in label
        if dim in ("time", "frequency"):
            assert (
                line.axes.get_xlabel() == {"time": "time [ms]", "frequency": "frequency [Hz]"}[dim]
            )


def test_coordinates_have_units(made):
    for name, ds in made.items():
        for coord in {*"xyz", "time", "frequency", "low", "high", "depth"} & {*map(str, ds.coords)}:
            assert ds[coord].attrs.get("units"), (name, coord)
