"""KIP-714's conversation: ask, push, be told to wait, ask again after a change."""

from __future__ import annotations

import pytest

from broker import limits
from broker.client_metrics.instances import ClientInstance, ClientInstances, subscription_id_of, wanted
from broker.config.client_metrics import MATCH_PARAMETERS, Subscription
from broker.errors import ErrorCode, KafkaError
from broker.protocol.private import MetricPoint

INTERVAL_MS = 1_000
FACTS = dict.fromkeys(MATCH_PARAMETERS, "") | {"client_id": "c"}
EVERYTHING = {"all": {"metrics": "*", "interval.ms": str(INTERVAL_MS)}}


@pytest.fixture
def instances() -> ClientInstances:
    made = ClientInstances()
    made.configure(EVERYTHING)
    return made


def id_of(number: int) -> bytes:
    return number.to_bytes(16, "big")


def subscribe(instances: ClientInstances, now_ms: int, number: int = 5) -> ClientInstance:
    return instances.subscribe(id_of(number), FACTS, 1, now_ms)


def push(
    instances: ClientInstances, now_ms: int, subscription_id: int, *, terminating: bool = False, number: int = 5
) -> ClientInstance:
    instance = instances.admit_push(
        id_of(number), FACTS, 1, now_ms, subscription_id=subscription_id, terminating=terminating
    )
    instances.keep(instance, [MetricPoint(name="m", kind="gauge", value=1.0)], 0, 77)
    return instance


def refusal(call: object, *arguments: object, **fields: object) -> ErrorCode:
    with pytest.raises(KafkaError) as refused:
        call(*arguments, **fields)  # type: ignore[operator]
    return refused.value.code


def test_a_client_asks_and_pushes_once_an_interval(instances: ClientInstances) -> None:
    instance = subscribe(instances, 0)
    assert (instance.metrics, instance.interval_ms) == (("*",), INTERVAL_MS)
    push(instances, 10, instance.subscription_id)
    assert refusal(push, instances, 1_009, instance.subscription_id) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    push(instances, 1_010, instance.subscription_id)
    assert (instance.pushes_total, instance.pushed_at_ms) == (2, 77)


def test_asking_twice_within_an_interval_is_too_often(instances: ClientInstances) -> None:
    subscribe(instances, 0)
    assert refusal(subscribe, instances, 999) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    subscribe(instances, 1_000)


def test_another_subscription_is_unknown_and_the_client_may_ask_again_at_once(instances: ClientInstances) -> None:
    instance = subscribe(instances, 0)
    old = instance.subscription_id
    instances.configure({"some": {"metrics": "a.", "interval.ms": "2000"}})
    assert refusal(push, instances, 10, old) is ErrorCode.UNKNOWN_SUBSCRIPTION_ID
    renewed = subscribe(instances, 11)
    assert (renewed.metrics, renewed.interval_ms, renewed.subscription_id != old) == (("a.",), 2_000, True)
    push(instances, 12, renewed.subscription_id)


def test_a_change_that_does_not_concern_a_client_gives_it_no_new_turn(instances: ClientInstances) -> None:
    instance = subscribe(instances, 0)
    instances.configure({**EVERYTHING, "other": {"metrics": "*", "match": "client_id=somebody"}})
    assert refusal(subscribe, instances, 10) is ErrorCode.THROTTLING_QUOTA_EXCEEDED
    push(instances, 20, instance.subscription_id)


def test_the_last_push_comes_whenever_the_client_ends_and_nothing_after_it(instances: ClientInstances) -> None:
    instance = subscribe(instances, 0)
    push(instances, 10, instance.subscription_id)
    push(instances, 20, instance.subscription_id, terminating=True)
    assert refusal(push, instances, 5_000, instance.subscription_id) is ErrorCode.INVALID_REQUEST


def test_a_broker_that_never_heard_of_a_client_takes_its_push(instances: ClientInstances) -> None:
    other = ClientInstances()
    other.configure(EVERYTHING)
    push(other, 0, subscribe(instances, 0).subscription_id)
    assert other.statistics().instances == 1


def test_several_subscriptions_are_united_and_the_shortest_interval_counts() -> None:
    subscriptions = [
        Subscription.parse("a", {"metrics": "x.,y.", "interval.ms": "9000"}),
        Subscription.parse("b", {"metrics": "y.,z.", "interval.ms": "5000", "match": "client_id=c"}),
        Subscription.parse("c", {"metrics": "*", "interval.ms": "100", "match": "client_id=d"}),
    ]
    assert wanted(subscriptions, FACTS) == (("x.", "y.", "z."), 5_000)
    assert wanted(subscriptions, FACTS | {"client_id": "d"}) == (("*",), 100)
    assert wanted([], FACTS) == ((), 300_000)


def test_subscription_ids_are_int32_and_depend_on_everything() -> None:
    ids = {
        subscription_id_of(id_of(number), metrics, interval_ms)
        for number in range(20)
        for metrics in ((), ("a", "b"), ("a\0b",), ("*",))
        for interval_ms in (100, 200)
    }
    assert len(ids) > 100
    assert all(-(2**31) <= number < 2**31 for number in ids)
    assert subscription_id_of(id_of(1), ("*",), 100) == subscription_id_of(id_of(1), ("*",), 100)


def test_silent_clients_are_forgotten_with_their_values(instances: ClientInstances) -> None:
    for number in (5, 6):
        push(instances, number, subscribe(instances, number, number).subscription_id, number=number)
    assert instances.statistics().points == 2
    assert [i.id for i in instances.page(b"", 10, 60_005)[0]] == [id_of(5), id_of(6)]
    assert [i.id for i in instances.page(b"", 10, 60_006)[0]] == [id_of(6)]
    assert instances.statistics().points == 1


def test_instances_and_values_are_bounded(instances: ClientInstances, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "CLIENT_INSTANCES_MAX", 3)
    monkeypatch.setattr(limits, "CLIENT_METRICS_POINTS_TOTAL_MAX", 2)
    for number in range(5, 10):
        push(instances, number, subscribe(instances, number, number).subscription_id, number=number)
    kept = instances.page(b"", 10, 20)[0]
    assert [i.id for i in kept] == [id_of(7), id_of(8), id_of(9)]
    assert instances.statistics().points == 2
    assert [i.left_out for i in kept] == [1, 0, 0], "there was no room for the third, and then some went"


def test_pages_go_by_id(instances: ClientInstances) -> None:
    for number in (9, 5, 7):
        subscribe(instances, 0, number)
    first, total = instances.page(b"", 2, 0)
    assert ([i.id for i in first], total) == ([id_of(5), id_of(7)], 3)
    assert [i.id for i in instances.page(first[-1].id, 2, 0)[0]] == [id_of(9)]
