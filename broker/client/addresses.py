"""``host:port`` lists as people write them."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple


class Address(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


def parse_address(text: str) -> Address:
    """``host:port``, ``[v6]:port``. Raises ``ValueError`` with the offending text."""
    host, separator, port = text.strip().rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not separator or not host or not port.isdecimal() or not 0 < int(port) < 65536:
        raise ValueError(f"not a host:port address: {text!r}")
    return Address(host, int(port))


def parse_bootstrap(bootstrap: str | Iterable[str]) -> tuple[Address, ...]:
    """A comma list or an iterable of addresses, in order, without duplicates; at least one."""
    parts = bootstrap.split(",") if isinstance(bootstrap, str) else list(bootstrap)
    addresses = tuple(dict.fromkeys(parse_address(part) for part in parts if part.strip()))
    if not addresses:
        raise ValueError("no bootstrap address given")
    return addresses
