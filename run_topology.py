#!/usr/bin/env python3
"""podpath's command line: `python run_topology.py --help`. It finds its own environment, with or without sudo, and
sets it up when there is none yet."""

from __future__ import annotations

import os
import sys
from types import TracebackType

HOME = os.path.dirname(os.path.realpath(__file__))
VENV = os.path.join(HOME, ".venv")
PYTHON = os.path.join(VENV, "bin", "python")
SETUP = os.path.join(HOME, "scripts", "setup")
STARTED = "PODPATH_STARTED_IN"
"""Environment variable: the environment whose python was started, so that a broken one is not started for ever."""


def _without_traceback(kind: type[BaseException], value: BaseException, trace: TracebackType | None) -> None:
    """Ctrl-C while modules are still being imported."""
    if not issubclass(kind, KeyboardInterrupt):
        sys.__excepthook__(kind, value, trace)


def _own_environment() -> None:
    """Goes on under the virtual environment that scripts/setup makes, whichever python this is."""
    if os.path.realpath(sys.prefix) == os.path.realpath(VENV):
        return
    if os.environ.get(STARTED) == VENV:
        print(f"error: {VENV} is broken\n  -> remove it and run `make setup`", file=sys.stderr)
        sys.exit(2)
    if not os.access(PYTHON, os.X_OK):
        _set_up()
    import signal

    os.environ[STARTED] = VENV
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # until console.parser.run can answer it
    os.execv(PYTHON, [PYTHON, os.path.join(HOME, "run_topology.py"), *sys.argv[1:]])


def _set_up() -> None:
    """Runs scripts/setup, which says on standard error what it does and what it needs."""
    import subprocess

    print(f"run_topology.py: not set up yet, so `{SETUP}` comes first", file=sys.stderr, flush=True)
    status = subprocess.run([SETUP], stdin=subprocess.DEVNULL, stdout=sys.stderr, check=False).returncode
    if status or not os.access(PYTHON, os.X_OK):
        print("error: podpath could not be set up\n  -> run `make setup` as root once, or with sudo", file=sys.stderr)
        sys.exit(2)


def main() -> int:
    """The installed command `podpath`."""
    from console.parser import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    sys.excepthook = _without_traceback
    if not {"-h", "--help"} & set(sys.argv[1:2]):
        _own_environment()
    sys.path.insert(0, HOME)
    sys.exit(main())
