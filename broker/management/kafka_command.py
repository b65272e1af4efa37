"""What the Kafka-like commands share: options, streams, and how failures become exit statuses.

A command defines ``arguments`` and ``run``; both are thin, the work is in ``broker.commandline``. Whatever a broker
answers or fails to answer ends here as one line on standard error and an exit status of ``commandline.outcome``.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError, CommandParser, DjangoHelpFormatter

from broker.client.addresses import parse_bootstrap
from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError
from broker.commandline.outcome import FAILED, CommandFailed, WrongUse
from broker.commandline.output import Output
from broker.errors import KafkaError

CLIENT_ID = "ottla-cli"
EXIT_STATUS_HELP = "exit status: 0 done, 1 failed or refused, 2 wrong use"
PIPE_CLOSED = 128 + signal.SIGPIPE
"""The status of a program that SIGPIPE ended, as shells report it."""


class _Formatter(DjangoHelpFormatter):
    """Keeps the line breaks of descriptions and epilogs: they hold examples."""

    def _fill_text(self, text: str, width: int, indent: str) -> str:
        return "\n".join(indent + line for line in text.strip("\n").splitlines())


class KafkaCommand(BaseCommand):
    requires_system_checks = ()
    needs_broker = True
    examples = ""
    """Lines for the end of ``--help``."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        kwargs.setdefault("formatter_class", _Formatter)
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        parser.epilog = "\n\n".join(part for part in (self._examples(), EXIT_STATUS_HELP) if part)
        return parser

    def _examples(self) -> str:
        lines = self.examples.strip("\n").splitlines()
        return "\n".join(["examples:", *(f"  {line}" for line in lines)]) if lines else ""

    def add_arguments(self, parser: CommandParser) -> None:
        self.add_common(parser, default=True)
        self.arguments(parser)

    def add_common(self, parser: CommandParser, *, default: bool) -> None:
        """``default=False`` for the parser of an action, where an absent option must not undo one given before it."""
        if self.needs_broker:
            parser.add_argument(
                "--bootstrap",
                metavar="HOST:PORT",
                default=None if default else argparse.SUPPRESS,
                help="any brokers of the cluster, comma list (default: this installation's, "
                f"{','.join(settings.OTTLA_BOOTSTRAP)})",
            )
        parser.add_argument(
            "--json",
            action="store_true",
            default=False if default else argparse.SUPPRESS,
            help="one JSON value per result on standard output, for programs",
        )

    def actions(self, parser: CommandParser) -> Callable[..., CommandParser]:
        """Begin a list of actions; returns a function that adds one: ``add(name, help, examples)``."""
        choices = parser.add_subparsers(dest="action", required=True, metavar="ACTION", title="actions")

        def add(name: str, help: str, examples: str = "") -> CommandParser:
            action: CommandParser = choices.add_parser(
                name, help=help, description=help, formatter_class=_Formatter, epilog=_epilog(examples)
            )
            self.add_common(action, default=False)
            return action

        return add

    def arguments(self, parser: CommandParser) -> None:
        """Options of this command."""

    def run(self, output: Output, options: dict[str, Any]) -> None:
        """Do it. Raises what went wrong; see ``handle``."""

    def handle(self, *args: Any, **options: Any) -> None:
        output = Output(
            cast(TextIO, self.stdout._out),
            cast(TextIO, self.stderr._out),
            as_json=options["json"],
            no_colour=options.get("no_color", False),
        )
        try:
            self.run(output, options)
            output.flush()
        except CommandFailed as error:
            raise CommandError(str(error), returncode=error.exit_status) from error
        except KafkaError as error:
            raise CommandError(f"{error.code.name}: {error.message}", returncode=FAILED) from error
        except ClientConnectionError as error:
            raise CommandError(str(error), returncode=FAILED) from error
        except BrokenPipeError:
            # Whoever read the output has seen enough. Python would complain once more when it flushes at exit.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(PIPE_CLOSED) from None

    @contextmanager
    def client(self, options: dict[str, Any]) -> Iterator[Client]:
        with Client(bootstrap(options), client_id=CLIENT_ID) as client:
            yield client


def bootstrap(options: dict[str, Any]) -> str:
    """The brokers to speak to. Raises ``WrongUse``."""
    given: str = options["bootstrap"] or ",".join(settings.OTTLA_BOOTSTRAP)
    try:
        parse_bootstrap(given)
    except ValueError as error:
        raise WrongUse(f"--bootstrap: {error}") from error
    return given


def parsed(read: Callable[[Any], Any]) -> Callable[[Any], Any]:
    """An argparse ``type`` that says what is wrong in the words of ``read``'s ``ValueError``."""

    def convert(value: Any) -> Any:
        try:
            return read(value)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from error

    return convert


def fail_if(rows: list[dict[str, Any]], what: str) -> None:
    """Exit status 1 when a row carries an error: the rows have been shown, this names how many."""
    refused = [row for row in rows if row.get("error")]
    if refused:
        raise CommandFailed(f"{len(refused)} of {len(rows)} {what} refused: {refused[0]['error']}")


def _epilog(examples: str) -> str:
    lines = examples.strip("\n").splitlines()
    return "\n".join((["examples:", *(f"  {line}" for line in lines), ""] if lines else []) + [EXIT_STATUS_HELP])
