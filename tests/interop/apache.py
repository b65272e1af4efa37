"""Apache Kafka's own programs as peers: its command line tools as they come, and our scenarios on its Java client.

Needs a JDK and Maven, which fetches the jars once. Where they are missing the test is skipped and says so.
"""

from __future__ import annotations

import os
import subprocess
from functools import lru_cache
from pathlib import Path
from tempfile import mkdtemp

import pytest

from bench.apache.class_path import NoApacheKafka, class_path, environment, java
from tests.support.requires import require_tool

SECONDS_MAX = 90
SCENARIO = Path(__file__).parent / "java_client" / "Scenario.java"


def require_apache_kafka() -> None:
    for tool in ("java", "javac", "mvn"):
        require_tool(tool)
    try:
        class_path()
    except NoApacheKafka as reason:
        if os.environ.get("CI"):
            pytest.fail(str(reason))
        pytest.skip(str(reason))


def run_tool(name: str, *arguments: str, input_text: str | None = None) -> str:
    """A program of ``org.apache.kafka.tools``; its standard output. Fails the test with what it said."""
    return run_program(f"org.apache.kafka.tools.{name}", *arguments, input_text=input_text)


def run_program(main_class: str, *arguments: str, input_text: str | None = None) -> str:
    return _finished(java(main_class, *arguments), input_text)


def start_tool(name: str, *arguments: str) -> subprocess.Popen[str]:
    return _started(java(f"org.apache.kafka.tools.{name}", *arguments))


def scenario(name: str, *arguments: str) -> dict[str, str]:
    """What one scenario of the Java client said, as name → last value."""
    return said(_finished(_scenario_command(name, *arguments), None))


def start_scenario(name: str, *arguments: str) -> subprocess.Popen[str]:
    return _started(_scenario_command(name, *arguments))


def said(output: str) -> dict[str, str]:
    return dict(line.split("=", 1) for line in output.splitlines() if "=" in line)


def _scenario_command(name: str, *arguments: str) -> list[str]:
    return java("Scenario", name, *arguments)


@lru_cache(maxsize=1)
def _compiled() -> str:
    directory = mkdtemp(prefix="ottla-java-")
    subprocess.run(["javac", "-cp", class_path(), "-d", directory, str(SCENARIO)], check=True, timeout=SECONDS_MAX)
    return directory


def _started(command: list[str]) -> subprocess.Popen[str]:
    return subprocess.Popen(
        command,
        env=environment(_compiled()),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )


def _finished(command: list[str], input_text: str | None) -> str:
    done = subprocess.run(
        command,
        env=environment(_compiled()),
        input=input_text or "",
        capture_output=True,
        text=True,
        timeout=SECONDS_MAX,
        check=False,
    )
    assert done.returncode == 0, f"{command[3:]}\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}"
    return done.stdout
