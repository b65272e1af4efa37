"""The guarded rolling restart: one broker after the other, each only while nothing else is missing.

What is next is decided by ``rebalancing/rolling.py``; this looks at the cluster and at the supervisor, keeps every step in the
run's row before it is acted on, and does the deed. A run that ends early leaves no broker draining, and takes none down any more.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from django.conf import settings

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.errors import KafkaError
from broker.jobs.cluster_watch import ClusterWatch
from broker.jobs.turns import CannotContinueError, Outcome, Turn, take_turn
from broker.models import JobRun
from broker.rebalancing.rolling import NOT_DOWN_YET, Decision, Deed, Phase, Process, Situation, Step, decide
from broker.rebalancing.standing import DRAINING, ClusterStanding, restart_order
from broker.supervisor.control_client import SupervisorClient, SupervisorRefused, SupervisorUnreachable
from broker.supervisor.service import ServiceState

logger = logging.getLogger(__name__)

ACTIVE = "active"
NOBODY = ClusterStanding(brokers={}, partitions={})
"""What is seen while the only broker is away."""
ELSEWHERE = (
    "Restart it where it runs: on its machine with “systemctl restart ottla-broker@{broker}”, or its container, when the "
    "broker before it is back in sync."
)


def run_rolling_restart(job: JobRun) -> Outcome:
    return take_turn(job, restart_brokers)


def restart_brokers(client: Client, turn: Turn) -> Outcome:
    turn.be_alone()
    return _RollingRestart(client, turn).carry_out()


@dataclass(slots=True)
class _RollingRestart:
    client: Client
    turn: Turn
    watch: ClusterWatch = field(init=False)
    supervisor: SupervisorClient = field(init=False)
    steps: list[Step] = field(init=False)
    seen: tuple[Step, ClusterStanding] | None = field(init=False, default=None)
    """What the last look saw, and the step it was for."""

    def __post_init__(self) -> None:
        self.watch = ClusterWatch(self.client)
        self.supervisor = SupervisorClient(settings.OTTLA_CONTROL_SOCKET)
        self.steps = [Step.from_row(row) for row in self.turn.detail.get("steps", [])]

    def carry_out(self) -> Outcome:
        try:
            if not self.steps:
                self.turn.insist(self._make_steps)
            return self.turn.until(self._advance)
        except (CannotContinueError, ClientConnectionError, KafkaError) as failure:
            left = self._take_back()
            if left:
                raise CannotContinueError(f"{failure} {left}") from failure
            raise

    # Which brokers ---------------------------------------------------------------------------------------

    def _make_steps(self) -> None:
        cluster = self.watch.look()
        known = [broker.id for broker in cluster.brokers.values() if broker.live or not broker.state]
        asked = self.turn.detail.get("brokers") or restart_order(known, cluster.controller)
        unknown = [broker for broker in asked if broker not in cluster.brokers]
        if unknown:
            raise CannotContinueError(f"There is no broker {unknown[0]}.")
        self._refuse_unsupervised(asked)
        self.steps = [Step(broker=broker) for broker in asked]
        self._save()

    def _refuse_unsupervised(self, brokers: Sequence[int]) -> None:
        """None is restarted when one of them cannot be."""
        try:
            services = {service["name"] for service in self.supervisor.status()["services"]}
        except SupervisorUnreachable:
            where = ELSEWHERE.format(broker=brokers[0])
            raise CannotContinueError(
                f"No supervisor runs broker {brokers[0]} on the worker's machine. {where}"
            ) from None
        missing = [broker for broker in brokers if _service(broker) not in services]
        if missing:
            where = ELSEWHERE.format(broker=missing[0])
            raise CannotContinueError(
                f"The supervisor of the worker's machine does not run broker {missing[0]}. {where}"
            )

    # Step by step ----------------------------------------------------------------------------------------

    def _advance(self) -> Outcome | None:
        """As far as it goes without waiting for anything."""
        while True:
            before = [step.phase for step in self.steps]
            outcome = self._go_on()
            if outcome is not None or [step.phase for step in self.steps] == before:
                return outcome

    def _go_on(self) -> Outcome | None:
        done = sum(step.phase is Phase.DONE for step in self.steps)
        self.turn.report(done, len(self.steps))
        if done == len(self.steps):
            return Outcome.DONE
        step = self.steps[done]
        cancelled, paused = self.turn.cancelled, self.turn.paused
        if cancelled and step.phase in NOT_DOWN_YET:
            left = self._take_back()
            if left:
                raise CannotContinueError(left)
            return Outcome.CANCELLED
        self.turn.save(idle_reason=_idle_reason(step, cancelled, paused))
        if paused and step.phase is Phase.WAITING:
            self._keep(done, Step(broker=step.broker))
            return None
        decision = decide(step, self._situation(step))
        self._keep(done, decision.step)
        if decision.halt:
            raise CannotContinueError(decision.halt)
        if decision.deed is not None:
            self._keep(done, replace(decision.step, says=self._do(decision) or decision.step.says))
        return None

    def _situation(self, step: Step) -> Situation:
        try:
            cluster = self.watch.look()
        except ClientConnectionError:
            if step.phase not in (Phase.RESTARTING, Phase.RETURNING):
                raise
            cluster = NOBODY
        before, self.seen = self.seen, (step, cluster)
        same_phase = before is not None and (before[0].broker, before[0].phase) == (step.broker, step.phase)
        return Situation(
            now_ms=time.time_ns() // 1_000_000,
            cluster=cluster,
            before=before[1] if before is not None and same_phase else None,
            process=self._process(step.broker) if step.phase in (*NOT_DOWN_YET, Phase.RESTARTING) else None,
            may_interrupt=bool(self.turn.detail.get("may_interrupt")),
        )

    def _process(self, broker: int) -> Process | None:
        try:
            services = self.supervisor.status()["services"]
        except SupervisorUnreachable:
            return None
        for service in services:
            if service["name"] == _service(broker):
                state = ServiceState(service["state"])
                return Process(
                    pid=service["pid"],
                    stopping=state is ServiceState.STOPPING,
                    trouble=_trouble(state, service["last_exit"]),
                )
        return None

    def _do(self, decision: Decision) -> str:
        """Why it was not done, if it was not: then it is decided again."""
        broker = decision.step.broker
        match decision.deed:
            case Deed.DRAIN:
                self.client.set_broker_state(broker, DRAINING)
            case Deed.TAKE_BACK:
                self.client.set_broker_state(broker, ACTIVE)
            case Deed.ELECT:
                assert self.seen is not None
                self._elect(broker, self.seen[1])
            case Deed.RESTART:
                actor = self.turn.job.requested_by or f"run {self.turn.job.pk}"
                try:
                    self.supervisor.change("restart", _service(broker), actor, pid=decision.step.pid)
                except (SupervisorRefused, SupervisorUnreachable) as error:
                    logger.info("%s: %s", self.turn.job, error)
                    return f"The supervisor: {error}."
        return ""

    def _elect(self, broker: int, cluster: ClusterStanding) -> None:
        owed = cluster.owed_to(broker)
        if owed:
            self.client.elect_leaders(owed)

    # Keeping and ending ----------------------------------------------------------------------------------

    def _keep(self, index: int, step: Step) -> None:
        if step != self.steps[index]:
            self.steps[index] = step
            self._save()

    def _save(self) -> None:
        self.turn.save(brokers=[step.broker for step in self.steps], steps=[step.as_row() for step in self.steps])

    def _take_back(self) -> str:
        """Of a broker whose turn ends early: it may lead again, what others lead for it it gets. What is left undone, in words."""
        touched = [step for step in self.steps if step.phase not in (Phase.WAITING, Phase.DONE)]
        for step in touched:
            try:
                self.client.set_broker_state(step.broker, ACTIVE)
                self._elect(step.broker, self.watch.look())
            except (ClientConnectionError, KafkaError) as error:
                logger.warning("%s: broker %d could not be taken back: %s", self.turn.job, step.broker, error)
                return f"Broker {step.broker} may still be draining: {error}"
        return ""


def _service(broker: int) -> str:
    return f"broker-{broker}"


def _trouble(state: ServiceState, last_exit: str) -> str:
    if state is ServiceState.STOPPED:
        return "it was stopped; start it on the Services page"
    return f"it {last_exit}" if state is ServiceState.BACKING_OFF and last_exit else ""


def _idle_reason(step: Step, cancelled: bool, paused: bool) -> str:
    """What the run waits for that somebody wanted."""
    if cancelled:
        return f"Cancelled: broker {step.broker} is brought back first, the others are left as they are."
    if paused and step.phase is Phase.WAITING:
        return f"Paused: broker {step.broker} is next."
    if paused:
        return f"Paused when broker {step.broker} is back."
    return ""
