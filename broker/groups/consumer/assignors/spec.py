"""What a server-side assignor is given and what it gives back.

Owns: the shapes, and the table of assignors by name. An assignor is a pure function over all members; ids of topics that
do not exist are never among what they subscribe to. Its answer names every member, and it returns a member's former
target itself where it keeps it, so that comparing is cheap.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from broker.groups.consumer.records import Partitions
from broker.types import TopicId


@dataclass(frozen=True, slots=True, kw_only=True)
class MemberSpec:
    member_id: str
    instance_id: str | None
    topics: frozenset[TopicId]
    """Subscribed to. Members with equal subscriptions may share one object."""
    target: Partitions
    """What it was to have until now."""


PartitionCount: TypeAlias = Callable[[TopicId], int]
Assignor: TypeAlias = Callable[[Sequence[MemberSpec], PartitionCount], Mapping[str, Partitions]]


def same_subscriptions(members: Sequence[MemberSpec]) -> bool:
    first = members[0].topics
    return all(member.topics is first or member.topics == first for member in members)
