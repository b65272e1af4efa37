"""Random lives of offsets: committed plainly and in transactions, deleted, expired, compacted, read again.

After every step the shard is held against its naive twin, which reads the whole log with Kafka's rules.
"""

from __future__ import annotations

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from broker.coordination.decision import Decision
from broker.coordination.transaction import InTransaction, TransactionalProducer, TransactionMarker
from broker.errors import ErrorCode
from broker.groups.config import GroupConfig
from broker.groups.events import CommitOffsets, CommitOffsetsInTransaction, OffsetToCommit
from broker.groups.records import OffsetRecord, OffsetValue, Record
from broker.groups.shard import GroupShard
from tests.groups.naive_offsets import Answer, Entry, Key, compacted, key_of, read
from tests.groups.stage import START_MS

RETENTION_MS = 1_000
CONFIG = GroupConfig(offsets_retention_ms=RETENTION_MS)
TOPIC_ID, OTHER_ID = bytes([1] * 16), bytes([2] * 16)
GROUPS = st.sampled_from(["g", "h"])
PARTITIONS = st.integers(0, 1)
PRODUCERS = st.integers(1, 3)


class OffsetsMachine(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.now_ms = START_MS
        self.shard = GroupShard(CONFIG)
        self.log: list[tuple[int, Entry]] = []
        self.end = 0
        self.committed = 0

    # Requests ----------------------------------------------------------------------------------------

    @rule(group=GROUPS, partition=PARTITIONS)
    def commit(self, group: str, partition: int) -> None:
        decision = self.shard.commit_offsets(self.event(group, partition), 1, self.now_ms)
        self.perform(decision)
        assert decision.replies[0][1].errors == (ErrorCode.NONE,)

    @rule(group=GROUPS, partition=PARTITIONS, producer=PRODUCERS)
    def commit_in_a_transaction(self, group: str, partition: int, producer: int) -> None:
        who = TransactionalProducer(producer_id=producer, producer_epoch=0)
        event = CommitOffsetsInTransaction(producer=who, commit=self.event(group, partition))
        decision = self.shard.commit_offsets_in_transaction(event, 1, self.now_ms)
        for record in decision.records:
            assert isinstance(record, OffsetRecord)
            self.shard.replay_in_transaction(record, who)
            self.write(InTransaction(record=record, producer=who))

    @rule(producer=PRODUCERS, commit=st.booleans())
    def end_the_transaction(self, producer: int, commit: bool) -> None:
        marker = TransactionMarker(producer_id=producer, producer_epoch=0, coordinator_epoch=0, commit=commit)
        self.shard.complete_transaction(marker)
        self.write(marker)

    @rule(group=GROUPS, partition=PARTITIONS)
    def delete_an_offset(self, group: str, partition: int) -> None:
        before = self.answer()
        self.perform(self.shard.delete_offsets(group, [("t", partition)], 1, self.now_ms))
        assert (group, "t", partition) not in self.answer().in_force
        self.nothing_else_died(before, {(group, "t", partition)})

    @rule(group=GROUPS)
    def delete_the_group(self, group: str) -> None:
        before = self.answer()
        decision = self.shard.delete_group(group, 1, self.now_ms)
        self.perform(decision)
        of_group = {key for key in {*before.in_force, *before.unstable} if key[0] == group}
        assert decision.replies[0][1] is (ErrorCode.NONE if of_group else ErrorCode.GROUP_ID_NOT_FOUND)
        self.nothing_else_died(before, of_group)

    @rule(milliseconds=st.sampled_from([1, RETENTION_MS // 2, RETENTION_MS]))
    def offsets_expire(self, milliseconds: int) -> None:
        self.now_ms += milliseconds
        before = self.answer()
        self.perform(Decision(records=self.shard.expire(self.now_ms)))
        old = {
            key
            for key, value in before.in_force.items()
            if value.commit_timestamp_ms + RETENTION_MS <= self.now_ms and key not in before.unstable
        }
        assert self.answer().in_force.keys() == before.in_force.keys() - old
        assert self.answer().unstable == before.unstable

    @rule()
    def the_topic_is_made_anew(self) -> None:
        """Everything was committed under the old id, so everything goes."""
        self.perform(Decision(records=self.shard.bury_offsets_of_gone_topics({"t": OTHER_ID}.get)))
        assert self.answer() == Answer(in_force={}, unstable=set())

    # Life --------------------------------------------------------------------------------------------

    @rule(cleaned=st.booleans())
    def reload(self, cleaned: bool) -> None:
        if cleaned:
            before = self.answer()
            self.log = compacted(self.log)
            assert self.answer() == before
        self.shard = GroupShard(CONFIG)
        for _, entry in self.log:
            if isinstance(entry, TransactionMarker):
                self.shard.complete_transaction(entry)
            elif isinstance(entry, InTransaction):
                self.shard.replay_in_transaction(entry.record, entry.producer)
            else:
                self.shard.replay(entry)
        self.perform(self.shard.on_loaded(self.now_ms))

    def event(self, group: str, partition: int) -> CommitOffsets:
        self.committed += 1
        item = OffsetToCommit(topic="t", partition=partition, offset=self.committed, topic_id=TOPIC_ID)
        return CommitOffsets(group_id=group, offsets=(item,))

    def perform(self, decision: Decision[Record]) -> None:
        for record in decision.records:
            assert isinstance(record, OffsetRecord)
            self.shard.replay(record)
            self.write(record)

    def write(self, entry: Entry) -> None:
        self.log.append((self.end, entry))
        self.end += 1

    def answer(self) -> Answer:
        return read(self.log)

    def nothing_else_died(self, before: Answer, touched: set[Key]) -> None:
        now = self.answer()
        assert now.in_force.keys() >= before.in_force.keys() - touched
        assert now.unstable == before.unstable - touched

    # Laws --------------------------------------------------------------------------------------------

    @invariant()
    def the_shard_says_what_the_log_says(self) -> None:
        expected = self.answer()
        found: dict[Key, OffsetValue] = {}
        for group in ("g", "h"):
            for topic, partitions in self.shard.offsets.of_group(group).items():
                found.update({(group, topic, index): value for index, value in partitions.items()})
        assert found == expected.in_force
        for group in ("g", "h"):
            stable = self.shard.fetch_offsets(group, [("t", 0), ("t", 1)], require_stable=True)
            unstable = {(group, "t", item.partition) for item in stable if item.error}
            assert unstable == {key for key in expected.unstable if key[0] == group}
            exists = any(key[0] == group for key in (*expected.in_force, *expected.unstable))
            assert (group in self.shard.groups) is exists

    @invariant()
    def pending_offsets_are_counted_once(self) -> None:
        pending = {key_of(record) for group in ("g", "h") for record in self.shard.pending.tombstones(group, _all)}
        assert pending == self.answer().unstable


def _all(topic: str, partition: int, value: OffsetValue) -> bool:
    return True


TestOffsetsMachine = OffsetsMachine.TestCase
TestOffsetsMachine.settings = settings(max_examples=40, stateful_step_count=40)
