"""``DATABASE_URL``: what it may say, and Ottla's rows in a real PostgreSQL."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from broker.supervisor.roles import PROJECT_ROOT
from dashboard.project.database import database
from tests.support.postgres import PostgresProcess

HOME = Path("/home/of/ottla")


@pytest.fixture(scope="module")
def postgres() -> Iterator[PostgresProcess]:
    with PostgresProcess() as server:
        yield server


def test_without_an_address_it_is_a_file_in_the_home() -> None:
    assert database("", HOME)["NAME"] == HOME / "db.sqlite3"


def test_an_address_is_taken_apart() -> None:
    found = database("postgresql://us%40er:p%2F%3Aw@db.example.com:5433/ot%20tla?sslmode=require", HOME)
    assert found["ENGINE"] == "django.db.backends.postgresql"
    assert (found["USER"], found["PASSWORD"], found["HOST"], found["PORT"], found["NAME"]) == (
        "us@er",
        "p/:w",
        "db.example.com",
        "5433",
        "ot tla",
    )
    assert found["OPTIONS"]["sslmode"] == "require"
    assert found["OPTIONS"]["connect_timeout"]


def test_a_port_may_be_left_out_and_a_socket_be_named() -> None:
    assert database("postgres://db/ottla", HOME)["PORT"] == "5432"
    assert database("postgres:///ottla?host=/run/postgresql", HOME)["HOST"] == "/run/postgresql"


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("mysql://u:secret@db/ottla", "must be like"),
        ("postgresql://u:secret@db", "must be like"),
        ("postgresql:///ottla", "must be like"),
        ("postgresql://u:secret@db:port/ottla", "must be like"),
        ("postgresql://u:secret@db:99999/ottla", "must be like"),
        ("postgresql://u:secret@db/ottla?ssl_mode=require", "unknown option 'ssl_mode'"),
    ],
)
def test_what_is_malformed_is_refused_without_repeating_the_password(url: str, told: str) -> None:
    with pytest.raises(ValueError, match=told) as caught:
        database(url, HOME)
    assert "secret" not in str(caught.value)


def manage(*words: str, url: str, home: Path) -> subprocess.Popen[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
    environment |= {"DATABASE_URL": url, "OTTLA_HOME": str(home)}
    environment["DJANGO_SETTINGS_MODULE"] = "dashboard.project.settings"
    return subprocess.Popen(
        [sys.executable, "manage.py", *words],
        cwd=PROJECT_ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_two_machines_may_set_up_one_database_at_once(postgres: PostgresProcess, tmp_path: Path) -> None:
    url = postgres.create("setup")
    setups = [manage("setup", url=url, home=tmp_path / name) for name in ("one", "two")]
    outputs = [setup.communicate(timeout=100)[0] for setup in setups]
    assert [setup.returncode for setup in setups] == [0, 0], outputs
    assert sum("administrator admin, password" in output for output in outputs) == 1
    assert not (tmp_path / "one" / "db.sqlite3").exists()
    for command in (
        ("migrate", "--check"),
        ("makemigrations", "--check", "--dry-run"),
        ("check", "--database", "default"),
    ):
        done = manage(*command, url=url, home=tmp_path / "one")
        output = done.communicate(timeout=100)[0]
        assert done.returncode == 0, output


def test_what_depends_on_the_database_passes_on_postgresql(postgres: PostgresProcess) -> None:
    """Claims of jobs, their rows, the audit trail and accounts: the same tests as on SQLite."""
    selection = (
        "tests/tasks/test_runs.py",
        "tests/tasks/test_tasks.py",
        "tests/tasks/test_compaction_schedule.py",
        "tests/project/test_login.py",
        "tests/dashboard/jobs/test_jobs_page.py",
        "tests/dashboard/administration/test_audit_in_admin.py",
    )
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", *selection],
        cwd=PROJECT_ROOT,
        env={**os.environ, "DATABASE_URL": postgres.url("tested"), "DJANGO_SETTINGS_MODULE": "tests.settings"},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert " passed" in done.stdout or "100%" in done.stdout
