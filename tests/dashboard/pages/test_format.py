"""Numbers and times as people read them."""

from __future__ import annotations

import pytest

from dashboard.pages import format as text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0"),
        (999, "999"),
        (9_999, "9,999"),
        (12_345, "12.3 k"),
        (999_999, "1 M"),
        (2_500_000_000, "2.5 G"),
        (0.25, "0.25"),
    ],
)
def test_counts(value: float, shown: str) -> None:
    assert text.count(value) == shown


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KiB"),
        (1_048_575, "1 MiB"),
        (5_368_709_120, "5 GiB"),
        (1_572_864, "1.5 MiB"),
    ],
)
def test_sizes(value: float, shown: str) -> None:
    assert text.size(value) == shown


@pytest.mark.parametrize(("value", "shown"), [(0.0, "0/s"), (0.2, "0.2/s"), (7, "7/s"), (12_400, "12.4 k/s")])
def test_rates(value: float, shown: str) -> None:
    assert text.rate(value) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [(0, "0 s"), (0.25, "250 ms"), (59.9, "59 s"), (119, "119 s"), (120, "2 min"), (7200, "2 h"), (172_800, "2 d")],
)
def test_durations(seconds: float, shown: str) -> None:
    assert text.duration(seconds) == shown


@pytest.mark.parametrize(
    ("at_ms", "shown"), [(10_000, "just now"), (5_000, "5 s ago"), (30_000, "in 20 s"), (-7_190_000, "2 h ago")]
)
def test_relative_times(at_ms: int, shown: str) -> None:
    assert text.ago(at_ms, 10_000) == shown


@pytest.mark.parametrize(
    ("name", "value", "shown"),
    [
        ("retention.ms", "604800000", "7 d"),
        ("retention.ms", "90000", "90 s"),
        ("retention.ms", "-1", "no limit"),
        ("flush.messages", "9223372036854775807", "no limit"),
        ("segment.bytes", "1073741824", "1 GiB"),
        ("local.retention.bytes", "-2", "-2"),
        ("cleanup.policy", "delete", "delete"),
        ("min.insync.replicas", "2", "2"),
        ("segment.ms", "", ""),
    ],
)
def test_config_values(name: str, value: str, shown: str) -> None:
    assert text.config_words(name, value) == shown


@pytest.mark.parametrize(
    ("partitions", "shown"), [([], ""), ([3], "3"), ([0, 1, 2, 3], "0–3"), ([7, 0, 1, 4, 5], "0–1, 4–5, 7")]
)
def test_partition_ranges(partitions: list[int], shown: str) -> None:
    assert text.partition_ranges(partitions) == shown


@pytest.mark.parametrize("state", ["Empty", "PreparingRebalance", "CompletingRebalance", "Stable", "Dead", "Assigning"])
def test_no_state_is_shown_as_its_enum(state: str) -> None:
    assert text.state_words(state) != state
