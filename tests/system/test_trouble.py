"""What a machine can lack or forbid, and an `up` that fails half-way: one message, exit status 2, nothing left.

The exact messages are golden files, as those of tests/unit/test_bad_input.py are.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Done = subprocess.CompletedProcess[str]
CALICO = ("up", "-d", "--plugin", "calico", "--mode", "bgp")
CASES: dict[str, tuple[str, tuple[str, ...]]] = {
    "frr-missing": ("mount -t tmpfs tmpfs /usr/lib/frr", CALICO),
    "mininet-missing": ("mount -t tmpfs tmpfs /usr/lib/python3/dist-packages/mininet", ("up",)),
    "iperf3-missing": ("mount --bind /dev/null $(command -v iperf3)", ("bench",)),
    "embedded-missing": ("mount --bind /dev/null $(command -v linux.uml)", ("up", "-d", "--kernel", "embedded")),
    "user-namespaces-forbidden": ("echo 0 >/proc/sys/user/max_user_namespaces", ("up", "-d", "--kernel", "user")),
    "too-few-network-namespaces": ("echo 6 >/proc/sys/user/max_net_namespaces", ("up", "-d", "--kernel", "user")),
    "bgpd-dies": ("mount --bind /bin/false /usr/lib/frr/bgpd", CALICO),
    "zebra-dies": ("mount --bind /bin/false /usr/lib/frr/zebra", CALICO),
}
"""What is done to the machine (as seen from namespaces of the test's own), and the command that then fails."""


@pytest.mark.parametrize("name", CASES)
def test_trouble_is_one_message_and_leaves_nothing(
    name: str, within: Callable[..., Done], run_root: Path, golden: Callable[[str, str], None]
) -> None:
    prepare, argv = CASES[name]
    done = within(prepare, *argv, limits="/proc/sys/user/" in prepare)
    message = done.stderr[max(done.stderr.find("error: "), 0) :]
    golden(f"errors/{name}.txt", f"$ {prepare}\n$ run_topology.py {' '.join(argv)}\n{message}")
    assert (done.returncode, done.stdout) == (2, "")
    assert list(run_root.iterdir()) == []
    assert processes_of(run_root) == []


def processes_of(run_root: Path) -> list[str]:
    """Command lines of processes that were started with this root of run folders."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if f"PODPATH_RUN_ROOT={run_root}".encode() in (folder / "environ").read_bytes().split(b"\0"):
                found.append((folder / "cmdline").read_bytes().replace(b"\0", b" ").decode())
        except OSError:  # ended meanwhile, or another user's
            continue
    return found


def test_a_kernel_that_cannot_do_the_mode_says_so_before_anything_is_built(
    podpath: Callable[..., Done], run_root: Path
) -> None:
    """VLANs are missing on some machines; there the message is real, elsewhere the lab comes up."""
    own = "host" if os.geteuid() == 0 else "user"
    done = podpath("up", "-d", "--preset", "vlans", "--kernel", own)
    if done.returncode:
        assert f"the {own} kernel lacks" in done.stderr and "--kernel embedded" in done.stderr
        assert list(run_root.iterdir()) == []
    else:
        assert podpath("down").returncode == 0


def test_a_change_that_fails_leaves_the_lab_as_it_was(podpath: Callable[..., Done]) -> None:
    assert podpath("up", "-d", "--preset", "one-switch").returncode == 0
    assert podpath("exec", "node1", "--", "mount", "-t", "tmpfs", "tmpfs", "/usr/lib/frr").returncode == 0
    changed = podpath("up", "-d", "--preset", "one-switch", "--plugin", "calico", "--mode", "bgp")
    assert changed.returncode == 2 and "goes back to what it was" in changed.stderr
    assert podpath("up", "--dry-run", "--preset", "one-switch").stdout == "nothing to do\n"
    assert podpath("trace", "pod1", "pod3").returncode == 0
    assert podpath("down").returncode == 0


def test_a_lab_that_was_killed_is_said_to_be_gone(podpath: Callable[..., Done], run_root: Path) -> None:
    assert podpath("up", "-d").returncode == 0
    (folder,) = run_root.iterdir()
    os.kill(int((folder / "pid").read_text()), 9)
    done = podpath("trace", "pod1", "pod3")
    assert done.returncode == 2
    assert "no lab is running" in done.stderr or "the lab ended before it answered" in done.stderr
    assert podpath("down").returncode == 2
    assert list(run_root.iterdir()) == []
