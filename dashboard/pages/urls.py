"""Addresses of the pages. Topic and group names may hold slashes in groups' case, hence ``path``."""

from __future__ import annotations

from django.urls import path

from dashboard.pages import palette
from dashboard.pages.groups import views as groups
from dashboard.pages.overview import views as overview
from dashboard.pages.topics import views as topics

urlpatterns = [
    path("", overview.overview, name="overview"),
    path("topics/", topics.topics, name="topics"),
    path("topics/<str:name>/", topics.topic, name="topic"),
    path("groups/", groups.groups, name="groups"),
    path("groups/by-id", groups.group_by_id, name="group-by-id"),
    path("groups/<path:name>/", groups.group, name="group"),
    path("palette.json", palette.palette, name="palette"),
]
