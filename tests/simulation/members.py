"""Members of a consumer group (KIP-848) that read, commit, come and go.

A member believes that it owns a partition from the heartbeat that gave it until it has said that it let go, was told that
it is no member any more, or has heard nothing for the session timeout. Nobody may be given a partition while another
one has reason to believe that. An offset that was committed is never followed by an older one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any

from broker.client.errors import ClientConnectionError, raise_for_code
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.simulation.clients import REQUEST_SECONDS, RETRIABLE, Client
from tests.simulation.copiers import fetch_offset
from tests.simulation.history import History, Partition

SESSION_SECONDS = 3.0
HEARTBEAT_SECONDS = 0.4
HEARTBEAT_VERSION = 1
OFFSET_COMMIT_VERSION = 9
GOES_ON = RETRIABLE | {ErrorCode.STALE_MEMBER_EPOCH}
"""Anything else ends the life of a member."""


@dataclass
class Claims:
    """Who believes to own what, and what was committed."""

    history: History
    until: dict[str, float] = field(default_factory=dict)
    """Member → until when nobody else can have its partitions, unless it lets go."""
    owned: dict[str, dict[Partition, None]] = field(default_factory=dict)
    committed: dict[Partition, int] = field(default_factory=dict)
    """The highest offset whose commit was acknowledged."""

    def give(self, member: str, partition: Partition, now: float) -> None:
        for other, partitions in self.owned.items():
            if other != member and partition in partitions and self.until[other] > now:
                self.history.violate(
                    f"{partition} was given to {member} at {now:.3f}, while {other} has it until {self.until[other]:.3f}"
                )
        self.owned.setdefault(member, {})[partition] = None

    def let_go(self, member: str, partitions: list[Partition]) -> None:
        for partition in partitions:
            self.owned.get(member, {}).pop(partition, None)

    def end(self, member: str) -> None:
        self.owned.pop(member, None)
        self.until.pop(member, None)


class Member(Client):
    def __init__(self, *args: Any, topic: str, group: str, claims: Claims) -> None:
        super().__init__(*args)
        self.topic = topic
        self.group = group
        self.claims = claims
        self._lives = 0
        self._member = ""
        self._epoch = 0
        self._positions: dict[Partition, int] = {}
        """Of what it owns; -1 until the committed offset was fetched."""

    async def run(self) -> None:
        while not self.stopping:
            try:
                await self._live()
            except (ClientConnectionError, KafkaError) as error:
                self.note(f"member begins anew: {error!r}")
            self.claims.end(self._member)
            await self.pause()
        await self.close()

    async def ask(self, kind: int, key: str, api_key: ApiKey, version: int, request: Any) -> Any:
        router = self.client.router
        coordinator = await router.coordinator_id(key, kind)
        connection = await router._pool.acquire(await router.address_of(coordinator))
        return await connection.call_version(api_key, version, request, REQUEST_SECONDS)

    # Life -------------------------------------------------------------------------------------------

    async def _live(self) -> None:
        self._lives += 1
        self._member, self._epoch = f"{self.name}.{self._lives}", 0
        self._positions = {}
        leaves_at = self.cluster.loop.time() + self.random.uniform(3, 15)
        deadline = 0.0
        while not self.stopping and self.cluster.loop.time() < leaves_at:
            try:
                asked_at = self.cluster.loop.time()
                await self._heartbeat()
                deadline = asked_at + SESSION_SECONDS
                await self._consume()
            except ClientConnectionError:
                pass
            except KafkaError as error:
                if error.code not in GOES_ON:
                    raise
            if deadline and self.cluster.loop.time() > deadline:
                self.note("has heard nothing for the session timeout")
                return
            await asyncio.sleep(self.random.uniform(0.5, 1.0) * HEARTBEAT_SECONDS)
        if self.random.random() < 0.7:
            await self._leave()

    async def _leave(self) -> None:
        self.claims.end(self._member)
        self._epoch = -1
        try:
            await self._send_heartbeat([])
        except (ClientConnectionError, KafkaError) as error:
            self.note(f"left without a word: {error!r}")

    async def _heartbeat(self) -> None:
        owned = list(self._positions)
        asked_at = self.cluster.loop.time()
        answer = await self._send_heartbeat(owned)
        raise_for_code(answer.error_code, answer.error_message)
        now = self.cluster.loop.time()
        self._epoch = answer.member_epoch
        self.claims.until[self._member] = asked_at + SESSION_SECONDS
        if answer.assignment is None:
            return
        assigned = {
            (self.topic, index): None for topic in answer.assignment.topic_partitions for index in topic.partitions
        }
        gone = [partition for partition in self._positions if partition not in assigned]
        for partition in gone:
            await self._commit(partition)
            del self._positions[partition]
        self.claims.let_go(self._member, gone)
        for partition in assigned:
            if partition not in self._positions:
                self._positions[partition] = -1
                self.claims.give(self._member, partition, now)

    async def _send_heartbeat(self, owned: list[Partition]) -> Any:
        r = m.ConsumerGroupHeartbeatRequest
        topic_id = await self._topic_id()
        request = r(
            group_id=self.group,
            member_id=self._member,
            member_epoch=self._epoch,
            rebalance_timeout=5_000,
            subscribed_topic_names=[self.topic],
            topic_partitions=[r.TopicPartitions(topic_id=topic_id, partitions=[index for _, index in owned])]
            if owned
            else [],
        )
        return await self.ask(0, self.group, ApiKey.CONSUMER_GROUP_HEARTBEAT, HEARTBEAT_VERSION, request)

    async def _topic_id(self) -> bytes:
        for broker in self.cluster.brokers().values():
            return broker.cluster.image.topics_by_name[self.topic].topic_id
        raise ClientConnectionError("no broker is there to ask")

    # Work -------------------------------------------------------------------------------------------

    async def _consume(self) -> None:
        for partition in list(self._positions):
            if self._positions.get(partition) == -1:
                await self._begin(partition)
            if partition not in self._positions:
                continue
            found = await self.client.reader.fetch(
                *partition, self._positions[partition], max_bytes=500, max_wait_ms=10
            )
            if found.next_offset > self._positions[partition]:
                self._positions[partition] = found.next_offset
                await self._commit(partition)

    async def _begin(self, partition: Partition) -> None:
        known = self.claims.committed.get(partition, 0)
        offset = await fetch_offset(self, self.group, partition)
        if offset < known:
            self.history.violate(f"{self.group}: offset {known} of {partition} was committed, {offset} is fetched")
        self._positions[partition] = offset

    async def _commit(self, partition: Partition) -> None:
        """Where the outcome is unknown this life ends: the request may still arrive, and must not undo a later one."""
        position = self._positions[partition]
        if position < 0:
            return
        r = m.OffsetCommitRequest
        request = r(
            group_id=self.group,
            generation_id_or_member_epoch=self._epoch,
            member_id=self._member,
            topics=[
                r.OffsetCommitRequestTopic(
                    name=partition[0],
                    partitions=[
                        r.OffsetCommitRequestPartition(partition_index=partition[1], committed_offset=position)
                    ],
                )
            ],
        )
        try:
            answer = await self.ask(0, self.group, ApiKey.OFFSET_COMMIT, OFFSET_COMMIT_VERSION, request)
        except ClientConnectionError as error:
            raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"perhaps committed: {error}") from error
        raise_for_code(answer.topics[0].partitions[0].error_code)
        self.claims.committed[partition] = max(self.claims.committed.get(partition, 0), position)
