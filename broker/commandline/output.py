"""What a command says: one value, shown as JSON or as tables, so that the two never disagree.

Owns: the streams. Results go to standard output, everything about the way there (notes, progress) to standard error,
so that a pipe carries results only. Colours and progress bars appear on terminals only.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TextIO

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn
from rich.table import Table
from rich.text import Text

WIDTH_PIPED = 200
"""Columns of a table that nobody looks at: wide enough that nothing is cut."""
NOTHING = "-"


def plain(value: Any) -> str:
    """A cell: numbers with separators, lists with commas, nothing as a dash."""
    if value is None or value == "":
        return NOTHING
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, list | tuple):
        return ", ".join(str(item) for item in value) or NOTHING
    return str(value)


def printable(text: str) -> str:
    """Control characters escaped: a client chooses its id and its records, and the terminal would obey them."""
    if text.isprintable():
        return text
    return "".join(one if one.isprintable() else one.encode("unicode_escape").decode() for one in text)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    title: str
    field: str
    """Key in the row."""
    right: bool = False
    show: Callable[[Any], str] = plain


def column(title: str, field: str, *, right: bool = False, show: Callable[[Any], str] = plain) -> Column:
    return Column(title=title, field=field, right=right, show=show)


class Output:
    def __init__(self, stdout: TextIO, stderr: TextIO, *, as_json: bool, no_colour: bool = False) -> None:
        self.as_json = as_json
        self._stdout = stdout
        self._stderr = stderr
        self._no_colour = no_colour
        for stream in (stdout, stderr):
            reconfigure = getattr(stream, "reconfigure", None)
            if reconfigure is not None:
                # A terminal that does not speak Unicode is shown escapes instead of failing the command.
                reconfigure(errors="backslashreplace")

    # Results ---------------------------------------------------------------------------------------

    def json(self, value: Any) -> None:
        """One value on one line."""
        self._stdout.write(json.dumps(value, ensure_ascii=False) + "\n")

    def line(self, text: str) -> None:
        self._stdout.write(printable(text) + "\n")

    def raw(self, data: bytes) -> None:
        """Bytes as they are; where the stream takes only text, what is no UTF-8 appears escaped."""
        binary = getattr(self._stdout, "buffer", None)
        if binary is None:
            self._stdout.write(data.decode("utf-8", "backslashreplace"))
        else:
            binary.write(data)

    def flush(self) -> None:
        self._stdout.flush()

    def table(
        self,
        rows: Iterable[Mapping[str, Any]],
        columns: Sequence[Column],
        *,
        title: str | None = None,
        empty: str = "Nothing to show.",
    ) -> None:
        table = Table(title=None if title is None else Text(printable(title)), title_justify="left")
        for wanted in columns:
            table.add_column(wanted.title, justify="right" if wanted.right else "left", overflow="fold")
        for row in rows:
            table.add_row(*(Text(printable(wanted.show(row.get(wanted.field)))) for wanted in columns))
        if table.row_count == 0:
            self.line(empty)
            return
        on_terminal = self._stdout.isatty()
        text = io.StringIO()
        console = Console(
            file=text,
            force_terminal=on_terminal,
            no_color=self._no_colour,
            width=None if on_terminal else WIDTH_PIPED,
        )
        console.print(table)
        self._stdout.write(text.getvalue())

    # The way there ---------------------------------------------------------------------------------

    def note(self, text: str) -> None:
        self._stderr.write(printable(text) + "\n")

    def progress(self, unit: str = "records") -> Progress:
        """A bar on standard error if that is a terminal; otherwise the same object draws nothing."""
        return Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn() if unit == "records" else TaskProgressColumn(),
            TextColumn(unit if unit == "records" else ""),
            TimeRemainingColumn(),
            console=Console(file=self._stderr, no_color=self._no_colour),
            disable=not self._stderr.isatty(),
            transient=True,
        )
