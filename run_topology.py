#!/usr/bin/env python3
"""podpath's command line: `python run_topology.py --help`. It finds its own environment, with or without sudo."""

from __future__ import annotations

import os
import sys
from pathlib import Path

HOME = Path(__file__).resolve().parent
PYTHON = HOME / ".venv" / "bin" / "python"


def _own_environment() -> None:
    """Goes on under the virtual environment that scripts/setup made, whichever python this is."""
    if Path(sys.prefix).resolve() == (HOME / ".venv").resolve():
        return
    if not os.access(PYTHON, os.X_OK):
        print("run_topology.py: it is not set up yet\n  -> run `make setup` in " + str(HOME), file=sys.stderr)
        sys.exit(2)
    os.execv(PYTHON, [str(PYTHON), str(HOME / "run_topology.py"), *sys.argv[1:]])


def main() -> int:
    """The installed command `podpath`."""
    from console.parser import run

    return run(sys.argv[1:])


if __name__ == "__main__":
    _own_environment()
    sys.path.insert(0, str(HOME))
    sys.exit(main())
