"""System calls of a running process made to fail, wait, or kill it: strace attached to it, injecting.

Nothing is changed in the process itself, and with the injection's end it runs on as before. Needs ptrace of a child of
ours, which every Linux allows, and strace.
"""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

from tests.support.requires import require_tool
from tests.support.wait import wait_until

DETACH_SECONDS_MAX = 10.0


class Injection:
    """``with Injection(pid, "fdatasync:error=EIO:when=1+", path=directory / "x.log") as injection: ...``

    ``rule`` is what strace takes behind ``inject=``: the call, and what happens to which of its invocations.
    ``path``: only calls on that file, which must exist by then.
    """

    def __init__(self, pid: int, *rules: str, path: Path | None = None) -> None:
        calls = ",".join(rule.partition(":")[0] for rule in rules)
        self._command = [require_tool("strace"), "-f", "-p", str(pid), "-e", f"trace={calls}", "-e", "signal=none"]
        for rule in rules:
            self._command += ["-e", f"inject={rule}"]
        if path is not None:
            self._command += ["-P", str(path)]
        self._attached = threading.Event()
        self._lines: list[str] = []

    def __enter__(self) -> Injection:
        self._process = subprocess.Popen(
            self._command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if not self._attached.wait(DETACH_SECONDS_MAX) or self._process.poll() is not None:
            self._end()
            raise AssertionError(f"strace could not attach: {self.trace}")
        return self

    def __exit__(self, *failure: object) -> None:
        self._end()

    @property
    def trace(self) -> str:
        return "".join(self._lines)

    @property
    def injected(self) -> int:
        """How many calls were tampered with."""
        return self.trace.count("(INJECTED)") + self.trace.count("(DELAYED)")

    def wait_injected(self, count: int = 1, *, seconds: float = 20.0) -> None:
        wait_until(lambda: self.injected >= count, f"{count} injected calls", seconds=seconds)

    def _end(self) -> None:
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGINT)
        try:
            self._process.wait(DETACH_SECONDS_MAX)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._reader.join(DETACH_SECONDS_MAX)

    def _read(self) -> None:
        assert self._process.stderr is not None
        with self._process.stderr as lines:
            for line in lines:
                self._lines.append(line)
                if "attached" in line:
                    self._attached.set()
        self._attached.set()
