"""One kind of quota: the rates of everybody who has one. Pure: time is an argument.

What must stay true: at most ``QUOTA_CLIENTS_MAX`` clients are measured by themselves. A client id is the client's own
word, so there may be any number of them; those beyond the bound share one rate, and a client that was silent for a whole
span makes room.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Generic, Protocol, TypeVar

from broker import limits
from broker.quotas.policy import QuotaPolicy
from broker.quotas.window import WindowSpec

Client = tuple[str, str]
"""User and client id."""
_OTHERS: Client = ("", "\0others")


class Meter(Protocol):
    """What one client has done lately: ``RateWindow`` or ``LeakyBucket``."""

    last_ms: int
    """When a value was last recorded."""

    def record(self, value: float, now_ms: int, spec: WindowSpec) -> None: ...

    def wait_ms(self, limit: float, now_ms: int, spec: WindowSpec) -> int: ...


AnyMeter = TypeVar("AnyMeter", bound=Meter)


class QuotaTable(Generic[AnyMeter]):
    __slots__ = ("_clients_max", "_meters", "_new_meter", "_spec", "policy", "wait_ms_max")

    def __init__(
        self,
        new_meter: Callable[[], AnyMeter],
        *,
        wait_ms_max: int = limits.THROTTLE_MS_MAX,
        clients_max: int = limits.QUOTA_CLIENTS_MAX,
    ) -> None:
        self.policy = QuotaPolicy()
        self._new_meter = new_meter
        self._spec = WindowSpec()
        self.wait_ms_max = wait_ms_max
        self._clients_max = clients_max
        self._meters: dict[Client, AnyMeter] = {}

    def configure(self, policy: QuotaPolicy, spec: WindowSpec) -> None:
        """Other limits hold from the next value on; what was measured stays, unless it was measured otherwise."""
        if spec != self._spec or not policy.active:
            self._meters.clear()
        self.policy = policy
        self._spec = spec

    def record(self, client: Client, value: float, now_ms: int) -> int:
        """Milliseconds the client has to wait after this value; 0 within its limit."""
        limit = self.policy.limit(client[1])
        if limit is None:
            return 0
        meter = self._meter(client, now_ms)
        meter.record(value, now_ms, self._spec)
        return min(meter.wait_ms(limit, now_ms, self._spec), self.wait_ms_max)

    def wait_ms(self, client: Client, now_ms: int) -> int:
        """The same for what it has done until now; 0 also for one that is not measured."""
        limit, meter = self.policy.limit(client[1]), self.known(client)
        if limit is None or meter is None:
            return 0
        return min(meter.wait_ms(limit, now_ms, self._spec), self.wait_ms_max)

    def known(self, client: Client) -> AnyMeter | None:
        """What measures the client, if anything does."""
        if client in self._meters or len(self._meters) < self._clients_max:
            return self._meters.get(client)
        return self._meters.get(_OTHERS)

    @property
    def spec(self) -> WindowSpec:
        return self._spec

    def __len__(self) -> int:
        return len(self._meters)

    def _meter(self, client: Client, now_ms: int) -> AnyMeter:
        meter = self._meters.get(client)
        if meter is None:
            if len(self._meters) >= self._clients_max:
                self._forget_silent(now_ms)
            if len(self._meters) >= self._clients_max:
                client = _OTHERS
            meter = self._meters.setdefault(client, self._new_meter())
        return meter

    def _forget_silent(self, now_ms: int) -> None:
        span_ms = self._spec.span_ms
        silent = [client for client, meter in self._meters.items() if now_ms - meter.last_ms >= span_ms]
        for client in silent:
            del self._meters[client]
