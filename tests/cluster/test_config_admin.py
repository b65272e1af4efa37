from __future__ import annotations

import pytest

from broker.cluster.config_admin import decide_alter_configs
from broker.cluster.config_changes import ConfigChange, ConfigOperation, ResourceChange
from broker.cluster.decision import Decision, ResourceResult
from broker.cluster.image import ClusterImage
from broker.config.broker import BrokerConfig
from broker.errors import ErrorCode
from broker.metadata.store import VersionIs
from tests.cluster.builders import (
    NOW_MS,
    cluster,
    committed,
    outcome,
    topic,
    with_topics,
)

CONFIG = BrokerConfig()


def alter(image: ClusterImage, *changes: ResourceChange) -> Decision[ResourceResult]:
    return decide_alter_configs(image, changes, config=CONFIG, now_ms=NOW_MS)


def change(
    kind: int, name: str, *changes: tuple[str, str | None], replace: bool = False, operation: int = 0
) -> ResourceChange:
    return ResourceChange(
        type=kind,
        name=name,
        changes=tuple(ConfigChange(name=n, value=v, operation=operation) for n, v in changes),
        replace=replace,
    )


def test_a_topics_configs_change_with_its_record() -> None:
    image = with_topics(cluster(1), topic("a", configs={"retention.ms": "1"}))
    before = image.topics_by_name["a"]
    decision = alter(image, change(2, "a", ("segment.ms", "7")))
    assert decision.transaction is not None
    assert list(decision.transaction.preconditions) == [VersionIs("topics/a", before.version)]
    after = committed(image, decision.transaction).topics_by_name["a"]
    assert after.configs == {"retention.ms": "1", "segment.ms": "7"}
    assert after.partitions == before.partitions


def test_a_change_that_changes_nothing_writes_nothing() -> None:
    image = with_topics(cluster(1), topic("a", configs={"retention.ms": "1"}))
    assert alter(image, change(2, "a", ("retention.ms", "1"))).transaction is None
    assert (
        alter(image, change(4, "1", ("message.max.bytes", None), operation=ConfigOperation.DELETE)).transaction is None
    )


def test_dynamic_broker_configs_are_kept_apart_for_one_and_for_all() -> None:
    image = cluster(1, 2)
    first = alter(image, change(4, "1", ("message.max.bytes", "7")), change(4, "", ("log.retention.ms", "9")))
    assert [r.error for r in first.results] == [None, None]
    image = committed(image, first.transaction)
    assert image.broker_configs == {"1": {"message.max.bytes": "7"}, "": {"log.retention.ms": "9"}}
    last = alter(image, change(4, "1", ("message.max.bytes", None), operation=ConfigOperation.DELETE))
    assert last.transaction is not None
    assert list(last.transaction.preconditions) == [VersionIs("configs/brokers/1", image.broker_configs_versions["1"])]
    assert committed(image, last.transaction).broker_configs == {"": {"log.retention.ms": "9"}}


@pytest.mark.parametrize(
    ("asked", "code", "message"),
    [
        (change(2, "missing"), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, "The topic 'missing' does not exist."),
        (
            change(2, ""),
            ErrorCode.INVALID_TOPIC_EXCEPTION,
            "Topic name is invalid: the empty string is not allowed",
        ),
        (
            change(2, "a", ("retention.ms", "x")),
            ErrorCode.INVALID_CONFIG,
            "Invalid value x for configuration retention.ms: Not a number of type LONG",
        ),
        (change(2, "a", ("nope", "x")), ErrorCode.INVALID_CONFIG, "Unknown topic config name: nope"),
        (
            change(2, "a", ("retention.ms", None)),
            ErrorCode.INVALID_REQUEST,
            "Null value not supported for : retention.ms",
        ),
        (change(4, "2"), ErrorCode.INVALID_REQUEST, "Unexpected broker id, expected 1, but received 2"),
        (change(4, "one"), ErrorCode.INVALID_REQUEST, "Node id must be an integer, but it is: one"),
        (
            change(4, "1", ("num.partitions", "2")),
            ErrorCode.INVALID_REQUEST,
            "Cannot update these configs dynamically: {num.partitions}",
        ),
        (change(1, "x", ("x", "1")), ErrorCode.INVALID_REQUEST, "Unknown resource type 1"),
    ],
)
def test_a_change_without_sense_is_refused(asked: ResourceChange, code: ErrorCode, message: str) -> None:
    image = with_topics(cluster(1, 2), topic("a"))
    decision = alter(image, asked)
    assert outcome(decision.results[0].error) == (code, message)
    assert decision.transaction is None


def test_a_bad_resource_leaves_the_others_alone_and_its_own_changes_stay_together() -> None:
    image = with_topics(cluster(1), topic("a"), topic("b"))
    decision = alter(
        image, change(2, "a", ("retention.ms", "5"), ("segment.ms", "x")), change(2, "b", ("retention.ms", "6"))
    )
    assert [r.error is None for r in decision.results] == [False, True]
    after = committed(image, decision.transaction)
    assert after.topics_by_name["a"].configs == {}
    assert after.topics_by_name["b"].configs == {"retention.ms": "6"}


def test_a_resource_named_twice_is_refused_both_times() -> None:
    image = with_topics(cluster(1), topic("a"))
    decision = alter(image, change(2, "a", ("retention.ms", "5")), change(2, "a", ("segment.ms", "5")))
    assert [outcome(r.error) for r in decision.results] == [
        (ErrorCode.INVALID_REQUEST, "Each resource must appear at most once.")
    ] * 2
    assert decision.transaction is None
