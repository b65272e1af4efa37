from __future__ import annotations

from django.urls import path

from dashboard.replication import views

urlpatterns = [path("replication/", views.replication, name="replication")]
