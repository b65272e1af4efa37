"""One class per message: the union of its versions."""

from __future__ import annotations

import pytest

from broker.protocol import codec
from broker.protocol import messages as m
from broker.protocol.api import ApiKey


def test_a_class_has_the_fields_of_all_versions() -> None:
    assert {"replica_id", "replica_state", "cluster_id"} <= set(m.FetchRequest.__slots__)
    assert {"topic", "topic_id"} <= set(m.FetchRequest.FetchTopic.__slots__)


def test_nested_structs_are_attributes_of_their_root() -> None:
    nested = m.MetadataResponse.MetadataResponseTopic
    assert nested.__qualname__ == "MetadataResponse.MetadataResponseTopic"
    assert m.MetadataResponse is m.MetadataResponse


def test_fields_absent_in_a_version_are_their_defaults() -> None:
    body = codec.encode_request(ApiKey.FETCH, 4, m.FetchRequest(session_epoch=7, rack_id="r"))
    decoded = codec.decode_request(ApiKey.FETCH, 4, body)
    assert decoded.session_epoch == -1
    assert decoded.rack_id == ""
    assert decoded.replica_state == m.FetchRequest.ReplicaState(replica_id=-1, replica_epoch=-1)


def test_default_arrays_and_structs_are_not_shared() -> None:
    first, second = m.MetadataResponse(), m.MetadataResponse()
    first.topics.append("x")
    assert second.topics == []
    assert m.FetchRequest().replica_state is not m.FetchRequest().replica_state


def test_kafkas_defaults() -> None:
    partition = m.ProduceResponse.PartitionProduceResponse()
    assert (partition.log_append_time, partition.log_start_offset, partition.error_message) == (-1, -1, None)
    assert m.FetchRequest().max_bytes == 2**31 - 1
    assert m.MetadataRequest().allow_auto_topic_creation is True


def test_messages_are_compared_by_value_and_not_hashable() -> None:
    cls = m.HeartbeatRequest
    assert cls(group_id="a") == cls(group_id="a")
    assert cls(group_id="a") != cls(group_id="b")
    assert cls(group_id="a") != m.HeartbeatResponse()
    with pytest.raises(TypeError):
        hash(cls())


def test_repr_names_the_fields() -> None:
    message = m.HeartbeatRequest(group_id="g", generation_id=2, member_id="m")
    assert repr(message) == "HeartbeatRequest(group_id='g', generation_id=2, member_id='m', group_instance_id=None)"


def test_unknown_fields_and_messages_are_errors() -> None:
    with pytest.raises(TypeError):
        m.HeartbeatRequest(group="g")
    with pytest.raises(AttributeError):
        m.HeartbeatRequest().group = "g"
    with pytest.raises(AttributeError, match="no Kafka message is called 'NoSuchRequest'"):
        _ = m.NoSuchRequest
