"""What consumer groups see of the cluster: its topics, and the configs that hold for a group now.

Owns: both, renewed from image deltas, and the rule which deltas concern groups at all (leaders and replicas come and go
without any group minding). One for all shards of a broker.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from broker.config.group import GroupConfigs
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.topics import Topics

if TYPE_CHECKING:
    from broker.cluster.driver import ClusterDriver
    from broker.cluster.image import ClusterImage, ImageDelta
    from broker.config.broker import BrokerConfig

CONSUMER_PROTOCOL = "consumer"
"""In ``group.coordinator.rebalance.protocols``."""


class Surroundings:
    def __init__(self, cluster: ClusterDriver) -> None:
        self._cluster = cluster
        self.topics = _topics(cluster.image)
        self._settings: dict[str, ConsumerSettings] = {}
        """Of groups with configs of their own, and under the empty name of all others."""

    @property
    def serves_consumer_groups(self) -> bool:
        return CONSUMER_PROTOCOL in self._cluster.config.group_coordinator_rebalance_protocols

    def settings_of(self, group_id: str) -> ConsumerSettings:
        own = self._cluster.image.group_configs.get(group_id, {})
        key = group_id if own else ""
        settings = self._settings.get(key)
        if settings is None:
            settings = self._settings[key] = _settings(self._cluster.config, own)
        return settings

    def follow(self, delta: ImageDelta) -> bool:
        """Whether ``topics`` is another object now."""
        if delta.group_configs_changed or delta.broker_configs_changed:
            self._settings.clear()
        created = bool(delta.created_topics)
        if not created and not delta.deleted_topics and not _grown(delta):
            return False
        self.topics = _topics(delta.new, version=None if created else self.topics.version)
        return True


def _topics(image: ClusterImage, *, version: int | None = None) -> Topics:
    return Topics(image.topics_by_name, image.topics_by_id, version=image.revision if version is None else version)


def _grown(delta: ImageDelta) -> bool:
    return any(len(before.partitions) != len(after.partitions) for before, after in delta.changed_topics)


def _settings(config: BrokerConfig, overrides: Mapping[str, str]) -> ConsumerSettings:
    own = GroupConfigs.resolve(overrides, config)
    policy = config.group_consumer_migration_policy
    return ConsumerSettings(
        session_timeout_ms=own.consumer_session_timeout_ms,
        heartbeat_interval_ms=own.consumer_heartbeat_interval_ms,
        assignment_interval_ms=own.consumer_assignment_interval_ms,
        size_max=config.group_consumer_max_size,
        assignors=config.group_consumer_assignors,
        regex_refresh_interval_ms=config.group_consumer_regex_refresh_interval_ms,
        may_upgrade=policy in ("upgrade", "bidirectional"),
        may_downgrade=policy in ("downgrade", "bidirectional"),
    )
