"""The commands of the first minute: they work on a bare machine, or say in one line what is missing."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.supervisor.roles import PROJECT_ROOT
from tests.support import requires

MAKE_VENV = PROJECT_ROOT / ".ci" / "make-venv"


class Machine:
    """A PATH of our own making: which programs there are, and what they say."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory / "bin"
        self.directory.mkdir()
        self.calls = directory / "calls"
        self.calls.touch()
        for tool in ("sh", "rm", "mkdir", "touch"):
            (self.directory / tool).symlink_to(f"/bin/{tool}")

    def program(self, name: str, script: str) -> None:
        path = self.directory / name
        path.write_text(f'#!/bin/sh\necho "{name} $*" >> {self.calls}\n{script}\n')
        path.chmod(0o755)

    def python(self, *, version_ok: bool = True, ensurepip: str = "exit 0") -> None:
        self.program(
            "python3",
            f"""case "$*" in
            "-m venv "*) mkdir -p "$3/bin"; touch "$3/bin/pip" ;;
            *version_info*) exit {0 if version_ok else 1} ;;
            -V) echo Python 3.9.2 ;;
            *ensurepip*) {ensurepip} ;;
            esac""",
        )

    def run(self, venv: Path) -> subprocess.CompletedProcess[str]:
        environ = {"PATH": str(self.directory)}
        return subprocess.run(
            ["/bin/sh", str(MAKE_VENV), str(venv)], env=environ, capture_output=True, text=True, check=False
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    machine = Machine(tmp_path)
    machine.program("id", "echo 1000")
    return machine


def test_an_environment_is_made(machine: Machine, tmp_path: Path) -> None:
    machine.python()
    done = machine.run(tmp_path / "venv")
    assert (done.returncode, done.stderr) == (0, "")
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_without_ensurepip_a_person_is_told_the_package(machine: Machine, tmp_path: Path) -> None:
    machine.python(ensurepip="exit 1")
    done = machine.run(tmp_path / "venv")
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "'python3' cannot make virtual environments: sudo apt-get install python3-venv, then make again."
    ]
    assert not (tmp_path / "venv").exists()


def test_without_ensurepip_root_gets_it_installed(machine: Machine, tmp_path: Path) -> None:
    machine.program("id", "echo 0")
    machine.program("apt-get", f"touch {tmp_path}/installed")
    machine.python(ensurepip=f"test -e {tmp_path}/installed")
    done = machine.run(tmp_path / "venv")
    assert done.returncode == 0, done.stderr
    assert "apt-get install -qq -y python3-venv" in machine.calls.read_text()
    assert (tmp_path / "venv" / "bin" / "pip").exists()


def test_an_old_python_is_named_with_its_version(machine: Machine, tmp_path: Path) -> None:
    machine.python(version_ok=False)
    done = machine.run(tmp_path / "venv")
    assert done.returncode == 1
    assert done.stderr.startswith("Ottla needs Python 3.11 or newer; 'python3' is Python 3.9.2")


def test_no_python_at_all_is_one_line(machine: Machine, tmp_path: Path) -> None:
    done = machine.run(tmp_path / "venv")
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1


def manage_without_django(directory: Path) -> subprocess.CompletedProcess[str]:
    """``manage.py up --help`` by a Python that sees the standard library only."""
    script = directory / "manage.py"
    shutil.copy(PROJECT_ROOT / "manage.py", script)
    return subprocess.run(
        [sys.executable, "-I", "-S", "manage.py", "up", "--help"],
        cwd=directory,
        capture_output=True,
        text=True,
        check=False,
    )


def test_any_python_hands_over_to_the_environment_that_make_built(tmp_path: Path) -> None:
    python = tmp_path / ".venv" / "bin" / "python"
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\necho "$*"\n')
    python.chmod(0o755)
    assert manage_without_django(tmp_path).stdout == "manage.py up --help\n"


def test_manage_before_anything_is_installed_says_how_in_one_line(tmp_path: Path) -> None:
    done = manage_without_django(tmp_path)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "make run" in done.stderr


def test_help_lists_every_target_with_its_purpose() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    (phony,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    shown = subprocess.run(["make", "help"], cwd=PROJECT_ROOT, capture_output=True, text=True, check=True).stdout
    listed = re.findall(r"^  make ([\w-]+) +\S", shown, re.MULTILINE)
    assert sorted(listed) == sorted(phony.split())
    assert {"run", "test", "lint", "bench", "nightly", "clean", "help"} <= set(listed)


def test_continuous_integration_runs_what_a_person_runs() -> None:
    lines = (PROJECT_ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert lines[-1] == "exec make test"
    assert os.access(PROJECT_ROOT / ".ci" / "run", os.X_OK)


@pytest.mark.parametrize(("on_ci", "outcome"), [("", pytest.skip.Exception), ("true", pytest.fail.Exception)])
def test_a_missing_program_is_named_and_no_excuse_on_ci(monkeypatch: pytest.MonkeyPatch, on_ci: str, outcome) -> None:
    monkeypatch.setenv("CI", on_ci)
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(outcome, match=r"kcat is not installed \(apt-get install kcat\)"):
        requires.require_tool("kcat")
