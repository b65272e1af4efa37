from __future__ import annotations

from random import Random

import pytest

from broker.cluster import records
from broker.cluster.controller import decide_leadership
from broker.cluster.decision import NewPartitions
from broker.cluster.image import EMPTY_IMAGE, ClusterImage, ImageDelta, fold
from broker.cluster.topic_admin import decide_create_partitions, decide_delete_topics
from broker.config.broker import BrokerConfig
from broker.metadata.store import Commit, Entry
from broker.types import ZERO_TOPIC_ID, format_topic_id
from tests.cluster.builders import NOW_MS, cluster, committed, topic, with_topics


def entry(key: str, record: object, version: int = 1) -> Entry:
    return Entry(key=key, value=records.encode(record), version=version)  # type: ignore[arg-type]


def commit(*puts: Entry, deletes: tuple[str, ...] = (), revision: int = 1) -> Commit:
    return Commit(revision=revision, puts=puts, deletes=deletes)


def test_a_topic_is_found_by_name_and_by_id() -> None:
    image = with_topics(cluster(1), topic("a", 3, configs={"retention.ms": "5"}))
    found = image.topics_by_name["a"]
    assert image.topics_by_id[found.topic_id] is found
    assert found.configs == {"retention.ms": "5"}
    assert [p.leader for p in found.partitions] == [1, 1, 1]
    assert [(p.leader_epoch, p.isr, p.replicas, p.partition_epoch) for p in found.partitions] == [
        (0, (1,), (1,), 0)
    ] * 3
    assert image.partition("a", 2) is found.partitions[2]
    assert image.partition("a", 3) is None
    assert image.partition("a", -1) is None
    assert image.partition("b", 0) is None


def test_brokers_are_in_ascending_order_whatever_the_keys_order() -> None:
    puts = [
        entry(
            records.broker_key(i),
            records.BrokerRecord(id=i, host="h", port=1, internal_host="h", internal_port=2, incarnation="x"),
        )
        for i in (10, 9, 1)
    ]
    assert list(fold(EMPTY_IMAGE, commit(*puts)).brokers) == [1, 9, 10]


def test_a_broker_is_settled_once_the_controller_took_note_of_its_registration() -> None:
    image = cluster(1, settled=False)
    assert not image.is_settled(1)
    assert not image.is_settled(2)
    image = committed(
        image, decide_leadership(image, image.topics_by_id.values(), config=BrokerConfig(), now_ms=NOW_MS)
    )
    assert image.is_settled(1)


def test_the_controller_and_its_epoch_are_known_and_its_loss_is_too() -> None:
    image = fold(
        EMPTY_IMAGE,
        commit(
            entry(records.CONTROLLER, records.ControllerRecord(broker_id=2, incarnation="x")),
            entry(records.CONTROLLER_EPOCH, records.ControllerEpochRecord(epoch=4, broker_id=2), version=7),
        ),
    )
    assert (image.controller_id, image.controller_epoch, image.controller_epoch_version) == (2, 4, 7)
    image = fold(image, commit(deletes=(records.CONTROLLER,), revision=8))
    assert (image.controller_id, image.controller_epoch, image.revision) == (-1, 4, 8)


def test_a_partition_record_tells_who_may_lead_what_moves_and_why_it_changed() -> None:
    before = with_topics(cluster(1, 2, 3), topic("a"))
    assert (before.topics_by_name["a"].partitions[0].cause, before.topics_by_name["a"].partitions[0].changed_at_ms) == (
        "created",
        NOW_MS,
    )
    key = records.partition_key(format_topic_id(before.topics_by_name["a"].topic_id), 0)
    record = records.PartitionRecord(
        replicas=[1, 2, 3],
        isr=[],
        leader=-1,
        leader_epoch=1,
        partition_epoch=1,
        elr=[1],
        last_known_leader=1,
        adding=[3],
        removing=[2],
        cause="leader_failed",
        changed_at_ms=5,
    )
    partition = fold(before, commit(entry(key, record, version=9), revision=9)).topics_by_name["a"].partitions[0]
    assert (partition.elr, partition.last_known_leader) == ((1,), 1)
    assert (partition.adding, partition.removing) == ((3,), (2,))
    assert (partition.cause, partition.changed_at_ms) == ("leader_failed", 5)


def test_a_brokers_epoch_is_the_revision_of_its_registration() -> None:
    record = records.BrokerRecord(
        id=1, host="h", port=1, internal_host="h", internal_port=2, incarnation="x", data_intact=False
    )
    image = fold(EMPTY_IMAGE, commit(entry(records.broker_key(1), record, version=41), revision=41))
    assert (image.brokers[1].epoch, image.brokers[1].data_intact) == (41, False)


def test_a_broker_is_remembered_when_it_is_gone() -> None:
    record = records.BrokerStateRecord(state="draining", since_ms=3, host="h", port=1, left_at_ms=4)
    image = fold(EMPTY_IMAGE, commit(entry(records.broker_state_key(7), record, version=5)))
    state = image.brokers_state[7]
    assert (state.state, state.since_ms, state.host, state.left_at_ms, state.version) == ("draining", 3, "h", 4, 5)
    assert not image.brokers
    assert not fold(image, commit(deletes=(records.broker_state_key(7),), revision=2)).brokers_state


def test_dynamic_broker_configs_are_kept_per_broker_and_for_all() -> None:
    image = fold(
        EMPTY_IMAGE,
        commit(
            entry(records.broker_configs_key(""), records.ResourceConfigsRecord(configs={"a": "1"}), version=4),
            entry(records.broker_configs_key("2"), records.ResourceConfigsRecord(configs={"a": "2"}), version=5),
        ),
    )
    assert image.broker_configs == {"": {"a": "1"}, "2": {"a": "2"}}
    assert image.broker_configs_versions == {"": 4, "2": 5}
    image = fold(image, commit(deletes=(records.broker_configs_key(""),), revision=2))
    assert image.broker_configs == {"2": {"a": "2"}}
    assert image.broker_configs_versions == {"2": 5}


def test_an_unknown_key_of_a_newer_version_is_ignored() -> None:
    image = fold(EMPTY_IMAGE, commit(Entry(key="acls/x", value=b"\xff", version=1)))
    assert image == ClusterImage(revision=1)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("topics/a", b"not json"),
        ("topics/a", b'{"topic_id": 5}'),
        ("topics/a", b'{"topic_id": "AAAAAAAAAAAAAAAAAAAAAQ", "partition_count": 2}'),
        ("partitions/AAAAAAAAAAAAAAAAAAAAAQ/0", b'{"replicas": [1], "isr": [1], "leader": 1, "leader_epoch": 0}'),
        ("partitions/x", b"{}"),
        ("brokers/1", b"{}"),
    ],
)
def test_a_value_that_breaks_its_promise_stops_the_fold(key: str, value: bytes) -> None:
    with pytest.raises(records.CorruptRecord):
        fold(EMPTY_IMAGE, commit(Entry(key=key, value=value, version=1)))


def test_unknown_fields_of_a_newer_version_are_ignored() -> None:
    record = b'{"cluster_id": "c", "invented": 1}'
    assert fold(EMPTY_IMAGE, commit(Entry(key="cluster", value=record, version=1))).cluster_id == "c"


def test_a_delta_tells_created_deleted_and_changed_topics_apart() -> None:
    before = with_topics(cluster(1), topic("kept"), topic("grows"), topic("goes"), topic("again"))
    random = Random(0)
    after = committed(
        before,
        decide_create_partitions(
            before, [NewPartitions(name="grows", total_count=2)], random=random, now_ms=NOW_MS
        ).transaction,
    )
    gone = decide_delete_topics(after, [("goes", ZERO_TOPIC_ID), ("again", ZERO_TOPIC_ID)], config=BrokerConfig())
    after = with_topics(committed(after, gone.transaction), topic("again"), topic("new"))
    delta = ImageDelta(old=before, new=after)
    assert {t.name for t in delta.created_topics} == {"again", "new"}
    assert {t.name for t in delta.deleted_topics} == {"again", "goes"}
    assert [(old.name, len(old.partitions), len(new.partitions)) for old, new in delta.changed_topics] == [
        ("grows", 1, 2)
    ]
    assert after.topics_by_name["kept"] is before.topics_by_name["kept"]
    assert after.topics_by_name["again"].topic_id != before.topics_by_name["again"].topic_id
    assert not delta.brokers_changed


def test_a_commit_that_touches_no_topic_shares_all_of_them() -> None:
    before = with_topics(cluster(1), topic("a"))
    after = fold(before, commit(deletes=("brokers/1",), revision=99))
    delta = ImageDelta(old=before, new=after)
    assert after.topics_by_name is before.topics_by_name
    assert (delta.created_topics, delta.deleted_topics, delta.changed_topics) == ((), (), ())
    assert delta.brokers_changed


def test_one_partition_can_change_alone() -> None:
    before = with_topics(cluster(1), topic("a", 3))
    topic_id = format_topic_id(before.topics_by_name["a"].topic_id)
    record = records.PartitionRecord(replicas=[1], isr=[1], leader=-1, leader_epoch=1, partition_epoch=1)
    after = fold(before, commit(entry(records.partition_key(topic_id, 1), record, version=50), revision=50))
    partitions = after.topics_by_name["a"].partitions
    assert [p.leader for p in partitions] == [1, -1, 1]
    assert partitions[0] is before.topics_by_name["a"].partitions[0]
    assert partitions[1].version == 50
    assert after.topics_by_name["a"].version == before.topics_by_name["a"].version
