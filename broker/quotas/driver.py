"""The quotas of this broker as handlers ask them: reads the clock, keeps the three tables and their totals.

Called by ``handlers/throttling.py``. Produce and request time are rates over windows, as in Kafka; what is fetched fills a
bucket. ``active`` and ``timing`` are plain attributes because the hot path asks them for every request; both are false, and
nothing is measured, while no quota is set.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.clock import Clock, SystemClock
from broker.config.broker import BrokerConfig
from broker.quotas.bucket import LeakyBucket
from broker.quotas.policy import QuotaPolicy
from broker.quotas.table import Client, QuotaTable
from broker.quotas.window import RateWindow, WindowSpec

NANOSECONDS_PER_PERCENT_SECOND = 10_000_000
"""A hundredth of a second of the event loop: a rate of one of these is one percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class QuotaStatistics:
    throttled_total: int
    """Answers that told their client to wait."""
    throttled_ms_total: int
    clients: int
    """Measured by themselves, over all kinds."""


class Quotas:
    def __init__(self, clock: Clock | None = None) -> None:
        self.active = False
        """Whether anybody has a limit of any kind."""
        self.timing = False
        """Whether the time of requests has to be measured."""
        self._clock = clock or SystemClock()
        self._produce = QuotaTable(RateWindow)
        self._fetch = QuotaTable(LeakyBucket)
        self._request = QuotaTable(RateWindow)
        self._throttled_total = 0
        self._throttled_ms_total = 0

    def configure(self, config: BrokerConfig) -> None:
        spec = WindowSpec(sample_count=config.quota_window_num, sample_ms=1_000 * config.quota_window_size_seconds)
        self._produce.configure(
            QuotaPolicy.parse(config.quota_producer_byte_rate, config.quota_producer_byte_rate_overrides), spec
        )
        self._fetch.configure(
            QuotaPolicy.parse(config.quota_consumer_byte_rate, config.quota_consumer_byte_rate_overrides), spec
        )
        self._request.configure(
            QuotaPolicy.parse(config.quota_request_percentage, config.quota_request_percentage_overrides), spec
        )
        # As in Kafka, one sample is the longest wait for using too much time.
        self._request.wait_ms_max = spec.sample_ms
        self.timing = self._request.policy.active
        self.active = self.timing or self._produce.policy.active or self._fetch.policy.active

    def produced(self, client: Client, byte_count: int) -> int:
        """Milliseconds to wait after a produce request of this size."""
        return self._produce.record(client, byte_count, self._now_ms())

    def fetch_bytes_max(self, client: Client) -> int | None:
        """What the client may still fetch now; its first batch is whole whatever this says."""
        limit = self._fetch.policy.limit(client[1])
        if limit is None:
            return None
        bucket, spec = self._fetch.known(client) or LeakyBucket(), self._fetch.spec
        return max(1, int(bucket.room(limit, self._now_ms(), spec)))

    def fetch_wait_ms(self, client: Client) -> int:
        """Milliseconds to wait before the next fetch, for what was fetched before."""
        return self._fetch.wait_ms(client, self._now_ms())

    def fetched(self, client: Client, byte_count: int) -> None:
        self._fetch.record(client, byte_count, self._now_ms())

    def worked(self, client: Client, nanoseconds: int) -> int:
        """Milliseconds to wait after a request that took this long of the event loop."""
        return self._request.record(client, nanoseconds / NANOSECONDS_PER_PERCENT_SECOND, self._now_ms())

    def note_throttled(self, wait_ms: int) -> None:
        self._throttled_total += 1
        self._throttled_ms_total += wait_ms

    def statistics(self) -> QuotaStatistics:
        return QuotaStatistics(
            throttled_total=self._throttled_total,
            throttled_ms_total=self._throttled_ms_total,
            clients=len(self._produce) + len(self._fetch) + len(self._request),
        )

    def _now_ms(self) -> int:
        return int(self._clock.monotonic() * 1_000)
