"""Pictures of a summary: bars for each group of sites, and matrices for pairs of groups."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import xarray as xr

from jaxfne_xr.analysis.spectra import FREQUENCY
from jaxfne_xr.analysis.summary import summary as summarise
from jaxfne_xr.core.errors import (
    ArgumentError,
    DimensionError,
    Problem,
    VariableError,
    raise_problems,
)
from jaxfne_xr.core.units import units_of

from ._axes import picture, pyplot
from ._beside import bare, colours, foreground, legend, nothing
from ._data import coordinate, emptiness, values
from ._text import label, name, names

if TYPE_CHECKING:
    from matplotlib.axes import Axes

#: Variables that are drawn by default, if they exist: of each group, then of pairs of groups.
LOCAL = ("firing_rate", "mean_V_m", "synchrony", "pairwise_correlation", "field_power")
GLOBAL = ("rate_correlation", "between_correlation", "coherence")
#: Colour limits of variables with a fixed range.
LIMITS = {
    "rate_correlation": (-1.0, 1.0),
    "between_correlation": (-1.0, 1.0),
    "coherence": (0.0, 1.0),
}
#: Variables without a meaningful zero, for which bars would mislead.
WITHOUT_ZERO = ("mean_V_m",)
#: Maximum number of groups for which numbers are written into a matrix.
MOST_WRITTEN = 5
#: Maximum number of names along an axis.
MOST_NAMES = 24
#: Axes per row of a new figure, and the width of each, inches.
IN_A_ROW, WIDE = 5, 2.4


@picture
def summary(
    ds: xr.Dataset,
    variables: str | Sequence[str] | None = None,
    *,
    ax: Axes | Sequence[Axes] | None = None,
) -> Any:
    """Draw a summary: bars for each group, matrices for pairs of groups.

    Parameters
    ----------
    ds : xr.Dataset
        From `jaxfne_xr.summary`; or Signals, which are first summarised by ``population``.
    variables : str or sequence of str, optional
        What to draw. By default the rate, voltage, synchrony, correlation and power of each group, and the
        correlations and coherence between groups, if they exist.
    ax : matplotlib Axes, or sequence of Axes, optional
        One for each variable; by default a new figure.

    Returns
    -------
    matplotlib Axes, or array (variable) of Axes
        One if a single variable or a single Axes is given.

    Raises
    ------
    VariableError, DimensionError, ArgumentError, MissingDependencyError
        If it is not a summary, has other dims than groups (select or average first), or matplotlib is not installed.

    Notes
    -----
    Coherence is averaged over the frequencies of the summary's bands. A dash stands for a value that is not defined.
    The dashed line in the rates is the rate of all sites. The mean voltage, whose zero is arbitrary, and the power in
    bands, on a logarithmic axis, are dots rather than bars.

    Examples
    --------
    >>> import numpy as np, jaxfne_xr as jfx
    >>> v = np.where(np.random.default_rng(0).random((4, 5000)) < 0.01, 20.0, -65.0)
    >>> ds = jfx.traces(v, ["unit", "time"], dt_ms=1.0, coords={"population": ("unit", list("EEII"))})
    >>> axes = summary(ds.jfne.to_signals().jfne.summary())
    >>> axes[0].get_xlabel(), [tick.get_text() for tick in axes[0].get_yticklabels()]
    ('firing rate (Hz)', ['E', 'I'])
    """
    plt = pyplot()
    if "spikes" in ds.data_vars:
        raise_problems(emptiness(ds, "spikes"))
        ds = summarise(ds)
    by = _group_dim(ds)
    chosen = _chosen(ds, variables, by)
    raise_problems(p for v in chosen for p in _problems(ds, v, by))
    listed = isinstance(ax, (list, tuple, np.ndarray))
    if ax is None:
        axes = _new(plt, ds, chosen, by)
    else:
        axes = list(np.ravel(np.asarray(ax, object))) if listed else [cast("Axes", ax)]
        if len(axes) != len(chosen) or not all(hasattr(a, "add_artist") for a in axes):
            raise ArgumentError.of(
                "ax",
                found=f"{len(axes)} of {type(axes[0]).__name__ if axes else 'none'}",
                expected=f"an Axes for each of {chosen}",
                remedy=f"ax=plt.subplots({len(chosen)})[1], or fewer variables",
            )
    for one, variable in zip(axes, chosen, strict=True):
        if f"{by}_other" in ds[variable].dims:
            _matrix(one, ds, variable, by)
        else:  # other bars have the names of groups along their axis, and so explain the colours
            _bars(one, ds, variable, by, named=not {*chosen} & {*LOCAL} - {"field_power"})
    if ax is None:  # side by side, one set of names is enough
        bars = [a for a, v in zip(axes, chosen, strict=True) if ds[v].dims == (by,)]
        for one in bars[1:]:
            one.tick_params(axis="y", labelleft=False)
            one.set_ylabel("")
    if isinstance(variables, str) or (ax is not None and not listed):
        return axes[0]
    made = np.empty(len(axes), object)
    made[:] = axes
    return made


def _new(plt: ModuleType, ds: xr.Dataset, chosen: list[str], by: str) -> list[Axes]:
    """Make axes in a new figure: bars above, matrices below, at most `IN_A_ROW` in a row."""
    pairs = [f"{by}_other" in ds[v].dims for v in chosen]
    kinds = [
        [v for v, two in zip(chosen, pairs, strict=True) if two is kind] for kind in (False, True)
    ]
    lines = [kind[k : k + IN_A_ROW] for kind in kinds for k in range(0, len(kind), IN_A_ROW)]
    wide = WIDE * max(map(len, lines)) + 0.6
    tall = min(5.0, 1.5 + 0.25 * ds.sizes[by])
    figure = plt.figure(figsize=(wide, tall * len(lines)), layout="constrained")
    outer = figure.add_gridspec(len(lines), 1)
    made: dict[str, Axes] = {}
    for k, line in enumerate(lines):
        inner = outer[k].subgridspec(1, len(line))
        made |= {variable: figure.add_subplot(inner[j]) for j, variable in enumerate(line)}
    return [made[v] for v in chosen]


def _group_dim(ds: xr.Dataset) -> str:
    """Return the dim of groups: the one for which there is a second dim with the suffix ``_other``."""
    found = [str(d) for d in ds.dims if f"{d}_other" in ds.dims]
    if len(found) == 1:
        return found[0]
    raise VariableError.of(
        "summary",
        found=f"the dims {list(map(str, ds.dims))}",
        expected="a summary, with a dim of groups and another for pairs of them",
        remedy='signals.jfne.summary(by="population").jfne.plot.summary()',
    )


def _chosen(ds: xr.Dataset, variables: str | Sequence[str] | None, by: str) -> list[str]:
    """Return the variables to draw; raise if one does not exist."""
    if variables is None:
        return [v for v in (*LOCAL, *GLOBAL) if v in ds]
    if isinstance(variables, str) or not isinstance(variables, Iterable):
        variables = [variables]
    expected = list(variables)
    known = [str(v) for v, x in ds.data_vars.items() if by in x.dims]
    strange = [v for v in expected if v not in known]
    if strange or not expected:
        found = ", ".join(map(repr, strange)) or "none"
        raise VariableError.of(
            "variables", found=found, expected=f"some of {known}", remedy=f"variables={known[:1]}"
        )
    return expected


def _problems(ds: xr.Dataset, variable: str, by: str) -> list[Problem]:
    extra = [str(d) for d in ds[variable].dims if d not in (by, f"{by}_other", "band", FREQUENCY)]
    if extra:
        return [
            Problem(
                variable,
                f"the dims {extra} in addition to {by}",
                "none: a picture shows one summary",
                f"select or average first: summary.isel({extra[0]}=0)",
                DimensionError,
            )
        ]
    return emptiness(ds, variable)


def _bars(ax: Axes, ds: xr.Dataset, variable: str, by: str, *, named: bool) -> None:
    """Draw a bar for each group, or, if there are bands, a dot or a bar for each band and group."""
    x = ds[variable].variable
    length = values(x.transpose(by, ...))
    n = len(length)
    palette = colours(n)
    seen = np.isfinite(length)
    along = by if length.ndim == 1 else "band"
    where = np.arange(ds.sizes[along])
    if not seen.any():
        nothing(ax, "not defined")
    elif length.ndim == 2:
        apart = 0.8 / n
        at = [where + (g - (n - 1) / 2) * apart for g in range(n)]
        if (length[seen] > 0).all():  # dots: a logarithmic axis has no zero for bars to start from
            ax.set_xscale("log")
            bars: list[Any] = [
                ax.plot(length[g], at[g], "o", color=palette[g], ms=4)[0] for g in range(n)
            ]
        else:
            bars = [ax.barh(at[g], length[g], apart, color=palette[g]) for g in range(n)]
        if named:
            legend(ax, bars, ds[by].values, by)
    elif variable in WITHOUT_ZERO:
        ax.scatter(length, where, color=palette, s=36)
        ax.margins(x=0.3)
    else:
        ax.barh(where, length, 0.65, color=palette)
        ax.axvline(0, color=foreground(), lw=0.6)
        for k in np.flatnonzero(~seen):
            ax.text(0, float(k), " –", va="center")
        if variable == "firing_rate" and "population_rate" in ds and ds.population_rate.ndim == 0:
            rate = float(values(ds["population_rate"].variable))
            ax.axvline(rate, ls="--", lw=0.8, color=foreground())
    _name_groups(ax.set_yticks, ds, along)
    ax.set_ylim(len(where) - 0.4, -0.6)  # the first on top
    what, font = name(along)
    ax.set_ylabel(what, **font)
    what, font = label(x, variable)
    ax.set_xlabel(what, **font)
    if ax.get_xscale() == "linear":
        ax.locator_params(axis="x", nbins=3)
    bare(ax)


def _name_groups(axis: Callable[..., object], ds: xr.Dataset, dim: str, **options: Any) -> None:
    """Label the steps of a dim at 0, 1, ... along an axis."""
    texts, font = names(ds[dim].values, 14)
    every = -(-len(texts) // MOST_NAMES)
    axis(np.arange(len(texts))[::every], texts[::every], fontsize="small", **font, **options)


def _matrix(ax: Axes, ds: xr.Dataset, variable: str, by: str) -> None:
    """Draw a matrix of pairs of groups."""
    x, said = ds[variable].variable, ""
    if FREQUENCY in x.dims:
        f = values(coordinate(ds, FREQUENCY))
        limits = [ds[edge].values for edge in ("low", "high") if edge in ds.coords]
        low, high = (limits[0].min(), limits[1].max()) if limits else f[f > 0][[0, -1]]
        inside = np.flatnonzero((f >= low) & (f <= high))
        x = x.isel({FREQUENCY: inside})
        said = f"\nmean, {low:g} to {high:g} Hz"
    matrix = values(x.transpose(by, f"{by}_other", ...))
    if matrix.ndim == 3:
        seen = np.isfinite(matrix)
        total = np.where(seen, matrix, 0).sum(axis=-1)
        matrix = np.where(seen.any(axis=-1), total / np.maximum(seen.sum(axis=-1), 1), np.nan)
    finite = matrix[np.isfinite(matrix)]
    low, high = LIMITS.get(variable, (finite.min(initial=0.0), finite.max(initial=1.0)))
    ax.grid(False)
    image = ax.imshow(matrix, cmap="RdBu_r" if low < 0 else "viridis", vmin=low, vmax=high)
    long = sum(len(str(x)) for x in ds[by].values) > 12
    _name_groups(ax.set_xticks, ds, by, rotation=90 if long else 0)
    _name_groups(ax.set_yticks, ds, by)
    what, font = name(by)
    ax.set_xlabel(what, **font)
    ax.set_ylabel(what, **font)
    ax.spines[:].set_visible(False)
    what, font = label(xr.Variable((), 0.0, {**x.attrs, "units": units_of(x)}), variable)
    bar = ax.figure.colorbar(image, ax=ax, shrink=0.8)
    bar.set_label(what.removesuffix(", no unit") + said, fontsize="small", **font)
    bar.outline.set_visible(False)
    if len(matrix) <= MOST_WRITTEN:
        for (i, j), value in np.ndenumerate(matrix):
            if not np.isfinite(value):
                ax.text(j, i, "–", ha="center", va="center")
                continue
            # white on dark colours, by their luma: the background is the colour map, not the theme
            red, green, blue, _ = image.cmap(image.norm(value))
            dark = 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
            colour = "white" if dark else "black"
            ax.text(j, i, f"{value:.2f}", ha="center", va="center", fontsize="small", color=colour)
