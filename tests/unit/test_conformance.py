"""docs/CONFORMANCE.md and the tests say the same: each case is there once, with the tests that carry its id, or with
the reason why none does."""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
PAGE = "docs/CONFORMANCE.md"
SETS = {"A{}": 15, "F{:02}": 32, "H{:02}": 15, "M{:02}": 18, "L2-{:02}": 16, "VX-{:02}": 13, "IP-{:02}": 9}
SETS |= {"RR-{:02}": 14, "GR-{:02}": 12}
"""How the ids of each set are written, and how many there are."""
CASES = [form.format(number) for form, count in SETS.items() for number in range(1, count + 1)]


def rows(text: str) -> dict[str, str]:
    """Case -> the last cell of its row."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        cells = [cell.strip() for cell in line.strip().strip("|").split("|")]
        if line.startswith("|") and re.fullmatch(r"[A-Z]+2?-?\d+", cells[0]):
            assert cells[0] not in found, f"{PAGE}: {cells[0]} is there twice"
            found[cells[0]] = cells[-1]
    return found


def marked(tree: ast.Module, name: str) -> Iterator[tuple[str, str]]:
    """Each case id that a test of this module carries, and the test's name on the page."""
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    for body in [tree.body, *(node.body for node in classes)]:
        for node in body:
            if isinstance(node, ast.FunctionDef) and node.name.startswith("test_"):
                yield from ((case, f"{name}::{node.name}") for case in _cases(node))


def _cases(test: ast.FunctionDef) -> Iterator[str]:
    for call in test.decorator_list:
        if isinstance(call, ast.Call) and ast.unparse(call.func) == "pytest.mark.case":
            yield from (ast.literal_eval(one) for one in call.args)


def carried() -> dict[str, set[str]]:
    """Case -> the tests that carry it."""
    found: dict[str, set[str]] = {}
    for path in sorted((HOME / "tests").rglob("*.py")):
        for case, test in marked(ast.parse(path.read_text()), str(path.relative_to(HOME / "tests"))):
            found.setdefault(case, set()).add(test)
    return found


ROWS, CARRIED = rows((HOME / PAGE).read_text()), carried()


def test_every_case_is_on_the_page_and_no_other() -> None:
    assert Counter(ROWS.keys()) == Counter(CASES)
    assert set(CARRIED) <= set(CASES), "a test carries an id that no set has"


@pytest.mark.parametrize("case", CASES)
def test_the_page_names_the_tests_that_carry_a_case(case: str) -> None:
    named = set(re.findall(r"`(\S+::test_\w+)`", ROWS[case]))
    tests = sorted(CARRIED.get(case, ()))
    assert named == set(tests), f"{case} is held by: " + ", ".join(f"`{one}`" for one in tests)
    assert tests or re.search(r"\w+ \w+.*\.$", ROWS[case]), f"{case}: neither a test nor a sentence that says why"


def test_a_class_that_others_inherit_from_is_inherited_from() -> None:
    """pytest collects what is named Test...; tests of another class run only in its subclasses."""
    trees = [ast.parse(path.read_text()) for path in sorted((HOME / "tests").rglob("*.py"))]
    classes = [node for tree in trees for node in ast.walk(tree) if isinstance(node, ast.ClassDef)]
    used = {ast.unparse(base) for node in classes if node.name.startswith("Test") for base in node.bases}
    for node in classes:
        tests = [one for one in node.body if isinstance(one, ast.FunctionDef) and one.name.startswith("test_")]
        assert not tests or node.name.startswith("Test") or node.name in used, f"nobody runs {node.name}'s tests"


def test_the_reader_of_marks_sees_what_is_there() -> None:
    test = ' @pytest.mark.case("A1", "A2")\n @other\n def test_x(self): ...\n'
    text = f'class TestA:\n{test} @pytest.mark.case("A3")\n def no_test(self): ...'
    assert list(marked(ast.parse(text), "m.py")) == [("A1", "m.py::test_x"), ("A2", "m.py::test_x")]
