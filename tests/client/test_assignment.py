"""Assignments are bytes of arbitrary clients."""

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.client.assignment import read_assignment
from broker.types import TopicPartition


def written(assignment: dict[str, list[int]], user_data: bytes = b"") -> bytes:
    parts = [struct.pack(">hi", 1, len(assignment))]
    for topic, partitions in assignment.items():
        name = topic.encode()
        parts.append(
            struct.pack(">h", len(name)) + name + struct.pack(f">i{len(partitions)}i", len(partitions), *partitions)
        )
    return b"".join(parts) + struct.pack(">i", len(user_data)) + user_data


@given(st.dictionaries(st.text(max_size=20), st.lists(st.integers(0, 1_000), max_size=8), max_size=6), st.binary())
def test_what_a_client_writes_is_read(assignment: dict[str, list[int]], user_data: bytes) -> None:
    expected = sorted(TopicPartition(topic, p) for topic, partitions in assignment.items() for p in partitions)
    assert read_assignment(written(assignment, user_data)) == tuple(expected)


def test_no_bytes_are_no_assignment() -> None:
    assert read_assignment(b"") == ()


@pytest.mark.parametrize(
    "data",
    [
        b"\x00",
        struct.pack(">hi", 0, 2**31 - 1),
        struct.pack(">hi", 0, -5),
        struct.pack(">hih", 0, 1, 300),
        struct.pack(">hih", 0, 1, -1) + b"\0" * 8,
        struct.pack(">hih1si", 0, 1, 1, b"t", 2**30),
        struct.pack(">hih1si", 0, 1, 1, b"\xff", 0),
    ],
)
def test_damaged_bytes_are_no_assignment(data: bytes) -> None:
    assert read_assignment(data) == ()


@given(st.binary(max_size=200))
def test_no_bytes_raise(data: bytes) -> None:
    read_assignment(data)
