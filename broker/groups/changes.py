"""Which groups changed since telemetry last looked: what lets it read only those.

Owns: a set of group ids. Bounded by the groups that exist and those telemetry was told of: a group that came and went
unseen leaves no trace.
"""

from __future__ import annotations


class ChangedGroups:
    def __init__(self) -> None:
        self._changed: set[str] = set()
        self._told: set[str] = set()
        """Groups the last ``take`` reported, or an earlier one, that are not known to be gone."""

    def touch(self, group_id: str, *, exists: bool) -> None:
        if exists or group_id in self._told:
            self._changed.add(group_id)
        else:
            self._changed.discard(group_id)

    def take(self) -> set[str]:
        """The ids that changed. Whoever takes must report which of them exist with ``told``."""
        changed, self._changed = self._changed, set()
        return changed

    def told(self, group_id: str, *, exists: bool) -> None:
        if exists:
            self._told.add(group_id)
        else:
            self._told.discard(group_id)
