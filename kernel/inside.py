"""Starts a lab's first process on this machine's kernel, in namespaces of its own (unshare(2)).

Three processes: the caller; a keeper, which made the namespaces and waits; and the first process, number 1 of
a process namespace. Each dies with the one before it (PR_SET_PDEATHSIG), and with number 1 die all others.
"""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import json
import os
import signal
import socket
import struct
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import NoReturn

from kernel import errors, mounts
from kernel.errors import MissingTool, NotPermitted, PodpathError
from kernel.namespaces import refusal
from kernel.places import HOME, LOG, PID, exit_status

NEWNS, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET = 0x20000, 0x4000000, 0x8000000, 0x10000000, 0x20000000, 0x40000000
"""CLONE_NEW*, linux/sched.h"""
PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
_libc = ctypes.CDLL(None, use_errno=True)


def start(
    kernel: str,
    lab: str,
    argv: list[str],
    run_folder: Path,
    *,
    detach: bool,
    lock: int,
    control: socket.socket | None,
) -> int:
    """Starts the keeper and returns its number once the first process runs. Raises NotPermitted and MissingTool."""
    environment = first_environment(kernel, run_folder)
    if control is not None:
        environment |= {"PODPATH_LISTEN_FD": str(control.fileno()), "PODPATH_CONTROL": str(run_folder)}

    def first(_: Keeper) -> NoReturn:
        _prepare(lab, run_folder)
        for fd in (lock, *([control.fileno()] if control else [])):
            os.set_inheritable(fd, True)
        os.execvpe(argv[0], argv, environment)

    def namespaces() -> None:
        if kernel == "user":
            become_root_of_user_namespace()
        unshare(NEWNS | NEWUTS | NEWIPC | NEWPID | NEWNET)

    return keeper(namespaces, first, run_folder, detach)


def first_environment(kernel: str, run_folder: Path) -> dict[str, str]:
    """The caller's environment with what a lab's first process is told."""
    path = os.environ.get("PATH", "/usr/bin:/bin")
    return dict(os.environ) | {
        "PATH": f"{path}:{SBIN}",
        "PODPATH_KERNEL": kernel,
        "PODPATH_RUN": str(run_folder),
    }


class Keeper:
    """The keeper as the first process sees it. `sock` is at its end once the keeper is gone."""

    def __init__(self, sock: socket.socket, say: int) -> None:
        self.sock, self._say = sock, say

    def runs(self) -> None:
        """Tells the caller that the lab's program runs now; exec does so by itself."""
        os.close(self._say)

    def adopt(self, group: int) -> None:
        """From now on the keeper kills this process group when the first process has ended."""
        self.sock.send(struct.pack("=i", group))
        self.sock.recv(1)


def keeper(namespaces: Callable[[], None], first: Callable[[Keeper], NoReturn], run_folder: Path, detach: bool) -> int:
    """Forks the keeper, which calls `namespaces` and forks `first`; returns when `first` has turned into its
    program or says that it runs. Whatever either raises before is raised here."""
    said, say = os.pipe()  # closed by exec: end of file means that it runs
    caller = os.getpid()
    pid = os.fork()
    if not pid:
        os.close(said)
        _child(say, lambda: _keep(namespaces, first, run_folder, detach, caller, say))
    os.close(say)
    try:
        with open(said) as file:
            text = file.read()
    except BaseException:  # Ctrl-C
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
        raise
    if text:
        os.waitpid(pid, 0)
        fields = json.loads(text)
        raise getattr(errors, fields.pop("kind"))(fields.pop("what"), **fields)
    return pid


def _child(say: int, body: Callable[[], None]) -> NoReturn:
    """Runs `body` and never returns; an error of ours goes into the pipe."""
    try:
        body()
    except PodpathError as problem:
        fields = {"what": problem.what, "where": problem.where, "remedy": problem.remedy}
        os.write(say, json.dumps({"kind": type(problem).__name__, **fields}).encode())
    except BaseException as problem:
        fields = {"kind": "PodpathError", "what": f"a mistake in podpath itself: {problem!r}"}
        with contextlib.suppress(OSError):
            os.write(say, json.dumps(fields).encode())
    finally:
        os._exit(1)


def _keep(
    namespaces: Callable[[], None],
    first: Callable[[Keeper], NoReturn],
    run_folder: Path,
    detach: bool,
    caller: int,
    say: int,
) -> None:
    """The keeper: ends with the first process, with its exit status."""
    if detach:
        os.setsid()
        _redirect(run_folder / LOG)
    else:
        os.setpgid(0, 0)  # a terminal's Ctrl-C is for the caller
    namespaces()
    if not detach:
        die_with(caller)
    here, there = socket.socketpair()
    pid = os.fork()
    if not pid:
        here.close()
        _child(say, lambda: _first(first, Keeper(there, say)))
    there.close()
    (run_folder / PID).write_text(str(pid))
    os.close(say)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # the first process decides
    groups = _adopted(here)
    status = exit_status(os.waitpid(pid, 0)[1])
    _end(groups)
    os._exit(status)


def _adopted(first: socket.socket) -> list[int]:
    """The process groups that the first process hands over until its end, or its exec. Its first word says that it
    is sure to die with us."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)  # theirs become ours
    groups: list[int] = []
    with contextlib.suppress(OSError):
        while word := first.recv(4):
            groups += struct.unpack("=i", word) if len(word) == 4 else ()
            first.send(b"x")
    return groups


def _end(groups: Sequence[int]) -> None:
    """Kills process groups whose parent is gone, and returns when no process of theirs is left."""
    for group in groups:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(group, signal.SIGKILL)
    with contextlib.suppress(ChildProcessError):
        while groups:
            os.wait()


def _first(first: Callable[[Keeper], NoReturn], keeper: Keeper) -> None:
    """Number 1: sure to die with the keeper before it goes on (the keeper may have died just now)."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    keeper.sock.send(b"x")
    if not keeper.sock.recv(1):
        os._exit(1)
    first(keeper)


def die_with(parent: int) -> None:
    """This process is killed when its parent, whose number is given, ends."""
    prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def prctl(option: int, value: int) -> None:
    _libc.prctl(option, value, 0, 0, 0)


def unshare(flags: int) -> None:
    """unshare(2). Raises NotPermitted."""
    if _libc.unshare(flags):
        reason = refusal(ctypes.get_errno())
        raise NotPermitted(f"namespaces of the lab's own are not allowed here: {reason}", remedy=_remedy())


def become_root_of_user_namespace() -> None:
    """A user namespace in which this user is root (user_namespaces(7)). Raises NotPermitted with the setting's name."""
    user, group = os.geteuid(), os.getegid()
    if _libc.unshare(NEWUSER):
        reason = refusal(ctypes.get_errno())
        raise NotPermitted(f"user namespaces are not allowed here: {reason}", remedy=_remedy())
    try:
        Path("/proc/self/setgroups").write_text("deny")
        Path("/proc/self/uid_map").write_text(f"0 {user} 1")
        Path("/proc/self/gid_map").write_text(f"0 {group} 1")
    except OSError as problem:
        raise NotPermitted(f"user namespaces are not allowed here: {problem.strerror}", remedy=_remedy()) from None


SETTINGS: Sequence[tuple[str, Callable[[int], bool], str]] = (
    ("kernel/unprivileged_userns_clone", lambda value: value == 0, "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("user/max_user_namespaces", lambda value: value == 0, "sysctl -w user.max_user_namespaces=10000"),
    (
        "kernel/apparmor_restrict_unprivileged_userns",
        lambda value: value == 1,
        "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
"""Settings that forbid user namespaces: the file in /proc/sys, what value does, and the cure."""


def _remedy(settings: Mapping[str, int] | None = None) -> str:
    """The setting that is the cause, if one is; a container's own filter otherwise."""
    for name, forbids, cure in SETTINGS:
        try:
            value = settings[name] if settings is not None else int(Path("/proc/sys", name).read_text())
        except (OSError, KeyError, ValueError):
            continue
        if forbids(value):
            return f"as root: {cure}; or use --kernel embedded, which needs no namespaces"
    return "run with sudo, allow it in the container's security profile, or use --kernel embedded"


def why_not() -> str:
    """ "" if user namespaces with devices of their own can be made here, else the reason: tried in a child."""
    said, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            become_root_of_user_namespace()
            unshare(NEWNS | NEWPID | NEWNET)
            mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        except PodpathError as problem:
            os.write(say, problem.what.encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(said) as file:
        text = file.read()
    os.waitpid(pid, 0)
    return text


def _prepare(lab: str, run_folder: Path) -> None:
    """In the first process, before its program: mounts, host name, lo."""
    mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    mounts.own(mounts.OWN, kept(run_folder))
    mounts.frr_groups()
    mounts.fresh_proc_and_sys()
    socket.sethostname(lab[:63])
    loopback_up()
    if not os.access(sys.executable, os.X_OK):
        raise MissingTool(
            f"{sys.executable} cannot be run by this user", remedy="put podpath where the user may read it"
        )


def kept(run_folder: Path) -> list[Path]:
    """What a lab's own mounts must not hide."""
    return [HOME, Path(sys.prefix), Path(sys.base_prefix), Path.cwd(), run_folder]


def loopback_up() -> None:
    """Sets IFF_UP on lo of this thread's namespace (netdevice(7))."""
    siocsifflags = 0x8914
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        fcntl.ioctl(sock, siocsifflags, struct.pack("16sh22x", b"lo", 1))


def _redirect(log: Path) -> None:
    """Standard input from nowhere, output and errors to the log."""
    null = os.open(os.devnull, os.O_RDONLY)
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
    for fd, number in ((null, 0), (out, 1), (out, 2)):
        os.dup2(fd, number)
    os.close(null)
    os.close(out)
