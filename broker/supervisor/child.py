"""One operating-system process: spawned so that it cannot outlive the supervisor, read, signalled, awaited.

The child leads a session of its own: Ctrl-C at the terminal reaches only the supervisor, which then stops
things in order, and a last SIGKILL to the group takes grandchildren along.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

READ_BYTES = 64 * 1024
LAST_OUTPUT_SECONDS = 1.0
_PR_SET_PDEATHSIG = 1


class Child:
    def __init__(self, process: asyncio.subprocess.Process, output: asyncio.Task[None]) -> None:
        self._process = process
        self._output = output

    @property
    def pid(self) -> int:
        return self._process.pid

    @classmethod
    async def spawn(
        cls, argv: Sequence[str], environ: Mapping[str, str], cwd: Path, on_output: Callable[[bytes], None]
    ) -> Child:
        """Raises ``OSError`` when the program cannot be executed."""
        read_end, write_end = os.pipe()
        try:
            process = await asyncio.create_subprocess_exec(
                *argv,
                env=dict(environ),
                cwd=cwd,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=write_end,
                stderr=write_end,
                start_new_session=True,
                preexec_fn=_die_with_parent(),
            )
        except BaseException:
            os.close(read_end)
            raise
        finally:
            os.close(write_end)
        return cls(process, asyncio.create_task(_pump(read_end, on_output)))

    async def wait(self) -> int:
        """The exit code (negative: the signal), after its output is in and stragglers of its group are gone."""
        code = await self._process.wait()
        self._signal_group(signal.SIGKILL)
        # Somebody who left the group may hold the pipe open for ever; what it writes is not the service's.
        _, unfinished = await asyncio.wait({self._output}, timeout=LAST_OUTPUT_SECONDS)
        if unfinished:
            self._output.cancel()
            await asyncio.wait(unfinished)
        return code

    def terminate(self) -> None:
        """Asks the process alone; it tells its own children."""
        try:
            self._process.send_signal(signal.SIGTERM)
        except ProcessLookupError:
            return

    def kill(self) -> None:
        self._signal_group(signal.SIGKILL)

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self._process.pid, number)
        except (ProcessLookupError, PermissionError):
            return


async def _pump(read_end: int, on_output: Callable[[bytes], None]) -> None:
    reader = asyncio.StreamReader()
    transport, _ = await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(read_end, "rb", buffering=0)
    )
    try:
        while data := await reader.read(READ_BYTES):
            on_output(data)
    finally:
        transport.close()


def _die_with_parent() -> Callable[[], None] | None:
    """For the child between fork and exec: have the kernel send SIGTERM when the supervisor is gone.

    The supervisor may have died before the request was made; then its pid is no longer our parent's.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None, use_errno=True)
    parent = os.getpid()

    def ask() -> None:
        libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent:
            os._exit(1)

    return ask
