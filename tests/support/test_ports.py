"""Ports that tests hand to servers belong to one test process of the machine at a time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from tests.support.ports import TWIN, free_kafka_port, free_port

_REPOSITORY = Path(__file__).resolve().parents[2]


def claimed_by_another_process(*ports: int) -> list[bool]:
    program = f"from tests.support.ports import claim; print(*(int(claim(port)) for port in {ports}))"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=_REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    return [word == "1" for word in said.stdout.split()]


def test_no_other_process_gets_a_port_or_its_twin() -> None:
    port = free_kafka_port()
    assert claimed_by_another_process(port, port + TWIN) == [False, False]


def test_a_port_is_free_again_when_its_process_has_ended() -> None:
    program = "from tests.support.ports import free_port; print(free_port())"
    said = subprocess.run(
        [sys.executable, "-c", program], cwd=_REPOSITORY, capture_output=True, text=True, check=True, timeout=60
    )
    assert claimed_by_another_process(int(said.stdout)) == [True]


def test_no_port_is_handed_out_twice() -> None:
    ports = [free_port() for _ in range(200)]
    assert len(set(ports)) == len(ports)
