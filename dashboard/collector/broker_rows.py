"""A broker's row, and the partitions of one broker as its own page lists them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from broker.telemetry.sample import BrokerSample, PartitionSample, RegistrationSample
from dashboard.collector.rates import Meter
from dashboard.collector.replication import BrokerCounts, skew_percent
from dashboard.live.replication_rows import PartitionRow, ReplicaRow
from dashboard.live.state import BrokerRow, Rows


def broker_row(
    sample: BrokerSample,
    meter: Meter,
    registration: RegistrationSample | None,
    counts: BrokerCounts,
    *,
    is_controller: bool,
    online: bool,
    silent_since_ms: int,
    trouble: str,
    size_bytes: int,
    partitions: int,
    replicas: int,
    counted_brokers: int,
) -> BrokerRow:
    """``partitions`` and ``replicas`` of the whole cluster, shared by ``counted_brokers``."""
    cpu = meter.rate(4) if online else None
    entry = registration or RegistrationSample(id=sample.id)
    counted = registration is None or registration.live
    return BrokerRow(
        id=sample.id,
        host=sample.host or entry.host,
        port=sample.port if sample.port >= 0 else entry.port,
        rack=sample.rack or entry.rack,
        is_controller=is_controller,
        online=online,
        live=registration.live if registration is not None else None,
        state=entry.state,
        left_at_ms=entry.left_at_ms,
        data_intact=entry.data_intact,
        epoch=entry.epoch,
        incarnation=entry.incarnation,
        registered_at_ms=entry.registered_at_ms,
        session_timeout_ms=sample.session_timeout_ms,
        silent_since_ms=silent_since_ms,
        trouble=trouble,
        started_at_ms=sample.started_at_ms or -1,
        cpu_percent=round(cpu * 100, 1) if cpu is not None else None,
        rss_bytes=(sample.rss_bytes or None) if online else None,
        connections=sample.connections if online else None,
        request_rate=meter.rate(3) if online else None,
        bytes_in_rate=meter.rate(0) if online else None,
        bytes_out_rate=meter.rate(1) if online else None,
        records_in_rate=meter.rate(2) if online else None,
        leaders=counts.leaders,
        preferred=counts.preferred,
        replicas=counts.replicas,
        out_of_sync=counts.out_of_sync,
        size_bytes=size_bytes,
        leader_skew=skew_percent(counts.leaders, partitions, counted_brokers) if counted else None,
        replica_skew=skew_percent(counts.replicas, replicas, counted_brokers) if counted else None,
        disk_free_bytes=sample.disk_free_bytes,
        disk_total_bytes=sample.disk_total_bytes,
        log_dir=sample.log_dir,
        ack_durability=sample.ack_durability,
        produce_refused_reason=sample.produce_refused_reason,
        offline_log_dir_reason=sample.offline_log_dir_reason,
        store_trouble=sample.store_trouble if online else "",
        store_trouble_since_ms=sample.store_trouble_since_ms if online else -1,
    )


def replica_row(row: PartitionRow, broker: int, own: PartitionSample | None) -> ReplicaRow:
    """``own``: what this broker says of its own log; ``None`` when it has said nothing."""
    lag = next((one.lag for one in row.followers if one.broker == broker), None)
    return ReplicaRow(
        topic=row.topic,
        partition=row.partition,
        broker=broker,
        leader=row.leader,
        preferred=row.preferred_leader == broker,
        in_sync=broker in row.isr,
        joining=broker in row.adding,
        leaving=broker in row.removing,
        in_sync_count=len(row.isr),
        replica_count=len(row.replicas),
        min_isr=row.min_isr,
        lag=0 if row.leader == broker else lag,
        size_bytes=own.size_bytes if own is not None and own.log_end_offset >= 0 else None,
        log_end_offset=own.log_end_offset if own is not None else -1,
        records_in_rate=row.records_in_rate if row.leader == broker else None,
        offline_reason=own.offline_reason if own is not None else "",
        source=broker,
    )


def broker_detail(broker: BrokerRow, replicas: Iterable[ReplicaRow]) -> Rows:
    rows: Rows = {"broker": broker}
    rows.update((replica.key, replica) for replica in replicas)
    return rows
