"""The law of live data: reduce(snapshot, frames) == a fresh snapshot.

A random cluster lives for a while: records, commits, topics and groups that come and go, a restart, silence. Readers
subscribe at random moments. Whatever happened, a reader that applied its frames has exactly what the store holds, and
what was merged from deltas is what one full sample of the end would give.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import msgspec
from hypothesis import given, settings
from hypothesis import strategies as st

from broker.telemetry.sample import GroupSample, PartitionSample, Sample, TopicSample
from dashboard.live.delta import Gap, advance
from dashboard.live.state import CLUSTER, GROUPS, TOPICS, Row, Rows, ScopeState, group_scope, is_detail, topic_scope
from dashboard.live.store import MemoryStore
from tests.dashboard.samples import START_MS, Bench, group, member, offset, partition, sample, topic

NAMES = ("a", "b", "c")
SCOPES = (CLUSTER, TOPICS, GROUPS, *map(topic_scope, NAMES), *map(group_scope, NAMES))

events = st.one_of(
    st.tuples(st.just("write"), st.sampled_from(NAMES), st.integers(0, 1), st.integers(1, 500)),
    st.tuples(st.just("delete records"), st.sampled_from(NAMES), st.integers(0, 1), st.integers(1, 100)),
    st.tuples(st.just("commit"), st.sampled_from(NAMES), st.sampled_from(NAMES), st.integers(0, 400)),
    st.tuples(st.just("join"), st.sampled_from(NAMES), st.sampled_from(NAMES)),
    st.tuples(st.just("leave"), st.sampled_from(NAMES)),
    st.tuples(st.just("delete topic"), st.sampled_from(NAMES)),
    st.tuples(st.just("delete group"), st.sampled_from(NAMES)),
    st.tuples(st.just("restart")),
    st.tuples(st.just("silence")),
    st.tuples(st.just("subscribe"), st.sampled_from(SCOPES)),
)
lives = st.lists(st.tuples(events, st.sampled_from(["nothing", "sample", "step", "step"])), min_size=5, max_size=60)
"""Happenings, and how far the news of each gets before the next."""


@dataclass
class Cluster:
    """One broker's truth, and the samples it would serve."""

    topics: dict[str, TopicSample] = field(default_factory=dict)
    partitions: dict[tuple[str, int], PartitionSample] = field(default_factory=dict)
    groups: dict[str, GroupSample] = field(default_factory=dict)
    seq: int = 0
    life: int = 0
    told: tuple[dict, dict, dict] = field(default_factory=lambda: ({}, {}, {}))
    full: bool = True

    def act(self, event: tuple) -> None:
        match event:
            case ("write", name, number, count):
                self.topics.setdefault(name, topic(name, 2))
                was = self.partitions.get((name, number), partition(name, number))
                self.partitions[name, number] = partition(
                    name, number, start=was.log_start_offset, records=was.high_watermark - was.log_start_offset + count
                )
            case ("delete records", name, number, count) if (name, number) in self.partitions:
                was = self.partitions[name, number]
                start = min(was.high_watermark, was.log_start_offset + count)
                self.partitions[name, number] = partition(name, number, start=start, records=was.high_watermark - start)
            case ("commit", name, where, at):
                was_group = self.groups.get(name, group(name))
                kept = tuple(entry for entry in was_group.offsets if entry.topic != where)
                self.groups[name] = group(
                    name,
                    members=tuple(was_group.members),
                    offsets=(*kept, offset(where, 0, at, record_timestamp_ms=START_MS)),
                )
            case ("join", name, where):
                was_group = self.groups.get(name, group(name))
                self.groups[name] = group(name, members=(member("m", (where, 0)),), offsets=tuple(was_group.offsets))
            case ("leave", name) if name in self.groups:
                self.groups[name] = group(name, offsets=tuple(self.groups[name].offsets))
            case ("delete topic", name):
                self.topics.pop(name, None)
                self.partitions = {key: value for key, value in self.partitions.items() if key[0] != name}
            case ("delete group", name):
                self.groups.pop(name, None)
            case ("restart",):
                self.life += 1
                self.full = True

    def sample(self) -> Sample:
        self.seq += 1
        now = (dict(self.topics), dict(self.partitions), dict(self.groups))
        old, self.told = self.told, now
        full, self.full = self.full, False
        changed = (
            now
            if full
            else tuple(
                {key: value for key, value in new.items() if was.get(key) != value}
                for was, new in zip(old, now, strict=True)
            )
        )
        removed = (
            ((), (), ())
            if full
            else tuple([key for key in was if key not in new] for was, new in zip(old, now, strict=True))
        )
        return sample(
            self.seq,
            incarnation=f"life {self.life}",
            full=full,
            topics=list(changed[0].values()),
            partitions=list(changed[1].values()),
            groups=list(changed[2].values()),
            removed_topics=list(removed[0]),
            removed_partitions=list(removed[1]),
            removed_groups=list(removed[2]),
        )


class Reader:
    """Subscribes, reads, applies; reads again on a gap."""

    def __init__(self, store: MemoryStore, scope: str) -> None:
        self._store = store
        self.scope = scope
        self.state = self._read()
        self.resyncs = 0

    def _read(self) -> ScopeState:
        return self._store.read([self.scope]).scopes.get(self.scope, ScopeState())

    def take(self, frames: list) -> None:
        for frame in frames:
            if frame.scope == self.scope:
                try:
                    self.state = advance(self.state, frame)
                except Gap:
                    self.state = self._read()
                    self.resyncs += 1


Life = list[tuple[tuple, str]]


def run(life: Life) -> tuple[Bench, Cluster, list[Reader]]:
    """From the first moment somebody watches everything; others come later."""
    bench, cluster = Bench(), Cluster()
    bench.feed(cluster.sample())
    bench.step()
    readers = [Reader(bench.store, scope) for scope in SCOPES]
    for event, reach in life:
        match event:
            case ("silence",):
                bench.model.silent(1, since_ms=START_MS, trouble="nobody knows")
            case ("subscribe", scope):
                readers.append(Reader(bench.store, scope))
            case _:
                cluster.act(event)
        if reach != "nothing":
            bench.feed(cluster.sample())
        if reach == "step":
            publish(bench, readers)
    bench.feed(cluster.sample())
    publish(bench, readers)
    return bench, cluster, readers


def publish(bench: Bench, readers: list[Reader]) -> None:
    frames = bench.step({reader.scope for reader in readers}).frames
    for reader in readers:
        reader.take(frames)


@settings(max_examples=80, deadline=None)
@given(lives)
def test_a_reader_that_applied_its_frames_has_what_the_store_holds(life: Life) -> None:
    bench, _, readers = run(life)
    for reader in readers:
        assert reader.state.rows == bench.store.read([reader.scope]).rows(reader.scope)
        # A detail that did not exist when it was subscribed to is read once it does; nothing else is missed.
        assert reader.resyncs == 0 or is_detail(reader.scope)


@settings(max_examples=80, deadline=None)
@given(lives)
def test_what_deltas_made_is_what_one_full_sample_of_the_end_makes(life: Life) -> None:
    bench, cluster, _ = run(life)
    cluster.full = True
    fresh = Bench()
    fresh.feed(cluster.sample())
    fresh.step()
    for scope in SCOPES[1:]:
        assert timeless(bench.store.read([scope]).rows(scope)) == timeless(fresh.store.read([scope]).rows(scope))


def timeless(rows: Rows) -> dict[str, Row]:
    """Without what only a past can tell: rates and verdicts."""
    return {key: _timeless(row) for key, row in rows.items()}


def _timeless(row: Row) -> Row:
    forgotten = {
        "bytes_in_rate": None,
        "bytes_out_rate": None,
        "records_in_rate": None,
        "verdict": "",
        "verdict_text": "",
        "level": "unknown",
    }
    names = set(row.__struct_fields__) & set(forgotten)
    return msgspec.structs.replace(row, **{name: forgotten[name] for name in names})
