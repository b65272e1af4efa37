"""Admin calls about topics, their partitions, records and producers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.client.errors import error_code, raise_for_code
from broker.client.results import CreatedTopic, DeletedRecords, ListedOffset, ProducerDescription
from broker.client.router import Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import ZERO_TOPIC_ID, format_topic_id

EARLIEST = -2
LATEST = -1
MAX_TIMESTAMP = -3


class TopicsClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def create(
        self,
        name: str,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
        *,
        validate_only: bool = False,
    ) -> CreatedTopic:
        """Create a topic; -1 leaves the number to the broker's defaults."""
        topic = m.CreateTopicsRequest.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replication_factor,
            assignments=[],
            configs=[
                m.CreateTopicsRequest.CreatableTopicConfig(name=key, value=value)
                for key, value in (configs or {}).items()
            ],
        )
        request = m.CreateTopicsRequest(topics=[topic], timeout=self._timeout_ms, validate_only=validate_only)
        result = await self._on_controller(ApiKey.CREATE_TOPICS, request, "topics", name)
        return CreatedTopic(
            name=name,
            topic_id="" if result.topic_id == ZERO_TOPIC_ID else format_topic_id(result.topic_id),
            partition_count=result.num_partitions,
            replication_factor=result.replication_factor,
        )

    async def delete(self, name: str) -> None:
        request = m.DeleteTopicsRequest(topic_names=[name], timeout=self._timeout_ms)
        await self._on_controller(ApiKey.DELETE_TOPICS, request, "responses", name)
        self._router.forget_topic(name)

    async def create_partitions(self, name: str, total: int, *, validate_only: bool = False) -> None:
        """Grow a topic to ``total`` partitions."""
        request = m.CreatePartitionsRequest(
            topics=[m.CreatePartitionsRequest.CreatePartitionsTopic(name=name, count=total, assignments=None)],
            timeout=self._timeout_ms,
            validate_only=validate_only,
        )
        await self._on_controller(ApiKey.CREATE_PARTITIONS, request, "results", name)
        self._router.forget_topic(name)

    async def list_offsets(
        self, name: str, positions: Mapping[int, int], *, read_committed: bool = False
    ) -> dict[int, ListedOffset]:
        """Offsets by position per partition: EARLIEST, LATEST, MAX_TIMESTAMP or a time in ms."""

        async def attempt() -> dict[int, ListedOffset]:
            found: dict[int, ListedOffset] = {}
            for leader, partitions in (await self._router.leaders(name, positions)).items():
                topic = m.ListOffsetsRequest.ListOffsetsTopic(
                    name=name,
                    partitions=[
                        m.ListOffsetsRequest.ListOffsetsPartition(
                            partition_index=partition, current_leader_epoch=-1, timestamp=positions[partition]
                        )
                        for partition in partitions
                    ],
                )
                request = m.ListOffsetsRequest(
                    replica_id=-1,
                    isolation_level=int(read_committed),
                    topics=[topic],
                    timeout=self._timeout_ms,
                )
                response = await self._router.call_broker(leader, ApiKey.LIST_OFFSETS, request, repeatable=True)
                for partition in _only(response.topics, name).partitions:
                    _raise_for_partition(name, partition.partition_index, partition.error_code)
                    found[partition.partition_index] = ListedOffset(
                        partition=partition.partition_index,
                        offset=partition.offset,
                        timestamp_ms=partition.timestamp,
                        leader_epoch=partition.leader_epoch,
                    )
            return found

        return await self._router.until_routed(attempt, topic=name)

    async def delete_records(self, name: str, offsets: Mapping[int, int]) -> dict[int, DeletedRecords]:
        """Move the log start of each partition to ``offset`` (-1: the high watermark)."""

        async def attempt() -> dict[int, DeletedRecords]:
            outcome: dict[int, DeletedRecords] = {}
            for leader, partitions in (await self._router.leaders(name, offsets)).items():
                topic = m.DeleteRecordsRequest.DeleteRecordsTopic(
                    name=name,
                    partitions=[
                        m.DeleteRecordsRequest.DeleteRecordsPartition(partition_index=p, offset=offsets[p])
                        for p in partitions
                    ],
                )
                request = m.DeleteRecordsRequest(topics=[topic], timeout=self._timeout_ms)
                response = await self._router.call_broker(leader, ApiKey.DELETE_RECORDS, request, repeatable=True)
                for partition in _only(response.topics, name).partitions:
                    outcome[partition.partition_index] = DeletedRecords(
                        partition=partition.partition_index,
                        log_start_offset=partition.low_watermark,
                        error=error_code(partition.error_code),
                    )
            return outcome

        return await self._router.until_routed(attempt, topic=name)

    async def describe_producers(self, name: str) -> list[ProducerDescription]:
        """The producers with state in each partition; raises the first partition error."""

        async def attempt() -> list[ProducerDescription]:
            count = len((await self._router.topic(name)).partitions)
            producers: list[ProducerDescription] = []
            for leader, partitions in (await self._router.leaders(name, range(count))).items():
                request = m.DescribeProducersRequest(
                    topics=[m.DescribeProducersRequest.TopicRequest(name=name, partition_indexes=partitions)]
                )
                response = await self._router.call_broker(leader, ApiKey.DESCRIBE_PRODUCERS, request, repeatable=True)
                for partition in _only(response.topics, name).partitions:
                    raise_for_code(partition.error_code, partition.error_message)
                    producers.extend(
                        ProducerDescription(
                            partition=partition.partition_index,
                            producer_id=producer.producer_id,
                            producer_epoch=producer.producer_epoch,
                            last_sequence=producer.last_sequence,
                            last_timestamp_ms=producer.last_timestamp,
                            coordinator_epoch=producer.coordinator_epoch,
                            transaction_start_offset=producer.current_txn_start_offset,
                        )
                        for producer in partition.active_producers
                    )
            return sorted(producers, key=lambda producer: (producer.partition, producer.producer_id))

        return await self._router.until_routed(attempt, topic=name)

    @property
    def _timeout_ms(self) -> int:
        return int(self._router.request_timeout_seconds * 1000)

    async def _on_controller(self, api_key: int, request: Any, results: str, name: str) -> Any:
        """Make a change and return its single result. A lost answer is not asked for again: it may have acted."""

        async def attempt() -> Any:
            controller = await self._router.controller_id()
            response = await self._router.call_broker(controller, api_key, request, repeatable=False)
            result = _only(getattr(response, results), name)
            raise_for_code(result.error_code, result.error_message)
            return result

        return await self._router.until_routed(attempt)


def _only(results: Sequence[Any], name: str) -> Any:
    """The one result of a call about one topic; a broker that answers about something else is at fault."""
    result = next((result for result in results if result.name == name), None)
    if result is None:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {name!r}")
    return result


def _raise_for_partition(topic: str, partition: int, code: int) -> None:
    raise_for_code(code, f"{topic}-{partition}: {error_code(code).message}")
