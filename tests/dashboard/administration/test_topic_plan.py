from __future__ import annotations

from dashboard.administration.topic_plan import Difference, plan_change, plan_creation


def test_creating_sets_only_what_was_asked_for() -> None:
    plan = plan_creation("orders", 3, 1, {"retention.ms": "3600000", "segment.bytes": None})
    assert plan.settings == {"retention.ms": "3600000"}
    assert plan.differences() == [
        Difference(name="partitions", before="—", after="3"),
        Difference(name="replication factor", before="—", after="1"),
        Difference(name="retention.ms", before="inherits 7 d", after="1 h"),
    ]
    assert plan.audit_values() == (None, {"partitions": 3, "replication factor": 1, "retention.ms": "3600000"})


def test_changing_touches_only_what_differs() -> None:
    plan = plan_change(
        "orders",
        partition_count=5,
        current_partition_count=3,
        replication_factor=1,
        current={"retention.ms": "3600000", "segment.bytes": "1048576"},
        wanted={"retention.ms": None, "segment.bytes": "1048576", "min.insync.replicas": "1"},
        inherited={"retention.ms": "86400000"},
    )
    assert plan.configs == {"retention.ms": None, "min.insync.replicas": "1"}
    assert plan.differences() == [
        Difference(name="partitions", before="3", after="5"),
        Difference(name="min.insync.replicas", before="inherits 1", after="1"),
        Difference(name="retention.ms", before="1 h", after="inherits 1 d"),
    ]
    before, after = plan.audit_values()
    assert before == {"retention.ms": "3600000", "min.insync.replicas": None, "partitions": 3}
    assert after == {"retention.ms": None, "min.insync.replicas": "1", "partitions": 5}


def test_no_difference_is_an_empty_plan() -> None:
    plan = plan_change(
        "orders",
        partition_count=3,
        current_partition_count=3,
        replication_factor=1,
        current={"retention.ms": "1"},
        wanted={"retention.ms": "1", "segment.ms": None},
    )
    assert plan.empty
