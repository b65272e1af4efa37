"""In-sync sets on their way to the controller: one at a time per partition, repeated until answered, never taken for
refused while they may have been taken."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from broker.cluster.image import BrokerImage
from broker.errors import ErrorCode, KafkaError
from broker.partition.isr_proposals import IsrProposals
from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.partition.stage import Stage, image_of, partition_image, topic_image
from tests.support.wait import eventually


class Controller:
    """Answers what it was told to, in order; keeps what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, object]] = []
        self.answers: asyncio.Queue = asyncio.Queue()

    async def request(self, broker_id, api_key, api_version, message):
        assert (api_key, api_version) == (ApiKey.ALTER_PARTITION, 3)
        self.asked.append((broker_id, through_the_codec(message)))
        answer = await self.answers.get()
        if isinstance(answer, Exception):
            raise answer
        return answer


def through_the_codec(message):
    return codec.decode_request(
        ApiKey.ALTER_PARTITION, 3, memoryview(codec.encode_request(ApiKey.ALTER_PARTITION, 3, message))
    )


def answer(partition, *, error: ErrorCode = ErrorCode.NONE, isr=(), epoch: int = 0, partition_epoch: int = 0):
    r = m.AlterPartitionResponse
    entry = r.PartitionData(
        partition_index=partition.topic_partition.partition,
        error_code=int(error),
        leader_id=1,
        leader_epoch=epoch,
        isr=list(isr),
        partition_epoch=partition_epoch,
    )
    return r(topics=[r.TopicData(topic_id=partition.topic_id, partitions=[entry])])


@pytest.fixture
async def stage():
    stage = Stage(OTTLA_ACK_DURABILITY="os")
    stage.controller = Controller()
    stage.proposals = IsrProposals(node_id=1, peers=stage.controller, image=lambda: stage.image, clock=stage.clock)
    stage.manager.propose_isr_through(stage.proposals)
    show(stage, isr=(1, 2))
    yield stage
    await stage.proposals.stop()
    await stage.close()


def show(stage: Stage, **partition) -> None:
    partition.setdefault("replicas", (1, 2, 3))
    image = image_of(topic_image("orders", partition_image(**partition), partition_image(**partition)))
    brokers = dict(image.brokers)
    brokers[1] = replace(brokers[1], epoch=11)
    brokers[3] = BrokerImage(
        id=3, host="h", port=1, internal_host="h", internal_port=2, rack=None, incarnation="x", epoch=33
    )
    stage.show(replace(image, brokers=brokers, controller_id=2))


def fetched(stage: Stage, replica: int, offset: int = 0, *, index: int = 0, broker_epoch: int = 33) -> None:
    partition = stage.partition(index=index)
    partition.perform(partition.state.on_follower_fetch(replica, offset, now_ms=1, broker_epoch=broker_epoch))


async def asked(stage: Stage, count: int) -> None:
    await eventually(lambda: len(stage.controller.asked) >= count)


async def test_what_is_proposed_together_is_asked_together_and_what_is_answered_is_in_force(stage) -> None:
    fetched(stage, 3)
    fetched(stage, 3, index=1)
    await asked(stage, 1)
    broker_id, message = stage.controller.asked[0]
    assert (broker_id, message.broker_id, message.broker_epoch) == (2, 1, 11)
    [topic] = message.topics
    assert [entry.partition_index for entry in topic.partitions] == [0, 1]
    [members, _] = [[(s.broker_id, s.broker_epoch) for s in entry.new_isr_with_epochs] for entry in topic.partitions]
    assert members == [(1, 11), (2, -1), (3, 33)]
    stage.controller.answers.put_nowait(answer(stage.partition(), isr=(1, 2, 3), partition_epoch=1))
    await eventually(lambda: stage.partition().state.isr == {1, 2, 3})
    await asked(stage, 2)
    [topic] = stage.controller.asked[1][1].topics
    assert [entry.partition_index for entry in topic.partitions] == [1], "the other one was not answered"


async def test_nothing_is_proposed_twice_at_once(stage) -> None:
    fetched(stage, 3)
    fetched(stage, 3)
    await asked(stage, 1)
    fetched(stage, 3)
    await asyncio.sleep(0)
    assert len(stage.controller.asked) == 1


@pytest.mark.parametrize(
    "failure",
    [
        KafkaError(ErrorCode.NETWORK_EXCEPTION),
        m.AlterPartitionResponse(error_code=int(ErrorCode.NOT_CONTROLLER)),
    ],
    ids=["no answer", "not the controller"],
)
async def test_it_is_asked_again_until_it_is_answered(stage, failure) -> None:
    fetched(stage, 3)
    stage.controller.answers.put_nowait(failure)
    await asked(stage, 2)
    assert stage.controller.asked[0] == stage.controller.asked[1]
    stage.controller.answers.put_nowait(answer(stage.partition(), isr=(1, 2, 3), partition_epoch=1))
    await eventually(lambda: stage.partition().state.isr == {1, 2, 3})


@pytest.mark.parametrize("code", [ErrorCode.INVALID_UPDATE_VERSION, ErrorCode.FENCED_LEADER_EPOCH])
async def test_what_may_have_been_taken_counts_until_the_image_tells(stage, code) -> None:
    fetched(stage, 3)
    await asked(stage, 1)
    stage.controller.answers.put_nowait(answer(stage.partition(), error=code))
    await asked(stage, 2)
    stage.append(b"a")
    fetched(stage, 2, 1)
    assert stage.partition().high_watermark == 0, "broker 3 may be in sync already, and elected"
    show(stage, isr=(1, 2), version=1)
    assert stage.partition().high_watermark == 1
    stage.controller.answers.put_nowait(answer(stage.partition(), error=code))
    await eventually(lambda: stage.proposals.statistics().pending == 0)


async def test_a_refused_member_does_not_count_and_is_not_proposed_again_at_once(stage) -> None:
    fetched(stage, 3)
    await asked(stage, 1)
    stage.controller.answers.put_nowait(answer(stage.partition(), error=ErrorCode.INELIGIBLE_REPLICA))
    await eventually(lambda: stage.partition().state.proposed_isr is None)
    fetched(stage, 3)
    assert stage.partition().state.proposed_isr is None
    assert stage.proposals.statistics().refused_total == 1


async def test_an_answer_for_a_leadership_that_ended_changes_nothing(stage) -> None:
    fetched(stage, 3)
    await asked(stage, 1)
    partition = stage.partition()
    show(stage, leader=2, epoch=1, isr=(1, 2), version=1)
    stage.controller.answers.put_nowait(answer(partition, isr=(1, 2, 3), partition_epoch=1))
    await eventually(lambda: stage.proposals.statistics().pending == 0)
    assert partition.state.isr == {1, 2}


async def test_without_a_controller_it_waits_for_one(stage) -> None:
    stage.image = replace(stage.image, controller_id=-1)
    fetched(stage, 3)
    await eventually(lambda: stage.proposals.statistics().pending == 1)
    assert stage.controller.asked == []
    stage.image = replace(stage.image, controller_id=2)
    stage.proposals.on_image_changed()
    await asked(stage, 1)
