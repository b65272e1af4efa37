"""Who is controller, by whom to believe: the control plane's row, registrations and elections. Pure.

Two brokers may both believe to be controller for a moment. The larger controller epoch is right; among equals the one that has seen
more of the metadata. A controller that was once replaced is never shown again under its old epoch, be its successor silent.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import msgspec

from broker.telemetry.sample import ControlSample, RegistrationSample
from dashboard.live.replication_rows import ControllerRow, Election

UNTOLD = ControlSample()


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlVoice:
    """What one broker says of the control plane."""

    broker: int
    online: bool
    controller_id: int
    revision: int
    control: ControlSample = UNTOLD
    store: str = ""
    store_trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ControlView:
    controller_id: int = -1
    source: int = -1
    epoch: int = -1
    control: ControlSample = UNTOLD
    revision: int = -1
    registrations: Mapping[int, RegistrationSample] = field(default_factory=dict)
    """Empty when nobody tells: a broker of another make."""


def view_control(voices: Iterable[ControlVoice]) -> ControlView:
    known = list(voices)
    if not known:
        return ControlView()
    newest = max(known, key=_newest_first)
    return ControlView(
        controller_id=newest.controller_id,
        source=newest.broker,
        epoch=newest.control.controller_epoch,
        control=newest.control,
        revision=newest.revision,
        registrations={entry.id: entry for entry in newest.control.brokers},
    )


def former_after(
    former: Mapping[int, RegistrationSample], was: ControlView, now: ControlView, now_ms: int
) -> dict[int, RegistrationSample]:
    """The brokers that were taken out: the metadata named them once and do not any more. One that comes back is none of them."""
    if not now.registrations:
        return dict(former)
    gone = {
        broker_id: msgspec.structs.replace(
            entry,
            live=False,
            state="decommissioned",
            left_at_ms=entry.left_at_ms if entry.left_at_ms >= 0 else now_ms,
            epoch=-1,
            incarnation="",
            registered_at_ms=-1,
        )
        for broker_id, entry in was.registrations.items()
    }
    return {broker_id: entry for broker_id, entry in {**gone, **former}.items() if broker_id not in now.registrations}


def _newest_first(voice: ControlVoice) -> tuple[int, int, bool, bool, bool, int]:
    return (
        voice.control.controller_epoch,
        voice.revision,
        voice.online,
        voice.controller_id >= 0,
        voice.controller_id == voice.broker,
        -voice.broker,
    )


def controller_row(view: ControlView, voices: Iterable[ControlVoice], *, reassigning: int) -> ControllerRow:
    control = view.control
    known = list(voices)
    return ControllerRow(
        broker=view.controller_id,
        epoch=control.controller_epoch,
        elected_at_ms=control.elected_at_ms,
        elections=[Election(one.epoch, one.broker_id, one.at_ms, one.cause) for one in reversed(control.elections)],
        revision=view.revision,
        reassigning=reassigning,
        draining=[entry.id for entry in control.brokers if entry.state == "draining"],
        unsettled=[entry.id for entry in control.brokers if entry.live and not entry.settled],
        store=next((voice.store for voice in known if voice.store), ""),
        store_trouble={voice.broker: voice.store_trouble for voice in known if voice.online and voice.store_trouble},
        source=view.source,
    )
