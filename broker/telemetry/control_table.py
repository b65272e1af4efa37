"""The control plane as last sampled: the controller's term and the brokers' registrations. An unchanged image costs one comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING

from broker.cluster.image import BrokerState
from broker.telemetry.sample import ControlSample, ElectionSample, RegistrationSample

if TYPE_CHECKING:
    from broker.cluster.image import ClusterImage
    from broker.types import BrokerId


class ControlTable:
    def __init__(self) -> None:
        self.sample = ControlSample()
        self._image: ClusterImage | None = None

    def update(self, image: ClusterImage) -> ControlSample | None:
        """The sample if it changed, else ``None``."""
        if image is self._image:
            return None
        self._image = image
        sample = _sample(image)
        if sample == self.sample:
            return None
        self.sample = sample
        return sample


def _sample(image: ClusterImage) -> ControlSample:
    return ControlSample(
        controller_epoch=image.controller_epoch,
        elected_at_ms=image.controller_since_ms or -1,
        elections=[
            ElectionSample(epoch=one.epoch, broker_id=one.broker_id, at_ms=one.at_ms, cause=one.cause)
            for one in image.controller_history
        ],
        brokers=[_registration(image, broker_id) for broker_id in sorted({*image.brokers_state, *image.brokers})],
    )


def _registration(image: ClusterImage, broker_id: BrokerId) -> RegistrationSample:
    remembered = image.brokers_state.get(broker_id, BrokerState())
    state = {"active": ""}.get(remembered.state, remembered.state)
    if not state and broker_id in image.stopping:
        state = "stopping"
    live = image.brokers.get(broker_id)
    if live is None:
        return RegistrationSample(
            id=broker_id,
            host=remembered.host,
            port=remembered.port,
            rack=remembered.rack or "",
            left_at_ms=remembered.left_at_ms,
            state=state,
            state_since_ms=remembered.since_ms or -1,
        )
    return RegistrationSample(
        id=broker_id,
        host=live.host,
        port=live.port,
        rack=live.rack or "",
        internal_host=live.internal_host,
        internal_port=live.internal_port,
        epoch=live.epoch,
        incarnation=live.incarnation,
        registered_at_ms=live.registered_at_ms or -1,
        live=True,
        settled=image.is_settled(broker_id),
        state=state,
        state_since_ms=remembered.since_ms or -1,
        data_intact=live.data_intact,
    )
