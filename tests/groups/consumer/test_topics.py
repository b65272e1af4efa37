"""The hash by which a group notices that its topics changed."""

from __future__ import annotations

import pytest

from broker.groups.consumer.topics import Topics
from tests.groups.consumer.stage import make_topics

NAMES = ["clicks", "orders", "none"]
BEFORE = make_topics(1, {"clicks": (2, 0), "orders": (3, 0), "other": (1, 0)})


@pytest.mark.parametrize(
    "after",
    [
        make_topics(1, {"clicks": (3, 0), "orders": (3, 0)}),
        make_topics(1, {"clicks": (2, 0)}),
        make_topics(1, {"clicks": (2, 0), "orders": (3, 0), "none": (1, 0)}),
        make_topics(1, {"clicks": (2, 1), "orders": (3, 0)}),
    ],
    ids=["grown", "deleted", "created", "made anew"],
)
def test_it_changes_with_its_topics(after: Topics) -> None:
    assert after.hash_of(NAMES) != BEFORE.hash_of(NAMES)


def test_it_does_not_mind_order_or_other_topics_and_fits_its_record() -> None:
    without = make_topics(9, {"orders": (3, 0), "clicks": (2, 0)})
    assert without.hash_of(reversed(NAMES)) == BEFORE.hash_of(NAMES)
    assert -(2**63) <= BEFORE.hash_of(NAMES) < 2**63
    assert BEFORE.hash_of(["none"]) == 0
