"""What is written, what is sent, and that readers can always follow."""

from __future__ import annotations

import pytest

from dashboard.collector.publisher import Publisher
from dashboard.live.delta import Gap, advance
from dashboard.live.state import Pulse, Rows, TopicRow
from tests.dashboard.samples import START_MS

PULSE = Pulse(made_at_ms=START_MS)


def rows(*names: str, **values: int) -> Rows:
    return {f"topic:{name}": TopicRow(name=name, **values) for name in names}


def plan(
    publisher: Publisher, changed: dict[str, Rows], *gone: str, watched: tuple[str, ...] = (), at_ms: int = START_MS
):
    return publisher.plan(changed, gone, watched=set(watched), pulse=PULSE, points={}, now_ms=at_ms)


def test_the_first_plan_clears_what_an_earlier_collector_left() -> None:
    first = plan(Publisher(last_seq=0, now_ms=START_MS), {"topics": rows("a")})
    assert first.write.clear
    assert first.write.scopes["topics"].rows == rows("a")


def test_only_watched_scopes_are_sent() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    plan(publisher, {"topics": rows("a"), "groups": rows("b")})
    second = plan(publisher, {"topics": rows("a", "c"), "groups": rows("d")}, watched=("topics",))
    assert [frame.scope for frame in second.frames] == ["topics"]
    assert set(second.frames[0].set) == {"topic:c"}
    assert set(second.write.scopes) == {"topics", "groups"}


def test_a_frame_leads_from_what_was_written_to_what_is_written() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    old = plan(publisher, {"topics": rows("a", "b")}).write.scopes["topics"]
    step = plan(publisher, {"topics": rows("b", "c")}, watched=("topics",))
    assert advance(old, step.frames[0]) == step.write.scopes["topics"]


def test_rows_that_turn_out_the_same_are_neither_written_nor_sent() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    plan(publisher, {"topics": rows("a")})
    again = plan(publisher, {"topics": rows("a")}, watched=("topics",))
    assert again.write.scopes == {}
    assert again.frames == []


def test_a_detail_nobody_watches_is_written_late_and_one_that_is_watched_at_once() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    plan(publisher, {"topic:a": rows("a"), "topic:b": rows("b")})
    changed = {"topic:a": rows("a", partition_count=2), "topic:b": rows("b", partition_count=2)}
    soon = plan(publisher, changed, watched=("topic:b",), at_ms=START_MS + 1000)
    assert set(soon.write.scopes) == {"topic:b"}
    late = plan(publisher, {}, at_ms=START_MS + 6000)
    assert set(late.write.scopes) == {"topic:a"}


def test_who_watches_a_scope_that_goes_is_told_that_its_rows_are_gone() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    plan(publisher, {"topic:a": rows("a")})
    step = plan(publisher, {}, "topic:a", watched=("topic:a",))
    assert step.write.gone == ["topic:a"]
    assert step.frames[0].removed == ["topic:a"]


def test_the_cluster_scope_has_a_pulse_even_when_nothing_moved() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    written = plan(publisher, {"cluster": rows("a")}).write.scopes["cluster"]
    beat = plan(publisher, {"cluster": rows("a")}, watched=("cluster",))
    assert beat.write.scopes == {}
    assert [frame.pulse for frame in beat.frames] == [PULSE]
    assert advance(written, beat.frames[0]) is written


def test_points_travel_with_the_frame_of_their_scope() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    plan(publisher, {"group:a": rows("a")})
    step = publisher.plan(
        {}, (), watched={"group:a"}, pulse=PULSE, points={"group:a": [1.0, 5.0], "group:b": [1.0, 6.0]}, now_ms=START_MS
    )
    assert [frame.points for frame in step.frames] == [{"group:a": [[1.0, 5.0]]}]
    assert set(step.write.points) == {"group:a", "group:b"}


def test_a_reader_of_an_earlier_life_finds_a_gap() -> None:
    earlier = Publisher(last_seq=0, now_ms=START_MS)
    state = plan(earlier, {"topics": rows("a")}).write.scopes["topics"]
    later = Publisher(last_seq=state.seq, now_ms=START_MS - 10_000)  # The clock went back meanwhile.
    step = plan(later, {"topics": rows("a")}, watched=("topics",))
    with pytest.raises(Gap):
        advance(state, step.frames[0])


def test_after_forgetting_everything_is_written_and_every_reader_resyncs() -> None:
    publisher = Publisher(last_seq=0, now_ms=START_MS)
    state = plan(publisher, {"topics": rows("a"), "topic:a": rows("a")}).write.scopes["topics"]
    publisher.forget()
    step = plan(publisher, {}, watched=("topics",))
    assert step.write.clear
    assert set(step.write.scopes) == {"topics", "topic:a"}
    with pytest.raises(Gap):
        advance(state, step.frames[0])
    assert step.write.scopes["topics"].seq > state.seq
