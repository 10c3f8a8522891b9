"""The three kernels to run on, and a lab's life as the machine sees it: its first process and its run folder.

host      root, on the machine's kernel, in namespaces of the lab's own
user      the same without root, in a user namespace
embedded  a whole Linux kernel as a process (Debian's user-mode-linux), as any user
"""

from __future__ import annotations

import contextlib
import fcntl
import functools
import os
import select
import shutil
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from kernel.errors import BadInput, LabBusy, MissingFeature, MissingTool, NotConverged, NotPermitted, meant

KERNELS = ("host", "user", "embedded")
SOCKET, LOCK, PID, LOG, KERNEL = "control.sock", "lock", "pid", "log", "kernel"
"""The files of a run folder: control socket, lock of the living lab, its first process, what it said, which kernel."""
LOOK_S = 0.1
"""How long others may hold a lock that they only look at, seconds."""
GOING_S = 2.0
"""How long processes of a killed lab may take to end, seconds."""
HOME = Path(__file__).resolve().parent.parent


class Process:
    """The process that stands for a lab; kill -9 of it ends the whole lab."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._status: int | None = None

    def wait(self) -> int:
        """The first process's exit status; 128 + the signal's number if one ended it."""
        if self._status is None:
            self._take(os.waitpid(self.pid, 0)[1])
        assert self._status is not None
        return self._status

    def poll(self) -> int | None:
        """The same if it has ended."""
        if self._status is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self._take(status)
        return self._status

    def kill(self) -> None:
        """Ends it and the lab at once."""
        if self._status is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)

    def _take(self, status: int) -> None:
        self._status = exit_status(status)


def exit_status(wait_status: int) -> int:
    """What wait(2) said of a process, as shells count it: 128 + the signal's number if one ended it."""
    code = os.waitstatus_to_exitcode(wait_status)
    return code if code >= 0 else 128 - code


def launch(
    kernel: str,
    lab: str,
    argv: Sequence[str],
    run_folder: Path,
    *,
    detach: bool = False,
    listen: Path | None = None,
) -> Process:
    """Runs `argv` as a lab's first process on `kernel`; returns once it runs.

    It inherits standard output and error, and on host and user standard input; detached it gets /dev/null and the
    folder's log, and outlives the caller. Otherwise it dies with the caller, even by kill -9. In its environment:
    PODPATH_KERNEL, PODPATH_RUN (the run folder as seen there), and with `listen` PODPATH_LISTEN_FD, the numbers of
    its listening sockets, and PODPATH_CONTROL, the folder of such a socket as seen there.

    Raises BadInput (no such kernel), LabBusy (the folder belongs to a living lab), NotPermitted and MissingTool; for
    a guest kernel that does not boot NotConverged and PodpathError, with its last words.
    """
    if kernel not in KERNELS:
        raise BadInput(f"there is no kernel {kernel!r}", where="--kernel", remedy=meant(kernel, KERNELS))
    run_folder = run_folder.absolute()
    with locked(run_folder) as lock, _listening(listen) as control:
        (run_folder / PID).unlink(missing_ok=True)  # a killed lab's
        (run_folder / KERNEL).write_text(kernel)
        if kernel == "embedded":
            from kernel.embedded import start
        else:
            from kernel.inside import start
        pid = start(kernel, lab, list(argv), run_folder, detach=detach, lock=lock, control=control)
    return Process(pid)


@contextlib.contextmanager
def _listening(path: Path | None) -> Iterator[socket.socket | None]:
    """A listening unix socket at `path`, for the first process or the relay; closed here afterwards."""
    if path is None:
        yield None
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock, short(path.parent) as folder:
        path.unlink(missing_ok=True)
        before = os.umask(0o077)
        try:
            sock.bind(f"{folder}/{path.name}")
        finally:
            os.umask(before)
        sock.listen(64)
        yield sock


@contextlib.contextmanager
def short(folder: Path) -> Iterator[str]:
    """A short name of a folder for the socket calls: sun_path holds 107 bytes only (unix(7))."""
    fd = os.open(folder, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield f"/proc/self/fd/{fd}"
    finally:
        os.close(fd)


# -- run folders -----------------------------------------------------------------------------------------


def root() -> Path:
    """Where this user's run folders are: $PODPATH_RUN_ROOT, else /run/podpath for root, XDG_RUNTIME_DIR or ~/.cache."""
    if stated := os.environ.get("PODPATH_RUN_ROOT"):
        return Path(stated)
    if os.geteuid() == 0:
        return Path("/run/podpath")
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime and os.access(runtime, os.W_OK):
        return Path(runtime) / "podpath"
    try:
        return Path.home() / ".cache" / "podpath"
    except RuntimeError:  # neither HOME nor an entry in /etc/passwd
        raise BadInput("this user has no home", remedy="set PODPATH_RUN_ROOT to a folder of yours") from None


def run_folder(lab: str) -> Path:
    """The run folder of the lab of that name, which need not exist. Raises BadInput for a name that is no file name."""
    if not lab or "/" in lab or lab.startswith(".") or len(lab) > 64:
        raise BadInput(
            f"{lab!r} cannot be a lab's name", where="--name", remedy="use letters, digits and dashes, at most 64"
        )
    return root() / lab


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[int]:
    """The folder, made if needed, and its lock as a descriptor that the lab's processes inherit and so hold.

    A folder that a killed lab left is taken over. Raises LabBusy when the lab lives.
    """
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as problem:
        remedy = "set PODPATH_RUN_ROOT to a folder of yours"
        raise BadInput(f"the run folder cannot be used: {problem.strerror}", where=str(folder), remedy=remedy) from None
    try:
        deadline = time.monotonic() + LOOK_S
        while not _taken(lock):
            if time.monotonic() > deadline:
                what = f"a lab named {folder.name!r} runs already"
                raise LabBusy(what, where="--name", remedy="take it down, or give another name")
            time.sleep(LOOK_S / 10)
        if not (folder / LOCK).exists():
            raise LabBusy(f"the folder of a lab named {folder.name!r} was just tidied up", remedy="try again")
        yield lock
    finally:
        os.close(lock)


def _taken(lock: int, how: int = fcntl.LOCK_EX) -> bool:
    """The lock is ours now; false when another process has it."""
    try:
        fcntl.flock(lock, how | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def alive(folder: Path) -> bool:
    """A lab holds this folder."""
    try:
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return not _taken(lock, fcntl.LOCK_SH)
    finally:
        os.close(lock)


def sweep() -> None:
    """Removes the run folders that killed labs of this user left."""
    for folder in root().iterdir() if root().is_dir() else ():
        tidy(folder)


def tidy(folder: Path) -> None:
    """Removes a run folder if it has a lock and nobody holds that."""
    with contextlib.suppress(OSError):
        lock = os.open(folder / LOCK, os.O_RDWR | os.O_CLOEXEC)
        try:
            if _taken(lock):
                (folder / LOCK).unlink()
                _remove(folder)
        finally:
            os.close(lock)


def _remove(folder: Path) -> None:
    """A killed lab's daemons may write for a moment yet, after its lock is free."""
    deadline = time.monotonic() + GOING_S
    while True:
        try:
            return shutil.rmtree(folder)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(GOING_S / 100)


def running() -> list[str]:
    """The names of this user's living labs."""
    try:
        return sorted(folder.name for folder in root().iterdir() if alive(folder))
    except FileNotFoundError:
        return []


def kernel_of(folder: Path) -> str:
    """The kernel that the living lab in `folder` runs on. Raises LabBusy when that is not settled yet."""
    try:
        return (folder / KERNEL).read_text().strip()
    except FileNotFoundError:
        raise LabBusy(f"the lab {folder.name!r} is still starting", remedy="try again in a moment") from None


def holder(folder: Path) -> int | None:
    """The first process of the living lab in `folder`, as a number of the machine."""
    try:
        return int((folder / PID).read_text()) if alive(folder) else None
    except (OSError, ValueError):
        return None


def wait_gone(folder: Path, deadline_s: float) -> None:
    """Waits until the last process of a lab has ended; kills what is still there at the deadline (seconds).

    Raises NotConverged when even that does not help.
    """
    with until_gone(folder, deadline_s):
        pass


@contextlib.contextmanager
def until_gone(folder: Path, deadline_s: float) -> Iterator[None]:
    """The same after its body, which ends a lab that lives before it. The lab's lock is free a moment before its last
    process is gone (do_exit closes files first), so the body must not come before this looks."""
    fd = None
    if (pid := holder(folder)) is not None:
        with contextlib.suppress(ProcessLookupError):
            fd = os.pidfd_open(pid)
    try:
        yield
    finally:
        if fd is not None:
            if not select.select([fd], [], [], deadline_s)[0]:
                signal.pidfd_send_signal(fd, signal.SIGKILL)
            os.close(fd)
    deadline = time.monotonic() + deadline_s
    while alive(folder):  # the others of its process namespace end within a moment; a lock announces nothing
        if time.monotonic() > deadline:
            raise NotConverged(f"the lab {folder.name!r} did not end within {deadline_s:g} s", where=str(folder))
        time.sleep(0.002)


@contextlib.contextmanager
def scratch(what: str) -> Iterator[Path]:
    """A run folder for a first process that is no lab, which any user can have whoever the checkout is of."""
    with tempfile.TemporaryDirectory(prefix=f"podpath-{what}-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def unique() -> str:
    """A suffix for names of labs that live as long as this process."""
    return str(os.getpid())


# -- choosing --------------------------------------------------------------------------------------------


def usable() -> dict[str, str]:
    """Each kernel, and "" or why it cannot be used here."""
    return {kernel: why_not(kernel) for kernel in KERNELS}


def why_not(kernel: str) -> str:
    """ "" if the kernel can be used here, else why not."""
    from kernel import embedded, inside

    if kernel == "host":
        return "" if os.geteuid() == 0 else "it needs root"
    return inside.why_not() if kernel == "user" else embedded.why_not()


@functools.cache
@functools.cache
def features_of(kernel: str) -> frozenset[str]:
    """The features of a kernel: tried on this machine; for the embedded one those that it is known to have."""
    from kernel.features import of_embedded, probe_apart

    found = of_embedded() if kernel == "embedded" else probe_apart(kernel)
    return frozenset(name for name, lack in found.items() if not lack)


def choose(wish: str, needs: frozenset[str], for_what: str) -> tuple[str, str]:
    """The kernel for `wish` ("auto": the first that has all of `needs`) and why, in words.

    Raises BadInput (no such kernel), NotPermitted, MissingTool, and MissingFeature that names what is lacking.
    """
    if wish not in ("auto", *KERNELS):
        raise BadInput(f"there is no kernel {wish!r}", where="--kernel", remedy=meant(wish, ("auto", *KERNELS)))
    from kernel.features import need_programs

    need_programs(needs)
    if wish != "auto":
        _must_be_usable(wish)
        if lacking := sorted(needs - features_of(wish)):
            what = f"the {wish} kernel lacks {', '.join(lacking)}, which {for_what} needs"
            raise MissingFeature(what, where="--kernel", remedy="use --kernel embedded" if wish != "embedded" else "")
        return wish, "as asked for"
    reasons: dict[str, str] = {}
    for kernel in KERNELS:
        why = why_not(kernel)
        lacking = [] if why else sorted(needs - features_of(kernel))
        if not why and not lacking:
            return kernel, _because(kernel, for_what, reasons)
        reasons[kernel] = why or f"it lacks {', '.join(lacking)}"
    what = f"no kernel here can run {for_what}: " + "; ".join(f"{k}: {why}" for k, why in reasons.items())
    raise MissingFeature(what, where="--kernel auto", remedy="see `run_topology.py doctor`")


def _must_be_usable(kernel: str) -> None:
    """Raises NotPermitted or MissingTool; for "user" trying its features does that, with the setting's name."""
    if kernel != "user" and (why := why_not(kernel)):
        if kernel == "host":
            raise NotPermitted(f"the host kernel: {why}", where="--kernel", remedy="use sudo, or --kernel user")
        raise MissingTool(f"the embedded kernel: {why}", where="--kernel", remedy="run `make setup`")


def _because(kernel: str, for_what: str, reasons: Mapping[str, str]) -> str:
    others = "".join(f"; not {name}: {why}" for name, why in reasons.items())
    return f"the first with all that {for_what} needs{others}"
