"""Clients guess from the ranges that are advertised, or send none of it: whoever speaks the oldest version of an API, without
having asked for ApiVersions, is served; whatever is not served ends the connection without an answer."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import pytest

from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import iter_records
from broker.protocol.registry import SERVED
from tests.support.topics import NOW_MS, batch, create_topic
from tests.support.wait import wait_until
from tests.support.wire import Wire

_numbers = itertools.count()
CONSUMER_GROUP_HEARTBEAT = 68


@dataclass
class Caller:
    """One connection on which every request is of the oldest version there is."""

    wire: Wire
    topic: str
    name: str = field(default_factory=lambda: f"old-{next(_numbers)}")
    """Of a group or a transaction, where one is needed."""

    def call(self, key: int, message: Any) -> Any:
        return self.wire.call(key, SERVED[key].min_version, message)

    def until(self, key: int, message: Any, code: Callable[[Any], int]) -> Any:
        """Repeated while a coordinator is still coming up, or while the last transaction is being completed."""
        found: list[Any] = []

        def answered() -> bool:
            found.append(self.call(key, message))
            return code(found[-1]) not in (14, 15, 16, 51)

        wait_until(answered, f"the coordinator answers API {key}")
        return found[-1]


Story = Callable[[Caller], None]


@pytest.fixture
def caller(wire: Wire) -> Iterator[Caller]:
    return Caller(wire, create_topic(wire))


def produce(caller: Caller) -> None:
    r = m.ProduceRequest
    part = r.PartitionProduceData(index=0, records=batch(b"old", timestamp=NOW_MS))
    message = r(acks=-1, timeout=10_000, topic_data=[r.TopicProduceData(name=caller.topic, partition_data=[part])])
    result = caller.call(ApiKey.PRODUCE, message).responses[0].partition_responses[0]
    assert (result.error_code, result.base_offset, result.log_append_time) == (0, 0, -1)


def fetch(caller: Caller) -> None:
    produce(caller)
    r = m.FetchRequest
    part = r.FetchPartition(partition=0, fetch_offset=0, partition_max_bytes=1 << 20)
    topic = r.FetchTopic(topic=caller.topic, partitions=[part])
    message = r(replica_id=-1, max_wait=0, min_bytes=1, max_bytes=1 << 20, isolation_level=0, topics=[topic])
    result = caller.call(ApiKey.FETCH, message).responses[0].partitions[0]
    assert (result.error_code, result.high_watermark, result.last_stable_offset) == (0, 1, 1)
    assert [record.value for record in iter_records(result.records)] == [b"old"]


def list_offsets(caller: Caller) -> None:
    produce(caller)
    r = m.ListOffsetsRequest
    for timestamp, expected in ((-1, (1, -1)), (-2, (0, -1)), (NOW_MS, (0, NOW_MS)), (NOW_MS + 1, (-1, -1))):
        part = r.ListOffsetsPartition(partition_index=0, timestamp=timestamp)
        message = r(replica_id=-1, topics=[r.ListOffsetsTopic(name=caller.topic, partitions=[part])])
        result = caller.call(ApiKey.LIST_OFFSETS, message).topics[0].partitions[0]
        assert (result.error_code, result.offset, result.timestamp) == (0, *expected)


def metadata(caller: Caller) -> None:
    r = m.MetadataRequest
    topics = caller.call(ApiKey.METADATA, r(topics=[r.MetadataRequestTopic(name=caller.topic)])).topics
    assert [(topic.error_code, topic.name, topic.partitions[0].leader_id) for topic in topics] == [(0, caller.topic, 1)]
    everything = caller.call(ApiKey.METADATA, r(topics=[]))
    assert caller.topic in [topic.name for topic in everything.topics]
    assert len(everything.brokers) == 1


def join(caller: Caller) -> tuple[str, int]:
    """A group of one: (member id, generation)."""
    find_coordinator(caller)
    r = m.JoinGroupRequest
    message = r(
        group_id=caller.name,
        session_timeout=30_000,
        member_id="",
        protocol_type="consumer",
        protocols=[r.JoinGroupRequestProtocol(name="range", metadata=b"opaque")],
    )
    joined = caller.until(ApiKey.JOIN_GROUP, message, lambda answer: answer.error_code)
    assert (joined.error_code, joined.protocol_name, joined.leader) == (0, "range", joined.member_id)
    assert [(member.member_id, member.metadata) for member in joined.members] == [(joined.member_id, b"opaque")]
    r = m.SyncGroupRequest
    message = r(
        group_id=caller.name,
        generation_id=joined.generation_id,
        member_id=joined.member_id,
        assignments=[r.SyncGroupRequestAssignment(member_id=joined.member_id, assignment=b"mine")],
    )
    synced = caller.call(ApiKey.SYNC_GROUP, message)
    assert (synced.error_code, synced.assignment) == (0, b"mine")
    return joined.member_id, joined.generation_id


def heartbeat(caller: Caller) -> None:
    member_id, generation = join(caller)
    message = m.HeartbeatRequest(group_id=caller.name, generation_id=generation, member_id=member_id)
    assert caller.call(ApiKey.HEARTBEAT, message).error_code == 0


def leave_group(caller: Caller) -> None:
    member_id, _ = join(caller)
    message = m.LeaveGroupRequest(group_id=caller.name, member_id=member_id)
    assert caller.call(ApiKey.LEAVE_GROUP, message).error_code == 0
    assert caller.call(ApiKey.LEAVE_GROUP, message).error_code == ErrorCode.UNKNOWN_MEMBER_ID


def offset_commit(caller: Caller) -> None:
    find_coordinator(caller)
    r = m.OffsetCommitRequest
    part = r.OffsetCommitRequestPartition(partition_index=0, committed_offset=5, committed_metadata="note")
    topic = r.OffsetCommitRequestTopic(name=caller.topic, partitions=[part])
    message = r(group_id=caller.name, generation_id_or_member_epoch=-1, member_id="", retention_time=-1, topics=[topic])
    answer = caller.until(ApiKey.OFFSET_COMMIT, message, lambda a: a.topics[0].partitions[0].error_code)
    assert answer.topics[0].partitions[0].error_code == 0


def offset_fetch(caller: Caller) -> None:
    offset_commit(caller)
    r = m.OffsetFetchRequest
    message = r(group_id=caller.name, topics=[r.OffsetFetchRequestTopic(name=caller.topic, partition_indexes=[0, 7])])
    parts = caller.call(ApiKey.OFFSET_FETCH, message).topics[0].partitions
    assert [(part.partition_index, part.committed_offset, part.metadata, part.error_code) for part in parts] == [
        (0, 5, "note", 0),
        (7, -1, "", 0),
    ]


def offset_delete(caller: Caller) -> None:
    offset_commit(caller)
    r = m.OffsetDeleteRequest
    part = r.OffsetDeleteRequestPartition(partition_index=0)
    message = r(group_id=caller.name, topics=[r.OffsetDeleteRequestTopic(name=caller.topic, partitions=[part])])
    answer = caller.call(ApiKey.OFFSET_DELETE, message)
    assert (answer.error_code, answer.topics[0].partitions[0].error_code) == (0, 0)


def describe_groups(caller: Caller) -> None:
    join(caller)
    (group,) = caller.call(ApiKey.DESCRIBE_GROUPS, m.DescribeGroupsRequest(groups=[caller.name])).groups
    assert (group.error_code, group.group_state, len(group.members)) == (0, "Stable", 1)


def list_groups(caller: Caller) -> None:
    join(caller)
    answer = caller.call(ApiKey.LIST_GROUPS, m.ListGroupsRequest())
    assert caller.name in [group.group_id for group in answer.groups]


def delete_groups(caller: Caller) -> None:
    offset_commit(caller)
    (result,) = caller.call(ApiKey.DELETE_GROUPS, m.DeleteGroupsRequest(groups_names=[caller.name])).results
    assert (result.group_id, result.error_code) == (caller.name, 0)


def find_coordinator(caller: Caller) -> None:
    message = m.FindCoordinatorRequest(key=caller.name)
    answer = caller.until(ApiKey.FIND_COORDINATOR, message, lambda answer: answer.error_code)
    assert (answer.error_code, answer.node_id) == (0, 1)


def api_versions(caller: Caller) -> None:
    answer = caller.call(ApiKey.API_VERSIONS, m.ApiVersionsRequest())
    ranges = {api.api_key: (api.min_version, api.max_version) for api in answer.api_keys}
    assert ranges[ApiKey.PRODUCE] == (0, 13)
    assert ranges[ApiKey.FETCH] == (4, 18)


def create_topics(caller: Caller) -> None:
    r = m.CreateTopicsRequest
    topic = r.CreatableTopic(name=caller.name, num_partitions=2, replication_factor=1)
    (result,) = caller.call(ApiKey.CREATE_TOPICS, r(topics=[topic], timeout=10_000)).topics
    assert (result.name, result.error_code) == (caller.name, 0)


def delete_topics(caller: Caller) -> None:
    message = m.DeleteTopicsRequest(topic_names=[caller.topic], timeout=10_000)
    (result,) = caller.call(ApiKey.DELETE_TOPICS, message).responses
    assert (result.name, result.error_code) == (caller.topic, 0)


def create_partitions(caller: Caller) -> None:
    r = m.CreatePartitionsRequest
    topic = r.CreatePartitionsTopic(name=caller.topic, count=3, assignments=None)
    (result,) = caller.call(ApiKey.CREATE_PARTITIONS, r(topics=[topic], timeout=10_000)).results
    assert (result.name, result.error_code) == (caller.topic, 0)


def delete_records(caller: Caller) -> None:
    produce(caller)
    r = m.DeleteRecordsRequest
    part = r.DeleteRecordsPartition(partition_index=0, offset=-1)
    message = r(topics=[r.DeleteRecordsTopic(name=caller.topic, partitions=[part])], timeout=10_000)
    result = caller.call(ApiKey.DELETE_RECORDS, message).topics[0].partitions[0]
    assert (result.error_code, result.low_watermark) == (0, 1)


def offset_for_leader_epoch(caller: Caller) -> None:
    produce(caller)
    r = m.OffsetForLeaderEpochRequest
    part = r.OffsetForLeaderPartition(partition=0, current_leader_epoch=-1, leader_epoch=0)
    message = r(topics=[r.OffsetForLeaderTopic(topic=caller.topic, partitions=[part])])
    result = caller.call(ApiKey.OFFSET_FOR_LEADER_EPOCH, message).topics[0].partitions[0]
    assert (result.error_code, result.leader_epoch, result.end_offset) == (0, 0, 1)


def describe_configs(caller: Caller) -> None:
    r = m.DescribeConfigsRequest
    resource = r.DescribeConfigsResource(
        resource_type=2, resource_name=caller.topic, configuration_keys=["retention.ms"]
    )
    (result,) = caller.call(ApiKey.DESCRIBE_CONFIGS, r(resources=[resource])).results
    assert [(config.name, config.value) for config in result.configs] == [("retention.ms", "604800000")]


def alter_configs(caller: Caller) -> None:
    r = m.AlterConfigsRequest
    config = r.AlterableConfig(name="retention.ms", value="1000")
    resource = r.AlterConfigsResource(resource_type=2, resource_name=caller.topic, configs=[config])
    assert caller.call(ApiKey.ALTER_CONFIGS, r(resources=[resource])).responses[0].error_code == 0


def incremental_alter_configs(caller: Caller) -> None:
    r = m.IncrementalAlterConfigsRequest
    config = r.AlterableConfig(name="retention.ms", config_operation=0, value="1000")
    resource = r.AlterConfigsResource(resource_type=2, resource_name=caller.topic, configs=[config])
    assert caller.call(ApiKey.INCREMENTAL_ALTER_CONFIGS, r(resources=[resource])).responses[0].error_code == 0


def describe_log_dirs(caller: Caller) -> None:
    produce(caller)
    (directory,) = caller.call(ApiKey.DESCRIBE_LOG_DIRS, m.DescribeLogDirsRequest(topics=None)).results
    sizes = {topic.name: topic.partitions[0].partition_size for topic in directory.topics}
    assert sizes[caller.topic] > 0


def producer(caller: Caller, transactional_id: str | None) -> tuple[int, int]:
    if transactional_id is not None:
        # Version 0 knows no kinds of coordinators; whoever has transactions finds theirs with version 1.
        caller.wire.call(ApiKey.FIND_COORDINATOR, 1, m.FindCoordinatorRequest(key=transactional_id, key_type=1))
    message = m.InitProducerIdRequest(transactional_id=transactional_id, transaction_timeout=60_000)
    answer = caller.until(ApiKey.INIT_PRODUCER_ID, message, lambda answer: answer.error_code)
    assert answer.error_code == 0
    return answer.producer_id, answer.producer_epoch


def init_producer_id(caller: Caller) -> None:
    producer_id, epoch = producer(caller, None)
    assert (producer_id >= 0, epoch) == (True, 0)


def transaction(caller: Caller) -> None:
    """The whole life of one: partitions and offsets join it, records are written, it commits."""
    producer_id, epoch = producer(caller, caller.name)
    who = {"transactional_id": caller.name, "producer_id": producer_id, "producer_epoch": epoch}
    r: Any = m.AddPartitionsToTxnRequest
    message = r(
        v3_and_below_transactional_id=caller.name,
        v3_and_below_producer_id=producer_id,
        v3_and_below_producer_epoch=epoch,
        v3_and_below_topics=[r.AddPartitionsToTxnTopic(name=caller.topic, partitions=[0])],
    )
    added = caller.call(ApiKey.ADD_PARTITIONS_TO_TXN, message)
    assert added.results_by_topic_v3_and_below[0].results_by_partition[0].partition_error_code == 0
    message = m.AddOffsetsToTxnRequest(group_id=caller.name, **who)
    assert caller.call(ApiKey.ADD_OFFSETS_TO_TXN, message).error_code == 0
    r = m.ProduceRequest
    records = batch(b"t", producer_id=producer_id, producer_epoch=epoch, base_sequence=0, is_transactional=True)
    topic = r.TopicProduceData(name=caller.topic, partition_data=[r.PartitionProduceData(index=0, records=records)])
    produced = caller.call(ApiKey.PRODUCE, r(transactional_id=caller.name, acks=-1, timeout=10_000, topic_data=[topic]))
    assert produced.responses[0].partition_responses[0].error_code == 0
    r = m.TxnOffsetCommitRequest
    part = r.TxnOffsetCommitRequestPartition(partition_index=0, committed_offset=3, committed_metadata="")
    topic = r.TxnOffsetCommitRequestTopic(name=caller.topic, partitions=[part])
    find_coordinator(caller)
    message = r(group_id=caller.name, topics=[topic], **who)
    committed = caller.until(ApiKey.TXN_OFFSET_COMMIT, message, lambda a: a.topics[0].partitions[0].error_code)
    assert committed.topics[0].partitions[0].error_code == 0
    assert caller.call(ApiKey.END_TXN, m.EndTxnRequest(committed=True, **who)).error_code == 0


def describe_transactions(caller: Caller) -> None:
    producer_id, _ = producer(caller, caller.name)
    message = m.DescribeTransactionsRequest(transactional_ids=[caller.name])
    (state,) = caller.call(ApiKey.DESCRIBE_TRANSACTIONS, message).transaction_states
    assert (state.error_code, state.transaction_state, state.producer_id) == (0, "Empty", producer_id)


def list_transactions(caller: Caller) -> None:
    producer(caller, caller.name)
    answer = caller.call(ApiKey.LIST_TRANSACTIONS, m.ListTransactionsRequest())
    assert caller.name in [state.transactional_id for state in answer.transaction_states]


def write_txn_markers(caller: Caller) -> None:
    r = m.WriteTxnMarkersRequest
    marker = r.WritableTxnMarker(
        producer_id=2**41,
        producer_epoch=0,
        transaction_result=False,
        topics=[r.WritableTxnMarkerTopic(name=caller.topic, partition_indexes=[0])],
        coordinator_epoch=0,
    )
    (result,) = caller.call(ApiKey.WRITE_TXN_MARKERS, r(markers=[marker])).markers
    assert result.topics[0].partitions[0].error_code == 0


def describe_producers(caller: Caller) -> None:
    r = m.DescribeProducersRequest
    message = r(topics=[r.TopicRequest(name=caller.topic, partition_indexes=[0])])
    result = caller.call(ApiKey.DESCRIBE_PRODUCERS, message).topics[0].partitions[0]
    assert (result.error_code, result.active_producers) == (0, [])


def elect_leaders(caller: Caller) -> None:
    r = m.ElectLeadersRequest
    message = r(topic_partitions=[r.TopicPartitions(topic=caller.topic, partitions=[0])], timeout=1_000)
    (result,) = caller.call(ApiKey.ELECT_LEADERS, message).replica_election_results
    assert result.partition_result[0].error_code == ErrorCode.ELECTION_NOT_NEEDED


def alter_partition_reassignments(caller: Caller) -> None:
    r = m.AlterPartitionReassignmentsRequest
    partition = r.ReassignablePartition(partition_index=0, replicas=None)
    message = r(topics=[r.ReassignableTopic(name=caller.topic, partitions=[partition])], timeout=5_000)
    (topic,) = caller.call(ApiKey.ALTER_PARTITION_REASSIGNMENTS, message).responses
    assert topic.partitions[0].error_code == ErrorCode.NO_REASSIGNMENT_IN_PROGRESS


def update_features(caller: Caller) -> None:
    r = m.UpdateFeaturesRequest
    update = r.FeatureUpdateKey(feature="transaction.version", max_version_level=2, allow_downgrade=False)
    (result,) = caller.call(ApiKey.UPDATE_FEATURES, r(feature_updates=[update], timeout=5_000)).results
    assert result.error_code == 0


def unregister_broker(caller: Caller) -> None:
    answer = caller.call(ApiKey.UNREGISTER_BROKER, m.UnregisterBrokerRequest(broker_id=77))
    assert answer.error_code == ErrorCode.BROKER_ID_NOT_REGISTERED


def list_partition_reassignments(caller: Caller) -> None:
    answer = caller.call(ApiKey.LIST_PARTITION_REASSIGNMENTS, m.ListPartitionReassignmentsRequest(topics=None))
    assert (answer.error_code, answer.topics) == (0, [])


def describe_cluster(caller: Caller) -> None:
    answer = caller.call(ApiKey.DESCRIBE_CLUSTER, m.DescribeClusterRequest())
    assert [broker.broker_id for broker in answer.brokers] == [1]


def describe_topic_partitions(caller: Caller) -> None:
    r = m.DescribeTopicPartitionsRequest
    message = r(topics=[r.TopicRequest(name=caller.topic)], response_partition_limit=10, cursor=None)
    (topic,) = caller.call(ApiKey.DESCRIBE_TOPIC_PARTITIONS, message).topics
    assert (topic.error_code, topic.name, len(topic.partitions)) == (0, caller.topic, 1)


def list_config_resources(caller: Caller) -> None:
    answer = caller.call(ApiKey.LIST_CONFIG_RESOURCES, m.ListConfigResourcesRequest())
    assert answer.error_code == 0


def push_telemetry(caller: Caller) -> None:
    told = caller.call(ApiKey.GET_TELEMETRY_SUBSCRIPTIONS, m.GetTelemetrySubscriptionsRequest())
    assert (told.error_code, told.client_instance_id != bytes(16)) == (0, True)
    message = m.PushTelemetryRequest(
        client_instance_id=told.client_instance_id, subscription_id=told.subscription_id, terminating=True
    )
    assert caller.call(ApiKey.PUSH_TELEMETRY, message).error_code == 0


def consumer_group_heartbeat(caller: Caller) -> None:
    find_coordinator(caller)
    message = m.ConsumerGroupHeartbeatRequest(
        group_id=caller.name,
        member_epoch=0,
        rebalance_timeout=5_000,
        subscribed_topic_names=[caller.topic],
        topic_partitions=[],
    )
    joined = caller.until(CONSUMER_GROUP_HEARTBEAT, message, lambda answer: answer.error_code)
    assert (joined.error_code, bool(joined.member_id), joined.member_epoch > 0) == (0, True, True)


def consumer_group_describe(caller: Caller) -> None:
    consumer_group_heartbeat(caller)
    message = m.ConsumerGroupDescribeRequest(group_ids=[caller.name])
    (group,) = caller.call(ApiKey.CONSUMER_GROUP_DESCRIBE, message).groups
    assert (group.error_code, len(group.members)) == (0, 1)


STORIES: dict[str, Story] = {
    "PRODUCE": produce,
    "FETCH": fetch,
    "LIST_OFFSETS": list_offsets,
    "METADATA": metadata,
    "OFFSET_COMMIT": offset_commit,
    "OFFSET_FETCH": offset_fetch,
    "FIND_COORDINATOR": find_coordinator,
    "JOIN_GROUP": heartbeat,
    "HEARTBEAT": heartbeat,
    "LEAVE_GROUP": leave_group,
    "SYNC_GROUP": heartbeat,
    "DESCRIBE_GROUPS": describe_groups,
    "LIST_GROUPS": list_groups,
    "API_VERSIONS": api_versions,
    "CREATE_TOPICS": create_topics,
    "DELETE_TOPICS": delete_topics,
    "DELETE_RECORDS": delete_records,
    "INIT_PRODUCER_ID": init_producer_id,
    "OFFSET_FOR_LEADER_EPOCH": offset_for_leader_epoch,
    "ADD_PARTITIONS_TO_TXN": transaction,
    "ADD_OFFSETS_TO_TXN": transaction,
    "END_TXN": transaction,
    "WRITE_TXN_MARKERS": write_txn_markers,
    "TXN_OFFSET_COMMIT": transaction,
    "DESCRIBE_CONFIGS": describe_configs,
    "ALTER_CONFIGS": alter_configs,
    "DESCRIBE_LOG_DIRS": describe_log_dirs,
    "CREATE_PARTITIONS": create_partitions,
    "DELETE_GROUPS": delete_groups,
    "ELECT_LEADERS": elect_leaders,
    "INCREMENTAL_ALTER_CONFIGS": incremental_alter_configs,
    "ALTER_PARTITION_REASSIGNMENTS": alter_partition_reassignments,
    "LIST_PARTITION_REASSIGNMENTS": list_partition_reassignments,
    "UPDATE_FEATURES": update_features,
    "UNREGISTER_BROKER": unregister_broker,
    "OFFSET_DELETE": offset_delete,
    "DESCRIBE_CLUSTER": describe_cluster,
    "DESCRIBE_PRODUCERS": describe_producers,
    "DESCRIBE_TRANSACTIONS": describe_transactions,
    "LIST_TRANSACTIONS": list_transactions,
    "CONSUMER_GROUP_HEARTBEAT": consumer_group_heartbeat,
    "CONSUMER_GROUP_DESCRIBE": consumer_group_describe,
    "GET_TELEMETRY_SUBSCRIPTIONS": push_telemetry,
    "PUSH_TELEMETRY": push_telemetry,
    "LIST_CONFIG_RESOURCES": list_config_resources,
    "DESCRIBE_TOPIC_PARTITIONS": describe_topic_partitions,
}
"""What a client of the oldest version does with each API; a new API brings its story along."""

PUBLIC = [spec for spec in SERVED.values() if not spec.internal]


@pytest.mark.parametrize("spec", PUBLIC, ids=lambda spec: spec.name)
def test_the_oldest_version_works_without_asking_for_versions_first(caller: Caller, spec: Any) -> None:
    STORIES[ApiKey(spec.key).name](caller)


CLOSING = [spec for spec in PUBLIC if spec.key != ApiKey.API_VERSIONS]
"""ApiVersions is the one that answers a version it does not know."""


@pytest.mark.parametrize("spec", CLOSING, ids=lambda spec: spec.name)
def test_versions_beside_the_range_end_the_connection(broker_process: Any, spec: Any) -> None:
    for version in {spec.min_version - 1, spec.max_version + 1} - {-1}:
        with Wire(broker_process.port) as wire:
            head = spec.key.to_bytes(2, "big") + version.to_bytes(2, "big") + bytes(4) + b"\xff\xff"
            wire.send((len(head) + 20).to_bytes(4, "big") + head + bytes(20))
            assert wire.closed_by_broker()


@pytest.mark.parametrize("key", [4, 5, 6, 7, 17, 45, 48, 52, 56, 57, 78, 1_000, 10_000, 32_767])
def test_apis_that_are_not_served_end_the_connection(wire: Wire, key: int) -> None:
    head = key.to_bytes(2, "big") + bytes(2) + bytes(4) + b"\xff\xff"
    wire.send((len(head) + 20).to_bytes(4, "big") + head + bytes(20))
    assert wire.closed_by_broker()
