"""``python -m broker --id N [--home DIR]``: one broker process in the foreground.

Configuration comes from ``OTTLA_*`` (``broker/config/broker.py``). Prints ``ready`` when it serves, so that a
supervisor need not guess. SIGTERM and SIGINT stop it in order: exit 0; a configuration or port that does not work is
one line on stderr and exit 1.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import os
import resource
import signal
import sys
from collections.abc import Callable, Sequence

from broker import allocator
from broker.app import Broker, CannotStart
from broker.config.broker import BrokerConfig
from broker.errors import KafkaError

GIL_SWITCH_SECONDS = 0.000_5
"""The flush thread's news must not wait 5 ms (Python's default) behind a busy loop."""
GC_THRESHOLDS = (50_000, 20, 100)
"""Requests make few cycles; what is alive after the start is frozen and never looked at again."""

MEMORY_SECONDS = 10.0
"""Between two times at which freed memory goes back to the system."""


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m broker", description="One Ottla broker.")
    parser.add_argument("--id", type=int, help="broker id, from 1 (default: OTTLA_NODE_ID or 1)")
    parser.add_argument("--home", help="where data lives (default: OTTLA_HOME or ./var)")
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=os.environ.get("OTTLA_LOG_LEVEL", "INFO").upper(),
        format="%(asctime)s %(levelname)s %(name)s: %(message)s",
        stream=sys.stderr,
    )
    try:
        config = _config(options)
    except (KafkaError, ValueError) as error:
        return _refuse(str(error))
    sys.setswitchinterval(GIL_SWITCH_SECONDS)
    _allow_open_files()
    allocator.keep_freed_memory()
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        try:
            return runner.run(_serve(config))
        except CannotStart as error:
            return _refuse(str(error))


def _config(options: argparse.Namespace) -> BrokerConfig:
    overrides: dict[str, object] = {}
    if options.home is not None:
        overrides["home"] = options.home
    if options.id is not None:
        overrides["node_id"] = options.id
    return BrokerConfig.from_environment(os.environ, **overrides)


async def _serve(config: BrokerConfig) -> int:
    loop = asyncio.get_running_loop()
    stopping = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    broker = Broker(config, loop)
    await broker.start()
    gc.collect()
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    print("ready", flush=True)
    while not stopping.is_set():
        allocator.give_back()
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stopping.wait(), MEMORY_SECONDS)
    await broker.stop()
    return 0


def _allow_open_files() -> None:
    """As many as the system lets us: every connection and every segment in use is one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop]:
    """uvloop where it is installed; the standard loop is about half as fast and otherwise the same."""
    try:
        import uvloop
    except ImportError:
        return asyncio.new_event_loop
    new_event_loop: Callable[[], asyncio.AbstractEventLoop] = uvloop.new_event_loop
    return new_event_loop


def _refuse(reason: str) -> int:
    print(f"broker cannot start: {reason}", file=sys.stderr)
    return 1


if __name__ == "__main__":
    sys.exit(main())
