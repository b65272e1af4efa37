"""What is wrong with who decides and who takes part, as alerts. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from dashboard.live.replication_rows import ControllerRow
from dashboard.live.state import AlertRow, BrokerRow


def control_alerts(controller: ControllerRow, brokers: Iterable[BrokerRow]) -> Iterable[AlertRow]:
    known = list(brokers)
    if controller.broker < 0 and any(broker.online for broker in known):
        yield AlertRow(
            name="no-controller",
            level="bad",
            title="No broker is controller",
            text="Leaders go on serving, but nobody takes over when one fails, and topics cannot be changed.",
            link="controller",
        )
    for broker in known:
        yield from _broker_alerts(broker)


def _broker_alerts(broker: BrokerRow) -> Iterable[AlertRow]:
    link = f"broker:{broker.id}"
    if broker.store_trouble:
        yield AlertRow(
            name=f"store:{broker.id}",
            level="bad",
            title=f"Broker {broker.id} cannot use the metadata store",
            text=f"{broker.store_trouble} What it leads it goes on serving; changes of the cluster wait.",
            since_ms=broker.store_trouble_since_ms,
            link="controller",
        )
    if broker.online and broker.live is False and broker.state != "decommissioned":
        yield AlertRow(
            name=f"broker-outside:{broker.id}",
            level="warn",
            title=f"Broker {broker.id} answers but is not part of the cluster",
            text="Its session ran out: it leads nothing until it has registered again, which it tries by itself.",
            link=link,
        )
    if broker.live and not broker.data_intact:
        yield AlertRow(
            name=f"broker-data:{broker.id}",
            level="warn",
            title=f"Broker {broker.id} may have lost the end of its logs",
            text="It was not stopped cleanly. It copies from the leaders again before it may lead anything.",
            link=link,
        )
