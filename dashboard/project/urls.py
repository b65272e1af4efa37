"""Every address of the site; pages of a part are included from that part."""

from __future__ import annotations

from django.contrib import admin
from django.urls import path

from dashboard.project.login import LoginPage, logout_view
from dashboard.services.health import healthz

urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("login/", LoginPage.as_view(), name="login"),
    path("logout/", logout_view, name="logout"),
    path("admin/", admin.site.urls),
]
