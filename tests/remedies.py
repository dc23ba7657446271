"""The code in remedies: which parts of a text are code, whether they are complete, and what they do.

What to type is written as code that runs as it is: with the names of the arguments (``ds``, ``probe``, ...) and of the
imports in `IMPORTED`, without ``...``. Alternatives are separated by ", or"; prose may follow. ``name=value`` is an
argument of the function that was called.
"""

from __future__ import annotations

import ast
import pathlib
import re
from collections.abc import Iterator
from typing import Any

import jax
import jax.numpy as jnp
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr

import jaxfne_xr as jfx

IMPORTED = {"jfx": jfx, "np": np, "xr": xr, "jax": jax, "jnp": jnp, "plt": plt, "pathlib": pathlib}


#: What ends code outside brackets and quotes: punctuation, and words of prose.
ENDS = re.compile(
    r"[;,:] | (?:or|and|if|for|of|in|with|first|after|then|where|as|which|at|along|on) "
)


def codes(remedy: str) -> list[str]:
    """Return the parts of a remedy that are code."""
    parts, start, depth, quote, k = [], 0, 0, "", 0
    while k < len(remedy):
        character = remedy[k]
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character in "([{":
            depth += 1
        elif character in ")]}":
            depth -= 1
        elif depth == 0 and (end := ENDS.match(remedy, k)):
            parts.append(remedy[start:k])
            start = k = end.end()
            continue
        k += 1
    parts.append(remedy[start:])
    texts = (re.sub(r"^(?:(?:or|and|with) )+", "", part.strip()) for part in parts)
    return [text for text in texts if _is_code(text)]


def _is_code(text: str) -> bool:
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return False
    nodes = list(ast.walk(tree))
    if any(isinstance(n, ast.Return | ast.AnnAssign) for n in nodes):
        return False
    return any(isinstance(n, ast.Call | ast.Assign | ast.Subscript | ast.Delete) for n in nodes)


def complaints(remedy: str, known: set[str]) -> Iterator[str]:
    """Yield what is not complete in the code of a remedy."""
    builtin = {*vars(__builtins__)} if not isinstance(__builtins__, dict) else {*__builtins__}
    for code in codes(remedy):
        tree = ast.parse(code)
        if any(isinstance(n, ast.Constant) and n.value is ... for n in ast.walk(tree)):
            yield f"... in {code}"
        names = [n for n in ast.walk(tree) if isinstance(n, ast.Name)]
        made = {n.id for n in names if isinstance(n.ctx, ast.Store)}
        used = {n.id for n in names if isinstance(n.ctx, ast.Load)}
        if unknown := used - made - {*IMPORTED} - known - builtin:
            yield f"{sorted(unknown)} in {code}"


def run(code: str, names: dict[str, Any]) -> dict[str, Any]:
    """Execute the code of a remedy, and return what it assigns; its value is under ``""``."""
    space = {**IMPORTED, **names}
    tree = ast.parse(code)
    if len(tree.body) == 1 and isinstance(tree.body[0], ast.Expr):
        return {"": eval(code, space)}
    before = dict(space)
    exec(code, space)
    return {k: v for k, v in space.items() if k not in before or before[k] is not v}
