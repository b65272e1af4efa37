"""Rules about what partitions say of themselves over time: forward only, and never stuck.

``observe`` operations ask one broker for log start, last stable offset and high watermark, in this order, so that the
first can never be above the last. Two of them are ordered only if one was completed before the other was invoked. A leader that does not know yet refuses to
answer, which is no observation.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator
from itertools import accumulate

from tests.faults.checker.history import Operation
from tests.faults.checker.run import SECOND_NS, Run
from tests.faults.checker.verdict import Anomaly

FORWARD_ONLY = ("high_watermark", "last_stable", "log_start")


def only_forward(run: Run) -> Iterator[Anomaly]:
    for key, observations in _observations(run).items():
        for name in FORWARD_ONLY:
            for before, after in _backward(observations, name):
                yield Anomaly(
                    name=f"{name.replace('_', ' ')} moved backwards",
                    detail=f"{key}: {getattr(before.about, name)} on broker {before.about.broker}, "
                    f"then {getattr(after.about, name)} on broker {after.about.broker}",
                    at_ns=after.completed_ns,
                )
        for one in observations:
            if one.about.last_stable > one.about.high_watermark >= 0:
                yield Anomaly(
                    name="last stable offset above the high watermark",
                    detail=f"{key}: {one.about.last_stable} > {one.about.high_watermark}",
                    at_ns=one.completed_ns,
                )


def _backward(observations: list[Operation], name: str) -> Iterator[tuple[Operation, Operation]]:
    """Pairs in which the earlier one said more. ``observations`` are in the order of their invocation.

    A former leader that was cut off answers under its own, older epoch until it hears of its successor, by which
    clients know it (KIP-320): what it says orders nothing.
    """
    completed = sorted(observations, key=lambda one: one.completed_ns)
    highest: Operation | None = None
    at = 0
    for one in observations:
        while at < len(completed) and completed[at].completed_ns < one.invoked_ns:
            if highest is None or getattr(completed[at].about, name) > getattr(highest.about, name):
                highest = completed[at]
            at += 1
        if highest is None or 0 <= one.about.leader_epoch < highest.about.leader_epoch:
            continue
        if 0 <= getattr(one.about, name) < getattr(highest.about, name):
            yield highest, one


def nothing_shown_is_truncated(run: Run) -> Iterator[Anomaly]:
    """What was below a high watermark somebody was told, or was read, is in every log at the end."""
    shown: dict[str, int] = defaultdict(int)
    for key, observations in _observations(run).items():
        shown[key] = max(one.about.high_watermark for one in observations)
    for key, polled in run.polled.items():
        shown[key] = max(shown[key], polled.highest + 1)
    for replica in run.replicas:
        if replica.log_end < shown[replica.key]:
            yield Anomaly(
                name="truncated below a high watermark that was shown",
                detail=f"{replica.key}: {shown[replica.key]} was shown, "
                f"the log of broker {replica.broker} ends at {replica.log_end}",
            )


def deleted_stays_deleted(run: Run) -> Iterator[Anomaly]:
    """A poll below a log start that was known before its reader was assigned: clients fetch ahead, so polls are late."""
    told = {key: sorted(found, key=lambda one: one.completed_ns) for key, found in _observations(run).items()}
    times = {key: [one.completed_ns for one in found] for key, found in told.items()}
    starts = {key: list(accumulate((one.about.log_start for one in found), max)) for key, found in told.items()}
    assigned: dict[str, int] = {}
    for operation in run.operations:
        if operation.f == "assign" or operation.process not in assigned:
            assigned[operation.process] = operation.invoked_ns
        for key, records in operation.polls.items():
            if not records or key not in times:
                continue
            known = bisect_left(times[key], assigned[operation.process])
            if known and records[0].offset < starts[key][known - 1]:
                yield Anomaly(
                    name="deleted record returned",
                    detail=f"{key}: {operation.process} read {records[0].offset} below log start {starts[key][known - 1]}",
                    at_ns=operation.completed_ns,
                )


def stuck_last_stable_offset(run: Run) -> Iterator[Anomaly]:
    """The high watermark moves, the last stable offset does not, for longer than a transaction may stay open."""
    expectations = run.expectations
    limit_ns = int((expectations.transaction_timeout_seconds + expectations.slack_seconds) * SECOND_NS)
    for key, observations in _observations(run).items():
        since: Operation | None = None
        told = False
        for one in observations:
            stable, high = one.about.last_stable, one.about.high_watermark
            if stable < 0 or high < 0:
                continue
            if since is None or stable != since.about.last_stable or stable >= high:
                since, told = (one if stable < high else None), False
                continue
            moved = high > since.about.high_watermark
            if moved and not told and one.invoked_ns - since.completed_ns > limit_ns:
                told = True
                seconds = (one.invoked_ns - since.completed_ns) / SECOND_NS
                yield Anomaly(
                    name="stuck last stable offset",
                    detail=f"{key}: at {stable} for {seconds:.1f} s while the high watermark went to {high}",
                    at_ns=one.completed_ns,
                )


def _observations(run: Run) -> dict[str, list[Operation]]:
    found: dict[str, list[Operation]] = defaultdict(list)
    for operation in run.operations:
        if operation.f == "observe" and operation.outcome == "ok":
            found[operation.about.key].append(operation)
    return found


RULES = (only_forward, nothing_shown_is_truncated, deleted_stays_deleted, stuck_last_stable_offset)
