"""Addresses of the WebSockets, for ``dashboard.project.asgi``."""

from __future__ import annotations

from django.urls import path

from dashboard.live.consumers import LiveConsumer
from dashboard.messages.tail import TailConsumer

websocket_urlpatterns = [
    path("live/", LiveConsumer.as_asgi(), name="live"),
    path("live/tail/", TailConsumer.as_asgi(), name="live-tail"),
]
