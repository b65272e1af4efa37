"""A TCP proxy in front of a broker that holds back requests of one kind until told to let them go."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from types import TracebackType

_LENGTH_AND_KEY = struct.Struct(">ih")


class HoldingProxy:
    """``is_holding`` is set when a request of ``api_key`` has arrived; ``let_go`` passes it on, and all later ones."""

    def __init__(self, broker_port: int, api_key: int) -> None:
        self.is_holding = threading.Event()
        self._released = threading.Event()
        self._broker_port = broker_port
        self._api_key = api_key
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.address = f"127.0.0.1:{self._listener.getsockname()[1]}"
        self._open: list[socket.socket] = []
        self._threads: list[threading.Thread] = []

    def let_go(self) -> None:
        self._released.set()

    def hold(self) -> None:
        """Hold again, after ``let_go``."""
        self.is_holding.clear()
        self._released.clear()

    def __enter__(self) -> HoldingProxy:
        self._spawn(self._accept)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.let_go()
        for each in (self._listener, *self._open):
            with contextlib.suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
        for thread in self._threads:
            thread.join(timeout=5)
        for each in (self._listener, *self._open):
            each.close()

    def _spawn(self, target: object, *arguments: object) -> None:
        thread = threading.Thread(target=target, args=arguments, daemon=True)  # type: ignore[arg-type]
        self._threads.append(thread)
        thread.start()

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                try:
                    broker = socket.create_connection(("127.0.0.1", self._broker_port))
                except ConnectionRefusedError:
                    client.close()
                    continue
                self._open += [client, broker]
                self._spawn(self._forward_requests, client, broker)
                self._spawn(self._forward_bytes, broker, client)

    def _forward_requests(self, client: socket.socket, broker: socket.socket) -> None:
        with contextlib.suppress(OSError), client.makefile("rb") as requests:
            while head := requests.read(_LENGTH_AND_KEY.size):
                length, api_key = _LENGTH_AND_KEY.unpack(head)
                rest = requests.read(length - 2)
                if api_key == self._api_key:
                    self.is_holding.set()
                    self._released.wait(30)
                broker.sendall(head + rest)
            broker.shutdown(socket.SHUT_WR)

    @staticmethod
    def _forward_bytes(broker: socket.socket, client: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := broker.recv(65_536):
                client.sendall(data)
        with contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_RDWR)
