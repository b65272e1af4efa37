"""``manage.py configs``: configs of topics, brokers, all brokers at once, groups and client-metrics subscriptions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from broker.client.blocking import Client
from broker.client.results import ConfigEntry
from broker.commandline.outcome import WrongUse
from broker.commandline.output import column
from broker.errors import KafkaError

Row = dict[str, Any]

COLUMNS = (
    column("Config", "name"),
    column("Value", "value"),
    column("From", "source"),
    column("Type", "type"),
    column("Read only", "read_only"),
)
HIDDEN = "(hidden)"
_OWN_SOURCES = {
    "topic": "DYNAMIC_TOPIC_CONFIG",
    "group": "DYNAMIC_GROUP_CONFIG",
    "client-metrics": "DYNAMIC_CLIENT_METRICS_CONFIG",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    kind: str
    """``topic``, ``broker``, ``group`` or ``client-metrics``."""
    name: str
    """Of a broker its number; empty for what is set for all brokers at once."""

    def __str__(self) -> str:
        return "all brokers" if self.kind == "broker" and not self.name else f"{self.kind} {self.name}"

    @property
    def broker_id(self) -> int | None:
        return int(self.name) if self.name else None


def resources(names: Mapping[str, Sequence[str]], all_brokers: bool) -> list[Resource]:
    """What the command line is about, from names by kind; at least one. Raises ``WrongUse``."""
    found = [Resource(kind=kind, name=name) for kind, given in names.items() for name in dict.fromkeys(given)]
    if all_brokers:
        found.append(Resource(kind="broker", name=""))
    if not found:
        raise WrongUse(
            "say whose configs: --topic NAME, --broker ID, --all-brokers, --group ID or --client-metrics NAME"
        )
    return found


def describe(client: Client, resource: Resource, *, with_defaults: bool, with_help: bool = False) -> Row:
    """The resource's configs by name; without ``with_defaults`` only those somebody has set."""
    match resource.kind:
        case "topic":
            entries = client.describe_topic_configs(resource.name)
        case "group":
            entries = client.describe_group_configs(resource.name)
        case "client-metrics":
            entries = client.describe_client_metrics(resource.name)
        case _:
            entries = client.describe_broker_configs(resource.broker_id)
    return {
        "kind": resource.kind,
        "name": resource.name,
        "configs": [_entry(entry, with_help) for entry in entries if with_defaults or _is_own(resource, entry)],
    }


def alter(client: Client, resource: Resource, changes: Mapping[str, str | None], *, validate_only: bool) -> Row:
    """All changes of the resource or none."""
    row: Row = {"kind": resource.kind, "name": resource.name, "error": None}
    row["outcome"] = "valid" if validate_only else "altered"
    try:
        match resource.kind:
            case "topic":
                client.alter_topic_configs(resource.name, changes, validate_only)
            case "group":
                client.alter_group_configs(resource.name, changes, validate_only)
            case "client-metrics":
                client.alter_client_metrics(resource.name, changes, validate_only)
            case _:
                client.alter_broker_configs(resource.broker_id, changes, validate_only)
    except KafkaError as error:
        row |= {"outcome": "refused", "error": f"{error.code.name}: {error.message}"}
    return row


def changes(added: Mapping[str, str], deleted: Sequence[str]) -> dict[str, str | None]:
    """Raises ``WrongUse`` when there is nothing to change, or one config is to be set and deleted."""
    both = sorted(set(added) & set(deleted))
    if both:
        raise WrongUse(f"both to be set and deleted: {', '.join(both)}")
    if not added and not deleted:
        raise WrongUse("nothing to change: give --add-config NAME=VALUE or --delete-config NAME")
    return {**added, **dict.fromkeys(deleted)}


def _is_own(resource: Resource, entry: ConfigEntry) -> bool:
    """Set for this resource, not inherited. A broker's own are also those of its environment."""
    own_source = _OWN_SOURCES.get(resource.kind)
    return not entry.is_default if own_source is None else entry.source == own_source


def _entry(entry: ConfigEntry, with_help: bool) -> Row:
    row: Row = {
        "name": entry.name,
        "value": HIDDEN if entry.sensitive else entry.value,
        "source": entry.source,
        "is_default": entry.is_default,
        "type": entry.type,
        "read_only": entry.read_only,
        "sensitive": entry.sensitive,
        "synonyms": [
            {"name": synonym.name, "value": HIDDEN if entry.sensitive else synonym.value, "source": synonym.source}
            for synonym in entry.synonyms
        ],
    }
    if with_help:
        row["documentation"] = entry.documentation
    return row
