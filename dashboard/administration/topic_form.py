"""The form a topic is created and configured with.

Its last step of validation asks the broker with ``validate_only``: what the broker would refuse is a form error at
the field it is about, and nothing has changed by then.
"""

from __future__ import annotations

import contextlib
import types
from typing import Any

from django import forms

from broker import limits
from broker.client.results import ConfigEntry
from broker.errors import ErrorCode
from dashboard.administration import config_fields
from dashboard.administration.config_fields import ConfigField
from dashboard.administration.topic_plan import TopicPlan, plan_change, plan_creation
from dashboard.gateway import GatewayError, gateway
from dashboard.models import Topic

OWN_VALUE = "DYNAMIC_TOPIC_CONFIG"
"""Kafka's name for a value set on the topic itself."""
COPIES = 3
"""What a new topic should have: it lives through the loss of one, and goes on meanwhile."""
_COARSER_UNITS = {".hours": 3_600_000, ".minutes": 60_000}
_FIELDS_BY_CODE = {
    ErrorCode.INVALID_TOPIC_EXCEPTION: "name",
    ErrorCode.TOPIC_ALREADY_EXISTS: "name",
    ErrorCode.INVALID_PARTITIONS: "partition_count",
    ErrorCode.INVALID_REPLICATION_FACTOR: "replication_factor",
}


class BaseTopicForm(forms.ModelForm):
    plan: TopicPlan | None = None
    """What saving will do; set once the form is valid."""

    class Meta:
        model = Topic
        fields = ("name", "partition_count", "replication_factor")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.creates = self.instance.topic_id == ""
        self.current: dict[str, str] = {}
        self.inherited: dict[str, str] = {}
        if self.creates:
            self._suggest_copies()
        else:
            self._load_current()

    def _suggest_copies(self) -> None:
        """Three, or as many as there are brokers now."""
        with contextlib.suppress(GatewayError):  # saving will say so
            self.initial["replication_factor"] = min(COPIES, len(gateway().describe_cluster().brokers))

    def _load_current(self) -> None:
        """Start from the topic's own values in the cluster; inherited ones are shown as placeholders."""
        try:
            entries = gateway().topic_configs(self.instance.name)
        except GatewayError as error:
            self.load_error = str(error)
            return
        for entry in entries:
            field = self.fields.get(config_fields.field_name(entry.name))
            if not isinstance(field, ConfigField) or entry.value is None:
                continue
            shown = config_fields.show(config_fields.EDITABLE[entry.name], entry.value)
            inherited = inherited_value(entry)
            if inherited is not None:
                self.inherited[entry.name] = inherited
                field.show_inherited(config_fields.show(config_fields.EDITABLE[entry.name], inherited))
            if entry.source == OWN_VALUE:
                self.current[entry.name] = entry.value
                is_choice = isinstance(field, forms.ChoiceField)
                self.initial[config_fields.field_name(entry.name)] = entry.value if is_choice else shown
            else:
                field.show_inherited(shown)

    load_error = ""
    """Why the current values could not be read; then nothing may be saved."""

    def clean_partition_count(self) -> int:
        count = int(self.cleaned_data["partition_count"])
        if not 1 <= count <= limits.PARTITIONS_PER_TOPIC_MAX:
            raise forms.ValidationError(f"A topic has 1 to {limits.PARTITIONS_PER_TOPIC_MAX:,} partitions.")
        return count

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        if self.load_error:
            raise forms.ValidationError(self.load_error)
        if self.errors:
            return cleaned
        plan = self._make_plan(cleaned)
        if plan.added_partitions < 0:
            self.add_error("partition_count", "Partitions can be added but not removed.")
            return cleaned
        try:
            carry_out(plan, validate_only=True)
        except GatewayError as error:
            self.add_error(self._field_of(error), str(error))
            return cleaned
        self.plan = plan
        return cleaned

    def _make_plan(self, cleaned: dict[str, Any]) -> TopicPlan:
        wanted = {name: cleaned.get(config_fields.field_name(name)) for name in config_fields.EDITABLE}
        if self.creates:
            return plan_creation(cleaned["name"], cleaned["partition_count"], cleaned["replication_factor"], wanted)
        stored = Topic.objects.get(pk=self.instance.pk)
        return plan_change(
            stored.name,
            partition_count=cleaned["partition_count"],
            current_partition_count=stored.partition_count,
            replication_factor=stored.replication_factor,
            current=self.current,
            wanted=wanted,
            inherited=self.inherited,
        )

    def _field_of(self, error: GatewayError) -> str | None:
        """Where the broker's refusal belongs."""
        for name in config_fields.EDITABLE:
            if f"configuration {name}:" in str(error):
                return config_fields.field_name(name)
        field = _FIELDS_BY_CODE.get(error.code) if error.code is not None else None
        return field if field in self.fields else None


TopicForm: type[BaseTopicForm] = types.new_class(
    "TopicForm", (BaseTopicForm,), exec_body=lambda namespace: namespace.update(config_fields.build_fields())
)
"""The form with a field for every topic config of the broker's schema."""


def inherited_value(entry: ConfigEntry) -> str | None:
    """What the topic falls back to, as the broker told it; a broker's setting may be in hours where the topic's is in
    milliseconds. ``None`` when it did not tell."""
    behind = next((synonym for synonym in entry.synonyms if synonym.source != OWN_VALUE), None)
    if behind is None or behind.value is None:
        return None
    factor = next((factor for unit, factor in _COARSER_UNITS.items() if behind.name.endswith(unit)), 1)
    if factor == 1 or not behind.value.isdecimal():
        return behind.value
    return str(int(behind.value) * factor)


def carry_out(plan: TopicPlan, *, validate_only: bool = False) -> None:
    """Make the cluster so. Raises ``GatewayError``; the partition count goes first, configs are all or nothing."""
    if plan.creates:
        gateway().create_topic(
            plan.name, plan.partition_count, plan.replication_factor, plan.settings, validate_only=validate_only
        )
        return
    if plan.added_partitions:
        gateway().create_partitions(plan.name, plan.partition_count, validate_only=validate_only)
    if plan.configs:
        gateway().alter_topic_configs(plan.name, plan.configs, validate_only=validate_only)
