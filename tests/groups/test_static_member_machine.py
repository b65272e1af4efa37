"""Random lives of a group of static members and a few dynamic ones, held against the laws alone."""

from __future__ import annotations

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.errors import ErrorCode
from broker.groups.classic_group import GroupState
from broker.groups.events import JoinReply, LeavingMember, SyncReply
from broker.groups.shard import GroupShard
from tests.groups.stage import GROUP, Stage, subscription

INSTANCES = st.sampled_from(["pod-1", "pod-2", "pod-3"])
TOPICS = st.sampled_from(["clicks", "clicks", "orders"])
SESSION_MS, REBALANCE_MS = 10_000, 30_000


class StaticMemberMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = Stage(initial_rebalance_delay_ms=1_000)
        self.asked: dict[int, str] = {}
        """Ticket → instance."""
        self.lost: set[int] = set()
        self.ids: dict[str, str] = {}
        """Instance → the id it was last given."""
        self.generations: dict[str, int] = {}

    def _join(self, instance: str, member_id: str, topic: str) -> None:
        ticket = self.stage.join(
            member_id,
            instance=instance,
            protocols=(("range", subscription(topic)),),
            session_ms=SESSION_MS,
            rebalance_ms=REBALANCE_MS,
        )
        self.asked[ticket] = instance

    @rule(instance=INSTANCES, topic=TOPICS)
    def process_starts(self, instance: str, topic: str) -> None:
        self._join(instance, "", topic)

    @rule(instance=INSTANCES, topic=TOPICS)
    def process_joins_again(self, instance: str, topic: str) -> None:
        if instance in self.ids:
            self._join(instance, self.ids[instance], topic)

    @rule(topic=TOPICS)
    def a_dynamic_member_comes_too(self, topic: str) -> None:
        self.stage.enter(protocols=(("range", subscription(topic)),), session_ms=SESSION_MS, rebalance_ms=REBALANCE_MS)

    @rule(instance=INSTANCES)
    def process_syncs(self, instance: str) -> None:
        if instance in self.ids:
            member_id = self.ids[instance]
            generation = self.generations[member_id]
            group = self.stage.shard.groups.get(GROUP)
            assignments = {one: f"{one}@{generation}".encode() for one in (group.members if group else ())}
            joined = JoinReply(member_id=member_id, generation=generation)
            self.asked[self.stage.sync(joined, assignments, instance=instance)] = instance

    @rule(instance=INSTANCES)
    def process_beats(self, instance: str) -> None:
        if instance in self.ids:
            member_id = self.ids[instance]
            self.stage.heartbeat(member_id, self.generations[member_id], instance=instance)

    @rule(instance=INSTANCES)
    def administrator_removes(self, instance: str) -> None:
        self.stage.leave(LeavingMember(member_id="", instance_id=instance))

    @rule(milliseconds=st.sampled_from([0, 1_000, 4_000, 9_999, 30_000]))
    def time_passes(self, milliseconds: int) -> None:
        self.stage.advance(milliseconds)

    @rule(topic=TOPICS)
    def everybody_starts_and_settles(self, topic: str) -> None:
        for instance in ("pod-1", "pod-2", "pod-3"):
            self._join(instance, self.ids.get(instance, ""), topic)
        self.stage.advance(2_500)
        self._learn()
        for instance in ("pod-1", "pod-2", "pod-3"):
            self.process_syncs(instance)

    @rule()
    def the_broker_crashes(self) -> None:
        self.lost |= self.asked.keys() - self.stage.replies.keys()
        self.stage.reload()

    # Laws --------------------------------------------------------------------------------------------

    @invariant()
    def _learn(self) -> None:
        for ticket in self.asked:
            reply = self.stage.replies.get(ticket)
            if isinstance(reply, JoinReply) and reply.error is ErrorCode.NONE:
                self.ids[self.asked[ticket]] = reply.member_id
                self.generations[reply.member_id] = reply.generation
            elif isinstance(reply, JoinReply) and reply.error is ErrorCode.UNKNOWN_MEMBER_ID:
                self.ids = {key: value for key, value in self.ids.items() if value != reply.member_id}

    @invariant()
    def an_instance_has_one_member_and_every_index_agrees(self) -> None:
        group = self.stage.shard.groups.get(GROUP)
        if group is None:
            return
        by_member = {member.instance_id: key for key, member in group.members.items() if member.instance_id}
        assert by_member == group.instances
        assert all(member.member_id == key for key, member in group.members.items())
        assert group.pending_syncs <= group.members.keys()
        assert (group.leader in group.members) if group.members else (group.leader is None)

    @invariant()
    def a_reload_stands_where_the_live_group_stands(self) -> None:
        reloaded = GroupShard(self.stage.config)
        for record in self.stage.log:
            reloaded.replay(record)
        live = self.stage.shard.groups.get(GROUP)
        copy = reloaded.groups.get(GROUP)
        if live is not None and live.durable is not None and live.state in (GroupState.STABLE, GroupState.EMPTY):
            assert copy is not None
            assert live.value() == copy.value() == live.durable
            assert live.instances == copy.instances

    @invariant()
    def whoever_does_not_wait_can_run_out_of_time(self) -> None:
        group = self.stage.shard.groups.get(GROUP)
        for member in group.members.values() if group else ():
            waits = member.awaiting_join is not None or member.awaiting_sync is not None
            assert waits or ("session", GROUP, member.member_id) in self.stage.timers

    @invariant()
    def an_assignment_names_its_member_or_the_one_it_replaced(self) -> None:
        for ticket in self.asked:
            reply = self.stage.replies.get(ticket)
            if isinstance(reply, SyncReply) and reply.error is ErrorCode.NONE and reply.assignment:
                assert reply.assignment.decode().rsplit("@")[0].rsplit("-", 1)[0] == self.asked[ticket]

    def teardown(self) -> None:
        self.stage.advance(10_000_000)
        assert self.asked.keys() - self.lost <= self.stage.replies.keys()
        group = self.stage.shard.groups.get(GROUP)
        assert group is None or (group.is_empty and not group.members)
        assert self.stage.timers == {}


TestStaticMemberMachine = StaticMemberMachine.TestCase
TestStaticMemberMachine.settings = settings(
    max_examples=60, stateful_step_count=40, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
