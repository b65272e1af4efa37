"""The records of consumer groups: round trips, Kafka's own bytes, and bytes that are nobody's."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.coordination.primitives import MalformedRecord
from broker.groups.consumer.records import (
    STABLE,
    UNKNOWN_STATE,
    UNREVOKED_PARTITIONS,
    ClassicMetadata,
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
from broker.groups.records import Record, decode_record, encode_record

TOPIC = bytes(range(16))

text = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
names = st.lists(text, max_size=4).map(lambda found: tuple(sorted(set(found))))
int32 = st.integers(-(2**31), 2**31 - 1)
int64 = st.integers(-(2**63), 2**63 - 1)
topic_ids = st.binary(min_size=16, max_size=16)
partitions = st.integers(0, 2**31 - 1)
targets = st.dictionaries(topic_ids, st.frozensets(partitions, min_size=1, max_size=4), max_size=3)
owned = st.dictionaries(topic_ids, st.dictionaries(partitions, int32, min_size=1, max_size=4), max_size=3)
classics = st.builds(
    ClassicMetadata,
    session_timeout_ms=int32,
    protocols=st.lists(st.tuples(text, st.binary(max_size=8)), max_size=3).map(tuple),
)
metadata = st.builds(
    MemberMetadata,
    instance_id=st.none() | text,
    rack_id=st.none() | text,
    client_id=text,
    client_host=text,
    topics=names,
    regex=st.none() | text,
    rebalance_timeout_ms=int32,
    assignor=st.none() | text,
    classic=st.none() | classics,
)
currents = st.builds(
    CurrentAssignment,
    epoch=int32,
    previous_epoch=int32,
    state=st.sampled_from([0, 1, 2]),
    assigned=owned,
    revoking=owned,
)
regexes = st.builds(ResolvedRegex, topics=st.frozensets(text, max_size=3), version=int64, timestamp_ms=int64)
records = st.one_of(
    st.builds(
        GroupEpochRecord, group_id=text, value=st.none() | st.builds(GroupEpoch, epoch=int32, metadata_hash=int64)
    ),
    st.builds(PartitionMetadataRecord, group_id=text),
    st.builds(MemberRecord, group_id=text, member_id=text, value=st.none() | metadata),
    st.builds(
        TargetEpochRecord, group_id=text, value=st.none() | st.builds(TargetEpoch, epoch=int32, timestamp_ms=int64)
    ),
    st.builds(TargetRecord, group_id=text, member_id=text, value=st.none() | targets),
    st.builds(CurrentRecord, group_id=text, member_id=text, value=st.none() | currents),
    st.builds(RegexRecord, group_id=text, regex=text, value=st.none() | regexes),
)


@given(records)
def test_what_is_written_is_read_back(record: Record) -> None:
    assert decode_record(*encode_record(record)) == record


def test_the_bytes_of_a_member_are_kafkas() -> None:
    """Null classic metadata is written out: absent, Kafka takes the field for a classic member without protocols."""
    value = MemberMetadata(instance_id=None, client_id="c", client_host="/h", topics=("t",), rebalance_timeout_ms=5)
    assert encode_record(MemberRecord(group_id="g", member_id="m", value=value)) == (
        b"\x00\x05\x00\x01g\x00\x01m",
        b"\x00\x00"
        + b"\x00"
        + b"\x00"
        + b"\x02c"
        + b"\x03/h"
        + b"\x02\x02t"
        + b"\x00"
        + b"\x00\x00\x00\x05"
        + b"\x00"
        # one tagged field: tag 0, one byte, null
        + b"\x01\x00\x01\x00",
    )


def test_the_bytes_of_an_assignment_are_kafkas() -> None:
    value = CurrentAssignment(epoch=3, previous_epoch=2, state=UNREVOKED_PARTITIONS, assigned={TOPIC: {1: 2, 0: 3}})
    assert encode_record(CurrentRecord(group_id="g", member_id="m", value=value)) == (
        b"\x00\x08\x00\x01g\x00\x01m",
        b"\x00\x00"
        + b"\x00\x00\x00\x03"
        + b"\x00\x00\x00\x02"
        + b"\x01"
        + b"\x02"
        + TOPIC
        + b"\x03"
        + b"\x00\x00\x00\x00"
        + b"\x00\x00\x00\x01"
        # the epochs, tagged, in the order of the partitions
        + b"\x01\x00\x09"
        + b"\x03"
        + b"\x00\x00\x00\x03"
        + b"\x00\x00\x00\x02"
        + b"\x01"
        + b"\x00",
    )


def test_the_epoch_of_a_group_has_its_hash_only_when_there_is_one() -> None:
    def encoded(metadata_hash: int) -> bytes | None:
        return encode_record(GroupEpochRecord(group_id="g", value=GroupEpoch(epoch=7, metadata_hash=metadata_hash)))[1]

    assert encoded(0) == b"\x00\x00\x00\x00\x00\x07\x00"
    assert encoded(-1) == b"\x00\x00\x00\x00\x00\x07\x01\x00\x08" + b"\xff" * 8


def test_partitions_written_without_epochs_are_owned_since_the_members_epoch() -> None:
    before_42 = b"\x00\x00" + b"\x00\x00\x00\x03" + b"\x00\x00\x00\x02" + b"\x00" + b"\x02" + TOPIC + b"\x02"
    before_42 += b"\x00\x00\x00\x05" + b"\x00" + b"\x01" + b"\x00"
    record = decode_record(b"\x00\x08\x00\x01g\x00\x01m", before_42)
    assert isinstance(record, CurrentRecord)
    assert record.value == CurrentAssignment(epoch=3, previous_epoch=2, state=STABLE, assigned={TOPIC: {5: 3}})


def test_a_state_of_a_later_version_is_unknown() -> None:
    value = b"\x00\x00" + bytes(8) + b"\x09" + b"\x01\x01\x00"
    record = decode_record(b"\x00\x08\x00\x01g\x00\x01m", value)
    assert isinstance(record, CurrentRecord)
    assert record.value is not None
    assert record.value.state == UNKNOWN_STATE


def test_a_field_of_a_later_version_is_skipped() -> None:
    record = decode_record(b"\x00\x03\x00\x01g", b"\x00\x00\x00\x00\x00\x07\x01\x05\x02ab")
    assert record == GroupEpochRecord(group_id="g", value=GroupEpoch(epoch=7))


def test_partition_metadata_of_an_older_broker_is_there_or_not() -> None:
    key = b"\x00\x04\x00\x01g"
    assert decode_record(key, b"whatever it says") == PartitionMetadataRecord(group_id="g", present=True)
    assert decode_record(key, None) == PartitionMetadataRecord(group_id="g", present=False)


@pytest.mark.parametrize("version", [9, 10, 14, 15, 17, 23])
def test_records_of_share_and_streams_groups_are_not_ours(version: int) -> None:
    assert decode_record(bytes((0, version)) + b"\x00\x01g\x00\x01m", b"whatever") is None


@pytest.mark.parametrize(
    ("key", "value"),
    [
        (b"\x00\x03\x00\x01g", b"\x00\x01\x00\x00\x00\x07\x00"),
        (b"\x00\x03\x00\x01g", b"\x00\x00\x00\x00"),
        (b"\x00\x05\x00\x01g", b"\x00\x00"),
        (b"\x00\x07\x00\x01g\x00\x01m", b"\x00\x00\xff\xff\xff\xff\x0f"),
        (b"\x00\x08\x00\x01g\x00\x01m", b"\x00\x00" + bytes(9) + b"\x02" + TOPIC + b"\xff\xff\xff\xff\x0f"),
        (
            b"\x00\x08\x00\x01g\x00\x01m",
            b"\x00\x00" + bytes(9) + b"\x02" + TOPIC + b"\x02" + bytes(4) + b"\x01\x00\x01\x01",
        ),
    ],
    ids=["version", "cut", "no member", "absurd topics", "absurd partitions", "epochs of other partitions"],
)
def test_malformed_records_are_refused(key: bytes, value: bytes) -> None:
    with pytest.raises(MalformedRecord):
        decode_record(key, value)


@given(st.sampled_from([3, 5, 6, 7, 8, 16]), st.binary(max_size=60))
def test_hostile_bytes_give_a_record_or_a_refusal(version: int, value: bytes) -> None:
    try:
        decode_record(bytes((0, version)) + b"\x00\x01g\x00\x01m", b"\x00\x00" + value)
    except MalformedRecord:
        pass
