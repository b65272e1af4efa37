"""A change of one config: what is typed, what was set here, and what acts afterwards."""

from __future__ import annotations

import pytest

from broker.client.results import ConfigEntry, ConfigSynonym
from dashboard.brokers.edit import Target
from dashboard.config_changes.change import Change, inherited_value, own_value, read_value, typed_value
from dashboard.group_changes.configs import GroupOwner

ONE, ALL = Target(broker_id=1), Target(broker_id=None)


def entry(name: str = "log.retention.ms", kind: str = "LONG", *, read_only: bool = False, **values: str) -> ConfigEntry:
    """``group=``, ``own=``, ``everywhere=``, ``static=``, ``default=``: the value at each level, the acting one first."""
    sources = {
        "group": "DYNAMIC_GROUP_CONFIG",
        "own": "DYNAMIC_BROKER_CONFIG",
        "everywhere": "DYNAMIC_DEFAULT_BROKER_CONFIG",
        "static": "STATIC_BROKER_CONFIG",
        "default": "DEFAULT_CONFIG",
    }
    synonyms = tuple(
        ConfigSynonym(name=name, value=values[level], source=source)
        for level, source in sources.items()
        if level in values
    )
    return ConfigEntry(
        name=name,
        value=synonyms[0].value if synonyms else None,
        source=synonyms[0].source if synonyms else "DEFAULT_CONFIG",
        is_default=bool(synonyms) and synonyms[0].source == "DEFAULT_CONFIG",
        type=kind,
        documentation="How long `records` are kept.",
        read_only=read_only,
        sensitive=False,
        synonyms=synonyms,
    )


def test_one_brokers_value_and_that_of_all_are_kept_apart() -> None:
    both = entry(own="1", everywhere="2", default="3")
    assert (own_value(both, ONE), own_value(both, ALL)) == ("1", "2")
    assert own_value(entry(default="3"), ONE) is None


def test_taking_a_value_away_lets_the_next_one_act() -> None:
    assert inherited_value(entry(own="1", everywhere="2", static="3", default="4"), ONE) == "2"
    assert inherited_value(entry(own="1", static="3", default="4"), ONE) == "3"
    assert inherited_value(entry(own="1", everywhere="2", default="4"), ALL) == "4"
    assert inherited_value(entry(everywhere="2"), ALL) is None


def test_a_group_inherits_from_one_broker_or_all() -> None:
    group = GroupOwner(group_id="billing")
    one = entry(group="1", own="2", everywhere="3", default="4")
    assert (own_value(one, group), inherited_value(one, group)) == ("1", "2")
    assert own_value(entry(own="2", default="4"), group) is None


def test_before_and_after_are_said_as_people_write_them() -> None:
    change = Change(entry=entry(default="604800000"), owner=ONE, value="86400000")
    assert (change.before, change.after, change.changes_nothing) == ("not set here", "1 d", False)
    back = Change(entry=entry(own="86400000", default="604800000"), owner=ONE, value=None)
    assert (back.before, back.after, back.inherited) == ("1 d", "not set here", "7 d")
    assert Change(entry=entry(own="1", default="2"), owner=ONE, value="1").changes_nothing


@pytest.mark.parametrize(
    ("name", "kind", "text", "value"),
    [
        ("log.retention.ms", "LONG", "7 d", "604800000"),
        ("log.segment.bytes", "INT", " 1 GiB ", "1073741824"),
        ("num.io.threads", "INT", "8", "8"),
        ("compression.type", "STRING", "zstd", "zstd"),
        ("log.retention.bytes", "LONG", "no limit", "-1"),
    ],
)
def test_units_are_understood(name: str, kind: str, text: str, value: str) -> None:
    one = entry(name, kind, default=value)
    assert read_value(one, text) == value
    assert read_value(one, typed_value(one, value)) == value, "what the field starts with means the same"


def test_what_is_no_amount_is_refused_in_words() -> None:
    with pytest.raises(ValueError, match="Write a time such as"):
        read_value(entry(), "soon")
