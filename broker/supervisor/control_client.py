"""The other end of the control socket, for the web process and jobs: blocking, one short-lived connection a call."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

STATUS_SECONDS = 3.0
CHANGE_SECONDS = 12.0
"""A stop may take the process's whole grace period."""
ANSWER_BYTES_MAX = 4 * 1024 * 1024


class SupervisorUnreachable(Exception):
    """No supervisor listens there, or it did not answer in time."""


class SupervisorRefused(Exception):
    """It answered that it will not; the text says why."""


class SupervisorClient:
    def __init__(self, path: Path) -> None:
        self._path = path

    def status(self) -> dict[str, Any]:
        return self._call({"command": "status"}, STATUS_SECONDS)

    def tail(self, name: str, lines: int) -> list[str]:
        return list(self._call({"command": "tail", "name": name, "lines": lines}, STATUS_SECONDS)["lines"])

    def change(self, command: str, name: str, actor: str, *, pid: int | None = None) -> None:
        """``stop``, ``start`` or ``restart``; with a ``pid`` only if that is still the process of the service."""
        request = {"command": command, "name": name, "actor": actor}
        self._call(request if pid is None else {**request, "pid": pid}, CHANGE_SECONDS)

    def _call(self, request: dict[str, Any], seconds: float) -> dict[str, Any]:
        try:
            line = self._exchange(json.dumps(request).encode() + b"\n", seconds)
        except (OSError, ValueError) as error:
            raise SupervisorUnreachable(f"the supervisor does not answer at {self._path}: {error}") from error
        answer = json.loads(line)
        if not answer.get("ok"):
            raise SupervisorRefused(str(answer.get("error") or "refused"))
        return answer

    def _exchange(self, request: bytes, seconds: float) -> bytes:
        deadline = time.monotonic() + seconds
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(seconds)
            connection.connect(str(self._path))
            connection.sendall(request)
            received = bytearray()
            while not received.endswith(b"\n"):
                connection.settimeout(max(0.01, deadline - time.monotonic()))
                piece = connection.recv(64 * 1024)
                if not piece:
                    raise ConnectionError("the connection was closed")
                received += piece
                if len(received) > ANSWER_BYTES_MAX:
                    raise ValueError("the answer is too long")
            return bytes(received)
