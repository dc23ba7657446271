"""Power spectra as lines, coloured by group."""

from __future__ import annotations

from collections.abc import Hashable
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from jaxfne_xr.analysis.spectra import FREQUENCY, psd
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Time

from ._axes import panels, picture
from ._beside import colours, foreground, legend, nothing
from ._data import chosen, coordinate, values
from ._rows import Groups, groups_of, rows
from ._text import label, name
from .lines import POTENTIALS, TRACES

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: With more lines than this, each is faint, and their mean is also drawn.
MOST_LINES = 6


@picture
def spectrum(
    ds: xr.Dataset,
    variable: str | None = None,
    *,
    by: str | None = "auto",
    segment: Time | None = None,
    ax: Axes | None = None,
    row: Hashable | None = None,
    col: Hashable | None = None,
) -> Any:
    """Draw power spectral densities on logarithmic axes.

    Parameters
    ----------
    ds : xr.Dataset
        From `jaxfne_xr.psd`, with ``frequency``; or signals with ``time``, whose spectra are computed first. Each
        combination of the other dims is a line.
    variable : str, optional
        By default ``psd``; of signals ``lfp``, ``V_m`` or another variable of this package, or the only one along time.
    by : str or None
        The coordinate with the group of each line, and so its colour. ``"auto"``: ``population``, ``layer`` or
        ``area``, if there is one.
    segment : float, str or pint.Quantity, optional
        Duration of a segment, ms, for signals: see `jaxfne_xr.psd`, which leaves out segments with NaN and says so.
    ax : matplotlib Axes, optional
        By default a new figure.
    row, col : str, optional
        A dim, or a coordinate along one, for facets: separate axes for each value, in a new figure.

    Returns
    -------
    matplotlib Axes, or array (row, col) of Axes

    Raises
    ------
    VariableError, DimensionError, TimeAxisError, DataError, ArgumentError, UnitError, MissingDependencyError
        If there is nothing to draw, a segment does not fit, or matplotlib is not installed.

    Notes
    -----
    The power at 0 Hz is left out, since the axis is logarithmic. Lines of groups, and more than six lines without
    groups, are drawn faintly, with their mean over them.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> x = np.random.default_rng(0).normal(size=(2, 4000))
    >>> ax = spectrum(jfx.traces(x, ("unit", "time"), dt_ms=1.0))
    >>> ax.get_xscale(), ax.get_ylabel()
    ('log', 'power spectral density (mV²/Hz)')
    """
    if FREQUENCY not in ds.dims:
        found = chosen(ds, variable, (*POTENTIALS, *TRACES), TIME)
        ds, variable = psd(ds, found, segment=segment), "psd"
    found = chosen(ds, variable, ("psd",), FREQUENCY)
    dims = [d for d in ds[found].dims if d != FREQUENCY]
    groups = groups_of(ds, dims, by)
    made = panels(ds, ax, row, col, (5.6, 4.0), along=FREQUENCY)
    f = values(coordinate(ds, FREQUENCY))
    drawn = [_draw(axes, part, found, f, groups) for axes, part in made]
    for (axes, part), any_power in zip(made, drawn, strict=True):
        if any_power:
            axes.set(xscale="log", yscale="log")
        else:
            finite = np.isfinite(values(part.variables[found])).any()
            nothing(axes, "no power" if finite else "no finite values")
    if any(drawn) and (f > 0).sum() > 1:
        made.axes[0].set_xlim(f[f > 0][0], f[-1])
    made.label(label(coordinate(ds, FREQUENCY), FREQUENCY), label(ds[found].variable, found))
    if groups.by is not None:
        handles = [made.corner.plot([], [], color=c)[0] for c in colours(len(groups.labels))]
        legend(made.corner, handles, groups.labels, groups.by)
    return made.result


def _draw(ax: Axes, part: xr.Dataset, variable: str, f: np.ndarray, groups: Groups) -> bool:
    """Draw the lines of one axes; return whether there is any power to draw."""
    x = part.variables[variable]
    rest = [d for d in x.dims if d != FREQUENCY]
    power = values(x.transpose(*rest, FREQUENCY)).reshape(-1, len(f))
    those = rows(part, rest, groups)
    power = np.where(power > 0, power, np.nan)[those.order][:, f > 0]
    f = f[f > 0]
    # a line through a single point is invisible
    marker: dict[str, Any] = {"marker": "." if len(f) == 1 else None}
    n = len(power)
    if groups.by is None and n <= MOST_LINES:
        for line, colour in zip(power, _few(n), strict=True):
            ax.plot(f, line, color=colour, lw=1.2, **marker)
        if n > 1:
            legend(ax, ax.lines[-n:], those.labels, ", ".join(those.dims))
        return bool(np.isfinite(power).any())
    palette = colours(len(groups.labels)) if groups.by else [foreground()]
    for g in np.unique(those.group):
        member = power[those.group == g]
        many = len(member) > 1
        faint: dict[str, Any] = {"lw": 0.5, "alpha": 0.3} if many else {"lw": 1.2}
        ax.plot(f, member.T, color=palette[g], **faint, **marker)
        seen = np.isfinite(member).any(axis=0)
        if many and seen.any():
            ax.plot(
                f[seen],
                np.nanmean(member[:, seen], axis=0),
                color=palette[g],
                lw=1.6,
                zorder=3,
                **marker,
            )
    if groups.by is None:
        said, font = name(f"thick: mean of {n}", 40)
        ax.text(
            0.98, 0.98, said, transform=ax.transAxes, ha="right", va="top", fontsize="small", **font
        )
    return bool(np.isfinite(power).any())


def _few(n: int) -> list[Any]:
    return colours(n) if n > 1 else [foreground()]
