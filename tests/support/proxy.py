"""A TCP proxy in front of a broker that loses Produce answers on purpose.

The connection is cut right after the broker's answer arrived and before the client sees it: the case in which a
client must retry what the broker already stored. Metadata and FindCoordinator answers are rewritten so that the
client keeps talking to the proxy: the broker's port is replaced by the proxy's, both as four bytes.
"""

from __future__ import annotations

import struct

from tests.support.tcp_proxy import Link, TcpProxy, read_frame

_HEADER = struct.Struct(">ihhi")
PRODUCE, METADATA, FIND_COORDINATOR = 0, 3, 10


class AnswerDroppingProxy(TcpProxy):
    """Forwards frames; every ``drop_every``-th Produce answer is lost together with its connection."""

    def __init__(self, broker_port: int, *, drop_every: int) -> None:
        super().__init__(("127.0.0.1", broker_port))
        self._broker_port = broker_port
        self._drop_every = drop_every
        self._produced = 0
        self.dropped = 0

    def forward_requests(self, link: Link) -> None:
        while frame := read_frame(link.client):
            _, key, _, correlation_id = _HEADER.unpack_from(frame)
            link.noted[correlation_id] = key
            link.server.sendall(frame)

    def forward_answers(self, link: Link) -> None:
        while frame := read_frame(link.server):
            key = link.noted.pop(struct.unpack_from(">i", frame, 4)[0])
            if key == PRODUCE:
                self._produced += 1
                if self._produced % self._drop_every == 0:
                    self.dropped += 1
                    return
            elif key in (METADATA, FIND_COORDINATOR):
                frame = frame.replace(struct.pack(">i", self._broker_port), struct.pack(">i", self.port))
            link.client.sendall(frame)
