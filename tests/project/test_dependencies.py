"""Every dependency has a reason, bounds, and a version that was tested."""

from __future__ import annotations

import re
import tomllib

from broker.supervisor.roles import PROJECT_ROOT

PROJECT = tomllib.loads((PROJECT_ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
RUNTIME: list[str] = PROJECT["dependencies"]
DEVELOPMENT: list[str] = PROJECT["optional-dependencies"]["dev"]


def name_of(requirement: str) -> str:
    return re.match(r"[A-Za-z0-9._-]+", requirement)[0]  # type: ignore[index]


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def test_every_dependency_has_its_reason_written_down() -> None:
    text = (PROJECT_ROOT / "docs" / "dependencies.md").read_text(encoding="utf-8")
    rows = {
        name.strip() for line in text.splitlines() if line.startswith("| ") for name in line.split("|")[1].split(",")
    }
    assert {name_of(requirement) for requirement in [*RUNTIME, *DEVELOPMENT]} == rows - {"package"}


def test_every_dependency_is_bounded_on_both_sides() -> None:
    for requirement in [*RUNTIME, *DEVELOPMENT]:
        specifier = requirement.partition(";")[0]
        assert ">=" in specifier, requirement
        assert ",<" in specifier, requirement


def test_every_dependency_has_a_tested_version() -> None:
    lines = (PROJECT_ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    constrained = {normal(line.partition("==")[0]) for line in lines if "==" in line}
    assert {normal(name_of(requirement)) for requirement in [*RUNTIME, *DEVELOPMENT]} <= constrained
