"""Subscriptions by pattern: what they match, when they are looked at again, and patterns nobody should run."""

from __future__ import annotations

import time

import pytest

from broker.errors import ErrorCode, KafkaError
from broker.groups.consumer.records import RegexRecord
from broker.groups.consumer.regex import compile_regex, matching_topics
from broker.limits import SUBSCRIPTION_REGEX_LENGTH_MAX
from tests.groups.consumer.stage import ConsumerStage


def test_a_pattern_describes_whole_names() -> None:
    names = ["orders", "orders-1", "old-orders", "clicks"]
    assert matching_topics("orders.*", names) == {"orders", "orders-1"}
    assert matching_topics("(?i)CLICKS", names) == {"clicks"}


@pytest.mark.parametrize(
    "regex", ["(a", "a**", "(?=a)", r"(a)\1", "a" * (SUBSCRIPTION_REGEX_LENGTH_MAX + 1), "((a{100}){100}){100}"]
)
def test_what_is_no_pattern_or_too_much_of_one_is_refused(regex: str) -> None:
    with pytest.raises(KafkaError) as refused:
        compile_regex(regex)
    assert refused.value.code is ErrorCode.INVALID_REGULAR_EXPRESSION


def test_a_pattern_that_ruins_other_engines_takes_no_time() -> None:
    started = time.monotonic()
    assert matching_topics("(a*)*(a*)*(a|aa)+b", ["a" * 249]) == frozenset()
    assert time.monotonic() - started < 1


def test_a_pattern_is_resolved_at_once_and_never_means_internal_topics() -> None:
    stage = ConsumerStage(topics={"orders-1": 1, "orders-2": 1, "clicks": 1, "__consumer_offsets": 1})
    reply = stage.beat("a", 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    assert (reply.epoch, stage.named(reply.assigned)) == (1, {"orders-1": [0], "orders-2": [0]})
    everything = stage.beat("a", 1, regex=".*")
    assert stage.named(everything.assigned) == {"clicks": [0], "orders-1": [0], "orders-2": [0]}
    assert list(stage.consumer_group.regexes) == [".*"]


def test_names_and_a_pattern_add_up() -> None:
    stage = ConsumerStage(topics={"orders-1": 1, "clicks": 1})
    reply = stage.enter_consumer("a", "clicks", regex="orders.*")
    assert stage.named(reply.assigned) == {"clicks": [0], "orders-1": [0]}


def test_new_topics_are_noticed_after_a_while() -> None:
    stage = ConsumerStage(topics={"orders-1": 1})
    stage.beat("a", 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    stage.create_topic("orders-2", 1)
    stage.advance(9_999)
    assert stage.beat("a", 1).assigned is None
    stage.advance(1)
    reply = stage.beat("a", 1)
    assert (reply.epoch, stage.named(reply.assigned)) == (2, {"orders-1": [0], "orders-2": [0]})


def test_a_topic_that_does_not_match_changes_nothing() -> None:
    stage = ConsumerStage(topics={"orders-1": 1})
    stage.beat("a", 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    stage.create_topic("clicks", 1)
    stage.advance(10_000)
    assert stage.beat("a", 1).epoch == 1
    assert stage.consumer_group.regexes["orders-.*"].version == 1, "it was looked at"


def test_a_deleted_topic_is_noticed_at_once() -> None:
    stage = ConsumerStage(topics={"orders-1": 1, "orders-2": 1})
    stage.beat("a", 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    stage.delete_topic("orders-2")
    assert stage.named(stage.beat("a", 1).assigned) == {"orders-1": [0]}


def test_patterns_are_looked_at_now_and_then_anyway() -> None:
    stage = ConsumerStage(topics={"orders-1": 1}, regex_refresh_interval_ms=60_000, session_timeout_ms=10**6)
    stage.beat("a", 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    written = len(stage.log)
    stage.advance(59_999)
    stage.beat("a", 1)
    assert len(stage.log) == written
    stage.advance(1)
    stage.beat("a", 1)
    (record,) = stage.log[written:]
    assert isinstance(record, RegexRecord)


def test_a_pattern_dies_with_its_last_subscriber() -> None:
    stage = ConsumerStage(topics={"orders-1": 2})
    for member_id in "ab":
        stage.beat(member_id, 0, regex="orders-.*", owned={}, rebalance_timeout_ms=1_000)
    stage.leave_consumer("a")
    assert list(stage.consumer_group.regexes) == ["orders-.*"]
    stage.beat("b", 2, regex="")
    assert stage.consumer_group.regexes == {}
    assert stage.consumer_group.subscribed_topics() == set()
    stage.beat("b", stage.member("b").epoch, regex="orders-1")
    stage.leave_consumer("b")
    assert stage.consumer_group.regexes == {}
