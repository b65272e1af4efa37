"""What the environment makes of the settings."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from broker.supervisor.roles import PROJECT_ROOT
from dashboard.project.home import comma_list, flag, home_directory, secret_key
from dashboard.project.settings import celery_url

NAMES = [
    "DEBUG",
    "ALLOWED_HOSTS",
    "SESSION_COOKIE_SECURE",
    "CSRF_COOKIE_SECURE",
    "SESSION_COOKIE_HTTPONLY",
    "OTTLA_BOOTSTRAP",
    "OTTLA_BOOTSTRAP_INTERNAL",
    "REDIS_URL",
    "CELERY_BROKER_URL",
    "CELERY_ACCEPT_CONTENT",
    "SECURE_HSTS_SECONDS",
]


def settings_of(home: Path, **environ: str) -> dict:
    """The settings of a process started with this environment and nothing else of ours."""
    base = {name: value for name, value in os.environ.items() if not name.startswith(("OTTLA_", "REDIS_", "DJANGO_"))}
    script = (
        "import json; from django.conf import settings;"
        f"print(json.dumps({{name: getattr(settings, name) for name in {NAMES!r}}}, default=str))"
    )
    run = subprocess.run(
        [sys.executable, "-c", script],
        cwd=PROJECT_ROOT,
        env={**base, "OTTLA_HOME": str(home), "DJANGO_SETTINGS_MODULE": "dashboard.project.settings", **environ},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


def test_without_anything_it_is_safe_and_on_this_machine(tmp_path: Path) -> None:
    found = settings_of(tmp_path)
    assert found["DEBUG"] is False
    assert found["ALLOWED_HOSTS"] == ["127.0.0.1", "localhost", "[::1]"]
    assert found["SESSION_COOKIE_HTTPONLY"] is True
    assert found["SESSION_COOKIE_SECURE"] is False, "or nobody could sign in at http://127.0.0.1"
    assert found["OTTLA_BOOTSTRAP"] == ["127.0.0.1:9092", "127.0.0.1:9093", "127.0.0.1:9094"]
    assert found["OTTLA_BOOTSTRAP_INTERNAL"] == ["127.0.0.1:19092", "127.0.0.1:19093", "127.0.0.1:19094"]
    assert found["REDIS_URL"] == f"unix://{tmp_path}/valkey.sock?db=0"
    assert found["CELERY_ACCEPT_CONTENT"] == ["json"]


def test_behind_a_tls_proxy_cookies_are_secure(tmp_path: Path) -> None:
    found = settings_of(tmp_path, OTTLA_HTTPS="true", OTTLA_ALLOWED_HOSTS="kafka.example, 10.0.0.1")
    assert found["SESSION_COOKIE_SECURE"] is True
    assert found["CSRF_COOKIE_SECURE"] is True
    assert found["SECURE_HSTS_SECONDS"] > 0
    assert found["ALLOWED_HOSTS"] == ["kafka.example", "10.0.0.1"]


def test_a_redis_elsewhere_serves_jobs_and_live_data_alike(tmp_path: Path) -> None:
    found = settings_of(tmp_path, REDIS_URL="rediss://:secret@cache:6380/2")
    assert found["REDIS_URL"] == found["CELERY_BROKER_URL"] == "rediss://:secret@cache:6380/2"


@pytest.mark.parametrize(
    ("url", "celery"),
    [
        ("unix:///srv/o/valkey.sock?db=3", "redis+socket:///srv/o/valkey.sock?virtual_host=3"),
        ("unix:///srv/o/valkey.sock", "redis+socket:///srv/o/valkey.sock?virtual_host=0"),
        ("redis://h:6379/1", "redis://h:6379/1"),
    ],
)
def test_celery_spells_a_unix_socket_differently(url: str, celery: str) -> None:
    assert celery_url(url) == celery


def test_the_secret_key_is_the_given_one_or_the_one_of_the_home(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("f" * 50 + "\n")
    assert secret_key({}, tmp_path) == "f" * 50
    assert secret_key({"OTTLA_SECRET_KEY": "e" * 50}, tmp_path) == "e" * 50


def test_without_a_key_a_process_has_one_of_its_own(tmp_path: Path) -> None:
    assert secret_key({}, tmp_path) != secret_key({}, tmp_path)


def test_a_weak_key_is_refused(tmp_path: Path) -> None:
    (tmp_path / "secret_key").write_text("change-me")
    with pytest.raises(ValueError, match="fewer than 32 characters"):
        secret_key({}, tmp_path)


def test_the_home_is_made_for_its_owner_only(tmp_path: Path) -> None:
    home = home_directory({"OTTLA_HOME": str(tmp_path / "a" / "b")})
    assert home.stat().st_mode & 0o777 == 0o700


@pytest.mark.parametrize(("text", "value"), [("", False), ("true", True), ("1", True), ("No", False), ("off", False)])
def test_flags_are_read_as_people_write_them(text: str, value: bool) -> None:
    assert flag({"X": text}, "X") is value


def test_a_flag_that_is_neither_is_refused() -> None:
    with pytest.raises(ValueError, match="X='maybe': write true or false"):
        flag({"X": "maybe"}, "X")


def test_lists_may_have_spaces_and_trailing_commas() -> None:
    assert comma_list(" a, b ,,c,") == ["a", "b", "c"]
    assert comma_list(None) == []
