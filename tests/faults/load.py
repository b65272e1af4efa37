"""A workload process as the harness sees it: started, progressing, ended in order or killed."""

from __future__ import annotations

import contextlib
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from pathlib import Path

import msgspec

from tests.faults.workloads.worker import Options
from tests.support.wait import wait_until

PROGRESS = re.compile(r"done (\d+)\n")
FINISH_SECONDS_MAX = 90.0
"""Without getting any further."""
_REPOSITORY = Path(__file__).resolve().parents[2]


class Load:
    def __init__(self, workload: str, options: Options, *, prefix: Sequence[str] = ()) -> None:
        """``prefix`` is a command that runs it elsewhere."""
        self.workload = workload
        self.done = 0
        """Writes acknowledged and records read, as last told."""
        self._output: list[str] = []
        self._process = subprocess.Popen(
            [*prefix, sys.executable, "-m", "tests.faults.workloads", workload, msgspec.json.encode(options).decode()],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def output(self) -> str:
        return "".join(self._output)

    def ask_to_finish(self) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()

    def finish(self) -> None:
        """Have everything delivered and read; ``AssertionError`` with what it said if it failed."""
        self.ask_to_finish()
        status, before = None, -1
        while status is None and self.done > before:
            before = self.done
            with contextlib.suppress(subprocess.TimeoutExpired):
                status = self._process.wait(FINISH_SECONDS_MAX)
        if status is None:
            self._process.send_signal(signal.SIGUSR1)
            wait_until(lambda: "most recent call first" in self.output, "it says where it hangs", seconds=5)
            self.kill()
            raise AssertionError(f"{self.workload} did not come to an end:\n{self.output}")
        self._reader.join(5)
        assert status == 0, f"{self.workload} failed:\n{self.output}"

    def kill(self) -> None:
        """Whatever state it is in; what it did is in its histories."""
        self.ask_to_finish()
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._reader.join(5)

    def _read(self) -> None:
        assert self._process.stdout is not None
        with self._process.stdout as lines:
            for line in lines:
                if found := PROGRESS.fullmatch(line):
                    self.done = int(found[1])
                else:
                    self._output.append(line)
