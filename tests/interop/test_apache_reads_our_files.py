"""Apache's own DumpLogSegments on the files of a stopped broker: every file of a log is what it says it is."""

from __future__ import annotations

from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from bench import raw
from tests.interop.apache import require_apache_kafka, run_tool
from tests.support.broker_process import BrokerProcess

pytestmark = pytest.mark.interop
ROUNDS = 60


@pytest.fixture(scope="module")
def directory(tmp_path_factory) -> Path:
    """Compressed and transactional batches over several segments, two aborted transactions among them, and offsets."""
    require_apache_kafka()
    with BrokerProcess(
        tmp_path_factory.mktemp("dumped"), OTTLA_LOG_SEGMENT_BYTES=str(1 << 20), OTTLA_ACK_DURABILITY="os"
    ) as broker:
        raw.create_topic(broker.port, "dumped")
        settings = {"bootstrap.servers": broker.bootstrap, "linger.ms": 5}
        for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
            plain = Producer(settings | {"compression.type": codec})
            for number in range(50):
                plain.produce("dumped", f"{codec}-{number}")
            plain.flush(30)
        producer = Producer(settings | {"transactional.id": "dumped"})
        producer.init_transactions(30)
        consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "dumped"})
        for number in range(ROUNDS):
            producer.begin_transaction()
            producer.produce("dumped", bytes(50_000))
            offsets = [TopicPartition("dumped", 0, number)]
            producer.send_offsets_to_transaction(offsets, consumer.consumer_group_metadata(), 30)
            producer.flush(30)
            (producer.abort_transaction if number in (5, 40) else producer.commit_transaction)(30)
        consumer.close()
    return broker.data_directory


def dump(*options: str, files: list[Path]) -> str:
    assert files
    return run_tool("DumpLogSegments", *options, "--files", ",".join(map(str, sorted(files))))


def test_segments_and_indexes_are_sound_record_by_record(directory: Path) -> None:
    log = directory / "dumped-0"
    files = [path for path in log.iterdir() if path.suffix in {".log", ".index", ".timeindex"}]
    assert sum(path.suffix == ".log" for path in files) > 2

    output = dump("--deep-iteration", files=files)

    for complaint in ("Found timestamp mismatch", "Mismatches in", "Non-consecutive", "isvalid: false", "out of order"):
        assert complaint not in output
    assert output.count("endTxnMarker: COMMIT") == ROUNDS - 2
    assert output.count("endTxnMarker: ABORT") == 2
    for codec in ("gzip", "snappy", "lz4", "zstd"):
        assert f"compresscodec: {codec}" in output


def test_the_transaction_index_names_the_aborted_transactions(directory: Path) -> None:
    output = dump(files=list((directory / "dumped-0").glob("*.txnindex")))

    assert output.count("lastStableOffset") == 2


def test_the_producer_snapshot_reads(directory: Path) -> None:
    output = dump(files=list((directory / "dumped-0").glob("*.snapshot"))[-1:])

    assert "producerId: " in output


def test_the_offsets_of_groups_decode(directory: Path) -> None:
    files = [path for path in directory.glob("__consumer_offsets-*/*.log") if path.stat().st_size]

    output = dump("--offsets-decoder", files=files)

    assert '"group":"dumped","topic":"dumped","partition":0' in output
    assert f'"offset":{ROUNDS - 1}' in output


def test_the_states_of_transactions_decode(directory: Path) -> None:
    files = [path for path in directory.glob("__transaction_state-*/*.log") if path.stat().st_size]

    output = dump("--transaction-log-decoder", files=files)

    assert "dumped" in output
    assert all(f'"transactionStatus":{state}' in output for state in range(6)), "each from Empty to CompleteAbort"
