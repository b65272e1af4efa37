"""The consumer protocol as bytes: every version through the codec, and what ids mean on the way."""

from __future__ import annotations

from typing import Any

import pytest

from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.handlers import (
    api_versions,
    consumer_group_describe,
    consumer_group_heartbeat,
    describe_groups,
    list_groups,
    offset_commit,
    offset_fetch,
)
from broker.protocol import messages as m
from tests.groups.coordinator import World

request = m.ConsumerGroupHeartbeatRequest


def beat(member_id: str, epoch: int, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "group_id": "g",
        "member_id": member_id,
        "member_epoch": epoch,
        "instance_id": None,
        "rack_id": None,
        "rebalance_timeout": -1,
        "subscribed_topic_names": None,
        "subscribed_topic_regex": None,
        "server_assignor": None,
        "topic_partitions": None,
    }
    return request(**values | fields)


def join(member_id: str, *topics: str, **fields: Any) -> Any:
    values: dict[str, Any] = {
        "rebalance_timeout": 30_000,
        "topic_partitions": [],
        "subscribed_topic_names": list(topics),
    }
    return beat(member_id, 0, **values | fields)


def assigned(answer: Any) -> dict[bytes, list[int]]:
    return {topic.topic_id: list(topic.partitions) for topic in answer.assignment.topic_partitions}


@pytest.mark.parametrize("version", [0, 1])
async def test_a_member_joins_goes_on_and_leaves_in_every_version(version: int) -> None:
    async with World() as world:
        await world.groups.find("g")
        clicks = world.cluster.create("clicks", 3)
        first = await world.call(consumer_group_heartbeat, version, join("m", "clicks"))
        assert (first.error_code, first.member_id, first.member_epoch) == (0, "m", 1)
        assert first.heartbeat_interval == 5_000
        assert assigned(first) == {clicks: [0, 1, 2]}
        owned = [request.TopicPartitions(topic_id=clicks, partitions=[0, 1, 2])]
        on = await world.call(consumer_group_heartbeat, version, beat("m", 1, topic_partitions=owned))
        assert (on.error_code, on.member_epoch, on.assignment) == (0, 1, None)
        gone = await world.call(consumer_group_heartbeat, version, beat("m", -1))
        assert (gone.error_code, gone.member_id, gone.member_epoch) == (0, "m", -1)


async def test_version_0_makes_ids_and_version_1_wants_them() -> None:
    async with World() as world:
        await world.groups.find("g")
        world.cluster.create("clicks")
        made = await world.call(consumer_group_heartbeat, 0, join("", "clicks"))
        assert len(made.member_id) == 22
        refused = await world.call(consumer_group_heartbeat, 1, join("", "clicks"))
        assert (refused.error_code, refused.error_message) == (ErrorCode.INVALID_REQUEST, "MemberId can't be empty.")


async def test_a_pattern_is_version_1s_and_a_bad_one_is_told_why() -> None:
    async with World() as world:
        await world.groups.find("g")
        clicks = world.cluster.create("clicks")
        by_regex = {"subscribed_topic_names": None}
        found = await world.call(consumer_group_heartbeat, 1, join("m", subscribed_topic_regex="cl.*", **by_regex))
        assert assigned(found) == {clicks: [0]}
        bad = await world.call(consumer_group_heartbeat, 1, join("n", subscribed_topic_regex="(", **by_regex))
        assert bad.error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
        assert "missing )" in bad.error_message


async def test_a_topic_that_grows_reaches_the_member_with_its_next_heartbeat() -> None:
    async with World() as world:
        await world.groups.find("g")
        await world.call(consumer_group_heartbeat, 1, join("m", "clicks"))
        clicks = world.cluster.create("clicks", 2)
        world.clock.advance(1_000)
        told = await world.call(consumer_group_heartbeat, 1, beat("m", 1))
        assert (told.member_epoch, assigned(told)) == (2, {clicks: [0, 1]})


async def test_the_group_is_described_by_the_api_made_for_it_alone() -> None:
    async with World() as world:
        await world.groups.find("g")
        world.cluster.create("clicks", 2)
        await world.call(consumer_group_heartbeat, 1, join("m", "clicks", rack_id="r1", instance_id="i"))
        ask = m.ConsumerGroupDescribeRequest(group_ids=["g", "none", ""], include_authorized_operations=True)
        for version in (0, 1):
            answer = await world.call(consumer_group_describe, version, ask)
            group, none, nameless = answer.groups
            assert (none.error_code, nameless.error_code) == (ErrorCode.GROUP_ID_NOT_FOUND, ErrorCode.INVALID_GROUP_ID)
            assert (group.group_state, group.group_epoch, group.assignment_epoch) == ("Stable", 1, 1)
            assert (group.assignor_name, group.authorized_operations > 0) == ("uniform", True)
            (member,) = group.members
            assert (member.member_id, member.instance_id, member.rack_id, member.member_epoch) == ("m", "i", "r1", 1)
            assert (member.client_id, member.client_host) == ("app", "/10.0.0.1")
            assert (list(member.subscribed_topic_names), member.subscribed_topic_regex) == (["clicks"], None)
            for assignment in (member.assignment, member.target_assignment):
                ((topic),) = assignment.topic_partitions
                assert (topic.topic_name, list(topic.partitions)) == ("clicks", [0, 1])
            assert member.member_type == (1 if version else -1)
        classic = m.DescribeGroupsRequest(groups=["g"], include_authorized_operations=False)
        (unknown,) = (await world.call(describe_groups, 6, classic)).groups
        assert (unknown.error_code, unknown.group_state) == (ErrorCode.GROUP_ID_NOT_FOUND, "Dead")
        (dead,) = (await world.call(describe_groups, 5, classic)).groups
        assert (dead.error_code, dead.group_state) == (0, "Dead")


async def test_groups_are_listed_with_their_type() -> None:
    async with World() as world:
        await world.groups.find("g")
        await world.call(consumer_group_heartbeat, 1, join("m", "clicks"))
        for wanted, found in (([], 1), (["Consumer"], 1), (["classic"], 0)):
            ask = m.ListGroupsRequest(states_filter=[], types_filter=wanted)
            groups = (await world.call(list_groups, 5, ask)).groups
            assert [(group.group_state, group.group_type) for group in groups] == [("Stable", "consumer")] * found


def commit(epoch: int) -> Any:
    topic = m.OffsetCommitRequest.OffsetCommitRequestTopic
    partition = m.OffsetCommitRequest.OffsetCommitRequestPartition(
        partition_index=0, committed_offset=7, committed_leader_epoch=-1, committed_metadata=""
    )
    return m.OffsetCommitRequest(
        group_id="g",
        generation_id_or_member_epoch=epoch,
        member_id="m",
        group_instance_id=None,
        topics=[topic(name="clicks", partitions=[partition])],
    )


def fetch(member_id: str | None, epoch: int) -> Any:
    group = m.OffsetFetchRequest.OffsetFetchRequestGroup(
        group_id="g", member_id=member_id, member_epoch=epoch, topics=None
    )
    return m.OffsetFetchRequest(groups=[group], require_stable=True)


async def test_offsets_are_committed_and_fetched_under_the_members_epoch() -> None:
    async with World() as world:
        await world.groups.find("g")
        world.cluster.create("clicks")
        await world.call(consumer_group_heartbeat, 1, join("m", "clicks"))
        for version, epoch, code in (
            (9, 1, ErrorCode.NONE),
            (9, 2, ErrorCode.STALE_MEMBER_EPOCH),
            (8, 1, ErrorCode.UNSUPPORTED_VERSION),
        ):
            answer = await world.call(offset_commit, version, commit(epoch))
            assert answer.topics[0].partitions[0].error_code == code
        for member_id, epoch, code in (
            ("m", 1, ErrorCode.NONE),
            ("m", 2, ErrorCode.STALE_MEMBER_EPOCH),
            ("x", 1, ErrorCode.UNKNOWN_MEMBER_ID),
            (None, -1, ErrorCode.NONE),
        ):
            (group,) = (await world.call(offset_fetch, 9, fetch(member_id, epoch))).groups
            assert group.error_code == code
            assert [topic.partitions[0].committed_offset for topic in group.topics] == ([] if code else [7])


async def test_a_broker_may_serve_classic_groups_only() -> None:
    async with World(group_coordinator_rebalance_protocols=("classic",)) as world:
        await world.groups.find("g")
        refused = await world.call(consumer_group_heartbeat, 1, join("m", "clicks"))
        assert refused.error_code == ErrorCode.UNSUPPORTED_VERSION
        ask = m.ConsumerGroupDescribeRequest(group_ids=["g"], include_authorized_operations=False)
        assert (await world.call(consumer_group_describe, 1, ask)).groups[0].error_code == ErrorCode.UNSUPPORTED_VERSION


async def test_a_group_survives_its_broker() -> None:
    async with World() as world:
        await world.groups.find("g")
        clicks = world.cluster.create("clicks", 2)
        await world.call(consumer_group_heartbeat, 1, join("m", "clicks"))
        await world.restart()
        owned = [request.TopicPartitions(topic_id=clicks, partitions=[0, 1])]
        on = await world.call(consumer_group_heartbeat, 1, beat("m", 1, topic_partitions=owned))
        assert (on.error_code, on.member_epoch, on.assignment) == (0, 1, None)


async def test_telemetry_knows_epochs_states_and_targets() -> None:
    async with World() as world:
        await world.groups.find("g")
        world.cluster.create("clicks", 2)
        await world.call(consumer_group_heartbeat, 1, join("a", "clicks"))
        world.clock.advance(1_000)
        await world.call(consumer_group_heartbeat, 1, join("b", "clicks"))
        await world.call(consumer_group_heartbeat, 1, beat("a", 1))
        (changed,), _ = world.groups.take_changes()
        assert (changed.type, changed.state, changed.generation, changed.assignment_epoch) == (
            "consumer",
            "Reconciling",
            2,
            2,
        )
        a, b = changed.members
        assert (a.protocol, a.epoch, a.state, a.topics) == ("consumer", 1, "UnrevokedPartitions", ["clicks"])
        assert (a.assignment, a.revoking, a.target) == ([("clicks", 0)], [("clicks", 1)], [("clicks", 0)])
        assert (b.epoch, b.state, b.assignment, b.target) == (2, "UnreleasedPartitions", [], [("clicks", 1)])
        assert world.groups.statistics() == [changed]


@pytest.mark.parametrize(("version", "lowest"), [(3, 1), (4, 0)])
async def test_the_feature_behind_it_is_told(version: int, lowest: int) -> None:
    async with World() as world:
        ask = m.ApiVersionsRequest(client_software_name="x", client_software_version="1")
        answer = await world.call(api_versions, version, ask)
        (supported,) = [one for one in answer.supported_features if one.name == "group.version"]
        (finalized,) = [one for one in answer.finalized_features if one.name == "group.version"]
        assert (supported.min_version, supported.max_version) == (lowest, 1)
        assert (finalized.min_version_level, finalized.max_version_level) == (1, 1)
        assert answer.finalized_features_epoch >= 0


def test_the_protocol_is_on_unless_configured_away() -> None:
    assert BrokerConfig().group_coordinator_rebalance_protocols == ("classic", "consumer")
