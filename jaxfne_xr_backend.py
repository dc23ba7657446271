"""The engine ``"jfne"`` of xarray, which opens files of `jaxfne_xr`.

It is a module of its own, since xarray imports every engine that is installed as soon as it opens a file without being
told which: the package, with JAX, is imported only when a file is opened with ``engine="jfne"``.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from functools import partial
from typing import Any, ClassVar

import xarray as xr
from xarray.backends import BackendEntrypoint


class JfneBackendEntrypoint(BackendEntrypoint):
    """Open files that `jaxfne_xr.to_netcdf` wrote, with their checks, types, units and labels.

    Arrays are read when they are first used, or are dask arrays with ``chunks=``; units are in attrs, as
    `jaxfne_xr.open` returns them with ``chunks``. ``.jfne.quantify()`` makes quantities of what is in memory.

    Examples
    --------
    >>> import numpy as np, tempfile, xarray as xr, jaxfne_xr as jfx
    >>> ds = jfx.traces(np.full((3, 100), -65.0), dims=("unit", "time"), dt_ms=0.1)
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = ds.jfne.to_netcdf(f"{folder}/run.nc")
    ...     xr.load_dataset(path, engine=JfneBackendEntrypoint).jfne.quantify().identical(ds)
    True
    """

    description: ClassVar[str] = "Open netCDF files of jaxfne_xr as jaxfne_xr.open does"
    open_dataset_parameters: ClassVar[tuple[str, ...]] = (
        "filename_or_obj",
        "drop_variables",
        "group",
    )
    supports_groups: ClassVar[bool] = True

    # `guess_can_open` is False, as by default: without ``engine="jfne"``, xarray opens every file as before

    def open_dataset(
        self,
        filename_or_obj: Any,
        *,
        drop_variables: str | Iterable[str] | None = None,
        group: str | None = None,
    ) -> xr.Dataset:
        """Return the Dataset of a file, or one `group` of a bundle."""
        from jaxfne_xr.core.errors import SchemaError

        groups = self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables)
        name = f"/{(group or '').strip('/')}"
        if name in groups and (group is not None or len(groups) == 1):
            return groups[name]
        groups["/"].close()
        names = [g.strip("/") or "/" for g in groups]
        raise SchemaError.of(
            "group",
            found=f"a file with the groups {names}" if group is None else repr(group),
            expected="the name of one of them" if group is None else f"one of {names}",
            remedy=f'group={names[-1]!r}, or xr.open_datatree(path, engine="jfne") for all',
        )

    def open_datatree(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> xr.DataTree:
        """Return all groups of a file as one tree."""
        groups = self.open_groups_as_dict(filename_or_obj, drop_variables=drop_variables)
        tree = xr.DataTree.from_dict(groups)
        tree.set_close(groups["/"].close)
        return tree

    def open_groups_as_dict(
        self, filename_or_obj: Any, *, drop_variables: str | Iterable[str] | None = None
    ) -> dict[str, xr.Dataset]:
        """Return the groups of a file by name; closing any of them closes the file."""
        from jaxfne_xr.io import netcdf

        dropped: list[Hashable] = (
            [drop_variables] if isinstance(drop_variables, str) else [*(drop_variables or ())]
        )
        content, close = netcdf.read_lazily(filename_or_obj)
        nodes = content.subtree if isinstance(content, xr.DataTree) else [content]
        made = {
            getattr(node, "path", "/"): node.to_dataset(inherit=False)
            if isinstance(node, xr.DataTree)
            else node
            for node in nodes
        }
        made = {group: ds.drop_vars(dropped, errors="ignore") for group, ds in made.items()}
        for ds in made.values():
            ds.set_close(partial(close))
        return made
