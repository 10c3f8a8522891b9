"""Private mounts, tried in a mount namespace of a child."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kernel import inside, mounts

pytestmark = pytest.mark.only("host")
NOBODY = 65534


def nobody_reads(path: Path, prepare: Callable[[], None]) -> bool:
    """Whether nobody can read `path` where `prepare` has been called."""
    pid = os.fork()
    if not pid:
        status = 2
        try:
            inside.unshare(inside.NEWNS)
            mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            prepare()
            argv = ["test", "-r", str(path)]
            status = subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=[], check=False).returncode
        finally:
            os._exit(status)
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    assert status in (0, 1)
    return status == 0


def test_a_closed_checkout_in_a_closed_home_opens_for_nobody(tmp_path: Path) -> None:
    checkout = tmp_path / "home" / "podpath"
    (checkout / "room").mkdir(parents=True)
    (checkout / "room" / "file.py").write_text("x")
    (checkout / "top.py").write_text("x")
    (tmp_path / "home" / "secret").write_text("x")
    for folder in (tmp_path, tmp_path / "home", checkout, checkout / "room"):
        folder.chmod(0o700)

    def prepare() -> None:
        mounts.open_to_others(checkout)
        mounts.reachable_for_others([checkout])

    for path in (checkout / "room" / "file.py", checkout / "top.py"):
        assert not nobody_reads(path, lambda: None)
        assert nobody_reads(path, prepare)
    assert not nobody_reads(tmp_path / "home" / "secret", prepare)
