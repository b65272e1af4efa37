"""Members of the consumer protocol join, go on, follow their targets, leave and are fenced."""

from __future__ import annotations

from typing import Any

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.events import ConsumerHeartbeat
from broker.groups.consumer.group import ConsumerGroupState
from broker.groups.consumer.heartbeat import check_heartbeat
from broker.groups.consumer.records import UNREVOKED_PARTITIONS, GroupEpochRecord, MemberRecord
from broker.groups.consumer.settings import DEFAULT_SETTINGS
from tests.groups.consumer.stage import ConsumerStage, topic_id
from tests.groups.stage import GROUP

# Joining -----------------------------------------------------------------------------------------------


def test_the_first_member_gets_everything_at_once() -> None:
    stage = ConsumerStage(topics={"clicks": 3, "orders": 1})
    reply = stage.enter_consumer("a", "clicks", "orders")
    assert (reply.error, reply.member_id, reply.epoch) == (ErrorCode.NONE, "a", 1)
    assert reply.heartbeat_interval_ms == 5_000
    assert stage.named(reply.assigned) == {"clicks": [0, 1, 2], "orders": [0]}
    assert stage.consumer_group.state is ConsumerGroupState.STABLE


def test_a_second_member_waits_until_the_first_has_given_up_its_half() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    joined = stage.enter_consumer("b", "clicks")
    assert (joined.epoch, stage.named(joined.assigned)) == (2, {})
    assert stage.target("a") == {"clicks": [0, 1]}
    assert stage.target("b") == {"clicks": [2, 3]}
    told = stage.beat("a", 1)
    assert (told.epoch, stage.named(told.assigned)) == (1, {"clicks": [0, 1]})
    assert stage.beat("b", 2).assigned is None, "nothing is free yet"
    revoked = stage.beat("a", 1, owned={"clicks": [0, 1]})
    assert (revoked.epoch, revoked.assigned) == (2, None)
    assert stage.consumer_group.state is ConsumerGroupState.RECONCILING
    given = stage.beat("b", 2)
    assert (given.epoch, stage.named(given.assigned)) == (2, {"clicks": [2, 3]})
    assert stage.consumer_group.state is ConsumerGroupState.STABLE


def test_a_heartbeat_without_news_writes_nothing() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    written = len(stage.log)
    reply = stage.beat("a", 1)
    assert (reply.error, reply.epoch, reply.assigned) == (ErrorCode.NONE, 1, None)
    assert len(stage.log) == written


def test_a_member_without_an_id_is_given_one() -> None:
    stage = ConsumerStage()
    assert stage.enter_consumer("", "clicks").member_id == "generated"
    assert list(stage.consumer_group.members) == ["generated"]


def test_only_a_join_makes_a_group() -> None:
    stage = ConsumerStage()
    for epoch in (1, -1):
        assert stage.beat("a", epoch).error is ErrorCode.GROUP_ID_NOT_FOUND
    assert stage.shard.consumer.groups == {}
    assert stage.log == []


def test_a_stranger_is_no_member() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    for epoch in (1, -1):
        assert stage.beat("b", epoch).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_a_member_may_subscribe_to_nothing() -> None:
    stage = ConsumerStage()
    reply = stage.enter_consumer("a")
    assert (reply.epoch, stage.named(reply.assigned)) == (1, {})


def test_a_group_has_a_size() -> None:
    stage = ConsumerStage(size_max=1)
    stage.enter_consumer("a", "clicks")
    assert stage.enter_consumer("b", "clicks").error is ErrorCode.GROUP_MAX_SIZE_REACHED
    assert stage.enter_consumer("a", "clicks").error is ErrorCode.NONE


def test_targets_are_made_no_more_often_than_the_interval_allows() -> None:
    stage = ConsumerStage(assignment_interval_ms=1_000)
    stage.enter_consumer("a", "clicks")
    joined = stage.enter_consumer("b", "clicks")
    assert (joined.epoch, stage.consumer_group.epoch, stage.consumer_group.target_epoch) == (1, 2, 1)
    assert stage.consumer_group.state is ConsumerGroupState.ASSIGNING
    stage.advance(999)
    stage.beat("a", 1)
    assert stage.consumer_group.target_epoch == 1
    stage.advance(1)
    stage.beat("a", 1)
    assert stage.consumer_group.target_epoch == 2
    stage.settle_group()
    assert stage.assigned("b") == {"clicks": [2, 3]}


def test_most_members_choose_the_assignor() -> None:
    stage = ConsumerStage(topics={"clicks": 3, "orders": 3})
    stage.enter_consumer("a", "clicks", "orders", assignor="range")
    stage.enter_consumer("b", "clicks", "orders")
    assert stage.target("a") == {"clicks": [0, 1], "orders": [0, 1]}
    stage.beat("a", 1, assignor="uniform")
    stage.enter_consumer("c")
    assert [sum(map(len, stage.target(member).values())) for member in ("a", "b")] == [3, 3]


def test_more_partitions_than_can_be_assigned_get_no_targets() -> None:
    stage = ConsumerStage(topics={"clicks": 101}, config={"record_bytes_max": 1_000})
    reply = stage.enter_consumer("a", "clicks")
    assert reply.error is ErrorCode.UNKNOWN_SERVER_ERROR
    assert "101 partitions; 100 can be assigned" in (reply.message or "")
    assert stage.beat("a", 0, topics=(), owned={}, rebalance_timeout_ms=1).error is ErrorCode.NONE


# Epochs ------------------------------------------------------------------------------------------------


def test_a_retry_under_the_epoch_before_is_answered_again_and_again() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.beat("a", 1)
    full: dict[str, Any] = {"owned": {"clicks": [0, 1]}, "topics": ("clicks",), "rebalance_timeout_ms": 30_000}
    for _ in range(3):
        reply = stage.beat("a", 1, **full)
        assert (reply.error, reply.epoch) == (ErrorCode.NONE, 2)
        assert stage.named(reply.assigned) == {"clicks": [0, 1]}
    assert stage.beat("a", 2).error is ErrorCode.NONE


@pytest.mark.parametrize("owned", [None, {"clicks": [0, 1, 2]}])
def test_under_the_epoch_before_a_member_must_not_own_what_is_not_its(owned: dict[str, list[int]] | None) -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    assert stage.beat("a", 1, owned=owned).error is ErrorCode.FENCED_MEMBER_EPOCH


def test_any_other_epoch_is_fenced_and_starting_over_helps() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    stage.enter_consumer("c", "clicks")
    stage.settle_group()
    for epoch in (1, 4):
        assert stage.beat("a", epoch, owned={}).error is ErrorCode.FENCED_MEMBER_EPOCH
    again = stage.enter_consumer("a", "clicks")
    assert (again.error, again.epoch) == (ErrorCode.NONE, 3)
    assert stage.named(again.assigned) == stage.assigned("a")


def test_a_full_request_is_answered_with_the_whole_assignment() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    owned = {"clicks": [0, 1, 2, 3]}
    full = stage.beat("a", 1, owned=owned, topics=("clicks",), rebalance_timeout_ms=30_000)
    assert stage.named(full.assigned) == owned
    assert stage.beat("a", 1, owned=owned).assigned is None


# Subscriptions and topics ------------------------------------------------------------------------------


def test_a_topic_dropped_from_the_subscription_is_given_up_though_targets_are_not_due() -> None:
    stage = ConsumerStage(topics={"clicks": 2, "orders": 2}, assignment_interval_ms=60_000)
    stage.enter_consumer("a", "clicks", "orders")
    reply = stage.beat("a", 1, topics=("orders",))
    assert (reply.epoch, stage.named(reply.assigned)) == (1, {"orders": [0, 1]})
    assert stage.member("a").current.state == UNREVOKED_PARTITIONS
    assert stage.consumer_group.epoch == 2


@pytest.mark.parametrize(
    ("change", "assigned"),
    [
        (lambda stage: stage.grow_topic("clicks", 6), {"clicks": [0, 1, 2, 3, 4, 5]}),
        (lambda stage: stage.create_topic("later", 1), {"clicks": [0, 1, 2, 3], "later": [0]}),
        (lambda stage: stage.create_topic("unheard", 1), {"clicks": [0, 1, 2, 3]}),
    ],
    ids=["grown", "created", "of no concern"],
)
def test_topics_that_change_are_noticed_by_the_next_heartbeat(change: Any, assigned: dict[str, list[int]]) -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks", "later")
    change(stage)
    concerned = assigned != {"clicks": [0, 1, 2, 3]}
    assert stage.beat("a", 1).epoch == 1 + concerned
    assert stage.assigned("a") == assigned


def test_a_deleted_topic_leaves_the_assignment() -> None:
    stage = ConsumerStage(topics={"clicks": 1, "orders": 1})
    stage.enter_consumer("a", "clicks", "orders")
    stage.delete_topic("orders")
    told = stage.beat("a", 1)
    assert stage.named(told.assigned) == {"clicks": [0]}
    assert stage.beat("a", 1, owned={"clicks": [0]}).epoch == 2


def test_a_topic_made_anew_under_its_name_is_another_topic() -> None:
    stage = ConsumerStage(topics={"clicks": 1})
    stage.enter_consumer("a", "clicks")
    stage.delete_topic("clicks")
    stage.create_topic("clicks", 2)
    stage.beat("a", 1)
    reply = stage.beat("a", 1, owned={})
    assert reply.assigned == {topic_id("clicks", 1): {0: 2, 1: 2}}


def test_what_a_member_says_of_itself_is_written_when_it_changes() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.log.clear()
    stage.beat("a", 1, client_id="renamed", rack_id="r1")
    (record,) = stage.log
    assert isinstance(record, MemberRecord)
    assert record.value is not None
    assert (record.value.client_id, record.value.rack_id, record.value.topics) == ("renamed", "r1", ("clicks",))
    assert stage.consumer_group.epoch == 1


# Leaving and being fenced ------------------------------------------------------------------------------


def test_who_leaves_frees_its_partitions_at_once() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    reply = stage.leave_consumer("a")
    assert (reply.error, reply.member_id, reply.epoch) == (ErrorCode.NONE, "a", -1)
    assert stage.beat("a", 2).error is ErrorCode.UNKNOWN_MEMBER_ID
    stage.settle_group()
    assert stage.assigned("b") == {"clicks": [0, 1, 2, 3]}
    stage.leave_consumer("b")
    assert stage.consumer_group.state is ConsumerGroupState.EMPTY


def test_who_is_silent_for_its_session_is_fenced() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    stage.advance(44_999)
    stage.beat("b", 2)
    stage.advance(1)
    assert list(stage.consumer_group.members) == ["b"]
    assert stage.consumer_group.last_rebalance_reason == "session of member a timed out"
    stage.settle_group()
    assert stage.assigned("b") == {"clicks": [0, 1, 2, 3]}


def test_who_does_not_give_up_in_time_is_fenced_though_it_beats() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks", rebalance_timeout_ms=30_000)
    stage.enter_consumer("b", "clicks")
    stage.beat("a", 1)
    for _ in range(3):
        stage.advance(9_999)
        assert stage.beat("a", 1, owned={"clicks": [0, 1, 2]}).error is ErrorCode.NONE
        stage.beat("b", 2)
    stage.advance(3)
    assert list(stage.consumer_group.members) == ["b"]


def test_who_gave_up_in_time_is_left_alone() -> None:
    stage = ConsumerStage(session_timeout_ms=10**9)
    stage.enter_consumer("a", "clicks", rebalance_timeout_ms=30_000)
    stage.enter_consumer("b", "clicks")
    stage.settle_group()
    stage.advance(100_000)
    assert list(stage.consumer_group.members) == ["a", "b"]


def test_after_a_reload_everybody_has_a_full_session_and_a_full_time_to_give_up() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks", rebalance_timeout_ms=20_000)
    stage.enter_consumer("b", "clicks")
    stage.beat("a", 1)
    stage.advance(19_000)
    stage.reload()
    assert stage.timers == {
        ("session", GROUP, "a"): stage.now_ms + 45_000,
        ("session", GROUP, "b"): stage.now_ms + 45_000,
        ("revocation", GROUP, "a"): stage.now_ms + 20_000,
    }
    stage.advance(20_000)
    assert list(stage.consumer_group.members) == ["b"]


def test_a_reload_stands_where_the_group_stood() -> None:
    stage = ConsumerStage(topics={"clicks": 5, "orders": 2})
    for member_id in "abc":
        stage.enter_consumer(member_id, "clicks", "orders")
        stage.settle_group()
    stage.leave_consumer("b")
    stage.beat("a", 3)
    before = stage.shard.consumer.describe(GROUP)
    stage.reload()
    assert stage.shard.consumer.describe(GROUP) == before
    stage.settle_group()
    assert stage.consumer_group.state is ConsumerGroupState.STABLE


def test_records_of_kafka_40_are_cleaned_up_with_the_next_change() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.consumer_group.has_partition_metadata = True
    stage.enter_consumer("b", "clicks")
    assert not stage.consumer_group.has_partition_metadata


def test_an_empty_group_is_deleted_without_a_trace() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    assert stage.delete_group() is ErrorCode.NON_EMPTY_GROUP
    stage.leave_consumer("a")
    assert stage.delete_group() is ErrorCode.NONE
    assert stage.shard.find(GROUP) is None
    assert stage.log[-1] == GroupEpochRecord(group_id=GROUP, value=None)
    stage.reload()
    assert stage.shard.find(GROUP) is None


def test_telemetry_hears_of_silent_groups_now_and_then() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    stage.beat("a", 1)
    stage.shard.changed.clear()
    stage.advance(4_999)
    stage.beat("a", 1)
    assert stage.shard.changed == set()
    stage.advance(1)
    stage.beat("a", 1)
    assert stage.shard.changed == {GROUP}


# What a request may say --------------------------------------------------------------------------------

JOIN = ConsumerHeartbeat(group_id="g", member_id="m", epoch=0, rebalance_timeout_ms=1, topics=(), owned={})


def refusal(event: ConsumerHeartbeat, *, brings_own_id: bool = True) -> ErrorCode | None:
    try:
        check_heartbeat(event, DEFAULT_SETTINGS, brings_own_id=brings_own_id, record_bytes_max=1_000)
    except KafkaError as error:
        return error.code
    return None


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, None),
        ({"topics": None, "regex": ""}, None),
        ({"epoch": 5, "rebalance_timeout_ms": -1, "topics": None, "owned": None}, None),
        ({"epoch": -2, "instance_id": "i"}, None),
        ({"member_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"group_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"instance_id": " "}, ErrorCode.INVALID_REQUEST),
        ({"rack_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"rebalance_timeout_ms": -1}, ErrorCode.INVALID_REQUEST),
        ({"owned": None}, ErrorCode.INVALID_REQUEST),
        ({"owned": {bytes(16): frozenset({1})}}, ErrorCode.INVALID_REQUEST),
        ({"topics": None}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -2}, ErrorCode.INVALID_REQUEST),
        ({"epoch": -3}, ErrorCode.INVALID_REQUEST),
        ({"assignor": "sticky"}, ErrorCode.UNSUPPORTED_ASSIGNOR),
        ({"regex": "(a"}, ErrorCode.INVALID_REGULAR_EXPRESSION),
        ({"topics": ("t" * 1_001,)}, ErrorCode.INVALID_REQUEST),
        ({"member_id": "m" * 40_000}, ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_a_request_says_is_checked_before_the_group_is_looked_at(
    changes: dict[str, Any], code: ErrorCode | None
) -> None:
    values = {
        name: getattr(JOIN, name)
        for name in ("group_id", "member_id", "epoch", "rebalance_timeout_ms", "topics", "owned")
    }
    assert refusal(ConsumerHeartbeat(**values | changes)) is code


def test_clients_of_version_0_may_come_without_an_id() -> None:
    values = {name: getattr(JOIN, name) for name in ("group_id", "rebalance_timeout_ms", "topics", "owned")}
    assert refusal(ConsumerHeartbeat(**values, member_id="", epoch=0), brings_own_id=False) is None
    assert refusal(ConsumerHeartbeat(**values, member_id="", epoch=1), brings_own_id=False) is ErrorCode.INVALID_REQUEST
    assert (
        refusal(ConsumerHeartbeat(**values, member_id="", epoch=-1), brings_own_id=False) is ErrorCode.INVALID_REQUEST
    )


def test_a_timer_of_the_classic_rounds_means_nothing_here() -> None:
    stage = ConsumerStage()
    stage.enter_consumer("a", "clicks")
    for key in (("join", GROUP), ("sync", GROUP), ("session", GROUP, "nobody")):
        stage.perform(stage.shard.on_timer(key, stage.now_ms))
    assert list(stage.consumer_group.members) == ["a"]
