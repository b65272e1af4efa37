"""Kafka's small text files: what is whole is read, anything else is refused with a reason."""

from __future__ import annotations

import pytest

from broker.storage.text_lines import decode_lines, encode_lines


def test_a_file_says_how_many_entries_it_has() -> None:
    assert encode_lines(["orders 0 7", "orders 1 9"]) == b"0\n2\norders 0 7\norders 1 9\n"
    assert decode_lines(b"0\n2\norders 0 7\norders 1 9\n") == ["orders 0 7", "orders 1 9"]
    assert decode_lines(encode_lines([])) == []


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        (b"", "unknown version"),
        (b"1\n0\n", "unknown version"),
        (b"0\n2\na\nb", "cut off"),
        (b"0\n2\na\n", "2 entries announced, 1 found"),
        (b"0\nmany\na\n", "invalid literal"),
        (b"\xff\n0\n", "utf-8"),
    ],
)
def test_what_is_not_whole_is_refused(content: bytes, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        decode_lines(content)
