"""The table of agreement with other codes in the docs: a row for every test that measures one, and no other."""

import ast
import csv
from pathlib import Path

HERE = Path(__file__).parents[1]
TABLE = HERE.parent / "docs" / "agreement.csv"


def rows_of_tests():
    """Return the rows that tests measure, read from their source: the other codes need not be here."""
    calls = [
        node
        for path in HERE.rglob("test_*.py")
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(node, ast.Call) and getattr(node.func, "id", None) == "agreement"
    ]
    return {tuple(ast.literal_eval(argument) for argument in call.args[:2]) for call in calls}


def rows_of_table():
    with TABLE.open(newline="", encoding="utf-8") as file:
        header, *rows = csv.reader(file)
    assert header == ["what", "against", "measured", "tested to"]
    return rows


def test_every_test_has_its_row_and_every_row_its_test():
    shown = [(what, against) for what, against, *_ in rows_of_table()]
    assert len(set(shown)) == len(shown)
    assert set(shown) == rows_of_tests()


def test_what_was_measured_is_within_what_is_tested():
    for what, against, measured, tested in rows_of_table():
        assert 0 <= float(measured) <= float(tested) < 0.1, (what, against)


def test_other_codes_are_among_them():
    against = " ".join(row[1] for row in rows_of_table())
    for code in ("NEURON", "LFPykit", "elephant", "Jaxley"):
        assert code in against


def test_the_page_shows_the_table():
    assert "agreement.csv" in (TABLE.parent / "fields.md").read_text(encoding="utf-8")
