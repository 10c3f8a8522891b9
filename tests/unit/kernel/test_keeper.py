"""The keeper: an exit status comes back, an error is raised in the caller, adopted processes end with the first."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import NoReturn

import pytest

from kernel import inside
from kernel.errors import MissingTool, NotPermitted
from kernel.places import PID, Process


def nothing() -> None:
    """No namespaces."""


def kept(first: Callable[[inside.Keeper], NoReturn], folder: Path) -> Process:
    return Process(inside.keeper(nothing, first, folder, False))


def exits_with(status: int) -> Callable[[inside.Keeper], NoReturn]:
    def first(keeper: inside.Keeper) -> NoReturn:
        keeper.runs()
        os._exit(status)

    return first


@pytest.mark.parametrize("status", [0, 7])
def test_the_exit_status_comes_back(tmp_path: Path, status: int) -> None:
    assert kept(exits_with(status), tmp_path).wait() == status


def test_a_signal_is_told_as_shells_do(tmp_path: Path) -> None:
    def first(_: inside.Keeper) -> NoReturn:
        os.execvp("sh", ["sh", "-c", "kill -9 $$"])

    assert kept(first, tmp_path).wait() == 128 + 9


def test_errors_before_it_runs_are_raised_here(tmp_path: Path) -> None:
    def first(_: inside.Keeper) -> NoReturn:
        raise MissingTool("no such thing", where="there", remedy="install it")

    def forbidden() -> None:
        raise NotPermitted("not here")

    with pytest.raises(MissingTool) as caught:
        kept(first, tmp_path)
    assert str(caught.value) == "there: no such thing\n  -> install it"
    with pytest.raises(NotPermitted):
        inside.keeper(forbidden, first, tmp_path, False)


@pytest.mark.parametrize("end", ["exit", "kill"])
def test_adopted_processes_end_with_the_first(tmp_path: Path, end: str) -> None:
    def first(keeper: inside.Keeper) -> NoReturn:
        child = subprocess.Popen(["sleep", "60"], start_new_session=True)
        keeper.adopt(child.pid)
        (tmp_path / "child").write_text(str(child.pid))
        keeper.runs()
        while end == "kill":
            time.sleep(60)
        os._exit(5)

    process = kept(first, tmp_path)
    child = int((tmp_path / "child").read_text())
    if end == "kill":
        os.kill(int((tmp_path / PID).read_text()), 9)
    assert process.wait() == (128 + 9 if end == "kill" else 5)
    with pytest.raises(ProcessLookupError):
        os.kill(child, 0)
