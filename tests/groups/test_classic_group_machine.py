"""Random lives of a group: members join, sync, beat, leave and fall silent, the broker crashes and reloads.

After every step the group is held against its naive twin, and the laws are checked: one leader per round, generations
that only grow, assignments only for members, and a reload by replay that stands where the live group stood.
"""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, invariant, multiple, rule

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinReply, SyncReply
from broker.groups.records import GroupRecord
from broker.groups.shard import GroupShard
from tests.groups.naive_group import NaiveGroup
from tests.groups.stage import GROUP, START_MS, Stage, subscription

DELAY_MS = 3_000
SESSIONS = st.sampled_from([6_000, 10_000, 30_000])
REBALANCES = st.sampled_from([5_000, 20_000, 60_000])
TOPICS = st.sampled_from(["clicks", "orders"])


class ClassicGroupMachine(RuleBasedStateMachine):
    ids = Bundle("ids")

    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(initial_rebalance_delay_ms=DELAY_MS)
        self.twin = NaiveGroup(DELAY_MS, START_MS)
        self.generations: dict[str, int] = {}
        """What each member was last told."""
        self.lost: set[int] = set()
        self.asked: set[int] = set()
        self.leaders: dict[tuple[int, int], str] = {}
        self.crashes = 0
        self.generation_seen = 0

    @rule(target=ids, session=SESSIONS)
    def ask_for_an_id(self, session: int) -> str:
        ticket = self.stage.join(session_ms=session)
        reply = self.stage.answer(ticket)
        assert reply.error is ErrorCode.MEMBER_ID_REQUIRED
        self.twin.give_id(reply.member_id, session)
        return reply.member_id

    @rule(member=ids, topic=TOPICS, session=SESSIONS, rebalance=REBALANCES)
    def join(self, member: str, topic: str, session: int, rebalance: int) -> None:
        ticket = self.stage.join(
            member, protocols=(("range", subscription(topic)),), session_ms=session, rebalance_ms=rebalance
        )
        self.asked.add(ticket)
        self.twin.join(ticket, member, topic, session, rebalance)

    @rule(member=ids, stale=st.integers(0, 9))
    def sync(self, member: str, stale: int) -> None:
        generation = self.generations.get(member, -1) - (stale == 0)
        group = self.stage.shard.groups.get(GROUP)
        everybody = list(group.members) if group else []
        assignments = {one: f"{one}@{generation}".encode() for one in [*everybody, "a stranger"]}
        ticket = self.stage.sync(JoinReply(member_id=member, generation=generation), assignments)
        self.asked.add(ticket)
        self.twin.sync(ticket, member, generation, assignments)

    @rule(member=ids)
    def heartbeat(self, member: str) -> None:
        generation = self.generations.get(member, -1)
        assert self.stage.heartbeat(member, generation) is self.twin.heartbeat(member, generation)

    @rule(member=consumes(ids))
    def leave(self, member: str) -> None:
        ((_, error),) = self.stage.leave(member).members
        assert error is self.twin.leave(member)

    @rule(milliseconds=st.sampled_from([0, 1_000, 3_000, 5_000, 9_999, 40_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.stage.advance(milliseconds)
        self.twin.advance(milliseconds)

    @rule(target=ids, count=st.integers(1, 4))
    def a_group_forms(self, count: int) -> object:
        """Most lives are boring: newcomers and everyone present meet and sync."""
        newcomers = [self.ask_for_an_id(30_000) for _ in range(count)]
        group = self.stage.shard.groups[GROUP]
        for member in [*group.members, *newcomers]:
            self.join(member, "clicks", 30_000, 60_000)
        self.time_passes(DELAY_MS)
        self.time_passes(DELAY_MS)
        self._learn_generations()
        for member in list(self.stage.shard.groups[GROUP].members):
            self.sync(member, 1)
        return multiple(*newcomers)

    @rule(topic=TOPICS)
    def everybody_meets_again(self, topic: str) -> None:
        """With a subscription that may differ from the one before."""
        group = self.stage.shard.groups.get(GROUP)
        for member in list(group.members) if group else ():
            self.join(member, topic, 30_000, 60_000)
        self._learn_generations()
        for member in list(group.members) if group else ():
            self.sync(member, 1)

    @rule()
    def the_broker_crashes(self) -> None:
        self.lost |= {ticket for ticket in self.asked if ticket not in self.stage.replies}
        self.crashes += 1
        self.stage.reload()
        self.twin.crash()
        durable = [one.value.generation for one in self.stage.log if isinstance(one, GroupRecord) and one.value]
        self.generation_seen = durable[-1] if durable else 0

    # Laws --------------------------------------------------------------------------------------------

    def _learn_generations(self) -> None:
        for ticket in self.asked:
            reply = self.stage.replies.get(ticket)
            if isinstance(reply, JoinReply) and reply.error is ErrorCode.NONE:
                self.generations[reply.member_id] = max(self.generations.get(reply.member_id, 0), reply.generation)

    @invariant()
    def the_twin_agrees(self) -> None:
        group = self.stage.shard.groups.get(GROUP)
        twin = self.twin
        if group is None:
            assert (twin.state, twin.members, twin.pending) == ("Empty", [], {})
            return
        assert (group.state.value, group.generation, group.leader) == (twin.state, twin.generation, twin.leader)
        assert list(group.members) == [member.id for member in twin.members]
        assert set(group.pending_joins) == set(twin.pending)

    @invariant()
    def everyone_was_told_the_same_by_both(self) -> None:
        self._learn_generations()
        for ticket in self.asked:
            reply = self.stage.replies.get(ticket)
            expected = self.twin.replies.get(ticket)
            if isinstance(reply, JoinReply):
                assert expected == (reply.error, reply.generation, b"")
            elif isinstance(reply, SyncReply):
                assert expected == (reply.error, -1, reply.assignment)
            else:
                assert expected is None, "only the twin answered"

    @invariant()
    def a_round_has_one_leader_and_only_the_leader_is_told_who_is_there(self) -> None:
        for ticket in self.asked - self.lost:
            reply = self.stage.replies.get(ticket)
            if isinstance(reply, JoinReply) and reply.error is ErrorCode.NONE and reply.members:
                assert reply.leader == reply.member_id

    @invariant()
    def generations_only_grow(self) -> None:
        group = self.stage.shard.groups.get(GROUP)
        if group is not None:
            assert group.generation >= self.generation_seen
            self.generation_seen = group.generation
        outcomes = [one.value.generation for one in self.stage.log if isinstance(one, GroupRecord) and one.value]
        assert outcomes == sorted(set(outcomes)), "each outcome has a generation of its own"

    @invariant()
    def assignments_are_of_members_and_of_their_own_generation(self) -> None:
        group = self.stage.shard.groups.get(GROUP)
        if group is not None and group.state is GroupState.STABLE:
            for member in group.members.values():
                assert member.assignment == f"{member.member_id}@{group.generation}".encode()

    @invariant()
    def a_reload_stands_where_the_live_group_stands(self) -> None:
        reloaded = GroupShard(self.stage.config)
        for record in self.stage.log:
            reloaded.replay(record)
        live = self.stage.shard.groups.get(GROUP)
        copy = reloaded.groups.get(GROUP)
        assert (live.durable if live else None) == (copy.durable if copy else None)
        if live is not None and live.durable is not None and live.state in (GroupState.STABLE, GroupState.EMPTY):
            assert copy is not None
            assert live.value() == copy.value() == live.durable
            assert (live.state, live.subscribed) == (copy.state, copy.subscribed)

    @invariant()
    def every_member_can_still_run_out_of_time(self) -> None:
        """Nobody is immortal: whoever does not wait for an answer has a session timer."""
        group = self.stage.shard.groups.get(GROUP)
        for member in group.members.values() if group else ():
            waits = member.awaiting_join is not None or member.awaiting_sync is not None
            assert waits or ("session", GROUP, member.member_id) in self.stage.timers

    def teardown(self) -> None:
        """Left alone for long enough, everyone who waits is answered and nothing is left ticking."""
        self.stage.advance(10_000_000)
        assert self.asked - self.lost <= self.stage.replies.keys()
        group = self.stage.shard.groups.get(GROUP)
        assert group is None or (group.is_empty and not group.members and not group.pending_joins)
        assert self.stage.timers == {}


TestClassicGroupMachine = ClassicGroupMachine.TestCase
TestClassicGroupMachine.settings = settings(
    max_examples=80, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
