from __future__ import annotations

from django.urls import path

from dashboard.services import views

urlpatterns = [
    path("services/", views.services, name="services"),
    path("services/table", views.table, name="services-table"),
    path("services/<str:name>/", views.service, name="service"),
    path("services/<str:name>/state", views.service_state, name="service-state"),
    path("services/<str:name>/<str:command>/", views.change, name="service-change"),
]
