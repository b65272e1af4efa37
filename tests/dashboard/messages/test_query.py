from __future__ import annotations

from typing import Any

import pytest
from django.http import QueryDict

from dashboard.messages.query import LIMIT_DEFAULT, PAGED_PARTITIONS_MAX, Query, read_query


def query(text: str = "", zone: str = "UTC") -> Query:
    return read_query(QueryDict(text), default_zone=zone)


def test_without_anything_it_is_the_newest_of_all_partitions() -> None:
    found = query()
    assert (found.start, found.partition, found.limit, found.goes_back) == ("newest", None, LIMIT_DEFAULT, True)
    assert found.errors == {}


@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("time=2026-01-31T14:05", 1_769_868_300_000),
        ("time=2026-01-31+14:05:00.250&zone=UTC", 1_769_868_300_250),
        ("time=2026-01-31T14:05&zone=%2B02:00", 1_769_861_100_000),
        ("time=2026-01-31T14:05&zone=-0330", 1_769_880_900_000),
        ("time=2026-01-31T14:05%2B01:00&zone=UTC", 1_769_864_700_000),
        ("time=1970-01-01T00:00", 0),
    ],
)
def test_times_are_read_in_their_zone(text: str, at_ms: int) -> None:
    found = query(f"from=time&{text}")
    assert (found.at_ms, found.errors) == (at_ms, {})


@pytest.mark.parametrize(
    ("text", "field"),
    [
        ("from=time", "time"),
        ("from=time&time=yesterday", "time"),
        ("from=time&time=1900-01-01T00:00", "time"),
        ("from=time&time=2026-01-31T14:05&zone=Mars/Olympus", "zone"),
        ("from=time&time=2026-01-31T14:05&zone=../../etc/passwd", "zone"),
        ("from=offset", "offset"),
        ("from=offset&offset=-1", "offset"),
        ("from=offset&offset=9223372036854775808", "offset"),
        ("partition=x", "partition"),
        ("q=key+%3D", "q"),
    ],
)
def test_what_cannot_be_read_is_an_error_at_its_field(text: str, field: str) -> None:
    assert list(query(text).errors) == [field]


@pytest.mark.parametrize("text", ["from=nowhere", "limit=7", "at=garbage", "at=1-x", "limit=99999999999", "go=up"])
def test_nonsense_in_an_address_is_ignored(text: str) -> None:
    found = query(text)
    assert found.errors == {}
    assert (found.start, found.limit, dict(found.positions)) == ("newest", LIMIT_DEFAULT, {})


def test_an_offset_may_be_written_with_separators() -> None:
    assert query("from=offset&offset=12,345").offset == 12_345


def test_turning_the_page_keeps_what_was_asked_for() -> None:
    first = query("from=offset&offset=10&partition=1&limit=20&q=key+%3D+a")
    turned = query(first.page_url({1: 30}, goes_back=False).removeprefix("?"))
    assert turned.positions == {1: 30}
    assert not turned.goes_back
    assert (turned.offset, turned.partition, turned.limit, turned.predicate) == (10, 1, 20, first.predicate)


def test_changing_what_is_asked_for_starts_on_the_first_page() -> None:
    turned = query("q=a&at=0-5&go=older")
    assert "at=" not in turned.url(q=None)
    assert "q=" not in turned.url(q=None)


def test_too_many_positions_make_no_address() -> None:
    everything: dict[int, Any] = dict.fromkeys(range(PAGED_PARTITIONS_MAX + 1), 5)
    assert query().page_url(everything, goes_back=True) == ""
