"""Compaction by a real worker, through a real Redis, on a real broker's files: under load, raced and killed."""

from __future__ import annotations

import io
import json
import threading
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from confluent_kafka import Consumer, KafkaError, Producer, TopicPartition
from django.core.management import call_command
from django.utils import timezone
from pytest_django import DjangoDbBlocker

from broker.jobs import runs
from broker.models import JobRun
from broker.protocol.api import ApiKey
from tests.support.wait import wait_until
from tests.tasks.installation import Installation, installed

COMPACTED = {"cleanup.policy": "compact", "internal.segment.bytes": "50000", "min.cleanable.dirty.ratio": "0.01"}


@pytest.fixture(scope="module")
def installation(
    tmp_path_factory: pytest.TempPathFactory, django_db_blocker: DjangoDbBlocker
) -> Iterator[Installation]:
    home = tmp_path_factory.mktemp("compaction")
    with installed(home, django_db_blocker, holding=ApiKey.SWAP_SEGMENTS) as made:
        yield made


@pytest.fixture(autouse=True)
def database_access(django_db_blocker: DjangoDbBlocker) -> Iterator[None]:
    with django_db_blocker.unblock():
        yield


def new_topic(installation: Installation, **configs: str) -> str:
    name = f"compacted-{uuid.uuid4().hex[:8]}"
    installation.client.create_topic(name, 1, 1, COMPACTED | configs)
    return name


def produce(installation: Installation, topic: str, count: int, *, keys: int = 40, start: int = 0) -> None:
    producer = Producer({"bootstrap.servers": installation.broker.bootstrap, "batch.num.messages": 20})
    for number in range(start, start + count):
        producer.produce(topic, key=b"key %d" % (number % keys), value=b"%d " % number + bytes(150))
    assert producer.flush(30) == 0


def read(installation: Installation, topic: str, start: int = 0) -> list[tuple[int, bytes, bytes]]:
    consumer = Consumer(
        {
            "bootstrap.servers": installation.broker.bootstrap,
            "group.id": "none",
            "enable.partition.eof": True,
            "isolation.level": "read_committed",
        }
    )
    consumer.assign([TopicPartition(topic, 0, start)])
    found = []
    while True:
        message = consumer.poll(15.0)
        assert message is not None, "the consumer is stuck"
        if message.error() is not None:
            assert message.error().code() == KafkaError._PARTITION_EOF, message.error()
            break
        found.append((message.offset(), message.key(), message.value()))
    consumer.close()
    return found


def table(records: list[tuple[int, bytes, bytes]]) -> dict[bytes, bytes]:
    return {key: value for _, key, value in records}


def verify(installation: Installation) -> None:
    output = io.StringIO()
    call_command("verify_log", str(installation.broker.data_directory), "--deep", "--json", stdout=output)
    assert json.loads(output.getvalue())["damage"] == []


def test_a_run_by_the_queue_of_the_broker_compacts_under_load(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 2_000)
    stop, written = threading.Event(), [2_000]

    def load() -> None:
        while not stop.is_set():
            produce(installation, topic, 200, start=written[0])
            written[0] += 200

    producing = threading.Thread(target=load)
    producing.start()
    try:
        jobs = [installation.compact(topic) for _ in range(4)]
    finally:
        stop.set()
        producing.join()
    assert {(job.state, job.error) for job in jobs} == {("succeeded", "")}
    assert sum(job.bytes_freed for job in jobs) > 200_000
    found = read(installation, topic)
    newest = {b"key %d" % (number % 40): number for number in range(written[0])}
    assert {key: int(value.split()[0]) for key, value in table(found).items()} == newest
    assert len(found) < written[0] / 2
    assert installation.client.list_offsets(topic, {0: -1})[0].offset == written[0]


def test_the_schedule_compacts_what_is_dirty_and_pauses(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 1_500)
    runs_of_topic = installation.jobs.filter(kind="compaction", trigger="beat")
    before = set(runs_of_topic.values_list("pk", flat=True))
    installation.jobs.filter(kind="compaction").update(finished_at=timezone.now() - timedelta(minutes=1))
    installation.send("broker.compaction")
    job = wait_until(
        lambda: runs_of_topic.exclude(pk__in=before).filter(state__in=("succeeded", "failed")).first(), "a run finishes"
    )
    assert (job.state, job.error) == ("succeeded", "")
    assert topic in {row["topic"] for row in job.detail["compacted"]["rows"]}
    count = runs_of_topic.count()
    installation.send("broker.compaction")
    installation.run(installation.queue(topic="no-such-topic"))
    assert runs_of_topic.count() == count, "the pause is not over"
    installation.client.delete_topic(topic)


@contextmanager
def held_at_the_swap(installation: Installation, topic: str) -> Iterator[JobRun]:
    """A run that has cleaned a segment and is about to ask for the swap; it goes on at the end of the block."""
    proxy = installation.proxy
    assert proxy is not None
    proxy.hold()
    try:
        job = installation.queue(kind="compaction", topic=topic)
        installation.send_compaction(job)
        assert proxy.is_holding.wait(30), installation.worker.output
        yield job
    finally:
        proxy.let_go()


def test_a_worker_killed_in_the_middle_leaves_a_log_that_the_next_one_cleans(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 1_500)
    expected = table(read(installation, topic))
    with held_at_the_swap(installation, topic) as job:
        installation.worker.kill()
        assert list(partition_directory(installation, topic).glob("*.cleaned"))
    assert table(read(installation, topic)) == expected
    long_ago = timezone.now() - timedelta(seconds=runs.RUN_SECONDS_MAX + 1)
    installation.jobs.filter(pk=job.pk).update(started_at=long_ago, seen_at=long_ago)
    installation.worker.start()
    assert installation.compact(topic).state == "succeeded"
    assert installation.jobs.get(pk=job.pk).state == "failed"
    assert not list(partition_directory(installation, topic).glob("*.cleaned"))
    assert table(read(installation, topic)) == expected


def partition_directory(installation: Installation, topic: str) -> Path:
    return installation.broker.data_directory / f"{topic}-0"


def test_a_broker_killed_in_the_middle_fails_the_run_and_loses_nothing(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 1_500)
    expected = table(read(installation, topic))
    with held_at_the_swap(installation, topic) as job:
        installation.broker.kill()
    assert installation.finished(job).state == "failed"
    verify(installation)
    installation.broker.start()
    assert table(read(installation, topic)) == expected
    assert not list(partition_directory(installation, topic).glob("*.cleaned"))
    assert installation.compact(topic).state == "succeeded"
    assert table(read(installation, topic)) == expected
    verify(installation)


def test_a_topic_deleted_in_the_middle_is_no_error(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 1_500)
    with held_at_the_swap(installation, topic) as job:
        installation.client.delete_topic(topic)
        installation.client.create_topic(topic, 1, 1, COMPACTED)
        produce(installation, topic, 100)
    job = installation.finished(job)
    assert (job.state, job.error) == ("succeeded", "")
    (refusal,) = job.detail["refused"]["rows"]
    assert refusal["topic"] == topic
    assert len(read(installation, topic)) == 100


def test_retention_and_compaction_share_a_topic(installation: Installation) -> None:
    topic = new_topic(installation, **{"cleanup.policy": "compact,delete", "retention.bytes": "200000"})
    produce(installation, topic, 1_500, keys=1_500)
    produce(installation, topic, 300, keys=300)
    with held_at_the_swap(installation, topic) as job:
        deleted = installation.run(installation.queue(topic=topic))
    job = installation.finished(job)
    assert deleted.segments_deleted > 0
    assert (job.state, job.error) == ("succeeded", "")
    assert "gone" in job.detail["refused"]["rows"][0]["why"]
    start = installation.client.list_offsets(topic, {0: -2})[0].offset
    assert start > 0
    assert installation.compact(topic).state == "succeeded"
    found = read(installation, topic, start=start)
    assert found[0][0] >= start
    assert {key for _, key, _ in found} >= {b"key %d" % number for number in range(300)}


def test_a_running_compaction_stops_when_it_is_cancelled(installation: Installation) -> None:
    topic = new_topic(installation)
    produce(installation, topic, 3_000)
    installation.client.alter_broker_configs(None, {"log.cleaner.io.max.bytes.per.second": "50000"})
    try:
        job = installation.queue(kind="compaction", topic=topic)
        installation.send_compaction(job)
        wait_until(lambda: installation.jobs.get(pk=job.pk).progress_total, "it is under way")
        installation.jobs.filter(pk=job.pk).update(cancel_requested=True)
        job = installation.finished(job)
    finally:
        installation.client.alter_broker_configs(None, {"log.cleaner.io.max.bytes.per.second": None})
    assert job.state == "cancelled"
    assert len(read(installation, topic)) == 3_000
    assert not list(partition_directory(installation, topic).glob("*.cleaned"))
    installation.client.delete_topic(topic)


def test_a_broker_that_does_not_compact_says_so(installation: Installation) -> None:
    installation.client.alter_broker_configs(None, {"log.cleaner.threads": "0"})
    try:
        job = installation.compact()
    finally:
        installation.client.alter_broker_configs(None, {"log.cleaner.threads": None})
    assert job.state == "succeeded"
    assert "log.cleaner.threads is 0" in job.detail["idle_reason"]


def test_several_threads_and_a_small_map_come_to_the_same(installation: Installation) -> None:
    name = f"wide-{uuid.uuid4().hex[:8]}"
    installation.client.create_topic(name, 4, 1, COMPACTED)
    producer = Producer({"bootstrap.servers": installation.broker.bootstrap, "batch.num.messages": 20})
    for number in range(4_000):
        producer.produce(name, key=b"%d" % (number % 400), value=b"%d" % number + bytes(100), partition=number % 4)
    assert producer.flush(30) == 0
    installation.client.alter_broker_configs(None, {"log.cleaner.threads": "3"})
    try:
        job = installation.compact(name)
    finally:
        installation.client.alter_broker_configs(None, {"log.cleaner.threads": None})
    assert job.state == "succeeded"
    assert {row["partition"] for row in job.detail["compacted"]["rows"]} == {0, 1, 2, 3}
    found = table(read(installation, name))
    assert {int(value.rstrip(b"\0")) for value in found.values()} == set(range(3_600, 4_000, 4))
    installation.client.delete_topic(name)
