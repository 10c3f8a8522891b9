"""What the figures were made on, as the report states it."""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any

CAVEAT = (
    "veth is no NIC: there is no line rate, no DMA and no hardware offload; figures say what the kernel's path costs, "
    "not what a network delivers"
)
SYSCTLS = ("net/core/rmem_max", "net/core/wmem_max", "net/ipv4/tcp_congestion_control", "net/core/default_qdisc")
DECIDING = ("kernel", "place", "cpu", "cpus")
"""What must agree for two reports to be compared."""
VERSION_S = 5.0
"""How long a program may take to say its version, seconds."""


def machine() -> dict[str, Any]:
    """Of the kernel that this process runs on."""
    found: dict[str, Any] = {
        "kernel": platform.release(),
        "place": os.environ.get("PODPATH_KERNEL", "host"),
        "cpu": _cpu(),
        "cpus": os.cpu_count(),
        "affinity": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20,
        "load": os.getloadavg()[0],
        "python": platform.python_version(),
        "firewall": _firewall(),
        "sysctls": {name.replace("/", "."): _read(f"/proc/sys/{name}") for name in SYSCTLS},
        "versions": {name: _version(*argv) for name, argv in _PROGRAMS.items()},
        "caveat": CAVEAT,
    }
    return found | {"fingerprint": fingerprint(found)}


def fingerprint(found: Mapping[str, Any]) -> str:
    """The same for two runs that can be compared.

    >>> fingerprint({"kernel": "6.1"}) == fingerprint({"kernel": "6.1", "load": 3})
    True
    """
    return hashlib.sha256(repr([found.get(name) for name in DECIDING]).encode()).hexdigest()[:16]


_PROGRAMS = {"iperf3": ("iperf3", "--version"), "frr": ("/usr/lib/frr/bgpd", "--version"), "tc": ("tc", "-V")}


def _version(program: str, *arguments: str) -> str:
    """The first number with a dot in what a program says of itself; "" when there is none."""
    if not shutil.which(program):
        return ""
    try:
        said = subprocess.run([program, *arguments], capture_output=True, text=True, timeout=VERSION_S, check=False)
    except subprocess.TimeoutExpired:
        return ""
    found = re.search(r"\d+\.\d+[\w.+-]*", said.stdout + said.stderr)
    return found[0] if found else ""


def _cpu() -> str:
    """The model's name; user-mode-linux has a line "host" in its place."""
    for line in _read("/proc/cpuinfo").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _firewall() -> str:
    """Which backend of iptables filters here (kernel.firewall takes them in this order)."""
    from cluster.lab import features

    found = features()
    return next((name for name in ("iptables-nft", "iptables-legacy") if name in found), "none")


def _read(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""
