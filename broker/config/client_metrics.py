"""A client-metrics subscription (resource type 16, KIP-714): which clients push which metrics how often.

Owns: the names, types and rules of its three configs, and the parsed ``Subscription``. Patterns come from operators, but
they run on the event loop against texts that any client may choose, and Python's ``re`` has no time limit. So both are
bounded: a pattern that could take long on some text is refused when it is set (see ``match_pattern``), and a text longer
than ``MATCHED_TEXT_LENGTH_MAX`` matches no pattern.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

from broker.config.definition import ConfigDef, ConfigType, quoted
from broker.errors import ErrorCode, KafkaError
from broker.limits import CLIENT_METRICS_PATTERN_LENGTH_MAX

INTERVAL_MS_DEFAULT = 300_000
INTERVAL_MS_MIN, INTERVAL_MS_MAX = 100, 3_600_000
ALL_METRICS = "*"
MATCHED_TEXT_LENGTH_MAX = 256
QUANTIFIERS_MAX = 6
UNBOUNDED_QUANTIFIERS_MAX = 3
"""Of one expression. With n characters the engine tries at most n³ / 6 × 2³ ways: a fraction of a second at the worst."""
MATCH_PARAMETERS = (
    "client_instance_id",
    "client_id",
    "client_software_name",
    "client_software_version",
    "client_source_address",
    "client_source_port",
)

CLIENT_METRICS_CONFIGS: dict[str, ConfigDef] = {
    definition.name: definition
    for definition in (
        ConfigDef(
            name="metrics",
            type=ConfigType.LIST,
            default=(),
            documentation="Prefixes of the metrics' names that are wanted; `*` wants all, an empty list none.",
            acts=True,
        ),
        ConfigDef(
            name="interval.ms",
            type=ConfigType.INT,
            default=INTERVAL_MS_DEFAULT,
            documentation="How often a client pushes.",
            valid_values=f"[{INTERVAL_MS_MIN},...,{INTERVAL_MS_MAX}]",
            acts=True,
        ),
        ConfigDef(
            name="match",
            type=ConfigType.LIST,
            default=(),
            documentation="Which clients: `parameter=regular expression`, all of which must match the whole text; an "
            f"empty list means every client. Parameters: {', '.join(MATCH_PARAMETERS)}.",
            acts=True,
        ),
    )
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscription:
    name: str
    metrics: tuple[str, ...]
    interval_ms: int
    match: Mapping[str, re.Pattern[str]]

    @classmethod
    def parse(cls, name: str, configs: Mapping[str, str]) -> Subscription:
        """Raises ``KafkaError``; what was stored has been through ``validate_client_metrics_configs``."""
        values = {key: d.parse(configs[key]) if key in configs else d.default for key, d in _items()}
        return cls(
            name=name,
            metrics=values["metrics"],
            interval_ms=values["interval.ms"],
            match=dict(match_pattern(item) for item in values["match"]),
        )

    def matches(self, facts: Mapping[str, str]) -> bool:
        """``facts`` has a text for each of ``MATCH_PARAMETERS``."""
        return all(
            len(facts[parameter]) <= MATCHED_TEXT_LENGTH_MAX and pattern.fullmatch(facts[parameter])
            for parameter, pattern in self.match.items()
        )


def validate_client_metrics_configs(name: str, configs: Mapping[str, str]) -> None:
    """Raise ``KafkaError``, in Kafka's words, unless this is a subscription."""
    if not name:
        raise KafkaError(ErrorCode.INVALID_REQUEST, "Subscription name can't be empty")
    for key in configs:
        if key not in CLIENT_METRICS_CONFIGS:
            raise KafkaError(ErrorCode.INVALID_REQUEST, f"Unknown client metrics configuration: {quoted(key)}")
    interval_ms = Subscription.parse(name, configs).interval_ms
    if not INTERVAL_MS_MIN <= interval_ms <= INTERVAL_MS_MAX:
        raise KafkaError(
            ErrorCode.INVALID_REQUEST,
            f"Invalid value {interval_ms} for interval.ms, interval must be between 100 and 3600000 (1 hour)",
        )


def match_pattern(item: str) -> tuple[str, re.Pattern[str]]:
    """``parameter=expression`` as a pair. Raises ``KafkaError`` INVALID_CONFIG.

    What makes a backtracking engine take long is refused: a quantified group, as in ``(a+)+`` (``?`` is fine), a back
    reference, and more quantifiers than ``QUANTIFIERS_MAX``.
    """
    parameter, equals, expression = (part.strip() for part in item.partition("="))
    refusal = KafkaError(ErrorCode.INVALID_CONFIG, f"Illegal client matching pattern: {quoted(item)}")
    if not equals or not expression or "=" in expression or parameter not in MATCH_PARAMETERS:
        raise refusal
    if len(expression) > CLIENT_METRICS_PATTERN_LENGTH_MAX or _may_take_long(expression):
        raise refusal
    try:
        return parameter, re.compile(expression)
    except (re.error, RecursionError, OverflowError):
        raise refusal from None


_RISKY = re.compile(r"\)\s*[*+{]|\\[1-9]|\(\?P=")
_QUANTIFIER = re.compile(r"(?<!\()[*+?{]")


def _may_take_long(expression: str) -> bool:
    """A superset: an escaped quantifier counts as one."""
    quantifiers = _QUANTIFIER.findall(expression)
    unbounded = [quantifier for quantifier in quantifiers if quantifier != "?"]
    return (
        _RISKY.search(expression) is not None
        or len(quantifiers) > QUANTIFIERS_MAX
        or len(unbounded) > UNBOUNDED_QUANTIFIERS_MAX
    )


def _items() -> list[tuple[str, ConfigDef]]:
    return list(CLIENT_METRICS_CONFIGS.items())
