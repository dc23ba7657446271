"""Show what is in files of neural data, check them, and write reports."""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import sys
from collections.abc import Sequence
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from .core import validation
from .core.cards import printable
from .core.errors import JfneError, listing
from .core.provenance import version_of
from .display import overview
from .display.html_report import report
from .fields.proxies import lfp_proxy
from .geometry.probes import linear_probe
from .io import netcdf
from .signals.spikes import to_signals
from .signals.traces import traces


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command and return its exit status.

    Examples
    --------
    >>> main(["validate", "no-such-file.nc"])
    2
    """
    if isinstance(sys.stdout, TextIOWrapper):
        # names may have characters that the terminal cannot encode
        sys.stdout.reconfigure(errors="backslashreplace")
    options = _parser().parse_args(arguments)
    try:
        return int(options.command(options))
    except JfneError as error:
        print(f"jaxfne_xr: {_readable(listing(error.problems))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        # the reader has closed the pipe, as `head` does; stdout must not be flushed into it
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m jaxfne_xr", description=__doc__)
    parser.add_argument("--version", action="version", version=version_of("jaxfne-xr"))
    commands = parser.add_subparsers(required=True, metavar="command")
    for function in (info, validate, write_report, demo):
        name = function.__name__.removeprefix("write_")
        command = commands.add_parser(name, help=function.__doc__, description=function.__doc__)
        command.set_defaults(command=function)
        if function is not demo:
            command.add_argument("file", type=Path, help="a netCDF file written by to_netcdf")
        if function is info:
            command.add_argument("--json", action="store_true", help="as strict JSON")
        if function is write_report:
            command.add_argument("-o", "--output", type=Path, help="by default next to the file")
        if function is demo:
            command.add_argument("-o", "--output", type=Path, default=Path("jaxfne_xr_demo.nc"))
    return parser


def info(options: argparse.Namespace) -> int:
    """Show what is in a file, without reading its values."""
    data = _lazily(options.file)
    # coordinates are small, and needed to count groups
    parts = {
        part: ds.assign_coords({n: c.load() for n, c in ds.coords.items()})
        for part, ds in validation.parts_of(data).items()
    }
    of_tree = isinstance(data, xr.DataTree)
    abouts = {part: overview.facts(ds, part=of_tree) for part, ds in parts.items()}
    if options.json:
        about = {part or "/": about for part, about in abouts.items()}
        print(json.dumps({"file": options.file.name, "parts": about}, indent=2, allow_nan=False))
        return 0
    for part, about in abouts.items():
        print(_readable(f"{options.file.name}{part and f', {part}'}"))
        node = f'["{part}"].to_dataset()' if part else ""
        opened = f'ds = jfx.open("{options.file.name}"){node}'
        print(overview.card_of({**about, "next": [opened, *about["next"]]}))
    return 0


def validate(options: argparse.Namespace) -> int:
    """List all problems of a file; the exit status is 0 if there are none, 1 if there are, 2 if it cannot be read."""
    data = netcdf.read(options.file)
    of_tree = isinstance(data, xr.DataTree)
    reports = validation.checks_of_parts(data) if of_tree else {"": validation.validate(data)}
    for part, checked in reports.items():
        if checked.stage != validation.OTHER:
            print(_readable(validation.within(part, str(checked))))
    return 0 if all(reports.values()) else 1


def write_report(options: argparse.Namespace) -> int:
    """Write a report of a file, as one HTML page."""
    os.environ.setdefault("MPLBACKEND", "agg")  # works without a display
    written = report(_lazily(options.file), options.output or options.file.with_suffix(".html"))
    print(f"{written}: {written.stat().st_size / 1e6:.2g} MB")
    return 0


def demo(options: argparse.Namespace) -> int:
    """Generate twelve cells in three layers, label them, and write their signals to a file to experiment with."""
    rng = np.random.default_rng(1)
    layers = np.repeat(["L2/3", "L4", "L5"], 4)
    rate = {"L2/3": 5.0, "L4": 20.0, "L5": 10.0}  # Hz
    dt, n = 0.1, 10_000  # ms, samples
    v = rng.normal(-65.0, 1.0, (len(layers), n))
    shape = np.concatenate([np.linspace(0.0, 1.0, 5), np.exp(-np.arange(40) / 10.0)])  # of a spike
    for cell, layer in enumerate(layers):
        for start in np.flatnonzero(rng.random(n - len(shape)) < rate[layer] * dt * 1e-3):
            v[cell, start : start + len(shape)] += 90.0 * shape
    depth = np.linspace(-1100.0, -100.0, len(layers))[::-1]
    places = {"x": rng.uniform(-100, 100, len(layers)), "y": np.zeros(len(layers)), "z": depth}
    coords: dict[str, Any] = {a: ("unit", xs, {"units": "um"}) for a, xs in places.items()}
    made = traces(v, ("unit", "time"), dt_ms=dt, coords={**coords, "layer": ("unit", layers)})
    signals = to_signals(made)
    shank = linear_probe(12, spacing="100 um", origin=(0, 0, -1150))
    for ds in (made, signals, lfp_proxy(signals, shank)):
        print(overview.card(ds))
    written = netcdf.to_netcdf(signals, options.output)
    print(f"Wrote {options.output}. Now try:")
    for command in ("info", "validate", "report"):
        print(
            f"    python -m jaxfne_xr {command} {written.name if written.parent == Path.cwd() else written}"
        )
    return 0


def _readable(text: str) -> str:
    """Return lines of text without control characters for the terminal."""
    return "\n".join(map(printable, text.splitlines()))


def _lazily(file: Path) -> xr.Dataset | xr.DataTree:
    """Open a file without reading its values, if dask is installed."""
    return netcdf.read(file, chunks="auto" if importlib.util.find_spec("dask") else None)


if __name__ == "__main__":
    sys.exit(main())
