from __future__ import annotations

from django.urls import path

from dashboard.clients import metrics, views

urlpatterns = [
    path("clients/", views.clients, name="clients"),
    path("clients/metrics/", metrics.metrics, name="client-metrics"),
    path("clients/metrics/change", metrics.change, name="client-metrics-change"),
    path("clients/metrics/<int:broker_id>/<uuid:instance_id>/", metrics.instance, name="client-instance"),
    path("clients/<str:key>/", views.client, name="client"),
    path("clients/<str:key>/disconnect", views.disconnect, name="client-disconnect"),
]
