"""Which brokers background work is about, and a client for each.

Broker N is the N-th internal address of the settings: a broker that is down still has a run that says so, which a
list asked of the cluster would not show.
"""

from __future__ import annotations

from pathlib import Path

from django.conf import settings

from broker.client.blocking import Client
from broker.client.errors import ClientConnectionError


def internal_addresses() -> dict[int, str]:
    """Internal listener by broker id."""
    return dict(enumerate(settings.OTTLA_BOOTSTRAP_INTERNAL, start=1))


def open_client(broker_id: int) -> Client:
    """A client of that broker's internal listener; close it after use. Raises ``ClientConnectionError``."""
    address = internal_addresses().get(broker_id)
    if address is None:
        raise ClientConnectionError(f"there is no broker {broker_id}")
    return Client([address], cluster_secret(), client_id="ottla-jobs")


def open_cluster_client() -> Client:
    """A client of whichever broker answers. Raises ``ClientConnectionError``."""
    return Client(list(internal_addresses().values()), cluster_secret(), client_id="ottla-jobs")


def cluster_secret() -> bytes:
    path = Path(settings.OTTLA_CLUSTER_SECRET_FILE)
    try:
        return bytes.fromhex(path.read_text(encoding="ascii").strip())
    except (OSError, ValueError) as error:
        raise ClientConnectionError(f"no usable cluster secret in {path}: {error}") from error
