"""A batch in another codec is the same batch; one that is not what it says is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.config.topic import TopicConfig
from broker.errors import ErrorCode, KafkaError
from broker.partition.recompression import Target, recompress, target_of
from broker.protocol import batch
from broker.protocol.compression import compress, decompress
from broker.protocol.records import Record, build_batch, iter_records

CODECS = range(len(batch.COMPRESSION_NAMES))
LEVELS = {0: (-1,), 1: (-1, 1, 9), 2: (-1,), 3: (1, 9, 17), 4: (-131072, 3, 22)}
BIG = [Record(timestamp=1_000 + index, key=b"k", value=b"v" * 500, headers=[("h", b"x")]) for index in range(300)]

records = st.lists(
    st.builds(
        Record,
        offset=st.just(-1),
        timestamp=st.integers(0, 2**40),
        key=st.none() | st.binary(max_size=20),
        value=st.none() | st.binary(max_size=200),
        headers=st.lists(st.tuples(st.text(max_size=5), st.none() | st.binary(max_size=5)), max_size=2),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60)
@given(source=st.sampled_from(batch.COMPRESSION_NAMES), codec=st.sampled_from(CODECS), content=records)
def test_header_and_records_stay_what_they_were(source: str, codec: int, content: list[Record]) -> None:
    original = build_batch(
        content, compression=source, producer_id=7, producer_epoch=2, base_sequence=40, is_transactional=True
    )
    made = recompress(original, Target(codec=codec, level=LEVELS[codec][0]))
    before, after = batch.read_header(original), batch.read_header(made)
    assert after.compression == codec
    assert after.size == len(made)
    changed = {"crc": 0, "batch_length": 0, "attributes": 0}
    assert after._replace(**changed) == before._replace(**changed)
    assert after.attributes & ~batch.COMPRESSION_MASK == before.attributes & ~batch.COMPRESSION_MASK
    assert list(iter_records(made)) == list(iter_records(original))


@pytest.mark.parametrize(("codec", "level"), [(codec, level) for codec in CODECS for level in LEVELS[codec]])
def test_every_codec_and_level_is_read_again(codec: int, level: int) -> None:
    data = b"".join(struct.pack(">i", number) for number in range(60_000))
    packed = compress(codec, data, level)
    assert (decompress(codec, packed, len(data)) if codec else packed) == data


@pytest.mark.parametrize(("name", "low", "high"), [("gzip", 1, 9), ("lz4", 1, 12), ("zstd", -131072, 22)])
def test_the_configured_level_is_the_one_used(name: str, low: int, high: int) -> None:
    def size_at(level: int) -> int:
        config = TopicConfig.resolve({"compression.type": name, f"compression.{name}.level": str(level)})
        target = target_of(config)
        assert target is not None
        return len(recompress(build_batch(varied), target))

    varied = [Record(timestamp=1, value=b"%d" % (number * 7919 % 10_007) * 3) for number in range(2_000)]
    assert size_at(high) < size_at(low)


def test_producer_means_no_change_and_uncompressed_means_none() -> None:
    assert target_of(TopicConfig()) is None
    assert target_of(TopicConfig.resolve({"compression.type": "uncompressed"})) == Target(codec=0, level=-1)


@pytest.mark.parametrize("codec", [1, 2, 3, 4])
def test_a_bomb_is_refused_before_it_is_open(codec: int) -> None:
    bomb = build_batch([Record(timestamp=1, value=bytes(4 << 20))], compression=batch.COMPRESSION_NAMES[codec])
    assert len(bomb) < 1 << 18
    with pytest.raises(KafkaError) as refusal:
        recompress(bomb, Target(codec=3, level=9), decompressed_bytes_max=1 << 20)
    assert refusal.value.code is ErrorCode.MESSAGE_TOO_LARGE


def with_payload(original: bytearray, payload: bytes) -> bytearray:
    made = bytearray(original[: batch.HEADER_SIZE]) + payload
    struct.pack_into(">i", made, batch.BATCH_LENGTH_AT, len(made) - batch.LENGTH_PREFIX_SIZE)
    struct.pack_into(">I", made, batch.CRC_AT, batch.compute_crc(made, 0, len(made)))
    return made


@pytest.mark.parametrize("compression", ["none", "gzip", "snappy", "lz4", "zstd"])
def test_bytes_that_are_not_of_the_codec_are_corrupt(compression: str) -> None:
    original = build_batch(BIG, compression=compression)
    with pytest.raises(KafkaError) as refusal:
        recompress(with_payload(original, b"\xff" * 100), Target(codec=1, level=-1))
    assert refusal.value.code is ErrorCode.CORRUPT_MESSAGE


def test_fewer_or_more_records_than_the_header_says_are_corrupt() -> None:
    two = build_batch([Record(timestamp=1, value=b"a"), Record(timestamp=1, value=b"b")])
    for count in (1, 3):
        wrong = bytearray(two)
        struct.pack_into(">i", wrong, batch.RECORD_COUNT_AT, count)
        with pytest.raises(KafkaError) as refusal:
            recompress(with_payload(wrong, bytes(wrong[batch.HEADER_SIZE :])), Target(codec=4, level=3))
        assert refusal.value.code is ErrorCode.CORRUPT_MESSAGE


def test_offsets_with_a_gap_are_invalid_records() -> None:
    gap = build_batch([Record(offset=0, timestamp=1, value=b"a"), Record(offset=2, timestamp=1, value=b"b")])
    with pytest.raises(KafkaError) as refusal:
        recompress(gap, Target(codec=4, level=3))
    assert refusal.value.code is ErrorCode.INVALID_RECORD
