"""Record batches that inflate to many times their size, on every path that opens records.

A broker opens a batch where a topic is compacted (keys), where ``compression.type`` is not the producer's, where a
timestamp is out of bounds, and where ListOffsets looks for a timestamp inside it. Everywhere else it is opaque.
"""

from __future__ import annotations

import functools
import struct
import zlib
from collections.abc import Iterator

import cramjam
import pytest

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from broker.protocol.batch import (
    ATTRIBUTES_AT,
    BATCH_LENGTH_AT,
    CRC_AT,
    HEADER_SIZE,
    LENGTH_PREFIX_SIZE,
    compute_crc,
)
from tests.support.broker_process import BrokerProcess
from tests.support.topics import NOW_MS, batch, create_topic, produce
from tests.support.wire import Wire

MIB = 1024 * 1024
INFLATED_BYTES = 96 * MIB
GROWTH_BYTES_MAX = 150 * MIB
"""What opening a batch may take for a moment: the bound on its inflated size, and a copy."""
CODECS = {"gzip": 1, "snappy": 2, "lz4": 3, "zstd": 4}


@functools.cache
def bomb(codec: str) -> bytes:
    """A whole valid batch but for what comes out of it."""
    if codec == "gzip":
        packer = zlib.compressobj(9, wbits=31)
        packed = b"".join(packer.compress(bytes(MIB)) for _ in range(INFLATED_BYTES // MIB)) + packer.flush()
    elif codec == "snappy":
        # Xerial's framing, in which each block claims its own size: none is large, all together are.
        block = bytes(cramjam.snappy.compress_raw(bytes(MIB)))
        count = INFLATED_BYTES // MIB
        packed = b"\x82SNAPPY\0" + struct.pack(">ii", 1, 1) + (struct.pack(">i", len(block)) + block) * count
    elif codec == "lz4":
        packed = bytes(cramjam.lz4.compress(bytes(INFLATED_BYTES)))
    else:
        packed = bytes(cramjam.zstd.compress(bytes(INFLATED_BYTES)))
    whole = bytearray(batch(b"x")[:HEADER_SIZE]) + packed
    struct.pack_into(">i", whole, BATCH_LENGTH_AT, len(whole) - LENGTH_PREFIX_SIZE)
    struct.pack_into(">h", whole, ATTRIBUTES_AT, CODECS[codec])
    struct.pack_into(">I", whole, CRC_AT, compute_crc(whole, 0, len(whole)))
    return bytes(whole)


@pytest.fixture(scope="module")
def victim(tmp_path_factory: pytest.TempPathFactory) -> Iterator[BrokerProcess]:
    """A broker of their own: a bomb that is stored is a batch that nobody can read, and ``verify_log`` says so."""
    with BrokerProcess(tmp_path_factory.mktemp("bombs"), sound=False, OTTLA_ACK_DURABILITY="os") as process:
        yield process


@pytest.fixture
def stays_small(victim: BrokerProcess) -> Iterator[None]:
    before = victim.rss_bytes()
    yield
    assert victim.alive
    assert victim.rss_bytes() - before < GROWTH_BYTES_MAX
    assert "Traceback" not in victim.output, victim.output[-4_000:]


pytestmark = pytest.mark.usefixtures("stays_small")


@pytest.mark.parametrize("codec", CODECS)
@pytest.mark.parametrize(
    "configs",
    [
        {"cleanup_policy": "compact", "max_message_bytes": "12000000"},
        {"compression_type": "uncompressed", "max_message_bytes": "12000000"},
        {"message_timestamp_before_max_ms": "1", "max_message_bytes": "12000000"},
    ],
    ids=["keys are looked at", "it is compressed anew", "a timestamp is named"],
)
def test_a_batch_that_is_opened_while_it_is_produced_is_refused(
    wire: Wire, codec: str, configs: dict[str, str]
) -> None:
    topic = create_topic(wire, **configs)
    result = produce(wire, topic, bomb(codec))
    assert result.error_code in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.INVALID_TIMESTAMP)
    other = create_topic(wire)
    assert produce(wire, other, batch(b"good")).error_code == 0


@pytest.mark.parametrize("codec", CODECS)
def test_a_batch_that_is_opened_to_find_a_timestamp_ends_in_an_error(wire: Wire, codec: str) -> None:
    topic = create_topic(wire, max_message_bytes="12000000")
    assert produce(wire, topic, bomb(codec)).error_code == 0, "nobody opens it"
    r = m.ListOffsetsRequest
    entry = r.ListOffsetsPartition(partition_index=0, timestamp=NOW_MS - 1)
    answer = wire.call(
        ApiKey.LIST_OFFSETS, 5, r(replica_id=-1, topics=[r.ListOffsetsTopic(name=topic, partitions=[entry])])
    )
    (result,) = answer.topics[0].partitions
    assert result.error_code in (ErrorCode.MESSAGE_TOO_LARGE, ErrorCode.CORRUPT_MESSAGE)


def test_our_own_client_is_not_blown_up_either(wire: Wire, victim: BrokerProcess) -> None:
    topic = create_topic(wire, max_message_bytes="12000000")
    produce(wire, topic, bomb("zstd"))
    produce(wire, topic, batch(b"behind it"))
    with Client(victim.bootstrap) as client:
        with pytest.raises(KafkaError) as refused:
            client.fetch_records(topic, 0, 0)
        assert refused.value.code is ErrorCode.MESSAGE_TOO_LARGE
        behind = client.fetch(topic, 0, 0, skip_damaged=True)
    assert [record.value for record in behind.records] == [b"behind it"]
