"""The small languages: topics with partitions, config lists, offsets in files, times."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from broker.commandline.arguments import merge_topics, one_of, parse_assignments, parse_names, parse_topic_partitions
from broker.commandline.offset_file import format_offset_file, parse_offset_file
from broker.commandline.times import format_time, parse_duration, parse_time
from broker.types import TopicPartition


@pytest.mark.parametrize(
    ("text", "meaning"),
    [("orders", ("orders", None)), ("orders:0", ("orders", (0,))), ("orders:2,0,2", ("orders", (0, 2)))],
)
def test_a_topic_may_name_partitions(text: str, meaning: object) -> None:
    assert parse_topic_partitions(text) == meaning


@pytest.mark.parametrize("text", ["", ":1", "orders:", "orders:a", "orders:1,", "orders:-1"])
def test_no_topic_with_partitions(text: str) -> None:
    with pytest.raises(ValueError):
        parse_topic_partitions(text)


def test_a_word_out_of_a_few_is_taken_in_any_case_and_no_other() -> None:
    read = one_of(("Empty", "Stable"))
    assert [read(text) for text in ("empty", "STABLE")] == ["Empty", "Stable"]
    with pytest.raises(ValueError, match="'nonsense' is none of Empty, Stable"):
        read("nonsense")


def test_several_mentions_of_a_topic_add_up_and_the_whole_topic_wins() -> None:
    assert merge_topics([("a", (1,)), ("b", (0,)), ("a", (0, 1)), ("b", None), ("b", (3,))]) == {"a": (0, 1), "b": None}


@pytest.mark.parametrize(
    ("texts", "meaning"),
    [
        (["a=1"], {"a": "1"}),
        (["a=1,b=2", "c=3"], {"a": "1", "b": "2", "c": "3"}),
        (["policy=[compact,delete],a=1"], {"policy": "compact,delete", "a": "1"}),
        (["a="], {"a": ""}),
        (["a=b=c"], {"a": "b=c"}),
    ],
)
def test_configs_are_lists_of_assignments(texts: list[str], meaning: dict[str, str]) -> None:
    assert parse_assignments(texts) == meaning


@pytest.mark.parametrize("text", ["a", "a=1,b", "=1", ""])
def test_no_assignment(text: str) -> None:
    with pytest.raises(ValueError, match="NAME=VALUE"):
        parse_assignments([text])


def test_names_appear_once_in_order() -> None:
    assert parse_names(["b,a", "a", "c"]) == ["b", "a", "c"]
    with pytest.raises(ValueError):
        parse_names(["a,,b"])


@pytest.mark.parametrize(
    ("text", "timestamp_ms"),
    [
        ("1700000000000", 1_700_000_000_000),
        ("1970-01-01T00:00:01", 1_000),
        ("1970-01-01T00:00:01.250Z", 1_250),
        ("1970-01-01T01:00:00+01:00", 0),
        ("2026-03-01", 1_772_323_200_000),
    ],
)
def test_a_time_without_a_zone_is_utc(text: str, timestamp_ms: int) -> None:
    assert parse_time(text) == timestamp_ms


@pytest.mark.parametrize("text", ["yesterday", "", "-5", "2026-13-01T00:00:00"])
def test_no_time(text: str) -> None:
    with pytest.raises(ValueError, match="YYYY-MM-DD"):
        parse_time(text)


@pytest.mark.parametrize(
    ("text", "milliseconds"),
    [
        ("PT5M", 300_000),
        ("P1DT12H", 129_600_000),
        ("P2W", 1_209_600_000),
        ("PT0.5S", 500),
        ("pt1h1m1s", 3_661_000),
    ],
)
def test_durations_are_those_of_iso_8601(text: str, milliseconds: int) -> None:
    assert parse_duration(text) == milliseconds


@pytest.mark.parametrize("text", ["5m", "", "P", "PT", "P1DT", "P1H", "-PT5M", "P" + "9" * 30 + "D"])
def test_no_duration(text: str) -> None:
    with pytest.raises(ValueError):
        parse_duration(text)


@given(st.integers(0, 4_102_444_800_000))
def test_a_time_shown_can_be_typed(timestamp_ms: int) -> None:
    assert parse_time(format_time(timestamp_ms).removesuffix(" UTC").replace(" ", "T")) == timestamp_ms


def test_no_time_is_a_dash_and_an_absurd_one_a_number() -> None:
    assert (format_time(-1), format_time(None), format_time(2**62)) == ("-", "-", str(2**62))


def test_an_offset_file_holds_one_group_or_several() -> None:
    text = "# copied\n\norders,0,5\nother,orders,0,9\nmine, orders , 1 , 7\n"
    assert parse_offset_file(text, "mine") == {TopicPartition("orders", 0): 5, TopicPartition("orders", 1): 7}


@pytest.mark.parametrize("line", ["orders,0", "orders,x,1", "orders,0,-1", ",0,1", "a,b,c,d,e"])
def test_a_bad_line_of_an_offset_file_is_named(line: str) -> None:
    with pytest.raises(ValueError, match="line 2"):
        parse_offset_file(f"orders,0,1\n{line}\n", "mine")


def test_a_partition_that_appears_twice_is_refused() -> None:
    with pytest.raises(ValueError, match="line 2: orders-0 appears twice"):
        parse_offset_file("orders,0,1\norders,0,2\n", "mine")


@given(st.dictionaries(st.tuples(st.sampled_from("abc"), st.integers(0, 99)), st.integers(0, 2**63 - 1)))
def test_an_offset_file_reads_back(offsets: dict[tuple[str, int], int]) -> None:
    wanted = {TopicPartition(*key): offset for key, offset in offsets.items()}
    assert parse_offset_file(format_offset_file(wanted.items()), "any") == wanted
