"""A real PostgreSQL server for tests, of Debian's ``postgresql``: a data directory and a port of its own, gone with the test."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from types import TracebackType
from urllib.parse import quote

import psycopg

from tests.support.ports import free_port
from tests.support.requires import require_file
from tests.support.wait import wait_until

USER, PASSWORD = "ottla", "s3cret/with:odd@characters"
PROGRAMS = Path("/usr/lib/postgresql")
START_SECONDS_MAX = 60.0


class PostgresProcess:
    """``with PostgresProcess() as server: ... server.url("ottla")``. The server refuses to be root: there it is somebody else."""

    def __init__(self, *, password: str = PASSWORD) -> None:
        self._password = password
        # Not below pytest's directories: those are root's alone.
        self._directory = Path(tempfile.mkdtemp(prefix="ottla-postgres-"))
        self._owner = _owner()
        self.port = free_port()
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> PostgresProcess:
        programs = programs_of_postgres()
        data = self._directory / "data"
        password = self._directory / "password"
        password.write_text(self._password)
        if self._owner is not None:
            for path in (self._directory, password):
                os.chown(path, self._owner, -1)
        self._run(
            *(programs / "initdb", "--pgdata", data, "--username", USER, "--pwfile", password),
            *("--auth", "scram-sha-256", "--encoding", "UTF8", "--locale", "C.UTF-8", "--no-sync"),
        )
        with (self._directory / "output").open("wb") as output:
            self._process = subprocess.Popen(
                [
                    *(programs / "postgres", "-D", data, "-p", str(self.port), "-k", self._directory),
                    *("-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"),
                ],
                stdout=output,
                stderr=output,
                cwd="/",
                user=self._owner,
            )
        wait_until(self._answers, "PostgreSQL answers", seconds=START_SECONDS_MAX)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(30)
        shutil.rmtree(self._directory, ignore_errors=True)

    def url(self, database: str = "postgres") -> str:
        return f"postgresql://{USER}:{quote(self._password, safe='')}@127.0.0.1:{self.port}/{database}"

    def create(self, database: str) -> str:
        """The new database's address."""
        with self.connect() as connection:
            connection.execute(f'CREATE DATABASE "{database}"')
        return self.url(database)

    def connect(self, database: str = "postgres") -> psycopg.Connection:
        return psycopg.connect(
            host="127.0.0.1", port=self.port, user=USER, password=self._password, dbname=database, autocommit=True
        )

    def _run(self, *command: object) -> None:
        done = subprocess.run(
            [str(word) for word in command], cwd="/", user=self._owner, capture_output=True, check=False
        )
        assert done.returncode == 0, done.stderr.decode()

    def _answers(self) -> bool:
        try:
            self.connect().close()
        except psycopg.OperationalError:
            return False
        return True


def programs_of_postgres() -> Path:
    newest = max(PROGRAMS.glob("*/bin/postgres"), default=PROGRAMS / "15/bin/postgres")
    return require_file(newest, "postgresql").parent


def _owner() -> int | None:
    """Whom to run it as; None: as whoever runs the tests."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_uid
    except KeyError:
        return pwd.getpwnam("nobody").pw_uid
