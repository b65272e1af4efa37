"""``manage.py dump_log`` on what a real broker wrote: every kind of file, every row as a value."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from confluent_kafka import Producer

from broker.client.blocking import Client
from broker.client.producer import new_record
from broker.commandline.internal_records import decode_offsets_record, decode_transactions_record
from broker.commandline.outcome import WRONG_USE
from broker.transactions.metadata import Transaction
from broker.transactions.records import TransactionRecord, encode_record
from broker.transactions.states import TransactionState
from broker.types import TopicPartition
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess

CODECS = ("none", "gzip", "snappy", "lz4", "zstd")


@pytest.fixture(scope="module")
def log_dir(tmp_path_factory: pytest.TempPathFactory) -> Path:
    with BrokerProcess(tmp_path_factory.mktemp("dumped"), OTTLA_ACK_DURABILITY="os") as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("logs", 2, 1, {"index.interval.bytes": "0"})
            for codec in CODECS:
                records = [new_record(b"k", b"v" * 200, {"h": b"\xff"}, timestamp_ms=1_000 + index) for index in (0, 1)]
                client.produce_batch("logs", 0, records, compression=codec)
            client.commit_group_offsets("readers", {TopicPartition("logs", 1): 1})
        producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True})
        producer.produce("logs", b"once", partition=1)
        producer.flush(10)
        broker.stop()
    return broker.data_directory


@pytest.fixture
def cli() -> Cli:
    return Cli()


def only(directory: Path, pattern: str) -> Path:
    (path,) = directory.glob(pattern)
    return path


def test_batches_of_a_log(cli: Cli, log_dir: Path) -> None:
    path = only(log_dir / "logs-0", "*.log")
    rows = cli.lines("dump_log", path)
    assert [(row["baseOffset"], row["lastOffset"], row["count"], row["compresscodec"]) for row in rows] == [
        (2 * index, 2 * index + 1, 2, codec) for index, codec in enumerate(CODECS)
    ]
    assert sum(row["size"] for row in rows) == path.stat().st_size
    first = rows[0]
    assert (first["file"], first["kind"], first["position"], first["isvalid"]) == (str(path), "batch", 0, True)
    assert (first["timestampType"], first["maxTimestamp"], first["partitionLeaderEpoch"]) == ("CreateTime", 1_001, 0)
    assert (first["producerId"], first["isControl"], first["isTransactional"]) == (-1, False, False)


def test_records_with_deep_iteration(cli: Cli, log_dir: Path) -> None:
    rows = cli.lines("dump_log", "--deep-iteration", only(log_dir / "logs-0", "*.log"))
    records = [row for row in rows if row["kind"] == "record"]
    assert [row["offset"] for row in records] == list(range(10))
    records[1].pop("file")
    assert records[1] == {
        "kind": "record",
        "offset": 1,
        "timestamp": 1_001,
        "keySize": 1,
        "valueSize": 200,
        "sequence": -1,
        "headers": [{"name": "h", "value_base64": "/w=="}],
        "key": "k",
        "payload": "v" * 200,
    }


def test_text_reads_as_that_of_kafkas_tool(cli: Cli, log_dir: Path) -> None:
    path = only(log_dir / "logs-1", "*.log")
    first, second, batch, record = cli("dump_log", "--print-data-log", path).splitlines()
    assert (first, second) == (f"Dumping {path}", "Log starting offset: 0")
    assert batch.startswith("baseOffset: 0 lastOffset: 0 count: 1 baseSequence: 0 lastSequence: 0 producerId: ")
    assert batch.endswith(" isvalid: true")
    assert record.startswith("| offset: 0 timestamp: ")
    assert record.endswith(" key: none payload: once")


def test_indexes_snapshots_epochs_and_checkpoints(cli: Cli, log_dir: Path) -> None:
    batches = cli.lines("dump_log", only(log_dir / "logs-0", "*.log"))
    entries = cli.lines("dump_log", only(log_dir / "logs-0", "*.index"))
    assert [(row["offset"], row["position"]) for row in entries] == [
        (row["lastOffset"], row["position"]) for row in batches[1:]
    ]
    times = cli.lines("dump_log", only(log_dir / "logs-0", "*.timeindex"))
    assert [(row["timestamp"], row["offset"]) for row in times] == [(1_001, 1)]
    (producer,) = cli.lines("dump_log", only(log_dir / "logs-1", "*1.snapshot"))
    assert (producer["lastSequence"], producer["lastOffset"], producer["producerEpoch"]) == (0, 0, 0)
    (epoch,) = cli.lines("dump_log", log_dir / "logs-0" / "leader-epoch-checkpoint")
    assert (epoch["epoch"], epoch["startOffset"]) == (0, 0)
    offsets = cli.lines("dump_log", log_dir / "recovery-point-offset-checkpoint")
    found = [(row["partition"], row["offset"]) for row in offsets if row["topic"] == "logs"]
    assert found == [(0, 10), (1, 1)]


def test_what_groups_have_committed_in_words(cli: Cli, log_dir: Path) -> None:
    rows = [
        row for path in log_dir.glob("__consumer_offsets-*") for row in cli.lines("dump_log", "--offsets-decoder", path)
    ]
    records = [row for row in rows if row["kind"] == "record"]
    (committed,) = [row for row in records if row["record"] == "offset"]
    assert (committed["group"], committed["topic"], committed["partition"]) == ("readers", "logs", 1)
    assert (committed["committedOffset"], committed["deleted"]) == (1, False)


def test_what_a_coordinator_knows_of_a_transaction_in_words() -> None:
    transaction = Transaction(
        producer_id=7,
        producer_epoch=2,
        timeout_ms=60_000,
        state=TransactionState.PREPARE_COMMIT,
        partitions=frozenset({TopicPartition("logs", 1), TopicPartition("logs", 0)}),
        start_ms=5,
        update_ms=6,
        client_version=2,
    )
    record = TransactionRecord(transactional_id="copier", value=transaction)
    assert decode_transactions_record(*encode_record(record)) == {
        "record": "transaction",
        "transactionalId": "copier",
        "deleted": False,
        "state": "PrepareCommit",
        "producerId": 7,
        "producerEpoch": 2,
        "previousProducerId": -1,
        "nextProducerId": -1,
        "timeoutMs": 60_000,
        "partitions": ["logs-0", "logs-1"],
        "startTimestamp": 5,
        "updateTimestamp": 6,
        "clientTransactionVersion": 2,
    }
    key, _ = encode_record(record)
    assert decode_transactions_record(key, None)["deleted"] is True
    assert decode_transactions_record(None, None)["record"] == "malformed"
    assert decode_transactions_record(b"\x00\x09", None)["record"] == "of another version"


def test_a_log_is_of_groups_or_of_transactions(cli: Cli, log_dir: Path) -> None:
    failure = cli.failure("dump_log", "--offsets-decoder", "--transaction-log-decoder", log_dir / "logs-0")
    assert failure.returncode == WRONG_USE


@pytest.mark.parametrize(
    ("key", "value", "kind"),
    [
        (None, None, "malformed"),
        (b"\x00\x01", None, "malformed"),
        (b"\x00\x63", None, "of another group protocol"),
        (b"\x00\x02\x00\x01g", None, "group"),
    ],
)
def test_a_record_nobody_understands_is_said_to_be_one(key: bytes | None, value: bytes | None, kind: str) -> None:
    assert decode_offsets_record(key, value)["record"] == kind


def test_a_directory_is_all_its_files(cli: Cli, log_dir: Path) -> None:
    files = {Path(row["file"]).name for row in cli.lines("dump_log", log_dir / "logs-0")}
    assert {"leader-epoch-checkpoint", "partition.metadata", f"{0:020d}.log", f"{0:020d}.index"} <= files


def test_damage_is_a_row_and_an_exit_status(cli: Cli, log_dir: Path, tmp_path: Path) -> None:
    content = bytearray(only(log_dir / "logs-0", "*.log").read_bytes())
    content[80] ^= 1
    path = tmp_path / f"{0:020d}.log"
    path.write_bytes(content[:-4])
    assert cli.failure("dump_log", "--json", "--deep-iteration", path).returncode == 1
    rows = [json.loads(line) for line in cli.output.splitlines()]
    assert (rows[0]["isvalid"], rows[1]["kind"], rows[1]["reason"]) == (False, "damage", "the CRC does not match")
    assert (rows[2]["isvalid"], rows[3]["kind"]) == (True, "record")
    assert (rows[-1]["kind"], rows[-1]["reason"]) == ("damage", "the file ends inside a batch")
    short = tmp_path / f"{0:020d}.index"
    short.write_bytes(bytes(13))
    assert cli.failure("dump_log", short).returncode == 1
    broken = tmp_path / f"{0:020d}.snapshot"
    broken.write_bytes(b"nonsense")
    assert cli.failure("dump_log", broken).returncode == 1


@pytest.mark.parametrize("path", ["/no/such/file", "/etc/hostname"])
def test_what_is_no_file_of_a_log_is_wrong_use(cli: Cli, path: str) -> None:
    assert cli.failure("dump_log", path).returncode == 2
