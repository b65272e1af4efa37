"""``manage.py runbroker`` becomes the broker: nothing of Django stays in the process."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from django.core.management import CommandError, call_command

from tests.support.ports import free_kafka_port
from tests.support.wait import wait_until

ROOT = Path(__file__).resolve().parents[2]


def test_the_process_is_replaced_by_the_broker(tmp_path: Path) -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTTLA_")}
    environment |= {
        "DJANGO_SETTINGS_MODULE": "dashboard.project.settings",
        "OTTLA_HOME": str(tmp_path),
        "OTTLA_KAFKA": f"127.0.0.1:{free_kafka_port()}",
    }
    with subprocess.Popen(
        [sys.executable, "manage.py", "runbroker", "--id", "1"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            output = process.stdout
            wait_until(lambda: output.readline().startswith("ready"), "the broker is ready")
            arguments = Path(f"/proc/{process.pid}/cmdline").read_text().split("\0")
            assert arguments[1:5] == ["-m", "broker", "--id", "1"]
            assert (tmp_path / "broker-1").is_dir()
        finally:
            process.send_signal(signal.SIGTERM)
            assert process.wait(10) == 0


def test_broker_ids_start_at_1() -> None:
    with pytest.raises(CommandError, match="start at 1"):
        call_command("runbroker", "--id", "0")
