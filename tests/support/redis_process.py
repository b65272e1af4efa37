"""A real Redis (or Valkey) for tests, on a unix socket of its own, gone with the test."""

from __future__ import annotations

import subprocess
import tempfile
from pathlib import Path
from types import TracebackType

import redis

from broker.supervisor.redis_server import find_server_program, server_arguments
from tests.support.wait import wait_until

STOP_SECONDS_MAX = 5.0


class RedisProcess:
    """``with RedisProcess() as server: ... server.url``. Stop and start keep the address."""

    def __init__(self) -> None:
        # A unix socket's path may have about 100 characters; pytest's own directories are longer.
        self._directory = tempfile.TemporaryDirectory(prefix="ottla-redis-")
        self._socket = Path(self._directory.name) / "redis.sock"
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"unix://{self._socket}?db=0"

    def start(self) -> None:
        arguments = server_arguments(find_server_program(), self._socket)
        self._process = subprocess.Popen(arguments, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        wait_until(self._answers, "redis answers")

    def stop(self) -> None:
        if self._process is not None:
            self._process.terminate()
            self._process.wait(STOP_SECONDS_MAX)
            self._process = None

    def _answers(self) -> bool:
        with redis.Redis.from_url(self.url, socket_timeout=1) as client:
            try:
                return bool(client.ping())
            except redis.RedisError:
                return False

    def __enter__(self) -> RedisProcess:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
        self._directory.cleanup()
