"""Folding a broker's samples into its state. Pure: the reader's half of the law of live data.

Owns ``BrokerState`` and ``reduce``. The law, under test: reducing a full sample and then every delta gives exactly
what a fresh full sample would. A delta that does not follow is refused (``SampleGap``); the reader then asks for
a full one and shows that there was a gap.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from broker.telemetry.sample import BrokerSample, ControlSample, GroupSample, PartitionSample, Sample, TopicSample
from broker.types import TopicPartition


class SampleGap(Exception):
    """A delta that does not continue the state at hand: samples were missed or the broker restarted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BrokerState:
    """One broker as of ``sampled_at_ms`` on its own clock. The mappings are never changed in place."""

    incarnation: str
    seq: int
    sampled_at_ms: int
    cluster_id: str
    controller_id: int
    revision: int
    control: ControlSample
    broker: BrokerSample
    topics: Mapping[str, TopicSample]
    partitions: Mapping[TopicPartition, PartitionSample]
    groups: Mapping[str, GroupSample]


def reduce(state: BrokerState | None, sample: Sample) -> BrokerState:
    """The state after ``sample``. Raises ``SampleGap`` when a delta does not follow ``state``."""
    if sample.full:
        topics: Mapping[str, TopicSample] = {}
        partitions: Mapping[TopicPartition, PartitionSample] = {}
        groups: Mapping[str, GroupSample] = {}
        control = ControlSample()
    else:
        if state is None:
            raise SampleGap("a delta before any full sample")
        if (sample.incarnation, sample.seq) != (state.incarnation, state.seq + 1):
            raise SampleGap(f"sample {sample.incarnation}/{sample.seq} does not follow {state.incarnation}/{state.seq}")
        topics, partitions, groups, control = state.topics, state.partitions, state.groups, state.control
    return BrokerState(
        incarnation=sample.incarnation,
        seq=sample.seq,
        sampled_at_ms=sample.sampled_at_ms,
        cluster_id=sample.cluster_id,
        controller_id=sample.controller_id,
        revision=sample.revision,
        control=control if sample.control is None else sample.control,
        broker=sample.broker,
        topics=_merge(topics, {topic.name: topic for topic in sample.topics}, sample.removed_topics),
        partitions=_merge(
            partitions,
            {TopicPartition(entry.topic, entry.partition): entry for entry in sample.partitions},
            (TopicPartition(topic, partition) for topic, partition in sample.removed_partitions),
        ),
        groups=_merge(groups, {group.group_id: group for group in sample.groups}, sample.removed_groups),
    )


Key = TypeVar("Key")
Entry = TypeVar("Entry")


def _merge(table: Mapping[Key, Entry], changed: dict[Key, Entry], removed: Iterable[Key]) -> Mapping[Key, Entry]:
    gone = set(removed)
    if not changed and not gone:
        return table
    return {key: entry for key, entry in table.items() if key not in gone} | changed
