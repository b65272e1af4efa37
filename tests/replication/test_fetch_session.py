"""The follower's half of a session: the leader, applying what it is told, always knows what the follower wants."""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from broker.replication.fetch_session import EPOCH_MAX, FollowerSession


class Member:
    def __init__(self, topic_id: bytes, index: int) -> None:
        self.topic_id = topic_id
        self.index = index
        self.fetchable = True
        self.offset = 0

    def position(self) -> bytes:
        return f"{self.index}@{self.offset}".encode()


A, B = b"a" * 16, b"b" * 16


def test_the_first_request_lists_everything_and_the_next_only_what_moved() -> None:
    session = FollowerSession()
    quiet, busy = Member(A, 0), Member(A, 1)
    session.add(quiet)
    session.add(busy)
    assert session.ask() == (0, 0, {A: [b"0@0", b"1@0"]}, {})
    session.on_answer(77)
    busy.offset = 5
    session.note_changed(busy)
    assert session.ask() == (77, 1, {A: [b"1@5"]}, {})
    assert session.ask() == (77, 2, {}, {})


def test_what_is_removed_or_paused_is_forgotten_and_comes_back_when_it_may() -> None:
    session = FollowerSession()
    gone, paused, other = Member(A, 0), Member(B, 1), Member(B, 2)
    for member in (gone, paused, other):
        session.add(member)
    session.ask()
    session.on_answer(77)
    session.remove(gone)
    paused.fetchable = False
    session.note_changed(paused)
    assert session.ask() == (77, 1, {}, {A: [0], B: [1]})
    paused.fetchable = True
    session.note_changed(paused)
    assert session.ask() == (77, 2, {B: [b"1@0"]}, {})


def test_what_comes_and_goes_between_two_requests_is_not_mentioned() -> None:
    session = FollowerSession()
    session.add(Member(A, 1))
    session.ask()
    session.on_answer(77)
    passing = Member(A, 0)
    session.add(passing)
    session.remove(passing)
    assert session.ask() == (77, 1, {}, {})


def test_without_a_session_at_the_leader_every_request_lists_everything() -> None:
    session = FollowerSession()
    session.add(Member(A, 0))
    for _ in range(3):
        assert session.ask() == (0, 0, {A: [b"0@0"]}, {})
        session.on_answer(0)
    assert not session.established


def test_a_refused_epoch_begins_anew_and_names_the_old_session_to_be_dropped() -> None:
    session = FollowerSession()
    session.add(Member(A, 0))
    session.ask()
    session.on_answer(77)
    assert session.established
    session.reset()
    assert not session.established
    assert session.ask() == (77, 0, {A: [b"0@0"]}, {})


def test_nothing_is_asked_when_nothing_may_be_fetched() -> None:
    session = FollowerSession()
    member = Member(A, 0)
    assert not session.anything_to_fetch
    session.add(member)
    assert session.anything_to_fetch
    member.fetchable = False
    session.note_changed(member)
    assert not session.anything_to_fetch


def test_the_count_of_requests_begins_anew_at_one() -> None:
    session = FollowerSession()
    session.add(Member(A, 0))
    session.ask()
    session.on_answer(77)
    session._epoch = EPOCH_MAX
    assert session.ask().epoch == EPOCH_MAX
    assert session.ask().epoch == 1


class TheLeaderKnows(RuleBasedStateMachine):
    """A naive leader that applies every request to a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.session = FollowerSession()
        self.pool = [Member(topic, index) for topic in (A, B) for index in range(3)]
        self.members: set[Member] = set()
        self.at_leader: dict[tuple[bytes, int], bytes] = {}
        self.leader_epoch = 0
        self.leader_session = 0
        self.told = True

    members_of_pool = st.integers(0, 5)

    @rule(at=members_of_pool)
    def add(self, at: int) -> None:
        self.members.add(self.pool[at])
        self.session.add(self.pool[at])
        self.told = False

    @rule(at=members_of_pool)
    def remove(self, at: int) -> None:
        self.members.discard(self.pool[at])
        self.session.remove(self.pool[at])
        self.told = False

    @rule(at=members_of_pool, fetchable=st.booleans())
    def change(self, at: int, fetchable: bool) -> None:
        self.pool[at].offset += 1
        self.pool[at].fetchable = fetchable
        self.session.note_changed(self.pool[at])
        self.told = False

    @rule()
    def lose_the_connection(self) -> None:
        self.session.forget_session()
        self.told = False

    @rule()
    def be_refused(self) -> None:
        self.session.reset()
        self.told = False

    @rule(keeps=st.booleans())
    @precondition(lambda self: self.session.anything_to_fetch)
    def ask(self, keeps: bool) -> None:
        session_id, epoch, positions, forgotten = self.session.ask()
        if epoch == 0:
            self.at_leader = {}
            self.leader_session += 1
        else:
            assert (session_id, epoch) == (self.leader_session, self.leader_epoch + 1)
        self.leader_epoch = epoch
        for topic_id, packed in positions.items():
            for position in packed:
                self.at_leader[topic_id, int(position.split(b"@")[0])] = position
        for topic_id, indexes in forgotten.items():
            for index in indexes:
                del self.at_leader[topic_id, index]
        self.told = True
        if keeps or epoch:
            self.session.on_answer(self.leader_session)
        else:
            self.session.on_answer(0)
            self.told = False

    @invariant()
    def the_leader_has_what_is_wanted(self) -> None:
        wanted = {(m.topic_id, m.index): m.position() for m in self.members if m.fetchable}
        assert self.session.anything_to_fetch == bool(wanted)
        if self.told:
            assert self.at_leader == wanted


TestTheLeaderKnows = TheLeaderKnows.TestCase
TestTheLeaderKnows.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
