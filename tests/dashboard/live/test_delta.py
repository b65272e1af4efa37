"""advance(old, delta(old, new)) == new, and gaps are always found."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from dashboard.live.delta import Gap, advance, delta
from dashboard.live.state import (
    Frame,
    GroupRow,
    HeadRow,
    OffsetRow,
    Pulse,
    Row,
    ScopeState,
    TopicRow,
    decode_frame,
    decode_scope,
    encode,
)

PULSE = Pulse(made_at_ms=1, sampled={1: 1})
row_values: st.SearchStrategy[Row] = st.one_of(
    st.builds(TopicRow, name=st.text(max_size=5), records=st.none() | st.integers(0, 2**62)),
    st.builds(GroupRow, group_id=st.text(max_size=5), lag=st.none() | st.integers(0, 9)),
    st.builds(OffsetRow, topic=st.text(max_size=3), partition=st.integers(0, 9), committed=st.integers(-1, 2**62)),
    st.builds(HeadRow, bytes_in_rate=st.none() | st.floats(0, 1e12)),
)
row_tables = st.dictionaries(st.sampled_from("abcdefgh"), row_values)


@given(row_tables, row_tables)
def test_a_delta_leads_from_one_state_to_the_other(old: dict[str, Row], new: dict[str, Row]) -> None:
    before, after = ScopeState(seq=4, rows=old), ScopeState(seq=7, rows=new)
    assert advance(before, delta("s", before, after, PULSE)) == after


@given(row_tables)
def test_rows_survive_the_wire(rows: dict[str, Row]) -> None:
    state = ScopeState(seq=3, rows=rows)
    frame = Frame(scope="s", prev=1, seq=3, pulse=PULSE, set=rows, removed=["z"], points={"s": [[1.0, None]]})
    assert decode_scope(encode(state)) == state
    assert decode_frame(encode(frame)) == frame


def test_a_frame_already_covered_changes_nothing() -> None:
    state = ScopeState(seq=10, rows={"a": TopicRow(name="a")})
    assert advance(state, Frame(scope="s", prev=8, seq=10, pulse=PULSE, removed=["a"])) is state


def test_a_frame_that_builds_on_something_unseen_is_a_gap() -> None:
    with pytest.raises(Gap):
        advance(ScopeState(seq=4), Frame(scope="s", prev=5, seq=6, pulse=PULSE))


def test_even_a_pulse_shows_a_gap() -> None:
    with pytest.raises(Gap):
        advance(ScopeState(seq=4), Frame(scope="s", prev=5, seq=5, pulse=PULSE))
