from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.groups.consumer_protocol import assigned_partitions, subscribed_topics
from tests.groups.stage import assignment, subscription


def test_topics_of_a_subscription() -> None:
    assert subscribed_topics(subscription("a", "b")) == {"a", "b"}


def test_a_newer_subscription_is_read_as_far_as_it_is_known() -> None:
    assert subscribed_topics(subscription("a", version=9, owned=b"something new")) == {"a"}


def test_partitions_of_an_assignment() -> None:
    assert assigned_partitions(assignment(a=[0, 2], b=[1])) == [("a", 0), ("a", 2), ("b", 1)]


def test_no_assignment_is_no_partitions() -> None:
    assert assigned_partitions(b"") == []


@pytest.mark.parametrize("bytes_", [b"\x00", b"\x00\x00\x7f\xff\xff\xff", b"\xff\xff\x00\x00\x00\x00", b"not consumer"])
def test_foreign_bytes_are_unknown(bytes_: bytes) -> None:
    assert subscribed_topics(bytes_) is None
    assert assigned_partitions(bytes_) is None


@given(st.binary(max_size=64))
def test_hostile_bytes_are_harmless(bytes_: bytes) -> None:
    subscribed_topics(b"\x00\x00" + bytes_)
    assigned_partitions(b"\x00\x00" + bytes_)
