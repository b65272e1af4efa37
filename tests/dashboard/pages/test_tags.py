"""Template tags: unknown is a dash with a reason, nothing from outside is markup."""

from __future__ import annotations

from dashboard.live.state import GroupRow
from dashboard.templatetags import ottla as tags
from tests.dashboard.samples import START_MS

EVIL = "<b>&\"'"


def test_an_unknown_number_is_a_dash_with_its_reason() -> None:
    for value in (None, ""):
        markup = tags.num(value, "count", "the broker has not told")
        assert "—" in markup
        assert 'title="Unknown: the broker has not told"' in markup


def test_a_number_carries_its_exact_value_and_its_source() -> None:
    markup = tags.num(12_345, "count", source=2)
    assert ">12.3 k<" in markup
    assert 'title="12,345"' in markup
    assert 'data-source="2"' in markup


def test_an_offset_below_zero_is_unknown() -> None:
    assert "—" in tags.offset(-1)
    assert ">1,234,567<" in tags.offset(1_234_567)


def test_a_level_has_an_icon_and_a_word_as_well_as_a_colour() -> None:
    markup = tags.level("bad", "offline", "no leader")
    assert "ot-level--bad" in markup
    assert ">error<" in markup
    assert ">offline<" in markup


def test_seconds_of_lag_are_zero_when_caught_up_and_unknown_when_nobody_knows() -> None:
    caught_up = GroupRow(group_id="g", lag=0, time_lag_known=True)
    assert ">0 s<" in tags.behind({}, caught_up)
    assert "—" in tags.behind({}, GroupRow(group_id="g", lag=None))
    assert "—" in tags.behind({}, GroupRow(group_id="g", lag=5, time_lag_known=False))
    known = GroupRow(group_id="g", lag=5, time_lag_known=True, behind_since_ms=START_MS)
    assert f'data-behind="{START_MS}"' in tags.behind({}, known)


def test_a_replica_out_of_sync_is_named() -> None:
    markup = tags.broker_list([1], [1, 2])
    assert "broker 2 is not in sync" in markup


def test_the_same_broker_has_the_same_colour_everywhere() -> None:
    assert "ot-broker--1" in tags.broker(1)
    assert "ot-broker--1" in tags.broker(9)
    assert "ot-broker--2" in tags.broker(2, "leader")


def test_nothing_from_outside_becomes_markup() -> None:
    for markup in (
        tags.level("good", EVIL, EVIL),
        tags.unknown(EVIL),
        tags.code_marks(f"a `{EVIL}` b"),
        tags.ago(-1, EVIL),
    ):
        assert "<b>" not in markup


def test_long_names_break_behind_their_dots_and_stay_text() -> None:
    assert tags.dotted("log.<b>.ms") == "log.<wbr>&lt;b&gt;.<wbr>ms"
    assert tags.dotted("plain") == "plain"


def test_backticks_mark_code() -> None:
    assert tags.code_marks("set `delete` here") == "set <code>delete</code> here"
