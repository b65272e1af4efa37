"""The limit on what a run's moves copy a second: Kafka's own configs, set before the first and taken away after the last move.

Setting and taking away may be done again and again.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from broker.client.blocking import Client
from broker.errors import ErrorCode, KafkaError

RATES = ("leader.replication.throttled.rate", "follower.replication.throttled.rate")
LEADING, FOLLOWING = "leader.replication.throttled.replicas", "follower.replication.throttled.replicas"


def hold(client: Client, rows: Sequence[Sequence[Any]], bytes_a_second: int) -> None:
    """``rows``: topic, partition, replicas before, replicas after."""
    for broker in _live_brokers(client, rows):
        client.alter_broker_configs(broker, dict.fromkeys(RATES, str(bytes_a_second)))
    for topic in sorted({row[0] for row in rows}):
        of_topic = [row for row in rows if row[0] == topic]
        leading = [f"{number}:{one}" for _, number, before, _ in of_topic for one in before]
        following = [f"{number}:{one}" for _, number, before, after in of_topic for one in after if one not in before]
        if following:
            _alter_topic(client, topic, {LEADING: ",".join(leading), FOLLOWING: ",".join(following)})


def lift(client: Client, rows: Sequence[Sequence[Any]]) -> None:
    for broker in _live_brokers(client, rows):
        client.alter_broker_configs(broker, dict.fromkeys(RATES))
    for topic in sorted({row[0] for row in rows}):
        _alter_topic(client, topic, {LEADING: None, FOLLOWING: None})


def _alter_topic(client: Client, topic: str, changes: dict[str, Any]) -> None:
    try:
        client.alter_topic_configs(topic, changes)
    except KafkaError as error:
        if error.code is not ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:  # deleted meanwhile: nothing of it is copied
            raise


def _live_brokers(client: Client, rows: Sequence[Sequence[Any]]) -> list[int]:
    part_of = {one for _, _, before, after in rows for one in (*before, *after)}
    return [broker.id for broker in client.describe_cluster().brokers if broker.id in part_of]
