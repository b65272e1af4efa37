"""The supervisor over real processes: order of start and stop, death and restart, and nothing left behind."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import psutil
import pytest

from broker.supervisor.control_client import SupervisorClient, SupervisorRefused
from broker.supervisor.service import ServiceSpec
from tests.supervisor.fakes import DIES, IGNORES_TERM, Installation, spec
from tests.support.wait import wait_until


class Installations:
    def __init__(self, home: Path) -> None:
        self.home = home
        self.running: list[Installation] = []

    def __call__(self, *specs: ServiceSpec, setup: str = "") -> Installation:
        command = [sys.executable, "-S", "-c", setup] if setup else None
        self.running.append(Installation(self.home, specs, command))
        return self.running[-1]


@pytest.fixture
async def install(tmp_path: Path) -> AsyncIterator[Installations]:
    installations = Installations(tmp_path)
    yield installations
    for installation in installations.running:
        if not installation.task.done():
            await installation.stop()


def service(installation: Installation, name: str) -> dict:
    status = installation.supervisor._status()["services"]
    return next(item for item in status if item["name"] == name)


async def ask(installation: Installation, call: str, *arguments: object):
    client = SupervisorClient(installation.options.control_socket)
    return await asyncio.to_thread(getattr(client, call), *arguments)


def gone(process: psutil.Process) -> bool:
    return not process.is_running() or process.status() == psutil.STATUS_ZOMBIE


def order(lines: Sequence[str], word: str) -> list[str]:
    return [line.split()[0] for line in lines if word in line and line.startswith("  ")]


async def test_everything_is_ready_before_it_says_so(install: Installations) -> None:
    installation = install(spec("redis"), spec("broker-1"), spec("web", needs=("redis",)))
    await installation.until_said("^Ottla is ready")
    assert {service(installation, name)["state"] for name in ("redis", "broker-1", "web")} == {"ready"}
    assert installation.screen.said(r"^  web +ready in \d")


async def test_a_service_waits_for_what_it_needs(install: Installations) -> None:
    never_ready = "import signal; signal.pause()"
    installation = install(spec("redis", never_ready), spec("broker-1"), spec("web", needs=("redis",)))
    await installation.until_said("^  broker-1 +ready")
    assert service(installation, "web")["state"] == "stopped"


async def test_a_service_of_choice_runs_only_while_somebody_wants_it(install: Installations) -> None:
    installation = install(spec("broker-1"), dataclasses.replace(spec("demo"), autostart=False))
    await installation.until_said("^Ottla is ready")
    assert service(installation, "demo")["state"] == "stopped"
    await ask(installation, "change", "start", "demo", "käthe")
    await installation.until_said(r"^  demo +ready in \d")
    await ask(installation, "change", "stop", "demo", "käthe")
    assert service(installation, "demo")["state"] == "stopped"


async def test_a_restart_asked_for_twice_for_the_same_process_happens_once(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    client, old = SupervisorClient(installation.options.control_socket), service(installation, "broker-1")["pid"]
    await asyncio.to_thread(client.change, "restart", "broker-1", "käthe", pid=old)
    await installation.until(lambda: service(installation, "broker-1")["state"] == "ready", "it is ready again")
    new = service(installation, "broker-1")["pid"]
    with pytest.raises(SupervisorRefused, match="broker-1 has another process by now"):
        await asyncio.to_thread(client.change, "restart", "broker-1", "käthe", pid=old)
    assert service(installation, "broker-1")["pid"] == new != old


async def test_what_needs_set_up_waits_for_it_and_brokers_do_not(install: Installations) -> None:
    done = install.home / "done"
    waits = f"import os, time\nwhile not os.path.exists({str(done)!r}): time.sleep(0.01)\nprint('the password is x')"
    installation = install(spec("broker-1"), dataclasses.replace(spec("web"), needs_setup=True), setup=waits)
    await installation.until_said("^  broker-1 +ready")
    assert service(installation, "web")["state"] == "stopped"
    done.touch()
    await installation.until_said("^Ottla is ready")
    assert installation.screen.said("^  set-up +the password is x")


async def test_a_set_up_that_fails_says_why_and_leaves_nothing_running(install: Installations) -> None:
    before = {child.pid for child in psutil.Process().children()}
    installation = install(spec("broker-1"), setup="import time; time.sleep(0.3); raise SystemExit('no such table')")
    assert await installation.task == 1
    assert installation.screen.said("^  set-up +no such table")
    assert installation.screen.lines[-1] == "Ottla could not be set up; nothing is left running."
    assert {child.pid for child in psutil.Process().children()} <= before


async def test_things_stop_in_order_and_leave_nothing(install: Installations) -> None:
    names = ("redis", "broker-1", "broker-2", "collector", "worker", "beat", "web")
    installation = install(*(spec(name) for name in names))
    await installation.until_said("^Ottla is ready")
    pids = [service(installation, name)["pid"] for name in names]
    assert await installation.stop() == 0
    stopped = order(installation.screen.lines, "stopped")
    assert stopped[:4] == ["web", "beat", "worker", "collector"]
    assert sorted(stopped[4:6]) == ["broker-1", "broker-2"]
    assert stopped[6] == "redis"
    assert not any(psutil.pid_exists(pid) for pid in pids)
    assert not installation.options.control_socket.exists()
    assert "bye" in (install.home / "logs" / "web.log").read_text()


async def test_who_ignores_the_request_is_killed_in_time(install: Installations) -> None:
    installation = install(*(spec(name, IGNORES_TERM) for name in ("web", "beat")))
    await installation.until_said("^Ottla is ready")
    started = time.monotonic()
    assert await installation.stop() == 0
    assert time.monotonic() - started < 10
    assert installation.screen.said("web +did not stop in time; killed")


async def test_a_slow_one_does_not_take_the_time_of_those_behind_it(install: Installations) -> None:
    slow = (
        "import signal, time; signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM}); print('ready', flush=True);"
        "signal.sigwait({signal.SIGTERM}); time.sleep(2.5); print('bye', flush=True)"
    )
    installation = install(*(spec(name, slow) for name in ("web", "beat", "collector")), spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    started = time.monotonic()
    await installation.stop()
    assert time.monotonic() - started < 7
    assert not installation.screen.said("killed")
    assert order(installation.screen.lines, "stopped") == ["web", "beat", "collector", "broker-1"]


async def test_a_second_ctrl_c_waits_for_nobody(install: Installations, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("broker.supervisor.supervisor.IMPATIENT_AFTER_SECONDS", 0.0)
    installation = install(spec("broker-1", IGNORES_TERM), spec("redis", IGNORES_TERM))
    await installation.until_said("^Ottla is ready")
    started = time.monotonic()
    os.kill(os.getpid(), signal.SIGINT)
    await installation.until_said("^Stopping")
    os.kill(os.getpid(), signal.SIGINT)
    assert await installation.task == 0
    assert time.monotonic() - started < 2


async def test_one_wish_to_stop_may_arrive_as_several_signals(install: Installations) -> None:
    installation = install(spec("broker-1"), spec("web"))
    await installation.until_said("^Ottla is ready")
    for number in (signal.SIGTERM, signal.SIGTERM, signal.SIGINT):
        os.kill(os.getpid(), number)
    assert await installation.task == 0
    assert order(installation.screen.lines, "stopped") == ["web", "broker-1"]
    assert not installation.screen.said("killed")


async def test_what_dies_while_everything_stops_is_not_started_again(install: Installations) -> None:
    slow = "import signal, time; signal.signal(signal.SIGTERM, lambda *_: time.sleep(1) or exit(0)); print('ready', flush=True)\nwhile True: signal.pause()"
    installation = install(spec("web", slow), spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    pid = service(installation, "broker-1")["pid"]
    installation.supervisor.request_stop()
    os.kill(pid, signal.SIGKILL)
    assert await installation.task == 0
    assert not installation.screen.said("restart")


async def test_a_killed_process_is_started_again_and_the_screen_says_so(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    killed = service(installation, "broker-1")["pid"]
    os.kill(killed, signal.SIGKILL)
    await installation.until(lambda: service(installation, "broker-1")["restarts"] == 1, "a restart")
    await installation.until(lambda: service(installation, "broker-1")["state"] == "ready", "ready again")
    now = service(installation, "broker-1")
    assert now["pid"] != killed
    assert now["last_exit"] == "was ended by SIGKILL"
    assert installation.screen.said(r"broker-1 +was ended by SIGKILL; restart 1 in 0.5 s")


async def test_one_that_keeps_dying_is_tried_less_and_less_often(install: Installations) -> None:
    installation = install(spec("broker-1", DIES))
    await installation.until_said("restart 3 in 2 s")
    assert installation.screen.said("restart 1 in 0.5 s")
    assert installation.screen.said("restart 2 in 1 s")
    assert installation.screen.said(r"broker-1 +\| the disk is on fire")
    now = service(installation, "broker-1")
    assert now["state"] == "backing off"
    assert 0 < now["next_start_seconds"] <= 2
    assert now["last_exit"] == "exited with code 1"


async def test_a_program_that_does_not_exist_is_reported_and_stops_cleanly(install: Installations) -> None:
    missing = ServiceSpec(
        name="broker-1", role="broker", argv=("/no/such/program",), readiness=spec("x").readiness, stop_seconds=1
    )
    installation = install(missing)
    await installation.until_said("broker-1 +cannot be started: .*No such file")
    assert await installation.stop() == 0


async def test_a_grandchild_goes_with_its_parent(install: Installations) -> None:
    forks = "import os, signal; print('ready' if os.fork() else 'child', flush=True); signal.pause()"
    installation = install(spec("worker", forks))
    await installation.until_said("^Ottla is ready")
    parent = psutil.Process(service(installation, "worker")["pid"])
    await installation.until(parent.children, "the grandchild")
    (grandchild,) = parent.children()
    await installation.stop()
    await asyncio.to_thread(wait_until, lambda: gone(grandchild), "the grandchild's end")


async def test_one_that_slipped_out_of_the_group_does_not_hold_up_the_restart(install: Installations) -> None:
    escapes = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n    os.setsid(); time.sleep(30); os._exit(0)\n"
        "time.sleep(0.2); print('ready', flush=True); time.sleep(0.1); sys.exit(3)"
    )
    installation = install(spec("worker", escapes))
    await installation.until_said("exited with code 3; restart 1")
    for orphan in psutil.process_iter(["cmdline"]):
        if orphan.info["cmdline"] and orphan.info["cmdline"][-1] == escapes:
            orphan.kill()


async def test_the_control_socket_is_for_its_owner_only(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    assert installation.options.control_socket.stat().st_mode & 0o777 == 0o600


async def test_status_tells_what_a_person_wants_to_know(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    status = await ask(installation, "status")
    (broker,) = status["services"]
    assert status["pid"] == os.getpid()
    assert psutil.pid_exists(broker["pid"])
    assert broker["state"] == "ready"
    assert broker["memory_bytes"] > 1_000_000
    assert broker["uptime_seconds"] > 0
    assert broker["restarts"] == 0
    assert broker["last_lines"][-1] == "ready"


async def test_a_stopped_service_stays_stopped_until_it_is_started(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    await ask(installation, "change", "stop", "broker-1", "admin")
    stopped = service(installation, "broker-1")
    assert (stopped["state"], stopped["pid"], stopped["restarts"]) == ("stopped", None, 0)
    assert installation.screen.said("broker-1 +stop asked for by admin")
    await ask(installation, "change", "start", "broker-1", "admin")
    await installation.until(lambda: service(installation, "broker-1")["state"] == "ready", "ready again")


async def test_a_restart_makes_a_new_process(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    before = service(installation, "broker-1")["pid"]
    await ask(installation, "change", "restart", "broker-1", "admin")
    await installation.until(lambda: service(installation, "broker-1")["state"] == "ready", "ready again")
    after = service(installation, "broker-1")
    assert after["pid"] != before
    assert after["restarts"] == 0, "a restart somebody asked for is no failure"


async def test_starting_one_that_backs_off_does_not_wait(install: Installations) -> None:
    flag = install.home / "repaired"
    script = f"import os\nif not os.path.exists({str(flag)!r}): {DIES}\nprint('ready', flush=True)\nimport signal; signal.pause()"
    installation = install(spec("broker-1", script))
    await installation.until_said("restart 4 in 4 s")
    flag.touch()
    started = time.monotonic()
    await ask(installation, "change", "start", "broker-1", "admin")
    await installation.until(lambda: service(installation, "broker-1")["state"] == "ready", "ready")
    assert time.monotonic() - started < 3


async def test_stopping_one_that_backs_off_ends_the_attempts(install: Installations) -> None:
    installation = install(spec("broker-1", DIES))
    await installation.until_said("restart 2 in 1 s")
    await ask(installation, "change", "stop", "broker-1", "admin")
    assert service(installation, "broker-1")["state"] == "stopped"


@pytest.mark.parametrize(
    ("command", "name", "reason"),
    [("stop", "nobody", "no service is called 'nobody'"), ("explode", "broker-1", "no command is called 'explode'")],
)
async def test_nonsense_is_refused_with_a_reason(install: Installations, command: str, name: str, reason: str) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    with pytest.raises(SupervisorRefused, match=reason):
        await ask(installation, "change", command, name, "admin")


@pytest.mark.parametrize("line", [b"hello\n", b"[1, 2]\n", b"\xff\xfe\n", b"{}\n"])
async def test_lines_that_are_no_request_are_answered_and_harm_nothing(install: Installations, line: bytes) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    reader, writer = await asyncio.open_unix_connection(str(installation.options.control_socket))
    writer.write(line)
    assert b'"ok": false' in await reader.readline()
    writer.close()
    await writer.wait_closed()


async def test_an_endless_line_closes_that_connection_only(install: Installations) -> None:
    installation = install(spec("broker-1"))
    await installation.until_said("^Ottla is ready")
    reader, writer = await asyncio.open_unix_connection(str(installation.options.control_socket))
    writer.write(b"x" * 300_000)
    with contextlib.suppress(ConnectionError):
        assert await reader.read() == b""
    writer.close()
    assert (await ask(installation, "status"))["ok"]


def test_nobody_outlives_a_supervisor_that_was_killed(tmp_path: Path) -> None:
    script = (
        "import asyncio\nfrom pathlib import Path\nfrom tests.supervisor.fakes import Installation, spec\n"
        "async def main():\n"
        f"    installation = Installation(Path({str(tmp_path)!r}), [spec('broker-1')])\n"
        "    await installation.until_said('^Ottla is ready')\n"
        "    print(installation.supervisor._status()['services'][0]['pid'], flush=True)\n"
        "    await installation.task\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", script], stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout is not None
        child = psutil.Process(int(supervisor.stdout.readline()))
        supervisor.kill()
    wait_until(lambda: gone(child), "the child's end")
