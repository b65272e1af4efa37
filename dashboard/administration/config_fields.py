"""Form fields for topic configs, built from the broker's own schema.

Owns: how one ``ConfigDef`` is asked for and shown. A field's clean value is the text Kafka's admin API takes, or
``None`` for "inherit the default". The schema's own validator judges it, so a form never accepts what the broker
would refuse on its face.
"""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget

from broker.config.definition import ConfigDef, ConfigType, InvalidConfigValue
from broker.config.topic import TOPIC_CONFIGS
from dashboard.administration import units

PREFIX = "config_"
EDITABLE = {name: definition for name, definition in TOPIC_CONFIGS.items() if not definition.internal}

GROUPS: tuple[tuple[str, tuple[str, ...]], ...] = (
    ("Retention", ("cleanup.policy", "retention.ms", "retention.bytes", "file.delete.delay.ms")),
    ("Segments", ("segment.bytes", "segment.ms", "segment.jitter.ms", "index.interval.bytes")),
    (
        "Messages",
        (
            "max.message.bytes",
            "compression.type",
            "message.timestamp.type",
            "message.timestamp.before.max.ms",
            "message.timestamp.after.max.ms",
        ),
    ),
    ("Durability", ("min.insync.replicas",)),
)
"""What acts today, by theme. Everything else is listed under "Stored, not acted on yet"."""


def kind(definition: ConfigDef) -> str:
    """``duration``, ``size``, ``choice`` or ``text``: how the value is written."""
    if definition.type is ConfigType.BOOLEAN or choices(definition):
        return "choice"
    if definition.type in (ConfigType.INT, ConfigType.LONG):
        if definition.name.endswith(".ms"):
            return "duration"
        if definition.name.endswith(".bytes"):
            return "size"
    return "text"


def choices(definition: ConfigDef) -> tuple[str, ...]:
    """The words a config may have, when it is one of a few."""
    if definition.type is ConfigType.BOOLEAN:
        return ("true", "false")
    if definition.type is ConfigType.STRING and definition.valid_values.startswith("["):
        return tuple(word.strip() for word in definition.valid_values.strip("[]").split(","))
    return ()


def show(definition: ConfigDef, value: str | None) -> str:
    """A stored text as people read it: ``604800000`` is ``7 d``."""
    if value is None:
        return "—"
    if value == "":
        return "(empty)"
    try:
        match kind(definition):
            case "duration":
                return units.show_duration_ms(int(value))
            case "size":
                return units.show_size_bytes(int(value))
    except ValueError:
        return value
    return value


class ConfigTextField(forms.CharField):
    """A duration, a size or plain text; empty inherits the default."""

    def __init__(self, definition: ConfigDef) -> None:
        self.definition = definition
        super().__init__(
            required=False,
            max_length=10_000,
            label=definition.name,
            help_text=help_text(definition),
            widget=UnfoldAdminTextInputWidget(attrs={"autocomplete": "off", "spellcheck": "false"}),
        )
        self.show_inherited(show(definition, definition.format(definition.default)))

    def show_inherited(self, words: str) -> None:
        """What acts while the field is empty."""
        self.widget.attrs["placeholder"] = f"{words} (inherited)"

    def to_python(self, value: Any) -> Any:
        text = super().to_python(value)
        return None if not text else self._canonical(text)

    def _canonical(self, text: str) -> str:
        if text.strip().lower() == units.UNLIMITED:
            return unlimited(self.definition)
        try:
            match kind(self.definition):
                case "duration":
                    raw = str(units.parse_duration_ms(text))
                case "size":
                    raw = str(units.parse_size_bytes(text))
                case _:
                    raw = text.strip()
        except ValueError as error:
            raise forms.ValidationError(str(error)) from error
        return checked(self.definition, raw)

    def prepare_value(self, value: Any) -> Any:
        return "" if value is None else value

    def has_changed(self, initial: Any, data: Any) -> bool:
        try:
            return (initial or None) != self.clean(data)
        except forms.ValidationError:
            return True


class ConfigChoiceField(forms.TypedChoiceField):
    """One of a few words; the empty choice inherits the default."""

    def __init__(self, definition: ConfigDef) -> None:
        self.definition = definition
        inherit = show(definition, definition.format(definition.default))
        super().__init__(
            required=False,
            empty_value=None,
            label=definition.name,
            help_text=help_text(definition),
            choices=[("", f"{inherit} (inherited)"), *((word, word) for word in choices(definition))],
            widget=UnfoldAdminSelectWidget,
        )

    def show_inherited(self, words: str) -> None:
        self.choices = [("", f"{words} (inherited)"), *((word, word) for word in choices(self.definition))]


ConfigField = ConfigTextField | ConfigChoiceField


def unlimited(definition: ConfigDef) -> str:
    """What "no limit" is for this config: -1 where that has this meaning, else the largest number there is."""
    for raw in ("-1", str(units.LONG_MAX)):
        try:
            return checked(definition, raw)
        except forms.ValidationError:
            continue
    raise forms.ValidationError("This cannot be without a limit.")


def checked(definition: ConfigDef, raw: str) -> str:
    """``raw`` if the schema accepts it. Raises ``ValidationError`` with the schema's reason."""
    try:
        definition.accept(raw)
    except InvalidConfigValue as refused:
        reason = refused.message.partition(f"configuration {definition.name}: ")[2] or refused.message
        raise forms.ValidationError(f"{reason.removesuffix('.')}.") from refused
    return raw


def help_text(definition: ConfigDef) -> SafeString:
    """What it does, its default, and how to write it. Words in backticks become code."""
    default = show(definition, definition.format(definition.default))
    parts = [definition.documentation, f"Default: {default}."]
    if definition.refused:
        parts.append(f"No other value is accepted. {definition.refused}")
    if kind(definition) == "duration":
        parts.append("Write 7 d, 12 h, 30 min, 45 s or milliseconds.")
    elif kind(definition) == "size":
        parts.append("Write 1 GiB, 64 MiB, 16 KiB or bytes.")
    pieces = " ".join(parts).split("`")
    return format_html_join(
        "",
        "{}",
        ((format_html("<code>{}</code>", piece) if index % 2 else piece,) for index, piece in enumerate(pieces)),
    )


def field_name(config: str) -> str:
    return PREFIX + config.replace(".", "_")


def build_fields() -> dict[str, forms.Field]:
    """A fresh form field for every topic config, by form field name."""
    return {
        field_name(name): (
            ConfigChoiceField(definition) if kind(definition) == "choice" else ConfigTextField(definition)
        )
        for name, definition in EDITABLE.items()
    }


def fieldsets() -> list[tuple[str, dict[str, Any]]]:
    """The configs by theme, those that do not act yet last and folded."""
    grouped = {name for _, names in GROUPS for name in names}
    sets = [(title, {"fields": [field_name(name) for name in names]}) for title, names in GROUPS]
    rest = [field_name(name) for name in EDITABLE if name not in grouped]
    description = "These are validated, stored and reported to clients. Ottla does not act on them yet."
    return [*sets, ("Stored, not acted on yet", {"fields": rest, "classes": ["collapse"], "description": description})]
