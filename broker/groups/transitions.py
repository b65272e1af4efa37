"""What an operator reads in the broker's log about groups: that they meet, why, and how it ended.

Owns: the last state told of each group. One line per transition, none for heartbeats and commits.
"""

from __future__ import annotations

import logging

from broker.groups.classic_group import ClassicGroup, GroupState
from broker.groups.consumer.group import ConsumerGroup, ConsumerGroupState

LOGGED_LENGTH_MAX = 300

logger = logging.getLogger(__name__)


class Transitions:
    def __init__(self) -> None:
        self._told: dict[str, tuple[str, int]] = {}

    def note(self, group_id: str, group: ClassicGroup | ConsumerGroup | None) -> None:
        """``None``: the group is gone."""
        if group is None:
            if self._told.pop(group_id, None) is not None:
                logger.info("group %s: gone", printable(group_id))
            return
        if isinstance(group, ConsumerGroup):
            self._note_consumer(group)
            return
        now: tuple[str, int] = (group.state, group.generation)
        before = self._told.get(group_id)
        if before == now:
            return
        self._told[group_id] = now
        if group.is_simple:
            return
        name = printable(group_id)
        match group.state:
            case GroupState.PREPARING_REBALANCE:
                logger.info("group %s: rebalancing, because %s", name, printable(group.last_rebalance_reason))
            case GroupState.STABLE:
                logger.info("group %s: stable, generation %d, %d members", name, now[1], len(group.members))
            case GroupState.EMPTY if before is not None:
                logger.info("group %s: empty, generation %d", name, now[1])

    def _note_consumer(self, group: ConsumerGroup) -> None:
        now = (f"consumer, {group.state}", group.epoch)
        before = self._told.get(group.group_id)
        if before == now:
            return
        self._told[group.group_id] = now
        name = printable(group.group_id)
        if before is None or before[1] != group.epoch:
            why = printable(group.last_rebalance_reason) or "it was loaded"
            logger.info("group %s: epoch %d, because %s", name, group.epoch, why)
        if group.state is ConsumerGroupState.STABLE:
            logger.info("group %s: stable, epoch %d, %d members", name, group.epoch, len(group.members))
        elif group.state is ConsumerGroupState.EMPTY:
            logger.info("group %s: empty, epoch %d", name, group.epoch)

    def forget(self, group_id: str) -> None:
        """Coordinated elsewhere from now on, or loaded again: nothing happened to the group itself."""
        self._told.pop(group_id, None)


def printable(text: str) -> str:
    """A client's text as one line of the log, whatever it contains."""
    text = text[:LOGGED_LENGTH_MAX]
    return text if text.isprintable() else repr(text)
