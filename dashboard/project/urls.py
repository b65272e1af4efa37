"""Every address of the site; pages of a part are included from that part."""

from __future__ import annotations

from django.contrib import admin
from django.urls import include, path

from dashboard.project.login import LoginPage, admin_login, logout_view
from dashboard.services.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("login/", LoginPage.as_view(), name="login"),
    path("logout/", logout_view, name="logout"),
    path("admin/login/", admin_login),
    path("admin/", admin.site.urls),
    path("", include("dashboard.services.urls")),
    path("", include("dashboard.messages.urls")),
    path("", include("dashboard.segments.urls")),
    path("", include("dashboard.group_changes.urls")),
    path("", include("dashboard.transactions.urls")),
    path("", include("dashboard.clients.urls")),
    path("", include("dashboard.operations.urls")),
    path("", include("dashboard.brokers.urls")),
    path("", include("dashboard.replication.urls")),
    path("", include("dashboard.controller.urls")),
    path("", include("dashboard.jobs.urls")),
    path("", include("dashboard.demo.urls")),
    path("", include("dashboard.pages.urls")),
]
