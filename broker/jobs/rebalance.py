"""Evening out a cluster, and emptying a broker that is to leave it.

The plan is made once, kept in the run's row before anything moves, and carried out from there (``moving.py``). At the end every
partition gets its preferred leader.
"""

from __future__ import annotations

from broker.client.blocking import Client
from broker.jobs import runs
from broker.jobs.cluster_facts import elect_preferred, placed, read_facts
from broker.jobs.moving import carry_out, rows_of
from broker.jobs.turns import CannotContinueError, Outcome, Turn, take_turn
from broker.models import JobRun
from broker.rebalancing.evening import plan_even
from broker.rebalancing.moves import MovePlan

ACTIVE, DRAINING = "active", "draining"


def run_rebalance(job: JobRun) -> Outcome:
    return take_turn(job, even_out)


def run_decommission(job: JobRun) -> Outcome:
    return take_turn(job, decommission)


def even_out(client: Client, turn: Turn) -> Outcome:
    turn.be_alone()
    outcome = carry_out(client, turn, _plan(client, turn, None))
    if outcome is Outcome.DONE:
        turn.insist(lambda: elect_preferred(client))
    return outcome


def decommission(client: Client, turn: Turn) -> Outcome:
    """It gets nothing new from the beginning on; a run that ends before the broker is empty takes it back."""
    leaving = turn.job.broker_id
    if leaving is None:
        raise CannotContinueError("It is not said which broker is to leave.")
    turn.be_alone()
    try:
        if not turn.cancelled:
            turn.insist(lambda: client.set_broker_state(leaving, DRAINING))
        outcome = carry_out(client, turn, _plan(client, turn, leaving))
        if outcome is Outcome.DONE:
            left = [str(key) for key, one in placed(client.metadata()).items() if leaving in one.replicas]
            if left:
                raise CannotContinueError(
                    f"Broker {leaving} still has {len(left)} replicas, the first of {left[0]}. It stays in the cluster; "
                    "run it again."
                )
            # Last, for what fails after it would have the broker taken back.
            turn.insist(lambda: elect_preferred(client))
            client.unregister_broker(leaving)
    except Exception:
        client.set_broker_state(leaving, ACTIVE)
        raise
    if outcome is Outcome.CANCELLED:
        client.set_broker_state(leaving, ACTIVE)
    return outcome


def _plan(client: Client, turn: Turn, leaving: int | None) -> list[list[object]]:
    rows = turn.detail.get("plan")
    if rows is None:
        partitions, brokers = read_facts(client)
        throttle = turn.detail.get("throttle")
        plan = plan_even(partitions, brokers, leaving=leaving, throttle=throttle)
        if plan.refusals:
            raise CannotContinueError(" ".join(plan.refusals[:3]))
        rows = rows_of(plan)
        turn.save(plan=rows, estimate=estimate(plan))
        turn.report(0, len(rows))
    return list(rows)


def estimate(plan: MovePlan) -> dict[str, object]:
    """What the run's page says of its plan."""
    return {
        "moves": len(plan.changed),
        "copied_bytes": plan.copied_bytes,
        "seconds": plan.seconds,
        "without_spare": runs.bounded([str(move.key) for move in plan.without_spare]),
    }
