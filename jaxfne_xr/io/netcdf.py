"""NetCDF files: written completely or not at all, read back identical, and readable by plain xarray."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Mapping
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import xarray as xr

from jaxfne_xr.core.arguments import public
from jaxfne_xr.core.arrays import is_dask
from jaxfne_xr.core.dispatch import checked
from jaxfne_xr.core.errors import (
    ArgumentError,
    FileError,
    JfneError,
    Problem,
    UnitError,
    raise_problems,
    warn,
)
from jaxfne_xr.core.files import kind_of, named, replace_file, target_of
from jaxfne_xr.core.lost_units import CULPRITS, lost, nameless, restored
from jaxfne_xr.core.progress import working
from jaxfne_xr.core.schema import FINITE
from jaxfne_xr.core.types import FileName
from jaxfne_xr.core.units import bare
from jaxfne_xr.core.validation import checks, is_ours, path_in, validate, validate_tree, within

from .cf import about_file
from .encoding import RECORD, records_of, restore, to_plain, with_record
from .groups import assembled, described, groups_of, in_tree, is_tree

#: Encoding of a variable for each choice of compression, by the kind of its dtype. All filters are part of HDF5.
COMPRESSION: dict[str, Callable[[str], dict[str, Any]]] = {
    "none": lambda kind: {},
    "fast": lambda kind: {"zlib": True, "complevel": 1, "shuffle": True} if kind == "b" else {},
    "small": lambda kind: {"zlib": True, "complevel": 4, "shuffle": True} if kind in "biuf" else {},
}

#: Chunk sizes of dask arrays, as xarray takes them.
Chunks: TypeAlias = int | str | Mapping[Any, Any] | None

#: What a file holds.
Content: TypeAlias = xr.Dataset | xr.DataTree

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
        the file, in a tree of any shape; nodes that hold something else, such as parameters, are kept as they are. Of a
        part of a tree, inherited coordinates are written too, as ``tree["part"].copy()`` has them.
    path : path-like
        Its folder must exist. The file behind a link is replaced; what is not a file, such as a named pipe, is not.
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
        written. If the disk is full, or the system refuses to write: the old file is as it was.
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
    target, problems = target_of(path)
    nodes: dict[str, xr.DataTree] = {}
    if isinstance(data, xr.DataTree):
        problems += validate_tree(data).problems
        nodes = groups_of(data)
        # what the root inherits from nodes above it, which are not written, becomes its own
        datasets = {g: node.to_dataset(inherit=node is data) for g, node in nodes.items()}
        parts = {group: path_in(data, node) for group, node in nodes.items()}
        encodings = {f"/{str(part).strip('/')}": x for part, x in dict(encoding or {}).items()}
        problems += _unknown_names("encoding", encodings, [f"/{part}" for part in parts.values()])
    else:
        problems += validate(data).problems
        datasets, parts, encodings = {"/": data}, {"/": ""}, {"/": encoding or {}}
    plain: dict[str, xr.Dataset] = {}
    chosen: dict[str, dict[Hashable, Any]] = {}
    for group, ds in datasets.items():
        expected = encodings.get(f"/{parts[group]}", {})
        about = about_file(ds, [p for p in parts.values() if p]) if group == "/" else {}
        plain[group], more = to_plain(_checked(ds), about)
        more = [*_unknown_names("encoding", expected, ds.variables), *more]
        problems += [in_tree(p, parts[group]) for p in more] if nodes else more
        if nodes and not more:
            plain[group] = with_record(plain[group], **described(group, nodes[group]))
        codec = COMPRESSION[compression]
        arrays = {n: v for n, v in plain[group].data_vars.items() if v.ndim}
        chosen[group] = {n: codec(v.dtype.kind) for n, v in arrays.items()} | dict(expected)
        # CF forbids a _FillValue of coordinates, and xarray would add NaN
        reals = [n for n, v in plain[group].coords.items() if v.dtype.kind == "f"]
        chosen[group] |= {n: {"_FillValue": None, **expected.get(n, {})} for n in reals}
    raise_problems(problems)
    options: dict[str, Any] = {"engine": "netcdf4", "format": "NETCDF4"}
    whole = xr.DataTree.from_dict(plain) if nodes else plain["/"]
    options["encoding"] = chosen if nodes else chosen["/"]
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
    source = _existing(path)
    # with `chunks` nothing is read yet: no progress to show
    with working(f"reading {source.name}") if chunks is None else nullcontext():
        result, close = _read(source, chunks=chunks, plain=plain, check=check, load=chunks is None)
    if chunks is None:
        close()
    else:
        result.set_close(close)
    return result


def read_lazily(path: object) -> tuple[Content, Callable[[], None]]:
    """Return what a file holds, checked, and what closes it: arrays are read when first used, units are in attrs."""
    return _read(_existing(path), chunks=None, plain=False, check=True, load=False)


def _existing(path: object) -> Path:
    source = named(path)
    if (kind := kind_of(source)) is not None:
        raise _unreadable(source, kind)
    return source


def _read(
    source: Path, *, chunks: Chunks, plain: bool, check: bool, load: bool
) -> tuple[Content, Callable[[], None]]:
    """Return the content of a file, and what closes it. Without `load` nothing is read, and units are in attrs."""
    try:
        groups = xr.open_groups(source, engine="netcdf4", chunks=chunks, **RAW)
    except PermissionError as error:
        raise _unreadable(source, "a file that you may not read") from error
    except (OSError, ValueError) as error:
        raise _unreadable(source, f"a file that is not netCDF, or truncated ({error})") from error
    try:
        others: list[str] = []
        if plain:
            made = {group: xr.decode_cf(raw) for group, raw in groups.items()}
            records: dict[str, dict[str, Any]] = {group: {} for group in groups}
        else:
            records = records_of(groups, source)
            made = {g: restore(raw, records[g], lazy=not load) for g, raw in groups.items()}
            others = [g for g in groups if RECORD not in groups[g].attrs]
            if not load and chunks is None:  # for xarray, which chunks later
                _keep_chunk_sizes(made, groups)
        if load:
            made = {group: ds.load() for group, ds in made.items()}
        made |= {g: _with_lost_units(made[g], part=is_tree(records)) for g in others}
        result = assembled(made, records) if is_tree(records) else made["/"]
        if check and not plain:
            said = {within(g.strip("/"), str(name)) for g in others for name in lost(made[g])}
            if isinstance(result, xr.DataTree):
                report = validate_tree(result, values=load)
            else:
                report = checks(result, values=load)
            # units that plain `to_netcdf` lost are no problems: there is a warning of them
            problems = (
                p for p in report.problems if p.error is not UnitError or p.where not in said
            )
            raise_problems(problems)
    except BaseException as error:  # also an interruption leaves no open file
        _close(groups)
        if isinstance(error, (OSError, RuntimeError)) and not isinstance(error, JfneError):
            raise _unreadable(source, f"a file that cannot be read completely ({error})") from error
        raise
    return result, partial(_close, groups)


def _keep_chunk_sizes(made: Mapping[str, xr.Dataset], groups: Mapping[str, xr.Dataset]) -> None:
    """Note the chunks of the file, as ``chunks={}`` asks for them."""
    for group, ds in made.items():
        for name, variable in ds.variables.items():
            stored = groups[group].variables[name].encoding
            variable.encoding = {k: v for k, v in stored.items() if k == "preferred_chunks"}


def _with_lost_units(ds: xr.Dataset, *, part: bool) -> xr.Dataset:
    """Return the content of a file that plain `to_netcdf` wrote, with the units that are beyond doubt.

    A part of a tree may hold anything: of one that this package did not make, nothing is said.

    Warns
    -----
    UserWarning
        Of every variable that is read in a unit that the file does not say, or that has none any more.
    """
    ds = restored(ds)
    missing = lost(ds)
    if missing:
        said = "; ".join(f'ds["{n}"].attrs["units"] = "{unit}"' for n, unit in missing.items())
        warn(
            f"{', '.join(missing)} lost the unit: {CULPRITS}, and ds.jfne.to_netcdf keeps it. If the values are still "
            f"in the units they were made in: {said}"
        )
    others = nameless(ds) if is_ours(ds) or not part else []
    if others:
        warn(
            f"{', '.join(others)} without a unit: {CULPRITS}, and ds.jfne.to_netcdf keeps it. If there was one: "
            + "; ".join(f'ds["{n}"].attrs["units"] = ...' for n in others)
        )
    return ds


def _checked(ds: xr.Dataset) -> xr.Dataset:
    """Return `ds` with checks that voltages and currents in dask arrays are finite, run as they are written."""
    lazy = {
        name: checked(ds.variables[name], name)
        for name in FINITE
        if name in ds.data_vars and is_dask(bare(ds.variables[name]._data))
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
        remedy=f"check the name {path.name[:60]!r}, or copy the file again from its source",
    )
