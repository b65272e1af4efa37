"""A TCP proxy in front of a broker that holds back requests of one kind until told to let them go."""

from __future__ import annotations

import struct
import threading
from types import TracebackType

from tests.support.tcp_proxy import Link, TcpProxy, read_frame

HELD_SECONDS_MAX = 30.0


class HoldingProxy(TcpProxy):
    """``is_holding`` is set when a request of ``api_key`` has arrived; ``let_go`` passes it on, and all later ones."""

    def __init__(self, broker_port: int, api_key: int) -> None:
        super().__init__(("127.0.0.1", broker_port))
        self.address = f"127.0.0.1:{self.port}"
        self.is_holding = threading.Event()
        self._released = threading.Event()
        self._api_key = api_key

    def let_go(self) -> None:
        self._released.set()

    def hold(self) -> None:
        """Hold again, after ``let_go``."""
        self.is_holding.clear()
        self._released.clear()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        super().__exit__(kind, error, trace)

    def forward_requests(self, link: Link) -> None:
        while frame := read_frame(link.client):
            if struct.unpack_from(">h", frame, 4)[0] == self._api_key:
                self.is_holding.set()
                self._released.wait(HELD_SECONDS_MAX)
            link.server.sendall(frame)
