"""The tests here drive the real program from outside, as its users do: `run_topology.py` in a process of its own.

Each test file has run folders of its own, so that no lab of the user is touched, and leaves none.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
PROGRAM = [sys.executable, str(HOME / "run_topology.py")]
OWN = "host" if os.geteuid() == 0 else "user"
"""The way to the machine's own kernel that this user has."""
DEADLINE_S = 120
Done = subprocess.CompletedProcess[str]


@pytest.fixture(scope="module")
def run_root() -> Iterator[Path]:
    """Where this file's labs have their run folders."""
    with tempfile.TemporaryDirectory(prefix="podpath-system-") as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def environment(run_root: Path) -> dict[str, str]:
    """As a user's, with the run folders elsewhere and no terminal's width."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PODPATH_", "COLUMNS"))}
    return kept | {"PODPATH_RUN_ROOT": str(run_root)}


@pytest.fixture(scope="module")
def podpath(environment: dict[str, str], run_root: Path) -> Iterator[Callable[..., Done]]:
    """`podpath("up", "-d")`: the program with these arguments, ended; what it left running is taken down."""

    def call(*arguments: str, input: str = "", cwd: Path = HOME) -> Done:
        return subprocess.run(
            [*PROGRAM, *arguments],
            input=input,
            cwd=cwd,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    yield call
    for folder in run_root.iterdir():
        call("down", "--name", folder.name)


@pytest.fixture
def within(environment: dict[str, str]) -> Callable[..., Done]:
    """`within("mount ...", "up", "-d")`: the program in a mount namespace of its own, prepared by a shell command. So a
    package can be missing without a change to the machine. With `limits` in a user namespace too, whose limits
    (namespaces(7)) the shell command can lower."""

    def call(prepare: str, *arguments: str, limits: bool = False) -> Done:
        words = " ".join(f"'{word}'" for word in [*PROGRAM, *arguments])
        user = ["--user", "--map-root-user"] if limits or OWN == "user" else []
        return subprocess.run(
            ["unshare", *user, "--mount", "sh", "-ec", f"{prepare}\n{words}"],
            stdin=subprocess.DEVNULL,
            cwd=HOME,
            env=environment,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )

    return call
