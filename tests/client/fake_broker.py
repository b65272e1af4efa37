"""A broker that misbehaves on request: real sockets and the real codec, answers chosen by the test.

``answers`` maps an API key to a function ``(version, request) -> response message | Raw | None``; ``Raw`` bytes are
sent as they are, None means silence. ApiVersions and Metadata are answered sensibly unless overridden.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import msgspec

from broker.client.handshake import client_proof, server_proof
from broker.protocol import codec, header, private
from broker.protocol import messages as m
from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.registry import SERVED


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes to put on the wire unchanged; ``close`` ends the connection after them."""

    content: bytes = b""
    close: bool = False


class FakeBroker:
    def __init__(self, *, secret: bytes | None = None) -> None:
        self.answers: dict[int, Callable[[int, Any], Any]] = {
            ApiKey.API_VERSIONS: self._api_versions,
            ApiKey.METADATA: self._metadata,
        }
        self.ranges = {spec.key: (spec.min_version, spec.max_version) for spec in SERVED.values() if not spec.internal}
        self.topics: dict[str, int] = {"orders": 2}
        self.requests: list[tuple[int, int]] = []
        self.connections_total = 0
        self.leader_id = 1
        self.secret = secret
        self._server: asyncio.Server | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    async def __aenter__(self) -> FakeBroker:
        self._server = await asyncio.start_server(self._serve, "127.0.0.1", 0)
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        self.drop_connections()
        await self._server.wait_closed()

    @property
    def port(self) -> int:
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    @property
    def bootstrap(self) -> str:
        return f"127.0.0.1:{self.port}"

    def drop_connections(self) -> None:
        for writer in list(self._writers):
            writer.transport.abort()

    def count(self, api_key: int) -> int:
        return sum(1 for key, _ in self.requests if key == api_key)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections_total += 1
        self._writers.add(writer)
        challenge: dict[str, bytes] = {}
        try:
            while True:
                frame = await reader.readexactly(int.from_bytes(await reader.readexactly(4), "big"))
                answer = self._answer(memoryview(frame), challenge)
                if isinstance(answer, Raw):
                    writer.write(answer.content)
                    if answer.close:
                        await writer.drain()
                        return
                elif answer is not None:
                    writer.write(len(answer).to_bytes(4, "big") + answer)
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            self._writers.discard(writer)
            writer.close()

    def _answer(self, frame: memoryview, challenge: dict[str, bytes]) -> bytes | Raw | None:
        api_key, version, correlation_id, _, at = header.parse_request_header(frame)
        self.requests.append((api_key, version))
        if api_key == ApiKey.AUTHENTICATE and api_key not in self.answers:
            return correlation_id.to_bytes(4, "big") + self._authenticate(frame[at:], challenge)
        if api_key >= PRIVATE_API_KEY_MIN:
            answer = self.answers[api_key](version, bytes(frame[at:]))
            if answer is None or isinstance(answer, Raw):
                return answer
            return correlation_id.to_bytes(4, "big") + msgspec.msgpack.encode(answer)
        request = codec.decode_request(api_key, version, frame[at:])
        answer = self.answers[api_key](version, request)
        if answer is None or isinstance(answer, Raw):
            return answer
        return header.response_header(api_key, version, correlation_id) + codec.encode_response(
            api_key, version, answer
        )

    def _authenticate(self, body: memoryview, challenge: dict[str, bytes]) -> bytes:
        assert self.secret is not None
        request = msgspec.msgpack.decode(body, type=private.AuthenticateRequest)
        if not challenge:
            challenge.update(client=request.client_nonce, server=b"s" * 32)
            proof = server_proof(self.secret, challenge["client"], challenge["server"])
            return msgspec.msgpack.encode(private.AuthenticateResponse(server_nonce=challenge["server"], proof=proof))
        good = request.proof == client_proof(self.secret, challenge["client"], challenge["server"])
        return msgspec.msgpack.encode(private.AuthenticateResponse(error_code=0 if good else 58))

    def _api_versions(self, version: int, request: Any) -> Any:
        return m.ApiVersionsResponse(
            error_code=0,
            api_keys=[
                m.ApiVersionsResponse.ApiVersion(api_key=key, min_version=low, max_version=high)
                for key, (low, high) in sorted(self.ranges.items())
            ],
        )

    def _metadata(self, version: int, request: Any) -> Any:
        topic_type = m.MetadataResponse.MetadataResponseTopic
        partition_type = m.MetadataResponse.MetadataResponsePartition
        names = list(self.topics) if request.topics is None else [topic.name for topic in request.topics]
        return m.MetadataResponse(
            brokers=[m.MetadataResponse.MetadataResponseBroker(node_id=1, host="127.0.0.1", port=self.port)],
            cluster_id="fake",
            controller_id=1,
            topics=[
                topic_type(error_code=3, name=name, partitions=[])
                if name not in self.topics
                else topic_type(
                    error_code=0,
                    name=name,
                    topic_id=b"\x01" * 16,
                    partitions=[
                        partition_type(
                            partition_index=index,
                            leader_id=self.leader_id,
                            leader_epoch=0,
                            replica_nodes=[1],
                            isr_nodes=[1],
                        )
                        for index in range(self.topics[name])
                    ],
                )
                for name in names
            ],
        )
