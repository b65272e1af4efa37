"""The group APIs as clients speak them: every version, as bytes, against a coordinator in memory."""

from __future__ import annotations

import asyncio
from types import ModuleType
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.handlers import (
    delete_groups,
    describe_groups,
    find_coordinator,
    heartbeat,
    join_group,
    leave_group,
    list_groups,
    offset_commit,
    offset_delete,
    offset_fetch,
    sync_group,
)
from broker.protocol import messages as m
from broker.protocol.registry import SERVED
from tests.groups.coordinator import World
from tests.groups.stage import assignment, subscription

GROUP = "orders"
CLICKS = subscription("clicks")


def versions(handler: ModuleType, *, since: int = 0, until: int = 99) -> list[int]:
    spec = SERVED[int(handler.API)]
    return [version for version in range(spec.min_version, spec.max_version + 1) if since <= version <= until]


@pytest.fixture
async def world() -> Any:
    async with World() as world:
        await world.groups.find(GROUP)
        world.cluster.create("clicks", 2)
        yield world


# Finding ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions(find_coordinator, until=3))
async def test_find_one_coordinator(world: World, version: int) -> None:
    found = await world.call(find_coordinator, version, m.FindCoordinatorRequest(key=GROUP, key_type=0))
    assert (found.error_code, found.node_id, found.host, found.port) == (0, 1, "broker.example", 9092)


@pytest.mark.parametrize("version", versions(find_coordinator, since=4))
async def test_find_several_coordinators(world: World, version: int) -> None:
    found = await world.call(
        find_coordinator, version, m.FindCoordinatorRequest(key_type=0, coordinator_keys=["a", "b"])
    )
    assert [(one.key, one.error_code, one.node_id, one.port) for one in found.coordinators] == [
        ("a", 0, 1, 9092),
        ("b", 0, 1, 9092),
    ]


async def test_on_the_internal_listener_coordinators_are_found_there(world: World) -> None:
    request = m.FindCoordinatorRequest(key=GROUP, key_type=0)
    found = await world.call(find_coordinator, 3, request, listener="internal")
    assert (found.host, found.port) == ("127.0.0.1", 19092)


@pytest.mark.parametrize(
    ("key_type", "code"), [(2, ErrorCode.COORDINATOR_NOT_AVAILABLE), (9, ErrorCode.INVALID_REQUEST)]
)
async def test_other_coordinators_say_that_there_are_none(world: World, key_type: int, code: ErrorCode) -> None:
    request = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=["x"])
    (found,) = (await world.call(find_coordinator, 6, request)).coordinators
    assert (found.error_code, found.node_id) == (code, -1)
    assert found.error_message


# Membership ------------------------------------------------------------------------------------------


def join_request(member_id: str = "", **fields: Any) -> Any:
    return m.JoinGroupRequest(
        group_id=fields.pop("group_id", GROUP),
        session_timeout=10_000,
        rebalance_timeout=60_000,
        member_id=member_id,
        protocol_type="consumer",
        protocols=[m.JoinGroupRequest.JoinGroupRequestProtocol(name="range", metadata=CLICKS)],
        **fields,
    )


async def join(world: World, version: int = 9, **fields: Any) -> Any:
    """Join the way a client of that version does."""
    joined = await world.call(join_group, version, join_request(**fields))
    if joined.error_code == ErrorCode.MEMBER_ID_REQUIRED:
        joined = await world.call(join_group, version, join_request(joined.member_id, **fields))
    return joined


async def form(world: World, version: int = 9) -> Any:
    joined = await join(world, version)
    await sync(world, joined)
    return joined


async def sync(world: World, joined: Any, version: int = 5, **fields: Any) -> Any:
    item = m.SyncGroupRequest.SyncGroupRequestAssignment(
        member_id=joined.member_id, assignment=assignment(clicks=[0, 1])
    )
    request = m.SyncGroupRequest(
        group_id=GROUP,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        assignments=[item],
        **{"protocol_type": "consumer", "protocol_name": joined.protocol_name, **fields},
    )
    return await world.call(sync_group, version, request)


@pytest.mark.parametrize("version", versions(join_group))
async def test_join(world: World, version: int) -> None:
    first = await world.call(join_group, version, join_request())
    assert first.error_code == (ErrorCode.MEMBER_ID_REQUIRED if version >= 4 else 0)
    assert first.member_id.startswith("app-")
    joined = first if version < 4 else await world.call(join_group, version, join_request(first.member_id))
    assert (joined.error_code, joined.generation_id, joined.protocol_name) == (0, 1, "range")
    assert joined.leader == joined.member_id
    assert [(one.member_id, one.metadata) for one in joined.members] == [(joined.member_id, CLICKS)]
    if version >= 7:
        assert joined.protocol_type == "consumer"


async def test_before_v1_the_rebalance_timeout_is_the_session_timeout(world: World) -> None:
    joined = await join(world, 0)
    (group,) = world.groups.statistics()
    assert group.members[0].member_id == joined.member_id
    shard = next(shard for _, shard in world.groups._runtime.serving() if GROUP in shard.groups)
    assert shard.groups[GROUP].rebalance_timeout_ms == 10_000


@pytest.mark.parametrize("version", versions(join_group, since=5))
async def test_join_as_a_static_member_and_come_back(world: World, version: int) -> None:
    joined = await join(world, version, group_instance_id="pod-1")
    await sync(world, joined, group_instance_id="pod-1")
    back = await join(world, version, group_instance_id="pod-1")
    assert (back.error_code, back.generation_id) == (0, 1)
    assert back.member_id != joined.member_id
    assert back.skip_assignment is (version >= 9)
    fenced = await world.call(
        heartbeat,
        4,
        m.HeartbeatRequest(group_id=GROUP, generation_id=1, member_id=joined.member_id, group_instance_id="pod-1"),
    )
    assert fenced.error_code == ErrorCode.FENCED_INSTANCE_ID


@pytest.mark.parametrize("version", versions(join_group))
async def test_a_refused_join_can_be_written_in_every_version(world: World, version: int) -> None:
    refused = await world.call(join_group, version, join_request("ghost"))
    assert (refused.error_code, refused.member_id, refused.generation_id) == (25, "ghost", -1)
    nameless = await world.call(join_group, version, join_request(group_id=""))
    assert nameless.error_code == ErrorCode.INVALID_GROUP_ID


@pytest.mark.parametrize("version", versions(sync_group))
async def test_sync(world: World, version: int) -> None:
    joined = await join(world)
    synced = await sync(world, joined, version)
    assert (synced.error_code, synced.assignment) == (0, assignment(clicks=[0, 1]))
    if version >= 5:
        assert (synced.protocol_type, synced.protocol_name) == ("consumer", "range")
        wrong = await sync(world, joined, version, protocol_type="consumer", protocol_name="sticky")
        assert wrong.error_code == ErrorCode.INCONSISTENT_GROUP_PROTOCOL


@pytest.mark.parametrize("version", versions(heartbeat))
async def test_heartbeat(world: World, version: int) -> None:
    joined = await form(world)
    for member_id, generation, expected in [
        (joined.member_id, 1, 0),
        (joined.member_id, 5, ErrorCode.ILLEGAL_GENERATION),
        ("ghost", 1, ErrorCode.UNKNOWN_MEMBER_ID),
    ]:
        request = m.HeartbeatRequest(group_id=GROUP, generation_id=generation, member_id=member_id)
        assert (await world.call(heartbeat, version, request)).error_code == expected


@pytest.mark.parametrize("version", versions(leave_group, until=2))
async def test_leave_alone(world: World, version: int) -> None:
    joined = await form(world)
    request = m.LeaveGroupRequest(group_id=GROUP, member_id=joined.member_id)
    assert (await world.call(leave_group, version, request)).error_code == 0
    assert (await world.call(leave_group, version, request)).error_code == ErrorCode.UNKNOWN_MEMBER_ID


@pytest.mark.parametrize("version", versions(leave_group, since=3))
async def test_leave_together(world: World, version: int) -> None:
    joined = await join(world, group_instance_id="pod-1")
    identity = m.LeaveGroupRequest.MemberIdentity
    members = [identity(member_id="", group_instance_id="pod-1"), identity(member_id="ghost", group_instance_id=None)]
    left = await world.call(leave_group, version, m.LeaveGroupRequest(group_id=GROUP, members=members))
    assert left.error_code == 0
    assert [(one.member_id, one.group_instance_id, one.error_code) for one in left.members] == [
        ("", "pod-1", 0),
        ("ghost", None, ErrorCode.UNKNOWN_MEMBER_ID),
    ]
    assert joined.member_id not in {member.member_id for group in world.groups.statistics() for member in group.members}


async def test_a_join_that_waits_is_answered_when_the_others_have_come(world: World) -> None:
    first = await form(world)
    second = asyncio.create_task(join(world))
    await asyncio.sleep(0)
    rejoined = asyncio.create_task(world.call(join_group, 9, join_request(first.member_id)))
    assert (await second).generation_id == (await rejoined).generation_id == 2


# Offsets ---------------------------------------------------------------------------------------------


def commit_request(world: World, version: int, *items: tuple[str, int, int], **fields: Any) -> Any:
    partition_class = m.OffsetCommitRequest.OffsetCommitRequestPartition
    topics = []
    for topic, partition, offset in items:
        image = world.cluster.image.topics_by_name.get(topic)
        topic_id = image.topic_id if image else b"\x07" * 16
        partition_fields = partition_class(
            partition_index=partition, committed_offset=offset, committed_leader_epoch=3, committed_metadata="note"
        )
        topics.append(
            m.OffsetCommitRequest.OffsetCommitRequestTopic(
                **{"topic_id": topic_id} if version >= 10 else {"name": topic}, partitions=[partition_fields]
            )
        )
    return m.OffsetCommitRequest(
        **{"group_id": GROUP, "generation_id_or_member_epoch": -1, "member_id": "", "topics": topics} | fields
    )


async def commit(world: World, version: int, *items: tuple[str, int, int], **fields: Any) -> list[int]:
    answer = await world.call(offset_commit, version, commit_request(world, version, *items, **fields))
    return [partition.error_code for topic in answer.topics for partition in topic.partitions]


@pytest.mark.parametrize("version", versions(offset_commit))
async def test_commit_and_what_does_not_exist_fails_alone(world: World, version: int) -> None:
    unknown = ErrorCode.UNKNOWN_TOPIC_ID if version >= 10 else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    errors = await commit(world, version, ("clicks", 0, 5), ("nothing", 0, 5), ("clicks", 9, 5), ("clicks", 1, 6))
    assert errors == [0, unknown, ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, 0]
    found = await world.groups.fetch_offsets(GROUP, None)
    assert [(one.partition, one.offset, one.metadata) for one in found] == [(0, 5, "note"), (1, 6, "note")]
    assert {one.leader_epoch for one in found} == {3 if version >= 6 else -1}


@pytest.mark.parametrize("version", versions(offset_commit))
async def test_who_may_not_commit_is_told_for_every_partition(world: World, version: int) -> None:
    await form(world)
    assert await commit(world, version, ("clicks", 0, 5), ("clicks", 1, 5)) == [ErrorCode.UNKNOWN_MEMBER_ID] * 2
    missing = await commit(
        world, version, ("clicks", 0, 5), group_id="nobody", generation_id_or_member_epoch=1, member_id="m"
    )
    assert missing == [ErrorCode.GROUP_ID_NOT_FOUND if version >= 9 else ErrorCode.ILLEGAL_GENERATION]


@pytest.mark.parametrize("version", versions(offset_commit, until=4))
async def test_old_clients_choose_their_own_retention(world: World, version: int) -> None:
    await commit(world, version, ("clicks", 0, 5), retention_time=1_000)
    world.clock.advance(1_000)
    await world.groups.expire_offsets()
    assert await world.groups.fetch_offsets(GROUP, None) == []


@pytest.mark.parametrize("version", versions(offset_fetch, until=7))
async def test_fetch_of_one_group(world: World, version: int) -> None:
    await commit(world, 8, ("clicks", 0, 5))
    asked = [
        m.OffsetFetchRequest.OffsetFetchRequestTopic(name="clicks", partition_indexes=[0, 1]),
        m.OffsetFetchRequest.OffsetFetchRequestTopic(name="nothing", partition_indexes=[0]),
    ]
    fetched = await world.call(offset_fetch, version, m.OffsetFetchRequest(group_id=GROUP, topics=asked))
    assert fetched.error_code == 0
    assert [
        (topic.name, one.partition_index, one.committed_offset, one.metadata, one.error_code)
        for topic in fetched.topics
        for one in topic.partitions
    ] == [("clicks", 0, 5, "note", 0), ("clicks", 1, -1, "", 0), ("nothing", 0, -1, "", 0)]
    if version >= 5:
        assert fetched.topics[0].partitions[0].committed_leader_epoch == 3
    if version >= 2:
        everything = await world.call(offset_fetch, version, m.OffsetFetchRequest(group_id=GROUP, topics=None))
        assert [(topic.name, len(topic.partitions)) for topic in everything.topics] == [("clicks", 1)]


@pytest.mark.parametrize("version", versions(offset_fetch, since=8))
async def test_fetch_of_several_groups(world: World, version: int) -> None:
    await commit(world, 8, ("clicks", 0, 5))
    by_id = version >= 10
    topic_id = world.cluster.image.topics_by_name["clicks"].topic_id

    def topic(name: str, id_: bytes) -> Any:
        identity = {"topic_id": id_} if by_id else {"name": name}
        return m.OffsetFetchRequest.OffsetFetchRequestTopics(**identity, partition_indexes=[0, 1])

    group = m.OffsetFetchRequest.OffsetFetchRequestGroup
    asked = [
        group(group_id=GROUP, topics=[topic("clicks", topic_id), topic("nothing", b"\x07" * 16)]),
        group(group_id=GROUP, topics=None),
        group(group_id="nobody", topics=None),
    ]
    fetched = await world.call(offset_fetch, version, m.OffsetFetchRequest(groups=asked, require_stable=True))
    some, everything, nobody = fetched.groups
    unknown = ErrorCode.UNKNOWN_TOPIC_ID if by_id else 0
    assert [
        (one.partition_index, one.committed_offset, one.error_code) for topic in some.topics for one in topic.partitions
    ] == [(0, 5, 0), (1, -1, 0), (0, -1, unknown), (1, -1, unknown)]
    (only,) = everything.topics
    assert (only.topic_id if by_id else only.name) == (topic_id if by_id else "clicks")
    assert (nobody.group_id, nobody.error_code, list(nobody.topics)) == ("nobody", 0, [])


@pytest.mark.parametrize("version", versions(offset_fetch))
async def test_a_coordinator_elsewhere_is_said_in_every_version(world: World, version: int) -> None:
    for partition in world.partitions.partitions.values():
        world.groups.on_resigned(partition.topic_partition)
    if version >= 8:
        group = m.OffsetFetchRequest.OffsetFetchRequestGroup(group_id=GROUP, topics=None)
        (answer,) = (await world.call(offset_fetch, version, m.OffsetFetchRequest(groups=[group]))).groups
        assert answer.error_code == ErrorCode.NOT_COORDINATOR
        return
    topics = [m.OffsetFetchRequest.OffsetFetchRequestTopic(name="clicks", partition_indexes=[0])]
    answer = await world.call(offset_fetch, version, m.OffsetFetchRequest(group_id=GROUP, topics=topics))
    if version >= 2:
        assert (answer.error_code, list(answer.topics)) == (ErrorCode.NOT_COORDINATOR, [])
    else:
        assert answer.topics[0].partitions[0].error_code == ErrorCode.NOT_COORDINATOR


async def test_offset_delete(world: World) -> None:
    world.cluster.create("old")
    await commit(world, 8, ("clicks", 0, 5), ("old", 0, 5))
    await form(world)
    topic_class, partition_class = (
        m.OffsetDeleteRequest.OffsetDeleteRequestTopic,
        m.OffsetDeleteRequest.OffsetDeleteRequestPartition,
    )
    topics = [
        topic_class(name=name, partitions=[partition_class(partition_index=0)]) for name in ("clicks", "old", "nothing")
    ]
    answer = await world.call(offset_delete, 0, m.OffsetDeleteRequest(group_id=GROUP, topics=topics))
    assert answer.error_code == 0
    assert [(topic.name, topic.partitions[0].error_code) for topic in answer.topics] == [
        ("clicks", ErrorCode.GROUP_SUBSCRIBED_TO_TOPIC),
        ("old", 0),
        ("nothing", ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
    ]
    missing = await world.call(offset_delete, 0, m.OffsetDeleteRequest(group_id="nobody", topics=topics))
    assert missing.error_code == ErrorCode.GROUP_ID_NOT_FOUND


# Administration --------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions(describe_groups))
async def test_describe(world: World, version: int) -> None:
    joined = await form(world)
    answer = await world.call(describe_groups, version, m.DescribeGroupsRequest(groups=[GROUP, "nobody"]))
    described, nobody = answer.groups
    assert (described.error_code, described.group_state) == (0, "Stable")
    assert (described.protocol_type, described.protocol_data) == ("consumer", "range")
    (member,) = described.members
    assert (member.member_id, member.client_id, member.client_host) == (joined.member_id, "app", "/10.0.0.1")
    assert (member.member_metadata, member.member_assignment) == (CLICKS, assignment(clicks=[0, 1]))
    assert nobody.group_state == "Dead"
    assert nobody.error_code == (ErrorCode.GROUP_ID_NOT_FOUND if version >= 6 else 0)
    if version >= 3:
        assert described.authorized_operations == -(2**31)
        asked = m.DescribeGroupsRequest(groups=[GROUP], include_authorized_operations=True)
        (allowed,) = (await world.call(describe_groups, version, asked)).groups
        assert allowed.authorized_operations & (1 << 3), "reading is allowed"


@pytest.mark.parametrize("version", versions(list_groups))
async def test_list(world: World, version: int) -> None:
    await form(world)
    await commit(world, 8, ("clicks", 0, 5), group_id="simple")
    answer = await world.call(list_groups, version, m.ListGroupsRequest())
    assert {(one.group_id, one.protocol_type) for one in answer.groups} == {(GROUP, "consumer"), ("simple", "")}
    if version >= 4:
        stable = await world.call(list_groups, version, m.ListGroupsRequest(states_filter=["stable", "Dead"]))
        assert [(one.group_id, one.group_state) for one in stable.groups] == [(GROUP, "Stable")]
    if version >= 5:
        classic = await world.call(list_groups, version, m.ListGroupsRequest(types_filter=["Classic"]))
        assert {one.group_type for one in classic.groups} == {"classic"}
        others = await world.call(list_groups, version, m.ListGroupsRequest(types_filter=["consumer"]))
        assert list(others.groups) == []


@pytest.mark.parametrize("version", versions(delete_groups))
async def test_delete(world: World, version: int) -> None:
    await form(world)
    await commit(world, 8, ("clicks", 0, 5), group_id="simple")
    asked = m.DeleteGroupsRequest(groups_names=[GROUP, "simple", "nobody"])
    answer = await world.call(delete_groups, version, asked)
    assert [(one.group_id, one.error_code) for one in answer.results] == [
        (GROUP, ErrorCode.NON_EMPTY_GROUP),
        ("simple", 0),
        ("nobody", ErrorCode.GROUP_ID_NOT_FOUND),
    ]


@pytest.mark.parametrize(
    ("handler", "request_"),
    [
        (join_group, join_request("m")),
        (
            sync_group,
            m.SyncGroupRequest(
                group_id=GROUP,
                generation_id=1,
                member_id="m",
                protocol_type="consumer",
                protocol_name="range",
                assignments=[],
            ),
        ),
        (heartbeat, m.HeartbeatRequest(group_id=GROUP, generation_id=1, member_id="m")),
        (leave_group, m.LeaveGroupRequest(group_id=GROUP, member_id="m", members=[])),
        (offset_delete, m.OffsetDeleteRequest(group_id=GROUP, topics=[])),
    ],
)
async def test_not_our_group(world: World, handler: ModuleType, request_: Any) -> None:
    for partition in world.partitions.partitions.values():
        world.groups.on_resigned(partition.topic_partition)
    for version in versions(handler):
        assert (await world.call(handler, version, request_)).error_code == ErrorCode.NOT_COORDINATOR


def test_every_key_of_a_group_api_is_bound_to_the_module_of_its_name() -> None:
    handlers = [join_group, sync_group, heartbeat, leave_group, offset_commit, offset_fetch, find_coordinator]
    handlers += [describe_groups, list_groups, delete_groups, offset_delete]
    assert [handler.API.name.lower() for handler in handlers] == [
        handler.__name__.rsplit(".", 1)[1] for handler in handlers
    ]
