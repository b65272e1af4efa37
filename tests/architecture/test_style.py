"""Habits worth a machine's attention: the rest of the style is a matter of reading."""

from __future__ import annotations

import ast
from collections.abc import Iterator

import pytest

from tests.architecture.source import ROOT, Module, modules

LINES_MAX = 500
"""Where a file starts to need a table of contents."""
LONGER_FILES = {
    "broker/config/broker_schema.py": "a table: every broker config with type, default and documentation",
}
"""Path → why it is one idea all the same."""


def long_files() -> dict[str, int]:
    counts = {module.relative: len(module.path.read_text(encoding="utf-8").splitlines()) for module in modules()}
    return {path: count for path, count in counts.items() if count > LINES_MAX}


def test_a_file_is_one_idea() -> None:
    unexplained = {path: count for path, count in long_files().items() if path not in LONGER_FILES}
    assert not unexplained, "split it by idea, or say in LONGER_FILES why it is one"


def test_no_excuse_outlives_its_file() -> None:
    assert set(LONGER_FILES) <= set(long_files())


@pytest.mark.parametrize("module", modules(), ids=lambda module: module.name)
def test_a_module_says_what_it_owns(module: Module) -> None:
    defines = any(isinstance(node, ast.FunctionDef | ast.ClassDef | ast.AsyncFunctionDef) for node in module.tree.body)
    small = len(module.path.read_text(encoding="utf-8").splitlines()) < 25
    assert ast.get_docstring(module.tree) or not defines or small, f"{module.relative} has no docstring"


def test_no_failure_is_swallowed() -> None:
    """A handler for everything must raise again or say what happened."""
    silent = [
        f"{module.relative}:{handler.lineno}"
        for module in modules()
        for handler in catch_alls(module.tree)
        if all(
            isinstance(statement, ast.Pass | ast.Continue | ast.Expr) and is_nothing(statement)
            for statement in handler.body
        )
    ]
    assert not silent


def test_nothing_is_left_for_later() -> None:
    marks = ("TO" + "DO", "FIX" + "ME", "NotImplemented" + "Error", "XX" + "X ")
    left = [
        f"{path.relative_to(ROOT)}:{number}"
        for package in ("broker", "dashboard", "templates", "static")
        for path in sorted((ROOT / package).rglob("*"))
        if path.suffix in {".py", ".html", ".js", ".css"}
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(mark in line for mark in marks)
    ]
    assert not left


def test_templates_load_nothing_from_elsewhere_and_run_no_inline_script() -> None:
    wrong = [
        f"{path.relative_to(ROOT)}:{number}"
        for path in sorted((ROOT / "templates").rglob("*.html"))
        for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1)
        if any(
            mark in line for mark in ('src="http', "src='http", '<link href="http', "onclick=", "onsubmit=", "<script>")
        )
    ]
    assert not wrong


def catch_alls(tree: ast.AST) -> Iterator[ast.ExceptHandler]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type is not None else ""
            if caught in ("", "Exception", "BaseException"):
                yield node


def is_nothing(statement: ast.stmt) -> bool:
    """``pass``, ``continue``, ``...`` or a lone string."""
    return not isinstance(statement, ast.Expr) or isinstance(statement.value, ast.Constant)
