"""The records of ``__consumer_offsets`` are Kafka's, byte for byte."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.groups.records import (
    GroupRecord,
    GroupValue,
    MalformedRecord,
    MemberValue,
    OffsetRecord,
    OffsetValue,
    decode_record,
    encode_record,
)

TOPIC_ID = bytes(range(16))

_names = st.text(max_size=12)
_offset_values = st.builds(
    OffsetValue,
    offset=st.integers(0, 2**63 - 1),
    commit_timestamp_ms=st.integers(0, 2**62),
    leader_epoch=st.integers(-1, 2**31 - 1),
    metadata=st.text(max_size=300),
    topic_id=st.sampled_from([bytes(16), TOPIC_ID]),
)
_members = st.builds(
    MemberValue,
    member_id=_names,
    instance_id=st.none() | _names,
    client_id=_names,
    client_host=_names,
    rebalance_timeout_ms=st.integers(0, 2**31 - 1),
    session_timeout_ms=st.integers(0, 2**31 - 1),
    subscription=st.binary(max_size=20),
    assignment=st.binary(max_size=20),
)
_group_values = st.builds(
    GroupValue,
    protocol_type=_names,
    generation=st.integers(0, 2**31 - 1),
    protocol=st.none() | _names,
    leader=st.none() | _names,
    state_timestamp_ms=st.integers(-1, 2**62),
    members=st.lists(_members, max_size=4).map(tuple),
)
_records = st.builds(
    OffsetRecord,
    group_id=_names,
    topic=_names,
    partition=st.integers(0, 2**31 - 1),
    value=st.none() | _offset_values,
) | st.builds(GroupRecord, group_id=_names, value=st.none() | _group_values)


def test_an_offset_with_its_topic_id_is_version_4_with_one_tagged_field() -> None:
    value = OffsetValue(offset=7, commit_timestamp_ms=9, leader_epoch=3, metadata="m", topic_id=TOPIC_ID)
    key, encoded = encode_record(OffsetRecord(group_id="g", topic="t", partition=5, value=value))
    assert key == b"\x00\x01" + b"\x00\x01g" + b"\x00\x01t" + struct.pack(">i", 5)
    assert encoded == struct.pack(">hqi", 4, 7, 3) + b"\x02m" + struct.pack(">q", 9) + b"\x01\x00\x10" + TOPIC_ID


def test_an_offset_without_topic_id_is_version_3() -> None:
    value = OffsetValue(offset=7, commit_timestamp_ms=9)
    _, encoded = encode_record(OffsetRecord(group_id="g", topic="t", partition=5, value=value))
    assert encoded == struct.pack(">hqi", 3, 7, -1) + b"\x00\x00" + struct.pack(">q", 9)


def test_an_offset_with_a_retention_of_its_own_is_version_1() -> None:
    value = OffsetValue(offset=7, commit_timestamp_ms=9, expire_timestamp_ms=11, topic_id=TOPIC_ID)
    key, encoded = encode_record(OffsetRecord(group_id="g", topic="t", partition=5, value=value))
    assert encoded == struct.pack(">hq", 1, 7) + b"\x00\x00" + struct.pack(">qq", 9, 11)
    decoded = decode_record(key, encoded)
    assert decoded == OffsetRecord(
        group_id="g",
        topic="t",
        partition=5,
        value=OffsetValue(offset=7, commit_timestamp_ms=9, expire_timestamp_ms=11),
    )


def test_group_metadata_is_version_3() -> None:
    member = MemberValue(
        member_id="m",
        instance_id=None,
        client_id="c",
        client_host="/h",
        rebalance_timeout_ms=1,
        session_timeout_ms=2,
        subscription=b"S",
        assignment=b"AA",
    )
    value = GroupValue(
        protocol_type="consumer", generation=4, protocol="range", leader="m", state_timestamp_ms=8, members=(member,)
    )
    key, encoded = encode_record(GroupRecord(group_id="g", value=value))
    assert key == b"\x00\x02\x00\x01g"
    assert encoded == (
        b"\x00\x03\x00\x08consumer\x00\x00\x00\x04\x00\x05range\x00\x01m"
        + struct.pack(">qi", 8, 1)
        + b"\x00\x01m\xff\xff\x00\x01c\x00\x02/h"
        + struct.pack(">ii", 1, 2)
        + b"\x00\x00\x00\x01S\x00\x00\x00\x02AA"
    )


@given(_records)
def test_what_is_written_is_read_back(record: OffsetRecord | GroupRecord) -> None:
    assert decode_record(*encode_record(record)) == record


def test_the_flexible_group_version_is_read() -> None:
    encoded = (
        b"\x00\x04\x09consumer\x00\x00\x00\x04\x06range\x00"
        + struct.pack(">q", 8)
        + b"\x02\x02m\x02i\x02c\x03/h"
        + struct.pack(">ii", 1, 2)
        + b"\x02S\x03AA\x01\x05\x01x\x00"
    )
    record = decode_record(b"\x00\x02\x00\x01g", encoded)
    assert isinstance(record, GroupRecord)
    assert record.value is not None
    assert record.value.leader is None
    assert record.value.members[0].instance_id == "i"
    assert record.value.members[0].assignment == b"AA"


def test_the_oldest_group_version_takes_its_rebalance_timeout_from_the_session() -> None:
    encoded = (
        b"\x00\x00\x00\x01c\x00\x00\x00\x04\xff\xff\xff\xff\x00\x00\x00\x01\x00\x01m\x00\x01c\x00\x01h"
        + struct.pack(">i", 6)
        + bytes(8)
    )
    record = decode_record(b"\x00\x02\x00\x01g", encoded)
    assert isinstance(record, GroupRecord)
    assert record.value is not None
    assert record.value.members[0].rebalance_timeout_ms == 6


def test_records_of_other_protocols_are_not_ours() -> None:
    assert decode_record(b"\x00\x09\x00\x01g", b"whatever") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (None, b""),
        (b"", b""),
        (b"\x00\x01\x00\x05g", None),
        (b"\x00\x02\x00\x01\xff", None),
        (b"\x00\x02\x00\x01g", b"\x00\x09"),
        (b"\x00\x02\x00\x01g", b"\x00\x03\x00\x00\x00\x00\x00\x00\xff\xff\xff\xff" + bytes(8) + b"\x7f\xff\xff\xff"),
        (b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00", b"\x00\x07"),
        (b"\x00\x01\x00\x01g\x00\x01t\x00\x00\x00\x00", b"\x00\x04" + bytes(12) + b"\xff\xff\xff\xff\xff\xff"),
    ],
)
def test_nonsense_is_malformed(key: bytes | None, value: bytes | None) -> None:
    with pytest.raises(MalformedRecord):
        decode_record(key, value)


@given(st.binary(max_size=60), st.binary(max_size=60), st.integers(0, 2))
def test_hostile_bytes_never_do_worse_than_malformed(key: bytes, value: bytes, version: int) -> None:
    try:
        decode_record(version.to_bytes(2, "big") + key, value)
    except MalformedRecord:
        pass
