"""Produce v3–13: append record batches to partitions led here.

Versions: v3 record batches (KIP-98), v7 zstd, v8 per-record errors, v9 flexible, v10 where the leader is (KIP-951), v11
TRANSACTION_ABORTABLE, v12 adds partitions to the transaction by itself (KIP-890), v13 topic ids instead of names.
Versions 0–2 are advertised but end the connection (see ``protocol/registry.py``).
Deviations: ``acks=all`` is held to the literal ``min.insync.replicas`` even where the topic has fewer replicas. A
transactional batch without producer id is refused (INVALID_RECORD), and one in a request without transactional id fails
its own partition only (TRANSACTIONAL_ID_AUTHORIZATION_FAILED). Compressed records that are stored as they come are not opened,
so a client may store what nobody can decompress (Kafka opens them all). A partition that a request names twice is appended to
twice (Kafka keeps the last). Bytes behind the last whole batch are refused
(Kafka drops them), and so is a batch that says LogAppendTime of itself; no whole batch at all is CORRUPT_MESSAGE
(Kafka: INVALID_RECORD). Errors do not tell the log start, nor duplicates a log append time of their own.

Hot path: one request costs a header scan, one CRC and one write per partition and a few dozen calls around them. No
task, no future; an acks=all answer is one ``ParkedProduce`` known to the partitions it waits for. Every partition
succeeds or fails on its own.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from broker.errors import ErrorCode, KafkaError
from broker.handlers.context import Request, Services
from broker.handlers.leader_hints import HINTS_IN_PRODUCE_FROM, LeaderHint, current_leader, node_endpoints
from broker.handlers.record_checks import RecordsRefused, check_keys, name_timestamps
from broker.handlers.reply import CloseConnection, Deferred, Reply
from broker.handlers.throttling import throttle_produce
from broker.partition.driver import Partition
from broker.protocol.api import ApiKey
from broker.protocol.batch import ATTRIBUTES_AT, COMPRESSION_MASK, COMPRESSION_NAMES, HEADER_SIZE, TRANSACTIONAL
from broker.protocol.produce import ProduceRequest, decode_produce, encode_produce_response
from broker.types import INTERNAL_TOPICS

if TYPE_CHECKING:
    from broker.handlers.prepared_produce import Preparation
    from broker.storage.log import LogAppend
    from broker.storage.verification import Proof

API = ApiKey.PRODUCE

_NONE = int(ErrorCode.NONE)
_NOT_LEADER = int(ErrorCode.NOT_LEADER_OR_FOLLOWER)
_TIMED_OUT = int(ErrorCode.REQUEST_TIMED_OUT)

_ATTRIBUTES_LOW_AT = ATTRIBUTES_AT + 1
_ZSTD = COMPRESSION_NAMES.index("zstd")
ZSTD_FROM = 7
"""A client of an older version may not know the codec, nor may those that read after it (KIP-110)."""
Append = Callable[["Partition", "memoryview | None", int, int, bool], "LogAppend"]
Place = tuple["Partition", int, list, int]
"""A partition, the offset to wait for, and where its result is: ``results[index]``."""
Result = tuple[int, int, int, int, int, Any, str | None]
"""partition, error code, base offset, log append time, log start offset, record errors, error message"""


class ParkedProduce(Deferred):
    """An acks=all answer on its way: released by the partitions, or by ``request.timeout.ms``."""

    __slots__ = (
        "_manager",
        "_places",
        "_request",
        "_services",
        "_topics",
        "_waiting",
        "acks",
        "deadline",
        "partitions",
    )

    patient = False
    can_wait = True
    """Readers of what is acknowledged are answered first, and acknowledgements of many partitions share one write."""

    def __init__(self, request: Request, topics: list, services: Services, deadline: float, *, acks: int) -> None:
        super().__init__()
        request.drop_body()
        self.acks = acks
        self._request = request
        self._services = services
        self._manager = services.partitions
        self._topics = topics
        self._places: list[tuple[list, int] | None] = []
        self._waiting = 0
        self.partitions: list[Partition] = []
        self.deadline = deadline

    def park(self, partition: Partition, last_offset: int, results: list, index: int) -> None:
        """Wait for ``last_offset`` of a partition whose (so far successful) result is ``results[index]``. acks=1 waits for
        the disk alone, whoever else has the record."""
        park = partition.park if self.acks == -1 else partition.park_until_flushed
        if park(last_offset, self, len(self._places)):
            self._places.append((results, index))
            self.partitions.append(partition)
            self._waiting += 1

    def on_committed(self, slot: int) -> None:
        if self._places[slot] is not None:
            self._places[slot] = None
            self._waiting -= 1
            if not self._waiting:
                self.finish()

    def on_commit_failed(self, slot: int, code: ErrorCode) -> None:
        self._spoil(slot, int(code))
        self.on_committed(slot)

    def on_deadline(self) -> None:
        """Whatever is not committed by now has timed out; it may still become committed later."""
        for slot, place in enumerate(self._places):
            if place is not None:
                self._spoil(slot, _TIMED_OUT)
                self._places[slot] = None
        self._waiting = 0
        self.finish()

    @property
    def waiting(self) -> bool:
        return self._waiting > 0

    def abandon(self) -> None:
        """The connection is gone; the records stay and become committed without anybody to tell."""
        super().abandon()
        self._manager.unwatch(self)

    def _spoil(self, slot: int, code: int) -> None:
        place = self._places[slot]
        if place is not None:
            results, index = place
            results[index] = _failure(results[index][0], code, None)

    def finish(self) -> None:
        if self.done:
            return
        self._manager.unwatch(self)
        self.resolve(encode(self._request, self._topics, self._services))


def handle_raw(request: Request, services: Services) -> Reply:
    produce = decode_produce(request.api_version, request.body)
    now_ms = services.clock.wall_ms()
    refusal = _refusal(produce, services)
    append: Append = append_batch
    if refusal is None and (produce.transactional_id is not None or services.partitions.recompressed):
        preparations, append = _preparations(request, produce, services, now_ms)
        if preparations:
            from broker.handlers.prepared_produce import PreparedProduce

            throttle_produce(request, services)
            return PreparedProduce(request, services, preparations, append)
    topics: list = []
    appended: list[Place] = []
    failed = append_all(produce, request, services, refusal, append, now_ms, topics, appended)
    throttle_produce(request, services)
    if produce.acks == 0:
        if failed:
            raise CloseConnection("an acks=0 produce failed")
        return None
    if appended:
        deadline = services.clock.monotonic() + produce.timeout_ms / 1_000
        parked = ParkedProduce(request, topics, services, deadline, acks=produce.acks)
        for place in appended:
            parked.park(*place)
        if parked.waiting:
            services.partitions.watch_deadline(parked)
            return parked
    return encode(request, topics, services)


def _preparations(
    request: Request, produce: ProduceRequest, services: Services, now_ms: int
) -> tuple[list[Preparation], Append]:
    """What has to happen before the request can be appended, and how it is appended then."""
    preparations: list[Preparation] = []
    append: Append = append_batch
    if produce.transactional_id is not None:
        from broker.handlers.transactional_produce import admit

        admission = admit(request, produce, services, now_ms)
        append = admission.append
        if admission.waits:
            preparations.append(admission)
    if services.partitions.recompressed:
        from broker.handlers.recompressing_produce import Recompression

        recompression = Recompression(services, append, now_ms)
        append = recompression.append
        if recompression.needs_thread(produce):
            preparations.insert(0, recompression)
    return preparations, append


def encode(request: Request, topics: list, services: Services) -> bytes:
    """The answer; with where to go instead for partitions that are led elsewhere (KIP-951)."""
    leaders: dict[tuple[str | bytes | None, int], LeaderHint] = {}
    for name, topic_id, results in topics:
        for result in results:
            if result[1] == _NOT_LEADER and request.api_version >= HINTS_IN_PRODUCE_FROM:
                hint = current_leader(services, name, topic_id, result[0], result[1])
                if hint is not None:
                    leaders[topic_id if topic_id is not None else name, result[0]] = hint
    if not leaders:
        return encode_produce_response(request.api_version, request.correlation_id, topics, request.throttle_ms)
    endpoints = node_endpoints(request, services, (leader for leader, _ in leaders.values()))
    return encode_produce_response(
        request.api_version, request.correlation_id, topics, request.throttle_ms, leaders, endpoints
    )


def append_all(
    produce: ProduceRequest,
    request: Request,
    services: Services,
    refusal: KafkaError | None,
    append: Append,
    now_ms: int,
    topics: list,
    appended: list[Place],
) -> bool:
    """Append every partition's records. Fills ``topics`` with the results, ``appended`` with what is not committed yet;
    whether anything failed."""
    acks = produce.acks
    manager = services.partitions
    client = request.connection.listener == "client"
    failed = False
    for name, topic_id, entries in produce.topics:
        results: list[Result] = []
        topics.append((name, topic_id, results))
        for index, records in entries:
            try:
                if refusal is not None:
                    raise refusal
                partition = manager.resolve(name, topic_id, index)
                if request.api_version < ZSTD_FROM:
                    _refuse_zstd(records)
                done = append(partition, records, acks, now_ms, client)
            except KafkaError as error:
                failed = True
                results.append(_failure(index, int(error.code), error))
                continue
            if (
                partition.committed_offset <= done.last_offset
                if acks == -1
                else acks == 1 and partition.flush_is_forced
            ):
                appended.append((partition, done.last_offset, results, len(results)))
            results.append(
                (index, _NONE, done.base_offset, done.log_append_time_ms, partition.log.log_start_offset, (), None)
            )
    return failed


def _refuse_zstd(records: memoryview | None) -> None:
    if records is not None and len(records) > HEADER_SIZE and records[_ATTRIBUTES_LOW_AT] & COMPRESSION_MASK == _ZSTD:
        raise KafkaError(
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
            f"Produce requests before version {ZSTD_FROM} are not allowed to use ZStandard compression",
        )


def append_batch(
    partition: Partition,
    records: memoryview | None,
    acks: int,
    now_ms: int,
    client: bool,
    *,
    transactional: bool = False,
    proof: Proof | None = None,
) -> LogAppend:
    """``transactional``: the request names a transactional id; only then may a batch belong to a transaction."""
    if records is None:
        raise KafkaError(ErrorCode.INVALID_RECORD, "A partition of a produce request has no records.")
    if client and partition.topic_partition[0] in INTERNAL_TOPICS:
        raise KafkaError(ErrorCode.INVALID_TOPIC_EXCEPTION, "The broker alone writes its internal topics.")
    if not transactional and len(records) > HEADER_SIZE and records[_ATTRIBUTES_LOW_AT] & TRANSACTIONAL:
        raise KafkaError(
            ErrorCode.TRANSACTIONAL_ID_AUTHORIZATION_FAILED,
            "A transactional batch in a request without transactional id.",
        )
    config = partition.log.config
    if "compact" in config.cleanup_policy:
        check_keys(records, partition.topic_partition)
    try:
        return partition.append(records, acks=acks, now_ms=now_ms, proof=proof)
    except KafkaError as error:
        if error.code is ErrorCode.INVALID_TIMESTAMP:
            raise name_timestamps(records, config, now_ms, error) from None
        raise


def _refusal(produce: ProduceRequest, services: Services) -> KafkaError | None:
    """Why no partition of this request may be appended to."""
    if produce.acks not in (-1, 0, 1):
        return KafkaError(ErrorCode.INVALID_REQUIRED_ACKS)
    reason = services.partitions.refuse_produce_reason()
    if reason:
        return KafkaError(ErrorCode.KAFKA_STORAGE_ERROR, reason)
    return None


def _failure(partition: int, code: int, error: KafkaError | None) -> Result:
    record_errors = error.record_errors if isinstance(error, RecordsRefused) else ()
    return partition, code, -1, -1, -1, record_errors, None if error is None else error.message
