"""``manage.py transactions`` beside a real producer of another library, and for one that never came back."""

from __future__ import annotations

import time
from typing import Any

import pytest
from confluent_kafka import Producer

from broker.client.blocking import Client
from broker.commandline import transactions
from broker.commandline.outcome import FAILED, WRONG_USE
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until
from tests.support.wire import Wire

pytestmark = pytest.mark.interop

WAIT = 30.0
FOREVER_AGO_MS = 10**15


@pytest.fixture
def open_transaction(broker_process: BrokerProcess, topic: str) -> Producer:
    """Its transactional id is the topic's name; one record is written and not committed."""
    producer = Producer({"bootstrap.servers": broker_process.bootstrap, "transactional.id": topic, "linger.ms": 0})
    producer.init_transactions(WAIT)
    producer.begin_transaction()
    producer.produce(topic, b"pending", partition=1)
    wait_until(lambda: producer.flush(0.1) == 0, "the record is written")
    return producer


def entry(rows: list[dict[str, Any]], key: str) -> dict[str, Any]:
    (found,) = [row for row in rows if row["transactional_id"] == key]
    return found


def test_an_open_transaction_is_listed_described_and_no_hanging_one(
    open_transaction: Producer, cli: Cli, topic: str
) -> None:
    listed = entry(cli.json("transactions", "list", "--state", "Ongoing"), topic)
    assert (listed["state"], listed["coordinator"]) == ("Ongoing", 1)
    assert cli.json("transactions", "list", "--state", "Ongoing", "--running-longer-than", "PT1H") == []
    assert [row["transactional_id"] for row in cli.json("transactions", "list", "--id-pattern", topic)] == [topic]
    assert cli.json("transactions", "list", "--id-pattern", topic[:-1]) == []

    described = cli.json("transactions", "describe", topic)
    assert (described["state"], described["partitions"]) == ("Ongoing", [f"{topic}-1"])
    assert described["producer_id"] == listed["producer_id"]
    assert 0 <= described["duration_ms"] < 60_000
    assert topic in cli("transactions", "describe", topic)

    (producer,) = cli.json("transactions", "describe-producers", topic, "--partition", 1)
    assert (producer["producer_id"], producer["start_offset"]) == (listed["producer_id"], 0)
    assert cli.json("transactions", "find-hanging", "--topic", topic, "--max-transaction-timeout", "PT0S") == []
    open_transaction.abort_transaction(WAIT)


def test_terminating_fences_the_producer_and_aborts_what_it_wrote(
    open_transaction: Producer, cli: Cli, client: Client, topic: str
) -> None:
    assert cli.json("transactions", "force-terminate", topic) == {"transactional_id": topic, "outcome": "terminated"}
    assert client.list_offsets(topic, {1: -1}, read_committed=True)[1].offset == 2
    assert cli.json("transactions", "describe", topic)["state"] == "Empty"
    with pytest.raises(Exception, match=r"(?i)fenced|epoch"):
        open_transaction.commit_transaction(WAIT)


def test_a_transaction_nobody_will_end_is_found_and_aborted(
    broker_process: BrokerProcess, cli: Cli, client: Client, topic: str, open_transaction: Producer
) -> None:
    """The coordinator's view is faked: what it says of the partition is taken away."""
    (producer,) = cli.json("transactions", "describe-producers", topic, "--partition", 1)
    now_ms = time.time_ns() // 1_000_000 + FOREVER_AGO_MS

    class Forgetful:
        """A cluster whose coordinators have forgotten the transactional id."""

        describe_producers = client.describe_producers

        def list_transactions(self, *wanted: Any) -> list[Any]:
            return []

    found = transactions.find_hanging(Forgetful(), [topic], older_than_ms=0, now_ms=now_ms)  # type: ignore[arg-type]
    assert [(row["topic"], row["partition"], row["producer_id"], row["start_offset"]) for row in found] == [
        (topic, 1, producer["producer_id"], 0)
    ]
    aborted = cli.json("transactions", "abort", topic, "--partition", 1, "--start-offset", 0)
    assert (aborted["producer_id"], aborted["outcome"]) == (producer["producer_id"], "aborted")
    assert client.list_offsets(topic, {1: -1}, read_committed=True)[1].offset == 2
    failure = cli.failure("transactions", "abort", topic, "--partition", 1, "--start-offset", 0)
    assert failure.returncode == FAILED
    assert "no transaction is open" in str(failure)


def test_a_marker_can_be_written_by_the_producers_numbers(cli: Cli, client: Client, topic: str) -> None:
    numbers = ("--producer-id", 2**41, "--producer-epoch", 0, "--coordinator-epoch", -1)
    said = cli("transactions", "abort", topic, "--partition", 1, *numbers)
    assert f"producer {2**41}, epoch 0, in {topic}-1" in said
    assert client.list_offsets(topic, {1: -1})[1].offset == 1


@pytest.mark.parametrize(
    "options", [(), ("--producer-id", 1), ("--start-offset", 1, "--producer-id", 1)], ids=["none", "some", "both"]
)
def test_a_transaction_to_abort_must_be_named_in_one_way(cli: Cli, topic: str, options: tuple[Any, ...]) -> None:
    failure = cli.failure("transactions", "abort", topic, "--partition", 0, *options)
    assert failure.returncode == WRONG_USE


@pytest.mark.parametrize("action", ["describe", "force-terminate"])
def test_an_unknown_id_is_a_failure(cli: Cli, topic: str, action: str) -> None:
    with Wire(int(cli._bootstrap.rpartition(":")[2])) as wire:  # type: ignore[union-attr]
        wire.call(ApiKey.FIND_COORDINATOR, 3, m.FindCoordinatorRequest(key="x", key_type=1))
    failure = cli.failure("transactions", action, f"{topic}-nobody")
    assert failure.returncode == FAILED
    assert "TRANSACTIONAL_ID_NOT_FOUND" in str(failure)


def test_a_state_that_does_not_exist_is_a_failure(cli: Cli) -> None:
    failure = cli.failure("transactions", "list", "--state", "Asleep")
    assert (failure.returncode, "Asleep" in str(failure)) == (FAILED, True)
