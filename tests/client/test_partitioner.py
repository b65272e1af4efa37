"""Keyed records must land where the Java client puts them."""

import pytest
from aiokafka.partitioner import murmur2 as aiokafka_murmur2
from hypothesis import given
from hypothesis import strategies as st

from broker.client.partitioner import murmur2, partition_for_key

# Values asserted by Apache Kafka's own tests of Utils.murmur2.
JAVA_VALUES = {
    b"21": -973932308,
    b"foobar": -790332482,
    b"a-little-bit-long-string": -985981536,
    b"a-little-bit-longer-string": -1486304829,
    b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8": -58897971,
    b"abc": 479470107,
}


@pytest.mark.parametrize(("key", "signed"), JAVA_VALUES.items())
def test_murmur2_gives_the_values_of_java(key: bytes, signed: int) -> None:
    assert murmur2(key) == signed & 0xFFFFFFFF


@given(st.binary(max_size=100))
def test_murmur2_agrees_with_another_client(key: bytes) -> None:
    assert murmur2(key) == aiokafka_murmur2(key) & 0xFFFFFFFF


@given(st.binary(max_size=40), st.integers(1, 500))
def test_a_partition_is_always_one_that_exists(key: bytes, partition_count: int) -> None:
    assert 0 <= partition_for_key(key, partition_count) < partition_count


def test_the_sign_bit_is_dropped_and_not_negated() -> None:
    assert partition_for_key(b"21", 7) == (-973932308 & 0x7FFFFFFF) % 7


def test_any_buffer_can_be_a_key() -> None:
    assert murmur2(memoryview(b"foobar")) == murmur2(bytearray(b"foobar")) == murmur2(b"foobar")
