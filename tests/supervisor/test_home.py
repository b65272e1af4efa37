from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from broker.supervisor.home import check_ports, lock_home, prepare_home
from broker.supervisor.options import Endpoint
from tests.supervisor.fakes import options


def test_secrets_are_made_once_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    home = tmp_path / "var"
    prepare_home(home)
    before = {name: (home / name).read_text() for name in ("secret_key", "cluster_secret")}
    prepare_home(home)
    assert {name: (home / name).read_text() for name in before} == before
    assert {(home / name).stat().st_mode & 0o777 for name in before} == {0o600}
    assert home.stat().st_mode & 0o777 == 0o700
    assert len(bytes.fromhex(before["cluster_secret"].strip())) == 32
    assert sorted(path.name for path in home.iterdir()) == ["cluster_secret", "secret_key"]


def test_two_installations_differ(tmp_path: Path) -> None:
    prepare_home(tmp_path / "a")
    prepare_home(tmp_path / "b")
    assert (tmp_path / "a" / "secret_key").read_text() != (tmp_path / "b" / "secret_key").read_text()


def test_a_second_installation_on_one_home_is_refused_and_told_who_has_it(tmp_path: Path) -> None:
    held = lock_home(options(tmp_path))
    try:
        with pytest.raises(ValueError, match=rf"in use by another `manage.py up` \(pid {os.getpid()}\)"):
            lock_home(options(tmp_path))
    finally:
        for descriptor in held:
            os.close(descriptor)
    for descriptor in lock_home(options(tmp_path)):
        os.close(descriptor)


def test_roles_alone_share_a_home_but_not_a_name(tmp_path: Path) -> None:
    worker = dataclasses.replace(options(tmp_path), only="worker")
    web = dataclasses.replace(options(tmp_path), only="web")
    held = [*lock_home(worker), *lock_home(web)]
    try:
        with pytest.raises(ValueError, match=r"'worker' of .* is in use"):
            lock_home(worker)
        with pytest.raises(ValueError, match="is in use"):
            lock_home(options(tmp_path))
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_an_installation_that_is_gone_is_not_named_as_the_holder(tmp_path: Path) -> None:
    for descriptor in lock_home(options(tmp_path)):
        os.close(descriptor)
    held = lock_home(dataclasses.replace(options(tmp_path), only="worker"))
    try:
        with pytest.raises(ValueError, match=r"in use by another `manage\.py up`; stop it"):
            lock_home(options(tmp_path))
    finally:
        for descriptor in held:
            os.close(descriptor)


def test_the_lock_survives_an_exec_and_ends_with_the_process(tmp_path: Path) -> None:
    holder = subprocess.Popen(
        [
            sys.executable,
            "-c",
            "import os, sys\nfrom pathlib import Path\n"
            "from broker.supervisor.home import lock_home\nfrom broker.supervisor.options import options_from_environment\n"
            f"lock_home(options_from_environment({{'OTTLA_HOME': {str(tmp_path)!r}}}))\n"
            "os.execv('/bin/sh', ['sh', '-c', 'echo held; exec cat'])",
        ],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == b"held\n"
    with pytest.raises(ValueError, match=f"pid {holder.pid}"):
        lock_home(options(tmp_path))
    holder.communicate()
    for descriptor in lock_home(options(tmp_path)):
        os.close(descriptor)


def test_a_taken_port_is_named_together_with_what_it_is_for() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(ValueError, match=rf"^port {port} on 127.0.0.1 is taken by another process \(web; choose"):
            check_ports({"web; choose another with --http": Endpoint("127.0.0.1", port)})
    check_ports({"web": Endpoint("127.0.0.1", port)})


def test_an_address_of_another_machine_is_refused_with_the_reason() -> None:
    with pytest.raises(ValueError, match=r"port 9092 on 192\.0\.2\.1 cannot be used: Cannot assign"):
        check_ports({"broker-1": Endpoint("192.0.2.1", 9092)})
