"""Decompression gives back what went in and never more than allowed."""

from __future__ import annotations

import gzip
import struct
import tracemalloc

import cramjam
import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.errors import ErrorCode, KafkaError
from broker.protocol.compression import decompress
from tests.protocol.outcome import error_code

MIB = 1 << 20


def xerial(data: bytes, block: int = 1000) -> bytes:
    out = [b"\x82SNAPPY\x00" + struct.pack(">ii", 1, 1)]
    for at in range(0, len(data), block):
        piece = bytes(cramjam.snappy.compress_raw(data[at : at + block]))
        out.append(struct.pack(">i", len(piece)) + piece)
    return b"".join(out)


def zstd_without_size(data: bytes) -> bytes:
    compressor = cramjam.zstd.Compressor(3)
    compressor.compress(data)
    return bytes(compressor.finish())


ENCODERS = {
    "gzip": (1, gzip.compress),
    "gzip members": (1, lambda data: gzip.compress(data[:5]) + gzip.compress(data[5:])),
    "snappy": (2, lambda data: bytes(cramjam.snappy.compress_raw(data))),
    "xerial snappy": (2, xerial),
    "lz4": (3, lambda data: bytes(cramjam.lz4.compress(data))),
    "zstd": (4, lambda data: bytes(cramjam.zstd.compress(data))),
    "zstd without size": (4, zstd_without_size),
}
each_encoder = pytest.mark.parametrize("name", ENCODERS)


@each_encoder
@pytest.mark.parametrize("size", [1, 999, 70_000])
def test_round_trip_up_to_the_bound_itself(name: str, size: int) -> None:
    codec, encode = ENCODERS[name]
    data = (b"some text " * (size // 10 + 1))[:size]
    assert decompress(codec, encode(data), size) == data
    assert decompress(codec, memoryview(bytearray(encode(data))), 10 * size) == data


@each_encoder
def test_one_byte_beyond_the_bound_is_too_large(name: str) -> None:
    codec, encode = ENCODERS[name]
    with pytest.raises(KafkaError) as caught:
        decompress(codec, encode(b"a" * 5001), 5000)
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE


@each_encoder
def test_a_bomb_takes_no_more_memory_than_the_bound(name: str) -> None:
    codec, encode = ENCODERS[name]
    bomb = encode(bytes(32 * MIB))
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError):
            decompress(codec, bomb, MIB)
        assert tracemalloc.get_traced_memory()[1] < 4 * MIB
    finally:
        tracemalloc.stop()


def test_a_snappy_block_that_lies_about_its_size_is_refused_before_it_is_opened() -> None:
    with pytest.raises(KafkaError) as caught:
        decompress(2, b"\xff\xff\xff\xff\x0f" + b"abc", MIB)
    assert caught.value.code == ErrorCode.MESSAGE_TOO_LARGE


def test_endless_gzip_members_are_refused() -> None:
    with pytest.raises(KafkaError, match="members"):
        decompress(1, gzip.compress(b"") * 1000, MIB)


@each_encoder
def test_a_cut_stream_is_corrupt(name: str) -> None:
    codec, encode = ENCODERS[name]
    whole = encode(bytes(range(256)) * 20)
    for end in (0, 3, len(whole) // 2, len(whole) - 1):
        assert error_code(lambda end=end: decompress(codec, whole[:end], MIB)) == ErrorCode.CORRUPT_MESSAGE


@given(st.integers(0, 7), st.binary(max_size=60))
def test_random_bytes_raise_nothing_but_kafka_errors(codec: int, data: bytes) -> None:
    for prefix in (b"", b"\x82SNAPPY\x00" + bytes(8)):
        code = error_code(lambda prefix=prefix: decompress(codec, prefix + data, MIB))
        assert code in (ErrorCode.NONE, ErrorCode.CORRUPT_MESSAGE, ErrorCode.MESSAGE_TOO_LARGE)
