"""The files in deploy/systemd, read as systemd reads them."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from broker.supervisor.roles import PROJECT_ROOT

DIRECTORY = PROJECT_ROOT / "deploy" / "systemd"
PYTHON = "/opt/ottla/.venv/bin/python"
Unit = dict[str, dict[str, list[str]]]
"""Section → option → its values."""


def read_unit(path: Path) -> Unit:
    found: Unit = defaultdict(lambda: defaultdict(list))
    section = ""
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("[") and line.endswith("]"):
            section = line[1:-1]
        elif line and not line.startswith(("#", ";")):
            name, equals, value = line.partition("=")
            assert all((equals, section, name == name.strip())), f"{path.name}: {line!r}"
            found[section][name].append(value)
    return {name: dict(options) for name, options in found.items()}


UNITS = {path.name: read_unit(path) for path in sorted(DIRECTORY.iterdir()) if path.suffix != ".env"}
SERVICES = {name: unit for name, unit in UNITS.items() if name.endswith(".service")}


def read_environment(text: str) -> dict[str, str]:
    """What EnvironmentFile= makes of it: no shell, no interpolation."""
    pairs = [line.partition("=") for line in text.splitlines() if line.strip() and not line.startswith(("#", ";"))]
    assert all(equals for _, equals, _ in pairs)
    return {name: value for name, _, value in pairs}
