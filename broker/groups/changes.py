"""Which groups changed since telemetry last looked: what lets it read only those.

Owns: the group ids that changed, in the order they did. Bounded by the groups that exist and those telemetry was told of: a
group that came and went unseen leaves no trace.

With thousands of groups that all commit and beat, looking at each of them every second would stop the broker's event loop
for a good part of that second. So a look takes at most ``updates_max`` groups that are known already, those that wait longest
first; the others follow in the next looks. Groups that came or went are always taken.
"""

from __future__ import annotations

from itertools import islice

from broker.limits import GROUP_UPDATES_PER_SAMPLE_MAX


class ChangedGroups:
    def __init__(self, updates_max: int = GROUP_UPDATES_PER_SAMPLE_MAX) -> None:
        self._updates_max = updates_max
        self._came_or_went: set[str] = set()
        self._updated: dict[str, None] = {}
        self._told: set[str] = set()
        """Groups that a ``take`` reported and that are not known to be gone."""

    def touch(self, group_id: str, *, exists: bool) -> None:
        known = group_id in self._told
        if exists and known:
            if group_id not in self._came_or_went:
                self._updated[group_id] = None
        elif exists or known:
            self._updated.pop(group_id, None)
            self._came_or_went.add(group_id)
        else:
            self._came_or_went.discard(group_id)

    def take(self) -> set[str]:
        """Ids that changed. Whoever takes must report which of them exist with ``told``."""
        taken, self._came_or_went = self._came_or_went, set()
        updated = list(islice(self._updated, self._updates_max))
        for group_id in updated:
            del self._updated[group_id]
        taken.update(updated)
        return taken

    def told(self, group_id: str, *, exists: bool) -> None:
        if exists:
            self._told.add(group_id)
        else:
            self._told.discard(group_id)
