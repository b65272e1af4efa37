from __future__ import annotations

import pytest

from broker.client.results import Record
from dashboard.messages.predicate import TERMS_MAX, TEXT_LENGTH_MAX, FilterError, parse
from tests.dashboard.messages.records import record


def matches(text: str, found: Record) -> bool:
    return parse(text).matches(found)


ORDER = record(
    key=b"user-7",
    value=b'{"order": {"state": "shipped", "total": 12.50, "lines": [{"sku": "A-1"}]}, "note": null, "big": 1e400}',
    headers=(("source", b"Shop"), ("trace", None)),
)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "SHIPPED",
        "shop",
        "user-7 shipped",
        "key = user-7",
        "key=user-7",
        "key contains SER",
        "key != user-8",
        "value.order.state = shipped and key = user-7",
        "value.order.total = 12.50",
        "value.order.lines.0.sku = A-1",
        "value.note = null",
        "value.order.lines contains A-1",
        "header.source = Shop",
        "header contains shop",
        "header.trace = null",
        "not key = user-8",
        "not not key = user-7",
        'value contains "order\\": {"',
        "value.big = 1e400",
    ],
)
def test_it_matches(text: str) -> None:
    assert matches(text, ORDER)


@pytest.mark.parametrize(
    "text",
    [
        "lost",
        "key = user",
        "key = USER-7",
        "key != user-7",
        "value.order.total = 12.5",
        "value.order.lines.1.sku = A-1",
        "value.order.missing = x",
        "value.order.missing != x",
        "value.order.state.deeper = x",
        "header.other != x",
        "header.source = shop",
        "not shipped",
        "value = null",
        'key = ""',
    ],
)
def test_it_does_not_match(text: str) -> None:
    assert not matches(text, ORDER)


def test_null_and_empty_are_told_apart() -> None:
    tombstone, empty = record(key=None, value=None), record(key=b"", value=b"")
    assert matches("value = null and key = null", tombstone)
    assert matches('value = "" and key = ""', empty)
    assert not matches("value = null", empty)
    assert not matches('value = ""', tombstone)
    assert matches('value = "null"', record(value=b"null"))


def test_bytes_that_are_no_text_are_searched_as_far_as_they_are() -> None:
    assert matches("needle", record(value=b"\xff\xfe needle \x00"))
    assert not matches("value.a = 1", record(value=b"\xff\xfe"))


def test_json_that_would_exhaust_the_parser_does_not_match() -> None:
    assert not matches("value.a = 1", record(value=b"[" * 200_000))


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("foo = 1", "is no field"),
        ("values.a = 1", "is no field"),
        ("key =", "has to follow"),
        ("= x", "in front of it"),
        ("key = a and", "follow “and”"),
        ("not", "follow “not”"),
        ('key = "open', "not closed"),
        ("x " * (TERMS_MAX + 1), "terms"),
        ("x" * (TEXT_LENGTH_MAX + 1), "characters"),
    ],
)
def test_what_is_no_filter_is_told_why(text: str, reason: str) -> None:
    with pytest.raises(FilterError, match=reason):
        parse(text)


def test_nothing_is_evaluated() -> None:
    assert not matches("__import__('os').system('true')", ORDER)
    assert not matches("value.__class__ contains dict", ORDER)
