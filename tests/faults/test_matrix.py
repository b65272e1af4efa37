"""Every fault of the matrix has a test, and every test it names exists."""

from __future__ import annotations

import ast
from pathlib import Path

from tests.faults.matrix import MATRIX

TESTS = Path(__file__).resolve().parents[1]
ROWS = {*range(1, 25), 28, 29, 31, 32, 34, 35}


def test_every_row_has_tests_that_exist() -> None:
    missing = [
        (number, test)
        for number, row in MATRIX.items()
        for test in row.tests
        if test.partition("::")[2] not in functions_of(TESTS / test.partition("::")[0])
    ]
    assert not missing
    assert all(row.tests for row in MATRIX.values())


def test_no_row_is_forgotten() -> None:
    assert set(MATRIX) == ROWS


def functions_of(path: Path) -> set[str]:
    tree = ast.parse(path.read_text())
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}
