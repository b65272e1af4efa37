"""How fast replicas may be copied from this broker's leaders: ``leader.replication.throttled.rate`` over a sliding window.

Owns the rate of one direction. Asked by the replica path of Fetch, for partitions that their topic lists as throttled and
followers that are not in sync: a member of the in-sync set is never slowed down, because producers wait for it (KIP-73).
"""

from __future__ import annotations

from collections.abc import Sequence

from broker.config.definition import LONG_MAX
from broker.quotas.window import RateWindow, WindowSpec
from broker.types import BrokerId

EVERY_REPLICA = "*"


class ReplicationThrottle:
    __slots__ = ("_rate", "_spec", "_window", "active", "bytes_total")

    def __init__(self) -> None:
        self.active = False
        """Whether there is a rate at all: nothing else is asked while there is none."""
        self.bytes_total = 0
        self._rate = LONG_MAX
        self._spec = WindowSpec()
        self._window = RateWindow()

    def configure(self, bytes_per_second: int) -> None:
        self._rate = bytes_per_second
        self.active = bytes_per_second < LONG_MAX

    def is_exceeded(self, now_ms: int) -> bool:
        return self._window.rate(now_ms, self._spec) >= self._rate

    def record(self, byte_count: int, now_ms: int) -> None:
        self.bytes_total += byte_count
        self._window.record(byte_count, now_ms, self._spec)


def is_throttled(replicas: Sequence[str], partition: int, broker_id: BrokerId) -> bool:
    """Whether ``leader.replication.throttled.replicas`` (or the follower's) of a topic names this replica."""
    return EVERY_REPLICA in replicas or f"{partition}:{broker_id}" in replicas
