"""NetCDF files: written completely or not at all, read back identical, and readable by plain xarray."""

from __future__ import annotations

import os
from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import ArgumentError, FileError, JfneError, Problem, raise_problems
from jaxfne_xr.core.files import replace_file, target_problems
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.schema import FINITE
from jaxfne_xr.core.types import FileName
from jaxfne_xr.core.units import magnitude
from jaxfne_xr.core.validation import validate

from .encoding import RECORD, record_of, restore, to_plain

#: Encoding of a variable for each choice of compression, by the kind of its dtype. All filters are part of HDF5.
COMPRESSION: dict[str, Callable[[str], dict[str, Any]]] = {
    "none": lambda kind: {},
    "fast": lambda kind: {"zlib": True, "complevel": 1, "shuffle": True} if kind == "b" else {},
    "small": lambda kind: {"zlib": True, "complevel": 4, "shuffle": True} if kind in "biuf" else {},
}

#: Chunk sizes of dask arrays, as xarray takes them.
Chunks: TypeAlias = int | str | Mapping[Any, Any] | None

#: Options that decode nothing on reading: `restore` does it, from the record. (`open_groups` ignores
#: ``decode_cf=False``.)
RAW: dict[str, Any] = dict.fromkeys(
    ("mask_and_scale", "decode_times", "decode_timedelta", "concat_characters", "decode_coords"),
    False,
)


@public
def to_netcdf(
    data: xr.Dataset | xr.DataTree,
    path: FileName,
    *,
    compression: str = "fast",
    encoding: Mapping[Hashable, Any] | None = None,
) -> Path:
    """Write a Dataset, or a tree of them such as a bundle, to one netCDF file.

    The file is written under a temporary name in the same folder, synced, and moved to `path`: if anything fails, an
    existing file stays as it was.

    Parameters
    ----------
    data : xr.Dataset or xr.DataTree
        Must pass `validate`; NumPy-, JAX- or dask-backed, quantified or not. The nodes of a tree become the groups of
        the file.
    path : path-like
        Its folder must exist.
    compression : {"fast", "none", "small"}
        ``"fast"``: spikes are deflated (to about 1 %), everything else is stored uncompressed, which is fastest to
        write and read. ``"small"``: everything is deflated, which is about twenty times slower. All netCDF4 and HDF5
        readers can open the file.
    encoding : mapping, optional
        Per variable, as `xarray.Dataset.to_netcdf` takes it, or per group and variable, as
        `xarray.DataTree.to_netcdf` does; overrides `compression`.

    Returns
    -------
    Path
        The file that was written.

    Raises
    ------
    FileError
        If the folder does not exist, or something in `data` cannot be stored: all problems are listed, and nothing is
        written.
    JfneError
        If `validate` finds a problem, such as a scope that claims more than the provenance supports.

    Examples
    --------
    >>> import numpy as np, tempfile, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     jfx.open(to_netcdf(ds, f"{folder}/run.nc")).identical(ds)
    True
    """
    if compression not in COMPRESSION:
        raise ArgumentError.of(
            "compression",
            found=repr(compression),
            expected=f"one of {list(COMPRESSION)}",
            remedy='compression="fast", or encoding= for anything else',
        )
    target = Path(os.path.realpath(Path(path).expanduser()))
    problems = target_problems(target)
    tree = isinstance(data, xr.DataTree)
    if isinstance(data, xr.DataTree):
        nodes = {node.path: node.to_dataset(inherit=False) for node in data.subtree}
    else:
        nodes = {"/": data}
    encodings = dict(encoding or {}) if tree else {"/": encoding or {}}
    problems += _unknown_names("encoding", encodings, nodes) if tree else []
    plain: dict[str, xr.Dataset] = {}
    chosen: dict[str, dict[Hashable, Any]] = {}
    for group, ds in nodes.items():
        expected = encodings.get(group, {})
        plain[group], more = to_plain(_checked(ds))
        more = [*validate(ds).problems, *_unknown_names("encoding", expected, ds.variables), *more]
        problems += [replace(p, where=f"{group}: {p.where}") for p in more] if tree else more
        codec = COMPRESSION[compression]
        arrays = {n: v for n, v in plain[group].data_vars.items() if v.ndim}
        chosen[group] = {n: codec(v.dtype.kind) for n, v in arrays.items()} | dict(expected)
    raise_problems(problems)
    options: dict[str, Any] = {"engine": "netcdf4", "format": "NETCDF4"}
    whole = xr.DataTree.from_dict(plain) if tree else plain["/"]
    options["encoding"] = chosen if tree else chosen["/"]
    with working(f"writing {target.name}"):
        replace_file(target, lambda file: whole.to_netcdf(file, **options))
    return target


@public
def open(
    path: FileName,
    *,
    chunks: Chunks = None,
    plain: bool = False,
) -> Any:
    """Open a netCDF file that `to_netcdf` wrote, and return what was written, identical.

    Parameters
    ----------
    path : path-like
        The file.
    chunks : int, dict, "auto" or None
        None reads everything and closes the file. Anything else returns dask arrays of these chunks, which are read
        when computed, with units in attrs.
    plain : bool
        Open any netCDF file as `xarray.open_dataset` does, without checks of its schema, units or scope.

    Returns
    -------
    xr.Dataset or xr.DataTree
        As it was saved; a tree if the file has groups. JAX arrays are returned as NumPy with units in attrs
        (``.jfne.to_jax()`` converts them back).

    Raises
    ------
    FileError
        If the file does not exist, is not netCDF, or is truncated.
    SchemaError
        If it was not written by this package, or by a newer version of it.
    JfneError
        If `validate` finds a problem.
    """
    return read(path, chunks=chunks, plain=plain, check=True)


def read(path: FileName, *, chunks: Chunks = None, plain: bool = False, check: bool = False) -> Any:
    """Return the content of a file as `open` does, with the checks of `validate` only if `check` is True."""
    source = Path(path).expanduser()
    if not source.is_file():
        raise _unreadable(source, "no such file" if not source.exists() else "a folder")
    try:
        groups = xr.open_groups(source, engine="netcdf4", chunks=chunks, **RAW)
    except (OSError, ValueError) as error:
        raise _unreadable(source, f"a file that is not netCDF, or truncated ({error})") from error
    try:
        # with `chunks` nothing is read yet: no progress to show
        with working(f"reading {source.name}") if chunks is None else nullcontext():
            if plain:
                made = {group: xr.decode_cf(raw) for group, raw in groups.items()}
            else:
                # raises if this package did not write the file
                root = record_of(groups["/"], source)
                records = {
                    g: record_of(raw, source) if RECORD in raw.attrs else root
                    for g, raw in groups.items()
                }
                lazy = chunks is not None
                made = {g: restore(raw, records[g], lazy=lazy) for g, raw in groups.items()}
                if check:
                    raise_problems(p for ds in made.values() for p in validate(ds).problems)
            if chunks is None:
                made = {group: ds.load() for group, ds in made.items()}
    except BaseException as error:  # also an interruption leaves no open file
        _close(groups)
        if isinstance(error, (OSError, RuntimeError)) and not isinstance(error, JfneError):
            raise _unreadable(source, f"a file that cannot be read completely ({error})") from error
        raise
    result = made["/"] if len(made) == 1 else xr.DataTree.from_dict(made)
    if chunks is None:
        _close(groups)
    else:
        result.set_close(partial(_close, groups))
    return result


def _checked(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with checks that voltages and currents in dask arrays are finite, run as they are written."""
    lazy = {
        name: checked(ds.variables[name], name)
        for name in FINITE
        if name in ds.data_vars and is_dask(magnitude(ds.variables[name]._data))
    }
    return ds.assign(lazy) if lazy else ds


def _close(groups: Mapping[str, xr.Dataset]) -> None:
    for ds in groups.values():
        ds.close()


def _unknown_names(
    where: str, given: Iterable[Hashable], known: Iterable[Hashable]
) -> list[Problem]:
    names = [str(n) for n in known]
    return [
        Problem(
            where=where,
            found=f"{name!r}, which is not among {names}",
            expected="the names of variables, or of groups in a tree",
            remedy='encoding={"V_m": {"zlib": True}}',
            error=ArgumentError,
        )
        for name in given
        if name not in names
    ]


def _unreadable(path: Path, found: str) -> FileError:
    return FileError.of(
        "path",
        found=found,
        expected="a netCDF file written by to_netcdf",
        remedy=f"check the name {path.name!r}, or copy the file again from its source",
    )
