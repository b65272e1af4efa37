from __future__ import annotations

import time

import pytest

from broker.config.client_metrics import (
    MATCH_PARAMETERS,
    MATCHED_TEXT_LENGTH_MAX,
    Subscription,
    match_pattern,
    validate_client_metrics_configs,
)
from broker.errors import KafkaError

FACTS = dict.fromkeys(MATCH_PARAMETERS, "") | {"client_id": "orders-7", "client_software_version": "11.1.2"}


def test_a_subscription_matches_clients_that_all_its_patterns_match_whole() -> None:
    subscription = Subscription.parse(
        "s", {"metrics": "a.,b.", "interval.ms": "100", "match": "client_id=orders-.*, client_software_version=11.1.*"}
    )
    assert (subscription.metrics, subscription.interval_ms) == (("a.", "b."), 100)
    assert subscription.matches(FACTS)
    assert not subscription.matches(FACTS | {"client_id": "my-orders-7"})
    assert not subscription.matches(FACTS | {"client_software_version": "12.0"})


def test_without_patterns_it_matches_everybody() -> None:
    assert Subscription.parse("s", {}).matches(FACTS)


@pytest.mark.parametrize(
    "item",
    [
        "client_id",
        "client_id=",
        "shoe_size=9",
        "client_id=a=b",
        "client_id=(",
        "client_id=(a+)+b",
        r"client_id=(a)\1",
        "client_id=" + "a?" * 30 + "a" * 30,
        "client_id=.*.*.*.*.*x",
        "client_id=" + "a" * 300,
    ],
)
def test_a_pattern_without_sense_or_of_unbounded_cost_is_refused(item: str) -> None:
    with pytest.raises(KafkaError, match="Illegal client matching pattern"):
        match_pattern(item)


def test_the_worst_pattern_that_is_admitted_is_quick_on_the_worst_text() -> None:
    subscription = Subscription.parse("s", {"match": "client_id=a*a?a*a?a*a?b"})
    began = time.monotonic()
    assert not subscription.matches(FACTS | {"client_id": "a" * MATCHED_TEXT_LENGTH_MAX})
    assert not subscription.matches(FACTS | {"client_id": "a" * (MATCHED_TEXT_LENGTH_MAX + 1) + "b"})
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(
    ("name", "configs", "message"),
    [
        ("", {}, "Subscription name can't be empty"),
        ("s", {"nope": "1"}, "Unknown client metrics configuration: nope"),
        ("s", {"interval.ms": "99"}, "Invalid value 99 for interval.ms"),
        ("s", {"interval.ms": "3600001"}, "Invalid value 3600001 for interval.ms"),
        ("s", {"match": "client_id=["}, "Illegal client matching pattern"),
    ],
)
def test_a_subscription_without_sense_is_refused(name: str, configs: dict[str, str], message: str) -> None:
    with pytest.raises(KafkaError, match=message):
        validate_client_metrics_configs(name, configs)
