"""``.jfne`` on every DataTree, such as a bundle: its content, and functions of the whole tree."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from os import PathLike
from pathlib import Path
from typing import Any

import xarray as xr

from .core import validation
from .core.cards import Badge, Card, Code, Content, Table
from .display import html_report, overview
from .io import netcdf
from .workflow.bundles import Replay, replay
from .workflow.configuration import stored_rows


@xr.register_datatree_accessor("jfne")
class JfneTreeAccessor:
    """The functions of `jaxfne_xr` that take a tree, as its methods.

    For a part of it, ``tree["signals"].to_dataset().jfne`` has the methods of a Dataset.

    Examples
    --------
    >>> import numpy as np, xarray as xr, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> print(xr.DataTree.from_dict({"before": ds, "after": ds.jfne.to_signals()}).jfne)
    jaxfne_xr: tree
      parts   part    stage    claims        dims                variables
              before  traces   no field yet  unit: 3, time: 100  v
              after   signals  proxy         unit: 3, time: 100  V_m, spikes
      checks  valid
              before: not checked: whether v is finite (ds.jfne.validate() looks)
              after: not checked: whether V_m is finite (ds.jfne.validate() looks)
      next    before = tree["before"].to_dataset()
              tree.jfne.report("run.html")
              tree.jfne.to_netcdf("run.nc")
    """

    def __init__(self, tree: xr.DataTree) -> None:
        self._tree = tree

    def __repr__(self) -> str:
        return str(_card(self._tree))

    def _repr_html_(self) -> str:
        return _card(self._tree).html()

    def validate(self) -> validation.Report:
        """See `jaxfne_xr.validate`; problems have the path of their part."""
        return validation.validate(self._tree)

    def replay(self) -> Replay:
        """See `jaxfne_xr.replay`."""
        return replay(self._tree)

    def to_netcdf(
        self,
        path: str | PathLike[str],
        *,
        compression: str = "fast",
        encoding: Mapping[Hashable, Any] | None = None,
    ) -> Path:
        """See `jaxfne_xr.to_netcdf`."""
        return netcdf.to_netcdf(self._tree, path, compression=compression, encoding=encoding)

    def report(self, path: str | PathLike[str]) -> Path:
        """See `jaxfne_xr.report`."""
        return html_report.report(self._tree, path)


def _card(tree: xr.DataTree) -> Card:
    """Return the card of a tree; nothing is computed."""
    abouts = overview.facts_of_parts(tree)
    stage = validation.stage_of_tree(tree)
    rows: list[tuple[str, Content]] = [*stored_rows(tree.attrs)]
    rows.append(("parts", Table(("part", "stage", "claims", "dims", "variables"), _parts(abouts))))
    checks = [
        line if line == "valid" else validation.within(overview.named(part), line)
        for part, about in abouts.items()
        for line in overview.checks_lines(about["validation"])
    ]
    rows.append(("checks", tuple(dict.fromkeys(checks)) or ("empty",)))
    first = next((part for part in abouts if part.isidentifier()), None)
    lines = ["tree.jfne.replay()"] if stage == "bundle" else []
    lines += [f'{first} = tree["{first}"].to_dataset()'] if first else []
    lines += ['tree.jfne.report("run.html")', 'tree.jfne.to_netcdf("run.nc")']
    rows.append(("next", Code(tuple(lines))))
    good = all(about["validation"]["valid"] for about in abouts.values())
    return Card(f"jaxfne_xr: {stage}", tuple(rows), None if good else Badge("not valid", "bad"))


def _parts(abouts: Mapping[str, Mapping[str, Any]]) -> tuple[tuple[str, ...], ...]:
    rows = []
    for part, about in abouts.items():
        sizes = ", ".join(f"{overview.named(d)}: {n}" for d, n in about["sizes"].items())
        badge = overview.badge(about)
        claims = "" if badge is None else badge.text
        names = ", ".join(overview.shortened([*map(overview.named, about["variables"])]))
        rows.append((overview.named(part) or "/", about["stage"], claims, sizes, names))
    return tuple(rows)
