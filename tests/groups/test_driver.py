"""The coordinator of one broker: finding, loading, losing and watching groups."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.groups.events import CommitOffsets, Heartbeat, Join, JoinReply, OffsetToCommit, Sync
from broker.types import OFFSETS_TOPIC
from tests.groups.coordinator import World
from tests.groups.stage import assignment, subscription


def join_event(member_id: str = "", group: str = "g", version: int = 3) -> Join:
    return Join(
        group_id=group,
        member_id=member_id,
        instance_id=None,
        client_id="app",
        client_host="/10.0.0.1",
        protocol_type="consumer",
        protocols=(("range", subscription("clicks")),),
        session_timeout_ms=10_000,
        rebalance_timeout_ms=60_000,
        generated_id="1",
        requires_member_id=version >= 4,
    )


def commit_event(*offsets: OffsetToCommit, group: str = "g") -> CommitOffsets:
    return CommitOffsets(group_id=group, offsets=offsets)


async def form(world: World) -> JoinReply:
    joined = await world.groups.join(join_event())
    assigned = ((joined.member_id, assignment(clicks=[0])),)
    await world.groups.sync(
        Sync(group_id="g", generation=joined.generation, member_id=joined.member_id, assignments=assigned)
    )
    return joined


async def test_asking_for_a_coordinator_creates_the_topic_once_however_many_ask() -> None:
    async with World() as world:
        brokers = await asyncio.gather(*(world.groups.find(group) for group in ("a", "b", "c")))
        assert set(brokers) == {1}
        assert world.cluster.creations == 1


async def test_a_topic_that_cannot_be_created_is_tried_again_by_the_next() -> None:
    async with World() as world:
        world.cluster.creation_error = KafkaError(ErrorCode.POLICY_VIOLATION, "no room")
        with pytest.raises(KafkaError, match="no room") as refused:
            await world.groups.find("g")
        assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE
        world.cluster.creation_error = None
        assert await world.groups.find("g") == 1


async def test_a_partition_nobody_leads_has_no_coordinator() -> None:
    async with World() as world:
        world.cluster.create(OFFSETS_TOPIC, 1, leader=-1)
        with pytest.raises(KafkaError) as refused:
            await world.groups.find("g")
        assert refused.value.code is ErrorCode.COORDINATOR_NOT_AVAILABLE


async def test_without_the_topic_this_is_not_the_coordinator_of_anything() -> None:
    async with World() as world:
        with pytest.raises(KafkaError) as refused:
            await world.groups.join(join_event())
        assert refused.value.code is ErrorCode.NOT_COORDINATOR
        assert await world.groups.list_groups() == []


async def test_the_first_client_of_a_new_topic_is_served_at_once() -> None:
    async with World() as world:
        await world.groups.find("g")
        assert (await world.groups.join(join_event())).generation == 1


async def test_a_session_timeout_out_of_bounds_and_an_empty_name_are_refused() -> None:
    async with World(group_min_session_timeout_ms=20_000) as world:
        await world.groups.find("g")
        with pytest.raises(KafkaError) as refused:
            await world.groups.join(join_event())
        assert refused.value.code is ErrorCode.INVALID_SESSION_TIMEOUT
        with pytest.raises(KafkaError) as nameless:
            await world.groups.join(join_event(group=""))
        assert nameless.value.code is ErrorCode.INVALID_GROUP_ID


async def test_what_could_never_be_stored_is_refused_before_it_is_kept() -> None:
    async with World() as world:
        await world.groups.find("g")
        for oversized in (
            replace(join_event(), protocols=(("range", bytes(2_000_000)),)),
            replace(join_event(), protocols=(("x" * 40_000, b""),)),
            replace(join_event(), instance_id="x" * 40_000),
            replace(join_event(), protocols=(("", b""),) * 20_000),
        ):
            with pytest.raises(KafkaError) as refused:
                await world.groups.join(oversized)
            assert refused.value.code is ErrorCode.INVALID_REQUEST
        with pytest.raises(KafkaError) as nameless:
            await world.groups.commit_offsets(commit_event(group="ä" * 20_000))
        assert nameless.value.code is ErrorCode.INVALID_GROUP_ID
        assert world.groups.statistics() == []


async def test_a_very_long_client_id_still_gives_a_member_id_that_can_be_stored() -> None:
    async with World() as world:
        await world.groups.find("g")
        joined = await world.groups.join(replace(join_event(), client_id="c" * 32_000))
        assert joined.member_id == "c" * 200 + "-1"


async def test_groups_and_offsets_survive_a_restart() -> None:
    async with World() as world:
        await world.groups.find("g")
        joined = await form(world)
        await world.groups.commit_offsets(
            CommitOffsets(
                group_id="g",
                generation=1,
                member_id=joined.member_id,
                offsets=(OffsetToCommit(topic="clicks", partition=0, offset=7, metadata="m"),),
            )
        )
        before = world.groups.statistics()
        await world.restart()
        (after,) = world.groups.statistics()
        assert (after.state, after.generation, after.leader) == ("Stable", 1, joined.member_id)
        assert after.offsets == before[0].offsets
        assert after.members[0].assignment == [("clicks", 0)]
        heartbeat = Heartbeat(group_id="g", generation=1, member_id=joined.member_id)
        assert await world.groups.heartbeat(heartbeat) is ErrorCode.NONE


async def test_while_loading_a_heartbeat_is_welcome_and_everything_else_must_wait() -> None:
    async with World() as world:
        await world.groups.find("g")
        joined = await form(world)
        await world.groups.stop()
        world.groups = world.new_coordinator()
        await world.groups.start()
        heartbeat = Heartbeat(group_id="g", generation=1, member_id=joined.member_id)
        assert await world.groups.heartbeat(heartbeat) is ErrorCode.NONE
        await world.groups.stop()
        world.groups = world.new_coordinator()
        await world.groups.start()
        with pytest.raises(KafkaError) as refused:
            await world.groups.list_groups()
        assert refused.value.code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS


async def test_a_commit_is_answered_when_it_is_committed() -> None:
    async with World() as world:
        await world.groups.find("g")
        for partition in world.partitions.partitions.values():
            partition.commits = False
        commit = asyncio.create_task(
            world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1)))
        )
        for _ in range(10):
            await asyncio.sleep(0)
        assert not commit.done()
        for partition in world.partitions.partitions.values():
            partition.commit()
        assert (await commit).errors == (ErrorCode.NONE,)


async def test_many_offsets_are_cut_into_batches_the_partition_accepts() -> None:
    async with World() as world:
        await world.groups.find("g")
        for partition in world.partitions.partitions.values():
            partition.log.config.max_message_bytes = 1_000
        offsets = [OffsetToCommit(topic="t", partition=index, offset=index) for index in range(100)]
        await world.groups.commit_offsets(commit_event(*offsets))
        batches = [one for partition in world.partitions.partitions.values() for one in partition.batches]
        assert len(batches) > 5
        assert max(map(len, batches)) <= 1_000
        await world.restart()
        assert len(await world.groups.fetch_offsets("g", None)) == 100


async def test_offsets_of_a_deleted_topic_die_at_once() -> None:
    async with World() as world:
        await world.groups.find("g")
        topic_id = world.cluster.create("clicks")
        await world.groups.commit_offsets(
            commit_event(OffsetToCommit(topic="clicks", partition=0, offset=1, topic_id=topic_id))
        )
        world.cluster.delete("clicks")
        assert await world.groups.fetch_offsets("g", None) == []


async def test_offsets_of_a_topic_deleted_while_nobody_looked_die_on_load() -> None:
    async with World() as world:
        await world.groups.find("g")
        topic_id = world.cluster.create("clicks")
        kept_id = world.cluster.create("kept")
        await world.groups.commit_offsets(
            commit_event(
                OffsetToCommit(topic="clicks", partition=0, offset=1, topic_id=topic_id),
                OffsetToCommit(topic="kept", partition=0, offset=2, topic_id=kept_id),
            )
        )
        await world.groups.stop()
        world.cluster.delete("clicks")
        world.cluster.create("clicks")
        await world.restart()
        assert [item.topic for item in await world.groups.fetch_offsets("g", None)] == ["kept"]


async def test_expired_offsets_are_written_off() -> None:
    async with World(offsets_retention_minutes=1) as world:
        await world.groups.find("g")
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1)))
        world.clock.advance(60_000)
        await world.groups.expire_offsets()
        assert await world.groups.fetch_offsets("g", None) == []
        assert world.groups.statistics() == []
        await world.restart()
        assert world.groups.statistics() == []


async def test_telemetry_reads_only_what_changed_and_hears_of_what_is_gone() -> None:
    async with World() as world:
        await world.groups.find("g")
        assert world.groups.take_changes() == ([], [])
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1), group="a"))
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1), group="b"))
        changed, gone = world.groups.take_changes()
        assert ({sample.group_id for sample in changed}, gone) == ({"a", "b"}, [])
        assert world.groups.take_changes() == ([], [])
        await world.groups.delete_group("a")
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=2), group="b"))
        changed, gone = world.groups.take_changes()
        assert [sample.offsets[0].committed for sample in changed] == [2]
        assert gone == ["a"]


async def test_telemetry_never_hears_of_a_group_that_came_and_went_unseen() -> None:
    async with World() as world:
        await world.groups.find("g")
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1)))
        await world.groups.delete_group("g")
        assert world.groups.take_changes() == ([], [])


async def test_a_coordinator_that_is_replaced_tells_telemetry_that_its_groups_are_gone() -> None:
    async with World() as world:
        await world.groups.find("g")
        await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1)))
        world.groups.take_changes()
        for partition in world.partitions.partitions.values():
            world.groups.on_resigned(partition.topic_partition)
        assert world.groups.take_changes() == ([], ["g"])
        with pytest.raises(KafkaError) as refused:
            await world.groups.fetch_offsets("g", None)
        assert refused.value.code is ErrorCode.NOT_COORDINATOR


async def test_a_replaced_coordinator_cannot_write_any_more() -> None:
    async with World() as world:
        await world.groups.find("g")
        for partition in world.partitions.partitions.values():
            partition.leader_epoch += 1
        with pytest.raises(KafkaError) as refused:
            await world.groups.commit_offsets(commit_event(OffsetToCommit(topic="t", partition=0, offset=1)))
        assert refused.value.code is ErrorCode.NOT_COORDINATOR


async def test_records_are_written_in_the_codec_configured() -> None:
    async with World(partition_count=1, offsets_topic_compression_codec=4) as world:
        await world.groups.find("g")
        offsets = [OffsetToCommit(topic="t", partition=index, offset=index, metadata="m" * 50) for index in range(50)]
        await world.groups.commit_offsets(commit_event(*offsets))
        (batch,) = world.offsets_partition.batches
        assert len(batch) < 50 * 50
        await world.restart()
        assert len(await world.groups.fetch_offsets("g", None)) == 50
