"""Memory of large answers is used again, and given back when there is time."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

PROGRAM = """
import os, resource
from broker import allocator

def faults():
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt

def pages():
    return int(open("/proc/self/statm").read().split()[1])

def answer():
    pieces = [bytearray(1_000_000) for _ in range(8)]
    for piece in pieces:
        piece[::4096] = b"x" * len(piece[::4096])

assert allocator.keep_freed_memory()
for _ in range(3):
    answer()
before = faults()
for _ in range(10):
    answer()
print(faults() - before)
kept = pages()
allocator.give_back()
print(kept - pages())
"""
ANSWER_PAGES = 8_000_000 // 4096


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has the calls")
def test_pages_of_large_answers_are_taken_from_the_system_once_and_can_be_given_back() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True, timeout=60)
    faults, given_back = map(int, done.stdout.split())
    assert faults < ANSWER_PAGES, "ten answers cost less than one costs without"
    assert given_back > ANSWER_PAGES / 2
