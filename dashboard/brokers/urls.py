from __future__ import annotations

from django.urls import path

from dashboard.brokers import views

urlpatterns = [
    path("brokers/", views.brokers, name="brokers"),
    path("brokers/<int:number>/", views.broker, name="broker"),
    path("brokers/<str:slug>/configs/", views.configs, name="broker-configs"),
    path("brokers/<str:slug>/configs/<str:name>/", views.config, name="broker-config"),
]
