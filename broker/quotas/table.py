"""One kind of quota: the rates of everybody who has one. Pure: time is an argument.

What must stay true: at most ``QUOTA_CLIENTS_MAX`` clients are measured by themselves. A client id is the client's own
word, so there may be any number of them; those beyond the bound share one rate, and a client that was silent for a whole
span makes room.
"""

from __future__ import annotations

from broker import limits
from broker.quotas.policy import QuotaPolicy
from broker.quotas.window import RateWindow, WindowSpec

Client = tuple[str, str]
"""User and client id."""
_OTHERS: Client = ("", "\0others")


class QuotaTable:
    __slots__ = ("_clients_max", "_spec", "_windows", "policy", "wait_ms_max")

    def __init__(
        self, *, wait_ms_max: int = limits.THROTTLE_MS_MAX, clients_max: int = limits.QUOTA_CLIENTS_MAX
    ) -> None:
        self.policy = QuotaPolicy()
        self._spec = WindowSpec()
        self.wait_ms_max = wait_ms_max
        self._clients_max = clients_max
        self._windows: dict[Client, RateWindow] = {}

    def configure(self, policy: QuotaPolicy, spec: WindowSpec) -> None:
        """Other limits hold from the next value on; what was measured stays, unless it was measured otherwise."""
        if spec != self._spec or not policy.active:
            self._windows.clear()
        self.policy = policy
        self._spec = spec

    def record(self, client: Client, value: float, now_ms: int) -> int:
        """Milliseconds the client has to wait after this value; 0 within its limit."""
        limit = self.policy.limit(client[1])
        if limit is None:
            return 0
        window = self._window(client, now_ms)
        window.record(value, now_ms, self._spec)
        return min(window.wait_ms(limit, now_ms, self._spec), self.wait_ms_max)

    def take_back(self, client: Client, value: float, now_ms: int) -> None:
        """What was recorded did not happen after all."""
        if self.policy.limit(client[1]) is not None:
            self._window(client, now_ms).record(-value, now_ms, self._spec)

    def burst(self, client: Client) -> float | None:
        """The most a client may ever do at once; ``None`` without a limit."""
        limit = self.policy.limit(client[1])
        return None if limit is None else limit * self._spec.least_ms / 1_000

    def __len__(self) -> int:
        return len(self._windows)

    def _window(self, client: Client, now_ms: int) -> RateWindow:
        window = self._windows.get(client)
        if window is None:
            if len(self._windows) >= self._clients_max:
                self._forget_silent(now_ms)
            if len(self._windows) >= self._clients_max:
                client = _OTHERS
            window = self._windows.setdefault(client, RateWindow())
        return window

    def _forget_silent(self, now_ms: int) -> None:
        span_ms = self._spec.span_ms
        silent = [client for client, window in self._windows.items() if now_ms - window.last_ms >= span_ms]
        for client in silent:
            del self._windows[client]
