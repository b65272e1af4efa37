"""Where the metadata store is, as the config ``metadata`` says it: ``zookeeper://HOST:PORT,HOST:PORT/CHROOT``.

Owns: the form of that address and what is said about one that is not of that form. Nothing here connects to anything.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

ZOOKEEPER_SCHEME = "zookeeper://"
ZOOKEEPER_PORT = 2181
CHROOT_DEFAULT = "/ottla"
SERVERS_MAX = 16
EXAMPLE = "zookeeper://zk1:2181,zk2:2181,zk3:2181/ottla"

_HOST = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]+)\]|(?P<name>[A-Za-z0-9._-]+))(?::(?P<port>[0-9]{1,5}))?\Z")
_CHROOT = re.compile(r"(?:/[A-Za-z0-9._-]+)+\Z")


@dataclass(frozen=True, slots=True, kw_only=True)
class ZookeeperAddress:
    servers: tuple[tuple[str, int], ...]
    chroot: str
    """The node everything of this cluster is kept below; begins with a slash, does not end with one."""


class InvalidMetadataAddress(ValueError):
    """A sentence that says what is wrong with it."""


def parse_metadata_address(text: str) -> ZookeeperAddress:
    if not text.startswith(ZOOKEEPER_SCHEME):
        raise InvalidMetadataAddress(f"Must be empty (a file in OTTLA_HOME) or like {EXAMPLE}")
    servers, slash, path = text.removeprefix(ZOOKEEPER_SCHEME).partition("/")
    if "@" in servers:
        raise InvalidMetadataAddress("Must not contain a user or a password: keep ZooKeeper on a private network")
    hosts = tuple(_server(server) for server in servers.split(","))
    if len(hosts) > SERVERS_MAX:
        raise InvalidMetadataAddress(f"Must name at most {SERVERS_MAX} servers")
    if len(set(hosts)) < len(hosts):
        raise InvalidMetadataAddress("Must name each server once")
    chroot = (slash + path).rstrip("/") or CHROOT_DEFAULT
    if not _CHROOT.match(chroot) or any(part in (".", "..", "zookeeper") for part in chroot.split("/")):
        raise InvalidMetadataAddress(f"Must end in a path like {CHROOT_DEFAULT}, of letters, digits, '.', '_' and '-'")
    return ZookeeperAddress(servers=hosts, chroot=chroot)


def _server(text: str) -> tuple[str, int]:
    match = _HOST.match(text)
    if match is None:
        raise InvalidMetadataAddress(f"Must name servers as HOST:PORT, separated by commas, like {EXAMPLE}")
    port = int(match["port"] or ZOOKEEPER_PORT)
    if not 1 <= port <= 65_535:
        raise InvalidMetadataAddress(f"Must have ports from 1 to 65535, not {port}")
    return match["ipv6"] or match["name"], port
