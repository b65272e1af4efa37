"""What groups and administrators ask, right and wrong: stories for ``comparison``."""

from __future__ import annotations

from typing import Any

from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.interop.comparison import Speaker
from tests.interop.stories_of_clients import NOWHERE, records, topic
from tests.support.topics import produce_request

# Groups ----------------------------------------------------------------------------------------------


def groups(speaker: Speaker) -> None:
    name = topic(speaker, "groups")
    for key in (name, "groups-joined", "groups-committed"):
        speaker.ask(f"find {key}", ApiKey.FIND_COORDINATOR, 4, m.FindCoordinatorRequest(coordinator_keys=[key]))
    group = _Group(speaker, name)
    joiner, committer = _Group(speaker, name, "groups-joined"), _Group(speaker, name, "groups-committed")
    for version in range(1, 10):
        group.offsets(f"offsets v{version} of nobody", version, "nobody")
        group.offsets(f"offsets v{version} of no name", version, "")
    for version in range(7):
        for who in ("nobody", ""):
            request = m.DescribeGroupsRequest(groups=[who])
            speaker.ask(f"describe v{version} {who!r}", ApiKey.DESCRIBE_GROUPS, version, request)
    for version in range(5):
        group.beat(f"beat v{version} of nobody", "nobody", 1, version)
    for version in range(6):
        group.sync(f"sync v{version} of nobody", "nobody", 1, version)
    for version in range(10):
        joiner.join(f"join v{version} a stranger", version, member_id="nobody")
        joiner.join(f"join v{version} for a moment", version, session_timeout=1)
        joiner.join(f"join v{version} with no protocol", version, protocols=[])
    for version in range(2, 10):
        committer.commit(f"commit v{version} of nobody", "nobody", 3, version)
        committer.commit(f"commit v{version} without a generation", "nobody", -1, version)
        committer.commit(f"commit v{version} from outside", "", -1, version)
        committer.commit(f"commit v{version} elsewhere", "", -1, version, where=NOWHERE)
    member = group.join("join").member_id
    speaker.name(member, "the member")
    group.beat("beat, not quite a member", member, -1)
    generation = group.join("join with the id", member_id=member).generation_id
    group.beat("beat before syncing", member, generation)
    group.commit("commit before syncing", member, generation)
    group.beat("beat of another generation", member, generation + 1)
    group.beat("beat of a stranger", "nobody", generation)
    group.sync("sync of another generation", member, generation + 1)
    group.sync("sync of another protocol", member, generation, protocol_name="other")
    group.sync("sync of no protocol", member, generation, protocol_name=None)
    group.join("join as a connector", protocol_type="connect")
    group.sync("sync", member, generation, assigns=True)
    group.sync("sync again", member, generation)
    for version in range(7):
        request = m.DescribeGroupsRequest(groups=[name])
        speaker.ask(f"describe v{version}", ApiKey.DESCRIBE_GROUPS, version, request)
    group.commit("commit", member, generation)
    group.commit("commit of another generation", member, generation + 1)
    group.commit("commit from outside", "", -1)
    request = m.DeleteGroupsRequest(groups_names=[name, "nobody", ""])
    speaker.ask("delete with members", ApiKey.DELETE_GROUPS, 2, request)
    r = m.LeaveGroupRequest
    leaving = [r.MemberIdentity(member_id="nobody"), r.MemberIdentity(member_id=member)]
    speaker.ask("leave", ApiKey.LEAVE_GROUP, 5, r(group_id=name, members=leaving))
    group.beat("beat after leaving", member, generation)
    group.commit("commit after leaving", member, generation)
    group.commit("commit from outside to an empty group", "", -1)
    group.offsets("offsets", 8, name)


class _Group:
    def __init__(self, speaker: Speaker, topic_name: str, group_id: str | None = None) -> None:
        self._speaker, self._topic, self._name = speaker, topic_name, group_id or topic_name

    def join(self, label: str, version: int = 9, **fields: Any) -> Any:
        r = m.JoinGroupRequest
        fields = {
            "group_id": self._name,
            "session_timeout": 10_000,
            "rebalance_timeout": 10_000,
            "member_id": "",
            "protocol_type": "consumer",
            "protocols": [r.JoinGroupRequestProtocol(name="range", metadata=b"meta")],
            **fields,
        }
        return self._speaker.ask(label, ApiKey.JOIN_GROUP, version, r(**fields))

    def sync(
        self, label: str, member: str, generation: int, version: int = 5, *, assigns: bool = False, **fields: Any
    ) -> None:
        r = m.SyncGroupRequest
        request = r(
            group_id=self._name,
            generation_id=generation,
            member_id=member,
            assignments=[r.SyncGroupRequestAssignment(member_id=member, assignment=b"mine")] if assigns else [],
            **{"protocol_type": "consumer", "protocol_name": "range", **fields},
        )
        self._speaker.ask(label, ApiKey.SYNC_GROUP, version, request)

    def beat(self, label: str, member: str, generation: int, version: int = 4) -> None:
        request = m.HeartbeatRequest(group_id=self._name, generation_id=generation, member_id=member)
        self._speaker.ask(label, ApiKey.HEARTBEAT, version, request)

    def commit(self, label: str, member: str, generation: int, version: int = 9, *, where: str | None = None) -> None:
        r = m.OffsetCommitRequest
        items = [
            r.OffsetCommitRequestPartition(partition_index=index, committed_offset=5, committed_metadata=metadata)
            for index, metadata in ((0, "m"), (1, "x" * 5000), (9, None))
        ]
        request = r(
            group_id=self._name,
            generation_id_or_member_epoch=generation,
            member_id=member,
            topics=[r.OffsetCommitRequestTopic(name=where or self._topic, partitions=items)],
        )
        self._speaker.ask(label, ApiKey.OFFSET_COMMIT, version, request)

    def offsets(self, label: str, version: int, group_id: str) -> None:
        r = m.OffsetFetchRequest
        if version < 8:
            topics = [r.OffsetFetchRequestTopic(name=self._topic, partition_indexes=[0, 9])]
            request = r(group_id=group_id, topics=topics)
        else:
            topics = [r.OffsetFetchRequestTopics(name=self._topic, partition_indexes=[0, 9])]
            request = r(groups=[r.OffsetFetchRequestGroup(group_id=group_id, topics=topics)])
        self._speaker.ask(label, ApiKey.OFFSET_FETCH, version, request)


# Administration --------------------------------------------------------------------------------------


def creating(speaker: Speaker) -> None:
    create = _Creator(speaker)
    for version in range(2, 8):
        create(f"v{version} new", f"new-{version}", version, retention_ms="1000")
        create(f"v{version} again", f"new-{version}", version)
    for name in ("", ".", "..", "a b", "x" * 250, "__consumer_offsets"):
        create(f"named {name[:20]!r}", name)
    for partitions, replicas in ((0, 1), (-2, 1), (1, 0), (1, -2), (1, 2)):
        create(f"{partitions} of {replicas}", "counted", partitions=partitions, replicas=replicas)
    for label, placed in (
        ("as given", [[1], [1]]),
        ("twice on one", [[1, 1]]),
        ("on a broker that is not there", [[9]]),
        ("nowhere", [[]]),
    ):
        create(f"placed {label}", f"placed-{len(label)}", partitions=-1, replicas=-1, placed=placed)
    for config, value in (
        ("no.such.config", "1"),
        ("retention.ms", "soon"),
        ("retention.ms", "-2"),
        ("cleanup.policy", "foo"),
        ("cleanup.policy", "compact,delete"),
        ("compression.type", "bogus"),
        ("min.insync.replicas", "0"),
        ("segment.bytes", "1"),
        ("max.message.bytes", "-1"),
        ("message.timestamp.type", "Foo"),
        ("compression.gzip.level", "0"),
        ("compression.zstd.level", "99"),
        ("min.cleanable.dirty.ratio", "1.5"),
        ("segment.jitter.ms", "-1"),
        ("flush.messages", "0"),
        ("preallocate", "yes"),
    ):
        create(f"{config}={value}", "configured", **{config: value})
    r = m.CreatePartitionsRequest
    for version in range(4):
        for name, count in (("new-7", 3), ("new-7", 2), ("new-7", 1), (NOWHERE, 3), ("new-7", -1)):
            wanted = r.CreatePartitionsTopic(name=name, count=count, assignments=None)
            request = r(topics=[wanted], timeout=5_000, validate_only=True)
            speaker.ask(f"v{version} {count} of {name}", ApiKey.CREATE_PARTITIONS, version, request)
    d = m.DeleteRecordsRequest
    speaker.ask("produce", ApiKey.PRODUCE, 9, produce_request({("new-7", 0): records(b"a", b"b", b"c")}))
    for version in range(3):
        for name, partition, offset in (
            ("new-7", 0, 9),
            ("new-7", 0, -2),
            ("new-7", 9, 0),
            (NOWHERE, 0, 0),
            ("new-7", 0, 2),
        ):
            part = d.DeleteRecordsPartition(partition_index=partition, offset=offset)
            request = d(topics=[d.DeleteRecordsTopic(name=name, partitions=[part])], timeout=5_000)
            label = f"v{version} records of {name}-{partition} below {offset}"
            speaker.ask(label, ApiKey.DELETE_RECORDS, version, request)
    for version in range(1, 6):
        request = m.DeleteTopicsRequest(topic_names=[NOWHERE], timeout=5_000)
        speaker.ask(f"v{version} delete what is not there", ApiKey.DELETE_TOPICS, version, request)


class _Creator:
    def __init__(self, speaker: Speaker) -> None:
        self._speaker = speaker

    def __call__(
        self,
        label: str,
        name: str,
        version: int = 4,
        *,
        partitions: int = 2,
        replicas: int = 1,
        placed: list[list[int]] | None = None,
        **configs: str,
    ) -> None:
        r = m.CreateTopicsRequest
        new = r.CreatableTopic(
            name=name,
            num_partitions=partitions,
            replication_factor=replicas,
            assignments=[
                r.CreatableReplicaAssignment(partition_index=index, broker_ids=brokers)
                for index, brokers in enumerate(placed or ())
            ],
            configs=[r.CreatableTopicConfig(name=key.replace("_", "."), value=value) for key, value in configs.items()],
        )
        request = r(timeout=10_000, topics=[new])
        self._speaker.ask(f"create {label}", ApiKey.CREATE_TOPICS, version, request)


def configuring(speaker: Speaker) -> None:
    name = topic(speaker, "configuring", retention_ms="1000")
    r = m.DescribeConfigsRequest
    for version in range(1, 5):
        for kind, resource in (
            (2, name),
            (2, NOWHERE),
            (2, "a b"),
            (4, "9"),
            (4, "x"),
            (16, "nobody"),
            (32, ""),
            (99, "x"),
        ):
            wanted = r.DescribeConfigsResource(resource_type=kind, resource_name=resource, configuration_keys=None)
            request = r(resources=[wanted], include_synonyms=False)
            speaker.ask(f"describe v{version} {kind} {resource}", ApiKey.DESCRIBE_CONFIGS, version, request)
    a = m.IncrementalAlterConfigsRequest
    for kind, resource, config, operation, value in (
        (2, NOWHERE, "retention.ms", 0, "1"),
        (2, name, "no.such.config", 0, "1"),
        (2, name, "retention.ms", 0, None),
        (2, name, "retention.ms", 2, "1"),
        (2, name, "retention.ms", 0, "soon"),
        (2, name, "cleanup.policy", 2, "compact"),
        (2, name, "cleanup.policy", 3, "delete"),
        (4, "1", "node.id", 0, "7"),
        (4, "9", "log.retention.ms", 0, "5"),
        (4, "x", "log.retention.ms", 0, "5"),
        (4, "", "listeners", 0, "PLAINTEXT://x:1"),
        (32, "g", "consumer.session.timeout.ms", 0, "46000"),
        (32, "g", "consumer.session.timeout.ms", 0, "1"),
        (32, "g", "no.such.config", 0, "1"),
        (16, "m", "interval.ms", 0, "1000"),
        (16, "m", "interval.ms", 0, "1"),
        (16, "m", "match", 0, "client_id=["),
        (99, "x", "a", 0, "b"),
    ):
        change = a.AlterableConfig(name=config, config_operation=operation, value=value)
        wanted = a.AlterConfigsResource(resource_type=kind, resource_name=resource, configs=[change])
        label = f"alter {kind} {resource}: {config} {operation} {value}"
        speaker.ask(label, ApiKey.INCREMENTAL_ALTER_CONFIGS, 1, a(resources=[wanted], validate_only=True))
