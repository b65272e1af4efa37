"""What an operator reads in the broker's log about groups: that they meet, why, and how it ended.

Owns: the last state told of each group. One line per transition, none for heartbeats and commits.
"""

from __future__ import annotations

import logging

from broker.groups.classic_group import ClassicGroup, GroupState

LOGGED_LENGTH_MAX = 300

logger = logging.getLogger(__name__)


class Transitions:
    def __init__(self) -> None:
        self._told: dict[str, tuple[GroupState, int]] = {}

    def note(self, group_id: str, group: ClassicGroup | None) -> None:
        """``None``: the group is gone."""
        if group is None:
            if self._told.pop(group_id, None) is not None:
                logger.info("group %s: gone", printable(group_id))
            return
        now = (group.state, group.generation)
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

    def forget(self, group_id: str) -> None:
        """Coordinated elsewhere from now on, or loaded again: nothing happened to the group itself."""
        self._told.pop(group_id, None)


def printable(text: str) -> str:
    """A client's text as one line of the log, whatever it contains."""
    text = text[:LOGGED_LENGTH_MAX]
    return text if text.isprintable() else repr(text)
