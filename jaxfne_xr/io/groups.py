"""Nodes of a tree as groups of a file, and back."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from typing import Any

import xarray as xr

from jaxfne_xr.core.errors import Problem
from jaxfne_xr.core.validation import within

from .encoding import accepted_name


def groups_of(tree: xr.DataTree) -> dict[str, xr.DataTree]:
    """Return the nodes of a tree by the paths of their groups, parents first.

    A group has the name of its node, unless netCDF does not accept it or a dimension of the parent has it already:
    `described` keeps the others.
    """
    return dict(_walked("", tree))


def _walked(path: str, node: xr.DataTree) -> Iterator[tuple[str, xr.DataTree]]:
    yield path or "/", node
    taken = set(map(str, node.dataset.sizes))
    for name, child in node.children.items():
        group = accepted_name(name)
        while group in taken:
            group += "_"
        taken.add(group)
        yield from _walked(f"{path}/{group}", child)


def described(group: str, node: xr.DataTree) -> dict[str, Any]:
    """Return what the record of a group says of its node."""
    if group == "/":
        return {"tree": node.name}
    return {} if group.endswith(f"/{node.name}") else {"name": node.name}


def in_tree(problem: Problem, part: str) -> Problem:
    """Return the problem of a Dataset as that of a part of a tree, with a remedy that changes the tree in place."""
    node = f"tree[{part!r}]" if part else "tree"
    remedy = problem.remedy
    if ".attrs[" in remedy:
        remedy = re.sub(r"\bds\b", lambda _: node, remedy)
    elif remedy.startswith("ds."):
        fixed = re.sub(r"\bds\b", lambda _: f"{node}.to_dataset(inherit=False)", remedy)
        remedy = f"{node}.dataset = {fixed}"
    return replace(problem, where=within(part, problem.where), remedy=remedy)


def is_tree(records: Mapping[str, Mapping[str, Any]]) -> bool:
    """Whether groups form a tree; a Dataset is the only group of its file, too."""
    return len(records) > 1 or "tree" in records["/"]


def assembled(
    datasets: Mapping[str, xr.Dataset], records: Mapping[str, Mapping[str, Any]]
) -> xr.DataTree:
    """Return the tree whose nodes `groups_of` and `described` made groups of."""
    # each node is attached to its parent once: xarray copies a node with all below it, level by level, if it is given
    # to the constructor of its parent. The deepest come first: a node keeps the coordinates that it has of its own,
    # and may have the name of a coordinate that its parent inherits
    nodes = {group: xr.DataTree(ds) for group, ds in datasets.items()}
    nodes["/"].name = records["/"].get("tree")
    children: dict[str, dict[str, xr.DataTree]] = {}
    for group in (g for g in datasets if g != "/"):
        parent, _, name = group.rpartition("/")
        children.setdefault(parent or "/", {})[records[group].get("name", name)] = nodes[group]
    for parent in sorted(children, key=lambda group: -group.rstrip("/").count("/")):
        nodes[parent].children = children[parent]
    return nodes["/"]
