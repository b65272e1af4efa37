"""How long writes had to wait: per partition the longest time without a success, and the first one after each heal."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator

from tests.faults.checker.run import SECOND_NS, Run
from tests.faults.checker.verdict import Anomaly

HEALED = "healed"


def progress_after_heal(run: Run) -> Iterator[Anomaly]:
    limit_ns = int(run.expectations.first_success_seconds_max * SECOND_NS)
    heals = [one.invoked_ns for one in run.operations if one.f == "nemesis" and one.about.what == HEALED]
    successes, tries = _successes(run), _tries(run)
    for heal in heals:
        for key, tried in tries.items():
            if not any(at >= heal for at in tried[-1:]):
                continue
            first = next((at for at in successes[key] if at >= heal), None)
            waited = (first if first is not None else run.end_ns) - heal
            if waited > limit_ns:
                yield Anomaly(
                    name="no progress after a heal",
                    detail=f"{key}: no write succeeded for {waited / SECOND_NS:.1f} s",
                    at_ns=heal,
                )


def longest_gaps(run: Run) -> Iterator[Anomaly]:
    limit = run.expectations.gap_seconds_max
    if limit is None:
        return
    for key, gap in gaps(run).items():
        if gap > limit:
            yield Anomaly(name="unavailable for too long", detail=f"{key}: {gap:.1f} s without a write")


def gaps(run: Run) -> dict[str, float]:
    """Seconds between two successes, at most, per partition; from the first try to the last."""
    longest: dict[str, float] = {}
    successes = _successes(run)
    for key, tried in _tries(run).items():
        times = [tried[0], *successes[key]]
        if tried[-1] > times[-1]:
            times.append(tried[-1])
        longest[key] = max((b - a for a, b in itertools.pairwise(times)), default=0) / SECOND_NS
    return longest


def _successes(run: Run) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for operation in run.operations:
        if operation.f == "send" and operation.outcome == "ok":
            found[operation.sends[0].key].append(operation.completed_ns)
    for times in found.values():
        times.sort()
    return found


def _tries(run: Run) -> dict[str, list[int]]:
    found: dict[str, list[int]] = defaultdict(list)
    for operation in run.operations:
        if operation.f == "send":
            found[operation.sends[0].key].append(operation.invoked_ns)
    return found


RULES = (progress_after_heal, longest_gaps)
