"""kill -9 leaves nothing: a few rounds of scripts/kill-nine, and whether that script would see what is left."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
SCRIPT = HOME / "scripts" / "kill-nine"
OWN = "host" if os.geteuid() == 0 else "user"


def test_nothing_is_left() -> None:
    """With a /tmp of the test's own, since others may write to the machine's meanwhile; unless podpath is in it."""
    times = 6
    user = [] if OWN == "host" else ["--user", "--map-root-user"]
    own_tmp = "" if HOME.is_relative_to("/tmp") else "mount -t tmpfs tmpfs /tmp; "
    line = f"{own_tmp}exec {sys.executable} {SCRIPT} --times {times} --kernel {OWN}"
    argv = ["unshare", *user, "--mount", "sh", "-ec", line]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.findall(r"^ +\d+ (up|trace|down) ", done.stdout, re.MULTILINE)
    assert f"{times} of {times} left nothing" in done.stdout


@pytest.fixture
def script() -> Iterator[Any]:
    loader = SourceFileLoader("kill_nine", str(SCRIPT))
    module = module_from_spec(spec_from_loader("kill_nine", loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    yield module
    module.RUN_ROOT.rmdir()


def test_what_is_left_would_be_seen(script: Any) -> None:
    before = script.machine()
    with tempfile.NamedTemporaryFile(prefix="left-") as file:
        environment = dict(os.environ) | {"PODPATH_RUN_ROOT": str(script.RUN_ROOT)}
        with subprocess.Popen(["sleep", "600"], env=environment) as left:
            found = script.difference(before, script.machine())
            left.kill()
    assert f"processes: + {left.pid} sleep 600 " in found
    assert f"{tempfile.gettempdir()}: + {Path(file.name).name}" in found
    changed = before | {"links": before["links"] + "9: dummy0: <BROADCAST>\n"}
    assert script.difference(before, changed) == ["links: + 9: dummy0: <BROADCAST>"]
