"""The controller's short codes and the states of brokers and partitions as sentences. Pure.

A code this version does not know is shown with its underscores as blanks: better than nothing, and never hidden.
"""

from __future__ import annotations

from dashboard.live.replication_rows import EventRow, LinkRow, PartitionRow, ReplicaRow
from dashboard.live.state import BrokerRow
from dashboard.pages.format import count

CAUSE_WORDS = {
    "created": "the topic was created",
    "leader_failed": "the leader failed",
    "leader_restarted": "the leader was restarted",
    "leader_elected": "a replica that has everything came back",
    "broker_failed": "a follower failed",
    "broker_restarted": "a follower was restarted",
    "isr_shrunk": "a follower fell behind",
    "isr_grown": "a follower caught up",
    "preferred": "the preferred leader took over",
    "controlled_shutdown": "the broker was being stopped",
    "drained": "the broker is being drained",
    "reassigning": "a move was begun",
    "reassigned": "a move was completed",
    "reassignment_cancelled": "a move was cancelled",
    "replica_lost": "a replica lost its log",
    "config_changed": "min.insync.replicas was changed",
    "last_known_leader": "the last leader came back, though its latest records may be missing",
    "unclean": "an unclean election was asked for: acknowledged records may be missing",
    "first": "there was none before",
    "session_lost": "the one before lost its session",
    "restarted": "it was restarted",
    "failed": "the one before failed",
}
BROKER_STATE_WORDS = {
    "stopping": "being stopped",
    "draining": "being drained",
    "decommissioned": "decommissioned",
}
SKEW_WARN_PERCENT = 25.0
"""From here on a broker's share of leaders or replicas is worth a look."""
STORE_WORDS = {"sqlite": "the embedded store (SQLite)", "zookeeper": "ZooKeeper"}


def cause_words(code: str) -> str:
    """``because …``; empty when nobody told."""
    return CAUSE_WORDS.get(code, code.replace("_", " "))


def store_words(code: str) -> str:
    return STORE_WORDS.get(code, code)


def broker_condition(broker: BrokerRow) -> str:
    """The worst thing to say about a broker, in few words."""
    if broker.state == "decommissioned":
        return "decommissioned"
    if not broker.online:
        return "left the cluster" if broker.live is False else "not answering"
    if broker.offline_log_dir_reason:
        return "disk offline"
    if broker.produce_refused_reason:
        return "refuses writes"
    if broker.state:
        return BROKER_STATE_WORDS.get(broker.state, broker.state)
    if broker.live is False:
        return "outside the cluster"
    if not broker.data_intact:
        return "catching up"
    return "no metadata store" if broker.store_trouble else "up"


def broker_reason(broker: BrokerRow) -> str:
    """The sentence behind it."""
    if not broker.online:
        left = (
            "Its registration ended and the others do without it until it starts again. "
            if broker.live is False
            else ""
        )
        return f"{left}{broker.trouble}"
    reason = broker.offline_log_dir_reason or broker.produce_refused_reason
    if reason:
        return reason
    if broker.state == "draining":
        return "Its leaders and replicas are being moved to other brokers."
    if broker.state == "stopping":
        return "It hands its leaders over before it stops."
    if broker.live is False:
        return "Its session ran out; it registers again by itself."
    if not broker.data_intact:
        return "It was not stopped cleanly and copies from the leaders before it may lead."
    return broker.store_trouble


def partition_reason(row: PartitionRow) -> str:
    """Why it is worth a look, in a sentence that names brokers."""
    if row.offline:
        return row.offline_reason or "No broker leads it."
    said = []
    if row.under_min_isr:
        said.append(f"{_in_sync(row)}, but min.insync.replicas is {row.min_isr}: writes with acks=all are refused.")
    elif row.under_replicated:
        behind = _missing(row)
        limit = " One more loss stops writes with acks=all." if row.at_min_isr else ""
        said.append(f"{behind}{limit}")
    if row.reassigning:
        said.append(_move(row))
    if row.had_unclean_election:
        said.append(
            f"Epoch {row.unclean_epoch} began with a leader that was not known to have everything: acknowledged records "
            "may be missing."
        )
    if not said and row.led_elsewhere:
        said.append(led_elsewhere(row))
    return " ".join(said)


def _in_sync(row: PartitionRow) -> str:
    return f"Only {brokers_words(row.isr)} {'is' if len(row.isr) == 1 else 'are'} in sync"


def _missing(row: PartitionRow) -> str:
    lags = {one.broker: one.lag for one in row.followers}
    named = []
    for broker in row.missing:
        lag = lags.get(broker)
        named.append(f"{broker} ({count(lag)} records behind)" if lag else str(broker))
    noun, verb = ("Broker", "is") if len(named) == 1 else ("Brokers", "are")
    return f"{noun} {_listed(named)} {verb} not in sync."


def _move(row: PartitionRow) -> str:
    coming = [broker for broker in row.adding if broker not in row.isr]
    said = f"Moving from {_listed([str(b) for b in row.settled_replicas])} to {_listed([str(b) for b in row.target_replicas])}"
    lags = [one.lag for one in row.followers if one.broker in coming and one.lag is not None]
    if coming and lags:
        return f"{said}: {count(max(lags))} records to copy."
    return f"{said}: copying." if coming else f"{said}: copied, being completed."


def led_elsewhere(row: PartitionRow) -> str:
    ready = "could take over now" if row.preferred_leader in row.isr else "is not in sync yet"
    return f"Broker {row.leader} leads it; broker {row.preferred_leader} is meant to and {ready}."


def brokers_words(ids: list[int]) -> str:
    if not ids:
        return "no broker"
    return f"broker {ids[0]}" if len(ids) == 1 else f"brokers {_listed([str(one) for one in ids])}"


def _listed(words: list[str]) -> str:
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} and {words[-1]}" if words else "none"


def link_words(link: LinkRow) -> str:
    """A cell of the matrix, without its colour."""
    if link.out_of_sync:
        return f"{link.out_of_sync} of {link.partitions} out of sync"
    if link.joining:
        return f"{link.joining} of {link.partitions} being copied"
    return "in sync"


def link_level(link: LinkRow) -> str:
    if link.out_of_sync:
        return "bad" if link.out_of_sync == link.partitions else "warn"
    return "idle" if link.joining else "good"


def replica_role(row: ReplicaRow) -> str:
    if row.leads:
        return "leads"
    if row.leaving:
        return "leaving"
    return "being copied here" if row.joining else "follows"


EVENT_TITLES = {
    "leader": "Leader",
    "no leader": "No leader",
    "isr": "In-sync set",
    "replicas": "Replicas",
    "controller": "Controller",
    "broker": "Broker",
}


def event_title(event: EventRow) -> str:
    if event.kind == "isr":
        return "In sync again" if event.gained and not event.lost else "Out of sync"
    if event.kind == "broker":
        return "Broker joined" if event.after else "Broker left"
    return EVENT_TITLES[event.kind]


def event_level(event: EventRow) -> str:
    match event.kind:
        case "no leader":
            return "bad"
        case "isr" if event.lost:
            return "warn"
        case "broker" if not event.after:
            return "warn"
        case "isr" | "broker":
            return "good"
        case _:
            return "warn" if event.cause in ("unclean", "last_known_leader", "leader_failed", "failed") else "idle"
