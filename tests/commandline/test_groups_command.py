"""``manage.py groups`` beside a real consumer of another library: what it commits is shown, where it is put it goes on."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from broker.client.blocking import Client
from broker.types import TopicPartition
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess
from tests.support.wait import wait_until

pytestmark = pytest.mark.interop


@contextlib.contextmanager
def member(broker_process: BrokerProcess, group: str, topic: str) -> Iterator[Consumer]:
    """A consumer that has joined and was given a record."""
    consumer = Consumer(
        {
            "bootstrap.servers": broker_process.bootstrap,
            "group.id": group,
            "client.id": "reader",
            "auto.offset.reset": "earliest",
            "enable.auto.commit": False,
        }
    )
    try:
        consumer.subscribe([topic])
        yield consumer
    finally:
        consumer.close()


def first_value(consumer: Consumer) -> str:
    return wait_until(lambda: consumer.poll(0.1), "a record arrives").value().decode()


@pytest.fixture
def group(broker_process: BrokerProcess, cli: Cli, topic: str) -> str:
    """Has committed offset 4 of partition 0 and left."""
    name = f"{topic}-readers"
    with member(broker_process, name, topic) as consumer:
        first_value(consumer)
        consumer.commit(offsets=[KafkaPartition(topic, 0, 4)], asynchronous=False)
    return name


def committed(client: Client, group: str) -> dict[int, int]:
    return {one.partition: one.offset for one in client.group_offsets(group)}


@pytest.mark.parametrize("option", ["--state", "--type"])
def test_a_state_or_a_type_that_does_not_exist_is_wrong_use_and_no_empty_list(cli: Cli, option: str) -> None:
    assert "'nonsense' is none of" in str(cli.failure("groups", "list", option, "nonsense"))


def test_a_group_with_a_member_is_listed_and_described(broker_process: BrokerProcess, cli: Cli, topic: str) -> None:
    name = f"{topic}-watched"
    with member(broker_process, name, topic) as consumer:
        first_value(consumer)
        consumer.commit(offsets=[KafkaPartition(topic, 0, 4)], asynchronous=False)
        (listed,) = [row for row in cli.json("groups", "list", "--state", "stable") if row["group"] == name]
        assert listed == {"group": name, "state": "Stable", "type": "classic", "protocol_type": "consumer"}
        assert name not in {row["group"] for row in cli.json("groups", "list", "--state", "empty")}
        (described,) = cli.json("groups", "describe", name)
        (one,) = described.pop("members")
        first, second = described.pop("offsets")
        assert described == {
            "group": name,
            "state": "Stable",
            "type": "classic",
            "protocol_type": "consumer",
            "protocol": "range",
            "epoch": None,
            "assignment_epoch": None,
            "coordinator": 1,
            "member_count": 1,
            "lag": 6,
        }
        assert (one["client_id"], one["instance_id"], one["assignment"]) == (
            "reader",
            None,
            [f"{topic}-0", f"{topic}-1"],
        )
        assert first == {
            "topic": topic,
            "partition": 0,
            "committed": 4,
            "metadata": "",
            "log_start": 0,
            "log_end": 10,
            "lag": 6,
            "member_id": one["member_id"],
            "client_id": "reader",
            "host": one["host"],
        }
        assert (second["partition"], second["committed"], second["log_end"], second["lag"]) == (1, None, 0, None)
        for view in ([], ["--members"], ["--state"]):
            assert name in cli("groups", "describe", *view, name)


def test_a_reset_is_a_plan_until_it_is_executed_and_then_the_consumer_goes_on_there(
    broker_process: BrokerProcess, cli: Cli, client: Client, topic: str, group: str
) -> None:
    wanted = ["reset-offsets", group, "--topic", f"{topic}:0", "--shift-by", "-2"]
    row = {
        "topic": topic,
        "partition": 0,
        "log_start": 0,
        "log_end": 10,
        "committed": 4,
        "new": 2,
        "change": -2,
        "note": "",
        "error": None,
    }
    for deed in ([], ["--dry-run"]):
        assert cli.json("groups", *wanted, *deed) == {"group": group, "executed": False, "offsets": [row]}
        assert committed(client, group) == {0: 4}
    assert cli.json("groups", *wanted, "--execute") == {"group": group, "executed": True, "offsets": [row]}
    assert committed(client, group) == {0: 2}
    with member(broker_process, group, topic) as consumer:
        assert first_value(consumer) == "v2"


@pytest.mark.parametrize(
    ("strategy", "new"),
    [
        (["--to-earliest"], 0),
        (["--to-latest"], 10),
        (["--to-current"], 4),
        (["--to-offset", 7], 7),
        (["--to-offset", 99], 10),
        (["--shift-by", 3], 7),
        (["--to-datetime", "1970-01-01T00:00:06"], 5),
        (["--to-datetime", "2020-01-01T00:00:00Z"], 10),
        (["--by-duration", "PT1H"], 10),
        (["--by-duration", "P30000D"], 0),
    ],
)
def test_every_strategy(cli: Cli, client: Client, topic: str, group: str, strategy: list[object], new: int) -> None:
    cli("groups", "reset-offsets", group, "--topic", f"{topic}:0", *strategy, "--execute")
    assert committed(client, group) == {0: new}


def test_offsets_travel_through_a_file(cli: Cli, client: Client, topic: str, group: str, tmp_path: Path) -> None:
    exported = cli("groups", "reset-offsets", group, "--all-topics", "--to-current", "--export")
    assert exported == f"{topic},0,4\n"
    file = tmp_path / "offsets.csv"
    file.write_text(f"{exported}{topic},1,0\n")
    other = f"{group}-copy"
    cli("groups", "reset-offsets", other, "--from-file", file, "--execute")
    assert committed(client, other) == {0: 4, 1: 0}


def test_nothing_is_reset_under_a_member(broker_process: BrokerProcess, cli: Cli, client: Client, topic: str) -> None:
    name = f"{topic}-busy"
    with member(broker_process, name, topic) as consumer:
        first_value(consumer)
        for deed in ("--dry-run", "--execute"):
            error = cli.failure("groups", "reset-offsets", name, "--topic", topic, "--to-earliest", deed)
            assert (error.returncode, "1 member(s)" in str(error)) == (1, True)
        assert committed(client, name) == {}
        assert "NON_EMPTY_GROUP" in str(cli.failure("groups", "delete", name))
        client.commit_group_offsets(name, {TopicPartition(topic, 0): 1})


def test_offsets_and_groups_are_deleted(cli: Cli, client: Client, topic: str, group: str) -> None:
    cli("groups", "reset-offsets", group, "--topic", topic, "--to-earliest", "--execute")
    assert cli.json("groups", "delete-offsets", group, "--topic", f"{topic}:1") == [
        {"group": group, "topic": topic, "partition": 1, "outcome": "deleted", "error": None}
    ]
    assert committed(client, group) == {0: 0}
    assert cli.failure("groups", "delete-offsets", group, "--topic", "another").returncode == 1
    assert cli.json("groups", "delete", group) == [{"group": group, "outcome": "deleted", "error": None}]
    assert cli.failure("groups", "describe", group).returncode == 1
    assert cli.failure("groups", "delete", group).returncode == 1


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["reset-offsets", "g", "--to-earliest"], 2),
        (["reset-offsets", "g", "--to-earliest", "--topic", "t", "--all-topics"], 2),
        (["reset-offsets", "g", "--from-file", "/no/such/file"], 2),
        (["reset-offsets", "no-such-group", "--all-topics", "--to-earliest"], 1),
        (["reset-offsets", "g", "--topic", "no-such-topic", "--to-earliest"], 1),
        (["describe", "no-such-group"], 1),
    ],
)
def test_what_is_refused_says_which_kind(cli: Cli, arguments: list[str], status: int) -> None:
    assert cli.failure("groups", *arguments).returncode == status


def test_a_shift_needs_something_to_shift(cli: Cli, topic: str, group: str) -> None:
    error = cli.failure("groups", "reset-offsets", group, "--topic", topic, "--shift-by", 1, "--execute")
    assert (error.returncode, f"{topic}-1" in str(error)) == (1, True)


def test_a_partition_the_topic_does_not_have_is_refused(cli: Cli, topic: str, group: str) -> None:
    assert cli.failure("groups", "reset-offsets", group, "--topic", f"{topic}:7", "--to-earliest").returncode == 1
