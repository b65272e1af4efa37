"""``manage.py up`` as a process of a test: started until it says that it is ready, and ended as a person ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.support.wait import wait_until

READY_SECONDS_MAX = 90.0
STOP_SECONDS_MAX = 20.0
_REPOSITORY = Path(__file__).resolve().parents[2]


class UpProcess:
    """Whoever inherits says with which arguments and in which environment; nothing of Ottla's is inherited from the test's."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self._process: subprocess.Popen[bytes] | None = None
        self._output = home.parent / f"{home.name}-up.txt"

    def arguments(self) -> Sequence[str]:
        raise NotImplementedError

    def settings(self) -> Mapping[str, str]:
        raise NotImplementedError

    @property
    def screen(self) -> str:
        return self._output.read_text(errors="replace")

    def start(self) -> None:
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
        with self._output.open("wb") as output:
            self._process = subprocess.Popen(
                [sys.executable, "manage.py", "up", *self.arguments()],
                cwd=_REPOSITORY,
                env={**inherited, "DJANGO_SETTINGS_MODULE": "dashboard.project.settings", **self.settings()},
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._is_ready, "Ottla is ready", seconds=READY_SECONDS_MAX)
        except AssertionError:
            self.stop()
            raise

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(STOP_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            raise AssertionError(f"it ended before it was ready:\n{self.screen}")
        return "Ottla is ready" in self.screen

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
