"""What groups see of the cluster: which deltas concern them, and whose configs hold."""

from __future__ import annotations

from dataclasses import replace

from broker.cluster.image import ImageDelta
from broker.config.broker import BrokerConfig
from broker.groups.consumer.settings import ConsumerSettings
from broker.groups.consumer.surroundings import Surroundings
from tests.groups.coordinator import MemoryCluster


def move(cluster: MemoryCluster, **changes: object) -> ImageDelta:
    old = cluster.image
    cluster.image = replace(old, revision=old.revision + 1, **changes)  # type: ignore[arg-type]
    return ImageDelta(old=old, new=cluster.image)


def watched(cluster: MemoryCluster) -> tuple[Surroundings, list[bool]]:
    surroundings = Surroundings(cluster)  # type: ignore[arg-type]
    followed: list[bool] = []
    cluster.subscribe(lambda delta: followed.append(surroundings.follow(delta)))
    return surroundings, followed


def test_topics_are_renewed_when_they_come_go_or_grow_and_for_nothing_else() -> None:
    cluster = MemoryCluster()
    surroundings, followed = watched(cluster)
    topic_id = cluster.create("clicks", 2)
    assert surroundings.topics.partition_count(topic_id) == 2
    created = surroundings.topics.version
    topic = cluster.image.topics_by_name["clicks"]
    led_elsewhere = replace(topic, partitions=(replace(topic.partitions[0], leader_epoch=5), topic.partitions[1]))
    before = surroundings.topics
    changed = move(cluster, topics_by_name={"clicks": led_elsewhere}, topics_by_id={topic_id: led_elsewhere})
    assert not surroundings.follow(changed)
    assert surroundings.topics is before
    grown = replace(topic, partitions=(*topic.partitions, topic.partitions[0]))
    assert surroundings.follow(move(cluster, topics_by_name={"clicks": grown}, topics_by_id={topic_id: grown}))
    assert surroundings.topics.partition_count(topic_id) == 3
    assert surroundings.topics.version == created, "patterns need not be looked at again"
    cluster.delete("clicks")
    assert surroundings.topics.topic_id("clicks") is None
    assert followed == [True, True]


def test_the_configs_of_the_broker_hold_unless_the_group_has_its_own() -> None:
    cluster = MemoryCluster()
    cluster.config = BrokerConfig(
        group_consumer_session_timeout_ms=50_000,
        group_consumer_heartbeat_interval_ms=6_000,
        group_consumer_assignment_interval_ms=7,
        group_consumer_max_size=8,
        group_consumer_assignors=("range",),
        group_consumer_regex_refresh_interval_ms=90_000,
        group_consumer_migration_policy="upgrade",
    )
    surroundings, _ = watched(cluster)
    assert surroundings.settings_of("g") == ConsumerSettings(
        session_timeout_ms=50_000,
        heartbeat_interval_ms=6_000,
        assignment_interval_ms=7,
        size_max=8,
        assignors=("range",),
        regex_refresh_interval_ms=90_000,
        may_upgrade=True,
        may_downgrade=False,
    )
    own = {"g": {"consumer.session.timeout.ms": "55000", "consumer.assignment.interval.ms": "0"}}
    surroundings.follow(move(cluster, group_configs=own))
    mine, others = surroundings.settings_of("g"), surroundings.settings_of("h")
    assert (mine.session_timeout_ms, mine.heartbeat_interval_ms, mine.assignment_interval_ms) == (55_000, 6_000, 0)
    assert (others.session_timeout_ms, others.assignment_interval_ms) == (50_000, 7)


def test_a_dynamic_broker_config_holds_from_then_on() -> None:
    cluster = MemoryCluster()
    surroundings, _ = watched(cluster)
    assert surroundings.settings_of("g").size_max == 2**31 - 1
    assert surroundings.serves_consumer_groups
    cluster.config = replace(cluster.config, group_consumer_max_size=3)
    surroundings.follow(move(cluster, broker_configs={"": {"group.consumer.max.size": "3"}}))
    assert surroundings.settings_of("g").size_max == 3


def test_every_policy_of_migration_says_which_way() -> None:
    ways = {}
    for policy in ("disabled", "upgrade", "downgrade", "bidirectional"):
        cluster = MemoryCluster()
        cluster.config = BrokerConfig(group_consumer_migration_policy=policy)
        settings = watched(cluster)[0].settings_of("g")
        ways[policy] = (settings.may_upgrade, settings.may_downgrade)
    assert ways == {
        "disabled": (False, False),
        "upgrade": (True, False),
        "downgrade": (False, True),
        "bidirectional": (True, True),
    }
