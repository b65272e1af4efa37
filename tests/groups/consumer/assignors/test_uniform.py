"""The uniform assignor against a plain judge: everything is assigned once, evenly, and little moves."""

from __future__ import annotations

import time
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from broker.groups.consumer.assignors.spec import MemberSpec
from broker.groups.consumer.assignors.uniform import assign_uniformly
from broker.groups.consumer.records import Partitions

TOPICS = [bytes([number]) * 16 for number in range(6)]


def spec(number: int, topics: frozenset[bytes], target: Partitions | None = None) -> MemberSpec:
    return MemberSpec(member_id=f"m{number:04}", instance_id=None, topics=topics, target=target or {})


def loads(assigned: dict[str, Partitions]) -> dict[str, int]:
    return {member_id: sum(map(len, partitions.values())) for member_id, partitions in assigned.items()}


def owners(assigned: dict[str, Partitions]) -> dict[tuple[bytes, int], str]:
    found: dict[tuple[bytes, int], str] = {}
    for member_id, partitions in assigned.items():
        for topic_id, indexes in partitions.items():
            for index in indexes:
                assert (topic_id, index) not in found, "given twice"
                found[topic_id, index] = member_id
    return found


subscriptions = st.lists(st.frozensets(st.sampled_from(TOPICS), max_size=4), min_size=1, max_size=8)
counts = st.dictionaries(st.sampled_from(TOPICS), st.integers(0, 9))


@st.composite
def former_targets(draw: st.DrawFn, members: int) -> list[Partitions]:
    """What anybody may have had before, also of topics and partitions that are gone; each has one owner."""
    given_to = draw(
        st.dictionaries(
            st.tuples(st.sampled_from(TOPICS), st.integers(0, 11)), st.integers(0, members - 1), max_size=40
        )
    )
    targets: list[dict[bytes, set[int]]] = [{} for _ in range(members)]
    for (topic_id, partition), member in given_to.items():
        targets[member].setdefault(topic_id, set()).add(partition)
    return [{topic_id: frozenset(found) for topic_id, found in target.items()} for target in targets]


@given(st.data(), subscriptions, counts)
def test_everything_subscribed_to_is_assigned_once_to_a_subscriber(
    data: st.DataObject, wanted: list[frozenset[bytes]], sizes: dict[bytes, int]
) -> None:
    before = data.draw(former_targets(len(wanted)))
    members = [spec(number, topics, before[number]) for number, topics in enumerate(wanted)]
    assigned = dict(assign_uniformly(members, lambda topic_id: sizes.get(topic_id, 0)))
    assert assigned.keys() == {member.member_id for member in members}
    subscribed = frozenset().union(*wanted)
    assert owners(assigned).keys() == {(one, index) for one in subscribed for index in range(sizes.get(one, 0))}
    for member in members:
        assert assigned[member.member_id].keys() <= member.topics


@given(st.data(), subscriptions, counts)
def test_no_single_move_would_make_it_more_even(
    data: st.DataObject, wanted: list[frozenset[bytes]], sizes: dict[bytes, int]
) -> None:
    before = data.draw(former_targets(len(wanted)))
    members = [spec(number, topics, before[number]) for number, topics in enumerate(wanted)]
    assigned = dict(assign_uniformly(members, lambda topic_id: sizes.get(topic_id, 0)))
    load = loads(assigned)
    for (topic_id, _), owner in owners(assigned).items():
        least = min(load[member.member_id] for member in members if topic_id in member.topics)
        assert load[owner] - least <= 1


@given(st.data(), st.integers(1, 8), counts, st.frozensets(st.sampled_from(TOPICS), min_size=1))
def test_with_equal_subscriptions_as_much_stays_as_balance_allows(
    data: st.DataObject, member_count: int, sizes: dict[bytes, int], topics: frozenset[bytes]
) -> None:
    before = data.draw(former_targets(member_count))
    members = [spec(number, topics, target) for number, target in enumerate(before)]
    assigned = dict(assign_uniformly(members, lambda topic_id: sizes.get(topic_id, 0)))
    total = sum(sizes.get(topic_id, 0) for topic_id in topics)
    quota, extras = divmod(total, member_count)
    assert Counter(loads(assigned).values()) == Counter({quota: member_count - extras, quota + 1: extras}) - Counter()
    still = [
        sum(topic_id in topics and index < sizes.get(topic_id, 0) for topic_id, found in one.items() for index in found)
        for one in before
    ]
    over = sorted((count for count in still if count > quota), reverse=True)
    best = sum(min(count, quota) for count in still) + min(extras, len(over))
    was = owners({member.member_id: member.target for member in members})
    assert sum(was.get(partition) == owner for partition, owner in owners(assigned).items()) == best


@given(st.data(), subscriptions, counts)
def test_what_it_decided_it_decides_again(
    data: st.DataObject, wanted: list[frozenset[bytes]], sizes: dict[bytes, int]
) -> None:
    before = data.draw(former_targets(len(wanted)))
    members = [spec(number, topics, before[number]) for number, topics in enumerate(wanted)]
    once = assign_uniformly(members, lambda topic_id: sizes.get(topic_id, 0))
    settled = [spec(number, member.topics, once[member.member_id]) for number, member in enumerate(members)]
    again = assign_uniformly(settled, lambda topic_id: sizes.get(topic_id, 0))
    assert again == once
    assert all(again[member.member_id] is member.target for member in settled), "compared by identity first"


def test_a_topic_is_spread_over_its_members() -> None:
    members = [spec(number, frozenset(TOPICS[:2])) for number in range(2)]
    assigned = assign_uniformly(members, lambda topic_id: 2)
    assert assigned == {"m0000": {TOPICS[0]: {0}, TOPICS[1]: {0}}, "m0001": {TOPICS[0]: {1}, TOPICS[1]: {1}}}


def test_nobody_is_assigned_nothing() -> None:
    assert assign_uniformly([], lambda topic_id: 5) == {}


def test_a_thousand_members_with_overlapping_subscriptions_are_assigned_in_no_time() -> None:
    topics = [number.to_bytes(16, "big") for number in range(50)]
    members = [spec(number, frozenset(topics[number % 40 : number % 40 + 10])) for number in range(1_000)]
    started = time.monotonic()
    assigned = dict(assign_uniformly(members, lambda topic_id: 100))
    assert time.monotonic() - started < 5
    assert len(owners(assigned)) == 4_900
