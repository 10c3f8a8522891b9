"""scripts/setup, once everything is there: it changes nothing, says nothing and asks for no password."""

from __future__ import annotations

import resource
import subprocess
from pathlib import Path

HOME = Path(__file__).resolve().parents[2]
QUICK_S = 1.0
"""Time of the processor, which a busy machine does not stretch."""


def test_done_already_is_quick_and_silent() -> None:
    stamp = HOME / ".venv" / "podpath.stamp"
    made = stamp.stat().st_mtime_ns
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    done = subprocess.run(
        [HOME / "scripts" / "setup"], cwd="/", stdin=subprocess.DEVNULL, capture_output=True, text=True
    )
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stamp.stat().st_mtime_ns == made
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < QUICK_S


def test_no_apt_is_one_message(tmp_path: Path) -> None:
    for program in ("dirname", "grep", "bash"):
        (tmp_path / program).symlink_to(f"/usr/bin/{program}")
    argv = ["/usr/bin/bash", str(HOME / "scripts" / "setup")]
    done = subprocess.run(argv, env={"PATH": str(tmp_path)}, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "setup: this system has no apt; use Debian 12 or Ubuntu 24.04, or 'vagrant up' in this folder\n"
    )
