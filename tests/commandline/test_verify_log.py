"""``manage.py verify_log`` on what a real broker wrote, whole and damaged in every way it promises to notice."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from confluent_kafka import Producer
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.client.blocking import Client
from broker.client.producer import new_record
from broker.commandline.dump import dump_file
from broker.commandline.log_files import kind_of
from broker.commandline.verify import survey, verify
from broker.commandline.verify_partition import Rules
from broker.protocol.batch import CRC_AT, HEADER, BatchHeader, compute_crc
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess

SEGMENT_BYTES = 1024 * 1024
BATCHES = 90


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The log directory of a stopped broker: a topic with segments, indexes and idempotent producers."""
    home = tmp_path_factory.mktemp("verified")
    with BrokerProcess(home, OTTLA_ACK_DURABILITY="os") as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("big", 1, 1, {"segment.bytes": str(SEGMENT_BYTES), "index.interval.bytes": "4096"})
            client.create_topic("small", 2, 1)
            for number in range(BATCHES):
                records = [
                    new_record(b"k%d" % index, b"x" * 4_000, timestamp_ms=number * 1_000 + index) for index in range(8)
                ]
                client.produce_batch("big", 0, records)
            for codec in ("none", "gzip", "snappy", "lz4", "zstd"):
                client.produce_batch("small", 0, [new_record(None, b"v" * 100) for _ in range(5)], compression=codec)
        producer = Producer({"bootstrap.servers": broker.bootstrap, "enable.idempotence": True, "linger.ms": 0})
        for _ in range(3):
            producer.produce("small", b"once", partition=1)
            producer.flush(10)
        broker.stop()
    return broker.data_directory


@pytest.fixture
def log_dir(written: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    return Path(shutil.copytree(written, tmp_path / written.name))


@pytest.fixture
def cli() -> Cli:
    return Cli()


def segments(log_dir: Path) -> list[Path]:
    return sorted((log_dir / "big-0").glob("*.log"))


def damage_of(cli: Cli, *arguments: object) -> list[tuple[str, int | None, int | None, str]]:
    """(file, byte, offset, what) of everything damaged; the exit status must say so."""
    assert cli.failure("verify_log", "--json", *arguments).returncode == 1
    report = json.loads(cli.output)
    return [(Path(one["path"]).name, one["position"], one["offset"], one["what"]) for one in report["damage"]]


def headers(path: Path) -> list[tuple[int, BatchHeader]]:
    content, position, found = path.read_bytes(), 0, []
    while position < len(content):
        header = BatchHeader._make(HEADER.unpack_from(content, position))
        found.append((position, header))
        position += header.size
    return found


def flip(path: Path, position: int) -> None:
    content = bytearray(path.read_bytes())
    content[position] ^= 0x01
    path.write_bytes(content)


def test_what_a_broker_wrote_is_healthy(cli: Cli, log_dir: Path) -> None:
    assert len(segments(log_dir)) >= 3
    report = cli.json("verify_log", log_dir, "--deep", "--strict")
    assert (report["damage"], report["torn_tails"], report["warnings"]) == ([], [], [])
    assert report["partitions"] == 3
    assert report["records"] == BATCHES * 8 + 25 + 3
    assert report["bytes"] == sum(path.stat().st_size for path in log_dir.glob("*/*.log"))
    assert "healthy" in cli("verify_log", log_dir)


def test_one_partition_alone(cli: Cli, log_dir: Path) -> None:
    assert cli.json("verify_log", log_dir / "small-0")["batches"] == 5


def test_a_flipped_bit_is_named_by_byte_and_offset(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[1]
    position, header = headers(path)[7]
    flip(path, position + header.size - 3)
    assert damage_of(cli, log_dir) == [
        (
            path.name,
            position,
            header.base_offset,
            f"the CRC does not match; everything below offset {BATCHES * 8} was durable",
        )
    ]


def test_two_flipped_bits_are_two_findings(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[0]
    places = [headers(path)[index] for index in (2, 5)]
    for position, header in places:
        flip(path, position + header.size - 3)
    assert [(byte, offset) for _, byte, offset, _ in damage_of(cli, log_dir / "big-0")] == [
        (position, header.base_offset) for position, header in places
    ]


def test_damage_below_the_recovery_point_is_no_torn_tail(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[-1]
    with path.open("r+b") as file:
        file.truncate(path.stat().st_size - 5)
    found = damage_of(cli, log_dir, "--allow-torn-tail")
    assert [name for name, *_ in found] == [path.name, "big-0"]
    assert f"everything below offset {BATCHES * 8} was durable" in found[0][3]


def test_a_torn_tail_is_tolerated_only_when_asked(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[-1]
    end, whole = path.stat().st_size, path.read_bytes()
    position, header = headers(path)[-1]
    again = bytearray(whole[position:])
    again[0:8] = header.next_offset.to_bytes(8, "big")
    path.write_bytes(whole + again[:100])
    (found,) = damage_of(cli, log_dir)
    assert found[:3] == (path.name, end, header.next_offset)
    report = cli.json("verify_log", log_dir, "--allow-torn-tail")
    assert report["damage"] == []
    (torn,) = report["torn_tails"]
    assert (torn["position"], torn["offset"]) == (end, header.next_offset)


def test_a_segment_that_is_gone_leaves_a_hole(cli: Cli, log_dir: Path) -> None:
    first, second, third, *_ = segments(log_dir)
    second.unlink()
    found = damage_of(cli, log_dir)
    assert found == [
        (
            third.name,
            None,
            int(second.stem),
            f"offsets {int(second.stem)} to {int(third.stem) - 1} are missing before it",
        )
    ]
    first.unlink()
    (log_dir / "log-start-offset-checkpoint").write_text("0\n1\nbig 0 7\n")
    ((name, _, offset, what),) = damage_of(cli, log_dir)
    assert (name, offset, what) == ("big-0", 7, f"the log starts at offset 7, its first segment at {int(third.stem)}")


def test_a_cut_segment_in_the_middle_is_damage(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[0]
    position, header = headers(path)[-1]
    with path.open("r+b") as file:
        file.truncate(position)
    found = damage_of(cli, log_dir, "--allow-torn-tail")
    assert ("offsets", header.base_offset) in [(what.split(" ")[0], offset) for _, _, offset, what in found]


def test_a_missing_index_is_a_warning(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[0].with_suffix(".index")
    path.unlink()
    report = cli.json("verify_log", log_dir)
    assert [(one["path"], one["what"]) for one in report["warnings"]] == [
        (str(path), "missing; it is rebuilt when it is needed")
    ]
    assert cli.failure("verify_log", log_dir, "--strict").returncode == 1


@pytest.mark.parametrize(
    ("suffix", "spoil", "what"),
    [
        (".index", lambda content: content[:-3], "no whole number of entries"),
        (".index", lambda content: content[8:16] + content[:8] + content[16:], "does not follow"),
        (".index", lambda content: content[:7] + bytes([content[7] ^ 1]) + content[8:], "where no batch starts"),
        (".index", lambda content: content[:3] + bytes([content[3] ^ 1]) + content[4:], "ends with offset"),
        (".index", lambda content: content + b"\x00\x0f\x00\x00\x7f\x00\x00\x00", "behind the end of the log"),
        (".timeindex", lambda content: content[:-3], "no whole number of entries"),
        (".timeindex", lambda content: content[:7] + bytes([content[7] ^ 1]) + content[8:], "the largest timestamp"),
    ],
)
def test_an_index_that_disagrees_is_damage(
    cli: Cli, log_dir: Path, suffix: str, spoil: Callable[[bytes], bytes], what: str
) -> None:
    path = segments(log_dir)[0].with_suffix(suffix)
    path.write_bytes(spoil(path.read_bytes()))
    found = damage_of(cli, log_dir)
    assert {name for name, *_ in found} == {path.name}
    assert what in found[0][3]


def test_preallocated_zeros_are_not_entries(cli: Cli, log_dir: Path) -> None:
    path = segments(log_dir)[-1].with_suffix(".index")
    path.write_bytes(path.read_bytes() + bytes(800))
    report = cli.json("verify_log", log_dir)
    assert "preallocated" in report["warnings"][0]["what"]


def test_epochs_that_contradict_the_log_are_damage(cli: Cli, log_dir: Path) -> None:
    path = log_dir / "big-0" / "leader-epoch-checkpoint"
    path.write_text("0\n1\n5 0\n")
    ((name, _, offset, what),) = damage_of(cli, log_dir)
    assert (name, offset, what) == (path.name, 0, "says epoch 5 wrote offset 0; the batch says 0")
    path.write_text("0\n2\n1 0\n0 4\n")
    assert "cannot be read" in damage_of(cli, log_dir)[0][3]


def test_deleted_records_that_are_still_on_disk_are_not_missed_in_the_epochs(cli: Cli, tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker:
        with Client(broker.bootstrap) as client:
            client.create_topic("given-up", 1, 1)
            for _ in range(10):
                client.produce_batch("given-up", 0, [new_record(None, b"value")])
            client.delete_records("given-up", {0: 4})
        broker.stop()

    assert (broker.data_directory / "given-up-0" / "leader-epoch-checkpoint").read_text() == "0\n1\n0 4\n"
    assert cli.json("verify_log", broker.data_directory)["damage"] == []


def test_snapshots_that_do_not_read_or_contradict_are_damage(cli: Cli, log_dir: Path) -> None:
    (path,) = (log_dir / "small-1").glob("*3.snapshot")
    whole = path.read_bytes()
    flip(path, len(whole) - 1)
    assert damage_of(cli, log_dir) == [(path.name, None, None, "cannot be read: the CRC does not match")]
    path.write_bytes(whole)
    moved = log_dir / "small-0" / path.name
    shutil.copy(path, moved)
    ((name, _, offset, what),) = damage_of(cli, log_dir)
    assert (name, offset) == (path.name, 2)
    assert "producer" in what


def test_checkpoints_are_held_against_the_logs(cli: Cli, log_dir: Path) -> None:
    path = log_dir / "recovery-point-offset-checkpoint"
    path.write_text(path.read_text().replace("small 0 25", "small 0 26"))
    assert [(name, offset) for name, _, offset, _ in damage_of(cli, log_dir)] == [("small-0", 25)]
    path.write_text("0\n7\nnonsense\n")
    assert damage_of(cli, log_dir)[0][0] == path.name


def test_topic_ids_are_those_of_the_topic(cli: Cli, log_dir: Path) -> None:
    shutil.copy(log_dir / "big-0" / "partition.metadata", log_dir / "small-1" / "partition.metadata")
    ((name, *_, what),) = damage_of(cli, log_dir)
    assert (name, "topic id" in what) == ("small-1", True)
    (log_dir / "small-1" / "partition.metadata").write_text("version: 0\ntopic_id: ?\n")
    assert damage_of(cli, log_dir)[0][0] == "partition.metadata"


def test_batches_that_lie_about_their_records_are_found_by_opening_them(cli: Cli, log_dir: Path) -> None:
    path = next((log_dir / "small-0").glob("*.log"))
    content = bytearray(path.read_bytes())
    position, header = headers(path)[0]
    content[position + header.size - 10] ^= 0x7F
    content[position + CRC_AT : position + CRC_AT + 4] = compute_crc(content, position, header.size).to_bytes(4, "big")
    inflated, later = headers(path)[1]
    content[inflated + later.size - 6] ^= 0x7F
    content[inflated + CRC_AT : inflated + CRC_AT + 4] = compute_crc(content, inflated, later.size).to_bytes(4, "big")
    path.write_bytes(content)
    assert cli.json("verify_log", log_dir)["damage"] == []
    assert ("small-0", inflated) in {("small-0", byte) for _, byte, *_ in damage_of(cli, log_dir, "--deep")}


def test_a_running_brokers_files_are_fine_with_the_flag(cli: Cli, tmp_path: Path) -> None:
    with BrokerProcess(tmp_path) as broker, Client(broker.bootstrap) as client:
        client.create_topic("live", 1, 1)
        for _ in range(20):
            client.produce("live", None, b"v")
            assert cli.json("verify_log", broker.data_directory, "--allow-torn-tail")["damage"] == []
        broker.kill()
        report = cli.json("verify_log", broker.data_directory, "--allow-torn-tail")
        assert (report["damage"], report["records"]) == ([], 20)


@pytest.fixture(scope="module")
def small(written: Path) -> dict[str, bytes]:
    """The files of one partition with five batches, in memory."""
    return {path.name: path.read_bytes() for path in (written / "small-0").iterdir()}


def laid_out(files: dict[str, bytes]) -> tuple[tempfile.TemporaryDirectory[str], str]:
    home = tempfile.TemporaryDirectory()
    directory = Path(home.name) / "small-0"
    directory.mkdir()
    for name, content in files.items():
        (directory / name).write_bytes(content)
    return home, str(directory)


def test_an_epoch_below_zero_is_damage(small: dict[str, bytes]) -> None:
    (name,) = [name for name in small if name.endswith(".log")]
    content = bytearray(small[name])
    content[12] ^= 0x80
    home, directory = laid_out({**small, name: bytes(content)})
    with home:
        report = verify(survey([directory]), Rules())
    assert ["the leader epoch is -2147483648" in str(finding) for finding in report["damage"]] == [True]


@settings(max_examples=150)
@given(data=st.data())
def test_no_flipped_bit_of_a_log_goes_unnoticed(small: dict[str, bytes], data: st.DataObject) -> None:
    (name,) = [name for name in small if name.endswith(".log")]
    content = bytearray(small[name])
    place = data.draw(st.integers(0, len(content) * 8 - 1))
    content[place // 8] ^= 1 << place % 8
    home, directory = laid_out({**small, name: bytes(content)})
    with home:
        report = verify(survey([directory]), Rules(deep=data.draw(st.booleans())))
    last = 0
    while last + int.from_bytes(small[name][last + 8 : last + 12], "big") + 12 < len(content):
        last += int.from_bytes(small[name][last + 8 : last + 12], "big") + 12
    # The epoch of the very last batch is outside of the CRC, and nothing follows that could contradict it.
    if not last + 12 <= place // 8 < last + 16:
        assert report["damage"]


@settings(max_examples=150)
@given(data=st.data())
def test_whatever_the_files_hold_there_is_a_report(small: dict[str, bytes], data: st.DataObject) -> None:
    spoiled = dict(small)
    for name in data.draw(st.lists(st.sampled_from(sorted(small)), unique=True, min_size=1)):
        content = spoiled[name]
        start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(content))] * 2)))
        spoiled[name] = content[:start] + data.draw(st.binary(max_size=100)) + content[end:]
    home, directory = laid_out(spoiled)
    with home:
        report = verify(survey([directory]), Rules(deep=True, torn_tail_allowed=data.draw(st.booleans())))
        for path in Path(directory).iterdir():
            known = kind_of(path.name)
            if known is not None:
                list(dump_file(str(path), *known, deep=True))
    assert report["partitions"] == 1


@pytest.mark.parametrize("path", ["/no/such/directory", "/proc/self/fdinfo"])
def test_what_is_no_log_directory_is_wrong_use(cli: Cli, path: str) -> None:
    assert cli.failure("verify_log", path).returncode == 2
