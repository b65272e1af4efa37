"""Channel-layer group names: one group per scope, so that only what is watched is delivered.

Names are limited to 99 ASCII letters, digits, hyphens, underscores and periods; topics and groups may be called
anything, hence the digest.
"""

from __future__ import annotations

import hashlib

import redis
from channels.layers import get_channel_layer

from dashboard.live.state import Frame, encode, is_detail
from dashboard.live.store import StoreError

FRAME_EVENT = "live.frame"


def channel_group(scope: str) -> str:
    if not is_detail(scope):
        return f"live.{scope}"
    kind, _, name = scope.partition(":")
    return f"live.{kind}.{hashlib.blake2b(name.encode(), digest_size=16).hexdigest()}"


async def send_frame(frame: Frame) -> None:
    """Publish to everybody who watches the frame's scope. Nobody waits for it; a lost one is a visible gap."""
    layer = get_channel_layer()
    assert layer is not None, "CHANNEL_LAYERS is not configured"
    try:
        await layer.group_send(channel_group(frame.scope), {"type": FRAME_EVENT, "frame": encode(frame)})
    except (redis.RedisError, OSError) as error:
        raise StoreError(f"The channel layer does not answer: {error}") from error
