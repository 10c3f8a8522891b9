"""Starts a lab's first process in a Linux kernel of its own, which runs as an ordinary process: user-mode-linux.

Four kinds of process: the caller; a keeper (kernel.inside); the relay (kernel.relay), which is the lab's first
process for the machine; and the guest kernel with one process for each of its address spaces. Where namespaces
are allowed the relay is number 1 of a process namespace, so that the others die with it; else it and the keeper
kill the guest's process group, each when the other is gone.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import signal
import socket
import subprocess
import sys
import traceback
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

from kernel import guest, inside, mounts
from kernel.errors import MissingTool, NotConverged, NotPermitted, PodpathError
from kernel.modules import ROOT
from kernel.places import HOME

if TYPE_CHECKING:
    from kernel.relay import Relay

PROGRAM, PACKAGE = "linux.uml", "user-mode-linux"
CONSOLE, MACHINE, BELL = "console", "machine", "bell"
"""In the run folder: what the guest kernel says, its management files, the socket of its device."""
BOOT_S = 60.0
"""Deadline of the boot, seconds; it takes two on an idle machine."""
LEAST, MOST = 256 << 20, 4 << 30
"""Bounds of the guest's memory, bytes. It takes from the machine what it has touched, not all of it."""
NOBODY = 65534
"""Who the guest kernel runs as when root starts it (Debian policy 9.2.2)."""
VSOCK = 19
"""VIRTIO_ID_VSOCK, linux/virtio_ids.h"""
SHM = Path("/dev/shm")
LAST_LINES = 15


def why_not() -> str:
    """ "" if the embedded kernel can be used here, else the reason."""
    path = f"{os.environ.get('PATH', os.defpath)}:{inside.SBIN}"
    for program, package in ((PROGRAM, PACKAGE), ("modprobe", "kmod")):
        if not shutil.which(program, path=path):
            return f"{package} is not installed"
    return "" if os.path.isdir(ROOT) else f"{ROOT} is missing, which {PACKAGE} brings"


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
    """Boots the guest; returns the keeper's number once `argv` runs in it.

    Raises MissingTool, NotPermitted, NotConverged (no boot in time), PodpathError (the guest kernel ended).
    """
    if why := why_not():
        raise MissingTool(why, where="--kernel embedded", remedy=f"run `make setup`, or: apt-get install {PACKAGE}")
    task = {
        "argv": argv,
        "environment": {**inside.first_environment(kernel, run_folder), "HOME": guest.HOME, "TMPDIR": "/tmp"},
        "folder": os.getcwd(),
        "lab": lab,
        "keep": [str(path) for path in inside.kept(run_folder)],
        "serve": control is not None,
    }
    (run_folder / guest.TASK).write_text(json.dumps(task))
    machine = _Machine(run_folder, lock, control)
    return inside.keeper(machine.namespaces, machine.first, run_folder, detach)


class _Machine:
    """The machine's side of one guest; its two functions run in the keeper and in the relay."""

    def __init__(self, run_folder: Path, lock: int, control: socket.socket | None) -> None:
        self._folder, self._lock, self._control = run_folder, lock, control
        self._own = True
        self._drop = os.geteuid() == 0 and _exists(NOBODY)

    def namespaces(self) -> None:
        """Namespaces of the lab's own where they are allowed; the guest needs none."""
        try:
            if os.geteuid() != 0:
                inside.become_root_of_user_namespace()
            inside.unshare(inside.NEWNS | inside.NEWPID | inside.NEWNET | inside.NEWIPC | inside.NEWUTS)
        except NotPermitted:
            self._own = False

    def first(self, keeper: inside.Keeper) -> NoReturn:
        """The relay: boots the guest, moves bytes, ends with the exit status of the guest's first process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)  # it ends with the guest
        memory, place = self._prepare()
        bell = self._bell()
        kernel = self._boot(keeper, memory, place)
        _compile()
        from kernel.relay import Relay

        try:
            relay = Relay(bell, kernel, keeper.sock, self._control)
            self._until_it_runs(relay)
            keeper.runs()
            status = self._until_it_ends(relay)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(kernel, signal.SIGKILL)
        os._exit(status)

    def _until_it_runs(self, relay: Relay) -> None:
        """Raises MissingTool, NotConverged and PodpathError."""
        from kernel.relay import Ended, Orphaned

        try:
            word, _, reason = relay.until_word(BOOT_S).partition(" ")
        except TimeoutError:
            raise NotConverged(f"the guest kernel did not boot within {BOOT_S:g} s{self._last()}") from None
        except Ended:
            what, where = f"the guest kernel ended before it was up{self._last()}", str(self._folder / CONSOLE)
            raise PodpathError(what, where=where) from None
        except Orphaned:
            raise PodpathError("the lab was killed while it started") from None
        if word != "runs":
            raise MissingTool(f"the lab's first process cannot start: {reason}")
        relay.serve()

    def _until_it_ends(self, relay: Relay) -> int:
        """The exit status of the guest's first process; whatever goes wrong is told on standard error."""
        from kernel.relay import Ended, Orphaned

        try:
            status = int(relay.until_word().removeprefix("exit "))
            relay.finish()
            return status
        except Ended:
            print(f"podpath: the guest kernel ended by itself{self._last()}", file=sys.stderr, flush=True)
        except Orphaned:
            pass
        except Exception:
            traceback.print_exc()
        return 1

    def _prepare(self) -> tuple[int, Path]:
        """Mounts, where there may be some; the size of the guest's memory, and the folder for its file."""
        if self._own:
            mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            mounts.fresh_proc_and_sys()
            size, place = _size(_available()), SHM
            limits = f"mode=1777,size={size + LEAST}"
            mounts.mount("tmpfs", str(place), "tmpfs", mounts.MS_NOSUID | mounts.MS_NODEV, limits)
        else:
            inside.prctl(inside.PR_SET_PDEATHSIG, 0)  # it must outlive the keeper, to kill the guest
            size, place = _memory_without_mounts(self._folder)
        if self._drop:
            os.chown(self._folder, NOBODY, NOBODY)
            if self._own:
                mounts.open_to_others(HOME)
                mounts.reachable_for_others(inside.kept(self._folder))
            _readable_by_nobody(self._folder, Path(__file__), Path(sys.executable))
        return size, place

    def _bell(self) -> socket.socket:
        from kernel.places import short

        sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with short(self._folder) as folder:
            (self._folder / BELL).unlink(missing_ok=True)
            sock.bind(f"{folder}/{BELL}")
        os.chmod(self._folder / BELL, 0o666)  # its folder is closed to others
        sock.listen(1)
        return sock

    def _boot(self, keeper: inside.Keeper, memory: int, place: Path) -> int:
        """Forks the guest kernel; it goes on once the keeper knows its process group."""
        shutil.rmtree(self._folder / MACHINE, ignore_errors=True)
        wait, go = os.pipe()
        relay = os.getpid()
        kernel = os.fork()
        if not kernel:
            os.close(go)
            try:
                os.setsid()
                if os.read(wait, 1):
                    self._become_guest(relay, memory, place)
            finally:
                os._exit(1)
        os.close(wait)
        if not self._own:  # its number means nothing outside a process namespace
            keeper.adopt(kernel)
        os.write(go, b"x")
        os.close(go)
        return kernel

    def _become_guest(self, relay: int, memory: int, place: Path) -> NoReturn:
        os.chdir(self._folder)
        console = os.open(CONSOLE, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND, 0o600)
        null = os.open(os.devnull, os.O_RDONLY)
        for fd, number in ((null, 0), (console, 1), (console, 2)):
            os.dup2(fd, number)
        if self._drop:
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
        inside.die_with(relay)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        os.set_inheritable(self._lock, True)
        environment = dict(os.environ) | {"TMPDIR": str(place), "HOME": str(self._folder)}
        os.execvpe(PROGRAM, command_line(memory, self._folder), environment)

    def _last(self) -> str:
        """The end of what the guest kernel said, to go on a message."""
        with contextlib.suppress(FileNotFoundError):
            if lines := last_lines((self._folder / CONSOLE).read_text(errors="replace")):
                return "; it said last:\n" + "\n".join(f"    {line}" for line in lines)
        return ""


def command_line(memory: int, run_folder: Path) -> list[str]:
    """What user-mode-linux is called with; it runs in `run_folder`, so that its own paths are short."""
    return [
        PROGRAM,
        f"mem={memory >> 20}M",
        "rootfstype=hostfs",
        "rootflags=/",
        "ro",
        f"virtio_uml.device={BELL}:{VSOCK}",
        "uml_dir=.",
        f"umid={MACHINE}",
        "con=null",
        "con0=null,fd:1",
        "ssl=null",
        "noreboot",
        "pty.legacy_count=0",
        "panic=-1",
        "fb_tunnels=initns",
        f'PYTHONPATH="{HOME}"',
        f'init="{sys.executable}"',
        "--",
        "-S",
        "-m",
        "kernel.guest",
        f'"{run_folder}"',
    ]


def last_lines(console: str) -> list[str]:
    """What tells most of a kernel's end: its last lines, before the call trace if it panicked."""
    before, panic, after = console.partition("Kernel panic")
    text = before + panic + after.partition("\n")[0]
    return [line for line in text.splitlines() if line.strip()][-LAST_LINES:]


def _exists(user: int, text: str | None = None) -> bool:
    """This user namespace has that user (user_namespaces(7)); a container may have no other than its root, which is
    an ordinary user of the machine then."""
    for line in (text or Path("/proc/self/uid_map").read_text()).splitlines():
        first, _, count = map(int, line.split())
        if first <= user < first + count:
            return True
    return False


def _readable_by_nobody(*paths: Path) -> None:
    """Raises NotPermitted for the first of these that nobody may not read."""
    for path in paths:
        argv = ["test", "-r", str(path)]
        if subprocess.run(argv, user=NOBODY, group=NOBODY, extra_groups=[], check=False).returncode:
            what = f"the guest kernel runs as nobody, who may not read {path}"
            raise NotPermitted(what, where="--kernel embedded", remedy=f"chmod -R a+rX {HOME}, or run it without sudo")


def _available(text: str | None = None) -> int:
    """Bytes that the machine can still give to programs (proc(5), MemAvailable)."""
    for line in (text or Path("/proc/meminfo").read_text()).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return 2 * LEAST


def _size(free: int) -> int:
    """Half of what is free, in whole MiB, within bounds."""
    return max(LEAST, min(MOST, free // 2)) >> 20 << 20


def _memory_without_mounts(run_folder: Path) -> tuple[int, Path]:
    """The first place that can hold the guest's memory: a tmpfs if possible, the run folder's disk if not."""
    for place in (SHM, run_folder):
        with contextlib.suppress(OSError):
            room = os.statvfs(place)
            free = room.f_bavail * room.f_frsize
            if os.access(place, os.W_OK) and free > LEAST and not room.f_flag & os.ST_NOEXEC:
                return min(_size(_available()), _size(free)), place
    what = f"there is no room for the guest's memory in {SHM} or {run_folder}"
    raise NotPermitted(what, remedy="free 256 MiB in one of them, mounted without noexec")


def _compile() -> None:
    """Byte code of ours beside the sources, while the guest boots: it cannot write it, and would compile each time."""
    import compileall

    for folder in HOME.iterdir():
        if (folder / "__init__.py").exists():
            compileall.compile_dir(folder, quiet=2, workers=1)
