"""One broker's telemetry as a stream of samples: connect, long-poll, start over when it breaks.

Owns the connection to one broker's internal listener. The next question names the last sample taken, so the
broker answers with what came after it; ``restart`` asks for a full one.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from broker.client.addresses import Address
from broker.client.connection import Connection
from broker.client.errors import raise_for_code
from broker.protocol.api import ApiKey
from broker.protocol.private import TelemetryRequest
from broker.telemetry.sample import Sample, TelemetryResponse

POLL_WAIT_MS = 2_000
"""Longer than the broker's sample interval, so that an answer without samples means something is wrong there."""
ANSWER_SECONDS_MAX = 5.0
CLIENT_ID = "ottla-collector"


class TelemetrySource:
    def __init__(self, address: Address, read_secret: Callable[[], bytes]) -> None:
        self.address = address
        self._read_secret = read_secret
        self._connection: Connection | None = None
        self._incarnation = ""
        self._seq = -1

    async def next(self) -> list[Sample]:
        """The samples after the last ones, at least one second's worth. Raises ``OSError`` or ``KafkaError``."""
        if self._connection is None or self._connection.closed:
            self._connection = await Connection.open(self.address, client_id=CLIENT_ID, secret=self._read_secret())
        answer = await self._connection.call_private(
            ApiKey.TELEMETRY,
            TelemetryRequest(incarnation=self._incarnation, seq=self._seq, max_wait_ms=POLL_WAIT_MS),
            TelemetryResponse,
            timeout_seconds=ANSWER_SECONDS_MAX,
        )
        raise_for_code(answer.error_code, answer.error_message)
        if answer.samples:
            self._incarnation, self._seq = answer.samples[-1].incarnation, answer.samples[-1].seq
        return answer.samples

    def restart(self) -> None:
        """Ask for a full sample next."""
        self._incarnation, self._seq = "", -1

    async def close(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()


def secret_reader(path: Path) -> Callable[[], bytes]:
    """Reads the cluster secret when it is needed: set-up may write it after this process starts."""

    def read() -> bytes:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())

    return read
