"""Lines out of chunks, as they come from a pipe."""

from __future__ import annotations

from broker.limits import MIB

LINE_BYTES_MAX = 16 * MIB
"""More than any broker takes by default; a file without line ends must not fill the memory."""


class LineSplitter:
    """Feed it chunks; it returns whole lines without their ends, and the last one when told that nothing follows."""

    def __init__(self) -> None:
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> list[bytes]:
        """Raises ``ValueError`` when a line becomes too long."""
        *lines, rest = chunk.split(b"\n")
        if lines:
            lines[0] = bytes(self._rest) + lines[0]
            self._rest = bytearray(rest)
        else:
            self._rest += rest
        if len(self._rest) > LINE_BYTES_MAX:
            raise ValueError(f"a line is longer than {LINE_BYTES_MAX:,} bytes")
        return [line.removesuffix(b"\r") for line in lines]

    def finish(self) -> list[bytes]:
        """A last line without an end is a line; nothing is none."""
        last, self._rest = bytes(self._rest), bytearray()
        return [last] if last else []
