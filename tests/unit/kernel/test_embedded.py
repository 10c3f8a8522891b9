"""What user-mode-linux is called with, how much memory it gets, what is told of its end."""

from __future__ import annotations

import os
import shlex
from pathlib import Path

import pytest

from kernel import embedded, modules
from kernel.errors import MissingTool

MIB = 1 << 20


def test_paths_with_blanks_stay_whole_on_the_command_line() -> None:
    words = embedded.command_line(512 * MIB, Path("/run/my labs/a b"))
    kernel, init = words[: words.index("--")], words[words.index("--") + 1 :]
    assert "mem=512M" in kernel
    assert "ro" in kernel
    assert shlex.split(" ".join(init))[-1] == "/run/my labs/a b"


@pytest.mark.parametrize(
    ("free", "size"),
    [(100 * MIB, 256), (700 * MIB, 350), (700 * MIB + 5, 350), (6 << 30, 3 << 10), (1 << 40, 4 << 10)],
)
def test_memory_is_half_of_what_is_free_within_bounds(free: int, size: int) -> None:
    assert embedded._size(free) == size * MIB


def test_available_memory() -> None:
    assert embedded._available("MemTotal: 9 kB\nMemAvailable:    2048 kB\nBuffers: 1 kB\n") == 2 * MIB


@pytest.mark.parametrize(
    ("uid_map", "exists"),
    [("0 0 4294967295\n", True), ("0 1234 1\n", False), ("0 1234 1\n1 100000 65534\n", True), ("0 0 65534\n", False)],
)
def test_whom_root_can_become(uid_map: str, exists: bool) -> None:
    assert embedded._exists(embedded.NOBODY, uid_map) is exists


def test_of_a_panic_the_cause_is_told_not_the_trace() -> None:
    console = "one\n\nOSError: no such device\nKernel panic - not syncing: Attempted to kill init!\nStack:\n 60 61\n"
    assert embedded.last_lines(console)[-2:] == [
        "OSError: no such device",
        "Kernel panic - not syncing: Attempted to kill init!",
    ]


def test_of_another_end_the_last_lines_are_told() -> None:
    assert embedded.last_lines("".join(f"{n}\n" for n in range(100))) == [str(n) for n in range(85, 100)]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(embedded, "PROGRAM", "linux.uml.absent")
    assert embedded.why_not() == "user-mode-linux is not installed"
    with pytest.raises(MissingTool, match="user-mode-linux is not installed") as caught:
        embedded.start("embedded", "lab", ["true"], tmp_path, detach=False, lock=-1, control=None)
    assert "apt-get install user-mode-linux" in caught.value.remedy
    assert list(tmp_path.iterdir()) == []


def test_modules_come_after_what_they_need_and_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:

    folder = tmp_path / os.uname().release
    folder.mkdir()
    (folder / "modules.dep").write_text("a/low.ko:\na/mid-x.ko: a/low.ko\na/top.ko: a/mid-x.ko a/low.ko\n")
    loaded: list[str] = []
    monkeypatch.setattr(modules, "ROOT", str(tmp_path))
    monkeypatch.setattr(modules, "_insert", lambda path: loaded.append(path.rpartition("/")[2]))
    modules.load("mid_x top")
    assert loaded == ["low.ko", "mid-x.ko", "top.ko"]
