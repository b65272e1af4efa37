"""Ways to spoil a good history, each with the anomaly it must be found out by.

A mutation gets its own copy of nothing: events, batches and replicas are immutable, so it builds new lists.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from random import Random
from typing import Protocol, TypeVar

import msgspec

from tests.faults.checker.dump import ABORT, COMMIT, DATA, Batch, Replica
from tests.faults.checker.history import READ_COMMITTED, READ_UNCOMMITTED, TOMBSTONE, Event, Seen, Sent
from tests.faults.good_history import COMPACTED, GROUP, GROUP_TOPIC, MILLISECOND, PLAIN, SHORT

replace = msgspec.structs.replace
Item = TypeVar("Item")
SECOND = 1_000 * MILLISECOND


@dataclass(frozen=True, slots=True)
class Spoiled:
    events: list[Event]
    dump: list[Replica]
    anomaly: str


class Inapplicable(Exception):
    """By chance, this history has no place for the mutation."""


class Mutation(Protocol):
    __name__: str

    def __call__(self, events: list[Event], dump: list[Replica], random: Random) -> Spoiled: ...


# Tools ------------------------------------------------------------------------------------------------


def chosen(random: Random, items: Iterable[Item]) -> Item:
    found = list(items)
    if not found:
        raise Inapplicable
    return random.choice(found)


def two(random: Random, items: Iterable[Item]) -> list[Item]:
    found = list(items)
    if len(found) < 2:
        raise Inapplicable
    return random.sample(found, 2)


def acknowledged(events: list[Event], keys: tuple[str, ...] = PLAIN) -> list[Sent]:
    return [
        sent
        for event in events
        if event.f == "send" and event.phase == "ok"
        for sent in event.sends
        if sent.key in keys and sent.value != TOMBSTONE
    ]


def in_polls(events: list[Event], change: Callable[[str, Seen], Seen | None], whose: str = "") -> list[Event]:
    """Each record of each poll as ``change`` gives it; ``None`` takes it away."""
    spoiled = []
    for event in events:
        if event.polls and event.process.startswith(whose):
            polls = {
                key: [new for new in (change(key, record) for record in records) if new is not None]
                for key, records in event.polls.items()
            }
            event = replace(event, polls=polls)
        spoiled.append(event)
    return spoiled


def in_batches(dump: list[Replica], change: Callable[[Replica, Batch], Batch | None]) -> list[Replica]:
    return [
        replace(replica, batches=[new for new in (change(replica, one) for one in replica.batches) if new is not None])
        for replica in dump
    ]


def without_value(value: int) -> Callable[[str, Seen], Seen | None]:
    return lambda key, record: None if record.value == value else record


def no_batch_with(value: int) -> Callable[[Replica, Batch], Batch | None]:
    return lambda replica, one: None if any(record.value == value for record in one.records) else one


def operation(events: list[Event], process: str, f: str, *, phase: str = "ok", **fields: object) -> list[Event]:
    """A further operation, a millisecond after the last event."""
    at = max(event.at_ns for event in events) + MILLISECOND
    index = 1 + max((event.index for event in events if event.process == process), default=-1)
    invoked = Event(process=process, index=index, f=f, phase="invoke", at_ns=at, **fields)
    return [*events, invoked, replace(invoked, phase=phase, at_ns=at + MILLISECOND)]


def changed(events: list[Event], old: Event, **fields: object) -> list[Event]:
    return [replace(event, **fields) if event is old else event for event in events]


def observations(events: list[Event]) -> list[Event]:
    return [event for event in events if event.f == "observe" and event.phase == "ok"]


def polled_by(events: list[Event], process: str) -> list[Event]:
    return [event for event in events if event.process == process and event.phase == "ok" and any(event.polls.values())]


def committed_transactions(events: list[Event]) -> list[Event]:
    return [event for event in events if event.f == "txn" and event.phase == "ok" and event.sends]


def log_end(dump: list[Replica], key: str) -> int:
    return next(replica.log_end for replica in dump if replica.key == key)


# Writes -----------------------------------------------------------------------------------------------


def an_acknowledged_value_is_nowhere(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events))
    return Spoiled(
        in_polls(events, without_value(sent.value)), in_batches(dump, no_batch_with(sent.value)), "lost write"
    )


def one_replica_lacks_an_acknowledged_value(events, dump, random) -> Spoiled:
    sent, broker = chosen(random, acknowledged(events)), random.randint(1, 3)
    forget = no_batch_with(sent.value)
    return Spoiled(
        events,
        in_batches(dump, lambda replica, one: forget(replica, one) if replica.broker == broker else one),
        "lost write",
    )


def every_replica_of_a_partition_is_gone(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events))
    return Spoiled(events, [replica for replica in dump if replica.key != sent.key], "lost write")


def no_reader_gets_an_acknowledged_value(events, dump, random) -> Spoiled:
    sent = chosen(random, (one for one in acknowledged(events) if 0 < one.offset < log_end(dump, one.key) - 2))
    readers_end = max(
        record.offset for event in events for record in event.polls.get(sent.key, ()) if record.value != sent.value
    )
    assert readers_end > sent.offset
    return Spoiled(in_polls(events, without_value(sent.value)), dump, "lost write")


def a_value_nobody_sent_is_read(events, dump, random) -> Spoiled:
    value = chosen(random, acknowledged(events)).value

    def other(key: str, record: Seen) -> Seen:
        return Seen(record.offset, 10**15, record.record) if record.value == value else record

    return Spoiled(in_polls(events, other), dump, "phantom")


def bytes_of_a_value_are_damaged(events, dump, random) -> Spoiled:
    value = chosen(random, acknowledged(events)).value
    damage = lambda key, record: replace_seen(record, -1) if record.value == value else record  # noqa: E731
    return Spoiled(in_polls(events, damage), dump, "phantom")


def replace_seen(record: Seen, value: int) -> Seen:
    return Seen(record.offset, value, record.record)


def a_value_lies_in_another_partition(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events, (PLAIN[0],)))
    end = log_end(dump, PLAIN[1])
    return Spoiled(
        operation(events, "stray-reader", "poll", polls={PLAIN[1]: [Seen(end, sent.value)]}), dump, "phantom"
    )


def two_values_change_places_for_one_reader(events, dump, random) -> Spoiled:
    one, other = two(random, acknowledged(events, (PLAIN[0],)))
    swap = {one.value: other.value, other.value: one.value}
    return Spoiled(
        in_polls(events, lambda key, record: replace_seen(record, swap.get(record.value, record.value)), "reader"),
        dump,
        "inconsistent offset",
    )


def a_value_is_there_twice(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events))
    end = log_end(dump, sent.key)
    copy = Batch(end, end, 10**6, 1, DATA, 0, 0, 0, [Seen(end, sent.value)])
    longer = [
        replace(replica, batches=[*replica.batches, copy], log_end=end + 1) if replica.key == sent.key else replica
        for replica in dump
    ]
    return Spoiled(events, longer, "duplicate")


def a_producer_is_overtaken_by_itself(events, dump, random) -> Spoiled:
    """Consistently: everybody sees the two values the other way round."""
    by_process: dict[tuple[str, str], list[Event]] = {}
    for event in events:
        if event.f == "send" and event.phase == "ok" and event.sends[0].key in PLAIN:
            by_process.setdefault((event.process, event.sends[0].key), []).append(event)
    pairs = [(a, b) for sent in by_process.values() for a, b in itertools.pairwise(sent)]
    first, second = chosen(random, pairs)
    one, other = first.sends[0], second.sends[0]
    swap = {one.value: other.value, other.value: one.value}
    swapped = changed(events, first, sends=[Sent(one.key, one.value, other.offset)])
    swapped = changed(swapped, second, sends=[Sent(other.key, other.value, one.offset)])
    swapped = in_polls(swapped, lambda key, record: replace_seen(record, swap.get(record.value, record.value)))
    relabelled = in_batches(
        dump,
        lambda replica, batch: replace(
            batch, records=[replace_seen(record, swap.get(record.value, record.value)) for record in batch.records]
        ),
    )
    return Spoiled(swapped, relabelled, "reordered send")


# Reads ------------------------------------------------------------------------------------------------


def a_reader_is_given_a_poll_again(events, dump, random) -> Spoiled:
    event = chosen(random, polled_by(events, "reader"))
    return Spoiled(operation(events, "reader", "poll", polls=event.polls), dump, "non-monotonic poll")


def a_record_is_left_out_of_a_poll(events, dump, random) -> Spoiled:
    places = [
        (event, key, record)
        for event in polled_by(events, "reader")
        for key, records in event.polls.items()
        if key in PLAIN
        for record in records[1:-1]
    ]
    event, key, record = chosen(random, places)
    shorter = [one for one in event.polls[key] if one is not record]
    return Spoiled(changed(events, event, polls={key: shorter}), dump, "skipping poll")


def a_reader_jumps_over_a_poll(events, dump, random) -> Spoiled:
    key = chosen(random, PLAIN)
    found = [event for event in polled_by(events, "reader") if event.polls.get(key)]
    event = chosen(random, found[1:-1])
    return Spoiled(changed(events, event, polls={}), dump, "skipping poll")


def a_committed_reader_jumps_over_a_committed_record(events, dump, random) -> Spoiled:
    places = [
        (event, key)
        for event in polled_by(events, "committed-reader")
        for key, records in event.polls.items()
        if len(records) > 2
    ]
    event, key = chosen(random, places)
    return Spoiled(
        changed(events, event, polls={key: [event.polls[key][0], event.polls[key][-1]]}), dump, "skipping poll"
    )


# Transactions -----------------------------------------------------------------------------------------


def an_aborted_value_is_read(events, dump, random) -> Spoiled:
    aborted = [
        sent
        for event in events
        if event.f == "txn" and event.phase == "fail"
        for sent in event.sends
        if sent.offset >= 0
    ]
    if not aborted:
        # Nothing was aborted by chance: a committed transaction turns into one.
        event = chosen(random, committed_transactions(events))
        return Spoiled(changed(events, event, phase="fail"), dump, "aborted read")
    sent = chosen(random, aborted)
    return Spoiled(
        operation(events, "late", "poll", isolation=READ_COMMITTED, polls={sent.key: [Seen(sent.offset, sent.value)]}),
        dump,
        "aborted read",
    )


def a_refused_write_is_read(events, dump, random) -> Spoiled:
    event = chosen(
        random, (one for one in events if one.f == "send" and one.phase == "ok" and one.sends[0].key in PLAIN)
    )
    return Spoiled(changed(events, event, phase="fail"), dump, "aborted read")


def a_read_is_later_said_to_have_been_unstable(events, dump, random) -> Spoiled:
    event = chosen(random, polled_by(events, "committed-reader"))
    ((key, records),) = ((key, records) for key, records in event.polls.items() if records)
    last = records[-1].offset
    return Spoiled(
        operation(events, "observer", "observe", key=key, last_stable=last, high_watermark=last + 1, log_start=0),
        dump,
        "early read",
    )


def a_transaction_reads_itself(events, dump, random) -> Spoiled:
    event = chosen(random, committed_transactions(events))
    sent = event.sends[0]
    return Spoiled(
        changed(events, event, polls={**event.polls, sent.key: [Seen(sent.offset, sent.value)]}), dump, "early read"
    )


def a_part_of_a_transaction_is_gone(events, dump, random) -> Spoiled:
    event = chosen(random, (one for one in committed_transactions(events) if len(one.sends) > 1))
    value = chosen(random, event.sends).value
    emptied = in_batches(
        dump,
        lambda replica, one: replace(one, records=[record for record in one.records if record.value != value]),
    )
    return Spoiled(events, emptied, "torn transaction")


def a_commit_marker_says_abort(events, dump, random) -> Spoiled:
    key, base = chosen(
        random, ((replica.key, one.base) for replica in dump for one in replica.batches if one.kind == COMMIT)
    )
    # The committed transaction in front of it must have been acknowledged for the lie to be one.
    owners = [event for event in committed_transactions(events) if any(sent.key == key for sent in event.sends)]
    event = chosen(random, owners)
    first = next(sent for sent in event.sends if sent.key == key)
    markers = sorted(
        one.base
        for replica in dump
        if replica.key == key and replica.broker == 1
        for one in replica.batches
        if one.kind in (COMMIT, ABORT) and one.base > first.offset
    )
    base = markers[0]
    flip = lambda replica, one: replace(one, kind=ABORT) if (replica.key, one.base) == (key, base) else one  # noqa: E731
    return Spoiled(events, in_batches(dump, flip), "torn transaction")


def a_record_is_copied_twice(events, dump, random) -> Spoiled:
    event, other = two(random, committed_transactions(events))
    sent = event.sends[0]
    doubled = [Sent(sent.key, sent.value, sent.offset, source=other.sends[0].source), *event.sends[1:]]
    return Spoiled(changed(events, event, sends=doubled), dump, "not exactly once")


def two_transactions_read_each_other(events, dump, random) -> Spoiled:
    one, other = two(random, committed_transactions(events))
    crossed = changed(events, one, polls={other.sends[0].key: [Seen(other.sends[0].offset, other.sends[0].value)]})
    crossed = changed(crossed, other, polls={one.sends[0].key: [Seen(one.sends[0].offset, one.sends[0].value)]})
    return Spoiled(crossed, dump, "circular information flow")


# Replicas ---------------------------------------------------------------------------------------------


def a_bit_flips_in_one_replica(events, dump, random) -> Spoiled:
    replica = chosen(random, (one for one in dump if one.key in PLAIN))
    at = random.randrange(len(replica.batches))
    batches = [replace(one, crc=one.crc ^ 1) if place == at else one for place, one in enumerate(replica.batches)]
    return Spoiled(events, with_replica(dump, replica, batches=batches), "divergent replicas")


def one_replica_is_shorter(events, dump, random) -> Spoiled:
    replica = chosen(random, (one for one in dump if one.key in PLAIN))
    shorter = with_replica(dump, replica, batches=replica.batches[:-1], log_end=replica.batches[-1].base)
    anomaly = chosen(random, ("divergent replicas", "truncated below a high watermark that was shown"))
    return Spoiled(events, shorter, anomaly)


def epochs_of_a_replica_start_elsewhere(events, dump, random) -> Spoiled:
    replica = chosen(random, (one for one in dump if one.key in PLAIN))
    (epoch, start), *others = replica.epochs
    return Spoiled(events, with_replica(dump, replica, epochs=[(epoch, start + 1), *others]), "divergent replicas")


def a_batch_is_missing_from_all_replicas(events, dump, random) -> Spoiled:
    key = chosen(random, PLAIN)
    bases = next([batch.base for batch in replica.batches] for replica in dump if replica.key == key)
    base = chosen(random, bases[1:-1])
    gone = lambda replica, one: None if (replica.key, one.base) == (key, base) else one  # noqa: E731
    return Spoiled(events, in_batches(dump, gone), "offset gap")


def a_leader_epoch_falls_along_a_log(events, dump, random) -> Spoiled:
    replica = chosen(random, (one for one in dump if one.key in PLAIN))
    batches = [*replica.batches[:-1], replace(replica.batches[-1], epoch=-5)]
    return Spoiled(events, with_replica(dump, replica, batches=batches), "leader epoch fell")


def with_replica(dump: list[Replica], old: Replica, **fields: object) -> list[Replica]:
    return [replace(replica, **fields) if replica is old else replica for replica in dump]


def a_second_broker_leads_the_same_epoch(events, dump, random) -> Spoiled:
    event = chosen(random, observations(events))
    return Spoiled(
        operation(
            events,
            "observer",
            "observe",
            key=event.key,
            broker=event.broker + 1,
            leader_epoch=event.leader_epoch,
            high_watermark=10**6,
            last_stable=10**6,
            log_start=10**6,
        ),
        dump,
        "two leaders",
    )


# Watermarks -------------------------------------------------------------------------------------------


def _later(events: list[Event], random: Random, name: str, value: Callable[[Event], int]) -> list[Event]:
    found = [event for event in observations(events) if getattr(event, name) > 0]
    event = found[-1] if name == "log_start" else chosen(random, found)
    fields = {"high_watermark": 10**6, "last_stable": 10**6, "log_start": 10**6, name: value(event)}
    # Said by the present leader: one that was cut off says under its old epoch what it likes.
    fields["leader_epoch"] = max(one.leader_epoch for one in found if one.key == event.key)
    return operation(events, "observer", "observe", key=event.key, **fields)


def a_high_watermark_moves_back(events, dump, random) -> Spoiled:
    return Spoiled(
        _later(events, random, "high_watermark", lambda event: event.high_watermark - 1),
        dump,
        "high watermark moved backwards",
    )


def a_last_stable_offset_moves_back(events, dump, random) -> Spoiled:
    return Spoiled(
        _later(events, random, "last_stable", lambda event: event.last_stable - 1),
        dump,
        "last stable moved backwards",
    )


def a_log_start_moves_back(events, dump, random) -> Spoiled:
    events = operation(events, "observer", "observe", key=SHORT, high_watermark=10**6, last_stable=10**6, log_start=3)
    return Spoiled(
        operation(events, "observer", "observe", key=SHORT, high_watermark=10**6, last_stable=10**6, log_start=1),
        dump,
        "log start moved backwards",
    )


def a_last_stable_offset_is_above_the_high_watermark(events, dump, random) -> Spoiled:
    event = chosen(random, observations(events))
    return Spoiled(
        changed(events, event, last_stable=event.high_watermark + 1),
        dump,
        "last stable offset above the high watermark",
    )


def a_deleted_record_returns(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events, (SHORT,)))
    events = operation(
        events, "observer", "observe", key=SHORT, high_watermark=10**6, last_stable=10**6, log_start=sent.offset + 1
    )
    return Spoiled(
        operation(events, "late", "poll", isolation=READ_UNCOMMITTED, polls={SHORT: [Seen(sent.offset, sent.value)]}),
        dump,
        "deleted record returned",
    )


def a_last_stable_offset_is_stuck(events, dump, random) -> Spoiled:
    at = max(event.at_ns for event in events)
    index = 1 + max(event.index for event in events if event.process == "observer")
    for second in range(30):
        when = at + second * SECOND
        seen = Event(
            process="observer",
            index=index + second,
            f="observe",
            phase="invoke",
            at_ns=when,
            key="hung-0",
            last_stable=5,
            high_watermark=6 + second,
        )
        events = [*events, seen, replace(seen, phase="ok", at_ns=when + 1)]
    return Spoiled(events, dump, "stuck last stable offset")


# Groups -----------------------------------------------------------------------------------------------


def a_committed_offset_goes_back(events, dump, random) -> Spoiled:
    events = operation(events, "member-0", "commit", group=GROUP, offsets={GROUP_TOPIC: 10**6})
    return Spoiled(
        operation(events, "member-1", "committed", group=GROUP, offsets={GROUP_TOPIC: 1}),
        dump,
        "committed offset went back",
    )


def a_committed_offset_comes_from_nowhere(events, dump, random) -> Spoiled:
    return Spoiled(
        operation(events, "member-1", "committed", group=GROUP, offsets={GROUP_TOPIC: 10**6}),
        dump,
        "committed offset from nowhere",
    )


def a_fenced_member_commits(events, dump, random) -> Spoiled:
    return Spoiled(
        operation(events, "member-9", "commit", group=GROUP, generation=0, offsets={GROUP_TOPIC: 10**6}),
        dump,
        "commit of a fenced generation",
    )


def a_record_is_handed_to_no_member(events, dump, random) -> Spoiled:
    sent = chosen(random, acknowledged(events, (GROUP_TOPIC,)))
    return Spoiled(in_polls(events, without_value(sent.value), "member"), dump, "never handed out")


# Compaction and time ----------------------------------------------------------------------------------


def the_last_value_of_a_key_is_gone(events, dump, random) -> Spoiled:
    record = _a_living_key(events, random)
    return Spoiled(events, _with_batches_of_key(dump, record, []), "compaction changed a key")


def an_older_value_of_a_key_comes_back(events, dump, random) -> Spoiled:
    record = _a_living_key(events, random)
    older = Batch(0, 0, 0, 1, DATA, 0, 0, 0, [Seen(0, 0, record)])
    return Spoiled(events, _with_batches_of_key(dump, record, [older]), "compaction changed a key")


def _a_living_key(events: list[Event], random: Random) -> str:
    """One whose last acknowledged value is none at the very beginning and no tombstone."""
    last: dict[str, Sent] = {}
    for event in events:
        if event.f == "send" and event.phase == "ok" and event.sends[0].key == COMPACTED:
            last[event.sends[0].record] = event.sends[0]
    return chosen(random, (one.record for one in last.values() if one.value != TOMBSTONE and one.offset > 0))


def _with_batches_of_key(dump: list[Replica], record: str, instead: list[Batch]) -> list[Replica]:
    return [
        replace(
            replica,
            batches=[*instead, *(one for one in replica.batches if all(seen.record != record for seen in one.records))],
        )
        if replica.key == COMPACTED
        else replica
        for replica in dump
    ]


def nothing_succeeds_after_a_heal(events, dump, random) -> Spoiled:
    events = operation(events, "nemesis", "nemesis", what="healed")
    at = max(event.at_ns for event in events)
    for second in range(30):
        tried = Event(
            process=f"hopeless-{second}",
            index=0,
            f="send",
            phase="invoke",
            at_ns=at + second * SECOND,
            sends=[Sent(PLAIN[0], 10**9 + second)],
        )
        events = [*events, tried, replace(tried, phase="info", at_ns=tried.at_ns + SECOND)]
    return Spoiled(events, dump, "no progress after a heal")


MUTATIONS: tuple[Mutation, ...] = (
    an_acknowledged_value_is_nowhere,
    one_replica_lacks_an_acknowledged_value,
    every_replica_of_a_partition_is_gone,
    no_reader_gets_an_acknowledged_value,
    a_value_nobody_sent_is_read,
    bytes_of_a_value_are_damaged,
    a_value_lies_in_another_partition,
    two_values_change_places_for_one_reader,
    a_value_is_there_twice,
    a_producer_is_overtaken_by_itself,
    a_reader_is_given_a_poll_again,
    a_record_is_left_out_of_a_poll,
    a_reader_jumps_over_a_poll,
    a_committed_reader_jumps_over_a_committed_record,
    an_aborted_value_is_read,
    a_refused_write_is_read,
    a_read_is_later_said_to_have_been_unstable,
    a_transaction_reads_itself,
    a_part_of_a_transaction_is_gone,
    a_commit_marker_says_abort,
    a_record_is_copied_twice,
    two_transactions_read_each_other,
    a_bit_flips_in_one_replica,
    one_replica_is_shorter,
    epochs_of_a_replica_start_elsewhere,
    a_batch_is_missing_from_all_replicas,
    a_leader_epoch_falls_along_a_log,
    a_second_broker_leads_the_same_epoch,
    a_high_watermark_moves_back,
    a_last_stable_offset_moves_back,
    a_log_start_moves_back,
    a_last_stable_offset_is_above_the_high_watermark,
    a_deleted_record_returns,
    a_last_stable_offset_is_stuck,
    a_committed_offset_goes_back,
    a_committed_offset_comes_from_nowhere,
    a_fenced_member_commits,
    a_record_is_handed_to_no_member,
    the_last_value_of_a_key_is_gone,
    an_older_value_of_a_key_comes_back,
    nothing_succeeds_after_a_heal,
)
