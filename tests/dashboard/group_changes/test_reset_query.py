"""What a reset is asked for in the URL, and the command that does the same."""

from __future__ import annotations

import shlex

import pytest
from django.http import QueryDict
from hypothesis import given
from hypothesis import strategies as st

from broker.client.offset_reset import ShiftBy, Strategy, ToEarliest, ToLatest, ToOffset, ToTime
from broker.types import TopicPartition
from dashboard.group_changes.reset_query import ResetQuery, read_reset


def read(query: str) -> ResetQuery:
    return read_reset(QueryDict(query), default_zone="UTC")


@pytest.mark.parametrize(
    ("query", "strategy", "option"),
    [
        ("to=earliest", ToEarliest(), "--to-earliest"),
        ("to=latest", ToLatest(), "--to-latest"),
        ("to=offset&offset=1,200", ToOffset(1200), "--to-offset 1200"),
        ("to=shift&shift=-100", ShiftBy(-100), "--shift-by=-100"),
        ("to=shift&shift=%2B5", ShiftBy(5), "--shift-by=5"),
        (
            "to=time&time=2026-03-01T12:00:00&zone=%2B01:00",
            ToTime(1_772_362_800_000),
            "--to-datetime 2026-03-01T11:00:00.000Z",
        ),
    ],
)
def test_every_strategy_can_be_asked_for(query: str, strategy: Strategy, option: str) -> None:
    found = read(f"group=billing&topic=orders&{query}")
    assert found.errors == {}
    assert found.strategy == strategy
    assert found.command == f"manage.py groups reset-offsets billing --topic orders {option}"


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("to=earliest", "topic"),
        ("topic=orders", "to"),
        ("topic=orders&to=yesterday", "to"),
        ("topic=orders&to=offset", "offset"),
        ("topic=orders&to=offset&offset=-1", "offset"),
        ("topic=orders&to=offset&offset=9223372036854775808", "offset"),
        ("topic=orders&to=shift&shift=0", "shift"),
        ("topic=orders&to=shift&shift=ten", "shift"),
        ("topic=orders&to=time", "time"),
        ("topic=orders&to=time&time=2026-03-01T12:00:00&zone=Moon", "zone"),
        ("topic=orders&topic=payments&to=latest&partitions=0", "partitions"),
        ("topic=orders&to=latest&partitions=3-1", "partitions"),
        ("topic=orders&to=latest&partitions=0,,1", "partitions"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(query: str, field: str) -> None:
    found = read(f"group=billing&{query}")
    assert list(found.errors) == [field]
    assert found.strategy is None


def test_partitions_are_written_as_ranges() -> None:
    found = read("group=billing&topic=orders&to=latest&partitions=0-2, 7")
    assert found.partitions == (0, 1, 2, 7)
    assert found.chosen({"orders": 12}) == [TopicPartition("orders", number) for number in (0, 1, 2, 7)]
    assert "--topic orders:0,1,2,7" in found.command


def test_without_numbers_all_partitions_of_all_topics_are_meant() -> None:
    found = read("group=billing&topic=orders&other=payments&to=latest")
    assert found.chosen({"orders": 2, "payments": 1}) == [
        TopicPartition("orders", 0),
        TopicPartition("orders", 1),
        TopicPartition("payments", 0),
    ]


@given(st.text(min_size=1, max_size=30), st.text(min_size=1, max_size=30))
def test_the_command_survives_a_shell_and_the_address_a_browser(group: str, topic: str) -> None:
    query = QueryDict(mutable=True)
    query.update({"group": group, "to": "latest"})
    query.setlist("topic", [topic])
    found = read_reset(query, default_zone="UTC")
    assert shlex.split(found.command)[3:] == [group, "--topic", topic, "--to-latest"]
    again = read(found.url)
    assert (again.group_id, again.topics, again.strategy) == (group, (topic,), ToLatest())


@given(st.dictionaries(st.sampled_from(["to", "offset", "shift", "time", "zone", "partitions", "topic"]), st.text()))
def test_whatever_is_typed_is_a_strategy_or_a_sentence(given_values: dict[str, str]) -> None:
    query = QueryDict(mutable=True)
    query.update(given_values)
    found = read_reset(query, default_zone="UTC")
    assert (found.strategy is None) == bool(found.errors)
    assert all(words.endswith((".", ")")) for words in found.errors.values())
