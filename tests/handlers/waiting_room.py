"""Memory for requests that wait, counted as ``network/server.py`` counts it."""

from __future__ import annotations

from broker.handlers.reply import CloseConnection


class WaitingRoom:
    def __init__(self, bytes_max: int = 50_000) -> None:
        self.held_bytes = 0
        self._bytes_max = bytes_max

    def hold(self, byte_count: int) -> None:
        if self.held_bytes + byte_count > self._bytes_max:
            raise CloseConnection("enough waits already")
        self.held_bytes += byte_count

    def let_go(self, byte_count: int) -> None:
        self.held_bytes -= byte_count
