"""``manage.py producer_perf`` and ``consumer_perf``: what they measure is what happened."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.client.blocking import Client
from broker.commandline.latency import BUCKETS_MAX, GROWTH, SMALLEST_SECONDS, LatencyHistogram
from broker.commandline.load import Load, batch_records
from tests.commandline.run import Cli

LATENCIES = {"mean", "p50", "p95", "p99", "p99_9", "max"}


@given(st.lists(st.floats(0, 100_000), min_size=1, max_size=300), st.floats(0.01, 1))
def test_a_percentile_is_within_one_percent_of_the_sorted_list(values: list[float], fraction: float) -> None:
    histogram = LatencyHistogram()
    for value in values:
        histogram.record(value)
    exact = sorted(values)[math.ceil(fraction * len(values)) - 1]
    found = histogram.percentile(fraction)
    assert exact * 0.9999 <= found or exact > 86_400
    assert found <= max(exact * GROWTH * 1.0001, SMALLEST_SECONDS)


def test_counts_and_extremes_are_exact_and_the_table_stays_small() -> None:
    histogram = LatencyHistogram()
    histogram.record(0.010, 99)
    histogram.record(0.500)
    histogram.record(-1.0, 0)
    row = histogram.row()
    assert row is not None
    assert set(row) == LATENCIES
    assert (histogram.count, row["mean"], row["max"]) == (100, 14.9, 500.0)
    assert 10 <= row["p50"] <= 10.1
    assert LatencyHistogram().row() is None
    assert BUCKETS_MAX < 3_000


@pytest.mark.parametrize(
    ("fields", "records"),
    [
        ({}, 65_536 // 110),
        ({"batch_bytes": 1}, 1),
        ({"records_per_second": 1_000.0}, 5),
        ({"records_per_second": 10.0}, 1),
        ({"records_per_second": 1e9}, 65_536 // 110),
        ({"records_per_second": 1_000.0, "linger_ms": 0}, 1),
    ],
)
def test_a_batch_holds_what_fits_and_what_is_due(fields: dict[str, object], records: int) -> None:
    assert batch_records(Load(topic="t", records=1, payloads=[bytes(100)], **fields)) == records  # type: ignore[arg-type]


def test_a_load_is_produced_and_read_back(cli: Cli, client: Client, name: str) -> None:
    client.create_topic(name, 3, 1)
    produced = cli.json("producer_perf", name, "--records", 5_000, "--record-size", 200, "--compression", "lz4")
    assert (produced["records"], produced["bytes"]) == (5_000, 1_000_000)
    assert produced["records_per_second"] > 0
    assert set(produced["latency_ms"]) == LATENCIES
    ends = client.list_offsets(name, dict.fromkeys(range(3), -1))
    assert sum(one.offset for one in ends.values()) == 5_000
    assert all(one.offset for one in ends.values())
    read = cli.json("consumer_perf", name, "--messages", 5_000)
    assert (read["records"], read["bytes"], read["group"]) == (5_000, 1_000_000, None)
    assert set(read["poll_ms"]) == LATENCIES
    grouped = cli.json("consumer_perf", name, "--messages", 5_000, "--group", f"{name}-group", "--end-to-end")
    assert grouped["records"] == 5_000
    assert set(grouped["record_age_ms"]) == LATENCIES
    assert sum(one.offset for one in client.group_offsets(f"{name}-group")) == 5_000


def test_a_target_rate_is_kept(cli: Cli, client: Client, topic: str) -> None:
    row = cli.json("producer_perf", topic, "--records", 300, "--throughput", 1_000)
    assert 0.29 <= row["seconds"] < 30
    assert "records/s" in cli("producer_perf", topic, "--records", 10, "--acks", 1)


def test_lines_of_a_file_are_values_in_turn(cli: Cli, client: Client, name: str, tmp_path: Path) -> None:
    client.create_topic(name, 1, 1)
    file = tmp_path / "lines"
    file.write_bytes(b"one\ntwo\n")
    cli("producer_perf", name, "--records", 3, "--payload-file", file)
    assert [record.value for record in client.fetch_records(name, 0, 0)] == [b"one", b"two", b"one"]


def test_too_few_records_fail(cli: Cli, topic: str) -> None:
    error = cli.failure("consumer_perf", topic, "--messages", 11, "--timeout-ms", 100)
    assert (error.returncode, str(error)) == (1, "10 of 11 records arrived")
    assert "records/s" in cli.output


@pytest.mark.parametrize(
    ("arguments", "status"),
    [
        (["producer_perf", "no-such-topic", "--records", 1], 1),
        (["consumer_perf", "no-such-topic", "--messages", 1], 1),
        (["producer_perf", "TOPIC", "--records", 0], 2),
        (["producer_perf", "TOPIC", "--records", 1, "--payload-file", "/no/such/file"], 2),
        (["consumer_perf", "TOPIC", "--messages", 0], 2),
    ],
)
def test_what_is_refused_says_which_kind(cli: Cli, topic: str, arguments: list[object], status: int) -> None:
    assert cli.failure(*(topic if one == "TOPIC" else one for one in arguments)).returncode == status  # type: ignore[arg-type]


def test_a_broker_that_refuses_ends_the_load(cli: Cli, client: Client, name: str) -> None:
    client.create_topic(name, 1, 1, {"max.message.bytes": "100"})
    error = cli.failure("producer_perf", name, "--records", 100_000, "--record-size", 500)
    assert (error.returncode, "MESSAGE_TOO_LARGE" in str(error)) == (1, True)
