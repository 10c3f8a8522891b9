"""Network namespaces of this process: anonymous, one file descriptor each, gone when the descriptor is.

Python 3.11 has no os.setns, so unshare(2), setns(2) and mount(2) are called through ctypes. They act on the
calling thread only; every method leaves the thread where it was.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import subprocess
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from kernel import mounts
from kernel.errors import BadInput, KernelRefused, MissingTool, NotPermitted

CLONE_NEWNET = 0x40000000
"""linux/sched.h"""
RUN_NETNS = Path("/run/netns")
"""Where `ip netns` looks for names (ip-netns(8))."""
_libc = ctypes.CDLL(None, use_errno=True)


class Namespaces:
    """The namespaces of one lab by name. With `bind` each is also at /run/netns/<name>, for `ip netns`;
    say so only where /run is the lab's own."""

    def __init__(self, *, bind: bool = False) -> None:
        self._fds: dict[str, int] = {}
        self._bind = bind
        self._home = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)

    @property
    def names(self) -> tuple[str, ...]:
        """All names, oldest first."""
        return tuple(self._fds)

    def fd(self, name: str) -> int:
        """The descriptor of a namespace. Raises BadInput if there is none of that name."""
        try:
            return self._fds[name]
        except KeyError:
            raise BadInput(f"there is no namespace {name!r}") from None

    def create(self, name: str) -> int:
        """A fresh namespace; returns its descriptor. Raises NotPermitted."""
        self.create_all([name])
        return self._fds[name]

    def create_all(self, names: Iterable[str], each: Callable[[str], None] = lambda _: None) -> None:
        """Fresh namespaces, one after the other; `each` is called while this thread is in the new one."""
        try:
            for name in names:
                if _libc.unshare(CLONE_NEWNET):
                    raise _refused(name)
                self._fds[name] = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
                each(name)
                if self._bind:
                    _bind(name, self._fds[name])
        finally:
            self._enter(self._home)

    def drop(self, name: str) -> None:
        """Gives one namespace back to the kernel, which removes its devices once nothing is in it."""
        fd = self._fds.pop(name)
        if self._bind:
            _unbind(name)
        os.close(fd)

    def follow(self, names: Iterable[str]) -> None:
        """In a child of the process that makes them: takes `names` as they are at /run/netns now, and no others.

        Raises BadInput for one that is not there."""
        wanted = list(names)
        for name in [name for name in self._fds if name not in wanted]:
            os.close(self._fds.pop(name))
        for name in wanted:
            try:
                fd = os.open(RUN_NETNS / name, os.O_RDONLY | os.O_CLOEXEC)
            except FileNotFoundError:
                raise BadInput(f"there is no namespace {name!r}") from None
            if name in self._fds:
                os.close(self._fds[name])
            self._fds[name] = fd

    def close(self) -> None:
        """Gives all back. The kernel clears them in the background."""
        for name in self.names:
            self.drop(name)
        os.close(self._home)

    @contextlib.contextmanager
    def inside(self, name: str) -> Iterator[None]:
        """This thread is in namespace `name` meanwhile."""
        self._enter(self.fd(name))
        try:
            yield
        finally:
            self._enter(self._home)

    def spawn(self, name: str, argv: Sequence[str], **popen: Any) -> subprocess.Popen[Any]:
        """A child in namespace `name`; `popen` goes to subprocess.Popen. Raises MissingTool."""
        with self.inside(name):
            try:
                return subprocess.Popen(list(argv), **popen)
            except (FileNotFoundError, PermissionError) as problem:
                if isinstance(problem, PermissionError) and "/" in argv[0]:
                    raise BadInput(f"{argv[0]!r} is no program that can be run") from None
                # a folder of PATH that may not be entered makes EACCES of "nowhere" (execvp(3))
                what = f"there is no program {argv[0]!r}"
                raise MissingTool(what, remedy="install it, or run `make setup`") from None

    def run(
        self, name: str, argv: Sequence[str], input: str | None = None, timeout: float | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Runs a command to its end; output is text. Raises MissingTool, subprocess.TimeoutExpired."""
        pipe = subprocess.PIPE
        stdin = subprocess.DEVNULL if input is None else pipe
        child = self.spawn(name, argv, stdin=stdin, stdout=pipe, stderr=pipe, text=True)
        try:
            out, err = child.communicate(input, timeout)
        except BaseException:
            child.kill()
            child.wait()
            raise
        return subprocess.CompletedProcess(list(argv), child.returncode, out, err)

    def _enter(self, fd: int) -> None:
        if _libc.setns(fd, CLONE_NEWNET):
            raise KernelRefused(
                f"the kernel does not let us into a network namespace: {os.strerror(ctypes.get_errno())}"
            )


def _refused(name: str) -> NotPermitted:
    number = ctypes.get_errno()
    reason = refusal(number)
    full = "as root: sysctl -w user.max_net_namespaces=10000"  # namespaces(7)
    remedy = full if number == errno.ENOSPC else "run as root, or with --kernel user"
    return NotPermitted(f"network namespace {name!r} could not be made: {reason}", remedy=remedy)


def refusal(number: int) -> str:
    """strerror(3), but where namespaces are made ENOSPC speaks of their number (namespaces(7))."""
    return "the limit on their number is reached" if number == errno.ENOSPC else os.strerror(number)


def _bind(name: str, fd: int) -> None:
    RUN_NETNS.mkdir(parents=True, exist_ok=True)
    target = RUN_NETNS / name
    target.touch()
    if _libc.mount(f"/proc/self/fd/{fd}".encode(), str(target).encode(), None, mounts.MS_BIND, None):
        raise KernelRefused(f"{target} could not be mounted: {os.strerror(ctypes.get_errno())}")


def _unbind(name: str) -> None:
    target = RUN_NETNS / name
    _libc.umount2(str(target).encode(), mounts.MNT_DETACH)
    target.unlink(missing_ok=True)
