from __future__ import annotations

import subprocess

import pytest

from broker.metadata import process_identity
from broker.metadata.process_identity import Holder, holder_of, identity_of_this_process


def of_process(pid: int) -> str:
    return f"{process_identity._machine()} {pid} {process_identity._started_at(pid)}"


def test_this_process_is_alive() -> None:
    assert holder_of(identity_of_this_process()) is Holder.ALIVE


def test_a_process_of_this_machine_is_known_to_be_dead_even_before_it_was_waited_for() -> None:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        identity = of_process(process.pid)
        assert holder_of(identity) is Holder.ALIVE
        process.kill()
        process.wait()
        assert holder_of(identity) is Holder.DEAD


def test_another_process_with_the_same_number_does_not_bring_it_back() -> None:
    machine, pid, started_at = identity_of_this_process().split(" ")
    assert holder_of(f"{machine} {pid} {int(started_at) + 1}") is Holder.DEAD


@pytest.mark.parametrize("identity", ["another-machine/pid:[1] 17 4711", "", "x", "x y", "x 1"])
def test_of_other_machines_nothing_is_known(identity: str) -> None:
    assert holder_of(identity) is Holder.UNKNOWN


def test_where_the_system_does_not_tell_nothing_is_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process_identity, "_machine", lambda: "")
    assert holder_of(identity_of_this_process()) is Holder.UNKNOWN
