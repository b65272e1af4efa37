"""What the shard says about its groups, and what it forgets."""

from __future__ import annotations

from broker.groups.events import DescribedGroup, DescribedMember, ListedGroup, OffsetToCommit
from broker.groups.records import GroupRecord, GroupValue, MemberValue, OffsetRecord
from broker.groups.statistics import sample_group
from broker.telemetry.sample import GroupSample, MemberSample, OffsetSample
from tests.groups.stage import GROUP, START_MS, Stage, assignment, subscription


def test_a_stable_group_is_described_with_what_was_agreed() -> None:
    stage = Stage()
    (joined,) = stage.form()
    assert stage.shard.describe(GROUP) == DescribedGroup(
        group_id=GROUP,
        state="Stable",
        protocol_type="consumer",
        protocol="range",
        members=(
            DescribedMember(
                member_id=joined.member_id,
                instance_id=None,
                client_id="app",
                client_host="/10.0.0.1",
                metadata=subscription("clicks"),
                assignment=joined.member_id.encode(),
            ),
        ),
    )


def test_in_a_round_members_are_described_without_what_is_not_agreed_yet() -> None:
    stage = Stage()
    first, _ = stage.form(2)
    stage.join(first.member_id)
    described = stage.shard.describe(GROUP)
    assert described is not None
    assert (described.state, described.protocol) == ("PreparingRebalance", "")
    assert {(member.metadata, member.assignment) for member in described.members} == {(b"", b"")}


def test_an_unknown_group_is_not_described() -> None:
    assert Stage().shard.describe(GROUP) is None


def test_listing() -> None:
    stage = Stage()
    stage.form()
    stage.commit(OffsetToCommit(topic="t", partition=0, offset=1), group="simple")
    assert stage.shard.list_groups() == [
        ListedGroup(group_id=GROUP, protocol_type="consumer", state="Stable"),
        ListedGroup(group_id="simple", protocol_type="", state="Empty"),
    ]


def test_every_change_is_noted_for_telemetry() -> None:
    stage = Stage()
    (joined,) = stage.form()
    stage.shard.changed.clear()
    stage.heartbeat(joined.member_id, 1)
    assert stage.shard.changed == {GROUP}
    stage.shard.changed.clear()
    stage.shard.describe(GROUP)
    stage.shard.list_groups()
    assert stage.shard.changed == set()


def test_the_sample_of_a_group() -> None:
    stage = Stage()
    _, ticket = stage.enter()
    stage.settle()
    joined = stage.answer(ticket)
    stage.sync(joined, {joined.member_id: assignment(clicks=[0, 1])})
    stage.commit(OffsetToCommit(topic="clicks", partition=1, offset=7), generation=1, member_id=joined.member_id)
    assert sample_group(stage.group, stage.shard.offsets, 3) == GroupSample(
        group_id=GROUP,
        state="Stable",
        protocol_type="consumer",
        protocol="range",
        generation=1,
        leader=joined.member_id,
        coordinator=3,
        rebalances_total=1,
        last_rebalance_reason=f"member {joined.member_id} joined",
        state_since_ms=START_MS,
        members=[
            MemberSample(
                member_id=joined.member_id,
                client_id="app",
                host="10.0.0.1",
                session_timeout_ms=10_000,
                last_heartbeat_ms=START_MS,
                assignment=[("clicks", 0), ("clicks", 1)],
            )
        ],
        offsets=[OffsetSample(topic="clicks", partition=1, committed=7, committed_at_ms=START_MS)],
    )


def test_a_tombstone_in_a_compacted_log_buries_an_older_outcome_that_was_left_standing() -> None:
    member = MemberValue(
        member_id="m",
        instance_id=None,
        client_id="",
        client_host="",
        rebalance_timeout_ms=1,
        session_timeout_ms=1,
        subscription=b"",
        assignment=b"",
    )
    value = GroupValue(
        protocol_type="consumer",
        generation=3,
        protocol="range",
        leader="m",
        state_timestamp_ms=START_MS,
        members=(member,),
    )
    stage = Stage()
    stage.log = [GroupRecord(group_id=GROUP, value=value), GroupRecord(group_id=GROUP, value=None)]
    stage.reload()
    assert stage.shard.groups == {}


def test_a_tombstone_for_what_never_existed_is_harmless() -> None:
    stage = Stage()
    stage.log = [
        OffsetRecord(group_id=GROUP, topic="t", partition=0, value=None),
        GroupRecord(group_id=GROUP, value=None),
    ]
    stage.reload()
    assert stage.shard.groups == {}
