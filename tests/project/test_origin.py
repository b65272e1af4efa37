from __future__ import annotations

import pytest
from channels.testing import WebsocketCommunicator

from dashboard.project.origin import SameOriginValidator, is_allowed


@pytest.mark.parametrize(
    ("origin", "host", "allowed"),
    [
        ("http://127.0.0.1:8000", "127.0.0.1:8000", True),
        ("https://localhost", "localhost", True),
        ("http://LOCALHOST:8000", "localhost:8000", True),
        ("http://127.0.0.1:9999", "127.0.0.1:8000", False),
        ("http://evil.example", "127.0.0.1:8000", False),
        ("http://evil.example", "evil.example", False),
        ("http://127.0.0.1:8000.evil.example", "127.0.0.1:8000", False),
        ("null", "127.0.0.1:8000", False),
        ("", "127.0.0.1:8000", False),
        ("http://[::1", "127.0.0.1:8000", False),
        ("file://127.0.0.1:8000", "127.0.0.1:8000", False),
        ("http://127.0.0.1:8000", "", False),
    ],
)
def test_only_pages_of_this_site_may_connect(origin: str, host: str, allowed: bool) -> None:
    assert is_allowed(origin, host) is allowed


def test_a_trusted_origin_in_front_of_the_site_may(settings) -> None:
    settings.CSRF_TRUSTED_ORIGINS = ["https://kafka.example"]
    assert is_allowed("https://kafka.example", "127.0.0.1:8000")


async def test_a_stranger_is_refused_before_anything_else_runs() -> None:
    async def application(scope, receive, send) -> None:
        raise AssertionError("reached")

    communicator = WebsocketCommunicator(
        SameOriginValidator(application),
        "/live/",
        headers=[(b"origin", b"http://evil.example"), (b"host", b"localhost")],
    )
    connected, _ = await communicator.connect()
    assert not connected
