"""ASGI entry point: HTTP to Django, WebSockets to Channels.

The origin check stands outside authentication: a page of another site never reaches a session.
"""

from __future__ import annotations

import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "dashboard.project.settings")
http = get_asgi_application()

from channels.auth import AuthMiddlewareStack  # noqa: E402  (the apps must be loaded first)
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402

from dashboard.live.routing import websocket_urlpatterns  # noqa: E402
from dashboard.project.origin import SameOriginValidator  # noqa: E402

application = ProtocolTypeRouter(
    {
        "http": http,
        "websocket": SameOriginValidator(AuthMiddlewareStack(URLRouter(websocket_urlpatterns))),
    }
)
