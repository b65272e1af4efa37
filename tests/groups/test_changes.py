"""What telemetry has to look at: everything new, everything gone, and a bounded share of what merely changed."""

from __future__ import annotations

from broker.groups.changes import ChangedGroups


def told(changes: ChangedGroups, *exist: str) -> set[str]:
    taken = changes.take()
    for group_id in taken:
        changes.told(group_id, exists=group_id in exist)
    return taken


def test_what_came_went_or_changed_is_taken_once() -> None:
    changes = ChangedGroups()
    changes.touch("a", exists=True)
    changes.touch("b", exists=True)
    assert told(changes, "a", "b") == {"a", "b"}
    changes.touch("a", exists=True)
    changes.touch("b", exists=False)
    assert told(changes, "a") == {"a", "b"}
    assert told(changes) == set()


def test_a_group_that_came_and_went_unseen_leaves_no_trace() -> None:
    changes = ChangedGroups()
    changes.touch("a", exists=True)
    changes.touch("a", exists=False)
    assert told(changes) == set()


def test_a_group_that_went_and_came_back_is_taken() -> None:
    changes = ChangedGroups()
    changes.touch("a", exists=True)
    told(changes, "a")
    changes.touch("a", exists=True)
    changes.touch("a", exists=False)
    changes.touch("a", exists=True)
    assert told(changes, "a") == {"a"}
    assert told(changes) == set()


def test_of_many_changes_those_that_wait_longest_are_taken_and_the_others_next() -> None:
    changes = ChangedGroups(updates_max=2)
    everybody = ["a", "b", "c"]
    for group_id in everybody:
        changes.touch(group_id, exists=True)
    assert told(changes, *everybody) == set(everybody), "new groups are never held back"
    for group_id in ("c", "a", "b", "c"):
        changes.touch(group_id, exists=True)
    changes.touch("d", exists=True)
    assert told(changes, *everybody, "d") == {"c", "a", "d"}
    changes.touch("c", exists=True)
    assert told(changes, *everybody) == {"b", "c"}


def test_a_group_that_goes_while_its_change_waits_is_taken_at_once() -> None:
    changes = ChangedGroups(updates_max=0)
    changes.touch("a", exists=True)
    told(changes, "a")
    changes.touch("a", exists=True)
    assert told(changes) == set()
    changes.touch("a", exists=False)
    assert told(changes) == {"a"}
    assert told(changes) == set()
