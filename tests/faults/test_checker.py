"""The checker says nothing about good histories, and says the right thing about each way of spoiling one."""

from __future__ import annotations

import time
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from tests.faults.checker.check import DUMP_FILE, RULES, check, check_directory
from tests.faults.checker.cycles import strongly_connected
from tests.faults.checker.dump import DATA, Batch, Replica, write_dump
from tests.faults.checker.history import READ_COMMITTED, Event, Seen, Sent, Unpaired, encode, pair, read_events
from tests.faults.checker.outcomes import outcome_of_write
from tests.faults.checker.run import Run
from tests.faults.good_history import EXPECTATIONS, good_history
from tests.faults.mutations import MUTATIONS, Inapplicable, Mutation, operation

seeds = st.integers(0, 1 << 32)


@settings(max_examples=40)
@given(seed=seeds)
def test_nothing_is_wrong_with_a_good_history(seed: int) -> None:
    report = check(*good_history(seed), EXPECTATIONS)
    assert not report.findings, report.text()


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.__name__.replace("_", " "))
@settings(max_examples=8)
@given(seed=seeds)
def test_a_spoiled_history_is_found_out(mutation: Mutation, seed: int) -> None:
    try:
        spoiled = mutation(*good_history(seed), Random(seed))
    except Inapplicable:
        reject()
    found = check(spoiled.events, spoiled.dump, EXPECTATIONS)
    assert spoiled.anomaly in found.failures, found.text()


@pytest.mark.parametrize(("epoch", "said"), [(0, False), (1, True)])
def test_only_a_leader_of_the_present_epoch_may_not_fall_back(epoch: int, said: bool) -> None:
    events, dump = good_history(0)
    for leader_epoch, end in ((1, 10), (epoch, 5)):
        events = operation(
            events,
            "observer",
            "observe",
            key="other-0",
            broker=leader_epoch,
            leader_epoch=leader_epoch,
            high_watermark=end,
            last_stable=0,
            log_start=0,
        )
    found = check(events, dump, EXPECTATIONS)
    assert ("high watermark moved backwards" in found.failures) is said, found.text()


@pytest.mark.parametrize(("successor", "said"), [(6, False), (5, True)])
def test_what_a_leader_calls_stable_counts_until_it_has_a_successor(successor: int, said: bool) -> None:
    events, dump = good_history(0)
    reads = [one.polls for one in events if one.phase == "ok" and one.isolation == READ_COMMITTED]
    key = next(key for polls in reads for key, records in polls.items() if records)
    last = max(records[-1].offset for polls in reads if (records := polls.get(key)))
    for leader_epoch, stable in ((5, last), (successor, last + 1)):
        about = {"key": key, "leader_epoch": leader_epoch, "last_stable": stable, "high_watermark": last + 1}
        events = operation(events, "observer", "observe", log_start=0, **about)
    found = check(events, dump, EXPECTATIONS)
    assert ("early read" in found.failures) is said, found.text()


def test_every_rule_has_a_mutation_that_only_it_can_find() -> None:
    """Otherwise a rule could be dead without anybody noticing."""
    found_by: set[str] = set()
    for seed in range(3):
        for mutation in MUTATIONS:
            try:
                spoiled = mutation(*good_history(seed), Random(seed))
            except Inapplicable:
                continue
            run = Run(spoiled.events, spoiled.dump, EXPECTATIONS)
            found_by |= {rule.__name__ for rule in RULES if any(one.name == spoiled.anomaly for one in rule(run))}
    # Polls between a new assignment and the moment the old member hears of it are only counted, gaps only with a limit.
    assert {rule.__name__ for rule in RULES} - found_by == {"double_ownership", "longest_gaps"}


@given(
    st.integers(1, 12).flatmap(
        lambda count: st.lists(st.lists(st.integers(0, count - 1), max_size=4), min_size=count, max_size=count)
    )
)
def test_strongly_connected_components_are_what_reachability_says(edges: list[list[int]]) -> None:
    def reachable(start: int) -> set[int]:
        found, work = {start}, [start]
        while work:
            for following in edges[work.pop()]:
                if following not in found:
                    found.add(following)
                    work.append(following)
        return found

    reach = [reachable(node) for node in range(len(edges))]
    expected = {
        frozenset(other for other in range(len(edges)) if other in reach[node] and node in reach[other])
        for node in range(len(edges))
    }
    assert {frozenset(component) for component in strongly_connected(edges)} == expected


def test_a_chain_longer_than_the_interpreter_recurses_is_no_trouble() -> None:
    count = 20_000
    edges = [[(node + 1) % count] for node in range(count)]
    assert [len(component) for component in strongly_connected(edges)] == [count]


def event(index: int, phase: str, at_ns: int = 1) -> Event:
    return Event(process="p", index=index, f="send", phase=phase, at_ns=at_ns)


def test_an_operation_without_a_completion_has_an_unknown_outcome() -> None:
    (operation,) = pair([event(0, "invoke", 5)])
    assert operation.outcome == "info"


@pytest.mark.parametrize("phases", [["ok"], ["invoke", "invoke"], ["invoke", "ok", "ok"]])
def test_a_history_that_no_recorder_writes_is_refused(phases: list[str]) -> None:
    with pytest.raises(Unpaired):
        pair([event(0, phase) for phase in phases])


def test_the_torn_last_line_of_a_killed_recorder_is_no_event(tmp_path) -> None:
    path = tmp_path / "p.jsonl"
    path.write_bytes(encode(event(0, "invoke")) + encode(event(0, "ok"))[:-9])
    assert [one.phase for one in read_events(path)] == ["invoke"]


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        ("NOT_ENOUGH_REPLICAS_AFTER_APPEND", "info"),
        ("NOT_ENOUGH_REPLICAS", "info"),
        ("_MSG_TIMED_OUT", "info"),
        ("_TRANSPORT", "info"),
        ("REQUEST_TIMED_OUT", "info"),
        ("_QUEUE_FULL", "fail"),
        ("INVALID_RECORD", "fail"),
    ],
)
def test_only_what_cannot_have_been_written_is_a_failure(error: str, outcome: str) -> None:
    assert outcome_of_write(error) == outcome


def long_history(records: int, partitions: int = 6, batch: int = 10) -> tuple[list[Event], list[Replica]]:
    """A plain one: every record written, acknowledged, and read by two readers in polls of ten."""
    events: list[Event] = []
    at_ns = 0
    batches: dict[str, list[Batch]] = {f"t-{index}": [] for index in range(partitions)}
    for number in range(0, records, batch):
        key, producer = f"t-{number // batch % partitions}", f"p{number // batch % 4}"
        base = len(batches[key]) * batch
        for place in range(batch):
            sent = Sent(key, number + place + 1)
            fields = {"process": producer, "index": number + place, "f": "send"}
            at_ns += 1_000
            events.append(Event(**fields, phase="invoke", at_ns=at_ns, sends=[sent]))
            told = [Sent(key, sent.value, base + place)]
            events.append(Event(**fields, phase="ok", at_ns=at_ns + 500, sends=told))
        seen = [Seen(base + place, number + place + 1) for place in range(batch)]
        batches[key].append(Batch(base, base + batch - 1, 0, number, DATA, 1, 0, 0, seen))
        for reader in ("r0", "r1"):
            fields = {"process": reader, "index": number, "f": "poll"}
            events.append(Event(**fields, phase="invoke", at_ns=at_ns + 600, isolation=READ_COMMITTED))
            events.append(Event(**fields, phase="ok", at_ns=at_ns + 700, isolation=READ_COMMITTED, polls={key: seen}))
    dump = [
        Replica(broker=broker, key=key, log_start=0, log_end=found[-1].last + 1, high_watermark=0, batches=found)
        for key, found in batches.items()
        for broker in (1, 2, 3)
    ]
    return events, dump


def assert_checked_quickly(tmp_path: Path, records: int) -> None:
    """From the files on, as a run would have left them; in CPU time, since the machine may have other work."""
    events, dump = long_history(records)
    (tmp_path / "all.jsonl").write_bytes(b"".join(map(encode, events)))
    write_dump(tmp_path / DUMP_FILE, dump)
    operations = len(events) // 2
    del events, dump
    began = time.process_time()
    report = check_directory(tmp_path)
    assert not report.findings, report.text()
    assert time.process_time() - began < operations * 60e-6 + 0.5


def test_checking_takes_less_than_60_microseconds_an_operation(tmp_path: Path) -> None:
    assert_checked_quickly(tmp_path, 30_000)


@pytest.mark.nightly
def test_a_million_operations_take_less_than_a_minute(tmp_path: Path) -> None:
    assert_checked_quickly(tmp_path, 840_000)
