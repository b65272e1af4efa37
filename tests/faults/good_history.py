"""Histories of a perfect cluster, for tests of the checker: whatever the seed, no rule has anything to say about them.

One virtual clock, one log per partition, no concurrency but that of open transactions. Everything the rules know is in
there: idempotent and transactional writes of all three outcomes, readers of both isolations, a pipeline, a group with
rebalances, a compacted topic, a topic whose log start moves, changes of leaders, and a dump of three replicas.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from random import Random

from tests.faults.checker.dump import ABORT, COMMIT, DATA, TRANSACTIONAL, Batch, Replica
from tests.faults.checker.history import READ_COMMITTED, READ_UNCOMMITTED, TOMBSTONE, Event, Seen, Sent
from tests.faults.checker.run import Expectations

BROKERS = (1, 2, 3)
PLAIN = ("plain-0", "plain-1")
SOURCE, SINKS = "source-0", ("sink-0", "sink-1")
GROUP_TOPIC, GROUP = "shared-0", "group"
COMPACTED, SHORT = "keyed-0", "short-0"
KEYS = (*PLAIN, SOURCE, *SINKS, GROUP_TOPIC, COMPACTED, SHORT)
MILLISECOND = 1_000_000

EXPECTATIONS = Expectations(compacted=frozenset({"keyed"}), copies=(("source", "sink"),), drained=((GROUP, "shared"),))


@dataclass(slots=True)
class Log:
    batches: list[Batch] = field(default_factory=list)
    end: int = 0
    start: int = 0
    epoch: int = 0
    leader: int = 1
    epochs: list[tuple[int, int]] = field(default_factory=list)
    open: dict[int, int] = field(default_factory=dict)
    """Producer id → first offset of its open transaction."""

    @property
    def stable(self) -> int:
        return min(self.open.values(), default=self.end)

    def append(self, kind: str, producer_id: int, records: list[tuple[int, str]], crc: int) -> int:
        base = self.end
        if not self.epochs or self.epochs[-1][0] != self.epoch:
            self.epochs.append((self.epoch, base))
        seen = [Seen(base + place, value, record) for place, (value, record) in enumerate(records)]
        last = base + max(len(records), 1) - 1
        self.batches.append(Batch(base, last, self.epoch, crc, kind, producer_id, 0, 0, seen))
        self.end = last + 1
        return base

    def decided(self) -> dict[int, str]:
        """offset → commit or abort, of transactional data below the stable offset."""
        decided: dict[int, str] = {}
        waiting: dict[int, list[int]] = {}
        for batch in self.batches:
            if batch.kind == TRANSACTIONAL:
                waiting.setdefault(batch.producer_id, []).extend(record.offset for record in batch.records)
            elif batch.kind in (COMMIT, ABORT):
                decided.update(dict.fromkeys(waiting.pop(batch.producer_id, []), batch.kind))
        return decided


@dataclass(slots=True)
class Transaction:
    process: str
    index: int
    producer_id: int
    sends: list[Sent] = field(default_factory=list)
    polls: dict[str, list[Seen]] = field(default_factory=dict)
    position: int = 0


class Story:
    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.now = 1_000_000_000
        self.events: list[Event] = []
        self.logs = {key: Log() for key in KEYS}
        self.counters: dict[str, int] = {}
        self.lives: dict[str, int] = {}
        self.values = 0
        self.copied = 0
        """Next offset of the source to be copied."""
        self.transaction: Transaction | None = None
        self.transactions = 0
        self.positions: dict[tuple[str, str], int] = {}
        self.generation = 1
        self.owner = "member-0"
        self.committed = -1

    # Writing the history -----------------------------------------------------------------------------

    def tick(self, milliseconds: float = 1.0) -> int:
        self.now += int(milliseconds * MILLISECOND)
        return self.now

    def invoke(self, process: str, f: str, **fields: object) -> int:
        index = self.counters[process] = self.counters.get(process, -1) + 1
        self.events.append(Event(process=process, index=index, f=f, phase="invoke", at_ns=self.tick(), **fields))
        return index

    def complete(self, process: str, index: int, f: str, phase: str, **fields: object) -> None:
        self.events.append(Event(process=process, index=index, f=f, phase=phase, at_ns=self.tick(), **fields))

    def life(self, name: str) -> str:
        return f"{name}/{self.lives.get(name, 0)}"

    def retire(self, name: str) -> None:
        self.lives[name] = self.lives.get(name, 0) + 1

    def new_value(self) -> int:
        self.values += 1
        return self.values

    # Steps -------------------------------------------------------------------------------------------

    def send(self, key: str, record: str = "", tombstone: bool = False) -> None:
        name = f"producer-{self.random.randrange(2)}"
        process = self.life(name)
        value = TOMBSTONE if tombstone else self.new_value()
        index = self.invoke(process, "send", sends=[Sent(key, value, record=record)])
        outcome = self.random.choices(("ok", "fail", "info"), (20, 1, 1))[0]
        if tombstone:
            outcome = "ok"
        offset = -1
        if outcome == "ok" or (outcome == "info" and self.random.random() < 0.5):
            offset = self.logs[key].append(
                DATA, self.random.randrange(2), [(value, record)], self.random.getrandbits(32)
            )
        told = Sent(key, value, offset if outcome == "ok" else -1, record)
        self.complete(process, index, "send", outcome, sends=[told])
        if outcome == "info":
            self.retire(name)

    def poll(self, process: str, key: str, isolation: str, **fields: object) -> list[Seen]:
        log = self.logs[key]
        position = max(self.positions.get((process, key), 0), log.start)
        index = self.invoke(process, "poll", isolation=isolation, **fields)
        end = log.stable if isolation == READ_COMMITTED else log.end
        limit = min(end, position + self.random.randint(1, 6))
        found = self.readable(key, position, limit, isolation)
        self.positions[process, key] = limit
        self.complete(process, index, "poll", "ok", isolation=isolation, polls={key: found}, **fields)
        return found

    def readable(self, key: str, begin: int, end: int, isolation: str) -> list[Seen]:
        decided = self.logs[key].decided()
        return [
            record
            for batch in self.logs[key].batches
            for record in batch.records
            if begin <= record.offset < end
            and (isolation == READ_UNCOMMITTED or decided.get(record.offset, COMMIT) == COMMIT)
        ]

    def observe(self, key: str) -> None:
        log = self.logs[key]
        index = self.invoke("observer", "observe", key=key)
        self.complete(
            "observer",
            index,
            "observe",
            "ok",
            key=key,
            broker=log.leader,
            leader_epoch=log.epoch,
            high_watermark=log.end,
            last_stable=log.stable,
            log_start=log.start,
        )

    def fail_over(self, key: str) -> None:
        log = self.logs[key]
        index = self.invoke("nemesis", "nemesis", what=f"kill {log.leader}")
        log.epoch += 1
        log.leader = self.random.choice([broker for broker in BROKERS if broker != log.leader])
        self.complete("nemesis", index, "nemesis", "ok", what="healed")

    def begin(self) -> None:
        """A worker's transaction: reads of the source, a copy of each in a sink."""
        found = self.readable(SOURCE, self.copied, min(self.logs[SOURCE].end, self.copied + 3), READ_COMMITTED)
        if self.transaction is not None or not found:
            return
        process = self.life("worker")
        self.transactions += 1
        sends = [Sent(self.random.choice(SINKS), self.new_value(), source=record.value) for record in found]
        index = self.invoke(process, "txn", sends=sends, isolation=READ_COMMITTED, group="copy")
        producer_id = 1_000 + self.lives.get("worker", 0)
        transaction = Transaction(process, index, producer_id, polls={SOURCE: found}, position=found[-1].offset + 1)
        for sent in sends:
            log = self.logs[sent.key]
            log.open.setdefault(producer_id, log.end)
            offset = log.append(TRANSACTIONAL, producer_id, [(sent.value, "")], self.random.getrandbits(32))
            transaction.sends.append(Sent(sent.key, sent.value, offset, source=sent.source))
        self.transaction = transaction

    def finish(self, outcome: str = "") -> None:
        transaction, self.transaction = self.transaction, None
        if transaction is None:
            return
        outcome = outcome or self.random.choices(("ok", "fail", "info"), (8, 2, 1))[0]
        commits = outcome == "ok" or (outcome == "info" and self.random.random() < 0.5)
        for key in {sent.key for sent in transaction.sends}:
            log = self.logs[key]
            log.append(COMMIT if commits else ABORT, transaction.producer_id, [], self.random.getrandbits(32))
            del log.open[transaction.producer_id]
        if commits:
            self.copied = transaction.position
        self.complete(
            transaction.process,
            transaction.index,
            "txn",
            outcome,
            sends=transaction.sends,
            polls=transaction.polls,
            isolation=READ_COMMITTED,
            group="copy",
            offsets={SOURCE: transaction.position},
        )
        if outcome != "ok":
            # Whoever does not know, or has to read again, starts anew.
            self.retire("worker")

    def member_polls(self) -> None:
        self.poll(self.owner, GROUP_TOPIC, READ_COMMITTED, group=GROUP, generation=self.generation)

    def member_commits(self) -> None:
        position = self.positions.get((self.owner, GROUP_TOPIC), 0)
        index = self.invoke(
            self.owner, "commit", group=GROUP, generation=self.generation, offsets={GROUP_TOPIC: position}
        )
        self.committed = max(self.committed, position)
        self.complete(
            self.owner, index, "commit", "ok", group=GROUP, generation=self.generation, offsets={GROUP_TOPIC: position}
        )

    def rebalance(self) -> None:
        self.generation += 1
        self.owner = f"member-{self.generation % 3}"
        index = self.invoke(self.owner, "committed", group=GROUP)
        self.complete(self.owner, index, "committed", "ok", group=GROUP, offsets={GROUP_TOPIC: self.committed})
        fields = {"group": GROUP, "generation": self.generation, "offsets": {GROUP_TOPIC: self.committed}}
        index = self.invoke(self.owner, "assign", **fields)
        self.complete(self.owner, index, "assign", "ok", **fields)
        self.positions[self.owner, GROUP_TOPIC] = max(self.committed, 0)

    def move_log_start(self) -> None:
        log = self.logs[SHORT]
        log.start = self.random.randint(log.start, log.end)

    # The whole ---------------------------------------------------------------------------------------

    def tell(self, steps: int) -> tuple[list[Event], list[Replica]]:
        self.rebalance()
        choices: list[tuple[int, Callable[[], object]]] = [
            (30, lambda: self.send(self.random.choice((*PLAIN, SOURCE, GROUP_TOPIC, SHORT)))),
            (6, lambda: self.send(COMPACTED, f"k{self.random.randrange(4)}", self.random.random() < 0.2)),
            (12, lambda: self.poll("reader", self.random.choice((*PLAIN, SHORT)), READ_UNCOMMITTED)),
            (10, lambda: self.poll("committed-reader", self.random.choice(SINKS), READ_COMMITTED)),
            (6, lambda: self.poll("uncommitted-reader", self.random.choice(SINKS), READ_UNCOMMITTED)),
            (8, self.begin),
            (8, self.finish),
            (10, lambda: self.observe(self.random.choice(KEYS))),
            (2, lambda: self.fail_over(self.random.choice(KEYS))),
            (8, self.member_polls),
            (4, self.member_commits),
            (1, self.rebalance),
            (1, self.move_log_start),
        ]
        weights, actions = [weight for weight, _ in choices], [action for _, action in choices]
        for _ in range(steps):
            self.random.choices(actions, weights)[0]()
        self.end()
        return self.events, self.dump()

    def end(self) -> None:
        self.finish()
        while self.copied < self.logs[SOURCE].end:
            self.begin()
            self.finish("ok")
        for key in PLAIN:
            while self.positions.get(("reader", key), 0) < self.logs[key].end:
                self.poll("reader", key, READ_UNCOMMITTED)
        for key in SINKS:
            while self.positions.get(("committed-reader", key), 0) < self.logs[key].end:
                self.poll("committed-reader", key, READ_COMMITTED)
        while self.positions.get((self.owner, GROUP_TOPIC), 0) < self.logs[GROUP_TOPIC].end:
            self.member_polls()
        for key in KEYS:
            self.observe(key)

    def dump(self) -> list[Replica]:
        return [
            Replica(
                broker=broker,
                key=key,
                log_start=log.start,
                log_end=log.end,
                high_watermark=log.end,
                epochs=log.epochs,
                batches=self.compacted(log) if key == COMPACTED else log.batches,
            )
            for key, log in self.logs.items()
            for broker in BROKERS
        ]

    def compacted(self, log: Log) -> list[Batch]:
        """What is last of its key stays, and the last batch of all; batches are emptied by removal of records."""
        last = {record.record: record.offset for batch in log.batches for record in batch.records}
        return [
            batch
            for batch in log.batches
            if batch.last == log.end - 1 or any(last[record.record] == record.offset for record in batch.records)
        ]


def good_history(seed: int, steps: int = 400) -> tuple[list[Event], list[Replica]]:
    return Story(seed).tell(steps)
