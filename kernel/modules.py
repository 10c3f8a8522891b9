#!/usr/bin/python3 -IS
"""Loads modules of the embedded kernel: a list at boot, and one by one when the guest kernel asks for them.

Debian keeps them in /usr/lib/uml/modules (package user-mode-linux). The guest kernel runs this file as its
modprobe (/proc/sys/kernel/modprobe), and iptables does too: kmod need not be installed. Light on purpose: it
runs before anything else, and each import counts there.
"""

from __future__ import annotations

import ctypes
import fnmatch
import os
import sys

ROOT = "/usr/lib/uml/modules"
OPTIONS = {"dummy": b"numdummies=0"}
"""Parameters: no dummy0 that nobody asked for."""
EEXIST = 17
_libc = ctypes.CDLL(None, use_errno=True)


class Modules:
    """The modules of one kernel release, with what each needs (modules.dep) and its other names (modules.alias)."""

    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._needs: dict[str, list[str]] = {}
        self._done: set[str] = set()
        with open(f"{folder}/modules.dep") as file:
            for line in file:
                path, _, needs = line.partition(":")
                self._needs[_name(path)] = [*reversed(needs.split()), path]

    def load(self, wish: str) -> bool:
        """Loads a module, by name or alias, and what it needs; false when there is none or the kernel refuses."""
        names = [_name(wish)] if _name(wish) in self._needs else self._aliased(wish)
        return bool(names) and all([self._insert(path) for name in names for path in self._needs[name]])

    def _aliased(self, wish: str) -> list[str]:
        found = []
        with open(f"{self._folder}/modules.alias") as file:
            for line in file:
                pattern, _, name = line.removeprefix("alias ").strip().rpartition(" ")
                if _plain(pattern) == _plain(wish) or fnmatch.fnmatchcase(wish, pattern):
                    found.append(_name(name))
        return [name for name in found if name in self._needs]

    def _insert(self, path: str) -> bool:
        """finit_module(2); a module that is there already is fine."""
        if path in self._done:
            return True
        fd = os.open(f"{self._folder}/{path}", os.O_RDONLY | os.O_CLOEXEC)
        refused = _libc.syscall(FINIT_MODULE, fd, OPTIONS.get(_name(path), b""), 0) and ctypes.get_errno() != EEXIST
        os.close(fd)
        if not refused:
            self._done.add(path)
        return not refused


FINIT_MODULE = 313
"""x86-64's number (asm/unistd_64.h); user-mode-linux in Debian and Ubuntu is built for amd64 only."""


def _name(path: str) -> str:
    return _plain(path.rpartition("/")[2].removesuffix(".ko"))


def _plain(name: str) -> str:
    """The kernel takes - and _ for the same in a module's name."""
    return name.replace("-", "_")


def of_this_kernel() -> Modules:
    """Those of the running kernel. Raises FileNotFoundError when the package holds another release's."""
    return Modules(f"{ROOT}/{os.uname().release}")


if __name__ == "__main__":
    wishes = [word for word in sys.argv[1:] if not word.startswith("-")]
    sys.exit(0 if all([of_this_kernel().load(wish) for wish in wishes]) else 1)
