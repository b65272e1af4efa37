"""``manage.py retention`` on a real broker: the plan as a table, the deed, and the exit status."""

from __future__ import annotations

import io
import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from pytest_django import Settings

from broker.client.blocking import Client
from broker.models import JobRun
from tests.support.broker_process import BrokerProcess
from tests.support.ports import free_port

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def configured(broker_process: BrokerProcess, settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{broker_process.internal_port}"]
    settings.OTTLA_CLUSTER_SECRET_FILE = broker_process.home / "cluster_secret"


@pytest.fixture
def topic(broker_process: BrokerProcess) -> Iterator[str]:
    """Two partitions, an expired record in the first."""
    name = f"command-{uuid.uuid4().hex[:8]}"
    with Client(broker_process.bootstrap) as client:
        client.create_topic(name, 2, 1, {"retention.ms": "3600000"})
        client.produce(name, None, b"old", partition=0, timestamp_ms=1_700_000_000_000)
        client.produce(name, None, b"young", partition=1)
        yield name
        client.delete_topic(name)


def retention(*arguments: str) -> str:
    output = io.StringIO()
    call_command("retention", *arguments, stdout=output)
    return output.getvalue()


def failure(*arguments: str) -> CommandError:
    with pytest.raises(CommandError) as caught:
        retention(*arguments)
    return caught.value


def test_a_dry_run_shows_the_plan_and_deletes_nothing(topic: str) -> None:
    for _ in range(2):
        shown = retention("--topic", topic, "--dry-run")
        assert "What retention would delete now" in shown
        (row,) = [line for line in shown.splitlines() if topic in line]
        for part in ("retention.ms", "0 – 0", "2023-11-14 22:13:20 UTC"):
            assert part in row
    assert JobRun.objects.count() == 0


def test_a_dry_run_for_a_program(topic: str) -> None:
    (row,) = json.loads(retention("--topic", topic, "--dry-run", "--json"))
    assert row.pop("bytes") > 0
    assert row == {
        "broker": 1,
        "topic": topic,
        "partition": 0,
        "rule": "retention.ms",
        "first_offset": 0,
        "new_log_start_offset": 1,
        "segments": 1,
        "newest_timestamp_ms": 1_700_000_000_000,
    }


def test_without_dry_run_it_is_done_and_recorded(topic: str) -> None:
    assert "deleted 1 segment, freed" in retention("--topic", topic)
    (job,) = JobRun.objects.all()
    assert (job.state, job.trigger, job.topic, job.segments_deleted) == ("succeeded", "command", topic, 1)
    assert retention("--topic", topic, "--dry-run") == "Nothing to delete.\n"
    assert "nothing to delete" in retention("--topic", topic)


def test_what_was_done_for_a_program(topic: str) -> None:
    (row,) = json.loads(retention("--topic", topic, "--json"))
    assert (row["state"], row["segments_deleted"], row["error"]) == ("succeeded", 1, "")
    assert json.loads(retention("--topic", topic, "--dry-run", "--json")) == []


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_an_unknown_topic_is_wrong_use(options: list[str]) -> None:
    error = failure("--topic", "no-such-topic", *options)
    assert error.returncode == 2
    assert "no-such-topic" in str(error)


def test_an_unknown_broker_is_wrong_use() -> None:
    error = failure("--broker", "7", "--dry-run")
    assert (error.returncode, str(error)) == (2, "there is no broker 7; known: 1")


@pytest.mark.parametrize("options", [["--dry-run"], []])
def test_a_broker_that_cannot_be_reached_fails(options: list[str], settings: Settings) -> None:
    settings.OTTLA_BOOTSTRAP_INTERNAL = [f"127.0.0.1:{free_port()}"]
    error = failure(*options)
    assert error.returncode == 1
    assert "cannot connect" in str(error)


def test_a_missing_secret_says_which_file(settings: Settings, tmp_path: Any) -> None:
    settings.OTTLA_CLUSTER_SECRET_FILE = tmp_path / "nothing"
    error = failure("--dry-run")
    assert error.returncode == 1
    assert "nothing" in str(error)
