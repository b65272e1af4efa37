"""Any history of writes, transactions, compactions and restarts against a model that forgets nothing."""

from __future__ import annotations

from dataclasses import dataclass, field

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.compaction.stage import CONFIG, SETTINGS, Stage, small_map

KEYS = [b"a", b"b", b"c", b"d", b"e"]
PRODUCERS = (11, 12)
IDEMPOTENT = 20

keys = st.sampled_from(KEYS)
values = st.one_of(st.none(), st.binary(max_size=60))
pairs = st.lists(st.tuples(st.one_of(keys, st.none()), values), min_size=1, max_size=4)
events = st.one_of(
    st.tuples(st.just("put"), pairs, st.sampled_from(["none", "gzip", "lz4"])),
    st.tuples(st.just("put"), pairs, st.just("none")),
    st.tuples(st.just("idempotent"), pairs),
    st.tuples(st.just("transactional"), st.sampled_from(PRODUCERS), pairs),
    st.tuples(st.just("end"), st.sampled_from(PRODUCERS), st.booleans()),
    st.tuples(st.just("close")),
    st.tuples(st.just("compact"), st.sampled_from([3, 1_000])),
    st.tuples(st.just("wait"), st.sampled_from([10, CONFIG.delete_retention_ms + 1])),
    st.tuples(st.just("restart"), st.booleans()),
    st.tuples(st.just("retain"), st.integers(0, 40)),
)


@dataclass
class Model:
    """Everything that was ever written, and what had to happen to it since."""

    stage: Stage = field(default_factory=Stage)
    end_offset: int = 0
    snapshots_lost: bool = False
    written: dict[int, tuple[bytes | None, bytes | None]] = field(default_factory=dict)
    committed: set[int] = field(default_factory=set)
    open: dict[int, list[int]] = field(default_factory=dict)
    sequences: dict[int, int] = field(default_factory=dict)
    compacted_at: dict[int, int] = field(default_factory=dict)
    """Offset → when it was first within a compaction's reach."""

    def apply(self, event: tuple) -> None:  # type: ignore[type-arg]
        name, *arguments = event
        getattr(self, name)(*arguments)
        self.check()

    # Events ----------------------------------------------------------------------------------------

    def put(self, batch: list[tuple[bytes | None, bytes | None]], compression: str) -> None:
        self.committed |= set(self._note(self.stage.append(*batch, compression=compression), batch))

    def idempotent(self, batch: list[tuple[bytes | None, bytes | None]]) -> None:
        base = self.stage.append(*batch, **self._producer(IDEMPOTENT, len(batch)))
        self.committed |= set(self._note(base, batch))

    def transactional(self, producer: int, batch: list[tuple[bytes | None, bytes | None]]) -> None:
        base = self.stage.append(*batch, **self._producer(producer, len(batch)), is_transactional=True)
        self.open.setdefault(producer, []).extend(self._note(base, batch))

    def end(self, producer: int, commit: bool) -> None:
        if producer in self.open:
            offsets = self.open.pop(producer)
            self.end_offset = self.stage.marker(producer, commit=commit) + 1
            if commit:
                self.committed |= set(offsets)

    def close(self) -> None:
        self.stage.close_segment()

    def compact(self, map_keys: int) -> None:
        self.stage.undecided = min((min(offsets) for offsets in self.open.values()), default=None)
        self.stage.compact(small_map(map_keys) if map_keys < 100 else SETTINGS)
        for offset in range(self.stage.log.first_dirty_offset or 0):
            self.compacted_at.setdefault(offset, self.stage.clock.wall_ms())

    def wait(self, milliseconds: int) -> None:
        self.stage.clock.advance(milliseconds)

    def restart(self, clean: bool) -> None:
        before = self._sequences()
        if not clean and not self.stage.log.log_start_offset:
            # Compaction leaves enough to make them anew; retention does not.
            self.stage.log._snapshots.keep_only(set())
            self.snapshots_lost = True
        self.stage.restart(clean=clean)
        assert self._sequences() == before

    def retain(self, offset: int) -> None:
        """Retention beside compaction: whole segments go from the beginning, up to the oldest open transaction."""
        if self.snapshots_lost:
            return  # both together are more than a log can survive: nobody knows the producers then
        limit = min((min(offsets) for offsets in self.open.values()), default=self.stage.log.log_end_offset)
        self.stage.log.delete_segments_below(min(offset, limit))

    # Truths ----------------------------------------------------------------------------------------

    def check(self) -> None:
        stage, start = self.stage, self.stage.log.log_start_offset
        assert stage.log.log_end_offset == self.end_offset
        found = stage.committed()
        assert [offset for offset, _, _ in found] == sorted({offset for offset, _, _ in found})
        for offset, key, value in found:
            assert self.written[offset] == (key, value)
            assert offset in self.committed, "an aborted or undecided record is shown as committed"
        present = {offset for offset, _, _ in found}
        newest = {self.written[offset][0]: offset for offset in sorted(self.committed) if offset >= start}
        for key, offset in newest.items():
            if key is None or offset in present:
                continue
            assert self.written[offset][1] is None, f"the last value of {key!r} is gone"
            first = self.compacted_at[offset]
            assert stage.clock.wall_ms() - first >= CONFIG.delete_retention_ms, "a tombstone went too early"
            assert not any(self.written[other][0] == key for other in present), f"{key!r} came back"

    def _note(self, base: int, batch: list[tuple[bytes | None, bytes | None]]) -> list[int]:
        self.end_offset = base + len(batch)
        self.written |= {base + index: pair for index, pair in enumerate(batch)}
        return list(range(base, base + len(batch)))

    def _producer(self, producer: int, count: int) -> dict[str, int]:
        first = self.sequences.get(producer, 0)
        self.sequences[producer] = first + count
        return {"producer_id": producer, "producer_epoch": 0, "base_sequence": first}

    def _sequences(self) -> dict[int, int]:
        """Of every producer whose last batch retention has not taken."""
        return {
            entry.producer_id: entry.last_sequence
            for entry in self.stage.log.producer_state.entries()
            if entry.batches and entry.batches[-1].last_offset >= self.stage.log.log_start_offset
        }


def tell(story: list[tuple]) -> None:  # type: ignore[type-arg]
    model = Model()
    for event in story:
        model.apply(event)
    for producer in list(model.open):
        model.end(producer, True)
    model.close()
    model.compact(1_000)
    model.restart(False)
    model.check()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(st.lists(events, min_size=5, max_size=40))
def test_no_history_loses_a_value_or_brings_one_back(story: list[tuple]) -> None:  # type: ignore[type-arg]
    tell(story)


@pytest.mark.nightly
@settings(max_examples=800, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(events, min_size=20, max_size=120))
def test_no_long_history_does_either(story: list[tuple]) -> None:  # type: ignore[type-arg]
    tell(story)
