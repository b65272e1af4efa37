"""Topics and records for tests that speak to a broker with plain frames."""

from __future__ import annotations

import itertools

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.records import Record, build_batch
from tests.support.wire import Wire

_numbers = itertools.count()
NOW_MS = 1_700_000_000_000


def create_topic(wire: Wire, *, partitions: int = 1, replication_factor: int = 1, **configs: str) -> str:
    """A topic no other test uses; ``max_message_bytes="100"`` is ``max.message.bytes``."""
    name = f"t{next(_numbers)}"
    request = m.CreateTopicsRequest
    answer = wire.call(
        ApiKey.CREATE_TOPICS,
        5,
        request(
            timeout=10_000,
            topics=[
                request.CreatableTopic(
                    name=name,
                    num_partitions=partitions,
                    replication_factor=replication_factor,
                    configs=[
                        request.CreatableTopicConfig(name=key.replace("_", "."), value=value)
                        for key, value in configs.items()
                    ],
                )
            ],
        ),
    )
    assert answer.topics[0].error_code == 0, answer
    return name


def topic_id_of(wire: Wire, topic: str) -> bytes:
    request = m.MetadataRequest
    answer = wire.call(ApiKey.METADATA, 12, request(topics=[request.MetadataRequestTopic(name=topic)]))
    return answer.topics[0].topic_id


def leader_epoch_of(wire: Wire, topic: str) -> int:
    r = m.MetadataRequest
    answer = wire.call(ApiKey.METADATA, 9, r(topics=[r.MetadataRequestTopic(name=topic)]))
    return answer.topics[0].partitions[0].leader_epoch


def delete_topic(wire: Wire, topic: str) -> None:
    answer = wire.call(ApiKey.DELETE_TOPICS, 5, m.DeleteTopicsRequest(topic_names=[topic], timeout=10_000))
    assert answer.responses[0].error_code == 0


def set_topic_config(wire: Wire, topic: str, name: str, value: str) -> None:
    r = m.IncrementalAlterConfigsRequest
    config = r.AlterableConfig(name=name, config_operation=0, value=value)
    resource = r.AlterConfigsResource(resource_type=2, resource_name=topic, configs=[config])
    answer = wire.call(ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, r(resources=[resource]))
    assert answer.responses[0].error_code == 0, answer


def batch(*values: bytes, timestamp: int = NOW_MS, key: bytes | None = None, **fields) -> bytes:
    """One record batch; record N has timestamp ``timestamp + N``."""
    records = [
        Record(offset=index, timestamp=timestamp + index, key=key, value=value, headers=[])
        for index, value in enumerate(values)
    ]
    return bytes(build_batch(records, **fields))


def produce_request(parts, *, acks: int = -1, timeout_ms: int = 10_000, transactional_id: str | None = None):
    """``parts``: {(topic name or id, partition): records}."""
    r = m.ProduceRequest
    return r(
        transactional_id=transactional_id,
        acks=acks,
        timeout=timeout_ms,
        topic_data=[
            r.TopicProduceData(
                **({"topic_id": topic} if isinstance(topic, bytes) else {"name": topic}),
                partition_data=[r.PartitionProduceData(index=index, records=records)],
            )
            for (topic, index), records in parts.items()
        ],
    )


def produce(wire: Wire, topic: str | bytes, records: bytes | None, *, partition: int = 0, version: int = 9, **options):
    """The result of one partition."""
    answer = wire.call(ApiKey.PRODUCE, version, produce_request({(topic, partition): records}, **options))
    return answer.responses[0].partition_responses[0]


def fetch_request(topic: str | bytes, offset: int = 0, *, partition: int = 0, max_bytes: int = 1 << 20, **fields):
    r = m.FetchRequest
    partition_fields = {
        name: fields.pop(name) for name in ("current_leader_epoch", "last_fetched_epoch") if name in fields
    }
    fields.setdefault("max_wait", 0)
    fields.setdefault("min_bytes", 1)
    fields.setdefault("max_bytes", 50 << 20)
    fields.setdefault("session_epoch", -1)
    name = {"topic_id": topic} if isinstance(topic, bytes) else {"topic": topic}
    entry = r.FetchPartition(
        partition=partition, fetch_offset=offset, partition_max_bytes=max_bytes, **partition_fields
    )
    return r(topics=[r.FetchTopic(**name, partitions=[entry])], **fields)


def fetch(wire: Wire, topic: str | bytes, offset: int = 0, *, version: int = 12, **fields):
    """The result of one partition."""
    answer = wire.call(ApiKey.FETCH, version, fetch_request(topic, offset, **fields))
    assert answer.error_code == 0
    return answer.responses[0].partitions[0]
