"""Remedies run: what errors say to type is complete code, and does on the data that caused them what it is for."""

import ast
import inspect
import re
import sys
from pathlib import Path

import numpy as np

import jaxfne_xr as jfx

sys.path.insert(0, str(Path(__file__).parents[1]))
from remedies import codes, complaints

SOURCES = sorted(Path(jfx.__file__).parent.rglob("*.py"))
#: What a user has besides the arguments, by the names that the documentation uses.
IN_HAND = {
    *("array", "values", "labels", "variable", "tree", "other", "cells", "cell", "matrix", "group"),
    *(
        "loss",
        "carry",
        "new",
        "made",
        "summary",
        "quantified",
        "cfg",
        "a",
        "b",
        "current",
        "is_soma",
        "times",
        "index",
    ),
}
for thing in (*vars(jfx).values(), *vars(jfx.plot).values(), jfx.Configuration.probe):
    if callable(thing) and not (inspect.isclass(thing) and issubclass(thing, Exception)):
        IN_HAND |= {*inspect.signature(thing).parameters}


def text_of(node):
    """Return a text in the source with X for what is filled in; None if it is made elsewhere."""
    if isinstance(node, ast.Constant):
        return node.value if isinstance(node.value, str) else None
    if isinstance(node, ast.JoinedStr):
        parts = [
            part.value
            if isinstance(part, ast.Constant)
            else "'X'"
            if part.conversion == 114
            else "X"
            for part in node.values
        ]
        return "".join(parts)
    if isinstance(node, ast.BinOp):
        sides = text_of(node.left), text_of(node.right)
        return None if None in sides else "".join(sides)
    return None


def remedies():
    """Yield the file, the line and the text of every remedy in the package."""
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            values = []
            if isinstance(node, ast.Call):
                values = [k.value for k in node.keywords if k.arg == "remedy"]
                name = ast.unparse(node.func)
                values += node.args[3:4] if name in ("Problem", "_problem") else []
            if isinstance(node, ast.Assign) and any(
                "remedy" in ast.unparse(t) for t in node.targets
            ):
                tuples = isinstance(node.value, ast.Tuple)
                values = [node.value.elts[-1] if tuples else node.value]
            for value in values:
                either = [value.body, value.orelse] if isinstance(value, ast.IfExp) else [value]
                for one in either:
                    text = text_of(one)
                    if text is not None:
                        yield path.name, node.lineno, text


def test_what_is_code():
    said = {
        'segment="4.5 ms", or bands={"all": (0, 3)}': ['segment="4.5 ms"', 'bands={"all": (0, 3)}'],
        'ds.rename({"a": "b"}), if it is that': ['ds.rename({"a": "b"})'],
        "select more samples, or a longer window": [],
        'v.attrs["units"] = "mV", if it is in mV': ['v.attrs["units"] = "mV"'],
        "units to attrs first: ds.v.pint.dequantify(); then x": ["ds.v.pint.dequantify()"],
    }
    assert {text: codes(text) for text in said} == said
    assert [*complaints("jfx.lfp(ds, ...)", {"ds"})] == ["... in jfx.lfp(ds, ...)"]
    assert [*complaints("jfx.lfp(mine)", {"ds"})] == ["['mine'] in jfx.lfp(mine)"]


def test_code_in_remedies_is_complete():
    found = list(remedies())
    assert len(found) > 200
    bad = [
        f"{file}:{line}: {what}"
        for file, line, text in found
        for what in complaints(text, IN_HAND | {"X"})
    ]
    assert not bad, "\n".join(bad)


def test_a_variable_is_named_as_that_of_its_dataset():
    bare = re.compile(r"(?<![\w\"'.])X\.attrs")
    assert bare.search('X.attrs["units"] = "um"')
    assert not bare.search('ds["X"].attrs["units"] = "um"')
    bad = [f"{file}:{line}: {text}" for file, line, text in remedies() if bare.search(text)]
    assert not bad, "\n".join(bad)


def test_the_remedy_for_a_missing_unit_runs():
    cell = jfx.morphology([[0, 0, 0]], [[0, 0, 9]], 2.0, [-1])
    ds = jfx.traces(np.ones((1, 3)), ("recording", "time"), dt_ms=0.1, name="source", units="nA")
    ds = ds.jfne.with_morphology(cell)
    ds.source.data = ds.source.data.magnitude
    del ds["x_start"].attrs["units"]
    left = 2
    while left:
        try:
            jfx.lfp(ds, jfx.linear_probe(1, origin=(30.0, 0.0, 0.0)))
            break
        except jfx.UnitError as error:
            for problem in error.problems:
                exec(codes(problem.remedy)[0], {"ds": ds})
            left -= 1
    assert (ds["x_start"].attrs["units"], ds.source.attrs["units"]) == ("um", "nA")
