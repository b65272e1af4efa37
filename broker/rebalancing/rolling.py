"""One broker restarted without anybody missing it: which step comes next, or why none does. Pure.

    waiting ──all is well──▶ draining ──leads nothing another could──▶ restarting ──new life registered──▶ returning
                                                                                                              │
    done ◀──leads what it should── leading ◀──its logs reach what is committed── verifying ◀──all in sync────┘

Whoever performs a decision saves its step first and then does its deed, so a step that is found again after a crash may be
decided anew: every deed may be done twice but the restart, and that one names the process it is for. A process with
another pid, or a registration with another incarnation, has had its restart.

Time is the wall clock of whoever asks: a phase is given up when nothing has come nearer to its end for its limit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from enum import StrEnum
from typing import Any

from broker.rebalancing.standing import DRAINING, BrokerStanding, ClusterStanding


class Phase(StrEnum):
    WAITING = "waiting"
    """Nothing has been done to it."""
    DRAINING = "draining"
    RESTARTING = "restarting"
    RETURNING = "returning"
    VERIFYING = "verifying"
    LEADING = "leading"
    DONE = "done"


class Deed(StrEnum):
    DRAIN = "drain"
    """Have others lead what it leads."""
    RESTART = "restart"
    """The process with the step's pid, and no other."""
    TAKE_BACK = "take back"
    """It may lead again."""
    ELECT = "elect"
    """Have it lead what it is the preferred leader of."""


NOT_DOWN_YET = (Phase.WAITING, Phase.DRAINING)
"""Here a run can end without a broker being brought back first."""

LIMIT_SECONDS: Mapping[Phase, float] = {
    Phase.WAITING: 10.0,
    Phase.DRAINING: 60.0,
    Phase.RESTARTING: 300.0,
    Phase.RETURNING: 300.0,
    Phase.VERIFYING: 300.0,
    Phase.LEADING: 60.0,
}
"""Without anything coming nearer to its end. A start reads what was not flushed; coming back into sync may copy for
hours, but not for five minutes without one more replica in sync."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """How far one broker is, as the run's row keeps it."""

    broker: int
    phase: Phase = Phase.WAITING
    incarnation: str = ""
    """Of the life that is to end."""
    pid: int = 0
    """Of the process that is to end."""
    began_ms: int = 0
    ended_ms: int = 0
    since_ms: int = 0
    """When something last came nearer to the end of the phase; 0: it has not been looked at yet."""
    left: int | None = None
    """What is to be done in this phase yet, where it can be counted; the least so far."""
    says: str = ""
    """What it is waiting for, in a sentence."""

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    @classmethod
    def from_row(cls, row: Mapping[str, Any]) -> Step:
        return cls(**{**row, "phase": Phase(row["phase"])})


@dataclass(frozen=True, slots=True, kw_only=True)
class Process:
    """What runs the broker, as its supervisor tells."""

    pid: int | None
    """None while there is none."""
    stopping: bool = False
    trouble: str = ""
    """Why there is none, in words."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    now_ms: int
    cluster: ClusterStanding
    before: ClusterStanding | None = None
    """As it was at an earlier look in the same phase, if there was one."""
    process: Process | None = None
    """None: the supervisor does not answer."""
    may_interrupt: bool = False
    """Whether somebody has agreed that partitions without enough copies cannot be written meanwhile."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    step: Step
    deed: Deed | None = None
    halt: str = ""
    """Why the run ends here, in sentences; empty while it goes on."""


def decide(step: Step, now: Situation) -> Decision:
    """What is next for this broker. Asked again and again until its phase is ``DONE``."""
    return _RULES[step.phase](step, now)


def _waiting(step: Step, now: Situation) -> Decision:
    broker = now.cluster.brokers.get(step.broker)
    if broker is None or not broker.live:
        return _wait(step, now, f"Broker {step.broker} does not run.")
    troubles = now.cluster.troubles()
    if troubles:
        return _wait(step, now, troubles[0])
    if broker.state:
        return _halt(step, f"Broker {step.broker} is {broker.state}: somebody else is at it.")
    refusal = _interruption(step, now)
    if refusal:
        return _halt(step, refusal)
    if now.process is None or now.process.pid is None:
        return _wait(step, now, _no_process(step, now.process))
    ready = replace(step, incarnation=broker.incarnation, pid=now.process.pid, began_ms=now.now_ms)
    return _enter(ready, Phase.DRAINING, now)


def _draining(step: Step, now: Situation) -> Decision:
    broker = now.cluster.brokers.get(step.broker)
    if _has_new_life(broker, step):
        return _enter(step, Phase.RETURNING, now)
    troubles = now.cluster.troubles()
    if troubles or broker is None or not broker.live:
        return _wait(step, now, troubles[0] if troubles else f"Broker {step.broker} has gone.")
    led = now.cluster.relievable(step.broker)
    if led:
        deed = None if broker.state == DRAINING else Deed.DRAIN
        return _wait(step, now, f"Hands over {_partitions(led)}.", left=led, deed=deed)
    return _enter(step, Phase.RESTARTING, now)


def _restarting(step: Step, now: Situation) -> Decision:
    if _has_new_life(now.cluster.brokers.get(step.broker), step):
        return _enter(step, Phase.RETURNING, now)
    process = now.process
    if process is None or process.pid is None:
        return _wait(step, now, _no_process(step, process))
    if process.pid != step.pid:
        return _wait(step, now, "Its new process is starting.")
    if process.stopping:
        return _wait(step, now, "Its process is stopping.")
    # It has not been asked yet, or by a worker that died before the supervisor heard of it: as if for the first time.
    broker = now.cluster.brokers.get(step.broker)
    if broker is None or not broker.live:
        return _wait(step, now, f"Broker {step.broker} has gone, and its process is still there.")
    troubles = now.cluster.troubles()
    refusal = _interruption(step, now)
    if troubles or refusal:
        return _wait(step, now, troubles[0] if troubles else refusal)
    return _wait(step, now, "Its process is asked to stop.", deed=Deed.RESTART)


def _returning(step: Step, now: Situation) -> Decision:
    broker = now.cluster.brokers.get(step.broker)
    if broker is None or not broker.live:
        return _wait(step, now, f"Broker {step.broker} has gone again.")
    troubles = now.cluster.troubles()
    if troubles:
        return _wait(step, now, troubles[0], left=now.cluster.missing_count)
    return _enter(step, Phase.VERIFYING, now)


def _verifying(step: Step, now: Situation) -> Decision:
    broker = now.cluster.brokers.get(step.broker)
    troubles = now.cluster.troubles()
    if troubles or broker is None or not broker.live:
        return _wait(step, now, troubles[0] if troubles else f"Broker {step.broker} has gone again.")
    if now.before is None:
        return _wait(step, now, "Its logs are compared with what is committed.")
    short = now.cluster.not_reached(step.broker, now.before)
    if short:
        return _wait(step, now, f"{short[0]} does not reach what is committed yet.", left=len(short))
    return _enter(step, Phase.LEADING, now)


def _leading(step: Step, now: Situation) -> Decision:
    broker = now.cluster.brokers.get(step.broker)
    if broker is None or not broker.live:
        return _wait(step, now, f"Broker {step.broker} has gone again.")
    if broker.state == DRAINING:
        return _wait(step, now, "It may lead again.", deed=Deed.TAKE_BACK)
    troubles = now.cluster.troubles()
    if troubles:
        return _wait(step, now, troubles[0], left=now.cluster.missing_count)
    owed = now.cluster.owed_to(step.broker)
    if owed:
        return _wait(step, now, f"Gets {_partitions(len(owed))} back to lead.", left=len(owed), deed=Deed.ELECT)
    return _enter(replace(step, ended_ms=now.now_ms), Phase.DONE, now)


def _done(step: Step, now: Situation) -> Decision:
    return Decision(step=step)


_RULES: Mapping[Phase, Callable[[Step, Situation], Decision]] = {
    Phase.WAITING: _waiting,
    Phase.DRAINING: _draining,
    Phase.RESTARTING: _restarting,
    Phase.RETURNING: _returning,
    Phase.VERIFYING: _verifying,
    Phase.LEADING: _leading,
    Phase.DONE: _done,
}


def _enter(step: Step, phase: Phase, now: Situation) -> Decision:
    return Decision(step=replace(step, phase=phase, since_ms=now.now_ms, left=None, says=""))


def _wait(step: Step, now: Situation, says: str, *, left: int | None = None, deed: Deed | None = None) -> Decision:
    nearer = left is not None and (step.left is None or left < step.left)
    since_ms = now.now_ms if nearer or not step.since_ms else step.since_ms
    limit = LIMIT_SECONDS[step.phase]
    if now.now_ms - since_ms > limit * 1_000:
        return _halt(step, f"{says} That did not change for {limit:g} s.")
    least = left if nearer else step.left
    return Decision(step=replace(step, since_ms=since_ms, left=least, says=says), deed=deed)


def _halt(step: Step, why: str) -> Decision:
    return Decision(step=replace(step, says=why), halt=why)


def _has_new_life(broker: BrokerStanding | None, step: Step) -> bool:
    return broker is not None and broker.live and broker.incarnation not in ("", step.incarnation)


def _interruption(step: Step, now: Situation) -> str:
    if now.may_interrupt:
        return ""
    return " ".join(now.cluster.interrupted_by(step.broker))


def _no_process(step: Step, process: Process | None) -> str:
    if process is None:
        return "The supervisor does not answer."
    return f"The process of broker {step.broker} does not run: {process.trouble or 'it is being started'}."


def _partitions(count: int) -> str:
    return f"{count} partition{'' if count == 1 else 's'}"
