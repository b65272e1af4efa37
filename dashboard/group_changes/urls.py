"""Group ids may be any string, so they go into the query."""

from __future__ import annotations

from django.urls import path

from dashboard.group_changes import configs, deletion, reset

urlpatterns = [
    path("groups/by-id/reset-offsets", reset.reset, name="group-reset"),
    path("groups/by-id/reset-offsets/done", reset.done, name="group-reset-done"),
    path("groups/by-id/configs", configs.configs, name="group-configs"),
    path("groups/by-id/config", configs.config, name="group-config"),
    path("groups/by-id/delete", deletion.delete_group, name="group-delete"),
    path("groups/by-id/delete-offsets", deletion.delete_offsets, name="group-delete-offsets"),
]
