"""A form field for every topic config: it takes what the broker takes and refuses what the broker refuses."""

from __future__ import annotations

import pytest
from django.core.exceptions import ValidationError

from broker.config.topic import TOPIC_CONFIGS
from dashboard.administration import config_fields
from dashboard.administration.config_fields import EDITABLE, build_fields, field_name, fieldsets, show


def clean(config: str, text: str) -> str | None:
    value = build_fields()[field_name(config)].clean(text)
    assert value is None or isinstance(value, str)
    return value


@pytest.mark.parametrize("config", sorted(EDITABLE))
def test_every_config_has_a_field_that_accepts_its_own_default(config: str) -> None:
    definition = EDITABLE[config]
    raw = definition.format(definition.default)
    shown = show(definition, raw)
    if config_fields.kind(definition) == "choice":
        assert clean(config, raw) == raw
    elif shown not in ("(empty)", "—"):
        cleaned = clean(config, shown)
        assert cleaned is not None
        assert definition.parse(cleaned) == definition.default


@pytest.mark.parametrize("config", sorted(EDITABLE))
def test_an_empty_field_inherits(config: str) -> None:
    assert clean(config, "") is None


@pytest.mark.parametrize(
    ("config", "text"),
    [
        ("retention.ms", "7 parsecs"),
        ("retention.ms", "-2"),
        ("segment.bytes", "1"),
        ("cleanup.policy", "shred"),
        ("compression.type", "brotli"),
        ("min.insync.replicas", "0"),
        ("min.insync.replicas", "two"),
        ("min.cleanable.dirty.ratio", "2"),
        ("max.message.bytes", "-1"),
    ],
)
def test_what_the_schema_refuses_is_refused_in_words(config: str, text: str) -> None:
    with pytest.raises(ValidationError) as refused:
        clean(config, text)
    assert refused.value.messages[0].endswith(".")


def test_every_config_is_on_the_form_exactly_once() -> None:
    shown = [name for _, options in fieldsets() for name in options["fields"]]
    assert sorted(shown) == sorted(field_name(name) for name in EDITABLE)
    assert set(EDITABLE) <= set(TOPIC_CONFIGS)


def test_help_tells_what_it_does_and_its_default_as_text() -> None:
    field = build_fields()[field_name("retention.ms")]
    assert "Default: 7 d." in str(field.help_text)
    assert "<code>delete</code>" in str(field.help_text)
    assert field.label == "retention.ms"
    assert field.widget.attrs["placeholder"] == "7 d (inherited)"
