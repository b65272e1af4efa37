"""Django admin: topics, the audit trail and the accounts, all in the console's shell."""

from __future__ import annotations

from django.contrib import admin
from django.contrib.auth.admin import GroupAdmin, UserAdmin
from django.contrib.auth.models import Group, User
from unfold.admin import ModelAdmin
from unfold.forms import AdminPasswordChangeForm, UserChangeForm, UserCreationForm

from dashboard.administration.audit_admin import AuditEntryAdmin
from dashboard.administration.topic_admin import TopicAdmin
from dashboard.models import AuditEntry, Topic

admin.site.register(Topic, TopicAdmin)
admin.site.register(AuditEntry, AuditEntryAdmin)
admin.site.unregister(User)
admin.site.unregister(Group)


@admin.register(User)
class AccountAdmin(UserAdmin, ModelAdmin):
    form = UserChangeForm
    add_form = UserCreationForm
    change_password_form = AdminPasswordChangeForm


@admin.register(Group)
class AccountGroupAdmin(GroupAdmin, ModelAdmin):
    pass
