from __future__ import annotations

import pytest

from broker.config.definition import (
    ConfigDef,
    ConfigType,
    InvalidConfigValue,
    at_least,
    between,
    list_of,
    one_of,
    throttled_replicas,
)
from broker.errors import ErrorCode


def defined(type_: ConfigType, default: object = None, **fields: object) -> ConfigDef:
    return ConfigDef(name="some.config", type=type_, default=default, documentation="", **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("type_", "text", "value"),
    [
        (ConfigType.BOOLEAN, " TRUE ", True),
        (ConfigType.BOOLEAN, "false", False),
        (ConfigType.INT, " 12 ", 12),
        (ConfigType.INT, "+12", 12),
        (ConfigType.INT, str(2**31 - 1), 2**31 - 1),
        (ConfigType.LONG, str(-(2**63)), -(2**63)),
        (ConfigType.SHORT, "-3", -3),
        (ConfigType.DOUBLE, "0.5", 0.5),
        (ConfigType.LIST, " a , b,c ", ("a", "b", "c")),
        (ConfigType.LIST, "", ()),
        (ConfigType.STRING, " as it is ", " as it is "),
    ],
)
def test_text_becomes_a_value_of_its_type(type_: ConfigType, text: str, value: object) -> None:
    assert defined(type_).parse(text) == value


@pytest.mark.parametrize(
    ("type_", "text", "reason"),
    [
        (ConfigType.BOOLEAN, "yes", "Expected value to be either true or false"),
        (ConfigType.INT, "abc", "Not a number of type INT"),
        (ConfigType.INT, "", "Not a number of type INT"),
        (ConfigType.INT, "1.0", "Not a number of type INT"),
        (ConfigType.INT, "1_000", "Not a number of type INT"),
        (ConfigType.INT, "٣", "Not a number of type INT"),
        (ConfigType.INT, str(2**31), "Not a number of type INT"),
        (ConfigType.LONG, str(2**63), "Not a number of type LONG"),
        (ConfigType.LONG, "9" * 10_000, "Not a number of type LONG"),
        (ConfigType.SHORT, "40000", "Not a number of type SHORT"),
        (ConfigType.DOUBLE, "half", "Not a number of type DOUBLE"),
    ],
)
def test_text_of_another_type_is_refused_in_kafkas_words(type_: ConfigType, text: str, reason: str) -> None:
    with pytest.raises(InvalidConfigValue, match=r"for configuration some\.config: ") as caught:
        defined(type_).parse(text)
    assert caught.value.code is ErrorCode.INVALID_CONFIG
    assert caught.value.message.endswith(reason)
    assert len(caught.value.message) < 400


def test_null_is_a_value_only_where_the_default_is_null() -> None:
    assert defined(ConfigType.LONG).parse(None) is None
    with pytest.raises(InvalidConfigValue, match="Value must be non-null"):
        defined(ConfigType.LONG, default=1).parse(None)


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (ConfigType.BOOLEAN, True, "true"),
        (ConfigType.LIST, ("a", "b"), "a,b"),
        (ConfigType.LIST, (), ""),
        (ConfigType.LONG, 5, "5"),
        (ConfigType.DOUBLE, 0.5, "0.5"),
        (ConfigType.STRING, None, None),
    ],
)
def test_a_value_is_shown_as_kafka_shows_it(type_: ConfigType, value: object, text: str | None) -> None:
    assert defined(type_).format(value) == text


def test_validators_say_what_they_want() -> None:
    assert at_least(0)(-1) == "Value must be at least 0"
    assert at_least(0)(0) is None
    assert at_least(0)(None) is None
    assert between(0, 1)(2) == "Value must be no more than 1"
    assert between(0, 1)(-2) == "Value must be at least 0"
    assert between(0, 1)(float("nan")) == "Value must be at least 0"
    assert one_of("a", "b")("c") == "String must be one of: a, b"
    assert list_of("a", "b")(("a", "c")) == ("c", "String must be one of: a, b")
    assert list_of("a", "b")(("a", "a")) == "Configuration contains duplicate values"
    assert list_of("a", "b")(()) is None
    assert list_of("a", empty_allowed=False)(()) is not None


@pytest.mark.parametrize("items", [(), ("*",), ("0:1",), ("0:1", "12:3")])
def test_throttled_replicas_are_a_star_or_pairs(items: tuple[str, ...]) -> None:
    assert throttled_replicas(items) is None


@pytest.mark.parametrize("items", [("*", "0:1"), ("0",), ("a:b",), ("0:1:2",)])
def test_throttled_replicas_of_another_form_are_refused(items: tuple[str, ...]) -> None:
    assert throttled_replicas(items) is not None


def test_a_value_without_measure_is_refused_and_not_repeated_in_full() -> None:
    with pytest.raises(InvalidConfigValue, match="longer than 65536 characters") as caught:
        defined(ConfigType.LIST).parse("0:1," * 20_000)
    assert len(caught.value.message) < 400
