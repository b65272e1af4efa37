"""What a command shows: tables and JSON of one value, harmless on a terminal."""

from __future__ import annotations

import io
import json

import pytest

from broker.commandline.output import Output, column, plain, printable

COLUMNS = (column("Name", "name"), column("Count", "count", right=True))


def shown(rows: list[dict[str, object]], **options: str) -> str:
    stdout = io.StringIO()
    Output(stdout, io.StringIO(), as_json=False).table(rows, COLUMNS, **options)  # type: ignore[arg-type]
    return stdout.getvalue()


@pytest.mark.parametrize(
    ("value", "text"),
    [(None, "-"), ("", "-"), (1234567, "1,234,567"), (True, "yes"), (False, "no"), ([1, 2], "1, 2"), ([], "-")],
)
def test_a_cell(value: object, text: str) -> None:
    assert plain(value) == text


def test_what_a_client_chose_does_not_move_the_cursor_or_the_colours() -> None:
    text = shown([{"name": "\x1b[31mred[/]\n[bold]", "count": 1}], title="[link]\x07")
    assert "\\x1b[31mred[/]\\n[bold]" in text
    assert "[link]\\x07" in text
    assert printable("naïve ✓") == "naïve ✓"


def test_nothing_to_show_says_so() -> None:
    assert shown([], empty="No groups.") == "No groups.\n"


def test_long_values_are_folded_and_not_cut() -> None:
    assert shown([{"name": "x" * 500, "count": 1}]).count("x") == 500


def test_json_is_one_line() -> None:
    stdout = io.StringIO()
    Output(stdout, io.StringIO(), as_json=True).json({"a": "é\n"})
    assert stdout.getvalue().count("\n") == 1
    assert json.loads(stdout.getvalue()) == {"a": "é\n"}


def test_a_stream_without_unicode_gets_escapes() -> None:
    stdout = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    output = Output(stdout, io.StringIO(), as_json=False)
    output.line("é")
    output.flush()
    output.raw(b"\xff")
    output.flush()
    assert stdout.buffer.getvalue() == b"\\xe9\n\xff"  # type: ignore[attr-defined]
