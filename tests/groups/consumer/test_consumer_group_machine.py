"""Random lives of a consumer group: members come and go, answers get lost, topics change, the broker crashes.

After every step: no partition is used by two clients that have not been told to stop (fenced ones know it by their next
request); epochs never fall; the indexes say what looking at everybody says; and replaying the log yields the same
group. In the end everybody who is left beats faithfully, and the group must come to rest at its targets, which must be
those of its last epoch and cover every partition subscribed to.
"""

from __future__ import annotations

from dataclasses import replace

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from broker.errors import ErrorCode
from broker.groups.consumer.group import ConsumerGroup, ConsumerGroupState
from broker.groups.consumer.records import ConsumerRecord, GroupEpochRecord
from broker.groups.records import Record
from tests.groups.consumer.naive_judge import Client, judge, pairs
from tests.groups.consumer.stage import ConsumerStage
from tests.groups.stage import GROUP

SESSION_MS = 45_000
REVOCATION_MS = 20_000
BOTH = ("clicks", "orders")
TOPICS = st.sampled_from([BOTH, BOTH, BOTH, ("clicks",), ("clicks", "later"), ("later",), ()])
picks = st.integers(0, 7)


class ConsumerGroupMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.stage = ConsumerStage(topics={"clicks": 3, "orders": 2})
        self.clients: list[Client] = []
        self.number = 0
        self.epochs = (0, -1)
        self.lives = 0

    @initialize(interval_ms=st.sampled_from([0, 0, 1_000]), members=st.integers(0, 3))
    def begin(self, interval_ms: int, members: int) -> None:
        self.stage.settings = replace(self.stage.settings, assignment_interval_ms=interval_ms)
        for number in range(members):
            self.join(BOTH, heard=True, static=number == 0)

    # Clients -----------------------------------------------------------------------------------------

    @rule(topics=TOPICS, heard=st.booleans(), static=st.booleans())
    def another(self, topics: tuple[str, ...], heard: bool, static: bool) -> None:
        if len(self.clients) < 5:
            self.join(topics, heard=heard, static=static)

    def join(self, topics: tuple[str, ...], *, heard: bool, static: bool) -> None:
        self.number += 1
        client = Client(f"m{self.number}", topics, instance=f"i{self.number}" if static else None)
        self.clients.append(client)
        self.send(client, heard=heard)

    @precondition(lambda self: self.clients)
    @rule(pick=picks, heard=st.booleans())
    def beat(self, pick: int, heard: bool) -> None:
        self.send(self.pick(pick), heard=heard)

    @precondition(lambda self: self.clients)
    @rule(pick=picks, topics=TOPICS)
    def subscribe(self, pick: int, topics: tuple[str, ...]) -> None:
        client = self.pick(pick)
        client.topics = topics
        self.send(client, heard=True)

    @precondition(lambda self: self.clients)
    @rule(pick=picks)
    def leave(self, pick: int) -> None:
        client = self.pick(pick)
        self.clients.remove(client)
        self.stage.leave_consumer(client.member_id, instance_id=client.instance)

    @precondition(lambda self: self.clients)
    @rule(pick=picks)
    def vanish(self, pick: int) -> None:
        """A kill -9: its process is gone, the coordinator has to find out."""
        self.clients.remove(self.pick(pick))

    @precondition(lambda self: any(client.instance for client in self.clients))
    @rule(pick=picks, heard=st.booleans())
    def restart(self, pick: int, heard: bool) -> None:
        """A static member goes politely and comes back as another process."""
        statics = [client for client in self.clients if client.instance]
        client = statics[pick % len(statics)]
        reply = self.stage.beat(client.member_id, -2, instance_id=client.instance)
        client.start_over()
        if reply.error is ErrorCode.NONE:
            self.number += 1
            client.member_id = f"m{self.number}"
        self.send(client, heard=heard)

    def pick(self, number: int) -> Client:
        return self.clients[number % len(self.clients)]

    def send(self, client: Client, *, heard: bool) -> None:
        """One full request. ``heard``: the answer arrives."""
        reply = self.stage.beat(
            client.member_id,
            client.epoch,
            owned=self.existing(client),
            topics=client.topics,
            rebalance_timeout_ms=REVOCATION_MS,
            instance_id=client.instance,
        )
        if reply.error in (ErrorCode.FENCED_MEMBER_EPOCH, ErrorCode.UNKNOWN_MEMBER_ID, ErrorCode.GROUP_ID_NOT_FOUND):
            client.start_over()
        else:
            assert reply.error is ErrorCode.NONE, reply
            if heard:
                client.obey(self.stage.named(reply.assigned), reply.epoch)

    def existing(self, client: Client) -> dict[str, list[int]]:
        """A client knows by the metadata which topics are gone."""
        return {name: found for name, found in client.owned().items() if name in self.stage.lives}

    # The world ---------------------------------------------------------------------------------------

    @rule(name=st.sampled_from(["clicks", "orders", "later"]), partitions=st.integers(1, 5))
    def change_topic(self, name: str, partitions: int) -> None:
        before = self.stage.lives.get(name)
        if before is None:
            self.stage.create_topic(name, partitions)
        elif partitions > before[0]:
            self.stage.grow_topic(name, partitions)
        else:
            self.stage.delete_topic(name)
            for client in self.clients:
                client.using = {pair for pair in client.using if pair[0] != name}

    @rule(milliseconds=st.sampled_from([0, 0, 1_000, 9_999]), deaf=st.integers(0, 31))
    def everybody_beats(self, milliseconds: int, deaf: int) -> None:
        """Some do not hear the answer."""
        for index, client in enumerate(self.clients):
            self.send(client, heard=not deaf >> index & 1)
        self.stage.advance(milliseconds)

    @rule()
    def a_session_passes(self) -> None:
        for _ in range(SESSION_MS // 9_000 + 1):
            for client in self.clients:
                self.send(client, heard=True)
            self.stage.advance(9_000)

    @rule()
    def crash(self) -> None:
        self.stage.reload()

    # Laws --------------------------------------------------------------------------------------------

    @property
    def group(self) -> ConsumerGroup | None:
        return self.stage.shard.consumer.groups.get(GROUP)

    @invariant()
    def no_partition_is_used_twice(self) -> None:
        if self.group is None:
            return
        users: dict[tuple[str, int], str] = {}
        for client in self.clients:
            member = self.group.members.get(client.member_id)
            if member is None or client.epoch not in (member.epoch, member.current.previous_epoch):
                continue  # fenced: its next request tells it, and no commit of it is taken
            for pair in client.using:
                assert pair not in users, f"{pair} is used by {users[pair]} and {client.member_id}"
                users[pair] = client.member_id

    @invariant()
    def indexes_and_epochs_are_sound(self) -> None:
        if self.group is None:
            return
        judge(self.group)
        epochs = (self.group.epoch, self.group.target_epoch)
        assert epochs >= self.epochs
        assert epochs[1] >= self.epochs[1]
        self.epochs = epochs

    @invariant()
    def replaying_the_log_yields_the_group(self) -> None:
        if self.group is not None:
            assert durable(replayed(self.stage.log)) == durable(self.group)

    def teardown(self) -> None:
        self.a_session_passes()
        for _ in range(8):
            self.stage.advance(1_000)
            for client in self.clients:
                self.send(client, heard=True)
        if not self.clients:
            assert self.group is None or self.group.is_empty
            return
        assert self.group is not None
        assert self.group.state is ConsumerGroupState.STABLE
        assert self.group.epoch == self.group.target_epoch
        wanted = {topic for client in self.clients for topic in client.topics if topic in self.stage.lives}
        everything = {(topic, index) for topic in wanted for index in range(self.stage.lives[topic][0])}
        used = [pair for client in self.clients for pair in client.using]
        assert sorted(used) == sorted(everything)
        for client in self.clients:
            assert client.using == pairs(self.stage.target(client.member_id))


def replayed(log: list[Record]) -> ConsumerGroup:
    group = ConsumerGroup(GROUP)
    for record in log:
        assert isinstance(record, ConsumerRecord)
        assert not (isinstance(record, GroupEpochRecord) and record.value is None)
        group.replay(record)
    return group


def durable(group: ConsumerGroup) -> object:
    members = {one.member_id: (one.metadata, one.current) for one in group.members.values()}
    return (
        group.epoch,
        group.metadata_hash,
        group.target_epoch,
        group.target_made_ms,
        members,
        group.targets,
        group.regexes,
    )


ConsumerGroupMachine.TestCase.settings = settings(
    max_examples=80, stateful_step_count=30, deadline=None, suppress_health_check=list(HealthCheck)
)
TestConsumerGroupMachine = ConsumerGroupMachine.TestCase
