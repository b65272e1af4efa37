"""What the README tells people to type works."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys

from broker.supervisor.roles import PROJECT_ROOT
from tests.support.broker_process import BrokerProcess
from tests.support.requires import require_tool

README = (PROJECT_ROOT / "README.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_its_commands_are_targets_of_the_makefile() -> None:
    makefile = (PROJECT_ROOT / "Makefile").read_text(encoding="utf-8")
    for target in re.findall(r"^make (\w+)", "\n".join(blocks("sh")), re.MULTILINE):
        assert re.search(rf"^{target}:.*## ", makefile, re.MULTILINE), target


def test_its_links_lead_somewhere() -> None:
    links = re.findall(r"\]\((?!http)([^)#]+)\)", README)
    assert links
    assert [link for link in links if not (PROJECT_ROOT / link).exists()] == []


def test_its_python_example_runs(broker_process: BrokerProcess) -> None:
    (example,) = blocks("python")
    topic = "greetings-from-python"
    example = example.replace("127.0.0.1:9092", broker_process.bootstrap).replace('"greetings"', f'"{topic}"')
    run = subprocess.run([sys.executable, "-c", example], capture_output=True, text=True, timeout=90, check=False)
    assert run.returncode == 0, run.stderr
    assert sorted(int(line.split()[-1]) for line in run.stdout.splitlines()) == list(range(1000))


def test_its_kcat_lines_run(broker_process: BrokerProcess) -> None:
    require_tool("kcat")
    produce, consume, group = [line for line in "\n".join(blocks("sh")).splitlines() if "kcat -b" in line]

    def shell(line: str) -> str:
        line = line.partition("#")[0].replace("127.0.0.1:9092", broker_process.bootstrap)
        return line.replace("greetings", "greetings-from-kcat")

    subprocess.run(shell(produce), shell=True, check=True, timeout=30)
    read = subprocess.run(shell(consume), shell=True, check=True, timeout=30, capture_output=True, text=True)
    assert read.stdout.splitlines() == ["hello"]
    # The group's command goes on for ever; -c 1 makes it end with the first record.
    words = shlex.split(shell(group))
    words[3:3] = ["-c", "1", "-X", "auto.offset.reset=earliest"]
    grouped = subprocess.run(words, check=True, timeout=60, capture_output=True, text=True)
    assert grouped.stdout.splitlines() == ["hello"]
