"""Records of consumer groups in words, for ``dump_log --offsets-decoder``."""

from __future__ import annotations

from broker.commandline.internal_records import decode_offsets_record
from broker.groups.consumer.records import (
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
from broker.groups.records import Record, encode_record


def test_the_records_of_consumer_groups_are_told_in_words() -> None:
    records: list[tuple[Record, dict[str, object]]] = [
        (
            GroupEpochRecord(group_id="g", value=GroupEpoch(epoch=3, metadata_hash=7)),
            {"record": "consumer group", "deleted": False, "epoch": 3, "metadataHash": 7},
        ),
        (PartitionMetadataRecord(group_id="g"), {"record": "consumer group partition metadata", "deleted": True}),
        (
            TargetEpochRecord(group_id="g", value=TargetEpoch(epoch=3, timestamp_ms=9)),
            {"record": "consumer group target epoch", "deleted": False, "epoch": 3, "timestamp": 9},
        ),
        (
            TargetRecord(group_id="g", member_id="m", value={bytes(16): frozenset({1, 0})}),
            {
                "record": "consumer group target",
                "memberId": "m",
                "deleted": False,
                "assigned": {"AAAAAAAAAAAAAAAAAAAAAA": [0, 1]},
            },
        ),
        (
            CurrentRecord(group_id="g", member_id="m", value=CurrentAssignment(epoch=2, previous_epoch=1, state=1)),
            {
                "record": "consumer group assignment",
                "memberId": "m",
                "deleted": False,
                "epoch": 2,
                "previousEpoch": 1,
                "state": "UnrevokedPartitions",
                "assigned": {},
                "revoking": {},
            },
        ),
        (
            RegexRecord(
                group_id="g", regex="a.*", value=ResolvedRegex(topics=frozenset({"a"}), version=1, timestamp_ms=2)
            ),
            {
                "record": "consumer group regular expression",
                "regularExpression": "a.*",
                "deleted": False,
                "topics": ["a"],
                "version": 1,
                "timestamp": 2,
            },
        ),
        (
            MemberRecord(group_id="g", member_id="m", value=None),
            {"record": "consumer group member", "memberId": "m", "deleted": True},
        ),
    ]
    for record, expected in records:
        assert decode_offsets_record(*encode_record(record)) == {"group": "g", **expected}
    member = encode_record(MemberRecord(group_id="g", member_id="m", value=MemberMetadata(topics=("a",), regex="b")))
    told = decode_offsets_record(*member)
    assert (told["subscribedTopics"], told["subscribedRegex"], told["protocol"]) == (["a"], "b", "consumer")
