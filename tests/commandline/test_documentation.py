"""What the documentation and the help texts tell people to type is understood."""

from __future__ import annotations

import re
import shlex

import pytest
from django.core.management import load_command_class

from broker.management.kafka_command import EXIT_STATUS_HELP, KafkaCommand
from broker.supervisor.roles import PROJECT_ROOT

DOCUMENT = (PROJECT_ROOT / "docs" / "commandline.md").read_text(encoding="utf-8")
COMMANDS: dict[str, KafkaCommand] = {
    path.stem: command
    for path in sorted((PROJECT_ROOT / "broker" / "management" / "commands").glob("[a-z]*.py"))
    if isinstance(command := load_command_class("broker", path.stem), KafkaCommand)
}


def lines_of(text: str) -> list[str]:
    """Every ``manage.py`` command in it, also behind pipes."""
    found = []
    for line in text.splitlines():
        if "manage.py " not in line:
            continue
        words = shlex.split(line, comments=True)
        parts = " ".join(shlex.quote(word) if word not in "|<>" else word for word in words)
        found += [part for part in re.split(r" [|<>] ", parts) if "manage.py " in part]
    return found


def help_of(command: KafkaCommand, action: str | None = None) -> str:
    parser = command.create_parser("manage.py", "command")
    if action is None:
        return parser.format_help()
    (choices,) = [one.choices for one in parser._actions if hasattr(one, "choices") and isinstance(one.choices, dict)]
    return str(choices[action].format_help())


def actions_of(command: KafkaCommand) -> list[str]:
    parser = command.create_parser("manage.py", "command")
    return [name for one in parser._actions if isinstance(one.choices, dict) for name in one.choices]


HELPS = {name: help_of(command) for name, command in COMMANDS.items()} | {
    f"{name} {action}": help_of(command, action) for name, command in COMMANDS.items() for action in actions_of(command)
}
LINES = sorted(
    {
        *lines_of("\n".join(re.findall(r"```sh\n(.*?)```", DOCUMENT, re.DOTALL))),
        *(line for text in HELPS.values() for line in lines_of(text.partition("examples:\n")[2])),
    }
)


@pytest.mark.parametrize("line", LINES)
def test_an_example_is_understood(line: str) -> None:
    words = shlex.split(line)
    name, *arguments = words[words.index("manage.py") + 1 :]
    COMMANDS[name].create_parser("manage.py", name).parse_args(arguments)


def test_there_are_examples_for_every_command() -> None:
    assert {line.split("manage.py ")[1].split()[0] for line in LINES} == set(COMMANDS)
    assert len(COMMANDS) >= 9


@pytest.mark.parametrize("text", HELPS.values(), ids=HELPS)
def test_every_help_says_what_the_exit_status_means_and_offers_json(text: str) -> None:
    assert EXIT_STATUS_HELP in text
    assert "--json" in text


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_is_in_the_document(name: str) -> None:
    assert f"`{name}`" in DOCUMENT
