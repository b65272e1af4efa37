"""``python -m broker.supervisor``: what ``manage.py up`` becomes. Everything it needs is in the environment."""

from __future__ import annotations

import asyncio
import fcntl
import os
import subprocess
import sys
from collections.abc import Mapping
from importlib import metadata
from typing import NoReturn

from broker.supervisor import fingerprint
from broker.supervisor.home import check_ports, lock_home, prepare_home
from broker.supervisor.options import Options, options_from_environment
from broker.supervisor.roles import PROJECT_ROOT, child_environment, listening_endpoints, service_specs
from broker.supervisor.screen import Screen
from broker.supervisor.service import ServiceSpec
from broker.supervisor.supervisor import Supervisor

SETUP_COMMAND = (sys.executable, "manage.py", "setup")


def main() -> int:
    screen = Screen()
    try:
        options = options_from_environment(os.environ)
        prepare_home(options.home)
        locks = lock_home(options)
        specs = service_specs(options)
        check_ports(listening_endpoints(options, specs))
    except (ValueError, OSError) as error:
        Screen(sys.stderr).line(f"Ottla cannot start: {error}", "bad")
        return 1
    environ = child_environment(options, os.environ)
    if options.only and len(specs) == 1:
        code = _set_up_once(options, environ) if specs[0].needs_setup else 0
        return code or _become(specs[0], environ)
    screen.heading(_version(), options)
    try:
        return asyncio.run(_supervise(options, specs, environ, screen))
    finally:
        for descriptor in locks:
            os.close(descriptor)


async def _supervise(options: Options, specs: list[ServiceSpec], environ: Mapping[str, str], screen: Screen) -> int:
    needed = any(spec.needs_setup for spec in specs) and not fingerprint.is_current(
        options.home, PROJECT_ROOT, options.database_url
    )
    # Only set-up is told the administrator's password.
    setup_environ = {**environ, **{k: v for k, v in os.environ.items() if k == "OTTLA_ADMIN_PASSWORD"}}
    setup = SETUP_COMMAND if needed else None
    return await Supervisor(options, specs, environ, PROJECT_ROOT, screen, setup, setup_environ).run()


def _become(spec: ServiceSpec, environ: Mapping[str, str]) -> NoReturn:
    """A single role in the foreground: this process turns into it, so that signals and exit codes are its own."""
    os.chdir(PROJECT_ROOT)
    os.execvpe(spec.argv[0], spec.argv, {**environ, **spec.environment})


def _set_up_once(options: Options, environ: Mapping[str, str]) -> int:
    """Roles that start at the same moment on one home wait for the first of them to finish."""
    with open(options.home / "setup.lock", "ab") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if fingerprint.is_current(options.home, PROJECT_ROOT, options.database_url):
            return 0
        return subprocess.run(SETUP_COMMAND, cwd=PROJECT_ROOT, env={**os.environ, **environ}, check=False).returncode


def _version() -> str:
    try:
        return metadata.version("ottla")
    except metadata.PackageNotFoundError:
        return "from source"


if __name__ == "__main__":
    sys.exit(main())
