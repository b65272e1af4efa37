"""What brokers draw from the operating system's randomness comes from the seed while a simulation runs."""

from __future__ import annotations

import contextlib
import os
import random
from collections.abc import Iterator
from unittest import mock


@contextlib.contextmanager
def seeded(source: random.Random) -> Iterator[None]:
    """``uuid4``, ``secrets`` and ``SystemRandom`` all end at one of these two names."""
    with mock.patch.object(os, "urandom", source.randbytes), mock.patch.object(random, "_urandom", source.randbytes):
        yield
