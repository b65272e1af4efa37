"""From one request frame to one reply: admit, decode, call the handler, encode.

Called by ``network/session.py`` with a view that is valid during the call only. What must stay true:
- what a peer may send is decided here: private APIs only on the internal listener and only after the proof,
  unserved keys or versions end the connection (ApiVersions excepted: it answers what we speak);
- a malformed request ends its connection, an unexpected exception of ours is logged and answered; neither ends
  the process.

A handler module has ``handle`` (a decoded message in, a response message or an awaitable of it out),
``handle_raw`` (works on the frame: Produce, Fetch) or ``handle_private`` (MessagePack bodies). Modules are
imported by their first request: a broker that is only produced to never loads the group handlers.
"""

from __future__ import annotations

import asyncio
import importlib
import logging
import struct
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any

from broker import limits
from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import ConnectionInfo, Request, Services
from broker.handlers.reply import Answer, CloseConnection, Deferred, Reply
from broker.handlers.throttling import is_timed, request_throttle_ms, timed
from broker.protocol import codec, messages
from broker.protocol.api import PRIVATE_API_KEY_MIN, ApiKey
from broker.protocol.header import parse_request_header, response_header
from broker.protocol.malformed import MalformedMessage
from broker.protocol.registry import INTERNAL_KEYS, served

logger = logging.getLogger(__name__)

_LENGTH = struct.Struct(">i")
_START = struct.Struct(">hhi")
"""API key, version, correlation id: the part of a request header that never changes."""
_AUTHENTICATE = int(ApiKey.AUTHENTICATE)
_API_VERSIONS = int(ApiKey.API_VERSIONS)

HANDLER_MODULES: dict[int, str] = {int(key): key.name.lower() for key in ApiKey}
"""Module below ``broker.handlers`` for every key; a test holds it against the registry."""

Handle = Callable[[Request], Reply]


@dataclass(frozen=True, slots=True, kw_only=True)
class PipelineStatistics:
    requests_total: int
    requests_by_key: Mapping[int, int]
    running: int
    """Requests whose handler awaits something."""


class Pipeline:
    def __init__(self, services: Services) -> None:
        self._services = services
        self._quotas = services.quotas
        self._handles: dict[int, Handle] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.requests_total = 0
        self._requests_by_key: dict[int, int] = {}

    def handle(self, frame: memoryview, connection: ConnectionInfo) -> Reply:
        """Raises ``CloseConnection`` when the peer cannot be answered."""
        self.requests_total += 1
        try:
            api_key, version, correlation_id, client_id, at = parse_request_header(frame)
        except MalformedMessage as error:
            # An ApiVersions version we do not know may have a header we do not know either.
            api_key, version, correlation_id = _START.unpack_from(frame)
            if api_key != _API_VERSIONS or served(api_key, version):
                raise CloseConnection(str(error)) from None
            client_id, at = None, len(frame)
        if connection.listener == "internal":
            if not connection.authenticated and api_key != _AUTHENTICATE:
                raise CloseConnection("a request before the proof of the cluster secret")
        elif api_key in INTERNAL_KEYS or api_key >= PRIVATE_API_KEY_MIN:
            raise CloseConnection(f"API {api_key} is not for the client listener")
        request = Request(api_key, version, correlation_id, client_id, frame[at:], connection)
        if self._quotas.timing and is_timed(request, self._quotas):
            request.began_ns = time.perf_counter_ns()
        if not served(api_key, version):
            return self._unserved(request)
        connection.requests_total += 1
        spoken = api_key << 16 | version
        if spoken != connection.spoken:
            connection.spoken = spoken
            connection.client_id = client_id
            connection.api_versions[api_key] = version
        handle = self._handles.get(api_key) or self._bind_first(api_key)
        self._requests_by_key[api_key] += 1
        try:
            return handle(request)
        except MalformedMessage as error:
            raise CloseConnection(str(error)) from None
        except CloseConnection:
            raise
        except Exception as error:  # noqa: BLE001 - the edge at which our own faults stop
            return self._failed(request, error)

    async def stop(self) -> None:
        """Cancel what still runs; its connections are gone."""
        tasks = tuple(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def statistics(self) -> PipelineStatistics:
        return PipelineStatistics(
            requests_total=self.requests_total, requests_by_key=dict(self._requests_by_key), running=len(self._tasks)
        )

    # Binding ----------------------------------------------------------------------------------------

    def _bind_first(self, api_key: int) -> Handle:
        handle = self._handles[api_key] = self._bind(api_key)
        self._requests_by_key[api_key] = 0
        return handle

    def _bind(self, api_key: int) -> Handle:
        module = importlib.import_module(f"broker.handlers.{HANDLER_MODULES[api_key]}")
        services = self._services
        if hasattr(module, "handle_raw"):
            handle_raw = module.handle_raw
            return lambda request: handle_raw(request, services)
        if hasattr(module, "handle_private"):
            return self._bind_private(module.handle_private, api_key)
        handle = module.handle

        def decoded(request: Request) -> Reply:
            message = codec.decode_request(request.api_key, request.api_version, request.body)
            return self._reply(request, handle(request, message, services), self._encode)

        return decoded

    def _bind_private(self, handle: Callable[..., Any], api_key: int) -> Handle:
        import msgspec

        from broker.protocol import private

        name = ApiKey(api_key).name.title().replace("_", "") + "Request"
        decode = msgspec.msgpack.Decoder(getattr(private, name)).decode
        encode = msgspec.msgpack.Encoder().encode
        services = self._services

        def encode_private(request: Request, response: Any) -> bytes:
            return _frame(_LENGTH.pack(request.correlation_id), encode(response))

        def decoded(request: Request) -> Reply:
            try:
                message = decode(request.body)
            except (msgspec.DecodeError, UnicodeDecodeError) as error:
                raise CloseConnection(f"{name}: {error}") from None
            return self._reply(request, handle(request, message, services), encode_private)

        return decoded

    # Answers ----------------------------------------------------------------------------------------

    def _reply(self, request: Request, result: Any, encode: Callable[[Request, Any], bytes]) -> Reply:
        if not hasattr(result, "__await__"):
            return encode(request, result)
        held_bytes = self._hold(request, result)
        if request.began_ns:
            request.began_ns = 0
            result = timed(request, result)
        deferred = Deferred()
        task = asyncio.get_running_loop().create_task(self._resolve(request, deferred, result, encode))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if held_bytes:
            task.add_done_callback(lambda done: self._services.connections.let_go(held_bytes))
        return deferred

    def _hold(self, request: Request, result: Any) -> int:
        """What was decoded of a request stays until it is answered, the frame does not. The bytes that count for it; raises
        ``CloseConnection`` when there is too much of that already."""
        size = len(request.body)
        request.drop_body()
        if size < limits.WAITING_REQUEST_BYTES_COUNTED or request.connection.listener == "internal":
            return 0
        try:
            self._services.connections.hold(size)
        except CloseConnection:
            result.close()
            raise
        return size

    async def _resolve(
        self,
        request: Request,
        deferred: Deferred,
        result: Awaitable[Any],
        encode: Callable[[Request, Any], bytes],
    ) -> None:
        answer: Answer
        try:
            answer = encode(request, await result)
        except CloseConnection as failure:
            deferred.fail(failure)
            return
        except asyncio.CancelledError:
            deferred.fail(CloseConnection("the broker stops"))
            raise
        except Exception as error:  # noqa: BLE001 - the edge at which our own faults stop
            try:
                answer = self._failed(request, error)
            except CloseConnection as failure:
                deferred.fail(failure)
                return
        deferred.resolve(answer)

    def _encode(self, request: Request, response: Any) -> bytes:
        if (request.began_ns or request.busy_ns) and hasattr(response, "throttle_time"):
            response.throttle_time = request_throttle_ms(request, self._quotas)
        body = codec.encode_response(request.api_key, request.api_version, response)
        return _frame(response_header(request.api_key, request.api_version, request.correlation_id), body)

    def _unserved(self, request: Request) -> bytes:
        """An unknown ApiVersions version is told ours, in the oldest encoding; anything else ends the connection."""
        if request.api_key != _API_VERSIONS:
            raise CloseConnection(f"API {request.api_key} version {request.api_version} is not served")
        from broker.handlers.api_versions import unsupported_version

        body = codec.encode_response(_API_VERSIONS, 0, unsupported_version())
        return _frame(response_header(_API_VERSIONS, 0, request.correlation_id), body)

    def _failed(self, request: Request, error: Exception) -> bytes:
        """Answer with the error when the response has a place for one; end the connection otherwise."""
        code = ErrorCode.UNKNOWN_SERVER_ERROR
        if isinstance(error, KafkaError):
            code = error.code
        else:
            logger.error("request %s v%s failed", request.api_key, request.api_version, exc_info=error)
        if request.api_key >= PRIVATE_API_KEY_MIN:
            raise CloseConnection(f"a private request failed: {error}")
        response_class = messages.message_class(HANDLER_MODULES[request.api_key], "response")
        fields: dict[str, Any] = {"error_code": int(code)}
        if hasattr(response_class(), "error_message"):
            fields["error_message"] = str(error) if isinstance(error, KafkaError) else code.message
        try:
            return self._encode(request, response_class(**fields))
        except Exception:  # noqa: BLE001 - no place for an error in this response
            raise CloseConnection(f"a request of API {request.api_key} failed: {error}") from error


def _frame(header: bytes, body: bytes) -> bytes:
    return b"".join((_LENGTH.pack(len(header) + len(body)), header, body))
