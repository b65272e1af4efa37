"""Which markers go where, by the value: whole requests, and what answers make of them."""

from __future__ import annotations

import pytest

from broker.errors import ErrorCode
from broker.transactions import fan_out
from broker.transactions.events import PreparedTransaction
from broker.transactions.fan_out import FanOut, MarkerRequest
from broker.types import TopicPartition

P = tuple(TopicPartition("clicks", index) for index in range(4))


def decision(name: str = "tx", *partitions: TopicPartition, coordinator: int = 0) -> PreparedTransaction:
    return PreparedTransaction(
        coordinator=coordinator,
        coordinator_epoch=1,
        transactional_id=name,
        producer_id=sum(name.encode()),
        producer_epoch=0,
        commit=True,
        partitions=frozenset(partitions or P),
        client_version=0,
    )


class Leaders:
    """Partition 3 has no leader; the others are led by brokers 1 and 2 in turn."""

    def __init__(self) -> None:
        self.of: dict[TopicPartition, int | None] = {P[0]: 1, P[1]: 2, P[2]: 1, P[3]: -1}

    def __call__(self, partition: TopicPartition) -> int | None:
        return self.of[partition]


def sent(requests: list[MarkerRequest]) -> dict[int, list[tuple[str, int]]]:
    return {
        request.broker_id: [
            (request.transactions[key].transactional_id, partition.partition) for key, partition in request.items
        ]
        for request in requests
    }


def answered(request: MarkerRequest, code: ErrorCode = ErrorCode.NONE) -> dict[fan_out.Item, ErrorCode]:
    return dict.fromkeys(request.items, code)


def test_each_broker_gets_its_partitions_and_a_partition_without_a_leader_waits() -> None:
    markers = FanOut()
    markers.add(decision())
    assert sent(markers.take_requests(Leaders())) == {1: [("tx", 0), ("tx", 2)], 2: [("tx", 1)]}
    assert markers.has_stalled
    statistics = markers.statistics()
    assert (statistics.transactions, statistics.partitions, statistics.stalled) == (1, 4, 1)


def test_a_decision_is_finished_once_when_all_its_markers_are_written() -> None:
    markers, leaders = FanOut(), Leaders()
    transaction = decision("tx", *P[:2])
    markers.add(transaction)
    first, second = markers.take_requests(leaders)
    markers.on_answer(first, answered(first))
    assert markers.take_finished() == []
    markers.on_answer(second, answered(second))
    assert markers.take_finished() == [transaction]
    assert markers.take_finished() == []


def test_a_decision_without_partitions_is_finished_at_once() -> None:
    markers = FanOut()
    nothing = PreparedTransaction(
        coordinator=0,
        coordinator_epoch=1,
        transactional_id="tx",
        producer_id=1,
        producer_epoch=0,
        commit=False,
        partitions=frozenset(),
        client_version=2,
    )
    markers.add(nothing)
    assert markers.take_requests(Leaders()) == []
    assert markers.take_finished() == [nothing]


def test_what_comes_while_a_broker_is_busy_goes_with_its_next_request() -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("a", P[0]))
    (first,) = markers.take_requests(leaders)
    markers.add(decision("b", P[0]))
    markers.add(decision("c", P[2]))
    assert markers.take_requests(leaders) == []
    markers.on_answer(first, answered(first))
    assert sent(markers.take_requests(leaders)) == {1: [("b", 0), ("c", 2)]}


def test_requests_have_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fan_out, "MARKERS_PER_REQUEST_MAX", 2)
    markers, leaders = FanOut(), Leaders()
    for name in ("a", "b", "c"):
        markers.add(decision(name, P[0]))
    (first,) = markers.take_requests(leaders)
    assert sent([first]) == {1: [("a", 0), ("b", 0)]}
    markers.on_answer(first, answered(first))
    assert sent(markers.take_requests(leaders)) == {1: [("c", 0)]}


@pytest.mark.parametrize("code", [ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.TRANSACTION_COORDINATOR_FENCED])
def test_a_refused_marker_is_sent_to_whoever_leads_then(code: ErrorCode) -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("tx", P[0]))
    (request,) = markers.take_requests(leaders)
    markers.on_answer(request, answered(request, code))
    assert markers.take_requests(leaders) == []
    leaders.of[P[0]] = 2
    markers.retry()
    assert sent(markers.take_requests(leaders)) == {2: [("tx", 0)]}


def test_an_item_that_was_not_answered_and_a_request_that_was_not_are_sent_again() -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("tx", P[0], P[2]))
    (request,) = markers.take_requests(leaders)
    markers.on_answer(request, {request.items[0]: ErrorCode.NONE})
    markers.retry()
    (request,) = markers.take_requests(leaders)
    assert sent([request]) == {1: [("tx", 2)]}
    markers.on_unanswered(request)
    markers.retry()
    assert sent(markers.take_requests(leaders)) == {1: [("tx", 2)]}


def test_what_waits_for_a_busy_broker_follows_a_new_leader() -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("a", P[0]))
    markers.take_requests(leaders)
    markers.add(decision("b", P[2]))
    assert markers.take_requests(leaders) == []
    leaders.of[P[2]] = 2
    markers.retry()
    assert sent(markers.take_requests(leaders)) == {2: [("b", 2)]}


def test_a_partition_that_is_gone_needs_no_marker() -> None:
    markers, leaders = FanOut(), Leaders()
    transaction = decision("tx", P[3])
    markers.add(transaction)
    markers.take_requests(leaders)
    leaders.of[P[3]] = None
    markers.retry()
    assert markers.take_requests(leaders) == []
    assert markers.take_finished() == [transaction]


def test_the_answer_to_a_dropped_decision_does_not_count_for_the_next_one_of_the_same_producer() -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("tx", P[0]))
    (late,) = markers.take_requests(leaders)
    markers.drop_coordinator(0)
    leaders.of[P[0]] = 2
    markers.add(decision("tx", P[0]))
    (request,) = markers.take_requests(leaders)
    markers.on_answer(late, answered(late))
    assert markers.take_finished() == []
    markers.on_answer(request, answered(request))
    assert len(markers.take_finished()) == 1


def test_only_the_decisions_of_a_lost_coordinator_are_dropped() -> None:
    markers, leaders = FanOut(), Leaders()
    markers.add(decision("a", P[0], coordinator=0))
    markers.add(decision("b", P[0], coordinator=1))
    markers.drop_coordinator(0)
    assert sent(markers.take_requests(leaders)) == {1: [("b", 0)]}


def test_asking_twice_for_the_same_decision_sends_it_once() -> None:
    markers = FanOut()
    markers.add(decision("tx", P[0]))
    markers.add(decision("tx", P[0]))
    assert sent(markers.take_requests(Leaders())) == {1: [("tx", 0)]}
