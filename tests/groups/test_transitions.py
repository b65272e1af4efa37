from __future__ import annotations

import logging

import pytest

from broker.groups.transitions import Transitions, printable
from tests.groups.stage import GROUP, Stage


def test_one_line_per_transition_and_none_in_between(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage, transitions = Stage(), Transitions()

    def note() -> None:
        transitions.note(GROUP, stage.shard.groups.get(GROUP))

    member_id, ticket = stage.enter(reason="deploy")
    note()
    stage.settle()
    note()
    joined = stage.answer(ticket)
    stage.sync(joined, {})
    note()
    stage.heartbeat(member_id, 1)
    note()
    stage.leave(member_id)
    note()
    stage.delete_group()
    note()
    assert [record.message for record in caplog.records] == [
        f"group {GROUP}: rebalancing, because member {member_id} joined (deploy)",
        f"group {GROUP}: stable, generation 1, 1 members",
        f"group {GROUP}: empty, generation 2",
        f"group {GROUP}: gone",
    ]


def test_a_clients_text_cannot_forge_a_line() -> None:
    assert printable("orders ✓") == "orders ✓"
    assert printable("orders\nERROR all is lost") == "'orders\\nERROR all is lost'"
    assert len(printable("x" * 5_000)) == 300


def test_a_group_that_was_loaded_says_where_it_stands_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    stage, transitions = Stage(), Transitions()
    stage.form()
    transitions.note(GROUP, stage.group)
    transitions.forget(GROUP)
    stage.reload()
    transitions.note(GROUP, stage.group)
    assert [record.message for record in caplog.records] == [f"group {GROUP}: stable, generation 1, 1 members"] * 2
