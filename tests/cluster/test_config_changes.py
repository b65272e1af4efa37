from __future__ import annotations

import pytest

from broker.cluster.config_changes import ConfigChange, ConfigOperation, ResourceChange, changed_configs, check_request
from broker.config.topic import TOPIC_CONFIGS, TopicConfig
from broker.errors import ErrorCode, KafkaError

SET, DELETE, APPEND, SUBTRACT = ConfigOperation


def change(*changes: tuple[str, str | None, int], replace: bool = False) -> ResourceChange:
    return ResourceChange(
        type=2,
        name="t",
        changes=tuple(ConfigChange(name=n, value=v, operation=o) for n, v, o in changes),
        replace=replace,
    )


def after(current: dict[str, str], *changes: tuple[str, str | None, int], replace: bool = False) -> dict[str, str]:
    return changed_configs(current, change(*changes, replace=replace), TOPIC_CONFIGS, TopicConfig().value_of)


def test_set_and_delete_touch_only_what_they_name() -> None:
    current = {"retention.ms": "1", "segment.ms": "2"}
    assert after(current, ("retention.ms", "5", SET), ("segment.ms", None, DELETE)) == {"retention.ms": "5"}
    assert after(current, ("preallocate", None, DELETE)) == current
    assert current == {"retention.ms": "1", "segment.ms": "2"}


def test_a_replacement_forgets_what_it_does_not_name() -> None:
    assert after({"retention.ms": "1", "segment.ms": "2"}, ("segment.ms", "3", SET), replace=True) == {
        "segment.ms": "3"
    }


@pytest.mark.parametrize(
    ("current", "operation", "value", "expected"),
    [
        ({}, APPEND, "compact", "delete,compact"),
        ({"cleanup.policy": "compact"}, APPEND, "delete", "compact,delete"),
        ({"cleanup.policy": "compact"}, APPEND, " compact , delete", "compact,delete"),
        ({"cleanup.policy": "compact,delete"}, SUBTRACT, "delete", "compact"),
        ({}, SUBTRACT, "delete", ""),
        ({"cleanup.policy": "compact"}, SUBTRACT, "delete", "compact"),
    ],
)
def test_append_and_subtract_work_on_lists_from_what_is_in_force(
    current: dict[str, str], operation: int, value: str, expected: str
) -> None:
    assert after(current, ("cleanup.policy", value, operation)) == {"cleanup.policy": expected}


@pytest.mark.parametrize("name", ["retention.ms", "no.such.config"])
def test_append_to_what_is_no_list_is_refused(name: str) -> None:
    with pytest.raises(KafkaError, match=f"Can't APPEND to key {name} because its type is not LIST") as caught:
        after({}, (name, "1", APPEND))
    assert caught.value.code is ErrorCode.INVALID_CONFIG


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([("a", "1", SET), ("a", "2", SET)], "Error due to duplicate config keys"),
        ([("a", None, SET), ("b", None, APPEND)], "Null value not supported for : a, b"),
        ([("a", "1", 9)], "Unknown operations type 9"),
        ([("a", "1", -1)], "Unknown operations type -1"),
    ],
)
def test_a_request_without_sense_is_refused(changes: list[tuple[str, str | None, int]], message: str) -> None:
    with pytest.raises(KafkaError) as caught:
        check_request(change(*changes))
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert caught.value.message == message


def test_a_deletion_needs_no_value() -> None:
    check_request(change(("a", None, DELETE)))
