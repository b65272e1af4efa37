"""Members of classic groups in plain frames, and what has to be waited for before a group or a producer can be put to the test."""

from __future__ import annotations

import itertools
from typing import Any

from broker.errors import ErrorCode, KafkaError
from broker.protocol import messages as m
from broker.protocol.api import ApiKey
from tests.support.wait import wait_until
from tests.support.wire import Wire
from tests.transactions.version_2 import Producer

_numbers = itertools.count()
_COMING_UP = (
    ErrorCode.COORDINATOR_LOAD_IN_PROGRESS,
    ErrorCode.COORDINATOR_NOT_AVAILABLE,
    ErrorCode.NOT_COORDINATOR,
)


def new_name(prefix: str = "trap") -> str:
    """Of a group, or a transactional id, that no other test uses."""
    return f"{prefix}-{next(_numbers)}"


def find_coordinator(wire: Wire, key: str, *, key_type: int = 0) -> Any:
    """The one entry of the answer, once the coordinator is up."""
    request = m.FindCoordinatorRequest(key_type=key_type, coordinator_keys=[key])

    def answer() -> Any:
        (found,) = wire.call(ApiKey.FIND_COORDINATOR, 4, request).coordinators
        return None if found.error_code in _COMING_UP else found

    return wait_until(answer, f"a coordinator of {key}")


def key_of(wire: Wire, node_id: int, *, key_type: int = 0) -> str:
    """A new group, or transactional id, that this broker coordinates."""
    while find_coordinator(wire, key := new_name(), key_type=key_type).node_id != node_id:
        pass
    return key


def until_ready(wire: Wire, producer: Producer, **options: Any) -> None:
    """The producer has its id and epoch."""
    find_coordinator(wire, producer.transactional_id, key_type=1)

    def ready() -> bool:
        try:
            producer.init(**options)
        except KafkaError as error:
            if not error.code.retriable:
                raise
            return False
        return True

    wait_until(ready, f"{producer.transactional_id} has an id")


class Member:
    def __init__(self, wire: Wire, group_id: str, *, instance_id: str | None = None) -> None:
        self.wire, self.group_id, self.instance_id = wire, group_id, instance_id
        self.member_id, self.generation, self.protocol = "", -1, ""
        find_coordinator(wire, group_id)

    # Joining ----------------------------------------------------------------------------------------

    def ask_to_join(
        self,
        *protocols: tuple[str, bytes],
        version: int = 9,
        protocol_type: str = "consumer",
        session_ms: int = 30_000,
        rebalance_ms: int = 30_000,
    ) -> None:
        """The request alone; ``joined`` reads the answer."""
        r = m.JoinGroupRequest
        request = r(
            group_id=self.group_id,
            session_timeout=session_ms,
            rebalance_timeout=rebalance_ms,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=protocol_type,
            protocols=[
                r.JoinGroupRequestProtocol(name=name, metadata=metadata)
                for name, metadata in protocols or (("range", b"topics"),)
            ],
        )
        self._join_version = version
        self.wire.request(ApiKey.JOIN_GROUP, version, request)

    def joined(self) -> Any:
        answer = self.wire.answer(ApiKey.JOIN_GROUP, self._join_version)[1]
        if answer.member_id:
            self.member_id = answer.member_id
        if answer.error_code == 0:
            self.generation, self.protocol = answer.generation_id, answer.protocol_name
        return answer

    def join(self, *protocols: tuple[str, bytes], **options: Any) -> Any:
        """Once while the coordinator is ready; an id that has to be taken first is taken."""

        def answer() -> Any:
            self.ask_to_join(*protocols, **options)
            found = self.joined()
            return None if found.error_code in (*_COMING_UP, ErrorCode.MEMBER_ID_REQUIRED) else found

        return wait_until(answer, "the member has joined")

    # Being a member ---------------------------------------------------------------------------------

    def sync(self, *, version: int = 5, protocol_type: str | None = "consumer", **assignments: bytes) -> Any:
        """``assignments`` by member id, with ``_`` for this member itself."""
        r = m.SyncGroupRequest
        request = r(
            group_id=self.group_id,
            generation_id=self.generation,
            member_id=self.member_id,
            group_instance_id=self.instance_id,
            protocol_type=protocol_type,
            protocol_name=self.protocol,
            assignments=[
                r.SyncGroupRequestAssignment(member_id=self.member_id if name == "_" else name, assignment=assignment)
                for name, assignment in assignments.items()
            ],
        )
        return self.wire.call(ApiKey.SYNC_GROUP, version, request)

    def heartbeat(self, *, member_id: str | None = None, generation: int | None = None) -> int:
        request = m.HeartbeatRequest(
            group_id=self.group_id,
            generation_id=self.generation if generation is None else generation,
            member_id=self.member_id if member_id is None else member_id,
            group_instance_id=self.instance_id,
        )
        return int(self.wire.call(ApiKey.HEARTBEAT, 4, request).error_code)

    def leave(self, *, member_id: str | None = None, instance_id: str | None = None) -> int:
        r = m.LeaveGroupRequest
        identity = r.MemberIdentity(
            member_id=self.member_id if member_id is None else member_id, group_instance_id=instance_id
        )
        answer = self.wire.call(ApiKey.LEAVE_GROUP, 5, r(group_id=self.group_id, members=[identity]))
        assert answer.error_code == 0
        return int(answer.members[0].error_code)

    # Offsets ----------------------------------------------------------------------------------------

    def commit(
        self, topic: str, offset: int, *, metadata: str = "", as_member: bool = True, as_instance: bool = False
    ) -> int:
        r = m.OffsetCommitRequest
        item = r.OffsetCommitRequestPartition(
            partition_index=0, committed_offset=offset, committed_leader_epoch=0, committed_metadata=metadata
        )
        request = r(
            group_id=self.group_id,
            generation_id_or_member_epoch=self.generation if as_member else -1,
            member_id=self.member_id if as_member else "",
            group_instance_id=self.instance_id if as_instance else None,
            topics=[r.OffsetCommitRequestTopic(name=topic, partitions=[item])],
        )
        return int(self.wire.call(ApiKey.OFFSET_COMMIT, 9, request).topics[0].partitions[0].error_code)

    def commit_all(self, topic: str, partitions: int, offset: int) -> None:
        """For every partition at once, as somebody who is no member."""
        r = m.OffsetCommitRequest
        items = [
            r.OffsetCommitRequestPartition(partition_index=one, committed_offset=offset, committed_metadata="")
            for one in range(partitions)
        ]
        request = r(
            group_id=self.group_id,
            generation_id_or_member_epoch=-1,
            member_id="",
            topics=[r.OffsetCommitRequestTopic(name=topic, partitions=items)],
        )
        (answer,) = self.wire.call(ApiKey.OFFSET_COMMIT, 9, request).topics
        assert {one.error_code for one in answer.partitions} == {0}

    def committed(self, topic: str, *partitions: int, stable: bool = False) -> list[Any]:
        r = m.OffsetFetchRequest
        topics = [r.OffsetFetchRequestTopics(name=topic, partition_indexes=list(partitions or (0,)))]
        request = r(groups=[r.OffsetFetchRequestGroup(group_id=self.group_id, topics=topics)], require_stable=stable)
        (group,) = self.wire.call(ApiKey.OFFSET_FETCH, 9, request).groups
        assert group.error_code == 0
        return list(group.topics[0].partitions)

    def state(self) -> str:
        (group,) = self.wire.call(ApiKey.DESCRIBE_GROUPS, 5, m.DescribeGroupsRequest(groups=[self.group_id])).groups
        return str(group.group_state)


def until_rebalancing(*members: Member) -> None:
    for one in members:
        wait_until(lambda one=one: one.heartbeat() == ErrorCode.REBALANCE_IN_PROGRESS, "a round is open")


def round_of(*members: Member, **options: Any) -> list[Any]:
    """A round in which all of them take part, the last one as a newcomer; their answers, in this order."""
    *known, newcomer = members
    if newcomer.instance_id is None and not newcomer.member_id:
        newcomer.ask_to_join(**options)
        assert newcomer.joined().error_code == ErrorCode.MEMBER_ID_REQUIRED
    newcomer.ask_to_join(**options)
    until_rebalancing(*known)
    for one in known:
        one.ask_to_join(**options)
    answers = [one.joined() for one in members]
    assert [answer.error_code for answer in answers] == [0] * len(members)
    return answers


def form(*members: Member, **options: Any) -> Member:
    """A stable group of all of them, in which everybody's assignment is his member id; the leader."""
    for count in range(1, len(members) + 1):
        answers = round_of(*members[:count], **options)
    leader = next(one for one in members if one.member_id == answers[0].leader)
    assert leader.sync(**{one.member_id: one.member_id.encode() for one in members}).error_code == 0
    for one in members:
        assert one.sync().assignment == one.member_id.encode()
    return leader
