"""Rows of a picture: every combination of some dims, with labels, grouped and ordered."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from jaxfne_xr.core.errors import DataError, DimensionError, Problem, raise_problems
from jaxfne_xr.core.units import magnitude

#: Coordinates that group sites by default; the first one found is used.
GROUPS = ("population", "layer", "area")
#: The label of sites without a group.
UNGROUPED = "none"
#: Coordinates that label a row if its dim has no coordinate.
NAMES = ("name", "channel_name", "contact_name")


@dataclass(frozen=True)
class Groups:
    """The groups in a picture: the coordinate that defines them (None: no groups), and their labels."""

    by: str | None
    labels: list[Any]


@dataclass(frozen=True)
class Rows:
    """The rows of a picture, from the top.

    Attributes
    ----------
    dims : tuple of str
        The dims that the rows combine.
    order : int array (row)
        Index of each row in the flattened data.
    labels : list of str
        Label of each row.
    group : int array (row)
        The number of each row's group.
    """

    dims: tuple[str, ...]
    order: np.ndarray
    labels: list[str]
    group: np.ndarray


def groups_of(ds: xr.Dataset, dims: Sequence[Hashable], by: str | None) -> Groups:
    """Find the groups along some dims, in the order of their first occurrence.

    Parameters
    ----------
    ds : xr.Dataset
        All data of the picture.
    dims : sequence of str
        Dims of its rows and facets.
    by : str or None
        A coordinate along some of them; ``"auto"``: the first of `GROUPS`, or none.

    Raises
    ------
    DimensionError
        If there is no such coordinate.
    """
    if by == "auto":
        by = next((g for g in GROUPS if g in ds.coords and _lies_along(ds, g, dims)), None)
    if by is None:
        return Groups(None, [None])
    raise_problems(_coordinate_problems(ds, by, dims, "by"))
    return Groups(by, list(dict.fromkeys(group_labels(ds, by).ravel().tolist())))


def rows(
    ds: xr.Dataset, dims: Sequence[Hashable], groups: Groups, order: str | None = None
) -> Rows:
    """Combine some dims to rows, ordered by group, then by a coordinate, with its largest value on top.

    Parameters
    ----------
    ds : xr.Dataset
        The data of one axes.
    dims : sequence of str
        In the order of the data.
    groups : Groups
        From `groups_of`.
    order : str or None
        The coordinate to order by.

    Raises
    ------
    DimensionError
        If there is no such coordinate.
    """
    sizes = [ds.sizes[d] for d in dims]
    n = int(np.prod(sizes))
    where = dict(zip(dims, np.indices(sizes).reshape(len(sizes), n), strict=True))
    group, rank = np.zeros(n, int), np.arange(n)
    if groups.by is not None:
        number = {label: i for i, label in enumerate(groups.labels)}
        labels = _spread(group_labels(ds, groups.by), ds[groups.by].dims, where, n)
        group = np.array([number[x] for x in labels.tolist()], int)
    if order is not None:
        raise_problems(_coordinate_problems(ds, order, dims, "order"))
        along = _spread(np.asarray(magnitude(ds[order].variable.data)), ds[order].dims, where, n)
        rank = -_ranks(along, order)
    drawn_order = np.lexsort((rank, group))
    parts = [labels_of(ds, d)[where[d][drawn_order]].tolist() for d in dims]
    named = len(dims) > 1
    return Rows(
        dims=tuple(map(str, dims)),
        order=drawn_order,
        labels=[
            ", ".join(f"{d} {x}" if named else str(x) for d, x in zip(dims, row, strict=True))
            for row in zip(*parts, strict=True)
        ]
        if dims
        else [""],
        group=group[drawn_order],
    )


def labels_of(ds: xr.Dataset, dim: Hashable) -> np.ndarray:
    """Return the labels along a dim: its coordinate, a name, or a number."""
    for name in (dim, *NAMES):
        if name in ds.coords and ds.variables[name].dims == (dim,):
            return np.asarray(magnitude(ds.variables[name].data)).astype(object)
    return np.arange(ds.sizes[dim]).astype(object)


def _lies_along(ds: xr.Dataset, name: Hashable, dims: Sequence[Hashable]) -> bool:
    return bool(ds[name].dims) and set(ds[name].dims) <= set(dims)


def _coordinate_problems(
    ds: xr.Dataset, name: str, dims: Sequence[Hashable], argument: str
) -> list[Problem]:
    """Return the problem of a name that is not a coordinate along the dims of a picture."""
    if name in ds.coords and set(ds[name].dims) <= set(dims):
        return []
    along = [str(c) for c in ds.coords if _lies_along(ds, c, dims)]
    return [
        Problem(
            where=argument,
            found=f"{name!r}, and along {tuple(map(str, dims))} there are {along}",
            expected="a coordinate along the dims of the picture",
            remedy=f"{argument}={along[0]!r}" if along else f"{argument}=None",
            error=DimensionError,
        )
    ]


def _ranks(along: np.ndarray, order: str) -> np.ndarray:
    """Return the rank of each value of a coordinate; equal values have the same rank."""
    try:
        return np.unique(along, return_inverse=True)[1].ravel()
    except TypeError as error:
        found = f"{order!r}, whose values cannot be compared"
        raise DataError.of(
            "order", found=found, expected="only numbers, or only names", remedy="order=None"
        ) from error


def group_labels(ds: xr.Dataset, by: Hashable) -> np.ndarray:
    """Return the group of each site, "none" if it has no group."""
    given = np.asarray(magnitude(ds[by].variable.data))
    # x != x: NaN
    labels = [UNGROUPED if x is None or x == "" or x != x else x for x in given.ravel().tolist()]
    # assigned, since np.array would make two dims of labels that are tuples
    made = np.empty(len(labels), object)
    made[:] = labels
    return made.reshape(given.shape)


def _spread(
    values: np.ndarray, dims: Sequence[Hashable], where: dict[Hashable, np.ndarray], n: int
) -> np.ndarray:
    """Return the value of a coordinate for each of n rows."""
    return values[tuple(where[d] for d in dims)] if dims else np.full(n, values[()])
