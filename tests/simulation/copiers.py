"""Transactional copiers: each record of an input partition goes to two output partitions, once, with the offset it was read at.

A copier begins a life with InitProducerId, goes on from the offset that is committed, and ends a life when anything is
refused that trying again would not help. Now and then it aborts, or dies in the middle and leaves a zombie behind that
goes on with its transaction while the next life has begun.

What is written says in which attempt (``value|attempt``), so what was aborted can be told from what was committed later.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from broker.client.errors import ClientConnectionError, raise_for_code
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.simulation.clients import REQUEST_SECONDS, RETRIABLE, Client
from tests.simulation.history import History, Partition

TRANSACTION = 1
"""Key type of FindCoordinator."""
PRODUCE_VERSION = 12
TXN_OFFSET_COMMIT_VERSION = 5
END_TXN_VERSION = 5
INIT_PRODUCER_ID_VERSION = 5
TIMEOUT_MS = 6_000
RETRIES_MAX = 40
AGAIN = RETRIABLE | {ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.UNSTABLE_OFFSET_COMMIT}


@dataclass
class Copies:
    """What copiers did, and what must be true of the output in the end."""

    committed: dict[bytes, None] = field(default_factory=dict)
    """Written values of transactions whose commit was acknowledged."""
    aborted: dict[bytes, None] = field(default_factory=dict)
    """Of those whose abort was."""

    def judge(
        self, history: History, outputs: dict[Partition, list[bytes]], inputs: dict[int, list[bytes]], name: str
    ) -> None:
        """``outputs``: what readers of committed data find in each; ``inputs``: by partition, what had to be copied."""
        for partition, values in outputs.items():
            found = dict.fromkeys(values)
            for value in self.aborted:
                if value in found:
                    history.violate(f"{partition}: {value!r} was aborted and is read")
            for value in self.committed:
                if value not in found:
                    history.violate(f"{partition}: {value!r} was committed and is missing")
            by_input: dict[int, list[bytes]] = defaultdict(list)
            for value in values:
                source, _, rest = value.partition(b"/")
                by_input[int(source)].append(rest.rpartition(b"|")[0])
            for index, originals in inputs.items():
                if by_input[index] != originals:
                    history.violate(
                        f"{partition}: copies of {name}-{index} are not its records once and in order: "
                        f"{_difference(by_input[index], originals)}"
                    )
        first, *others = (dict.fromkeys(values) for values in outputs.values())
        for other in others:
            if first.keys() != other.keys():
                torn = sorted(first.keys() ^ other.keys())[:5]
                history.violate(f"transactions are torn: {torn} are in one of {list(outputs)} only")


def _difference(found: list[bytes], wanted: list[bytes]) -> str:
    for index, (one, other) in enumerate(zip(found, wanted, strict=False)):
        if one != other:
            return f"at {index} there is {one!r} instead of {other!r}"
    return f"{len(found)} instead of {len(wanted)}"


class Fenced(Exception):
    """This life of a copier is over."""


class Copier(Client):
    def __init__(self, *args: Any, source: Partition, outputs: list[Partition], group: str, copies: Copies) -> None:
        super().__init__(*args)
        self.source = source
        self.outputs = outputs
        self.group = group
        self.copies = copies
        self.transactional_id = f"copier-{source[1]}"
        self.copied = 0
        """Input offset up to which commits were acknowledged."""
        self.end: int | None = None
        """Where the input ends, once that is known: then the work is done."""
        self._attempts = 0
        self._zombies: list[asyncio.Task[None]] = []

    async def run(self) -> None:
        while self.end is None or self.copied < self.end:
            try:
                await Life(self).work()
            except (Fenced, ClientConnectionError, KafkaError) as error:
                self.note(f"begins anew: {error!r}")
                await self.pause()
        for zombie in self._zombies:
            await zombie
        await self.close()

    def next_attempt(self) -> int:
        self._attempts += 1
        return self._attempts

    def leave_behind(self, zombie: asyncio.Task[None]) -> None:
        self._zombies.append(zombie)

    async def ask(self, kind: int, key: str, api_key: ApiKey, version: int, request: Any) -> Any:
        """The coordinator of ``key``, wherever it is. Raises what the network or FindCoordinator say."""
        router = self.client.router
        coordinator = await router.coordinator_id(key, kind)
        connection = await router._pool.acquire(await router.address_of(coordinator))
        return await connection.call_version(api_key, version, request, REQUEST_SECONDS)


class Life:
    """One producer epoch after the other of one incarnation."""

    def __init__(self, copier: Copier) -> None:
        self.copier = copier
        self.producer_id = -1
        self.epoch = -1
        self._sequences: dict[Partition, int] = {}

    async def work(self) -> None:
        copier = self.copier
        await self._again(self._begin)
        position = await self._again(self._committed_offset)
        if position < copier.copied:
            copier.history.violate(
                f"{copier.name}: offset {copier.copied} of {copier.source} was committed, {position} is fetched"
            )
        copier.copied = max(copier.copied, position)
        while copier.end is None or position < copier.end:
            values, next_position = await self._again(lambda at=position: self._read(at))
            if not values:
                position = next_position
                await copier.pause()
                continue
            if copier.random.random() < 0.04:
                # The process hangs here and goes on later, when another life has begun.
                zombie = copier.cluster.loop.create_task(self._haunt(values, next_position))
                copier.leave_behind(zombie)
                raise Fenced("left for dead")
            if await self._copy(values, next_position, commit=copier.random.random() > 0.1):
                position = next_position
                copier.copied = max(copier.copied, position)
            if copier.random.random() < 0.02:
                raise Fenced("died between transactions")

    async def _haunt(self, values: list[bytes], next_position: int) -> None:
        copier = self.copier
        if copier.random.random() < 0.5:
            await asyncio.sleep(copier.random.uniform(0, 2))
        try:
            if await self._copy(values, next_position, commit=True):
                copier.copied = max(copier.copied, next_position)
        except (Fenced, ClientConnectionError, KafkaError) as error:
            copier.note(f"zombie: {error!r}")

    # One transaction --------------------------------------------------------------------------------

    async def _copy(self, values: list[bytes], next_position: int, *, commit: bool) -> bool:
        """Whether it was committed."""
        copier = self.copier
        attempt = copier.next_attempt()
        written = [b"%d/%b|%d" % (copier.source[1], value, attempt) for value in values]
        for partition in copier.outputs:
            for value in written:
                copier.history.on_sent(partition, value)
        for partition in copier.outputs:
            await self._write(partition, written)
            if copier.random.random() < 0.1:
                await copier.pause()
        await self._again(lambda: self._commit_offset(next_position))
        await self._again(lambda: self._end(commit=commit))
        (copier.copies.committed if commit else copier.copies.aborted).update(dict.fromkeys(written))
        return commit

    async def _write(self, partition: Partition, values: list[bytes]) -> None:
        sequence = self._sequences.get(partition, 0)
        records = bytes(
            build_batch(
                (Record(timestamp=1_700_000_000_000, value=value) for value in values),
                producer_id=self.producer_id,
                producer_epoch=self.epoch,
                base_sequence=sequence,
                is_transactional=True,
            )
        )
        await self._again(lambda: self._produce(partition, records))
        self._sequences[partition] = sequence + len(values)

    async def _produce(self, partition: Partition, records: bytes) -> None:
        topic, index = partition
        router = self.copier.client.router
        r = m.ProduceRequest
        data = r.TopicProduceData(name=topic, partition_data=[r.PartitionProduceData(index=index, records=records)])
        request = r(transactional_id=self.copier.transactional_id, acks=-1, timeout=2_000, topic_data=[data])
        try:
            (leader,) = await router.leaders(topic, [index])
            connection = await router._pool.acquire(await router.address_of(leader))
            answer = await connection.call_version(ApiKey.PRODUCE, PRODUCE_VERSION, request, REQUEST_SECONDS)
            raise_for_code(answer.responses[0].partition_responses[0].error_code)
        except (ClientConnectionError, KafkaError):
            router.forget_topic(topic)
            raise

    # Coordinators -----------------------------------------------------------------------------------

    async def _begin(self) -> None:
        request = m.InitProducerIdRequest(transactional_id=self.copier.transactional_id, transaction_timeout=TIMEOUT_MS)
        answer = await self._ask_transactions(ApiKey.INIT_PRODUCER_ID, INIT_PRODUCER_ID_VERSION, request)
        raise_for_code(answer.error_code)
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch

    async def _end(self, *, commit: bool) -> None:
        request = m.EndTxnRequest(
            transactional_id=self.copier.transactional_id,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            committed=commit,
        )
        answer = await self._ask_transactions(ApiKey.END_TXN, END_TXN_VERSION, request)
        raise_for_code(answer.error_code)
        self.producer_id, self.epoch = answer.producer_id, answer.producer_epoch
        self._sequences.clear()

    async def _commit_offset(self, offset: int) -> None:
        topic, index = self.copier.source
        r = m.TxnOffsetCommitRequest
        request = r(
            transactional_id=self.copier.transactional_id,
            group_id=self.copier.group,
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            generation_id=-1,
            member_id="",
            topics=[
                r.TxnOffsetCommitRequestTopic(
                    name=topic,
                    partitions=[r.TxnOffsetCommitRequestPartition(partition_index=index, committed_offset=offset)],
                )
            ],
        )
        answer = await self.copier.ask(
            0, self.copier.group, ApiKey.TXN_OFFSET_COMMIT, TXN_OFFSET_COMMIT_VERSION, request
        )
        raise_for_code(answer.topics[0].partitions[0].error_code)

    async def _committed_offset(self) -> int:
        return await fetch_offset(self.copier, self.copier.group, self.copier.source, stable=True)

    async def _ask_transactions(self, api_key: ApiKey, version: int, request: Any) -> Any:
        return await self.copier.ask(TRANSACTION, self.copier.transactional_id, api_key, version, request)

    async def _read(self, offset: int) -> tuple[list[bytes], int]:
        topic, index = self.copier.source
        found = await self.copier.client.reader.fetch(
            topic, index, offset, max_bytes=400, max_wait_ms=100, read_committed=True
        )
        return [record.value or b"" for record in found.records], found.next_offset

    async def _again(self, attempt: Any) -> Any:
        """Until it works; what trying again does not help ends this life."""
        for _ in range(RETRIES_MAX):
            try:
                return await attempt()
            except ClientConnectionError:
                pass
            except KafkaError as error:
                if error.code not in AGAIN:
                    raise Fenced(f"{error.code.name}: {error.message}") from error
            await self.copier.pause()
        raise Fenced("no patience left")


async def fetch_offset(client: Any, group: str, partition: Partition, *, stable: bool = False) -> int:
    """Where ``group`` goes on; 0 where it has not been."""
    r = m.OffsetFetchRequest
    topics = [r.OffsetFetchRequestTopics(name=partition[0], partition_indexes=[partition[1]])]
    request = r(
        groups=[r.OffsetFetchRequestGroup(group_id=group, topics=topics)],
        require_stable=stable,
    )
    answer = await client.ask(0, group, ApiKey.OFFSET_FETCH, 8, request)
    (found,) = answer.groups
    raise_for_code(found.error_code)
    ((entry,),) = (topic.partitions for topic in found.topics)
    raise_for_code(entry.error_code)
    return max(0, entry.committed_offset)
