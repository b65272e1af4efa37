"""Committed offsets: what is kept, who may delete it, and when it dies by itself."""

from __future__ import annotations

import pytest

from broker.coordination.decision import Decision
from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import DeleteOffsetsReply, FetchedOffset, OffsetToCommit
from broker.groups.records import GroupRecord, OffsetRecord, OffsetValue
from tests.groups.stage import GROUP, START_MS, Stage, subscription

TOPIC_ID, OTHER_ID = bytes([1] * 16), bytes([2] * 16)
HOUR_MS = 3_600_000


def offset(topic: str = "clicks", partition: int = 0, value: int = 5, **fields: object) -> OffsetToCommit:
    return OffsetToCommit(topic=topic, partition=partition, offset=value, **fields)  # type: ignore[arg-type]


def expire(stage: Stage) -> list[object]:
    before = len(stage.log)
    stage.perform(Decision(records=stage.shard.expire(stage.now_ms)))
    return list(stage.log[before:])


def test_a_commit_is_one_record_per_partition_with_everything_the_client_said() -> None:
    stage = Stage()
    item = offset(leader_epoch=3, metadata="half way", topic_id=TOPIC_ID)
    assert stage.commit(item).errors == (ErrorCode.NONE,)
    value = OffsetValue(offset=5, commit_timestamp_ms=START_MS, leader_epoch=3, metadata="half way", topic_id=TOPIC_ID)
    assert stage.log == [OffsetRecord(group_id=GROUP, topic="clicks", partition=0, value=value)]
    assert stage.shard.fetch_offsets(GROUP, [("clicks", 0), ("clicks", 1)]) == [
        FetchedOffset(topic="clicks", partition=0, offset=5, leader_epoch=3, metadata="half way", topic_id=TOPIC_ID),
        FetchedOffset(topic="clicks", partition=1, offset=-1),
    ]


def test_all_offsets_of_a_group_and_those_of_an_unknown_one() -> None:
    stage = Stage()
    stage.commit(offset("a", 1), offset("b", 0))
    assert [(item.topic, item.partition) for item in stage.shard.fetch_offsets(GROUP, None)] == [("a", 1), ("b", 0)]
    assert stage.shard.fetch_offsets("nobody", None) == []


def test_too_long_metadata_fails_alone() -> None:
    stage = Stage(offset_metadata_length_max=10)
    reply = stage.commit(offset(partition=0, metadata="x" * 11), offset(partition=1, metadata="x" * 10))
    assert reply.errors == (ErrorCode.OFFSET_METADATA_TOO_LARGE, ErrorCode.NONE)
    assert [record.partition for record in stage.log if isinstance(record, OffsetRecord)] == [1]


def test_offsets_survive_a_reload() -> None:
    stage = Stage()
    stage.commit(offset(value=1), offset(partition=1, value=2))
    stage.commit(offset(value=9))
    before = stage.shard.fetch_offsets(GROUP, None)
    stage.reload()
    assert stage.shard.fetch_offsets(GROUP, None) == before


def test_deleting_a_group_deletes_its_offsets_and_every_trace() -> None:
    stage = Stage()
    (joined,) = stage.form()
    stage.commit(offset(), generation=1, member_id=joined.member_id)
    assert stage.delete_group() is ErrorCode.NON_EMPTY_GROUP
    stage.leave(joined.member_id)
    written = len(stage.log)
    assert stage.delete_group() is ErrorCode.NONE
    assert stage.log[written:] == [
        OffsetRecord(group_id=GROUP, topic="clicks", partition=0, value=None),
        GroupRecord(group_id=GROUP, value=None),
    ]
    assert stage.shard.groups == {}
    stage.reload()
    assert stage.shard.groups == {}
    assert stage.delete_group() is ErrorCode.GROUP_ID_NOT_FOUND


def test_a_simple_group_is_deleted_by_its_offsets_alone() -> None:
    stage = Stage()
    stage.commit(offset())
    assert stage.delete_group() is ErrorCode.NONE
    assert stage.log[-1] == OffsetRecord(group_id=GROUP, topic="clicks", partition=0, value=None)
    assert stage.shard.groups == {}


def test_offsets_of_topics_in_use_cannot_be_deleted() -> None:
    stage = Stage()
    (joined,) = stage.form(protocols=(("range", subscription("clicks")),))
    stage.commit(offset("clicks"), offset("old"), generation=1, member_id=joined.member_id)
    reply = stage.delete_offsets(("clicks", 0), ("old", 0), ("old", 1))
    assert reply == DeleteOffsetsReply(errors=(ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC, ErrorCode.NONE, ErrorCode.NONE))
    assert [item.topic for item in stage.shard.fetch_offsets(GROUP, None)] == ["clicks"]


def test_a_group_whose_subscription_nobody_can_read_keeps_all_its_offsets() -> None:
    stage = Stage()
    (joined,) = stage.form(protocols=(("own", b"\xff\xffgibberish"),))
    stage.commit(offset("clicks"), generation=1, member_id=joined.member_id)
    assert stage.delete_offsets(("clicks", 0)).errors == (ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC,)


def test_another_kind_of_group_with_members_refuses_as_a_whole() -> None:
    stage = Stage()
    stage.form(protocol_type="connect", protocols=(("v1", b""),))
    assert stage.delete_offsets(("clicks", 0)) == DeleteOffsetsReply(error=ErrorCode.NON_EMPTY_GROUP)
    assert stage.delete_offsets(("clicks", 0), group="nobody").error is ErrorCode.GROUP_ID_NOT_FOUND


def test_offsets_of_a_deleted_topic_die() -> None:
    stage = Stage()
    stage.commit(offset("gone", topic_id=TOPIC_ID), offset("here", topic_id=OTHER_ID))
    records = stage.shard.bury_offsets_of_gone_topics({"here": OTHER_ID}.get)
    assert records == [OffsetRecord(group_id=GROUP, topic="gone", partition=0, value=None)]


def test_offsets_of_a_topic_that_was_made_anew_die() -> None:
    stage = Stage()
    stage.commit(offset("clicks", topic_id=TOPIC_ID))
    assert stage.shard.bury_offsets_of_gone_topics({"clicks": TOPIC_ID}.get) == []
    assert len(stage.shard.bury_offsets_of_gone_topics({"clicks": OTHER_ID}.get)) == 1


def test_offsets_that_do_not_name_their_topic_id_are_left_to_expiry() -> None:
    stage = Stage()
    stage.commit(offset("gone"))
    assert stage.shard.bury_offsets_of_gone_topics({}.get) == []


def test_offsets_that_do_not_name_their_topic_id_die_when_their_topic_is_deleted_before_our_eyes() -> None:
    stage = Stage()
    stage.commit(offset("gone"), offset("here"))
    records = stage.shard.bury_offsets_of_gone_topics({}.get, frozenset({"gone"}))
    assert records == [OffsetRecord(group_id=GROUP, topic="gone", partition=0, value=None)]


# Expiry ----------------------------------------------------------------------------------------------


def test_a_simple_groups_offsets_expire_by_their_age_and_the_group_with_them() -> None:
    stage = Stage(offsets_retention_ms=HOUR_MS)
    stage.commit(offset(partition=0))
    stage.advance(HOUR_MS - 1)
    stage.commit(offset(partition=1))
    stage.advance(1)
    assert expire(stage) == [OffsetRecord(group_id=GROUP, topic="clicks", partition=0, value=None)]
    stage.advance(HOUR_MS)
    expire(stage)
    assert stage.shard.groups == {}


def test_an_empty_groups_offsets_expire_from_the_moment_it_became_empty() -> None:
    stage = Stage(offsets_retention_ms=HOUR_MS)
    (joined,) = stage.form(session_ms=10 * HOUR_MS)
    stage.commit(offset(), generation=1, member_id=joined.member_id)
    stage.advance(5 * HOUR_MS)
    stage.leave(joined.member_id)
    stage.advance(HOUR_MS - 1)
    assert expire(stage) == []
    stage.advance(1)
    assert expire(stage) == [
        OffsetRecord(group_id=GROUP, topic="clicks", partition=0, value=None),
        GroupRecord(group_id=GROUP, value=None),
    ]
    assert stage.shard.groups == {}


def test_a_stable_group_keeps_what_it_is_subscribed_to() -> None:
    stage = Stage(offsets_retention_ms=HOUR_MS)
    (joined,) = stage.form(session_ms=10 * HOUR_MS)
    stage.commit(offset("clicks"), offset("old"), generation=1, member_id=joined.member_id)
    stage.advance(HOUR_MS)
    assert expire(stage) == [OffsetRecord(group_id=GROUP, topic="old", partition=0, value=None)]


def test_nothing_expires_while_a_round_is_open_nor_in_groups_of_other_kinds() -> None:
    stage = Stage(offsets_retention_ms=HOUR_MS)
    first, second = stage.form(2, session_ms=10 * HOUR_MS, rebalance_ms=10 * HOUR_MS)
    stage.commit(offset("old"), generation=1, member_id=second.member_id)
    stage.join(first.member_id, session_ms=10 * HOUR_MS, rebalance_ms=10 * HOUR_MS)
    stage.advance(2 * HOUR_MS)
    assert stage.group.state is GroupState.PREPARING_REBALANCE
    assert expire(stage) == []


@pytest.mark.parametrize(("retention_ms", "kept"), [(10, False), (2 * HOUR_MS, True)])
def test_an_old_clients_own_retention_beats_the_brokers(retention_ms: int, kept: bool) -> None:
    stage = Stage(offsets_retention_ms=HOUR_MS)
    stage.commit(offset(), retention_ms=retention_ms)
    stage.advance(HOUR_MS)
    assert (expire(stage) == []) is kept


def test_an_empty_group_that_never_committed_goes_at_the_next_check() -> None:
    stage = Stage()
    (joined,) = stage.form()
    stage.leave(joined.member_id)
    assert expire(stage) == [GroupRecord(group_id=GROUP, value=None)]
    assert stage.shard.groups == {}
