"""``manage.py topics`` and ``configs`` on a real broker."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.client.blocking import Client
from broker.supervisor.roles import PROJECT_ROOT
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess
from tests.support.ports import free_port


def test_the_life_of_a_topic(cli: Cli, client: Client, name: str) -> None:
    (created,) = cli.json("topics", "create", name, "--partitions", 3, "--config", "retention.ms=5000,segment.ms=7000")
    assert (created["outcome"], created["partitions"], created["replication_factor"]) == ("created", 3, 1)
    listed = {row["topic"]: row for row in cli.json("topics", "list")}
    assert listed[name] == {
        "topic": name,
        "topic_id": created["topic_id"],
        "partitions": 3,
        "replication_factor": 1,
        "internal": False,
    }
    assert cli.json("topics", "alter", name, "--partitions", 4)[0]["outcome"] == "altered"
    (described,) = cli.json("topics", "describe", name)
    assert described["configs"] == {"retention.ms": "5000", "segment.ms": "7000"}
    assert [row["partition"] for row in described["partitions"]] == [0, 1, 2, 3]
    assert described["partitions"][0] == {
        "partition": 0,
        "leader": 1,
        "leader_epoch": 0,
        "replicas": [1],
        "isr": [1],
        "offline_replicas": [],
        "error": None,
    }
    assert cli.json("topics", "delete", name) == [{"topic": name, "error": None, "outcome": "deleted"}]
    assert name not in {topic.name for topic in client.metadata(None).topics}


def test_offsets_of_a_topic(cli: Cli, topic: str) -> None:
    (described,) = cli.json("topics", "describe", topic, "--offsets")
    offsets = [(row["log_start"], row["log_end"], row["records"]) for row in described["partitions"]]
    assert offsets == [(0, 10, 10), (0, 0, 0)]


def test_only_what_is_unhealthy(cli: Cli, topic: str) -> None:
    assert cli.json("topics", "describe", topic, "--unhealthy") == []
    assert cli("topics", "describe", topic, "--unhealthy") == "Every partition is healthy.\n"


def test_tables_say_the_same(cli: Cli, topic: str) -> None:
    assert topic in cli("topics", "list")
    shown = cli("topics", "describe", topic, "--offsets")
    assert topic in shown
    assert "Next offset" in shown


def test_one_refused_topic_does_not_keep_the_others(cli: Cli, client: Client, topic: str, name: str) -> None:
    other = f"{name}-other"
    error = cli.failure("topics", "create", topic, other)
    assert error.returncode == 1
    assert "TOPIC_ALREADY_EXISTS" in str(error)
    assert cli.json("topics", "create", topic, other, "--if-not-exists") == [
        {"topic": topic, "error": None, "outcome": "exists"},
        {"topic": other, "error": None, "outcome": "exists"},
    ]
    error = cli.failure("topics", "delete", other, "no-such-topic")
    assert (error.returncode, "1 of 2" in str(error)) == (1, True)
    assert cli.json("topics", "delete", "no-such-topic", "--if-exists")[0]["outcome"] == "absent"
    assert other not in {one.name for one in client.metadata(None).topics}


def test_validating_changes_nothing(cli: Cli, client: Client, topic: str, name: str) -> None:
    assert cli.json("topics", "create", f"{name}-x", "--validate-only")[0]["outcome"] == "valid"
    assert cli.json("topics", "alter", topic, "--partitions", 9, "--validate-only")[0]["outcome"] == "valid"
    assert {one.name: len(one.partitions) for one in client.metadata(None).topics if one.name.startswith(name)} == {
        topic: 2
    }
    assert "INVALID_PARTITIONS" in str(cli.failure("topics", "alter", topic, "--partitions", 1))


@pytest.mark.parametrize("arguments", [["describe", "no-such-topic"], ["alter", "no-such-topic", "--partitions", "3"]])
def test_an_unknown_topic_fails(cli: Cli, arguments: list[str]) -> None:
    assert cli.failure("topics", *arguments).returncode == 1


def test_a_config_that_is_no_assignment_is_wrong_use(cli: Cli, name: str) -> None:
    assert cli.failure("topics", "create", name, "--config", "retention.ms").returncode == 2


def test_a_broker_that_cannot_be_reached_fails() -> None:
    error = Cli(f"127.0.0.1:{free_port()}").failure("topics", "list")
    assert (error.returncode, "cannot connect" in str(error)) == (1, True)


def test_an_address_that_is_none_is_wrong_use() -> None:
    assert Cli("nonsense").failure("topics", "list").returncode == 2


def manage(home: Path, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
    inherited.pop("DJANGO_SETTINGS_MODULE", None)
    return subprocess.run(
        [sys.executable, "manage.py", *arguments],
        cwd=PROJECT_ROOT,
        env={**inherited, "OTTLA_HOME": str(home), **environment},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_exit_statuses_as_a_shell_sees_them(broker_process: BrokerProcess, tmp_path: Path) -> None:
    kafka = {"OTTLA_KAFKA": broker_process.bootstrap}
    done = manage(tmp_path, "topics", "list", "--json", **kafka)
    assert (done.returncode, done.stderr) == (0, "")
    failed = manage(tmp_path, "topics", "describe", "no-such-topic", **kafka)
    assert (failed.returncode, failed.stdout) == (1, "")
    wrong = manage(tmp_path, "topics", "explode", **kafka)
    assert (wrong.returncode, wrong.stdout) == (2, "")
    helped = manage(tmp_path, "topics", "create", "--help", **kafka)
    assert helped.returncode == 0
    assert "manage.py topics create orders --if-not-exists" in helped.stdout
    assert "exit status:" in helped.stdout


# Configs -------------------------------------------------------------------------------------------


def values(rows: list[dict]) -> dict[str, tuple[str, str]]:
    (row,) = rows
    return {entry["name"]: (entry["value"], entry["source"]) for entry in row["configs"]}


def test_a_topics_own_configs_come_and_go(cli: Cli, topic: str) -> None:
    assert values(cli.json("configs", "describe", "--topic", topic)) == {}
    cli("configs", "alter", "--topic", topic, "--add-config", "cleanup.policy=[compact,delete],retention.ms=9000")
    own = values(cli.json("configs", "describe", "--topic", topic))
    assert own["retention.ms"] == ("9000", "DYNAMIC_TOPIC_CONFIG")
    assert set(own["cleanup.policy"][0].split(",")) == {"compact", "delete"}
    assert cli.json("configs", "alter", "--topic", topic, "--delete-config", "cleanup.policy,retention.ms") == [
        {"kind": "topic", "name": topic, "error": None, "outcome": "altered"}
    ]
    assert values(cli.json("configs", "describe", "--topic", topic)) == {}
    everything = values(cli.json("configs", "describe", "--topic", topic, "--all"))
    assert everything["retention.ms"] == ("604800000", "DEFAULT_CONFIG")
    assert len(everything) > 25


def test_one_config_with_its_meaning(cli: Cli, topic: str) -> None:
    (row,) = cli.json("configs", "describe", "--topic", topic, "--name", "retention.ms", "--help-texts")
    (entry,) = row["configs"]
    assert entry["name"] == "retention.ms"
    assert "Age at which" in entry["documentation"]
    error = cli.failure("configs", "describe", "--topic", topic, "--name", "no.such.config")
    assert (error.returncode, str(error)) == (1, f"topic {topic} has no config no.such.config")


def test_a_refused_change_fails_and_changes_nothing(cli: Cli, topic: str) -> None:
    error = cli.failure("configs", "alter", "--topic", topic, "--add-config", "segment.bytes=2097152,retention.ms=soon")
    assert (error.returncode, "INVALID_CONFIG" in str(error)) == (1, True)
    cli("configs", "alter", "--topic", topic, "--add-config", "segment.bytes=2097152", "--validate-only")
    assert values(cli.json("configs", "describe", "--topic", topic)) == {}


@pytest.mark.parametrize(
    ("kind", "config", "value", "source"),
    [
        ("--group", "consumer.session.timeout.ms", "50000", "DYNAMIC_GROUP_CONFIG"),
        ("--client-metrics", "interval.ms", "7000", "DYNAMIC_CLIENT_METRICS_CONFIG"),
    ],
)
def test_configs_of_a_group_and_of_a_subscription_come_and_go(
    cli: Cli, name: str, kind: str, config: str, value: str, source: str
) -> None:
    assert values(cli.json("configs", "describe", kind, name)) == {}
    (altered,) = cli.json("configs", "alter", kind, name, "--add-config", f"{config}={value}")
    assert altered == {"kind": kind.removeprefix("--"), "name": name, "error": None, "outcome": "altered"}
    assert values(cli.json("configs", "describe", kind, name)) == {config: (value, source)}
    assert config in cli("configs", "describe", kind, name)
    error = cli.failure("configs", "alter", kind, name, "--add-config", f"{config}=-5")
    assert error.returncode == 1
    cli("configs", "alter", kind, name, "--delete-config", config)
    assert values(cli.json("configs", "describe", kind, name)) == {}
    assert len(values(cli.json("configs", "describe", kind, name, "--all"))) == 3


def test_configs_of_a_broker_and_of_all(cli: Cli) -> None:
    assert values(cli.json("configs", "describe", "--broker", 1))["node.id"] == ("1", "STATIC_BROKER_CONFIG")
    cli("configs", "alter", "--all-brokers", "--add-config", "log.retention.bytes=123456789")
    try:
        source = ("123456789", "DYNAMIC_DEFAULT_BROKER_CONFIG")
        assert values(cli.json("configs", "describe", "--all-brokers"))["log.retention.bytes"] == source
        assert values(cli.json("configs", "describe", "--broker", 1))["log.retention.bytes"] == source
    finally:
        cli("configs", "alter", "--all-brokers", "--delete-config", "log.retention.bytes")


@pytest.mark.parametrize(
    "arguments",
    [
        ["describe"],
        ["alter", "--topic", "x"],
        ["alter", "--topic", "x", "--add-config", "a"],
        ["alter", "--topic", "x", "--add-config", "a=1", "--delete-config", "a"],
    ],
)
def test_what_cannot_be_meant_is_wrong_use(cli: Cli, arguments: list[str]) -> None:
    assert cli.failure("configs", *arguments).returncode == 2
