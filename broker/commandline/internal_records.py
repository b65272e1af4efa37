"""The records of Kafka's internal topics in words, for ``dump_log --offsets-decoder`` and ``--transaction-log-decoder``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from broker.client.assignment import CONSUMER_PROTOCOL, read_assignment
from broker.coordination.primitives import MalformedRecord
from broker.groups.consumer.records import (
    MEMBER_STATES,
    ConsumerRecord,
    CurrentAssignment,
    CurrentRecord,
    GroupEpoch,
    GroupEpochRecord,
    MemberMetadata,
    MemberRecord,
    PartitionMetadataRecord,
    RegexRecord,
    ResolvedRegex,
    TargetEpoch,
    TargetEpochRecord,
    TargetRecord,
)
from broker.groups.records import GroupRecord, MemberValue, OffsetRecord, decode_record
from broker.transactions.records import decode_record as decode_transaction
from broker.types import TopicId, format_topic_id

Row = dict[str, Any]


def decode_offsets_record(key: bytes | None, value: bytes | None) -> Row:
    """What a record of ``__consumer_offsets`` says; ``record`` tells which kind it is. Never raises."""
    try:
        found = decode_record(key, value)
    except MalformedRecord as error:
        return {"record": "malformed", "reason": str(error)}
    if found is None:
        return {"record": "of another group protocol"}
    if isinstance(found, GroupRecord):
        return {"record": "group", "group": found.group_id, **_group(found)}
    if not isinstance(found, OffsetRecord):
        return {"record": _KINDS[type(found)], "group": found.group_id, **_consumer(found)}
    committed = found.value
    return {
        "record": "offset",
        "group": found.group_id,
        "topic": found.topic,
        "partition": found.partition,
        "deleted": committed is None,
        "committedOffset": None if committed is None else committed.offset,
        "leaderEpoch": None if committed is None else committed.leader_epoch,
        "metadata": None if committed is None else committed.metadata,
        "commitTimestamp": None if committed is None else committed.commit_timestamp_ms,
    }


_KINDS: dict[type, str] = {
    GroupEpochRecord: "consumer group",
    PartitionMetadataRecord: "consumer group partition metadata",
    MemberRecord: "consumer group member",
    TargetEpochRecord: "consumer group target epoch",
    TargetRecord: "consumer group target",
    CurrentRecord: "consumer group assignment",
    RegexRecord: "consumer group regular expression",
}


def _consumer(found: ConsumerRecord) -> Row:
    match found:
        case PartitionMetadataRecord(present=present):
            return {"deleted": not present}
        case MemberRecord(member_id=member_id) | TargetRecord(member_id=member_id) | CurrentRecord(member_id=member_id):
            key: Row = {"memberId": member_id}
        case RegexRecord(regex=regex):
            key = {"regularExpression": regex}
        case _:
            key = {}
    return key | ({"deleted": True} if found.value is None else {"deleted": False, **_consumer_value(found.value)})


def _consumer_value(value: Any) -> Row:
    match value:
        case GroupEpoch():
            return {"epoch": value.epoch, "metadataHash": value.metadata_hash}
        case TargetEpoch():
            return {"epoch": value.epoch, "timestamp": value.timestamp_ms}
        case MemberMetadata():
            return {
                "instanceId": value.instance_id,
                "rackId": value.rack_id,
                "clientId": value.client_id,
                "host": value.client_host,
                "subscribedTopics": list(value.topics),
                "subscribedRegex": value.regex,
                "rebalanceTimeout": value.rebalance_timeout_ms,
                "assignor": value.assignor,
                "protocol": "consumer" if value.classic is None else "classic",
            }
        case CurrentAssignment():
            return {
                "epoch": value.epoch,
                "previousEpoch": value.previous_epoch,
                "state": MEMBER_STATES[value.state],
                "assigned": _by_topic_id(value.assigned),
                "revoking": _by_topic_id(value.revoking),
            }
        case ResolvedRegex():
            return {"topics": sorted(value.topics), "version": value.version, "timestamp": value.timestamp_ms}
        case _:
            return {"assigned": _by_topic_id(value)}


def _by_topic_id(partitions: Mapping[TopicId, Iterable[int]]) -> Row:
    return {format_topic_id(topic_id): sorted(partitions[topic_id]) for topic_id in sorted(partitions)}


def decode_transactions_record(key: bytes | None, value: bytes | None) -> Row:
    """What a record of ``__transaction_state`` says. Never raises."""
    try:
        found = decode_transaction(key, value)
    except ValueError as error:
        return {"record": "malformed", "reason": str(error)}
    if found is None:
        return {"record": "of another version"}
    transaction = found.value
    if transaction is None:
        return {"record": "transaction", "transactionalId": found.transactional_id, "deleted": True}
    return {
        "record": "transaction",
        "transactionalId": found.transactional_id,
        "deleted": False,
        "state": transaction.state.wire_name,
        "producerId": transaction.producer_id,
        "producerEpoch": transaction.producer_epoch,
        "previousProducerId": transaction.previous_producer_id,
        "nextProducerId": transaction.next_producer_id,
        "timeoutMs": transaction.timeout_ms,
        "partitions": [str(partition) for partition in sorted(transaction.partitions)],
        "startTimestamp": transaction.start_ms,
        "updateTimestamp": transaction.update_ms,
        "clientTransactionVersion": transaction.client_version,
    }


def _group(found: GroupRecord) -> Row:
    value = found.value
    if value is None:
        return {"deleted": True}
    return {
        "deleted": False,
        "protocolType": value.protocol_type,
        "generation": value.generation,
        "protocol": value.protocol,
        "leader": value.leader,
        "members": [_member(value.protocol_type, member) for member in value.members],
    }


def _member(protocol_type: str, member: MemberValue) -> Row:
    is_consumer = protocol_type == CONSUMER_PROTOCOL
    return {
        "memberId": member.member_id,
        "instanceId": member.instance_id,
        "clientId": member.client_id,
        "host": member.client_host,
        "assignment": [str(partition) for partition in read_assignment(member.assignment)] if is_consumer else [],
    }
