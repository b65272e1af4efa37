"""Carrying out a plan that is in a run's row: a bounded number of moves at a time, each looked up in the cluster.

Nothing is remembered of a move but where it was to go: a partition that is there is done, one that is on its way is counted,
one that is still where it was is begun. So it makes no difference who began it, or how often.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.client.results import PartitionMetadata, Reassignment
from broker.errors import KafkaError
from broker.jobs import replication_throttle
from broker.jobs.cluster_facts import placed
from broker.jobs.turns import Outcome, Turn
from broker.rebalancing.moves import MovePlan
from broker.types import TopicPartition

AT_ONCE_MAX = 20
"""Moves that copy at the same time; the rest waits."""
MOVES_MAX = 2_000
"""In one plan; the next run goes on."""

Row = list[Any]
"""topic, partition, replicas before, replicas after: as JSON keeps it."""


def rows_of(plan: MovePlan) -> list[Row]:
    return [
        [move.facts.topic, move.facts.partition, list(move.facts.replicas), list(move.after)]
        for move in plan.changed[:MOVES_MAX]
    ]


def carry_out(client: Client, turn: Turn, rows: Sequence[Row]) -> Outcome:
    """Until all is where it is to be. A cancelled run takes back what is on its way, and keeps what is done."""
    rate = turn.detail.get("throttle")
    if rate and rows:
        turn.insist(lambda: replication_throttle.hold(client, rows, int(rate)))
    outcome = turn.until(lambda: _step(client, turn, rows))
    if rate and outcome is not Outcome.AGAIN:
        lift(client, rows)
    return outcome


def lift(client: Client, rows: Sequence[Row]) -> None:
    """As far as the brokers answer; those that do not are away and copy nothing."""
    try:
        replication_throttle.lift(client, rows)
    except (ClientConnectionError, KafkaError):
        return


def _step(client: Client, turn: Turn, rows: Sequence[Row]) -> Outcome | None:
    # First what is on its way: a move that is completed in between is seen as done, not as untouched.
    under_way = client.reassignments()
    where = placed(client.metadata())
    refused = {(row["topic"], row["partition"]) for row in turn.detail.get("refused", {}).get("rows", [])}
    waiting: dict[TopicPartition, tuple[int, ...]] = {}
    ours: list[TopicPartition] = []
    changed: list[TopicPartition] = []
    for topic, partition, before, after in rows:
        key = TopicPartition(topic, partition)
        if key not in where or key in refused:
            continue
        match _standing(where[key], under_way.get(key), before, after):
            case "waiting":
                waiting[key] = tuple(after)
            case "ours":
                ours.append(key)
            case "changed":
                changed.append(key)
    turn.report(len(rows) - len(waiting) - len(ours), len(rows))
    _refuse(turn, dict.fromkeys(changed, "Somebody else moved it meanwhile; it stays where it is."))
    if turn.cancelled:
        if ours:
            client.reassign(dict.fromkeys(ours))
        return Outcome.CANCELLED
    if not waiting and not ours:
        return Outcome.DONE
    paused = turn.paused
    turn.save(idle_reason="Paused: what is on its way goes on, nothing else is begun." if paused else "")
    room = AT_ONCE_MAX - len(ours)
    if waiting and room > 0 and not paused:
        _begin(client, turn, dict(list(waiting.items())[:room]))
    return None


def _standing(now: PartitionMetadata, move: Reassignment | None, before: Sequence[int], after: Sequence[int]) -> str:
    if move is not None:
        target = [one for one in move.replicas if one not in move.removing]
        return "ours" if target == list(after) else "changed"
    if now.replicas == tuple(after):
        return "done"
    return "waiting" if now.replicas == tuple(before) else "changed"


def _begin(client: Client, turn: Turn, targets: Mapping[TopicPartition, Sequence[int]]) -> None:
    outcomes = client.reassign(targets)
    _refuse(turn, {key: outcome.words for key, outcome in outcomes.items() if outcome.words})


def _refuse(turn: Turn, reasons: Mapping[TopicPartition, str]) -> None:
    """Named in the row and left alone from now on."""
    if not reasons:
        return
    known = turn.detail.get("refused", {}).get("rows", [])
    rows = [*known, *({"topic": key.topic, "partition": key.partition, "why": why} for key, why in reasons.items())]
    turn.save(refused={"count": len(rows), "rows": rows})
