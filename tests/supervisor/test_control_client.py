from __future__ import annotations

import socket
import threading
from pathlib import Path

import pytest

from broker.supervisor import control_client
from broker.supervisor.control_client import SupervisorClient, SupervisorUnreachable


def test_without_a_supervisor_it_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(SupervisorUnreachable, match=r"does not answer at .*control\.sock"):
        SupervisorClient(tmp_path / "control.sock").status()


@pytest.mark.parametrize("answer", [b"", b'{"ok": true', b"x" * 64])
def test_an_answer_that_breaks_off_is_no_answer(tmp_path: Path, answer: bytes) -> None:
    path = tmp_path / "control.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()

        def serve() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.recv(1024)
                connection.sendall(answer)

        thread = threading.Thread(target=serve)
        thread.start()
        with pytest.raises(SupervisorUnreachable):
            SupervisorClient(path).status()
        thread.join(5)


def test_silence_ends_after_the_time_allowed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(control_client, "STATUS_SECONDS", 0.1)
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "control.sock"))
        listener.listen()
        with pytest.raises(SupervisorUnreachable):
            SupervisorClient(tmp_path / "control.sock").status()
