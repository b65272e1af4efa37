"""The records of Kafka's internal topics in words, for ``dump_log --offsets-decoder``."""

from __future__ import annotations

from typing import Any

from broker.client.assignment import CONSUMER_PROTOCOL, read_assignment
from broker.groups.records import GroupRecord, MalformedRecord, MemberValue, decode_record

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
