"""``manage.py console_producer`` and ``console_consumer`` on a real broker, and beside a real client."""

from __future__ import annotations

import io
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as KafkaPartition

from broker.client.blocking import Client
from broker.client.partitioner import partition_for_key
from broker.supervisor.roles import PROJECT_ROOT
from tests.commandline.run import Cli
from tests.support.broker_process import BrokerProcess
from tests.support.ports import free_port
from tests.support.wait import wait_until

FROM_START = ("--from-beginning", "--exit-at-end")


def produce(cli: Cli, topic: str, *arguments: object, text: bytes) -> Any:
    return cli.json("console_producer", topic, *arguments, stdin=io.BytesIO(text))


def consume(cli: Cli, topic: str, *arguments: object) -> list[dict[str, Any]]:
    return cli.lines("console_consumer", topic, *arguments)


@pytest.fixture
def empty(client: Client, name: str) -> str:
    """A topic with three partitions and nothing in it."""
    client.create_topic(f"{name}-empty", 3, 1)
    return f"{name}-empty"


def test_lines_become_records_and_records_lines(cli: Cli, empty: str) -> None:
    produced = produce(cli, empty, "--partition", 1, text="one\ntwo\n\nfoür".encode())
    assert produced == {
        "topic": empty,
        "records": 4,
        "bytes": 11,
        "partitions": [{"partition": 1, "first_offset": 0, "last_offset": 3}],
    }
    assert cli("console_consumer", empty, *FROM_START) == "one\ntwo\n\nfoür\n"


def test_keys_go_where_java_would_put_them_and_keep_their_order(cli: Cli, empty: str) -> None:
    lines = [f"k{number % 5}:{number}" for number in range(100)]
    produced = produce(cli, empty, "--key-separator", ":", text="\n".join(lines).encode())
    assert produced["records"] == 100
    records = consume(cli, empty, *FROM_START)
    assert {(one["key"], one["partition"]) for one in records} == {
        (f"k{number}", partition_for_key(b"k%d" % number, 3)) for number in range(5)
    }
    for number in range(5):
        values = [int(one["value"]) for one in records if one["key"] == f"k{number}"]
        assert values == list(range(number, 100, 5))


@pytest.mark.parametrize("codec", ["none", "gzip", "snappy", "lz4", "zstd"])
@pytest.mark.parametrize("acks", ["all", "1"])
def test_every_codec_and_acks(cli: Cli, empty: str, codec: str, acks: str) -> None:
    produce(cli, empty, "--compression", codec, "--acks", acks, text=b"v" * 500)
    (record,) = consume(cli, empty, *FROM_START)
    assert record["value"] == "v" * 500


def test_without_waiting_for_an_answer(cli: Cli, client: Client, empty: str) -> None:
    assert produce(cli, empty, "--acks", 0, "--partition", 0, text=b"v")["partitions"][0]["last_offset"] == -1
    wait_until(lambda: client.list_offsets(empty, {0: -1})[0].offset == 1, "the record is there")


def test_json_out_and_in_copies_a_topic(cli: Cli, client: Client, empty: str, name: str) -> None:
    client.produce(empty, b"\xff", b"\x00\xfe", {"h": b"\xfd", "n": None}, partition=2, timestamp_ms=5_000)
    client.produce(empty, None, None, partition=0)
    copy = f"{name}-copy"
    client.create_topic(copy, 3, 1)
    exported = cli("console_consumer", "--json", empty, *FROM_START)
    assert produce(cli, copy, "--json-input", text=exported.encode())["records"] == 2
    original = [{**one, "topic": copy} for one in consume(cli, empty, *FROM_START)]
    assert sorted(consume(cli, copy, *FROM_START), key=str) == sorted(original, key=str)


def test_headers_nulls_and_everything_printed(cli: Cli, empty: str) -> None:
    text = b"a:1,b:2\tk=NULL\n"
    options = ("--parse-headers", "--key-separator", "=", "--null-marker", "NULL", "--header", "via=cli")
    produce(cli, empty, *options, text=text)
    (record,) = consume(cli, empty, *FROM_START)
    assert (record["key"], record["value"]) == ("k", None)
    assert record["headers"] == [
        {"name": "via", "value": "cli"},
        {"name": "a", "value": "1"},
        {"name": "b", "value": "2"},
    ]
    shown = cli(
        "console_consumer", empty, *FROM_START, "--print-key", "--print-offset", "--print-headers", "--separator", "|"
    )
    assert shown == "Offset:0|via:cli,a:1,b:2|k|null\n"


def test_what_was_not_understood_is_named_and_what_came_before_is_sent(cli: Cli, empty: str) -> None:
    error = cli.failure("console_producer", empty, "--key-separator", ":", stdin=io.BytesIO(b"a:1\nb:2\nc\nd:4\n"))
    assert (error.returncode, str(error).split(":")[0]) == (2, "line 3")
    assert sorted(one["value"] for one in consume(cli, empty, *FROM_START)) == ["1", "2"]


def test_a_record_the_broker_refuses_fails(cli: Cli, client: Client, name: str) -> None:
    topic = f"{name}-small"
    client.create_topic(topic, 1, 1, {"max.message.bytes": "200"})
    error = cli.failure("console_producer", topic, stdin=io.BytesIO(b"v" * 500))
    assert error.returncode == 1
    assert str(error).startswith("after 0 acknowledged records: MESSAGE_TOO_LARGE")


def test_more_than_one_read_of_input(cli: Cli, empty: str) -> None:
    lines = b"".join(b"%d %s\n" % (number, b"x" * 500) for number in range(3_000))
    assert produce(cli, empty, "--partition", 0, text=lines)["partitions"] == [
        {"partition": 0, "first_offset": 0, "last_offset": 2_999}
    ]
    records = consume(cli, empty, *FROM_START)
    assert [int(one["value"].split()[0]) for one in records] == list(range(3_000))


def test_a_file_is_read_to_its_end(cli: Cli, empty: str, tmp_path: Path) -> None:
    path = tmp_path / "lines"
    path.write_bytes(b"one\ntwo")
    with path.open("rb") as file:
        assert cli.json("console_producer", empty, stdin=file)["records"] == 2


# Reading -------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "values"),
    [
        (["--from-beginning"], range(10)),
        (["--partition", 0, "--offset", 7], range(7, 10)),
        (["--partition", 0, "--offset", -2], range(8, 10)),
        (["--partition", 0, "--offset", "earliest"], range(10)),
        (["--offset", "latest"], []),
        (["--partition", 1, "--from-beginning"], []),
        (["--from-datetime", "1970-01-01T00:00:05"], range(4, 10)),
    ],
)
def test_where_to_begin(cli: Cli, topic: str, arguments: list[object], values: list[int]) -> None:
    records = consume(cli, topic, *arguments, "--exit-at-end")
    assert [one["value"] for one in records] == [f"v{number}" for number in values]


def test_a_whole_record_as_json(cli: Cli, topic: str) -> None:
    assert consume(cli, topic, "--partition", 0, "--offset", 3, "--max-messages", 1) == [
        {
            "topic": topic,
            "partition": 0,
            "offset": 3,
            "timestamp_ms": 4_000,
            "timestamp_type": "CreateTime",
            "key": "k3",
            "value": "v3",
            "headers": [],
        }
    ]


def test_limits_end_it_and_tell_whether_enough_came(cli: Cli, topic: str) -> None:
    assert len(consume(cli, topic, "--from-beginning", "--max-messages", 4)) == 4
    assert len(consume(cli, topic, "--from-beginning", "--timeout-ms", 100)) == 10
    error = cli.failure("console_consumer", topic, "--from-beginning", "--max-messages", 11, "--timeout-ms", 100)
    assert (error.returncode, str(error)) == (1, "10 of 11 records arrived")
    assert len(cli.output.splitlines()) == 10


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["no-such-topic"], 1),
        (["no-such-topic", "--group", "g"], 1),
        (["TOPIC", "--partition", "0", "--offset", "99"], 1),
        (["TOPIC", "--partition", "9"], 2),
        (["TOPIC", "--max-messages", "0"], 2),
        (["TOPIC", "--group", "g", "--partition", "0"], 2),
        (["TOPIC", "--group", "g", "--exit-at-end"], 2),
    ],
)
def test_what_is_refused_says_which_kind(cli: Cli, topic: str, arguments: list[str], status: int) -> None:
    error = cli.failure("console_consumer", *(topic if one == "TOPIC" else one for one in arguments))
    assert error.returncode == status


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["no-such-topic"], 1),
        (["TOPIC", "--partition", "9"], 2),
        (["TOPIC", "--header", "x"], 2),
        (["TOPIC", "--json-input", "--key-separator", ":"], 2),
    ],
)
def test_producing_what_cannot_be(cli: Cli, topic: str, arguments: list[str], status: int) -> None:
    chosen = [topic if one == "TOPIC" else one for one in arguments]
    assert cli.failure("console_producer", *chosen, stdin=io.BytesIO(b"v\n")).returncode == status


def test_no_broker_no_records() -> None:
    nobody = Cli(f"127.0.0.1:{free_port()}")
    assert nobody.failure("console_consumer", "t").returncode == 1
    assert nobody.failure("console_producer", "t", stdin=io.BytesIO(b"v")).returncode == 1


# Groups --------------------------------------------------------------------------------------------


@pytest.mark.interop
def test_a_group_goes_on_where_it_was_and_another_client_where_this_one_was(
    broker_process: BrokerProcess, cli: Cli, client: Client, topic: str
) -> None:
    group = f"{topic}-group"
    first = consume(cli, topic, "--group", group, "--from-beginning", "--max-messages", 4)
    assert [one["value"] for one in first] == ["v0", "v1", "v2", "v3"]
    assert [(one.partition, one.offset) for one in client.group_offsets(group)] == [(0, 4)]
    consumer = Consumer({"bootstrap.servers": broker_process.bootstrap, "group.id": group, "enable.auto.commit": False})
    try:
        consumer.subscribe([topic])
        assert wait_until(lambda: consumer.poll(0.1), "a record arrives").value() == b"v4"
        consumer.commit(offsets=[KafkaPartition(topic, 0, 7)], asynchronous=False)
    finally:
        consumer.close()
    rest = consume(cli, topic, "--group", group, "--timeout-ms", 1_500)
    assert [one["value"] for one in rest] == ["v7", "v8", "v9"]
    assert client.describe_group(group).members == ()


def test_ctrl_c_ends_it_in_order(broker_process: BrokerProcess, client: Client, topic: str, tmp_path: Path) -> None:
    group = f"{topic}-stopped"
    with subprocess.Popen(
        [
            sys.executable,
            "manage.py",
            "console_consumer",
            topic,
            "--group",
            group,
            "--from-beginning",
            "--bootstrap",
            broker_process.bootstrap,
        ],
        cwd=PROJECT_ROOT,
        env={"PATH": "/usr/bin:/bin", "OTTLA_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert [process.stdout.readline() for _ in range(10)] == [f"v{number}\n" for number in range(10)]
        wait_until(lambda: [one.offset for one in client.group_offsets(group)] == [10], "what was printed is committed")
        process.send_signal(signal.SIGINT)
        _, notes = process.communicate(timeout=30)
    assert (process.returncode, notes) == (0, "10 records, 40 bytes\n")
    assert client.describe_group(group).members == ()


def test_a_reader_that_has_seen_enough_ends_it(broker_process: BrokerProcess, topic: str, tmp_path: Path) -> None:
    command = f"manage.py console_consumer {topic} --from-beginning --bootstrap {broker_process.bootstrap}"
    with subprocess.Popen(
        [sys.executable, *command.split()],
        cwd=PROJECT_ROOT,
        env={"PATH": "/usr/bin:/bin", "OTTLA_HOME": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        process.stdout.readline()
        process.stdout.close()
        with Client(broker_process.bootstrap) as client:
            wait_until(lambda: client.produce(topic, None, b"more") and process.poll() is not None, "it ends")
        assert "Traceback" not in process.stderr.read()
    assert process.returncode == 128 + signal.SIGPIPE
