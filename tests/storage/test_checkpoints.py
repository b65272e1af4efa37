"""The small text files."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.storage.checkpoints import (
    CheckpointDamaged,
    MetaProperties,
    decode_offsets,
    encode_offsets,
    encode_partition_metadata,
    read_offsets,
    read_partition_metadata,
)
from broker.storage.memory_filesystem import MemoryFileSystem
from broker.types import TopicPartition

TOPICS = st.from_regex(r"[a-zA-Z0-9._-]{1,30}", fullmatch=True)


@given(st.dictionaries(st.builds(TopicPartition, TOPICS, st.integers(0, 10**6)), st.integers(0, 2**62), max_size=20))
def test_offsets_read_back(offsets: dict[TopicPartition, int]) -> None:
    assert decode_offsets(encode_offsets(offsets)) == offsets


def test_a_missing_checkpoint_is_empty() -> None:
    assert read_offsets(MemoryFileSystem(), "/none") == {}


@pytest.mark.parametrize(
    "content", [b"", b"0", b"1\n0\n", b"0\n1\n", b"0\n1\na b\n", b"0\n1\na 0 x\n", b"0\nx\n", b"0\n1\na 0 17", b"\xff"]
)
def test_a_damaged_checkpoint_is_not_taken_for_an_empty_one(content: bytes) -> None:
    disk = MemoryFileSystem()
    disk.write_file("/c", content)

    with pytest.raises(CheckpointDamaged, match="/c"):
        read_offsets(disk, "/c")


def test_meta_properties_read_back_with_comments_and_unknown_lines() -> None:
    meta = MetaProperties(cluster_id="c-1", node_id=4, directory_id="d")

    assert MetaProperties.decode(meta.encode()) == meta
    assert MetaProperties.decode(b"#a=b\nversion=1\nnode.id = 4\ncluster.id=c-1\nfuture=yes\ndirectory.id=d\n") == meta


@pytest.mark.parametrize(
    "content", [b"", b"version=0\n", b"version=1\nnode.id=1\n", b"version=1\ncluster.id=c\nnode.id=x\n"]
)
def test_incomplete_meta_properties_are_refused(content: bytes) -> None:
    with pytest.raises(ValueError):
        MetaProperties.decode(content)


def test_partition_metadata_reads_back() -> None:
    disk = MemoryFileSystem()
    disk.make_directory("/p")
    disk.write_file("/p/partition.metadata", encode_partition_metadata(bytes(range(16))))

    assert read_partition_metadata(disk, "/p") == bytes(range(16))


@pytest.mark.parametrize(
    "content", [None, b"", b"version: 0\n", b"version: 9\ntopic_id: AAECAwQFBgcICQoLDA0ODw", b"version: 0\ntopic_id: ?"]
)
def test_unreadable_partition_metadata_is_unknown(content: bytes | None) -> None:
    disk = MemoryFileSystem()
    disk.make_directory("/p")
    if content is not None:
        disk.write_file("/p/partition.metadata", content)

    assert read_partition_metadata(disk, "/p") is None
