"""Admin calls about where partitions are and who leads them: reassignments (KIP-455) and elections (KIP-460).

A call about many partitions has an outcome per partition; one that is refused does not stop its neighbours. What is refused as a
whole (not the controller, no such API) raises.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from broker.client.errors import error_code, raise_for_code
from broker.client.results import PlacementOutcome, Reassignment
from broker.client.router import Router
from broker.errors import ErrorCode
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import TopicPartition

PREFERRED, UNCLEAN = 0, 1


class PlacementClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def reassign(
        self, targets: Mapping[TopicPartition, Sequence[int] | None]
    ) -> dict[TopicPartition, PlacementOutcome]:
        """Begin to move each partition to the replicas given, the preferred leader first; ``None`` cancels its move."""
        by_topic: dict[str, list[Any]] = {}
        for (topic, partition), replicas in targets.items():
            by_topic.setdefault(topic, []).append(
                m.AlterPartitionReassignmentsRequest.ReassignablePartition(
                    partition_index=partition, replicas=None if replicas is None else list(replicas)
                )
            )
        request = m.AlterPartitionReassignmentsRequest(
            timeout=self._timeout_ms,
            topics=[
                m.AlterPartitionReassignmentsRequest.ReassignableTopic(name=topic, partitions=partitions)
                for topic, partitions in by_topic.items()
            ],
        )
        response = await self._on_controller(ApiKey.ALTER_PARTITION_REASSIGNMENTS, request)
        return {
            TopicPartition(topic.name, one.partition_index): PlacementOutcome(
                error=error_code(one.error_code), message=one.error_message or ""
            )
            for topic in response.responses
            for one in topic.partitions
        }

    async def reassignments(self) -> dict[TopicPartition, Reassignment]:
        """All that are under way."""
        request = m.ListPartitionReassignmentsRequest(timeout=self._timeout_ms, topics=None)
        response = await self._on_controller(ApiKey.LIST_PARTITION_REASSIGNMENTS, request)
        return {
            TopicPartition(topic.name, one.partition_index): Reassignment(
                replicas=tuple(one.replicas), adding=tuple(one.adding_replicas), removing=tuple(one.removing_replicas)
            )
            for topic in response.topics
            for one in topic.partitions
        }

    async def elect_leaders(
        self, partitions: Iterable[TopicPartition] | None, *, unclean: bool = False
    ) -> dict[TopicPartition, PlacementOutcome]:
        """Have the preferred replica lead (``unclean``: any that is left, at the price of records). ``None``: all that need it."""
        named: list[Any] | None = None
        if partitions is not None:
            by_topic: dict[str, list[int]] = {}
            for topic, partition in partitions:
                by_topic.setdefault(topic, []).append(partition)
            named = [
                m.ElectLeadersRequest.TopicPartitions(topic=topic, partitions=numbers)
                for topic, numbers in by_topic.items()
            ]
        request = m.ElectLeadersRequest(
            election_type=UNCLEAN if unclean else PREFERRED, topic_partitions=named, timeout=self._timeout_ms
        )
        response = await self._on_controller(ApiKey.ELECT_LEADERS, request)
        return {
            TopicPartition(topic.topic, one.partition_id): PlacementOutcome(
                error=error_code(one.error_code), message=one.error_message or ""
            )
            for topic in response.replica_election_results
            for one in topic.partition_result
        }

    async def log_sizes(self, broker_id: int) -> dict[TopicPartition, int]:
        """Bytes of each replica a broker keeps."""
        request = m.DescribeLogDirsRequest(topics=None)
        response = await self._router.call_broker(broker_id, ApiKey.DESCRIBE_LOG_DIRS, request, repeatable=True)
        return {
            TopicPartition(topic.name, one.partition_index): one.partition_size
            for directory in response.results
            for topic in directory.topics
            for one in topic.partitions
            if not one.is_future_key
        }

    async def unregister_broker(self, broker_id: int) -> None:
        """Have a broker forgotten that keeps nothing any more."""
        await self._on_controller(ApiKey.UNREGISTER_BROKER, m.UnregisterBrokerRequest(broker_id=broker_id))

    @property
    def _timeout_ms(self) -> int:
        return int(self._router.request_timeout_seconds * 1000)

    async def _on_controller(self, api_key: int, request: Any) -> Any:
        """A lost answer is not asked for again: it may have acted."""

        async def attempt() -> Any:
            controller = await self._router.controller_id()
            response = await self._router.call_broker(controller, api_key, request, repeatable=False)
            if getattr(response, "error_code", ErrorCode.NONE):
                raise_for_code(response.error_code, getattr(response, "error_message", None))
            return response

        return await self._router.until_routed(attempt)
