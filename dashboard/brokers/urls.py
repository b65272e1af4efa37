from __future__ import annotations

from django.urls import path

from dashboard.brokers import views

urlpatterns = [
    path("brokers/", views.brokers, name="brokers"),
    path("brokers/<str:slug>/", views.configs, name="broker-configs"),
    path("brokers/<str:slug>/<str:name>/", views.config, name="broker-config"),
]
