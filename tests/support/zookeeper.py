"""Real ZooKeeper servers for tests, from Debian's libzookeeper-java: one, or an ensemble of three.

Owns the processes, their directories and their ports, which stay the same over restarts. ``tests/metadata/conftest.py`` has a
fixture with one server for the whole session: every test takes a chroot of its own.
"""

from __future__ import annotations

import contextlib
import secrets
import signal
import socket
import subprocess
from pathlib import Path
from types import TracebackType

from tests.support.ports import free_port
from tests.support.requires import require_file, require_tool
from tests.support.wait import wait_until

JAR = Path("/usr/share/java/zookeeper.jar")
TICK_MS = 100
"""Short, so that sessions may be short (2 to 20 ticks, and what is set below) and an ensemble elects quickly."""
SESSION_MS_MIN, SESSION_MS_MAX = 200, 60_000
READY_SECONDS_MAX = 60.0


class ZookeeperProcess:
    """``with ZookeeperProcess(tmp_path) as server: ... server.url()``."""

    def __init__(self, directory: Path, *, port: int | None = None, settings: str = "", number: int = 0) -> None:
        self.directory = Path(directory)
        self.port = free_port() if port is None else port
        self._settings = settings
        self._number = number
        self._process: subprocess.Popen[bytes] | None = None

    def __enter__(self) -> ZookeeperProcess:
        self.start()
        self.wait_serving()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.kill()

    @property
    def address(self) -> tuple[str, int]:
        return "127.0.0.1", self.port

    def url(self, chroot: str | None = None) -> str:
        return url_of([self], chroot)

    @property
    def running(self) -> bool:
        return self._process is not None

    def start(self) -> None:
        java = require_tool("java")
        require_file(JAR, "libzookeeper-java")
        self.directory.mkdir(parents=True, exist_ok=True)
        (self.directory / "data").mkdir(exist_ok=True)
        if self._number:
            (self.directory / "data" / "myid").write_text(str(self._number))
        config = self.directory / "zoo.cfg"
        config.write_text(
            f"tickTime={TICK_MS}\ninitLimit=100\nsyncLimit=20\n"
            f"dataDir={self.directory / 'data'}\nclientPort={self.port}\nclientPortAddress=127.0.0.1\n"
            f"minSessionTimeout={SESSION_MS_MIN}\nmaxSessionTimeout={SESSION_MS_MAX}\n"
            "admin.enableServer=false\n4lw.commands.whitelist=srvr\nmaxClientCnxns=0\n" + self._settings
        )
        arguments = [java, "-Xmx128m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-cp", str(JAR)]
        arguments += ["org.apache.zookeeper.server.quorum.QuorumPeerMain", str(config)]
        with (self.directory / "output").open("ab") as output:
            self._process = subprocess.Popen(arguments, stdout=output, stderr=output, cwd=self.directory)

    def wait_serving(self) -> None:
        try:
            wait_until(lambda: self.mode() != "", f"ZooKeeper on {self.port} serves", seconds=READY_SECONDS_MAX)
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        self._end(signal.SIGKILL)

    def pause(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    def mode(self) -> str:
        """``standalone``, ``leader`` or ``follower``; empty while it does not serve."""
        with contextlib.suppress(OSError), socket.create_connection(self.address, timeout=2) as connection:
            connection.settimeout(2)
            connection.sendall(b"srvr")
            answer = b""
            while piece := connection.recv(4096):
                answer += piece
            for line in answer.decode().splitlines():
                if line.startswith("Mode: "):
                    return line.removeprefix("Mode: ")
        return ""

    def _end(self, how: signal.Signals) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(how)
            process.wait(30)


class ZookeeperEnsemble:
    """Three servers that elect a leader."""

    def __init__(self, directory: Path) -> None:
        ports = [free_port() for _ in range(9)]
        while len(set(ports)) < len(ports):
            ports = [free_port() for _ in range(9)]
        members = "".join(f"server.{n}=127.0.0.1:{ports[n + 2]}:{ports[n + 5]}\n" for n in (1, 2, 3))
        self.servers = [
            ZookeeperProcess(directory / f"zookeeper-{n}", port=ports[n - 1], settings=members, number=n)
            for n in (1, 2, 3)
        ]

    def __enter__(self) -> ZookeeperEnsemble:
        try:
            for server in self.servers:
                server.start()
            for server in self.servers:
                server.wait_serving()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        for server in self.servers:
            server.kill()

    def url(self, chroot: str | None = None) -> str:
        return url_of(self.servers, chroot)

    def leader(self) -> ZookeeperProcess:
        found: list[ZookeeperProcess] = []

        def find() -> bool:
            found[:] = [server for server in self.servers if server.running and server.mode() == "leader"]
            return len(found) == 1

        wait_until(find, "the ensemble has a leader", seconds=READY_SECONDS_MAX)
        return found[0]


def url_of(servers: list[ZookeeperProcess], chroot: str | None = None) -> str:
    """For OTTLA_METADATA; below a new path unless told otherwise."""
    path = f"/test-{secrets.token_hex(6)}" if chroot is None else chroot
    return "zookeeper://" + ",".join(f"127.0.0.1:{server.port}" for server in servers) + path
