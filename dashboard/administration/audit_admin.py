"""The audit trail: read only, newest first, for those who may see it."""

from __future__ import annotations

import json

from django.contrib import admin
from django.http import HttpRequest
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString
from unfold.admin import ModelAdmin

from dashboard.models import AuditEntry


class AuditEntryAdmin(ModelAdmin):
    list_display = ("moment", "actor_name", "address", "action", "subject", "outcome")
    list_filter = ("outcome", "action")
    search_fields = ("subject", "actor_name")
    date_hierarchy = "at"
    actions = None
    fields = ("moment", "actor_name", "address", "action", "subject", "outcome", "message", "was", "became")
    readonly_fields = fields

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_change_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: AuditEntry | None = None) -> bool:
        return False

    @admin.display(description="when", ordering="at")
    def moment(self, entry: AuditEntry) -> str:
        return f"{timezone.localtime(entry.at):%Y-%m-%d %H:%M:%S %Z}"

    @admin.display(description="before")
    def was(self, entry: AuditEntry) -> SafeString:
        return _json(entry.before)

    @admin.display(description="after")
    def became(self, entry: AuditEntry) -> SafeString:
        return _json(entry.after)


def _json(value: object) -> SafeString:
    text = "—" if value is None else json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False)
    return format_html('<pre class="ot-pre">{}</pre>', text)
