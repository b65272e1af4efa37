"""Addresses of single messages, downloads and the produce form; the lists are tabs of the topic's page."""

from __future__ import annotations

from django.urls import path

from dashboard.messages import produce, views

urlpatterns = [
    path("topics/<str:name>/messages/download/", views.download, name="messages-download"),
    path("topics/<str:name>/messages/<int:partition>/<int:offset>/", views.message, name="message"),
    path("topics/<str:name>/messages/<int:partition>/<int:offset>/<str:part>/", views.raw, name="message-raw"),
    path("topics/<str:name>/produce/", produce.produce, name="produce"),
]
