"""A TCP proxy in front of ZooKeeper that loses changes or their answers, together with the connection.

It knows as much of the protocol as that takes: frames have a length, requests a number and a kind, answers the number. The first frame
each way opens the session and has neither.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Literal

from tests.support.tcp_proxy import Link, TcpProxy, read_frame

MULTI = 14
Loss = Literal["request", "answer", ""]


class LossyZookeeperProxy(TcpProxy):
    """``decide()`` says for each change what is lost of it. Called in the proxy's threads."""

    def __init__(self, server: tuple[str, int], decide: Callable[[], Loss], *, port: int = 0) -> None:
        super().__init__(server, port=port)
        self.address = ("127.0.0.1", self.port)
        self.lost: list[Loss] = []
        self._decide = decide

    def forward_requests(self, link: Link) -> None:
        link.server.sendall(read_frame(link.client))
        while frame := read_frame(link.client):
            number, kind = struct.unpack_from(">ii", frame, 4)
            loss = self._decide() if kind == MULTI else ""
            if loss:
                self.lost.append(loss)
            if loss == "request":
                return
            if loss == "answer":
                link.noted[number] = kind
            link.server.sendall(frame)

    def forward_answers(self, link: Link) -> None:
        link.client.sendall(read_frame(link.server))
        while frame := read_frame(link.server):
            if struct.unpack_from(">i", frame, 4)[0] in link.noted:
                return
            link.client.sendall(frame)
