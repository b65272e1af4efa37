"""deploy/systemd: the units start what the containers start, in a narrow cage, and systemd understands them."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from broker.config.broker import BrokerConfig
from broker.config.metadata_address import parse_metadata_address
from broker.supervisor.options import client_endpoints, internal_endpoints, options_from_environment
from broker.supervisor.roles import PROJECT_ROOT
from dashboard.project.database import database
from tests.support.systemd_units import DIRECTORY, PYTHON, SERVICES, UNITS, read_environment

ROLES = ("collector", "worker", "beat", "web")
CAGE = {
    "NoNewPrivileges": "yes",
    "CapabilityBoundingSet": "",
    "ProtectSystem": "strict",
    "ProtectHome": "yes",
    "PrivateTmp": "yes",
    "PrivateDevices": "yes",
    "RestrictAddressFamilies": "AF_UNIX AF_INET AF_INET6",
    "SystemCallFilter": "@system-service",
    "UMask": "0077",
}
ENVIRONMENT = read_environment((DIRECTORY / "ottla.env").read_text(encoding="utf-8"))


def test_there_is_a_unit_for_every_role_that_is_not_the_distributions() -> None:
    roles = {f"ottla-{role}.service" for role in ROLES}
    assert set(UNITS) == {
        *roles,
        "ottla-broker@.service",
        "ottla-metadata-backup.service",
        "ottla-metadata-backup.timer",
        "ottla.target",
    }


@pytest.mark.parametrize("name", SERVICES)
def test_a_service_runs_as_ottla_in_its_home_and_may_do_little(name: str) -> None:
    service = {option: values[-1] for option, values in SERVICES[name]["Service"].items()}
    assert {option: service[option] for option in CAGE} == CAGE
    assert service["User"] == "ottla"
    assert service["WorkingDirectory"] == "/opt/ottla"
    assert service["StateDirectory"] == "ottla"
    assert service["EnvironmentFile"] == "/etc/ottla/ottla.env"
    assert "OTTLA_HOME=/var/lib/ottla" in service["Environment"].split()
    program, *words = service["ExecStart"].split()
    assert program == PYTHON
    assert (PROJECT_ROOT / words[0]).exists() or words[:2] == ["-m", "broker"]


def test_they_start_what_the_containers_start() -> None:
    for role in ROLES:
        (command,) = SERVICES[f"ottla-{role}.service"]["Service"]["ExecStart"]
        assert command == f"{PYTHON} manage.py up --only {role}"
    assert SERVICES["ottla-broker@.service"]["Service"]["ExecStart"] == [f"{PYTHON} -m broker --id %i"]


def test_all_but_the_backup_come_back_and_stop_with_the_target() -> None:
    for name, unit in SERVICES.items():
        if "backup" not in name:
            assert unit["Service"]["Restart"] == ["on-failure"]
            assert unit["Unit"]["StartLimitIntervalSec"] == ["0"], "for ever"
            assert unit["Unit"]["PartOf"] == ["ottla.target"]
            assert unit["Install"]["WantedBy"] == ["ottla.target"]


def test_the_environment_of_the_first_machine_is_understood_by_all_roles(tmp_path: Path) -> None:
    environment = {**ENVIRONMENT, "OTTLA_HOME": str(tmp_path)}
    config = BrokerConfig.from_environment(environment, node_id=1)
    assert config.metadata is not None
    assert len(parse_metadata_address(config.metadata).servers) == 3
    assert (config.host, config.port, config.internal_port) == ("10.0.0.1", 9092, 19092)
    assert (config.advertised_host, config.broker_rack) == ("10.0.0.1", "rack-1")
    assert (config.default_replication_factor, config.min_insync_replicas) == (3, 2)
    options = options_from_environment(environment)
    assert options.worker_brokers == (1,)
    assert options.redis_url
    assert len(client_endpoints(environment)) == len(internal_endpoints(environment)) == 3
    assert database(options.database_url, tmp_path)["HOST"] == "10.0.0.1"


def test_systemd_understands_the_units(tmp_path: Path) -> None:
    analyze = shutil.which("systemd-analyze")
    if analyze is None:
        pytest.skip("systemd-analyze is not installed")
    for name in UNITS:
        text = (DIRECTORY / name).read_text(encoding="utf-8").replace(PYTHON, sys.executable)
        (tmp_path / name.replace("@.", "@1.")).write_text(text)
    checked = subprocess.run(
        [analyze, "verify", "--man=no", *(str(path) for path in sorted(tmp_path.iterdir()))],
        capture_output=True,
        text=True,
        check=False,
    )
    own = [line for line in checked.stderr.splitlines() if "ottla" in line]
    assert not own
    assert checked.returncode == 0, checked.stderr
