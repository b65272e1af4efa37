"""The range assignor: consecutive runs, the same cut for topics of one size, static members first."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from broker.groups.consumer.assignors.range import assign_ranges
from broker.groups.consumer.assignors.spec import MemberSpec

T, U = b"t" * 16, b"u" * 16


def spec(member_id: str, *topics: bytes, instance: str | None = None) -> MemberSpec:
    return MemberSpec(member_id=member_id, instance_id=instance, topics=frozenset(topics), target={})


def test_topics_of_one_size_are_cut_alike() -> None:
    assigned = assign_ranges([spec("b", T, U), spec("a", T, U)], lambda topic_id: 3)
    assert assigned == {"a": {T: {0, 1}, U: {0, 1}}, "b": {T: {2}, U: {2}}}


def test_static_members_come_first_in_the_order_of_their_names() -> None:
    members = [spec("a", T), spec("z", T, instance="1"), spec("y", T, instance="2")]
    assert assign_ranges(members, lambda topic_id: 3) == {"z": {T: {0}}, "y": {T: {1}}, "a": {T: {2}}}


def test_only_subscribers_share_a_topic_and_some_may_get_nothing() -> None:
    members = [spec("a", T), spec("b", T, U), spec("c", U), spec("d")]
    sizes = {T: 1, U: 4}
    assert assign_ranges(members, sizes.__getitem__) == {"a": {T: {0}}, "b": {U: {0, 1}}, "c": {U: {2, 3}}, "d": {}}


def test_an_unchanged_target_is_returned_itself() -> None:
    target = {T: frozenset({0, 1})}
    member = MemberSpec(member_id="a", instance_id=None, topics=frozenset({T}), target=target)
    assert assign_ranges([member], lambda topic_id: 2)["a"] is target


@given(
    st.lists(
        st.tuples(st.text("abc", min_size=1, max_size=4), st.frozensets(st.sampled_from([T, U]))),
        unique_by=lambda one: one[0],
    ),
    st.integers(0, 9),
    st.integers(0, 9),
)
def test_every_partition_has_one_owner_and_runs_differ_by_one_at_most(
    members: list[tuple[str, frozenset[bytes]]], t: int, u: int
) -> None:
    sizes = {T: t, U: u}
    assigned = assign_ranges([spec(name, *topics) for name, topics in members], sizes.__getitem__)
    for topic_id in (T, U):
        runs = [sorted(assigned[name].get(topic_id, ())) for name, topics in sorted(members) if topic_id in topics]
        if runs:
            assert [index for run in runs for index in run] == list(range(sizes[topic_id]))
            assert max(map(len, runs)) - min(map(len, runs)) <= 1
