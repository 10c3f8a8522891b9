"""`python run_topology.py` as an ordinary user and, `sudo` or not, under any python there is."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

HOME = Path(__file__).resolve().parents[2]
ORDINARY = 12345
"""A user number that nobody has: no entry in /etc/passwd is needed."""
AnyUser = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ordinary() -> Iterator[AnyUser]:
    """Runs the program as an ordinary user with a fresh home, under the system's python, not the environment's."""
    own = Path("/tmp") / f"podpath-home-{os.getpid()}"
    own.mkdir()
    who = []
    if os.geteuid() == 0:
        os.chown(own, ORDINARY, ORDINARY)
        who = ["setpriv", f"--reuid={ORDINARY}", f"--regid={ORDINARY}", "--clear-groups", "--"]
    environment = {"PATH": "/usr/local/bin:/usr/bin:/bin", "HOME": str(own), "LANG": "C.UTF-8"}

    def call(*arguments: str) -> subprocess.CompletedProcess[str]:
        argv = [*who, "/usr/bin/python3", str(HOME / "run_topology.py"), *arguments]
        return subprocess.run(argv, cwd="/", env=environment, capture_output=True, text=True, timeout=120)

    yield call
    call("down")
    shutil.rmtree(own)


def test_an_ordinary_user_has_the_whole_of_it(ordinary: AnyUser) -> None:
    if not os.access(HOME, os.X_OK) or HOME.is_relative_to("/root"):
        pytest.fail(f"{HOME} cannot be entered by an ordinary user; check podpath out somewhere else")
    up = ordinary("up", "-d", "--json")
    assert up.returncode == 0, up.stderr
    assert json.loads(up.stdout)["kernel"] in ("user", "embedded")
    assert ordinary("exec", "pod1", "--", "ping", "-c", "1", "-W", "2", "10.244.0.65").returncode == 0
    assert json.loads(ordinary("trace", "pod1", "pod3", "--json").stdout)["disposition"] == "replied"
    assert ordinary("down").returncode == 0


def test_an_ordinary_user_cannot_have_the_host_kernel(ordinary: AnyUser, golden: Callable[[str, str], None]) -> None:
    done = ordinary("up", "-d", "--kernel", "host")
    golden("errors/host-kernel-without-root.txt", f"$ run_topology.py up -d --kernel host\n{done.stderr}")
    assert done.returncode == 2


@pytest.mark.parametrize("folder", ["/", "/run", "/tmp"])
def test_a_lab_keeps_out_of_the_machines_run_folder_wherever_it_is_started(
    folder: str, podpath: Callable[..., subprocess.CompletedProcess[str]]
) -> None:
    before = set(os.listdir("/run"))
    assert podpath("up", "-d", "--preset", "one-switch", cwd=Path(folder)).returncode == 0
    inside = set(podpath("exec", "node1", "--", "ls", "/run").stdout.split())
    after = set(os.listdir("/run"))
    assert podpath("down", cwd=Path(folder)).returncode == 0
    assert {"netns", "podpath.group"} <= inside and "podpath.group" not in before | after


def test_it_finds_its_environment_from_anywhere(tmp_path: Path) -> None:
    (tmp_path / "link.py").symlink_to(HOME / "run_topology.py")
    argv = ["/usr/bin/python3", str(tmp_path / "link.py"), "export", "--format", "schema"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0 and "LabSpec" in done.stdout


def test_without_an_environment_it_sets_itself_up(tmp_path: Path) -> None:
    """In a copy of the program whose scripts/setup makes an environment with nothing in it."""
    shutil.copy(HOME / "run_topology.py", tmp_path)
    (tmp_path / "scripts").mkdir()
    setup = tmp_path / "scripts" / "setup"
    setup.write_text("#!/bin/sh\ncd $(dirname $0)/..\necho setting up >&2\npython3 -m venv --without-pip .venv\n")
    setup.chmod(0o755)
    (tmp_path / "console").mkdir()
    (tmp_path / "console" / "parser.py").write_text("def run(argv):\n    print('ran', argv)\n    return 3\n")
    argv = ["/usr/bin/python3", "run_topology.py", "up", "-d"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stdout) == (3, "ran ['up', '-d']\n")
    assert "comes first" in done.stderr and "setting up" in done.stderr


def test_a_broken_environment_is_said_to_be_so(tmp_path: Path) -> None:
    shutil.copy(HOME / "run_topology.py", tmp_path)
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / ".venv" / "bin" / "python").symlink_to("/usr/bin/python3")
    done = subprocess.run(["/usr/bin/python3", "run_topology.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == f"error: {tmp_path}/.venv is broken\n  -> remove it and run `make setup`\n"


def test_a_set_up_that_fails_is_one_message(tmp_path: Path) -> None:
    shutil.copy(HOME / "run_topology.py", tmp_path)
    (tmp_path / "scripts").mkdir()
    (tmp_path / "scripts" / "setup").write_text("#!/bin/sh\nexit 7\n")
    (tmp_path / "scripts" / "setup").chmod(0o755)
    done = subprocess.run(["/usr/bin/python3", "run_topology.py"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.endswith(
        "error: podpath could not be set up\n  -> run `make setup` as root once, or with sudo\n"
    )
