"""A report: one HTML file with pictures, tables, scope and provenance, to be read without Python."""

from __future__ import annotations

import base64
import html
import json
import warnings
from collections.abc import Hashable, Iterator, Mapping
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr import plot
from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask, is_traced
from jaxfne_xr.core.cards import STYLE, Content, Table, listed, themed, to_html
from jaxfne_xr.core.errors import (
    ArgumentError,
    FileError,
    JfneError,
    MissingDependencyError,
    Problem,
    missing_dependency,
    raise_problems,
)
from jaxfne_xr.core.files import replace_file, target_of
from jaxfne_xr.core.inputs import site_dim
from jaxfne_xr.core.progress import progress, working
from jaxfne_xr.core.time_axis import TIME
from jaxfne_xr.core.types import Array, FileName
from jaxfne_xr.core.units import bare, units_of
from jaxfne_xr.core.validation import OTHER, checks, parts_of
from jaxfne_xr.workflow.configuration import stored_rows

from . import overview
from .suggestions import drawn, drawn_whole

#: Pictures with more bytes than this as SVG are stored as PNG.
SVG_BYTES = 120_000
#: Resolution of these pictures, pixels per inch.
DPI = 150
#: Maximum number of sites that are drawn as lines; of more sites, as many are selected at even steps.
LINES = 40
#: Maximum number of characters of each parameter of a step.
LONG = 200

#: Alternative text of pictures, for each function of `jaxfne_xr.plot`.
SEEN = {
    "traces": "lines over time, one above the other",
    "lfp": "lines over time, each at the depth of its contact",
    "csd": "a colour image of time and depth",
    "raster": "a dot at the time of each spike, a row for each site, and the rate over time",
    "spectrum": "lines of power over frequency",
    "probe": "a map of the contacts, to scale",
    "morphology": "a map of the segments, to scale",
    "summary": "bars for each group, and matrices of how groups go together",
}


@public
def report(data: xr.Dataset | xr.DataTree, path: FileName) -> Path:
    """Write a report of a Dataset or a bundle: one HTML file that needs no other files.

    Parameters
    ----------
    data : xr.Dataset or xr.DataTree
        Of any stage; NumPy-, JAX- or dask-backed, quantified or not. A tree, such as a bundle, has a section for each
        of its nodes.
    path : path-like
        Its name ends in ``.html`` or ``.htm``; its folder must exist. An existing file stays as it was if anything
        fails.

    Returns
    -------
    Path
        The file that was written. It has pictures with alternative texts, the minimum, mean and maximum of every
        variable, the scope in plain words, every step that was run, with versions, and the report of `validate`. It has
        no scripts, and loads nothing from the network.

    Raises
    ------
    MissingDependencyError
        If matplotlib is not installed.
    FileError
        If the file cannot be written, or its name does not end in ``.html`` or ``.htm``.
    ArgumentError
        If it is neither a Dataset nor a tree, or is traced by JAX.

    Examples
    --------
    >>> import numpy as np, tempfile, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     text = report(ds.jfne.to_signals(), f"{folder}/run.html").read_text(encoding="utf-8")
    >>> text.count("<img"), "<script" in text
    (2, False)
    """
    _need_matplotlib()
    target, problems = target_of(path)
    parts = parts_of(data)
    raise_problems([*(problems or _name_problems(target)), *_traced(parts)])
    with working(f"report {target.name}"):
        page = _page(target.stem, data.attrs, parts, overview.facts_of_parts(data))
    replace_file(target, lambda file: Path(file).write_text(page, encoding="utf-8"))
    return target


def _name_problems(target: Path) -> list[Problem]:
    """Return the problem of a name with another suffix: ``run.nc`` may be the file with the data."""
    if target.suffix.lower() in (".html", ".htm"):
        return []
    found, remedy = f"the name {target.name!r}", f'"{target.with_suffix(".html").name}"'
    return [Problem("path", found, "a name that ends in .html or .htm", remedy, FileError)]


def _need_matplotlib() -> None:
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise missing_dependency("matplotlib", "plot", "to draw the report") from error


def _traced(parts: Mapping[str, xr.Dataset]) -> list[Problem]:
    names = [str(n) for ds in parts.values() for n, v in ds.variables.items() if is_traced(v._data)]
    expected, remedy = "concrete values", "write the report outside jit and grad"
    return [Problem(n, "values that JAX traces", expected, remedy, ArgumentError) for n in names]


# ----------------------------------------------------------------------------------------------------- the page


def _page(
    name: str,
    attrs: Mapping[Hashable, Any],
    parts: Mapping[str, xr.Dataset],
    abouts: Mapping[str, Mapping[str, Any]],
) -> str:
    title = html.escape(name)
    sections = [
        _section(f"part-{i}", part, ds, abouts[part])
        for i, (part, ds) in enumerate(progress([*parts.items()], "report"))
    ]
    contents = ""
    if len(parts) > 1:
        links = (
            f'<li><a href="#part-{i}">{html.escape(p or "/")}</a></li>' for i, p in enumerate(parts)
        )
        contents = f'<nav aria-label="Contents"><ul>{"".join(links)}</ul></nav>'
    shown = "".join(sections) or "<p>It is empty.</p>"
    # the page has text from the data: a browser must run no script in it and load nothing
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{STYLE}{_STYLE}</style></head>\n"
        f'<body class="jfne-page"><main><h1 dir="auto">{title}</h1>{contents}'
        f"{_configuration(attrs)}{shown}{_versions(abouts)}</main></body></html>\n"
    )


def _section(anchor: str, part: str, ds: xr.Dataset, about: Mapping[str, Any]) -> str:
    """Return the section of one Dataset."""
    heading = part or str(about["stage"])
    outcome = overview.outcome(checks(ds, values=True, part=about["stage"] == OTHER))
    rows: list[tuple[str, Content]] = [("stage", str(about["stage"]))] if part else []
    rows += [(k, c) for k, c in overview.card_rows(about) if k not in ("checks", "next", "made by")]
    rows.append(("checks", overview.checks_lines(outcome)))
    badge = overview.badge({**about, "validation": outcome})
    shown = "" if badge is None else f" {to_html(badge, '')}"
    numbers, ranges = _numbers(ds)
    blocks = [
        ("Pictures", "".join(_figures(ds, about, ranges))),
        ("Numbers", to_html(numbers, f"Numbers of {heading}") if numbers.rows else ""),
        ("How it was made", _steps(about, heading)),
    ]
    return (
        f'<section class="jfne" id="{anchor}" aria-labelledby="{anchor}-title">'
        f'<h2 id="{anchor}-title" dir="auto">{html.escape(heading)}{shown}</h2>{listed(rows)}'
        + "".join(f"<h3>{title}</h3>{block}" for title, block in blocks if block)
        + "</section>"
    )


def _configuration(attrs: Mapping[Hashable, Any]) -> str:
    """Return the configuration of a bundle, or nothing if it cannot be read."""
    rows = stored_rows(attrs)
    return f'<section class="jfne"><h2>Configuration</h2>{listed(rows)}</section>' if rows else ""


def _steps(about: Mapping[str, Any], heading: str) -> str:
    """Return a table of the steps that made a Dataset."""
    rows = tuple(
        (str(i), str(step.get("function")), _parameters(step.get("parameters", {})))
        for i, step in enumerate(about["steps"], 1)
    )
    if not rows:
        return "<p>No record: made by hand, or by other code.</p>"
    places = about["stage"] in overview.PLACES  # not made from traces
    origin = "" if places else f"<p>Traces from: {html.escape(str(about['origin']))}</p>"
    return origin + to_html(Table(("step", "function", "parameters"), rows), f"Steps of {heading}")


def _parameters(parameters: object) -> str:
    if not isinstance(parameters, Mapping):
        return str(parameters)
    texts = (
        f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in parameters.items()
    )
    return "; ".join(text if len(text) <= LONG else f"{text[:LONG]} ..." for text in texts)


def _versions(abouts: Mapping[str, Mapping[str, Any]]) -> str:
    """Return the versions that made the data, once for all parts with the same ones."""
    found: dict[str, list[str]] = {}
    for part, about in abouts.items():
        if isinstance(about["versions"], Mapping) and about["versions"]:
            text = ", ".join(f"{name} {version}" for name, version in about["versions"].items())
            found.setdefault(text, []).append(part)
    if not found:
        return ""
    rows = [(", ".join(parts) or "all", text) for text, parts in found.items()]
    return f'<section class="jfne"><h2>Versions</h2>{listed(rows)}</section>'


# -------------------------------------------------------------------------------------------------- the numbers


def _numbers(ds: xr.Dataset) -> tuple[Table, dict[str, str]]:
    """Return a table with minimum, mean and maximum of each variable, and the range of each as text."""
    rows, ranges = [], {}
    for name, array in ds.data_vars.items():
        data = bare(array.variable._data)
        if np.dtype(array.dtype).kind not in "biuf" or not array.size:
            continue
        unit = units_of(array) or ""
        low, mean, high, bad = _spread(data)
        cells = tuple(f"{value:.5g}" for value in (low, mean, high))
        if array.size == 1:
            cells = ("", cells[1], "")
        total = f"{mean * array.size:.10g}" if np.dtype(array.dtype).kind == "b" else ""
        rows.append((str(name), *cells, "" if unit == "1" else unit, total, str(bad or "")))
        ranges[str(name)] = f"from {low:.4g} to {high:.4g} {'' if unit == '1' else unit}".strip()
    titles = ("variable", "min", "mean", "max", "units", "count of true", "not finite")
    # columns that are empty for all variables are left out
    kept = [i for i in range(len(titles)) if i < 5 or any(row[i] for row in rows)]
    table = Table(
        tuple(titles[i] for i in kept), tuple(tuple(row[i] for i in kept) for row in rows)
    )
    return table, ranges


def _spread(data: Array) -> tuple[float, float, float, int]:
    """Return minimum, mean and maximum of the finite values, and the number of others."""
    if is_dask(data):
        import dask.array as array

        if data.dtype.kind == "f":
            good = array.where(abs(data) < np.inf, data, np.nan)
            spread = [
                f(good) for f in (array.nanmin, partial(array.nanmean, dtype=float), array.nanmax)
            ]
            lazy = (*spread, array.isnan(good).sum())
        else:
            lazy = data.min(), data.mean(), data.max(), array.zeros((), dtype=int)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", RuntimeWarning)  # from blocks without finite values
            low, mean, high, bad = array.compute(*lazy)
        return float(low), float(mean), float(high), int(bad)
    values = np.asarray(data)
    bad = 0
    # the sum is finite only if all values are: one pass instead of a mask, in the usual case
    if values.dtype.kind == "f" and not np.isfinite(values.sum(dtype=float)):
        values = values[np.isfinite(values)]
        bad = data.size - values.size
        if not values.size:
            return (float("nan"),) * 3 + (bad,)
    return float(values.min()), float(values.mean(dtype=float)), float(values.max()), bad


# ------------------------------------------------------------------------------------------------- the pictures


def _figures(ds: xr.Dataset, about: Mapping[str, Any], ranges: Mapping[str, str]) -> Iterator[str]:
    """Yield every picture of a Dataset with its caption, or the reason why there is none."""
    if whole := drawn_whole(ds, about["stage"], about["steps"]):
        yield _figure(whole, ds, {}, whole)
        return
    for name, array in ds.data_vars.items():
        how = drawn(ds, name)
        if how is None:
            continue
        function, options = how
        part, said = ds, []
        site = site_dim(array.dims)
        if function == "traces" and site and ds.sizes[site] > LINES:
            chosen = np.unique(np.linspace(0, ds.sizes[site] - 1, LINES).round().astype(int))
            part = ds.isel({site: chosen})
            said.append(f"{len(chosen)} of {ds.sizes[site]} {site}s, at even steps")
        if function in ("csd", "lfp"):
            for dim in (d for d in array.dims if d not in (TIME, "contact", "depth")):
                part = part.isel({dim: 0})
                said.append(f"the first of {ds.sizes[dim]} {dim}s")
        what = str(array.attrs.get("long_name", name))
        size = ", ".join(
            f"{n} {d}{'s' if n != 1 else ''}" for d, n in array.sizes.items() if d != TIME
        )
        over = about["time"] and about["time"]["duration_ms"]
        caption = what + (f": {size}" if size else "")
        caption += f", {overview.length_of(over)}" if over and TIME in array.dims else ""
        caption += f"; {', '.join(said)}" if said else ""
        yield _figure(function, part, options, caption, ranges.get(str(name), ""))


def _figure(
    function: str, ds: xr.Dataset, options: Mapping[str, Any], caption: str, reach: str = ""
) -> str:
    """Return a picture in HTML, or the error that prevents it."""
    try:
        source = _image(function, ds, options)
    except MissingDependencyError:
        raise
    except JfneError as error:
        why = "; ".join(f"{p.where}: {p.found}" for p in error.problems)
        return f"<p>{html.escape(caption)}: no picture, because of {html.escape(why)}.</p>"
    alt = f"{caption}: {SEEN[function]}" + (f"; values {reach}" if reach else "")
    return (
        f'<figure><img src="{source}" alt="{html.escape(alt)}">'
        f"<figcaption>{html.escape(caption)}</figcaption></figure>"
    )


def _image(function: str, ds: xr.Dataset, options: Mapping[str, Any]) -> str:
    """Return a picture as a data URI: SVG, or PNG if the SVG is larger than `SVG_BYTES`."""
    import matplotlib
    import matplotlib.pyplot as plt

    # paths instead of fonts, which may be missing where the page is read; same bytes for same data
    style = {**matplotlib.rcParamsDefault, "svg.fonttype": "path", "svg.hashsalt": "jaxfne_xr"}
    style = {k: v for k, v in style.items() if not k.startswith(("backend", "interactive"))}
    before = {*plt.get_fignums()}
    with plt.ioff(), matplotlib.rc_context(style):
        try:
            made = getattr(plot, function)(ds, **options)
            figure = np.ravel(np.asarray(made, dtype=object))[0].figure
            stream = BytesIO()
            figure.savefig(stream, format="svg", metadata={"Date": None}, bbox_inches="tight")
            kind = "svg+xml"
            if stream.tell() > SVG_BYTES:
                stream = BytesIO()
                figure.savefig(stream, format="png", dpi=DPI, bbox_inches="tight")
                kind = "png"
        finally:
            for number in {*plt.get_fignums()} - before:  # also after an interruption
                plt.close(number)
    return f"data:image/{kind};base64,{base64.b64encode(stream.getvalue()).decode()}"


#: Styles of the page, and of cards as its sections.
_STYLE = (
    themed(".jfne-page")
    + """
.jfne-page{margin:0;color:var(--jfne-text);background:var(--jfne-back);font-family:system-ui,sans-serif;line-height:1.5}
.jfne-page main{max-width:62em;margin:0 auto;padding:1em}
.jfne-page h1{overflow-wrap:anywhere;font-size:1.7em;line-height:1.2;margin:.3em 0}
.jfne-page h2{font-size:1.3em;margin:0 0 .3em}
.jfne-page h3{font-size:1.05em;margin:1.1em 0 .4em}
.jfne-page h2 .jfne-badge{font-size:.65em;vertical-align:.2em}
.jfne-page ul{display:flex;flex-wrap:wrap;gap:.3em 1.2em;margin:.2em 0;padding:0;list-style:none}
.jfne-page a{color:var(--jfne-link)}
.jfne-page .jfne.jfne.jfne{max-width:none;margin:1em 0}
.jfne-page figure{margin:.6em 0 1.2em}
.jfne-page img{max-width:100%;height:auto;padding:.5em;background:#fff;border-radius:4px;box-sizing:border-box}
.jfne-page figcaption{color:var(--jfne-muted);font-size:.92em}
@media print{.jfne-page .jfne.jfne.jfne{border:0;padding:0;break-inside:auto}.jfne-page figure{break-inside:avoid}
.jfne-page nav{display:none}}
"""
)
