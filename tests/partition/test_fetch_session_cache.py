"""Which fetch sessions are kept: the slots, the bound on partitions, and who has to go for whom."""

from __future__ import annotations

import itertools

from hypothesis import given, settings
from hypothesis import strategies as st

from broker import limits
from broker.partition import fetch_session_cache
from broker.partition.fetch_session import EPOCH_MAX, FetchSession, next_epoch
from broker.partition.fetch_session_cache import EVICTION_MS, FetchSessionCache
from broker.protocol.fetch import FetchPartition

OLD = EVICTION_MS + 1


def cache_of(slots: int) -> FetchSessionCache:
    return FetchSessionCache(slots=slots, new_id=itertools.count(1).__next__)


def begin(cache: FetchSessionCache, size: int, now_ms: int, *, privileged: bool = False) -> FetchSession | None:
    session = cache.create(size, privileged=privileged, uses_topic_ids=False, now_ms=now_ms)
    if session is not None:
        for index in range(size):
            session.add("t", None, FetchPartition(index, -1, 0, -1, -1, 1))
        cache.touch(session, now_ms)
    return session


def test_epochs_go_up_by_one_and_begin_again_at_one() -> None:
    assert [next_epoch(0), next_epoch(1), next_epoch(EPOCH_MAX)] == [1, 2, 1]


def test_a_full_cache_of_young_sessions_in_use_takes_no_more() -> None:
    cache = cache_of(2)
    assert begin(cache, 1, 0)
    assert begin(cache, 1, 0)
    assert begin(cache, 100, EVICTION_MS) is None
    assert cache.statistics().sessions == 2


def test_no_slots_means_no_sessions() -> None:
    assert begin(cache_of(0), 1, 0) is None


def test_a_session_that_nobody_used_for_two_minutes_makes_room_for_any_other() -> None:
    cache = cache_of(2)
    large, small = begin(cache, 50, 0), begin(cache, 2, 0)
    assert large
    assert small
    cache.touch(small, OLD, size_before=2)
    assert begin(cache, 1, OLD + 1)
    assert cache.get(large.id) is None
    assert cache.get(small.id) is small


def test_a_session_in_use_that_has_lived_for_two_minutes_gives_way_to_a_larger_one_only() -> None:
    cache = cache_of(1)
    small = begin(cache, 3, 0)
    assert small
    for now_ms in range(0, OLD + 1, 1_000):
        cache.touch(small, now_ms, size_before=3)
    cache.touch(small, OLD, size_before=3)
    assert begin(cache, 3, OLD) is None
    assert begin(cache, 4, OLD)
    assert cache.get(small.id) is None
    assert cache.statistics().evictions_total == 1


def test_a_follower_displaces_a_young_consumer_and_no_consumer_displaces_a_follower() -> None:
    cache = cache_of(1)
    consumer = begin(cache, 100, 0)
    follower = begin(cache, 1, 1, privileged=True)
    assert consumer
    assert follower
    assert cache.get(consumer.id) is None
    for now_ms in range(1, OLD + 1_000, 1_000):
        cache.touch(follower, now_ms, size_before=1)
    assert begin(cache, 1_000, OLD + 1_000) is None


def test_a_size_that_changed_is_the_one_that_counts() -> None:
    cache = cache_of(2)
    first, second = begin(cache, 1, 0), begin(cache, 5, 0)
    assert first
    assert second
    for session, size in ((first, 1), (second, 5)):
        cache.touch(session, OLD, size_before=size)
    for index in range(1, 9):
        first.add("t", None, FetchPartition(index, -1, 0, -1, -1, 1))
    cache.touch(first, OLD, size_before=1)
    assert begin(cache, 6, OLD)
    assert (cache.get(first.id), cache.get(second.id)) == (first, None)


def test_an_id_in_use_and_an_impossible_one_are_drawn_again() -> None:
    numbers = iter((7, 7, 0, 2**31, 8))
    cache = FetchSessionCache(slots=2, new_id=numbers.__next__)
    first, second = begin(cache, 1, 0), begin(cache, 1, 0)
    assert first
    assert second
    assert (first.id, second.id) == (7, 8)


def test_all_sessions_together_have_a_bound_on_partitions(monkeypatch) -> None:
    monkeypatch.setattr(fetch_session_cache, "FETCH_SESSION_PARTITIONS_MAX", 10)
    cache = cache_of(100)
    first = begin(cache, 6, 0)
    assert first
    assert begin(cache, 5, 0) is None
    for index in range(6, 11):
        first.add("t", None, FetchPartition(index, -1, 0, -1, -1, 1))
    assert not cache.touch(first, 1, size_before=6), "a session that outgrows the bound is gone"
    assert (cache.statistics().sessions, cache.statistics().partitions) == (0, 0)
    assert limits.FETCH_SESSION_PARTITIONS_MAX > limits.REQUEST_PARTITIONS_MAX


steps = st.lists(
    st.tuples(st.sampled_from(("begin", "touch", "remove")), st.integers(1, 6), st.booleans(), st.integers(0, 90_000)),
    max_size=60,
)


@settings(max_examples=60)
@given(steps=steps)
def test_room_is_made_as_by_looking_at_every_session(steps: list[tuple[str, int, bool, int]]) -> None:
    """The heaps against the rule itself, written down plainly."""
    cache, now_ms, alive = cache_of(3), 0, []
    for action, size, privileged, pause_ms in steps:
        now_ms += pause_ms
        if action == "begin":
            victim = plain_rule(alive, size, privileged, now_ms) if len(alive) >= 3 else None
            session = begin(cache, size, now_ms, privileged=privileged)
            assert (session is not None) == (len(alive) < 3 or victim is not None)
            if victim is not None:
                assert cache.get(victim.id) is None
                alive.remove(victim)
            if session is not None:
                alive.append(session)
        elif alive:
            session = alive[size % len(alive)]
            if action == "touch":
                cache.touch(session, now_ms, size_before=len(session))
            else:
                cache.remove(session)
                alive.remove(session)
        assert [cache.get(session.id) for session in alive] == alive
        assert cache.statistics().partitions == sum(map(len, alive))


def plain_rule(alive: list[FetchSession], size: int, privileged: bool, now_ms: int) -> FetchSession | None:
    oldest = min(alive, key=lambda session: session.used_ms)
    stale = [session for session in alive if now_ms - session.used_ms > EVICTION_MS]
    if stale:
        return oldest
    open_to_all = [s for s in alive if s.listed[1] or (privileged and not s.privileged)]
    cheaper = [s for s in open_to_all if (s.privileged, len(s)) < (privileged, size)]
    return min(cheaper, key=lambda s: (s.privileged, len(s), s.id), default=None)
