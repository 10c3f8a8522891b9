"""The embedded kernel's first program: makes the guest fit for a lab, runs one command, tells its exit status.

The guest kernel starts it as its init: `python -S -m kernel.guest RUN_FOLDER`. What to do is in the run folder
(kernel.embedded writes it). Light on purpose: an import costs ten times as much here as on the machine.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kernel import mounts
from kernel.inside import loopback_up
from kernel.modules import ROOT, load
from kernel.places import SOCKET, exit_status

TASK = "guest.json"
"""In the run folder: argv, environment, folder to be in, lab's name, paths to keep visible, whether to serve."""
HOST, ANY = 2, 0xFFFFFFFF
"""VMADDR_CID_HOST and VMADDR_CID_ANY, vsock(7)"""
CONTROL, STDOUT, STDERR, EVENTS = 1, 2, 3, 4
"""Ports: the server of the guest; and of the machine, what the guest connects to."""
INSIDE = "/run/podpath.server"
"""Where the server listens for commands from inside the guest (the prompt's own)."""
HOME = "/root"
PRIVATE = (HOME, "/tmp")
"""The guest has its own: what is there on the machine may be closed to the user that the guest kernel runs as."""
LAYER = "/dev/layer"
"""Where the writable root is put together; gone from sight once it is the root."""
FIRST = "overlay vmw_vsock_virtio_transport"
MODULES = (
    "ipv6 veth bridge vxlan ip_tables iptable_nat ip6table_nat xt_MASQUERADE xt_set xt_comment ip_set_hash_net"
    " sch_prio cls_u32 act_pedit"
)
"""What nearly every lab uses: 15 ms each, against 100 ms when the guest kernel has to ask for it."""


def main(run_folder: str) -> None:
    """Never returns: the machine's side ends this kernel once it knows the status."""
    with open(f"{run_folder}/{TASK}") as file:
        task = json.load(file)
    load(FIRST)
    _file_systems(run_folder, [Path(path) for path in task["keep"]])
    Path("/proc/sys/kernel/hotplug").write_text("\n")  # Debian's UML else forks /sbin/hotplug for each device
    say = _to_machine(EVENTS)
    try:
        _network(task["lab"])
        status = _run(task, say)
    except OSError as problem:
        say.sendall(f"failed {problem}\n".encode())
    else:
        with contextlib.suppress(ProcessLookupError):
            os.kill(-1, signal.SIGKILL)
        os.sync()  # hostfs writes late
        say.sendall(f"exit {status}\n".encode())
    signal.pause()


def _writable_root() -> None:
    """The machine's files, read-only, under a layer of the guest's own memory: what is written stays here."""
    os.mkdir(LAYER)
    mounts.mount("tmpfs", LAYER, "tmpfs")
    for name in ("upper", "work", "root"):
        os.mkdir(f"{LAYER}/{name}")
    layers = f"lowerdir=/,upperdir={LAYER}/upper,workdir={LAYER}/work"
    mounts.mount("overlay", f"{LAYER}/root", "overlay", 0, layers)
    mounts.pivot(f"{LAYER}/root")


def _file_systems(run_folder: str, keep: Sequence[Path]) -> None:
    """As on the machine, but for what a lab has for itself; only the run folder is the machine's own."""
    _writable_root()
    for kind, place, options in (
        ("proc", "/proc", ""),
        ("sysfs", "/sys", ""),
        ("devtmpfs", "/dev", ""),
        ("devpts", "/dev/pts", "mode=620,ptmxmode=666"),
        ("tmpfs", "/dev/shm", "mode=1777"),
    ):
        os.makedirs(place, exist_ok=True)
        mounts.mount(kind, place, kind, 0, options)
    os.rmdir(LAYER)
    for name, target in (("fd", ""), ("stdin", "/0"), ("stdout", "/1"), ("stderr", "/2")):
        os.symlink(f"/proc/self/fd{target}", f"/dev/{name}")
    mounts.own((*PRIVATE, *mounts.OWN), keep)
    os.chmod("/tmp", 0o1777)
    mounts.mount("none", run_folder, "hostfs", 0, run_folder)
    mounts.frr_groups()
    _core_id()
    os.makedirs("/lib/modules", exist_ok=True)
    mounts.mount("none", "/lib/modules", "hostfs", mounts.MS_RDONLY, ROOT)


def _core_id() -> None:
    """UML's /proc/cpuinfo names no core, which Debian's ps and top take for a failure: they get one that does."""
    text, copy = Path("/proc/cpuinfo").read_text(), Path("/run/podpath.cpuinfo")
    copy.write_text(text.replace("vendor_id", "core id\t\t: 0\nvendor_id", 1))
    mounts.mount(str(copy), "/proc/cpuinfo", None, mounts.MS_BIND)


def _network(lab: str) -> None:
    load(MODULES)
    socket.sethostname(lab[:63])
    loopback_up()


def _to_machine(port: int) -> socket.socket:
    sock = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    sock.connect((HOST, port))
    return sock


def _run(task: Mapping[str, Any], say: socket.socket) -> int:
    """Runs the command as this guest's first process; returns its exit status, 128 + the signal's number if killed."""
    environment = dict(task["environment"])
    with contextlib.suppress(OSError):
        os.chdir(task["folder"])
    listening = _listen() if task["serve"] else []
    if listening:
        numbers = ",".join(str(sock.fileno()) for sock in listening)
        environment |= {"PODPATH_LISTEN_FD": numbers, "PODPATH_CONTROL": INSIDE}
    null = os.open(os.devnull, os.O_RDONLY)
    out, err = _to_machine(STDOUT), _to_machine(STDERR)
    os.environ["PATH"] = environment["PATH"]
    first = os.posix_spawnp(
        task["argv"][0],
        task["argv"],
        environment,
        file_actions=[(os.POSIX_SPAWN_DUP2, fd, n) for n, fd in enumerate((null, out.fileno(), err.fileno()))],
        setsid=True,
    )
    for sock in (out, err, *listening):
        sock.close()
    say.sendall(b"runs\n")
    while (ended := os.wait())[0] != first:
        pass  # an orphan
    return exit_status(ended[1])


def _listen() -> list[socket.socket]:
    """For the machine's commands, and for those from inside."""
    outer = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    outer.bind((ANY, CONTROL))
    inner = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    os.makedirs(INSIDE, mode=0o700)
    inner.bind(f"{INSIDE}/{SOCKET}")
    for sock in (outer, inner):
        sock.listen(64)
        sock.set_inheritable(True)
    return [outer, inner]


if __name__ == "__main__":
    main(sys.argv[1])
