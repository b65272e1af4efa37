"""Transactional Produce: what is verified, what is not, and what happens while the coordinator is asked."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import produce as handler
from broker.handlers.context import ConnectionInfo, Request
from broker.handlers.reply import CloseConnection, Deferred
from broker.protocol import codec
from broker.protocol.api import ApiKey
from broker.protocol.header import skip_response_header
from broker.quotas.driver import Quotas
from broker.types import TopicPartition
from tests.handlers.waiting_room import WaitingRoom
from tests.partition.stage import Stage, image_of, partition_image, topic_image
from tests.support.topics import batch, produce_request
from tests.support.wait import eventually

ORDERS = TopicPartition("orders", 0)


class FakeGate:
    """Says what it is told to say, once it is let."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, int, int, tuple[TopicPartition, ...], bool]] = []
        self.answers: list[ErrorCode] = []
        """One per question; NONE when they are used up."""
        self.open = asyncio.Event()
        self.open.set()

    async def verify(
        self, transactional_id: str, producer_id: int, epoch: int, partitions: Sequence[TopicPartition], *, add: bool
    ) -> dict[TopicPartition, ErrorCode]:
        self.asked.append((transactional_id, producer_id, epoch, tuple(partitions), add))
        await self.open.wait()
        code = self.answers.pop(0) if self.answers else ErrorCode.NONE
        return dict.fromkeys(partitions, code)


class Desk:
    """One producer's connection to the handler, on a broker in memory."""

    def __init__(self, **config: str) -> None:
        self.stage = Stage(OTTLA_ACK_DURABILITY="os", **config)
        self.stage.show(image_of(topic_image("orders", partition_image(), partition_image())))
        self.gate = FakeGate()
        self.services: Any = SimpleNamespace(
            partitions=self.stage.manager,
            clock=self.stage.clock,
            cluster=SimpleNamespace(config=self.stage.config),
            gate=self.gate,
            quotas=Quotas(self.stage.clock),
            connections=WaitingRoom(),
        )

    def configure(self, **values: Any) -> None:
        self.services.cluster.config = replace(self.services.cluster.config, **values)

    def records(self, first: int = 0, *, producer: int = 7, epoch: int = 0, transactional: bool = True) -> bytes:
        return batch(
            b"x",
            timestamp=self.stage.clock.wall_ms(),
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=first,
            is_transactional=transactional,
        )

    def send(self, *records: bytes, version: int = 12, transactional_id: str | None = "tx", acks: int = -1) -> Any:
        """The handler's reply: a frame, or a deferred one."""
        parts = {("orders", index): one for index, one in enumerate(records)}
        message = produce_request(parts, acks=acks, transactional_id=transactional_id)
        body = memoryview(bytearray(codec.encode_request(ApiKey.PRODUCE, version, message)))
        request = Request(0, version, 1, "me", body, ConnectionInfo(1, "", 0, "client"))
        reply = handler.handle_raw(request, self.services)
        body[:] = bytes(len(body))  # the receive buffer is used again as soon as the call returns
        return reply

    async def told(self, *records: bytes, version: int = 12, **options: Any) -> list[tuple[int, int]]:
        """(error code, base offset) of each partition."""
        return results(await answer_of(self.send(*records, version=version, **options)), version)

    def end(self, *, epoch: int = 0, commit: bool = True) -> None:
        self.stage.partition().append_transaction_marker(
            producer_id=7, producer_epoch=epoch, coordinator_epoch=0, commit=commit, now_ms=self.stage.clock.wall_ms()
        )

    @property
    def log_end(self) -> int:
        return self.stage.partition().log.log_end_offset


async def answer_of(reply: Any) -> bytes:
    if not isinstance(reply, Deferred):
        return reply
    await eventually(lambda: reply.done)
    if reply.failure is not None:
        raise reply.failure
    return reply.answer  # type: ignore[return-value]


def results(frame: bytes, version: int) -> list[tuple[int, int]]:
    _, at = skip_response_header(ApiKey.PRODUCE, version, frame[4:])
    message = codec.decode_response(ApiKey.PRODUCE, version, frame[4 + at :])
    return [(p.error_code, p.base_offset) for topic in message.responses for p in topic.partition_responses]


@pytest.fixture
async def desk():
    desk = Desk()
    yield desk
    await desk.stage.close()


# Verification ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", range(3, 13))
async def test_the_first_batch_is_verified_and_the_next_are_not(desk: Desk, version: int) -> None:
    assert await desk.told(desk.records(0), version=version) == [(0, 0)]
    assert desk.send(desk.records(1), version=version) is not None
    assert await desk.told(desk.records(2), version=version) == [(0, 2)]

    assert desk.gate.asked == [("tx", 7, 0, (ORDERS,), version >= 12)]
    assert desk.stage.partition().last_stable_offset == 0


async def test_the_next_transaction_is_verified_again(desk: Desk) -> None:
    await desk.told(desk.records(0))
    desk.end(epoch=1)
    assert await desk.told(desk.records(0, epoch=1)) == [(0, 2)]

    assert [(epoch, partitions) for _, _, epoch, partitions, _ in desk.gate.asked] == [(0, (ORDERS,)), (1, (ORDERS,))]


async def test_only_the_partitions_that_need_it_are_asked_about(desk: Desk) -> None:
    await desk.told(desk.records(0))

    assert await desk.told(desk.records(1), desk.records(0)) == [(0, 1), (0, 0)]

    assert desk.gate.asked[1][3] == (TopicPartition("orders", 1),)


async def test_a_marker_between_verification_and_append_makes_the_answer_worthless(desk: Desk) -> None:
    desk.gate.open.clear()
    reply = desk.send(desk.records(0))
    await eventually(lambda: bool(desk.gate.asked))

    desk.end(epoch=1, commit=False)
    desk.gate.open.set()

    assert results(await answer_of(reply), 12)[0][0] in (ErrorCode.INVALID_PRODUCER_EPOCH, ErrorCode.INVALID_TXN_STATE)
    assert desk.log_end == 1


async def test_a_v1_marker_between_verification_and_append_does_so_too(desk: Desk) -> None:
    desk.gate.open.clear()
    reply = desk.send(desk.records(0), version=9)
    await eventually(lambda: bool(desk.gate.asked))

    desk.end(commit=False)
    desk.gate.open.set()

    assert results(await answer_of(reply), 9) == [(ErrorCode.INVALID_TXN_STATE, -1)]
    assert desk.log_end == 1


@pytest.mark.parametrize("code", [ErrorCode.PRODUCER_FENCED, ErrorCode.INVALID_PRODUCER_ID_MAPPING])
async def test_an_epoch_that_the_coordinator_does_not_know_keeps_nobody_out(desk: Desk, code: ErrorCode) -> None:
    desk.gate.answers = [code]
    ((refused, _),) = await desk.told(desk.records(0, epoch=9))
    assert refused != ErrorCode.NONE
    assert await desk.told(desk.records(0)) == [(0, 0)]


async def test_nothing_overtakes_a_request_that_asks(desk: Desk) -> None:
    desk.gate.open.clear()
    reply = desk.send(desk.records(0))
    assert isinstance(reply, Deferred)
    assert reply.exclusive
    assert desk.log_end == 0

    desk.gate.open.set()
    await answer_of(reply)

    assert not reply.exclusive


async def test_a_connection_that_ends_while_asking_appends_nothing(desk: Desk) -> None:
    desk.gate.open.clear()
    reply = desk.send(desk.records(0))
    reply.abandon()
    desk.gate.open.set()
    await asyncio.sleep(0)

    assert desk.log_end == 0


async def test_a_gate_that_does_not_answer_is_given_up(desk: Desk) -> None:
    desk.configure(request_timeout_ms=20)
    desk.gate.open.clear()

    assert await desk.told(desk.records(0)) == [(ErrorCode.NOT_ENOUGH_REPLICAS, -1)]


async def test_our_own_fault_ends_the_connection(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(*arguments: Any, **options: Any) -> None:
        raise RuntimeError("a fault of ours")

    monkeypatch.setattr(desk.gate, "verify", broken)

    with pytest.raises(CloseConnection):
        await desk.told(desk.records(0))


@pytest.mark.parametrize(("code", "answers"), [(ErrorCode.NONE, None), (ErrorCode.INVALID_TXN_STATE, "closed")])
async def test_acks_0_is_silent_or_ends_the_connection(desk: Desk, code: ErrorCode, answers: str | None) -> None:
    desk.gate.answers = [code]
    reply = desk.send(desk.records(0), acks=0)

    if answers is None:
        assert await answer_of(reply) is None
        assert desk.log_end == 1
    else:
        with pytest.raises(CloseConnection):
            await answer_of(reply)


# Errors ----------------------------------------------------------------------------------------------

E = ErrorCode


@pytest.mark.parametrize(
    ("said", "versions"),
    [
        (E.INVALID_TXN_STATE, {9: E.INVALID_TXN_STATE, 11: E.INVALID_TXN_STATE, 12: E.INVALID_TXN_STATE}),
        (E.TRANSACTION_ABORTABLE, {10: E.INVALID_TXN_STATE, 11: E.TRANSACTION_ABORTABLE, 12: E.TRANSACTION_ABORTABLE}),
        (E.PRODUCER_FENCED, {9: E.INVALID_PRODUCER_EPOCH, 12: E.INVALID_PRODUCER_EPOCH}),
        (E.INVALID_PRODUCER_EPOCH, {9: E.INVALID_PRODUCER_EPOCH, 12: E.INVALID_PRODUCER_EPOCH}),
        (E.INVALID_PRODUCER_ID_MAPPING, {9: E.INVALID_PRODUCER_ID_MAPPING, 12: E.INVALID_PRODUCER_ID_MAPPING}),
        (E.NOT_COORDINATOR, {9: E.NOT_ENOUGH_REPLICAS, 12: E.NOT_ENOUGH_REPLICAS}),
        (E.COORDINATOR_LOAD_IN_PROGRESS, {9: E.NOT_ENOUGH_REPLICAS, 12: E.NOT_ENOUGH_REPLICAS}),
        (E.COORDINATOR_NOT_AVAILABLE, {9: E.NOT_ENOUGH_REPLICAS, 12: E.NOT_ENOUGH_REPLICAS}),
        (E.NETWORK_EXCEPTION, {9: E.NOT_ENOUGH_REPLICAS, 12: E.NOT_ENOUGH_REPLICAS}),
    ],
    ids=lambda value: value.name if isinstance(value, ErrorCode) else "",
)
async def test_what_the_coordinator_says_is_told_as_each_version_knows_it(
    desk: Desk, said: ErrorCode, versions: dict[int, ErrorCode]
) -> None:
    for version, told in versions.items():
        desk.gate.answers = [said]
        assert await desk.told(desk.records(0), version=version) == [(told, -1)]
    assert desk.log_end == 0


async def test_under_v2_the_end_of_the_last_transaction_is_waited_for_a_little(desk: Desk) -> None:
    desk.gate.answers = [E.CONCURRENT_TRANSACTIONS, E.CONCURRENT_TRANSACTIONS]

    assert await desk.told(desk.records(0)) == [(0, 0)]
    assert len(desk.gate.asked) == 3


@pytest.mark.parametrize(("version", "told"), [(11, E.NOT_ENOUGH_REPLICAS), (12, E.CONCURRENT_TRANSACTIONS)])
async def test_but_not_for_long(desk: Desk, version: int, told: ErrorCode) -> None:
    desk.gate.answers = [E.CONCURRENT_TRANSACTIONS] * 20

    assert await desk.told(desk.records(0), version=version) == [(told, -1)]
    assert len(desk.gate.asked) < 20


# Batches ---------------------------------------------------------------------------------------------


async def test_attributes_decide_and_not_the_header(desk: Desk) -> None:
    assert await desk.told(desk.records(0), transactional_id=None) == [(E.TRANSACTIONAL_ID_AUTHORIZATION_FAILED, -1)]
    assert await desk.told(desk.records(0, transactional=False)) == [(0, 0)]
    assert desk.gate.asked == []
    assert desk.stage.partition().last_stable_offset == 1


async def test_a_transactional_batch_needs_a_producer(desk: Desk) -> None:
    nobody = batch(b"x", timestamp=desk.stage.clock.wall_ms(), is_transactional=True)

    assert await desk.told(nobody) == [(E.INVALID_RECORD, -1)]


async def test_two_producers_in_one_request_are_refused_together(desk: Desk) -> None:
    told = await desk.told(desk.records(0, producer=7), desk.records(0, producer=8))

    assert told == [(E.INVALID_PRODUCER_ID_MAPPING, -1)] * 2
    assert desk.gate.asked == []


async def test_plain_data_within_an_open_transaction_is_refused(desk: Desk) -> None:
    await desk.told(desk.records(0))

    assert await desk.told(desk.records(1, transactional=False), transactional_id=None) == [(E.INVALID_TXN_STATE, -1)]


async def test_clients_write_no_markers(desk: Desk) -> None:
    now = desk.stage.clock.wall_ms()
    marker = batch(b"x", timestamp=now, producer_id=7, producer_epoch=0, is_transactional=True, is_control=True)

    assert await desk.told(marker) == [(E.INVALID_RECORD, -1)]
    assert desk.log_end == 0


async def test_under_v2_a_producer_that_is_not_known_starts_at_zero(desk: Desk) -> None:
    assert await desk.told(desk.records(5), version=12) == [(E.OUT_OF_ORDER_SEQUENCE_NUMBER, -1)]
    assert await desk.told(desk.records(5, producer=8), version=11) == [(0, 0)]


async def test_a_repeated_batch_is_told_its_offset(desk: Desk) -> None:
    await desk.told(desk.records(0))

    assert await desk.told(desk.records(0)) == [(0, 0)]
    assert desk.log_end == 1


async def test_verification_can_be_switched_off_for_transactions_v1(desk: Desk) -> None:
    desk.configure(transaction_partition_verification_enable=False)

    assert await desk.told(desk.records(0), version=11) == [(0, 0)]
    assert desk.gate.asked == []
    assert await desk.told(desk.records(0, producer=8), version=12) == [(0, 1)]
    assert len(desk.gate.asked) == 1
