"""Cuts between machines: each broker in a network namespace of its own, joined by a bridge; a cut is a blackhole route.

A blackhole route drops what leaves in one direction and says nothing, as a broken switch does: connections stay open on
both sides and hang. Two of them are a symmetric cut. Needs root and iproute2.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterable

import pytest

from tests.support.requires import require_tool


class Network:
    """``with Network([1, 2, 3]) as network: network.address(1) ... network.cut(1, 2)``, with a node for each broker.

    The host itself is node 0: there are the tests and the metadata, and clients unless they are put on their own node.
    """

    HOST = 0
    CLIENTS = 99

    def __init__(self, brokers: Iterable[int]) -> None:
        self.brokers = tuple(brokers)
        self.nodes = (*self.brokers, self.CLIENTS)
        # Two tests of one machine may have a network each; names of interfaces are short.
        self._tag = f"{os.getpid() % 10_000:04d}"
        self._subnet = f"10.{64 + os.getpid() % 128}.{os.getpid() // 128 % 256}"
        self._cuts: set[tuple[int, int]] = set()

    def __enter__(self) -> Network:
        if os.geteuid() != 0:
            pytest.skip("network namespaces need root")
        require_tool("ip")
        try:
            self._build()
        except subprocess.CalledProcessError as failure:
            self._tear_down()
            pytest.skip(f"no network namespaces here: {failure.stderr}")
        return self

    def __exit__(self, *failure: object) -> None:
        self._tear_down()

    def address(self, node: int) -> str:
        return f"{self._subnet}.{254 if node == self.HOST else node}"

    def prefix(self, node: int) -> list[str]:
        """What to put in front of a command so that it runs on that node."""
        return [] if node == self.HOST else ["ip", "netns", "exec", self._namespace(node)]

    def cut_one_way(self, sender: int, receiver: int) -> None:
        """Nothing ``sender`` sends arrives at ``receiver`` any more."""
        if (sender, receiver) not in self._cuts:
            self._cuts.add((sender, receiver))
            _run(*self.prefix(sender), "ip", "route", "add", "blackhole", f"{self.address(receiver)}/32")

    def cut(self, one: int, other: int) -> None:
        self.cut_one_way(one, other)
        self.cut_one_way(other, one)

    def isolate(self, node: int) -> None:
        for other in (*self.nodes, self.HOST):
            if other != node:
                self.cut(node, other)

    def heal(self) -> None:
        for sender, receiver in self._cuts:
            _run(*self.prefix(sender), "ip", "route", "del", "blackhole", f"{self.address(receiver)}/32")
        self._cuts.clear()

    def _namespace(self, node: int) -> str:
        return f"ottla-{self._tag}-{node}"

    @property
    def _bridge(self) -> str:
        return f"ottla{self._tag}"

    def _build(self) -> None:
        _run("ip", "link", "add", self._bridge, "type", "bridge")
        _run("ip", "addr", "add", f"{self.address(self.HOST)}/24", "dev", self._bridge)
        _run("ip", "link", "set", self._bridge, "up")
        for node in self.nodes:
            namespace, outside, inside = self._namespace(node), f"ov{self._tag}{node}", f"oi{self._tag}{node}"
            _run("ip", "netns", "add", namespace)
            _run("ip", "link", "add", outside, "type", "veth", "peer", "name", inside, "netns", namespace)
            _run("ip", "link", "set", outside, "master", self._bridge)
            _run("ip", "link", "set", outside, "up")
            _run(*self.prefix(node), "ip", "addr", "add", f"{self.address(node)}/24", "dev", inside)
            _run(*self.prefix(node), "ip", "link", "set", inside, "up")
            _run(*self.prefix(node), "ip", "link", "set", "lo", "up")

    def _tear_down(self) -> None:
        for node in self.nodes:
            with contextlib.suppress(subprocess.CalledProcessError):
                _run("ip", "netns", "del", self._namespace(node))
        with contextlib.suppress(subprocess.CalledProcessError):
            _run("ip", "link", "del", self._bridge)


def _run(*command: str) -> None:
    subprocess.run(command, check=True, capture_output=True, text=True)
