"""``manage.py groups``: consumer groups of any Kafka cluster, their lag, and where they go on."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from django.core.management.base import CommandParser

from broker.client.blocking import Client
from broker.client.offset_reset import (
    ResetRefused,
    ShiftBy,
    Strategy,
    ToCurrent,
    ToEarliest,
    ToLatest,
    ToListed,
    ToOffset,
    ToTime,
    plan_reset,
)
from broker.client.reset_facts import committed_offsets, gather
from broker.commandline import group_reset, groups
from broker.commandline.arguments import merge_topics, one_of, parse_topic_partitions
from broker.commandline.offset_file import format_offset_file, parse_offset_file
from broker.commandline.outcome import CommandFailed, WrongUse
from broker.commandline.output import Column, Output
from broker.commandline.times import parse_duration, parse_time
from broker.management.kafka_command import KafkaCommand, fail_if, parsed
from broker.types import TopicPartition


class Command(KafkaCommand):
    help = "List, describe and delete consumer groups; delete and reset their offsets."
    examples = """
manage.py groups list
manage.py groups describe billing
manage.py groups reset-offsets billing --topic orders --to-datetime 2026-03-01T12:00:00
manage.py groups reset-offsets billing --topic orders --to-datetime 2026-03-01T12:00:00 --execute
"""

    def arguments(self, parser: CommandParser) -> None:
        add = self.actions(parser)
        action = add("list", "Every group with its state.", "manage.py groups list --state empty")
        for option, words in (("state", groups.STATES), ("type", groups.TYPES)):
            action.add_argument(
                f"--{option}",
                action="append",
                default=[],
                type=parsed(one_of(words)),
                metavar=option.upper(),
                help=f"only groups of this {option} ({', '.join(words)}); may be repeated",
            )

        action = add(
            "describe",
            "Committed offsets and lag of each partition, members, state.",
            "manage.py groups describe billing\n"
            "manage.py groups describe --members billing\n"
            "manage.py groups describe --state          # one line for every group",
        )
        action.add_argument("groups", nargs="*", metavar="GROUP", help="default: all")
        view = action.add_mutually_exclusive_group()
        view.add_argument("--members", action="store_true", help="who is in the group and reads what")
        view.add_argument("--state", action="store_true", help="one line per group")

        action = add("delete", "Delete groups without members, with their committed offsets.")
        action.add_argument("groups", nargs="+", metavar="GROUP")

        action = add(
            "delete-offsets",
            "Forget what a group has committed for topics it does not read any more.",
            "manage.py groups delete-offsets billing --topic orders\n"
            "manage.py groups delete-offsets billing --topic orders:0,1",
        )
        action.add_argument("group", metavar="GROUP")
        self._add_topics(action, required=True)

        self._add_reset(
            add(
                "reset-offsets",
                "Choose where a group goes on. Shows the plan; only --execute commits it. Refused while the group has "
                "members, whose next commit would undo it.",
                "manage.py groups reset-offsets billing --topic orders --to-earliest\n"
                "manage.py groups reset-offsets billing --topic orders:0,1 --shift-by -100 --execute\n"
                "manage.py groups reset-offsets billing --all-topics --by-duration PT2H --execute\n"
                "manage.py groups reset-offsets billing --all-topics --to-current --export > offsets.csv\n"
                "manage.py groups reset-offsets billing --from-file offsets.csv --execute",
            )
        )

    @staticmethod
    def _add_topics(action: CommandParser, *, required: bool) -> None:
        action.add_argument(
            "--topic",
            action="append",
            default=None if required else [],
            required=required,
            type=parsed(parse_topic_partitions),
            metavar="TOPIC[:P,P]",
            help="a topic, or some of its partitions; may be repeated",
        )

    def _add_reset(self, action: CommandParser) -> None:
        action.add_argument("group", metavar="GROUP", help="one that does not exist comes into being")
        self._add_topics(action, required=False)
        action.add_argument(
            "--all-topics", action="store_true", help="every partition the group has committed offsets of"
        )
        strategy = action.add_argument_group("where to (exactly one)").add_mutually_exclusive_group(required=True)
        strategy.add_argument("--to-earliest", action="store_true", help="the start of each log: read everything again")
        strategy.add_argument("--to-latest", action="store_true", help="the end of each log: skip what is there")
        strategy.add_argument("--to-current", action="store_true", help="where the group is (for --export)")
        strategy.add_argument("--to-offset", type=int, metavar="N", help="this offset in every partition")
        strategy.add_argument("--shift-by", type=int, metavar="N", help="forward by N records, or with -N back")
        strategy.add_argument(
            "--to-datetime",
            type=parsed(parse_time),
            metavar="TIME",
            help="the first record not older than 2026-03-01T12:00:00[+01:00]; without a zone UTC",
        )
        strategy.add_argument(
            "--by-duration",
            type=parsed(parse_duration),
            metavar="DURATION",
            help="the first record not older than this long ago: PT30M, P1DT6H, P7D",
        )
        strategy.add_argument(
            "--from-file", type=Path, metavar="CSV", help="lines topic,partition,offset, as --export writes them"
        )
        deed = action.add_mutually_exclusive_group()
        deed.add_argument("--dry-run", action="store_true", help="show the plan and commit nothing (the default)")
        deed.add_argument("--execute", action="store_true", help="commit the plan")
        deed.add_argument("--export", action="store_true", help="write the plan as CSV and commit nothing")

    # Acting ----------------------------------------------------------------------------------------

    def run(self, output: Output, options: dict[str, Any]) -> None:
        act = getattr(self, "_" + options["action"].replace("-", "_"))
        with self.client(options) as client:
            act(client, output, options)

    def _list(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = groups.list_groups(client, states=options["state"], types=options["type"])
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, groups.LIST_COLUMNS, empty="There are no such groups.")

    def _describe(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = groups.describe_groups(client, options["groups"])
        if output.as_json:
            output.json(rows)
        elif options["state"]:
            output.table(rows, groups.STATE_COLUMNS, empty="There are no groups.")
        else:
            field = "members" if options["members"] else "offsets"
            for row in rows:
                columns: Sequence[Column] = groups.OFFSET_COLUMNS
                if options["members"]:
                    columns = groups.MODERN_MEMBER_COLUMNS if row["type"] == "consumer" else groups.MEMBER_COLUMNS
                title = (
                    f"{row['group']}  {row['state']}, {row['member_count']} member(s), coordinator {row['coordinator']}"
                )
                output.table(row[field], columns, title=title, empty=f"{title}: no {field}.")

    def _delete(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        rows = groups.delete_groups(client, options["groups"])
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, groups.DELETED_GROUP_COLUMNS)
        fail_if(rows, "group(s)")

    def _delete_offsets(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        committed = committed_offsets(client, options["group"])
        partitions = groups.partitions_of(client, merge_topics(options["topic"]), among=committed)
        if not partitions:
            raise CommandFailed(f"group {options['group']!r} has committed nothing there")
        rows = groups.delete_offsets(client, options["group"], partitions)
        if output.as_json:
            output.json(rows)
        else:
            output.table(rows, groups.DELETED_OFFSET_COLUMNS)
        fail_if(rows, "partition(s)")

    def _reset_offsets(self, client: Client, output: Output, options: dict[str, Any]) -> None:
        group_id = options["group"]
        strategy = _strategy(options)
        partitions = _partitions(client, options, strategy)
        if not options["export"]:
            group_reset.require_no_members(client, group_id)
        try:
            plan = plan_reset(strategy, gather(client, group_id, partitions, strategy))
        except ResetRefused as error:
            raise CommandFailed(str(error)) from error
        if options["export"]:
            output.raw(format_offset_file((one.topic_partition, one.new) for one in plan).encode())
            return
        refused = group_reset.execute(client, group_id, plan) if options["execute"] else {}
        rows = group_reset.rows(plan, refused)
        if output.as_json:
            output.json({"group": group_id, "executed": options["execute"], "offsets": rows})
        else:
            columns = group_reset.COLUMNS if refused else group_reset.COLUMNS[:-1]
            output.table(rows, columns, title=f"{group_id}: {'committed' if options['execute'] else 'plan'}")
            if not options["execute"]:
                output.note("Nothing was committed; --execute does.")
        fail_if(rows, "partition(s)")


def _strategy(options: dict[str, Any]) -> Strategy:
    if options["to_earliest"]:
        return ToEarliest()
    if options["to_latest"]:
        return ToLatest()
    if options["to_current"]:
        return ToCurrent()
    if options["to_offset"] is not None:
        return ToOffset(options["to_offset"])
    if options["shift_by"] is not None:
        return ShiftBy(options["shift_by"])
    if options["to_datetime"] is not None:
        return ToTime(options["to_datetime"])
    if options["by_duration"] is not None:
        return ToTime(max(0, time.time_ns() // 1_000_000 - options["by_duration"]))
    return ToListed(_read_file(options["from_file"], options["group"]))


def _read_file(path: Path, group_id: str) -> dict[TopicPartition, int]:
    try:
        return parse_offset_file(path.read_text(encoding="utf-8"), group_id)
    except (OSError, ValueError) as error:
        raise WrongUse(f"--from-file {path}: {error}") from error


def _partitions(client: Client, options: dict[str, Any], strategy: Strategy) -> list[TopicPartition]:
    """What the reset is about; at least one partition."""
    if isinstance(strategy, ToListed):
        if options["topic"] or options["all_topics"]:
            raise WrongUse("--from-file says which partitions; leave out --topic and --all-topics")
        found = list(strategy.offsets)
    elif options["all_topics"]:
        if options["topic"]:
            raise WrongUse("either --topic or --all-topics")
        found = list(committed_offsets(client, options["group"]))
    elif options["topic"]:
        found = groups.partitions_of(client, merge_topics(options["topic"]))
    else:
        raise WrongUse("say which topics: --topic NAME, --all-topics or --from-file CSV")
    if not found:
        raise CommandFailed(f"nothing to reset: group {options['group']!r} has no offsets there")
    return found
