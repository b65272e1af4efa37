"""What saving a topic form would do to the cluster, as a value. Pure.

Owns: the difference between the topic as it is and the topic as asked for. The form checks a plan with the broker
(``validate_only``), the confirmation shows it, saving carries it out: all three read the same plan.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from dashboard.administration import config_fields


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """One row of the before/after table; texts are for people, ``None`` is "inherits the default"."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True, kw_only=True)
class TopicPlan:
    name: str
    creates: bool
    partition_count: int
    replication_factor: int
    added_partitions: int
    """How many partitions an existing topic gains."""
    configs: Mapping[str, str | None]
    """Only what changes: a text to set, ``None`` to return to the default."""
    before: Mapping[str, str]
    """The overrides as they are now."""
    inherited: Mapping[str, str] = field(default_factory=dict)
    """What acts where the topic sets nothing, as far as the broker told; else the schema's default."""

    @property
    def empty(self) -> bool:
        return not (self.creates or self.added_partitions or self.configs)

    @property
    def settings(self) -> dict[str, str]:
        """The overrides to create a topic with."""
        return {name: value for name, value in self.configs.items() if value is not None}

    def differences(self) -> list[Difference]:
        rows = []
        if self.creates:
            rows.append(Difference(name="partitions", before="—", after=str(self.partition_count)))
            rows.append(Difference(name="replication factor", before="—", after=str(self.replication_factor)))
        elif self.added_partitions:
            old = self.partition_count - self.added_partitions
            rows.append(Difference(name="partitions", before=str(old), after=str(self.partition_count)))
        for name, value in sorted(self.configs.items()):
            definition = config_fields.EDITABLE[name]
            default = self.inherited.get(name, definition.format(definition.default))
            inherited = f"inherits {config_fields.show(definition, default)}"
            old_value = self.before.get(name)
            rows.append(
                Difference(
                    name=name,
                    before=inherited if old_value is None else config_fields.show(definition, old_value),
                    after=inherited if value is None else config_fields.show(definition, value),
                )
            )
        return rows

    def audit_values(self) -> tuple[dict[str, object] | None, dict[str, object]]:
        """(before, after) of what differs, as raw values."""
        after: dict[str, object] = dict(self.configs)
        if self.creates:
            return None, {"partitions": self.partition_count, "replication factor": self.replication_factor, **after}
        before: dict[str, object] = {name: self.before.get(name) for name in self.configs}
        if self.added_partitions:
            before["partitions"] = self.partition_count - self.added_partitions
            after["partitions"] = self.partition_count
        return before, after


def plan_creation(
    name: str, partition_count: int, replication_factor: int, wanted: Mapping[str, str | None]
) -> TopicPlan:
    return TopicPlan(
        name=name,
        creates=True,
        partition_count=partition_count,
        replication_factor=replication_factor,
        added_partitions=0,
        configs={config: value for config, value in wanted.items() if value is not None},
        before={},
    )


def plan_change(
    name: str,
    *,
    partition_count: int,
    current_partition_count: int,
    replication_factor: int,
    current: Mapping[str, str],
    wanted: Mapping[str, str | None],
    inherited: Mapping[str, str] | None = None,
) -> TopicPlan:
    """``current`` are the topic's own values now; a wanted value equal to them is no change."""
    return TopicPlan(
        name=name,
        creates=False,
        partition_count=partition_count,
        replication_factor=replication_factor,
        added_partitions=partition_count - current_partition_count,
        configs={config: value for config, value in wanted.items() if current.get(config) != value},
        before=dict(current),
        inherited=dict(inherited or {}),
    )
