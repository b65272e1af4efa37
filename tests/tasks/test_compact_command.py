"""``manage.py compact`` on a real broker: the plan, the deed, what readers find, and the exit status."""

from __future__ import annotations

import io
import json
import shutil
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from django.core.management import CommandError, call_command
from pytest_django import Settings

from broker.client.blocking import Client
from broker.jobs import compaction
from broker.models import JobRun
from tests.support.broker_process import BrokerProcess
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db(transaction=True)

COMPACTED = {"cleanup.policy": "compact", "internal.segment.bytes": "20000"}
KEYS = 50
ROUNDS = 12


@pytest.fixture(autouse=True)
def configured(broker_process: BrokerProcess, settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker_process.internal_port}"]
    settings.OTTLA_CLUSTER_SECRET_FILE = broker_process.home / "cluster_secret"


@pytest.fixture
def topic(broker_process: BrokerProcess) -> Iterator[str]:
    """Every key twelve times, in many closed segments."""
    name = f"compacted-{uuid.uuid4().hex[:8]}"
    with Client(broker_process.bootstrap) as client:
        client.create_topic(name, 1, 1, COMPACTED)
        produce(broker_process, name, range(ROUNDS))
        yield name
        client.delete_topic(name)


def produce(broker: BrokerProcess, topic: str, rounds: range) -> None:
    producer = Producer({"bootstrap.servers": broker.bootstrap, "linger.ms": 2, "batch.num.messages": 10})
    for number in rounds:
        for key in range(KEYS):
            producer.produce(topic, key=b"key %d" % key, value=b"%d " % number + bytes(200))
        producer.flush()


def consume(broker: BrokerProcess, topic: str, start: int = 0) -> list[tuple[int, bytes, bytes]]:
    consumer = Consumer({"bootstrap.servers": broker.bootstrap, "group.id": "none", "enable.partition.eof": True})
    consumer.assign([TopicPartition(topic, 0, start)])
    found = []
    while True:
        message = consumer.poll(10.0)
        assert message is not None, "the consumer is stuck"
        if message.error() is not None:
            break
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def compact(*arguments: str) -> str:
    output = io.StringIO()
    call_command("compact", *arguments, stdout=output)
    return output.getvalue()


def failure(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        compact(*arguments)
    return caught.value


def test_a_dry_run_says_what_is_due_and_changes_nothing(broker_process: BrokerProcess, topic: str) -> None:
    (row,) = json.loads(compact("--topic", topic, "--dry-run", "--json"))
    assert row["rule"] == "min.cleanable.dirty.ratio"
    assert row["dirty_ratio"] == 1.0
    assert topic in compact("--topic", topic, "--dry-run")
    assert len(consume(broker_process, topic)) == KEYS * ROUNDS
    assert JobRun.objects.count() == 0


def test_the_last_value_of_every_key_is_what_a_reader_finds(broker_process: BrokerProcess, topic: str) -> None:
    before = consume(broker_process, topic)
    (run,) = json.loads(compact("--topic", topic, "--json"))
    assert run["state"] == "succeeded"
    assert run["bytes_saved"] > 50_000
    after = consume(broker_process, topic)
    assert {key: value for _, key, value in after} == {key: value for _, key, value in before}
    assert set(after) < set(before)
    assert len(after) < 2 * KEYS + 100
    assert after == sorted(after)
    with Client(broker_process.bootstrap) as client:
        assert client.list_offsets(topic, {0: -1})[0].offset == KEYS * ROUNDS
    middle = after[len(after) // 2][0]
    assert consume(broker_process, topic, start=middle - 1)[0][0] in (middle - 1, middle)


def test_the_files_read_well_and_a_restart_finds_the_same(tmp_path: Path, settings: Settings) -> None:
    with BrokerProcess(tmp_path) as broker:
        settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker.internal_port}"]
        settings.OTTLA_CLUSTER_SECRET_FILE = broker.home / "cluster_secret"
        with Client(broker.bootstrap) as client:
            client.create_topic("t", 1, 1, COMPACTED | {"file.delete.delay.ms": "0"})
        produce(broker, "t", range(ROUNDS))
        shown = compact("--topic", "t")
        assert "saved" in shown
        after = consume(broker, "t")
        for how in (broker.kill, broker.stop):
            how()
            verify(broker)
            broker.start()
            assert consume(broker, "t") == after
        produce(broker, "t", range(ROUNDS, ROUNDS + 3))
        (run,) = json.loads(compact("--topic", "t", "--json"))
        assert run["state"] == "succeeded"
        assert {value[:2] for _, _, value in consume(broker, "t")} <= {b"11", b"12", b"13", b"14"}


def verify(broker: BrokerProcess) -> None:
    output = io.StringIO()
    call_command("verify_log", str(broker.data_directory), "--deep", "--json", stdout=output)
    report = json.loads(output.getvalue())
    assert report["damage"] == []


def test_files_on_another_machine_are_told_apart(
    broker_process: BrokerProcess, topic: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    class Elsewhere:
        def read_file(self, path: str) -> bytes | None:
            return None

    monkeypatch.setattr(compaction, "RealFileSystem", Elsewhere)
    error = failure("--topic", topic)
    assert error.returncode == 1
    assert "on this machine" in str(error)
    assert "maintenance.1" in str(error)
    copied = tmp_path / "copied.properties"
    shutil.copy(broker_process.data_directory / "meta.properties", copied)
    lines = [line for line in copied.read_text().splitlines() if not line.startswith("directory.id")]
    copied.write_text("\n".join([*lines, "directory.id=other"]))
    monkeypatch.setattr(Elsewhere, "read_file", lambda self, path: copied.read_bytes())
    assert "another directory" in str(failure("--topic", topic))


def test_a_damaged_segment_fails_the_run_and_loses_nothing(tmp_path: Path, settings: Settings) -> None:
    with BrokerProcess(tmp_path, sound=False) as broker:
        settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker.internal_port}"]
        settings.OTTLA_CLUSTER_SECRET_FILE = broker.home / "cluster_secret"
        with Client(broker.bootstrap) as client:
            client.create_topic("t", 1, 1, COMPACTED)
        produce(broker, "t", range(ROUNDS))
        segments = sorted((broker.data_directory / "t-0").glob("*.log"))
        content = bytearray(segments[1].read_bytes())
        content[-1] ^= 0xFF
        segments[1].write_bytes(content)
        error = failure("--topic", "t")
        assert error.returncode == 1
        assert "t-0" in str(error)
        assert "cannot be read" in str(error)
        assert sorted((broker.data_directory / "t-0").glob("*.log")) == segments


@pytest.mark.parametrize(
    ("arguments", "status"),
    [(("--topic", "no-such-topic"), 2), (("--broker", "9"), 2)],
)
def test_wrong_use_has_its_own_exit_status(arguments: tuple[str, ...], status: int) -> None:
    assert failure(*arguments).returncode == status


def test_a_topic_that_is_not_compacted_is_wrong_use(broker_process: BrokerProcess) -> None:
    name = f"plain-{uuid.uuid4().hex[:8]}"
    with Client(broker_process.bootstrap) as client:
        client.create_topic(name, 1, 1)
        error = failure("--topic", name)
        assert (error.returncode, "cleanup.policy" in str(error)) == (2, True)
        client.delete_topic(name)


def test_a_broker_that_is_away_is_a_failure(settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{free_port()}"]
    assert failure().returncode == 1


def rows(detail: dict[str, Any]) -> list[dict[str, Any]]:
    return list(detail["rows"])


def test_the_row_says_what_was_done(topic: str) -> None:
    compact("--topic", topic)
    job = JobRun.objects.get()
    (row,) = rows(job.detail["compacted"])
    assert (job.kind, job.trigger, job.state, job.topic) == ("compaction", "command", "succeeded", topic)
    assert (job.progress_done, job.progress_total) == (100, 100)
    assert job.bytes_freed == row["bytes_before"] - row["bytes_after"]
    assert row["records_kept"] < row["records_read"]
    compact("--topic", topic)
    assert JobRun.objects.first().detail["compacted"]["count"] == 0  # type: ignore[union-attr]
