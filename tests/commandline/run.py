"""Run a command as ``manage.py`` does, in this process: what it wrote, or how it failed."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command


class Cli:
    """``cli("topics", "list")`` returns what was written; every command is about one broker."""

    def __init__(self, bootstrap: str | None = None) -> None:
        self._bootstrap = bootstrap
        self.notes = ""
        """Standard error of the last command."""

    def __call__(self, command: str, *arguments: object, **options: Any) -> str:
        output, notes = io.StringIO(), io.StringIO()
        where = [] if self._bootstrap is None else ["--bootstrap", self._bootstrap]
        try:
            call_command(command, *where, *map(str, arguments), stdout=output, stderr=notes, **options)
        finally:
            self.notes = notes.getvalue()
            self.output = output.getvalue()
        return self.output

    def json(self, command: str, *arguments: object, **options: Any) -> Any:
        return json.loads(self(command, "--json", *arguments, **options))

    def lines(self, command: str, *arguments: object, **options: Any) -> list[Any]:
        """Of a command that writes one JSON value a line."""
        return [json.loads(line) for line in self(command, "--json", *arguments, **options).splitlines()]

    def failure(self, command: str, *arguments: object, **options: Any) -> CommandError:
        with pytest.raises(CommandError) as caught:
            self(command, *arguments, **options)
        return caught.value
