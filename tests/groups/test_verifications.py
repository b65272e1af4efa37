"""What a marker does to offset commits whose transaction is being verified."""

from __future__ import annotations

import pytest

from broker.groups.verifications import Verifications


@pytest.mark.parametrize(
    ("epoch", "marker_epoch", "version", "open_still"),
    [(3, 3, 0, False), (3, 4, 2, False), (4, 4, 2, True), (3, 4, 0, False)],
    ids=["classic: its own end", "version 2: its own end", "version 2: the last one's end", "classic: a fence"],
)
def test_a_marker_voids_the_asking_of_its_transaction_and_not_of_the_next(
    epoch: int, marker_epoch: int, version: int, open_still: bool
) -> None:
    verifications = Verifications()
    token = verifications.begin(7, epoch)
    verifications.void(7, marker_epoch, version)
    assert verifications.end(7, token) == open_still


def test_a_token_is_good_once() -> None:
    verifications = Verifications()
    token = verifications.begin(7, 0)
    other = verifications.begin(7, 0)
    assert verifications.end(7, token)
    assert not verifications.end(7, token)
    assert verifications.end(7, other)
