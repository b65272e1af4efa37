"""What transactions need of the layers above and beside them, as the smallest protocols that will do.

``app.py`` gives the real ones; tests and the simulation give fakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from broker.types import BrokerId

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage


class PeerRequests(Protocol):
    """``client/peers.py``."""

    async def request(self, broker_id: BrokerId, api_key: int, api_version: int, message: Any) -> Any:
        """The response message. Raises ``KafkaError`` when there was none; asking again must be harmless."""


class ImageSource(Protocol):
    """``cluster/driver.py``."""

    @property
    def image(self) -> ClusterImage: ...
