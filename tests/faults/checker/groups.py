"""Rules about consumer groups: committed offsets never go back or come from nowhere, and everything is handed out."""

from __future__ import annotations

from bisect import bisect_left
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.history import Operation
from tests.faults.checker.run import Run, topic_of
from tests.faults.checker.verdict import Anomaly

Place = tuple[str, str]
"""(group, partition)"""


def committed_offsets(run: Run) -> Iterator[Anomaly]:
    """What a group finds is at least what was acknowledged before it asked, and something that somebody committed."""
    acknowledged: dict[Place, list[tuple[int, int]]] = defaultdict(list)
    tried: dict[Place, set[int]] = defaultdict(set)
    for operation in run.operations:
        if operation.f in ("commit", "txn") and operation.about.group:
            for key, offset in operation.about.offsets.items():
                place = (operation.about.group, key)
                if operation.outcome != "fail":
                    tried[place].add(offset)
                if operation.outcome == "ok":
                    acknowledged[place].append((operation.completed_ns, offset))
    running = {place: _running_maximum(found) for place, found in acknowledged.items()}
    for operation in run.operations:
        if operation.f != "committed" or operation.outcome != "ok":
            continue
        for key, offset in operation.about.offsets.items():
            place = (operation.about.group, key)
            times, highest = running.get(place, ([], []))
            before = bisect_left(times, operation.invoked_ns)
            if before and offset < highest[before - 1]:
                yield _about(
                    operation,
                    "committed offset went back",
                    f"{key}: {offset} after {highest[before - 1]} was committed",
                )
            elif offset >= 0 and offset not in tried.get(place, ()):
                yield _about(operation, "committed offset from nowhere", f"{key}: nobody committed {offset}")


def _running_maximum(found: list[tuple[int, int]]) -> tuple[list[int], list[int]]:
    found.sort()
    times, highest, most = [], [], -1
    for at, offset in found:
        most = max(most, offset)
        times.append(at)
        highest.append(most)
    return times, highest


def commits_of_the_fenced(run: Run) -> Iterator[Anomaly]:
    """A commit under a generation that had been replaced before it was asked for must fail."""
    newest = _Newest(run)
    for operation in run.operations:
        about = operation.about
        if operation.f != "commit" or operation.outcome != "ok" or about.generation < 0:
            continue
        generation = newest.before(about.group, operation.invoked_ns)
        if generation > about.generation:
            yield _about(
                operation,
                "commit of a fenced generation",
                f"generation {about.generation} committed when {generation} had begun",
            )


class _Newest:
    """The newest generation of a group that some member had entered before a moment."""

    def __init__(self, run: Run) -> None:
        entered: dict[str, list[tuple[int, int]]] = defaultdict(list)
        for operation in run.operations:
            if operation.f == "assign" and operation.about.generation >= 0:
                entered[operation.about.group].append((operation.completed_ns, operation.about.generation))
        self._running = {group: _running_maximum(found) for group, found in entered.items()}

    def before(self, group: str, at_ns: int) -> int:
        times, highest = self._running.get(group, ([], []))
        place = bisect_left(times, at_ns)
        return highest[place - 1] if place else -1


def everything_is_handed_out(run: Run) -> Iterator[Anomaly]:
    for group, topic in run.expectations.drained:
        given: dict[str, set[int]] = defaultdict(set)
        for operation, key, records in run.polls():
            if operation.about.group == group:
                given[key].update(record.value for record in records)
        for key, view in run.views.items():
            if topic_of(key) != topic:
                continue
            for offset, record in view.visible.items():
                if record.value not in given[key]:
                    yield Anomaly(
                        name="never handed out", detail=f"{key} at {offset}: group {group} was not given {record.value}"
                    )


def double_ownership(run: Run) -> Iterator[Anomaly]:
    """Polls of a partition by a member after another had been given it in a later generation.

    Between the new assignment and the moment at which the old member hears of it this is Kafka's promise, not a fault.
    """
    owner: dict[Place, tuple[int, str, int]] = {}
    for operation in run.operations:
        about = operation.about
        if operation.f == "assign" and about.generation >= 0:
            for key in about.offsets:
                owner[about.group, key] = (about.generation, operation.process, operation.completed_ns)
        elif operation.polls and about.group and about.generation >= 0:
            for key in operation.polls:
                held = owner.get((about.group, key))
                if held is None or held[1] == operation.process:
                    continue
                if held[0] > about.generation and held[2] < operation.invoked_ns:
                    yield Anomaly(
                        name="double ownership",
                        detail=f"{key}: {operation.process} read in generation {about.generation}, "
                        f"{held[1]} had it in {held[0]}",
                        at_ns=operation.completed_ns,
                        warning=True,
                    )


def _about(operation: Operation, name: str, detail: str) -> Anomaly:
    return Anomaly(name=name, detail=f"{operation.about.group}: {detail}", at_ns=operation.completed_ns)


RULES = (committed_offsets, commits_of_the_fenced, everything_is_handed_out, double_ownership)
