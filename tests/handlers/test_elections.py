"""Elections, moves of partitions and the state of brokers, as clients and operators ask for them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from broker.cluster.decision import NewTopic
from broker.errors import ErrorCode
from broker.handlers import (
    alter_partition,
    alter_partition_reassignments,
    broker_state,
    describe_cluster,
    describe_topic_partitions,
    elect_leaders,
    list_partition_reassignments,
    unregister_broker,
    update_features,
)
from broker.protocol import messages as m
from broker.protocol.private import BrokerStateRequest
from broker.types import TopicPartition
from tests.handlers.admin_stage import Stage, open_stage, versions
from tests.support.wait import eventually

Request = m.ElectLeadersRequest


@pytest.fixture
async def stage(tmp_path: Path) -> Any:
    async with open_stage(tmp_path) as opened:
        yield opened


async def placed(stage: Stage, name: str, *replicas: tuple[int, ...]) -> bytes:
    (result,) = await stage.cluster.create_topics([NewTopic(name=name, assignments=tuple(enumerate(replicas)))])
    assert result.error is None
    return result.topic_id


# ElectLeaders --------------------------------------------------------------------------------------------


def asking(*partitions: tuple[str, int], unclean: bool = False) -> Any:
    entries = [Request.TopicPartitions(topic=name, partitions=[index]) for name, index in partitions]
    return Request(election_type=int(unclean), topic_partitions=entries, timeout=1_000)


def told(answer: Any) -> dict[TopicPartition, ErrorCode]:
    assert answer.error_code == 0
    return {
        TopicPartition(topic.topic, part.partition_id): ErrorCode(part.error_code)
        for topic in answer.replica_election_results
        for part in topic.partition_result
    }


@pytest.mark.parametrize("version", versions(elect_leaders))
async def test_a_preferred_leader_that_leads_is_not_elected_again(stage: Stage, version: int) -> None:
    await stage.create("a", 2)
    answer = await stage.ask(elect_leaders, asking(("a", 1), ("a", 2), ("none", 0)), version)
    assert told(answer) == {
        ("a", 1): ErrorCode.ELECTION_NOT_NEEDED,
        ("a", 2): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
        ("none", 0): ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
    }


async def test_a_partition_whose_broker_is_away_says_so_also_when_anybody_would_do(stage: Stage) -> None:
    other = await stage.another_broker(2)
    topic = await stage.create("a", 4)
    lost = [index for index, partition in enumerate(topic.partitions) if partition.leader == 2]
    await other.stop()
    await eventually(lambda: 2 not in stage.cluster.image.incarnations)
    everything = Request(topic_partitions=None, timeout=1_000)
    answer = told(await stage.ask(elect_leaders, everything))
    assert answer == {("a", index): ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE for index in lost}
    answer = told(await stage.ask(elect_leaders, asking(("a", lost[0]), unclean=True)))
    assert answer == {("a", lost[0]): ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE}


async def test_an_unclean_election_makes_somebody_lead_and_says_what_it_was(tmp_path: Path) -> None:
    async with open_stage(tmp_path, min_insync_replicas=1) as stage:
        await _elect_uncleanly(stage)


async def _elect_uncleanly(stage: Stage) -> None:
    other = await stage.another_broker(2)
    topic_id = await placed(stage, "a", (2, 1))
    alone = await stage.ask(alter_partition, proposing(stage, topic_id, 2, leader=2))
    assert alone.topics[0].partitions[0].error_code == 0
    await other.stop()
    await eventually(lambda: 2 not in stage.cluster.image.incarnations)
    assert told(await stage.ask(elect_leaders, asking(("a", 0), unclean=True))) == {("a", 0): ErrorCode.NONE}
    partition = stage.cluster.image.topics_by_name["a"].partitions[0]
    assert (partition.leader, partition.isr, partition.elr, partition.cause) == (1, (1,), (), "unclean")


async def test_an_unknown_kind_of_election_is_an_invalid_request(stage: Stage) -> None:
    answer = await stage.ask(elect_leaders, Request(election_type=2, topic_partitions=[]))
    assert answer.error_code == ErrorCode.INVALID_REQUEST


# AlterPartition ------------------------------------------------------------------------------------------


def proposing(stage: Stage, topic_id: bytes, *isr: int, leader: int = 1, **changes: Any) -> Any:
    brokers = stage.cluster.image.brokers
    Proposal = m.AlterPartitionRequest
    fields = {"leader_epoch": 0, "partition_epoch": 0} | changes
    members = [Proposal.BrokerState(broker_id=r, broker_epoch=brokers[r].epoch) for r in isr]
    partition = Proposal.PartitionData(partition_index=0, new_isr_with_epochs=members, **fields)
    topic = Proposal.TopicData(topic_id=topic_id, partitions=[partition])
    return Proposal(broker_id=leader, broker_epoch=brokers[leader].epoch, topics=[topic])


async def test_a_leaders_proposal_is_decided_and_told(stage: Stage) -> None:
    await stage.another_broker(2)
    topic_id = await placed(stage, "a", (1, 2))
    isr = stage.cluster.image.topics_by_name["a"].partitions[0].isr
    await eventually(lambda: stage.cluster.image.is_settled(2))
    answer = await stage.ask(alter_partition, proposing(stage, topic_id, 1), listener="internal")
    if isr == (1,):
        answer = await stage.ask(alter_partition, proposing(stage, topic_id, 1, 2), listener="internal")
    (partition,) = answer.topics[0].partitions
    image = stage.cluster.image.topics_by_name["a"].partitions[0]
    assert partition.error_code == 0
    assert (partition.leader_id, partition.partition_epoch, tuple(partition.isr)) == (1, 1, image.isr)
    assert image.cause in ("isr_grown", "isr_shrunk")
    stale = await stage.ask(alter_partition, proposing(stage, topic_id, 1), listener="internal")
    assert stale.topics[0].partitions[0].error_code == ErrorCode.INVALID_UPDATE_VERSION


async def test_a_proposer_of_a_former_life_is_refused_as_a_whole(stage: Stage) -> None:
    topic_id = await placed(stage, "a", (1,))
    request = proposing(stage, topic_id, 1)
    request.broker_epoch -= 1
    answer = await stage.ask(alter_partition, request, listener="internal")
    assert (answer.error_code, answer.topics) == (ErrorCode.STALE_BROKER_EPOCH, [])


# Reassignments -------------------------------------------------------------------------------------------


def moving(*moves: tuple[str, int, list[int] | None], **options: Any) -> Any:
    Move = m.AlterPartitionReassignmentsRequest
    topics = [
        Move.ReassignableTopic(
            name=name, partitions=[Move.ReassignablePartition(partition_index=index, replicas=replicas)]
        )
        for name, index, replicas in moves
    ]
    return Move(topics=topics, timeout=1_000, **options)


def refusals(answer: Any) -> list[ErrorCode]:
    return [ErrorCode(part.error_code) for topic in answer.responses for part in topic.partitions]


@pytest.mark.parametrize("version", versions(alter_partition_reassignments))
async def test_a_move_begins_is_listed_and_can_be_cancelled(stage: Stage, version: int) -> None:
    await stage.another_broker(2)
    await placed(stage, "a", (1,))
    assert refusals(await stage.ask(alter_partition_reassignments, moving(("a", 0, [2])), version)) == [0]
    for topics in (
        None,
        [m.ListPartitionReassignmentsRequest.ListPartitionReassignmentsTopics(name="a", partition_indexes=[0])],
    ):
        listed = await stage.ask(list_partition_reassignments, m.ListPartitionReassignmentsRequest(topics=topics))
        (partition,) = listed.topics[0].partitions
        assert (partition.replicas, partition.adding_replicas, partition.removing_replicas) == ([2, 1], [2], [1])
    assert refusals(await stage.ask(alter_partition_reassignments, moving(("a", 0, None)), version)) == [0]
    assert stage.cluster.image.topics_by_name["a"].partitions[0].replicas == (1,)
    again = await stage.ask(alter_partition_reassignments, moving(("a", 0, None)), version)
    assert refusals(again) == [ErrorCode.NO_REASSIGNMENT_IN_PROGRESS]


async def test_another_replication_factor_may_be_forbidden(stage: Stage) -> None:
    await stage.another_broker(2)
    await placed(stage, "a", (1,))
    request = moving(("a", 0, [1, 2]), allow_replication_factor_change=False)
    assert refusals(await stage.ask(alter_partition_reassignments, request)) == [ErrorCode.INVALID_REPLICATION_FACTOR]


@pytest.mark.parametrize("topics", [None, []])
async def test_nothing_is_being_reassigned(stage: Stage, topics: Any) -> None:
    await stage.create("a")
    answer = await stage.ask(list_partition_reassignments, m.ListPartitionReassignmentsRequest(topics=topics))
    assert (answer.error_code, answer.error_message, answer.topics) == (0, None, [])


# Brokers -------------------------------------------------------------------------------------------------


async def test_a_draining_broker_gives_up_leading_and_gets_nothing_new(stage: Stage) -> None:
    await stage.another_broker(2)
    request: Any = None
    answer = await broker_state.handle_private(
        request, BrokerStateRequest(broker_id=2, state="draining"), stage.services
    )
    assert answer.error_code == 0
    topic = await stage.create("a", 4)
    assert {partition.replicas for partition in topic.partitions} == {(1,)}
    for state, code in (("asleep", ErrorCode.INVALID_REQUEST), ("active", ErrorCode.BROKER_ID_NOT_REGISTERED)):
        message = BrokerStateRequest(broker_id=3, state=state)
        assert (await broker_state.handle_private(request, message, stage.services)).error_code == code


async def test_a_broker_is_forgotten_when_it_holds_nothing_and_is_away(stage: Stage) -> None:
    other = await stage.another_broker(2)
    await placed(stage, "a", (2,))
    forget = m.UnregisterBrokerRequest(broker_id=2)
    assert (await stage.ask(unregister_broker, forget)).error_code == ErrorCode.INVALID_REQUEST
    await stage.cluster.delete_topics([("a", bytes(16))])
    await other.stop()
    await eventually(lambda: stage.cluster.image.brokers_state[2].left_at_ms >= 0)
    fenced = m.DescribeClusterRequest(endpoint_type=1, include_fenced_brokers=True)
    assert [(b.broker_id, b.is_fenced) for b in (await stage.ask(describe_cluster, fenced)).brokers] == [
        (1, False),
        (2, True),
    ]
    assert (await stage.ask(unregister_broker, forget)).error_code == 0
    assert 2 not in stage.cluster.image.brokers_state
    assert (await stage.ask(unregister_broker, forget)).error_code == ErrorCode.BROKER_ID_NOT_REGISTERED


async def test_eligible_replicas_are_described(stage: Stage) -> None:
    other = await stage.another_broker(2)
    await placed(stage, "a", (2,))
    await other.stop()
    await eventually(lambda: 2 not in stage.cluster.image.incarnations)
    answer = await stage.ask(describe_topic_partitions, m.DescribeTopicPartitionsRequest(topics=[], cursor=None))
    (partition,) = answer.topics[0].partitions
    assert (partition.isr_nodes, partition.eligible_leader_replicas, partition.last_known_elr) == ([], [2], [])
    assert partition.offline_replicas == [2]


# UpdateFeatures ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", versions(update_features))
async def test_a_feature_keeps_its_level_and_any_other_is_refused(stage: Stage, version: int) -> None:
    Update = m.UpdateFeaturesRequest

    async def ask(name: str, level: int, **how: Any) -> int:
        update = Update.FeatureUpdateKey(feature=name, max_version_level=level, **how)
        answer = await stage.ask(update_features, Update(feature_updates=[update], timeout=1_000), version)
        return answer.error_code if version >= 2 else answer.results[0].error_code

    lower: dict[str, Any] = {"upgrade_type": 2} if version else {"allow_downgrade": True}
    assert await ask("transaction.version", 2) == 0
    assert await ask("transaction.version", 3) == ErrorCode.INVALID_UPDATE_VERSION
    assert await ask("transaction.version", 1) == ErrorCode.INVALID_UPDATE_VERSION
    assert await ask("transaction.version", 1, **lower) == ErrorCode.FEATURE_UPDATE_FAILED
    assert await ask("metadata.version", 1) == ErrorCode.INVALID_UPDATE_VERSION
