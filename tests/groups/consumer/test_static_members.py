"""Static members of the consumer protocol: away and back, two of one name, removed by an administrator."""

from __future__ import annotations

from broker.errors import ErrorCode
from broker.groups.events import LeavingMember
from tests.groups.consumer.stage import ConsumerStage


def stage_with_two() -> ConsumerStage:
    stage = ConsumerStage()
    stage.enter_consumer("a1", "clicks", instance_id="a")
    stage.enter_consumer("b1", "clicks", instance_id="b")
    for member_id, instance in (("a1", "a"), ("b1", "b")) * 3:
        owned = stage.assigned(member_id)
        stage.beat(member_id, stage.member(member_id).epoch, owned=owned, instance_id=instance)
    assert stage.assigned("a1") == {"clicks": [0, 1]}
    return stage


def test_who_is_away_keeps_its_partitions_and_comes_back_to_them_without_a_rebalance() -> None:
    stage = stage_with_two()
    away = stage.beat("a1", -2, instance_id="a")
    assert (away.error, away.epoch) == (ErrorCode.NONE, -2)
    assert stage.beat("b1", 2, instance_id="b").assigned is None
    back = stage.enter_consumer("a2", "clicks", instance_id="a")
    assert (back.error, back.member_id, back.epoch) == (ErrorCode.NONE, "a2", 2)
    assert stage.named(back.assigned) == {"clicks": [0, 1]}
    assert stage.consumer_group.epoch == 2
    assert stage.beat("a1", 2, instance_id="a").error is ErrorCode.FENCED_INSTANCE_ID
    assert stage.beat("a1", 2).error is ErrorCode.UNKNOWN_MEMBER_ID


def test_who_comes_back_with_another_subscription_makes_the_group_meet() -> None:
    stage = stage_with_two()
    stage.beat("a1", -2, instance_id="a")
    back = stage.enter_consumer("a2", instance_id="a")
    assert stage.consumer_group.epoch == 3
    assert stage.named(back.assigned) == {}
    assert stage.target("b1") == {"clicks": [0, 1, 2, 3]}


def test_who_stays_away_too_long_is_fenced() -> None:
    stage = stage_with_two()
    stage.beat("a1", -2, instance_id="a")
    stage.advance(44_000)
    stage.beat("b1", 2, instance_id="b")
    stage.advance(1_000)
    assert list(stage.consumer_group.members) == ["b1"]
    assert stage.consumer_group.instances == {"b": "b1"}


def test_a_second_process_of_the_same_name_is_refused_until_the_first_has_gone() -> None:
    stage = stage_with_two()
    assert stage.enter_consumer("a2", "clicks", instance_id="a").error is ErrorCode.UNRELEASED_INSTANCE_ID
    assert stage.leave_consumer("a1", instance_id="a").error is ErrorCode.NONE
    assert stage.enter_consumer("a2", "clicks", instance_id="a").error is ErrorCode.NONE


def test_the_same_process_may_join_again() -> None:
    stage = stage_with_two()
    again = stage.enter_consumer("a1", "clicks", instance_id="a")
    assert (again.error, again.epoch) == (ErrorCode.NONE, 2)
    assert stage.named(again.assigned) == {"clicks": [0, 1]}


def test_an_unknown_instance_is_no_member() -> None:
    stage = stage_with_two()
    for epoch in (2, -1, -2):
        assert stage.beat("a1", epoch, instance_id="x").error is ErrorCode.UNKNOWN_MEMBER_ID
        assert stage.beat("zz", epoch, instance_id="a").error is ErrorCode.FENCED_INSTANCE_ID


def test_an_administrator_removes_members_by_either_name() -> None:
    stage = stage_with_two()
    stage.enter_consumer("c", "clicks")
    reply = stage.leave(
        LeavingMember(member_id="", instance_id="a", reason="maintenance"),
        LeavingMember(member_id="c"),
        LeavingMember(member_id="other", instance_id="b"),
        LeavingMember(member_id="nobody"),
        LeavingMember(member_id="", instance_id="none"),
    )
    assert [error for _, error in reply.members] == [
        ErrorCode.NONE,
        ErrorCode.NONE,
        ErrorCode.FENCED_INSTANCE_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
        ErrorCode.UNKNOWN_MEMBER_ID,
    ]
    assert list(stage.consumer_group.members) == ["b1"]
    assert stage.consumer_group.last_rebalance_reason == "a1, c left (maintenance)"


def test_the_name_outlives_a_reload() -> None:
    stage = stage_with_two()
    stage.beat("a1", -2, instance_id="a")
    stage.reload()
    assert stage.enter_consumer("b2", "clicks", instance_id="b").error is ErrorCode.UNRELEASED_INSTANCE_ID
    back = stage.enter_consumer("a2", "clicks", instance_id="a")
    assert stage.named(back.assigned) == {"clicks": [0, 1]}
