"""The broker configs that the group coordinator obeys, as one value.

Owns: nothing but the shape; ``groups/driver.py`` fills it from ``BrokerConfig``.
"""

from __future__ import annotations

from dataclasses import dataclass

from broker.limits import MIB


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupConfig:
    session_timeout_min_ms: int = 6_000
    session_timeout_max_ms: int = 1_800_000
    initial_rebalance_delay_ms: int = 3_000
    size_max: int = 2**31 - 1
    offset_metadata_length_max: int = 4_096
    offsets_retention_ms: int = 7 * 24 * 3_600_000
    record_bytes_max: int = MIB - 4_096
    """A group whose metadata does not fit into one batch of ``__consumer_offsets`` cannot become stable."""
    new_member_join_timeout_ms: int = 300_000
    """How long a member that never had an id may wait in its first JoinGroup (Kafka's constant)."""
