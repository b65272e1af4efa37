"""``manage.py configs``: configs of topics, of brokers, and of all brokers at once."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class Resource:
    kind: str
    """``topic`` or ``broker``."""
    name: str
    """Of a broker its number; empty for what is set for all brokers at once."""

    def __str__(self) -> str:
        if self.kind == "topic":
            return f"topic {self.name}"
        return f"broker {self.name}" if self.name else "all brokers"

    @property
    def broker_id(self) -> int | None:
        return int(self.name) if self.name else None


def resources(topics: Sequence[str], brokers: Sequence[int], all_brokers: bool) -> list[Resource]:
    """What the command line is about; at least one. Raises ``WrongUse``."""
    found = [Resource(kind="topic", name=name) for name in dict.fromkeys(topics)]
    found += [Resource(kind="broker", name=str(broker_id)) for broker_id in dict.fromkeys(brokers)]
    if all_brokers:
        found.append(Resource(kind="broker", name=""))
    if not found:
        raise WrongUse("say whose configs: --topic NAME, --broker ID or --all-brokers")
    return found


def describe(client: Client, resource: Resource, *, with_defaults: bool, with_help: bool = False) -> Row:
    """The resource's configs by name; without ``with_defaults`` only those somebody has set."""
    if resource.kind == "topic":
        entries = client.describe_topic_configs(resource.name)
    else:
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
        if resource.kind == "topic":
            client.alter_topic_configs(resource.name, changes, validate_only)
        else:
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
    if resource.kind == "topic":
        return entry.source == "DYNAMIC_TOPIC_CONFIG"
    return not entry.is_default


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
