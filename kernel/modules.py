"""Loads the embedded kernel's modules at boot, by finit_module(2): a process each, as modprobe(8) is, would take
ten times as long. Any other module the guest kernel asks its modprobe for when it is used.

Light on purpose: this runs before anything else, and each import counts there.
"""

from __future__ import annotations

import ctypes
import os

ROOT = "/usr/lib/uml/modules"
"""Debian's package user-mode-linux puts them here."""
OPTIONS = {"dummy": b"numdummies=0"}
"""Parameters: no dummy0 that nobody asked for."""
EEXIST = 17
FINIT_MODULE = 313
"""x86-64's number (asm/unistd_64.h); user-mode-linux in Debian and Ubuntu is built for amd64 only."""
_libc = ctypes.CDLL(None, use_errno=True)


def load(names: str) -> None:
    """Loads the modules named, apart by blanks, and what each needs (modules.dep(5)).

    Raises OSError, and KeyError for a name that there is none of.
    """
    folder = f"{ROOT}/{os.uname().release}"
    needs: dict[str, list[str]] = {}
    with open(f"{folder}/modules.dep") as file:
        for line in file:
            path, _, others = line.partition(":")
            needs[_name(path)] = [*reversed(others.split()), path]
    for path in dict.fromkeys(path for name in names.split() for path in needs[name]):
        _insert(f"{folder}/{path}")


def _insert(path: str) -> None:
    """A module that is there already is fine."""
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        if _libc.syscall(FINIT_MODULE, fd, OPTIONS.get(_name(path), b""), 0) and ctypes.get_errno() != EEXIST:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    finally:
        os.close(fd)


def _name(path: str) -> str:
    """The kernel takes - and _ for the same in a module's name."""
    return path.rpartition("/")[2].removesuffix(".ko").replace("-", "_")
