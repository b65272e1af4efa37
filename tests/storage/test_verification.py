"""What a marker does to permissions that are being asked for."""

from __future__ import annotations

import pytest

from broker.storage.verification import Verifications


@pytest.mark.parametrize(
    ("epoch", "version_2", "marker_epoch", "stays"),
    [(3, False, 3, False), (3, True, 4, False), (4, True, 4, True), (4, False, 5, False)],
    ids=["classic: its own end", "version 2: its own end", "version 2: the last one's end", "classic: a fence"],
)
def test_a_marker_ends_the_permission_of_its_transaction_and_not_of_the_next(
    epoch: int, version_2: bool, marker_epoch: int, stays: bool
) -> None:
    verifications = Verifications()
    asked = verifications.begin(7, epoch, 0, 1, starts_at_zero=version_2)
    verifications.end_by_marker(7, marker_epoch)
    assert (verifications.get(7) is asked) == stays


def test_a_marker_of_a_producer_that_asks_nothing_does_no_harm() -> None:
    verifications = Verifications()
    verifications.end_by_marker(7, 0)
    assert len(verifications) == 0
