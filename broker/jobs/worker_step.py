"""The part of every Celery worker that says regularly that it is alive.

Celery's own heartbeats are off (they are for fleets of workers that watch each other), and a task sent by beat would
say nothing while beat is down. This is a timer on the worker's own event loop.
"""

from __future__ import annotations

from typing import Any

from celery import bootsteps

from broker.jobs.heartbeat import HEARTBEAT_SECONDS, beat


class WorkerHeartbeat(bootsteps.StartStopStep):
    """A timer on the consumer's loop, started again whenever the worker reconnects to Redis."""

    requires = frozenset({"celery.worker.consumer.tasks:Tasks"})

    def __init__(self, parent: Any, **options: Any) -> None:
        super().__init__(parent, **options)
        self._timer: Any = None

    def start(self, parent: Any) -> None:
        hostname = parent.hostname
        beat(hostname)
        self._timer = parent.timer.call_repeatedly(HEARTBEAT_SECONDS, beat, (hostname,))

    def stop(self, parent: Any) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    shutdown = stop
