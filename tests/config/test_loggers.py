from __future__ import annotations

import logging
from collections.abc import Iterator

import pytest

from broker.config.loggers import LoggerChange, apply_logger_changes, check_logger_changes, logger_levels
from broker.errors import ErrorCode, KafkaError

NAME = "tests.of.loggers"


@pytest.fixture(autouse=True)
def logger() -> Iterator[logging.Logger]:
    logger = logging.getLogger(NAME)
    yield logger
    logger.setLevel(logging.NOTSET)


def test_levels_are_shown_by_kafkas_names(logger: logging.Logger) -> None:
    for level, name in ((1, "TRACE"), (10, "DEBUG"), (20, "INFO"), (25, "INFO"), (30, "WARN"), (50, "FATAL")):
        logger.setLevel(level)
        assert logger_levels([NAME, "missing"]) == [(NAME, name)]
    names = [name for name, _ in logger_levels()]
    assert names == sorted(names)
    assert {"root", NAME} <= set(names)


def test_a_level_can_be_set_and_given_back_to_the_parent(logger: logging.Logger) -> None:
    apply_logger_changes([LoggerChange(NAME, "ERROR")])
    assert logger.getEffectiveLevel() == logging.ERROR
    apply_logger_changes([LoggerChange(NAME, None)])
    assert logger.level == logging.NOTSET


@pytest.mark.parametrize(
    ("change", "code"),
    [
        (LoggerChange("missing", "INFO"), ErrorCode.INVALID_CONFIG),
        (LoggerChange(NAME, "LOUD"), ErrorCode.INVALID_CONFIG),
        (LoggerChange(NAME, "info"), ErrorCode.INVALID_CONFIG),
        (LoggerChange("root", None), ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_is_refused(change: LoggerChange, code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as refused:
        check_logger_changes([change])
    assert refused.value.code is code
