"""Apache Kafka's own command line tools, unchanged, on our broker and on our files."""

from __future__ import annotations

import json

import pytest

from tests.interop.apache import require_apache_kafka, run_program, run_tool

pytestmark = [pytest.mark.interop, pytest.mark.usefixtures("apache_kafka")]


@pytest.fixture(scope="module")
def apache_kafka() -> None:
    require_apache_kafka()


def test_the_console_consumer_prints_what_the_console_producer_was_typed(broker, new_topic) -> None:
    topic = new_topic(partitions=2)
    lines = [f"key-{number}\tvalue-{number}" for number in range(50)]

    run_tool(
        "ConsoleProducer",
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--compression-codec", "lz4"),
        *("--reader-property", "parse.key=true", "--reader-property", "key.separator=\t"),
        input_text="\n".join(lines) + "\n",
    )
    printed = run_tool(
        "consumer.ConsoleConsumer",
        *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--from-beginning", "--max-messages", "50"),
        *("--formatter-property", "print.key=true", "--group", f"{topic}-console"),
    )

    assert sorted(printed.splitlines()) == sorted(lines)


def test_the_topic_command_creates_describes_grows_and_deletes(broker, topic_name) -> None:
    topic = topic_name()
    at = ("--bootstrap-server", broker.bootstrap)

    run_tool("TopicCommand", *at, "--create", "--topic", topic, "--partitions", "2", "--config", "retention.ms=60000")
    run_tool("TopicCommand", *at, "--alter", "--topic", topic, "--partitions", "3")
    described = run_tool("TopicCommand", *at, "--describe", "--topic", topic)
    run_tool("TopicCommand", *at, "--delete", "--topic", topic)

    assert "PartitionCount: 3" in described
    assert "retention.ms=60000" in described
    assert topic not in run_tool("TopicCommand", *at, "--list").splitlines()


def test_the_config_command_changes_brokers_groups_and_client_metrics(broker) -> None:
    changes = {
        ("brokers", "1"): "log.retention.bytes=987654",
        ("groups", "config-command"): "consumer.session.timeout.ms=50000",
        ("client-metrics", "config-command"): "interval.ms=5000",
    }
    for (kind, name), change in changes.items():
        at = ("--bootstrap-server", broker.bootstrap, "--entity-type", kind, "--entity-name", name)
        run_program("kafka.admin.ConfigCommand", *at, "--alter", "--add-config", change)
        assert change in run_program("kafka.admin.ConfigCommand", *at, "--describe")


def test_the_group_command_describes_resets_and_deletes(broker, new_topic) -> None:
    topic = new_topic()
    group = f"{topic}-group"
    at = ("--bootstrap-server", broker.bootstrap)
    run_tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", "100", "--record-size", "10", "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={broker.bootstrap}"),
    )
    run_tool(
        "consumer.ConsoleConsumer",
        *(*at, "--topic", topic, "--from-beginning", "--max-messages", "100", "--group", group),
    )

    run_tool(
        "consumer.group.ConsumerGroupCommand",
        *(*at, "--reset-offsets", "--group", group, "--topic", topic, "--shift-by", "-30", "--execute"),
    )
    described = run_tool("consumer.group.ConsumerGroupCommand", *at, "--describe", "--group", group)
    listed = run_tool("consumer.group.ConsumerGroupCommand", *at, "--list", "--state")
    deleted = run_tool("consumer.group.ConsumerGroupCommand", *at, "--delete", "--group", group)

    (line,) = [line.split() for line in described.splitlines() if topic in line.split()]
    assert line[:6] == [group, topic, "0", "70", "100", "30"]
    assert any(group in line and "Empty" in line for line in listed.splitlines())
    assert "successful" in deleted


def test_the_offset_shell_names_both_ends(broker, new_topic) -> None:
    topic = new_topic(partitions=2)
    run_tool(
        "ProducerPerformance",
        *("--topic", topic, "--num-records", "40", "--record-size", "10", "--throughput", "-1"),
        *("--producer-props", f"bootstrap.servers={broker.bootstrap}"),
    )

    def offsets(time: str) -> list[int]:
        output = run_tool("GetOffsetShell", "--bootstrap-server", broker.bootstrap, "--topic", topic, "--time", time)
        return [int(line.rsplit(":", 1)[1]) for line in output.splitlines() if line.startswith(topic)]

    assert sum(offsets("latest")) == 40
    assert offsets("earliest") == [0, 0]


def test_clients_of_apache_believe_our_api_versions(broker, new_topic) -> None:
    listed = run_tool("BrokerApiVersionsCommand", "--bootstrap-server", broker.bootstrap)

    assert "Produce(0): 0 to 13 [usable: 13]" in listed
    assert "UNKNOWN" not in listed


@pytest.mark.parametrize("protocol", ["classic", "consumer"])
def test_the_verifiable_consumer_reads_all_that_the_verifiable_producer_wrote(broker, new_topic, protocol) -> None:
    topic = new_topic(partitions=3)
    produced = _events(
        run_tool(
            "VerifiableProducer",
            *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--max-messages", "500", "--acks", "-1"),
        )
    )
    consumed = _events(
        run_tool(
            "VerifiableConsumer",
            *("--bootstrap-server", broker.bootstrap, "--topic", topic, "--group-id", f"{topic}-{protocol}"),
            *("--max-messages", "500", "--group-protocol", protocol, "--reset-policy", "earliest"),
        )
    )

    assert sum(event["name"] == "producer_send_success" for event in produced) == 500
    assert sum(event.get("count", 0) for event in consumed if event["name"] == "records_consumed") == 500
    assert all(event["success"] for event in consumed if event["name"] == "offsets_committed")


def _events(output: str) -> list[dict]:
    return [json.loads(line) for line in output.splitlines() if line.startswith("{")]
