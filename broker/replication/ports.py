"""What following a leader needs of the layers above and beside it, as the smallest protocols that will do.

``app.py`` gives the real ones; tests and the simulation give fakes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

from broker.types import BrokerId, TopicPartition

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage


class SourceUnreachable(Exception):
    """There is no connection to the source broker, or it did not prove that it knows the cluster's secret."""


class FrameReceiver(Protocol):
    def on_frame(self, frame: memoryview) -> None:
        """One answer, from its correlation id on. The memory is used again when this returns."""

    def on_lost(self, reason: str) -> None:
        """The connection is gone, once. Nothing comes any more."""


class SourceConnection(Protocol):
    """``client/replica_connection.py``: an authenticated connection to the internal listener of one broker."""

    def send(self, frame: bytes) -> None: ...

    def close(self, reason: str) -> None:
        """End it now; ``on_lost`` is called with ``reason``."""

    def trim(self) -> None:
        """Called about once a second: give memory back that was not needed since."""


class Connect(Protocol):
    async def __call__(
        self, host: str, port: int, receiver: FrameReceiver, *, receive_buffer_bytes: int
    ) -> SourceConnection:
        """Raises ``SourceUnreachable``."""


class PeerRequests(Protocol):
    """``client/peers.py``."""

    async def request(self, broker_id: BrokerId, api_key: int, api_version: int, message: Any) -> Any:
        """The response message. Raises ``KafkaError`` when there was none; asking again must be harmless."""


class ImageSource(Protocol):
    """``cluster/driver.py``."""

    @property
    def image(self) -> ClusterImage: ...


class DamagedPartitions(Protocol):
    """``partition/manager.py``."""

    def copy_anew(self, topic_partition: TopicPartition) -> None:
        """Its log is offline. If it can be begun anew, following it begins anew as well."""
