"""A broker that the supervisor of this machine does not run cannot be restarted from here, and it is said where it can."""

from __future__ import annotations

import pytest

from broker.supervisor.service import ServiceState
from dashboard.operations import supervised
from dashboard.services.supervisor import ServiceRow, Services, SupervisorError


def service_row(name: str) -> ServiceRow:
    return ServiceRow(
        name=name,
        role="broker",
        state=ServiceState.READY,
        pid=4711,
        started_at_ms=0,
        restarts=0,
        last_exit="",
        next_start_seconds=None,
        memory_bytes=None,
        cpu_percent=None,
        address="",
        command="",
        log_path="",
        last_lines=(),
    )


def test_brokers_of_this_machine_can_be_restarted_others_where_they_run(monkeypatch: pytest.MonkeyPatch) -> None:
    here = Services(sampled_at_ms=0, home="/var/lib/ottla", rows=(service_row("broker-1"), service_row("broker-2")))
    monkeypatch.setattr(supervised, "read_services", lambda: here)
    assert supervised.unsupervised([1, 2]) == []
    (words,) = supervised.unsupervised([2, 3])
    assert words.startswith("Broker 3 is not run by the supervisor of this machine. Restart it where it runs:")
    assert "systemctl restart ottla-broker@3" in words


def test_without_a_supervisor_none_can_be(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody() -> Services:
        raise SupervisorError("No supervisor answers.")

    monkeypatch.setattr(supervised, "read_services", nobody)
    (words,) = supervised.unsupervised([2, 3])
    assert words.startswith("No supervisor answers. Restart it where it runs:")
    assert supervised.unsupervised([]) == []
