"""Members of groups as raw connections: enough of a client to fill a group with a thousand of them in one process.

Requests are encoded once where they repeat (heartbeats, commits), answers are decoded only where something is needed
from them. Each connection has any number of requests in flight; answers come in their order.
"""

from __future__ import annotations

import asyncio
import struct
from collections import deque
from typing import Any, cast

from bench.raw import frame
from broker.protocol import codec, header
from broker.protocol import messages as m
from broker.protocol.api import ApiKey

_LENGTH = struct.Struct(">i")
JOIN_VERSION, SYNC_VERSION, HEARTBEAT_VERSION, COMMIT_VERSION = 5, 3, 3, 7
FIND_VERSION, LIST_VERSION, DESCRIBE_VERSION = 2, 4, 5
REBALANCE_IN_PROGRESS, MEMBER_ID_REQUIRED = 27, 79
SESSION_MS = 300_000
REBALANCE_MS = 300_000
PROTOCOL = "range"
TOPIC = "measured"
SUBSCRIPTION = struct.pack(">hih", 0, 1, len(TOPIC)) + TOPIC.encode() + struct.pack(">i", -1)
ASSIGNMENT = struct.pack(">hih", 0, 1, len(TOPIC)) + TOPIC.encode() + struct.pack(">iii", 1, 0, -1)


class Connection(asyncio.Protocol):
    """One socket; ``call`` is a whole round trip."""

    def __init__(self) -> None:
        self._received = bytearray()
        self._waiting: deque[asyncio.Future[bytes]] = deque()
        self._transport: asyncio.Transport | None = None

    @classmethod
    async def open(cls, port: int) -> Connection:
        _, connection = await asyncio.get_running_loop().create_connection(cls, "127.0.0.1", port)
        return connection

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def connection_lost(self, error: Exception | None) -> None:
        for future in self._waiting:
            if not future.done():
                future.set_exception(ConnectionError("the broker closed the connection"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        while len(self._received) >= 4:
            end = 4 + _LENGTH.unpack_from(self._received)[0]
            if len(self._received) < end:
                return
            answer = bytes(self._received[4:end])
            del self._received[:end]
            future = self._waiting.popleft()
            if not future.done():
                future.set_result(answer)

    def send(self, request: bytes | bytearray) -> asyncio.Future[bytes]:
        assert self._transport is not None
        future: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()
        self._waiting.append(future)
        self._transport.write(bytes(request))
        return future

    async def call(self, api_key: ApiKey, version: int, request: Any) -> Any:
        answer = await self.send(frame(api_key, version, codec.encode_request(api_key, version, request)))
        at = header.skip_response_header(api_key, version, answer)[1]
        return codec.decode_response(api_key, version, answer[at:])

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Member:
    """One member of one group, over a connection that it may share with members of other groups."""

    def __init__(self, connection: Connection, group: str) -> None:
        self.group = group
        self.member_id = ""
        self.generation = -1
        self._connection = connection
        self._heartbeat = b""
        self._commit = b""

    async def meet(self) -> None:
        """Join and sync until the group has agreed."""
        while not await self._round():
            pass

    async def _round(self) -> bool:
        joined = await self._join()
        if joined.error_code == MEMBER_ID_REQUIRED:
            self.member_id = joined.member_id
            joined = await self._join()
        if joined.error_code == REBALANCE_IN_PROGRESS:
            return False
        if joined.error_code:
            raise RuntimeError(f"JoinGroup: error {joined.error_code}")
        self.member_id, self.generation = joined.member_id, joined.generation_id
        item = m.SyncGroupRequest.SyncGroupRequestAssignment
        assignments = [item(member_id=one.member_id, assignment=ASSIGNMENT) for one in joined.members]
        synced = await self._connection.call(
            ApiKey.SYNC_GROUP,
            SYNC_VERSION,
            m.SyncGroupRequest(
                group_id=self.group,
                generation_id=self.generation,
                member_id=self.member_id,
                protocol_type="consumer",
                protocol_name=PROTOCOL,
                assignments=assignments,
            ),
        )
        if synced.error_code not in (0, REBALANCE_IN_PROGRESS):
            raise RuntimeError(f"SyncGroup: error {synced.error_code}")
        self._prepare()
        return not synced.error_code

    async def _join(self) -> Any:
        request = m.JoinGroupRequest
        protocols = [request.JoinGroupRequestProtocol(name=PROTOCOL, metadata=SUBSCRIPTION)]
        message = request(
            group_id=self.group,
            session_timeout=SESSION_MS,
            rebalance_timeout=REBALANCE_MS,
            member_id=self.member_id,
            protocol_type="consumer",
            protocols=protocols,
        )
        return await self._connection.call(ApiKey.JOIN_GROUP, JOIN_VERSION, message)

    def _prepare(self) -> None:
        heartbeat = m.HeartbeatRequest(group_id=self.group, generation_id=self.generation, member_id=self.member_id)
        body = codec.encode_request(ApiKey.HEARTBEAT, HEARTBEAT_VERSION, heartbeat)
        self._heartbeat = bytes(frame(ApiKey.HEARTBEAT, HEARTBEAT_VERSION, body))
        offset = m.OffsetCommitRequest
        partition = offset.OffsetCommitRequestPartition(partition_index=0, committed_offset=1, committed_metadata="")
        commit = offset(
            group_id=self.group,
            generation_id_or_member_epoch=self.generation,
            member_id=self.member_id,
            topics=[offset.OffsetCommitRequestTopic(name=TOPIC, partitions=[partition])],
        )
        body = codec.encode_request(ApiKey.OFFSET_COMMIT, COMMIT_VERSION, commit)
        self._commit = bytes(frame(ApiKey.OFFSET_COMMIT, COMMIT_VERSION, body))

    def heartbeat(self) -> asyncio.Future[bytes]:
        return self._connection.send(self._heartbeat)

    def commit(self) -> asyncio.Future[bytes]:
        return self._connection.send(self._commit)

    async def leave(self) -> None:
        item = m.LeaveGroupRequest.MemberIdentity(member_id=self.member_id)
        await self._connection.call(ApiKey.LEAVE_GROUP, 3, m.LeaveGroupRequest(group_id=self.group, members=[item]))


async def wait_for_coordinator(connection: Connection, group: str) -> None:
    """Until a group can be asked about: the offsets topic exists and is loaded."""
    find = m.FindCoordinatorRequest(key=group, key_type=0)
    request = m.OffsetFetchRequest
    fetch = request(group_id=group, topics=[])
    for _ in range(2_000):
        found = await connection.call(ApiKey.FIND_COORDINATOR, FIND_VERSION, find)
        if not found.error_code and not (await connection.call(ApiKey.OFFSET_FETCH, 5, fetch)).error_code:
            return
        await asyncio.sleep(0.01)
    raise RuntimeError("no coordinator")
