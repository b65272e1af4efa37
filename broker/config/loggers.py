"""The levels of this process's loggers (resource type 8), read and changed while it runs.

Owns: the translation between Python's levels and Kafka's names, and Kafka's rules. Levels live in ``logging`` itself and
die with the process, as Kafka's do; nothing is stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Sequence
from typing import NamedTuple

from broker.config.definition import quoted
from broker.errors import ErrorCode, KafkaError

ROOT = "root"
LEVELS = {"TRACE": 5, "DEBUG": 10, "INFO": 20, "WARN": 30, "ERROR": 40, "FATAL": 50}


class LoggerChange(NamedTuple):
    logger: str
    level: str | None
    """``None`` gives the logger its parent's level again."""


def logger_levels(names: Iterable[str] | None = None) -> list[tuple[str, str]]:
    """(logger, level in force) by name; of ``names`` those that exist."""
    wanted = None if names is None else set(names)
    return [
        (name, _name_of(logging.getLogger(None if name == ROOT else name).getEffectiveLevel()))
        for name in _known()
        if wanted is None or name in wanted
    ]


def check_logger_changes(changes: Sequence[LoggerChange]) -> None:
    """Raise ``KafkaError``, in Kafka's words, unless all of them can be made."""
    known = set(_known())
    for change in changes:
        if change.logger not in known:
            raise KafkaError(ErrorCode.INVALID_CONFIG, f"Logger {quoted(change.logger)} does not exist!")
        if change.level is None and change.logger == ROOT:
            raise KafkaError(ErrorCode.INVALID_REQUEST, "Removing the log level of the root logger is not allowed")
        if change.level is not None and change.level not in LEVELS:
            raise KafkaError(
                ErrorCode.INVALID_CONFIG,
                f"Cannot set the log level of {change.logger} to {quoted(change.level)} as it is not a supported log "
                f"level. Valid log levels are {', '.join(LEVELS)}",
            )


def apply_logger_changes(changes: Sequence[LoggerChange]) -> None:
    for change in changes:
        logger = logging.getLogger(None if change.logger == ROOT else change.logger)
        logger.setLevel(logging.NOTSET if change.level is None else LEVELS[change.level])


def _known() -> list[str]:
    loggers = logging.root.manager.loggerDict
    return sorted([ROOT, *(name for name, logger in loggers.items() if isinstance(logger, logging.Logger))])


def _name_of(level: int) -> str:
    """The strongest of Kafka's names that lets the level through."""
    return max((value, name) for name, value in LEVELS.items() if value <= max(level, LEVELS["TRACE"]))[1]
