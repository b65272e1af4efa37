"""Offsets of consumer groups: who may commit and fetch them under which epoch, and when they die."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest

from broker.coordination.transaction import TransactionalProducer
from broker.errors import ErrorCode, KafkaError
from broker.groups.events import CommitOffsets, CommitOffsetsInTransaction, OffsetToCommit
from tests.groups.consumer.stage import ConsumerStage
from tests.groups.stage import GROUP

DAY_MS = 24 * 3_600_000


def commit(stage: ConsumerStage, member_id: str, epoch: int, *partitions: int, **fields: Any) -> ErrorCode:
    reply = stage.commit(
        *(
            OffsetToCommit(topic="clicks", partition=one, offset=5, topic_id=stage.topic_id("clicks"))
            for one in partitions
        ),
        member_id=member_id,
        generation=epoch,
        **fields,
    )
    return reply.error or reply.errors[0]


def stage_with_two() -> ConsumerStage:
    """a was given 0 and 1 in epoch 1, b was given 2 and 3 in epoch 2."""
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    return stage


def test_a_member_commits_under_its_epoch_and_under_older_ones_of_the_partition() -> None:
    stage = stage_with_two()
    assert commit(stage, "a", 2, 0, 1) is ErrorCode.NONE
    assert commit(stage, "a", 1, 0, 1) is ErrorCode.NONE
    assert commit(stage, "b", 2, 2) is ErrorCode.NONE


@pytest.mark.parametrize(
    ("member_id", "epoch", "partition"),
    [("a", 3, 0), ("a", 0, 0), ("a", 1, 2), ("b", 1, 2), ("b", 1, 0)],
    ids=["too new", "older than the assignment", "not its own", "before it came", "of another"],
)
def test_a_stale_epoch_is_refused(member_id: str, epoch: int, partition: int) -> None:
    stage = stage_with_two()
    assert commit(stage, member_id, epoch, partition) is ErrorCode.STALE_MEMBER_EPOCH
    assert stage.shard.offsets.of_group(GROUP) == {}


def test_what_is_being_given_up_may_be_committed() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.beat("a", 1)
    assert stage.member("a").current.revoking
    assert commit(stage, "a", 1, 0, 3) is ErrorCode.NONE
    stage.enter_consumer("c", "clicks")
    assert commit(stage, "a", 1, 3) is ErrorCode.NONE


def test_strangers_and_nobody_are_no_members() -> None:
    stage = stage_with_two()
    assert commit(stage, "x", 2, 0) is ErrorCode.UNKNOWN_MEMBER_ID
    assert commit(stage, "", -1, 0) is ErrorCode.UNKNOWN_MEMBER_ID


def test_in_an_empty_group_an_administrator_may_commit() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.leave_consumer("a")
    assert commit(stage, "", -1, 0) is ErrorCode.NONE
    assert commit(stage, "a", 1, 0) is ErrorCode.UNKNOWN_MEMBER_ID


def test_an_old_version_of_the_request_cannot_speak_for_such_a_member() -> None:
    stage = stage_with_two()
    assert commit(stage, "a", 2, 0, knows_group_id_not_found=False) is ErrorCode.UNSUPPORTED_VERSION


def transactional(stage: ConsumerStage, member_id: str, epoch: int) -> ErrorCode:
    event = CommitOffsetsInTransaction(
        commit=CommitOffsets(
            group_id=GROUP,
            member_id=member_id,
            generation=epoch,
            offsets=(OffsetToCommit(topic="clicks", partition=0, offset=5, topic_id=stage.topic_id("clicks")),),
        ),
        producer=TransactionalProducer(producer_id=1, producer_epoch=0),
    )
    decision = stage.shard.commit_offsets_in_transaction(event, 10_000, stage.now_ms)
    ((_, reply),) = decision.replies
    assert isinstance(reply.error, ErrorCode)
    return reply.error


def test_a_transaction_may_name_a_member_and_is_held_to_it() -> None:
    stage = stage_with_two()
    assert transactional(stage, "", -1) is ErrorCode.NONE
    assert transactional(stage, "a", 2) is ErrorCode.NONE
    assert transactional(stage, "a", 9) is ErrorCode.ILLEGAL_GENERATION
    assert transactional(stage, "x", 2) is ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize(
    ("member_id", "epoch", "code"),
    [
        (None, -1, None),
        ("a", 2, None),
        ("a", 1, ErrorCode.STALE_MEMBER_EPOCH),
        ("x", 2, ErrorCode.UNKNOWN_MEMBER_ID),
        (None, 2, ErrorCode.UNKNOWN_MEMBER_ID),
    ],
)
def test_who_fetches_as_a_member_must_be_one(member_id: str | None, epoch: int, code: ErrorCode | None) -> None:
    stage = stage_with_two()
    expected = contextlib.nullcontext() if code is None else pytest.raises(KafkaError)
    with expected as refused:
        stage.shard.check_fetcher(GROUP, member_id, epoch)
    assert code is (None if refused is None else refused.value.code)


def test_offsets_in_use_are_not_deleted() -> None:
    stage = ConsumerStage(topics={"clicks": 1, "old": 1})
    stage.enter_consumer("a", "clicks")
    reply = stage.delete_offsets(("clicks", 0), ("old", 0))
    assert reply.errors == (ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE)


def expire(stage: ConsumerStage) -> None:
    for record in stage.shard.expire(stage.now_ms):
        stage.shard.replay(record)


def test_offsets_live_while_their_topic_is_subscribed_to_and_then_from_their_commit() -> None:
    stage = ConsumerStage(session_timeout_ms=10**12)
    stage.enter_consumer("a", "clicks")
    commit(stage, "a", 1, 0)
    stage.advance(8 * DAY_MS)
    expire(stage)
    assert stage.shard.offsets.of_group(GROUP) != {}
    commit(stage, "a", 1, 1)
    stage.leave_consumer("a")
    expire(stage)
    assert list(stage.shard.offsets.of_group(GROUP)["clicks"]) == [1]
    stage.advance(7 * DAY_MS)
    expire(stage)
    assert stage.shard.find(GROUP) is None, "nothing is left to remember it by"


def test_offsets_that_outlive_their_group_are_a_simple_groups() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    commit(stage, "a", 1, 0)
    stage.leave_consumer("a")
    for record in stage.consumer_group.tombstones():
        stage.shard.replay(record)
    assert stage.shard.groups[GROUP].is_simple
    stage.enter_consumer("a", "clicks")
    assert GROUP not in stage.shard.groups
    assert stage.shard.offsets.of_group(GROUP) != {}
