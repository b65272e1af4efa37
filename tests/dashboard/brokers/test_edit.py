"""Whose configs an address means."""

from __future__ import annotations

import pytest

from dashboard.brokers.edit import Target, read_target

ONE, ALL = Target(broker_id=1), Target(broker_id=None)


@pytest.mark.parametrize(("slug", "target"), [("all", ALL), ("1", ONE), ("x", None), ("-1", None), ("9" * 10, None)])
def test_addresses_name_a_broker_or_all_of_them(slug: str, target: Target | None) -> None:
    assert read_target(slug) == target
