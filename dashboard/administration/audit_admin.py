"""The audit trail: read only, newest first, for those who may see it."""

from __future__ import annotations

import json

from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from dashboard.models import AuditEntry


class AuditEntryAdmin(ModelAdmin):
    list_display = ("at", "actor_name", "address", "action", "subject", "outcome")
    list_filter = ("outcome", "action")
    search_fields = ("subject", "actor_name")
    date_hierarchy = "at"
    actions = None
    fields = ("at", "actor_name", "address", "action", "subject", "outcome", "message", "was", "became")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def was(self, entry: AuditEntry) -> SafeString:
        return _json(entry.before)

    def became(self, entry: AuditEntry) -> SafeString:
        return _json(entry.after)

    was.short_description = "before"  # type: ignore[attr-defined]
    became.short_description = "after"  # type: ignore[attr-defined]


def _json(value: object) -> SafeString:
    text = "—" if value is None else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return format_html("<pre>{}</pre>", text)
