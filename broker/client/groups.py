"""Admin calls about consumer groups. Each is routed to the group's coordinator."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from typing import Any

from broker.client.assignment import CONSUMER_PROTOCOL, read_assignment
from broker.client.errors import error_code, raise_for_code
from broker.client.results import CommittedOffset, GroupDescription, GroupListing, GroupMember
from broker.client.router import MISROUTED, Router
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.types import NO_EPOCH, TopicPartition

NO_GENERATION = -1
"""The generation of a commit by nobody: brokers take it only while the group has no members."""

_MEMBER_PROTOCOLS = {0: "classic", 1: "consumer"}
"""By ``MemberType`` of ConsumerGroupDescribe v1."""

DEAD = "Dead"
"""The state of a group that does not exist, before DescribeGroups v6 made it an error."""


class GroupsClient:
    def __init__(self, router: Router) -> None:
        self._router = router

    async def list_all(self) -> list[GroupListing]:
        """Every group of every broker, by id. A broker that is still loading its groups fails the call."""

        async def attempt() -> list[GroupListing]:
            broker_ids = await self._router.broker_ids()
            request = m.ListGroupsRequest(states_filter=[], types_filter=[])
            answers = await asyncio.gather(
                *(
                    self._router.call_broker(broker_id, ApiKey.LIST_GROUPS, request, repeatable=True)
                    for broker_id in broker_ids
                )
            )
            found: dict[str, GroupListing] = {}
            for answer in answers:
                raise_for_code(answer.error_code)
                for group in answer.groups:
                    found[group.group_id] = GroupListing(
                        group_id=group.group_id,
                        protocol_type=group.protocol_type,
                        state=group.group_state or "",
                        type=group.group_type or "",
                    )
            return [found[group_id] for group_id in sorted(found)]

        return await self._router.until_routed(attempt)

    async def describe(self, group_ids: Iterable[str]) -> dict[str, GroupDescription]:
        """Descriptions by id; a group that cannot be described carries its error."""
        return {group_id: await self._describe(group_id) for group_id in dict.fromkeys(group_ids)}

    async def describe_one(self, group_id: str) -> GroupDescription:
        description = await self._describe(group_id)
        raise_for_code(description.error, description.error_message)
        return description

    async def _describe(self, group_id: str) -> GroupDescription:
        request = m.DescribeGroupsRequest(groups=[group_id], include_authorized_operations=False)

        async def attempt() -> GroupDescription:
            coordinator = await self._router.coordinator_id(group_id)
            response = await self._router.call_broker(coordinator, ApiKey.DESCRIBE_GROUPS, request, repeatable=True)
            group = _only(response.groups, group_id)
            if error_code(group.error_code).retriable:
                raise_for_code(group.error_code)
            classic = _read_group(group, coordinator)
            if classic.error is ErrorCode.GROUP_ID_NOT_FOUND or classic.state == DEAD:
                return await self._describe_modern(group_id, coordinator) or classic
            return classic

        return await self._router.until_routed(attempt)

    async def _describe_modern(self, group_id: str, coordinator: int) -> GroupDescription | None:
        """A group of the protocol of KIP-848, which DescribeGroups does not know; ``None`` if it is none."""
        request = m.ConsumerGroupDescribeRequest(group_ids=[group_id], include_authorized_operations=False)
        try:
            response = await self._router.call_broker(
                coordinator, ApiKey.CONSUMER_GROUP_DESCRIBE, request, repeatable=True
            )
        except KafkaError as error:
            if error.code is ErrorCode.UNSUPPORTED_VERSION:
                return None
            raise
        group = _only(response.groups, group_id)
        if error_code(group.error_code) is ErrorCode.GROUP_ID_NOT_FOUND:
            return None
        raise_for_code(group.error_code, group.error_message)
        return _read_modern_group(group, coordinator)

    async def offsets(self, group_id: str) -> list[CommittedOffset]:
        """Everything the group has committed, by topic and partition."""

        async def attempt() -> list[CommittedOffset]:
            coordinator = await self._router.coordinator_id(group_id)
            response = await self._router.call_broker(
                coordinator, ApiKey.OFFSET_FETCH, _offset_fetch_request(group_id), repeatable=True
            )
            return _read_offsets(response, group_id)

        return await self._router.until_routed(attempt)

    async def delete(self, group_id: str) -> None:
        request = m.DeleteGroupsRequest(groups_names=[group_id])

        async def attempt() -> None:
            coordinator = await self._router.coordinator_id(group_id)
            response = await self._router.call_broker(coordinator, ApiKey.DELETE_GROUPS, request, repeatable=False)
            raise_for_code(_only(response.results, group_id).error_code)

        await self._router.until_routed(attempt)

    async def commit_offsets(
        self, group_id: str, offsets: Mapping[TopicPartition, int]
    ) -> dict[TopicPartition, ErrorCode]:
        """Set where a group without members goes on, as nobody's commit; an outcome per partition.

        While the group has members every partition is refused with UNKNOWN_MEMBER_ID. A group that does not exist
        comes into being.
        """
        commit = m.OffsetCommitRequest
        request = commit(
            group_id=group_id,
            generation_id_or_member_epoch=NO_GENERATION,
            member_id="",
            group_instance_id=None,
            retention_time=-1,
            topics=[
                commit.OffsetCommitRequestTopic(
                    name=topic,
                    partitions=[
                        commit.OffsetCommitRequestPartition(
                            partition_index=partition,
                            committed_offset=offset,
                            committed_leader_epoch=NO_EPOCH,
                            committed_metadata="",
                        )
                        for partition, offset in sorted(partitions.items())
                    ],
                )
                for topic, partitions in _by_topic(offsets).items()
            ],
        )

        async def attempt() -> dict[TopicPartition, ErrorCode]:
            coordinator = await self._router.coordinator_id(group_id)
            # The same offsets again are the same offsets: a lost answer may be asked for again.
            response = await self._router.call_broker(coordinator, ApiKey.OFFSET_COMMIT, request, repeatable=True)
            return _outcomes(response, offsets)

        return await self._router.until_routed(attempt)

    async def delete_offsets(
        self, group_id: str, partitions: Iterable[TopicPartition]
    ) -> dict[TopicPartition, ErrorCode]:
        """Forget what the group has committed for these partitions; an outcome per partition.

        Raises what concerns the whole group: GROUP_ID_NOT_FOUND, NON_EMPTY_GROUP.
        """
        wanted = dict.fromkeys(partitions, 0)
        delete = m.OffsetDeleteRequest
        request = delete(
            group_id=group_id,
            topics=[
                delete.OffsetDeleteRequestTopic(
                    name=topic,
                    partitions=[
                        delete.OffsetDeleteRequestPartition(partition_index=partition) for partition in sorted(found)
                    ],
                )
                for topic, found in _by_topic(wanted).items()
            ],
        )

        async def attempt() -> dict[TopicPartition, ErrorCode]:
            coordinator = await self._router.coordinator_id(group_id)
            response = await self._router.call_broker(coordinator, ApiKey.OFFSET_DELETE, request, repeatable=False)
            raise_for_code(response.error_code)
            return _outcomes(response, wanted)

        return await self._router.until_routed(attempt)


def _by_topic(offsets: Mapping[TopicPartition, int]) -> dict[str, dict[int, int]]:
    grouped: dict[str, dict[int, int]] = {}
    for (topic, partition), offset in sorted(offsets.items()):
        grouped.setdefault(topic, {})[partition] = offset
    return grouped


def _outcomes(response: Any, asked: Iterable[TopicPartition]) -> dict[TopicPartition, ErrorCode]:
    """An error per partition asked about; raises when all answers say "wrong coordinator"."""
    told = {
        TopicPartition(topic.name, partition.partition_index): error_code(partition.error_code)
        for topic in response.topics
        for partition in topic.partitions
    }
    for code in told.values():
        if code in MISROUTED:
            raise KafkaError(code)
    return {partition: told.get(partition, ErrorCode.UNKNOWN_SERVER_ERROR) for partition in asked}


def _only(results: list[Any], group_id: str) -> Any:
    result = next((result for result in results if result.group_id == group_id), None)
    if result is None:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, f"the broker's answer does not mention {group_id!r}")
    return result


def _read_group(group: Any, coordinator: int) -> GroupDescription:
    is_consumer = group.protocol_type == CONSUMER_PROTOCOL
    return GroupDescription(
        group_id=group.group_id,
        state=group.group_state,
        protocol_type=group.protocol_type,
        protocol=group.protocol_data,
        coordinator=coordinator,
        members=tuple(
            GroupMember(
                member_id=member.member_id,
                instance_id=member.group_instance_id,
                client_id=member.client_id,
                host=member.client_host,
                assignment=read_assignment(member.member_assignment) if is_consumer else (),
            )
            for member in group.members
        ),
        error=error_code(group.error_code),
        error_message=group.error_message or error_code(group.error_code).message,
    )


def _read_modern_group(group: Any, coordinator: int) -> GroupDescription:
    return GroupDescription(
        group_id=group.group_id,
        state=group.group_state,
        protocol_type=CONSUMER_PROTOCOL,
        protocol=group.assignor_name,
        coordinator=coordinator,
        type="consumer",
        epoch=group.group_epoch,
        assignment_epoch=group.assignment_epoch,
        members=tuple(
            GroupMember(
                member_id=member.member_id,
                instance_id=member.instance_id,
                client_id=member.client_id,
                host=member.client_host,
                assignment=_partitions(member.assignment),
                protocol=_MEMBER_PROTOCOLS.get(member.member_type, ""),
                epoch=member.member_epoch,
                target=_partitions(member.target_assignment),
                topics=tuple(sorted(member.subscribed_topic_names)),
                topic_regex=member.subscribed_topic_regex or "",
                rack=member.rack_id or "",
            )
            for member in group.members
        ),
    )


def _partitions(assignment: Any) -> tuple[TopicPartition, ...]:
    return tuple(
        sorted(
            TopicPartition(topic.topic_name, partition)
            for topic in assignment.topic_partitions
            for partition in topic.partitions
        )
    )


def _offset_fetch_request(group_id: str) -> Any:
    """One message for all versions: up to 7 the group stands at the top, from 8 in a list. Null topics = all."""
    return m.OffsetFetchRequest(
        group_id=group_id,
        topics=None,
        groups=[m.OffsetFetchRequest.OffsetFetchRequestGroup(group_id=group_id, topics=None)],
        require_stable=False,
    )


def _read_offsets(response: Any, group_id: str) -> list[CommittedOffset]:
    raise_for_code(response.error_code or 0)
    topics = response.topics or []
    if response.groups:
        group = _only(response.groups, group_id)
        raise_for_code(group.error_code)
        topics = group.topics
    found = []
    for topic in topics:
        for partition in topic.partitions:
            raise_for_code(partition.error_code)
            if partition.committed_offset >= 0:
                found.append(
                    CommittedOffset(
                        topic=topic.name,
                        partition=partition.partition_index,
                        offset=partition.committed_offset,
                        leader_epoch=partition.committed_leader_epoch,
                        metadata=partition.metadata or "",
                    )
                )
    return sorted(found, key=lambda offset: (offset.topic, offset.partition))
