"""The client instances that push metrics to this broker, what each is asked for, and its latest values. Pure.

Theory of operation (KIP-714). A client asks what to push (``subscribe``) and is given an id of its own, a subscription id
and an interval. It then pushes (``push``) under that subscription id. When subscriptions change, so do the ids they give;
a push under an old id is refused with UNKNOWN_SUBSCRIPTION_ID and the client asks again. The subscription id is computed
from what is asked for and the client's id, so every broker comes to the same one.

    request                         answered
    subscribe, first or changed     the subscription
    subscribe within the interval   THROTTLING_QUOTA_EXCEEDED, unless the last push told it to ask again
    push after "terminating"        INVALID_REQUEST
    push within the interval        THROTTLING_QUOTA_EXCEEDED, unless it is the first after a subscribe, or the last
    push under another id           UNKNOWN_SUBSCRIPTION_ID

What must stay true: instances ≤ ``CLIENT_INSTANCES_MAX``, the longest silent goes first; values of all instances together
≤ ``CLIENT_METRICS_POINTS_TOTAL_MAX``; an instance silent for three intervals (at least a minute) is forgotten.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from broker import limits
from broker.config.client_metrics import ALL_METRICS, INTERVAL_MS_DEFAULT, Subscription
from broker.errors import ErrorCode, KafkaError
from broker.protocol.private import MetricPoint

SILENT_MS_MIN = 60_000
SWEEP_INTERVAL_MS = 10_000
NEVER = -(1 << 60)


@dataclass(slots=True, kw_only=True)
class ClientInstance:
    id: bytes
    facts: Mapping[str, str]
    """What subscriptions match against: see ``config/client_metrics.py``."""
    connection_id: int
    generation: int
    """Of the subscriptions this was computed from."""
    subscription_id: int
    metrics: tuple[str, ...]
    interval_ms: int
    asked_ms: int = NEVER
    pushed_ms: int = NEVER
    seen_ms: int = 0
    pushed_at_ms: int = -1
    """Wall clock of the last push."""
    pushes_total: int = 0
    terminating: bool = False
    last_error: ErrorCode = ErrorCode.NONE
    points: list[MetricPoint] = field(default_factory=list)
    left_out: int = 0
    """Points of the last push that were not kept."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClientMetricsStatistics:
    instances: int
    points: int
    pushes_total: int


class ClientInstances:
    def __init__(self) -> None:
        self._subscriptions: tuple[Subscription, ...] = ()
        self._generation = 0
        self._instances: dict[bytes, ClientInstance] = {}
        """The longest silent first."""
        self._points = 0
        self._pushes_total = 0
        self._swept_ms = NEVER

    def configure(self, configs: Mapping[str, Mapping[str, str]]) -> None:
        """The cluster's subscriptions by name. One that this version cannot read is left out."""
        readable = []
        for name, texts in sorted(configs.items()):
            try:
                readable.append(Subscription.parse(name, texts))
            except KafkaError:
                continue
        self._subscriptions = tuple(readable)
        self._generation += 1

    def subscribe(
        self, instance_id: bytes, facts: Mapping[str, str], connection_id: int, now_ms: int
    ) -> ClientInstance:
        """Raises ``KafkaError`` THROTTLING_QUOTA_EXCEEDED."""
        instance = self._instance(instance_id, facts, connection_id, now_ms)
        sent_back = instance.last_error in (
            ErrorCode.UNKNOWN_SUBSCRIPTION_ID,
            ErrorCode.UNSUPPORTED_COMPRESSION_TYPE,
        )
        if now_ms - max(instance.asked_ms, instance.pushed_ms) < instance.interval_ms and not sent_back:
            raise KafkaError(ErrorCode.THROTTLING_QUOTA_EXCEEDED, "The request arrived before the next push interval.")
        instance.asked_ms = now_ms
        instance.last_error = ErrorCode.NONE
        return instance

    def admit_push(
        self,
        instance_id: bytes,
        facts: Mapping[str, str],
        connection_id: int,
        now_ms: int,
        *,
        subscription_id: int,
        terminating: bool,
    ) -> ClientInstance:
        """The instance if it may push now. Raises ``KafkaError`` as in the table."""
        instance = self._instance(instance_id, facts, connection_id, now_ms)
        if instance.terminating:
            raise self.refuse(instance, ErrorCode.INVALID_REQUEST, "The client has said that it terminates.")
        first = instance.asked_ms > instance.pushed_ms
        due = first or now_ms - instance.pushed_ms >= instance.interval_ms
        instance.terminating = terminating
        if not due and not terminating:
            raise self.refuse(
                instance,
                ErrorCode.THROTTLING_QUOTA_EXCEEDED,
                "The request arrived before the next push interval.",
            )
        if due:
            instance.pushed_ms = now_ms
        if subscription_id != instance.subscription_id:
            raise self.refuse(instance, ErrorCode.UNKNOWN_SUBSCRIPTION_ID, "Unknown client subscription id.")
        return instance

    def refuse(self, instance: ClientInstance, code: ErrorCode, message: str) -> KafkaError:
        """The error to raise, remembered: after some of them a client may ask again at once."""
        instance.last_error = code
        return KafkaError(code, message)

    def keep(self, instance: ClientInstance, points: list[MetricPoint], left_out: int, now_wall_ms: int) -> None:
        """The values of a push that was admitted take the place of those before."""
        self._points -= len(instance.points)
        room = max(0, limits.CLIENT_METRICS_POINTS_TOTAL_MAX - self._points)
        instance.points = points[:room]
        instance.left_out = left_out + len(points) - len(instance.points)
        self._points += len(instance.points)
        instance.pushed_at_ms = now_wall_ms
        instance.pushes_total += 1
        instance.last_error = ErrorCode.NONE
        self._pushes_total += 1

    def page(self, after: bytes, limit: int, now_ms: int) -> tuple[list[ClientInstance], int]:
        """(at most ``limit`` instances with an id above ``after``, how many there are), by id."""
        self._forget_silent(now_ms)
        ids = sorted(instance_id for instance_id in self._instances if instance_id > after)
        return [self._instances[instance_id] for instance_id in ids[:limit]], len(self._instances)

    def get(self, instance_id: bytes) -> ClientInstance | None:
        return self._instances.get(instance_id)

    def statistics(self) -> ClientMetricsStatistics:
        return ClientMetricsStatistics(
            instances=len(self._instances), points=self._points, pushes_total=self._pushes_total
        )

    def _instance(
        self, instance_id: bytes, facts: Mapping[str, str], connection_id: int, now_ms: int
    ) -> ClientInstance:
        """The instance as the present subscriptions see it; it is the last to have been heard of."""
        if now_ms - self._swept_ms >= SWEEP_INTERVAL_MS:
            self._forget_silent(now_ms)
        instance = self._instances.pop(instance_id, None)
        if instance is None:
            while len(self._instances) >= limits.CLIENT_INSTANCES_MAX:
                self._forget(next(iter(self._instances)))
            instance = self._new(instance_id, facts, connection_id)
        elif instance.generation != self._generation:
            self._renew(instance)
        self._instances[instance_id] = instance
        instance.seen_ms = now_ms
        instance.connection_id = connection_id
        return instance

    def _new(self, instance_id: bytes, facts: Mapping[str, str], connection_id: int) -> ClientInstance:
        metrics, interval_ms = wanted(self._subscriptions, facts)
        return ClientInstance(
            id=instance_id,
            facts=facts,
            connection_id=connection_id,
            generation=self._generation,
            subscription_id=subscription_id_of(instance_id, metrics, interval_ms),
            metrics=metrics,
            interval_ms=interval_ms,
        )

    def _renew(self, instance: ClientInstance) -> None:
        """Subscriptions have changed. Only where that concerns the instance may it ask again at once."""
        instance.generation = self._generation
        metrics, interval_ms = wanted(self._subscriptions, instance.facts)
        if (metrics, interval_ms) == (instance.metrics, instance.interval_ms):
            return
        instance.metrics, instance.interval_ms = metrics, interval_ms
        instance.subscription_id = subscription_id_of(instance.id, metrics, interval_ms)
        instance.asked_ms = instance.pushed_ms = NEVER

    def _forget_silent(self, now_ms: int) -> None:
        self._swept_ms = now_ms
        silent = [
            instance.id
            for instance in self._instances.values()
            if now_ms - instance.seen_ms > max(SILENT_MS_MIN, 3 * instance.interval_ms)
        ]
        for instance_id in silent:
            self._forget(instance_id)

    def _forget(self, instance_id: bytes) -> None:
        self._points -= len(self._instances.pop(instance_id).points)


def wanted(subscriptions: Iterable[Subscription], facts: Mapping[str, str]) -> tuple[tuple[str, ...], int]:
    """(prefixes of metrics, interval) of all subscriptions that match: the union and the shortest."""
    matching = [subscription for subscription in subscriptions if subscription.matches(facts)]
    metrics = {metric for subscription in matching for metric in subscription.metrics}
    if ALL_METRICS in metrics:
        metrics = {ALL_METRICS}
    interval_ms = min((subscription.interval_ms for subscription in matching), default=INTERVAL_MS_DEFAULT)
    return tuple(sorted(metrics)), min(interval_ms, INTERVAL_MS_DEFAULT)


def subscription_id_of(instance_id: bytes, metrics: Iterable[str], interval_ms: int) -> int:
    """An int32 that is the same on every broker."""
    number = zlib.crc32("\0".join((*metrics, str(interval_ms))).encode() + instance_id)
    return number - (1 << 32) if number >> 31 else number
