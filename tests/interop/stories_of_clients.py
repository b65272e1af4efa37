"""What producers, consumers and their groups ask in states in which they should not: stories for ``comparison``."""

from __future__ import annotations

import time
from typing import Any

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.interop.comparison import Speaker
from tests.support.topics import fetch_request, produce_request

NOWHERE = "no-such-topic"
TODAY_MS = time.time_ns() // 1_000_000 - 60_000


def topic(speaker: Speaker, name: str, **configs: str) -> str:
    """A topic of two partitions that is there, not only promised."""
    r = m.CreateTopicsRequest
    entries = [r.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()]
    new = r.CreatableTopic(name=name, num_partitions=2, replication_factor=1, configs=entries)
    speaker.wire.call(ApiKey.CREATE_TOPICS, 5, r(timeout=10_000, topics=[new]))
    md = m.MetadataRequest
    request = md(topics=[md.MetadataRequestTopic(name=name)], allow_auto_topic_creation=False)
    while speaker.wire.call(ApiKey.METADATA, 9, request).topics[0].error_code:
        pass
    return name


def records(*values: bytes, timestamp_ms: int = TODAY_MS, key: bytes | None = None, **fields: Any) -> bytes:
    return bytes(build_batch([Record(timestamp=timestamp_ms, key=key, value=value) for value in values], **fields))


# Transactions ----------------------------------------------------------------------------------------


def transactions(speaker: Speaker) -> None:
    name = topic(speaker, "transactions")
    speaker.ask("find", ApiKey.FIND_COORDINATOR, 4, m.FindCoordinatorRequest(key_type=1, coordinator_keys=[name]))
    speaker.ask("find group", ApiKey.FIND_COORDINATOR, 4, m.FindCoordinatorRequest(coordinator_keys=[name]))
    producer = _Producer(speaker, name)
    for version in range(6):
        for timeout_ms in (0, -1, 2**31 - 1):
            producer.init(f"init v{version} with {timeout_ms} ms", version, transaction_timeout=timeout_ms)
        producer.init(f"init v{version} without a name", version, transactional_id="")
    producer.init("an id without epoch", producer_id=5)
    producer.init("an epoch without id", producer_epoch=5)
    producer.init("no transactions", transactional_id=None)
    producer.become(producer.init("init"))
    for version in range(6):
        producer.end(f"end v{version} of nobody", version, transactional_id="nobody")
        producer.end(f"end v{version} of another id", version, producer_id=producer.id + 1000)
        producer.end(f"end v{version} of a later epoch", version, producer_epoch=producer.epoch + 1)
        producer.end(f"commit v{version} of nothing", version)
    for version in range(4):
        producer.add(f"add v{version} of nobody", version, v3_and_below_transactional_id="nobody")
        producer.add(f"add v{version} of a later epoch", version, v3_and_below_producer_epoch=producer.epoch + 1)
        producer.add(f"add v{version} what is not there", version, partitions=[0, 9])
    producer.write("write what was not added, v10", 10)
    producer.write("write what was not added, v11", 11)
    producer.write("write with a later epoch", 12, producer_epoch=producer.epoch + 1)
    producer.write("write as a stranger", 12, producer_id=producer.id + 1000)
    producer.write("write from the middle", 12, base_sequence=5)
    producer.add("add", 3)
    for version in range(6):
        producer.offset(f"offset v{version} not announced", version)
        producer.offset(f"offset v{version} of a later epoch", version, producer_epoch=producer.epoch + 1)
        if version >= 3:
            producer.offset(f"offset v{version} of no member", version, generation_id=3, member_id="nobody")
    producer.write("write", 11)
    producer.end("commit", 4)
    producer.end("commit again", 4)
    producer.end("abort what is committed", 4, committed=False)
    producer.end("commit nothing, v5", 5)
    aborted = producer.end("abort nothing, v5", 5, committed=False)
    producer.end("abort nothing again, v5", 5, committed=False)
    producer.init("recover with an old epoch", producer_id=producer.id, producer_epoch=producer.epoch)
    recovered = producer.init("recover", producer_id=aborted.producer_id, producer_epoch=aborted.producer_epoch)
    producer.write("write with what was fenced", 12)
    producer.become(recovered)
    producer.write("write v12", 12)
    producer.write("write v12 a gap", 12, base_sequence=7)
    producer.init("init while a transaction is open")
    described = m.DescribeTransactionsRequest(transactional_ids=[name, "nobody", ""])
    speaker.ask("describe", ApiKey.DESCRIBE_TRANSACTIONS, 0, described)
    listed = m.ListTransactionsRequest(state_filters=["Bogus"], transactional_id_pattern=name)
    speaker.ask("list by a wrong state", ApiKey.LIST_TRANSACTIONS, 2, listed)
    wrong = m.ListTransactionsRequest(transactional_id_pattern="[")
    speaker.ask("list by a wrong pattern", ApiKey.LIST_TRANSACTIONS, 2, wrong)


class _Producer:
    def __init__(self, speaker: Speaker, name: str) -> None:
        self._speaker, self._name = speaker, name
        self.id = self.epoch = -1

    def become(self, answer: Any) -> None:
        self.id, self.epoch = answer.producer_id, answer.producer_epoch

    def init(self, label: str, version: int = 5, **fields: Any) -> Any:
        fields = {"transactional_id": self._name, "transaction_timeout": 60_000, **fields}
        answer = self._speaker.ask(label, ApiKey.INIT_PRODUCER_ID, version, m.InitProducerIdRequest(**fields))
        self._hide_id(answer)
        return answer

    def end(self, label: str, version: int, **fields: Any) -> Any:
        fields = {"transactional_id": self._name, "committed": True, **self._identity(), **fields}
        answer = self._speaker.ask(label, ApiKey.END_TXN, version, m.EndTxnRequest(**fields))
        self._hide_id(answer)
        return answer

    def add(self, label: str, version: int, *, partitions: list[int] | None = None, **fields: Any) -> None:
        r = m.AddPartitionsToTxnRequest
        fields = {
            "v3_and_below_transactional_id": self._name,
            "v3_and_below_producer_id": self.id,
            "v3_and_below_producer_epoch": self.epoch,
            "v3_and_below_topics": [r.AddPartitionsToTxnTopic(name=self._name, partitions=partitions or [0])],
            **fields,
        }
        self._speaker.ask(label, ApiKey.ADD_PARTITIONS_TO_TXN, version, r(**fields))

    def offset(self, label: str, version: int, **fields: Any) -> None:
        r = m.TxnOffsetCommitRequest
        item = r.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=5, committed_metadata="")
        topics = [r.TxnOffsetCommitRequestTopic(name=self._name, partitions=[item])]
        group = f"{self._name}-{version}" if "not announced" in label else self._name
        fields = {"transactional_id": self._name, "group_id": group, "topics": topics, **self._identity(), **fields}
        self._speaker.ask(label, ApiKey.TXN_OFFSET_COMMIT, version, r(**fields))

    def write(self, label: str, version: int, **fields: Any) -> None:
        batch = records(b"v", is_transactional=True, **{**self._identity(), "base_sequence": 0, **fields})
        request = produce_request({(self._name, 0): batch}, transactional_id=self._name)
        self._speaker.ask(label, ApiKey.PRODUCE, version, request)

    def _identity(self) -> dict[str, int]:
        return {"producer_id": self.id, "producer_epoch": self.epoch}

    def _hide_id(self, answer: Any) -> None:
        for path, value in self._speaker.answers[-1][1].items():
            if path == "producer_id" and value == answer.producer_id and value != -1:
                self._speaker.answers[-1][1][path] = "an id"


# Records ---------------------------------------------------------------------------------------------


def producing(speaker: Speaker) -> None:
    name, small = topic(speaker, "producing"), topic(speaker, "producing-small", max_message_bytes="200")
    compacted = topic(speaker, "producing-compacted", cleanup_policy="compact")
    good = records(b"a", b"b")
    broken = good[:-1] + bytes([good[-1] ^ 1])
    for version in range(3, 13):
        for label, where, batch in (
            ("fine", (name, 0), good),
            ("to a partition that is not there", (name, 9), good),
            ("to a topic that is not there", (NOWHERE, 0), good),
            ("with a wrong checksum", (name, 0), broken),
            ("two batches", (name, 0), good + good),
            ("of an old format", (name, 0), good[:16] + b"\1" + good[17:]),
            ("without a key", (compacted, 0), good),
            ("with a key", (compacted, 0), records(b"a", key=b"k")),
            ("too large", (small, 0), records(b"x" * 500)),
            ("of tomorrow", (name, 0), records(b"a", timestamp_ms=TODAY_MS + 8 * 3_600_000)),
        ):
            speaker.ask(f"v{version} {label}", ApiKey.PRODUCE, version, produce_request({where: batch}))
        speaker.ask(f"v{version} acks 2", ApiKey.PRODUCE, version, produce_request({(name, 0): good}, acks=2))
    for label, sequence, epoch in (
        ("begin at 5", 5, 0),
        ("go on", 6, 0),
        ("leave a gap", 9, 0),
        ("fall back", 2, 0),
        ("a new epoch in the middle", 3, 1),
        ("a new epoch", 0, 1),
        ("the old epoch", 7, 0),
    ):
        batch = records(b"x", producer_id=999, producer_epoch=epoch, base_sequence=sequence)
        speaker.ask(f"sequence: {label}", ApiKey.PRODUCE, 9, produce_request({(name, 1): batch}))


def fetching(speaker: Speaker) -> None:
    name = topic(speaker, "fetching")
    for step in range(3):
        batch = records(b"a", b"b", timestamp_ms=TODAY_MS + 10 * step)
        speaker.ask("produce", ApiKey.PRODUCE, 9, produce_request({(name, 0): batch}))
    for version in range(4, 13):
        for offset in (0, 1, 6, 7, -1):
            speaker.ask(f"v{version} at {offset}", ApiKey.FETCH, version, fetch_request(name, offset))
        committed = fetch_request(name, isolation_level=1)
        speaker.ask(f"v{version} committed", ApiKey.FETCH, version, committed)
        speaker.ask(f"v{version} one byte", ApiKey.FETCH, version, fetch_request(name, max_bytes=1))
        if version >= 7:
            for session, epoch in ((12345, 1), (0, 3)):
                request = fetch_request(name, session_id=session, session_epoch=epoch)
                speaker.ask(f"v{version} session {session}, {epoch}", ApiKey.FETCH, version, request)
        if version >= 9:
            for epoch in (0, 5):
                request = fetch_request(name, current_leader_epoch=epoch)
                speaker.ask(f"v{version} in epoch {epoch}", ApiKey.FETCH, version, request)
    diverged = fetch_request(name, 3, last_fetched_epoch=5)
    speaker.ask("diverged", ApiKey.FETCH, 12, diverged)
    r = m.ListOffsetsRequest
    for version in range(1, 12):
        for timestamp in (-1, -2, -3, -4, -5, -6, -7, 0, TODAY_MS, TODAY_MS + 1, TODAY_MS + 21, TODAY_MS + 999):
            parts = [r.ListOffsetsPartition(partition_index=index, timestamp=timestamp) for index in (0, 1, 7)]
            request = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=name, partitions=parts)])
            label = timestamp if timestamp <= 0 else f"today + {timestamp - TODAY_MS}"
            speaker.ask(f"offsets v{version} for {label}", ApiKey.LIST_OFFSETS, version, request)
    e = m.OffsetForLeaderEpochRequest
    for version in range(2, 5):
        for current, asked in ((-1, 0), (-1, 5), (-1, -1), (0, 0), (5, 0)):
            part = e.OffsetForLeaderPartition(partition=0, current_leader_epoch=current, leader_epoch=asked)
            request = e(replica_id=-1, topics=[e.OffsetForLeaderTopic(topic=name, partitions=[part])])
            speaker.ask(f"epoch v{version} {asked} in {current}", ApiKey.OFFSET_FOR_LEADER_EPOCH, version, request)
