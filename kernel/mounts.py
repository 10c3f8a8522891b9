"""Private mounts of a lab's first process: its own /run and friends, with what it needs kept visible."""

from __future__ import annotations

import contextlib
import ctypes
import os
import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

from kernel.errors import NotPermitted

MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC, MS_BIND, MS_REC, MS_PRIVATE = 1, 2, 4, 8, 4096, 16384, 1 << 18
MNT_DETACH = 2
"""linux/mount.h"""
PIVOT_ROOT = 155
"""Its number on x86-64; the C library has no function for it (pivot_root(2))."""
OWN = ("/run", "/var/tmp", "/etc/frr")
"""What a lab has for itself: FRR, iptables and `ip netns` write there."""
FRR_GROUPS = "frrvty:x:0:root\nfrr:x:0:root\n"
"""Debian's vtysh and daemons look these groups up; in a user namespace only id 0 exists."""
_libc = ctypes.CDLL(None, use_errno=True)


def mount(source: str, target: str, kind: str | None, flags: int = 0, options: str = "") -> None:
    """mount(2). Raises NotPermitted."""
    if _libc.mount(source.encode(), target.encode(), kind.encode() if kind else None, flags, options.encode() or None):
        reason = os.strerror(ctypes.get_errno())
        what = f"mounting {kind or source} on {target} is not allowed: {reason}"
        raise NotPermitted(what, remedy="use --kernel embedded, which needs no mounts of this machine")


def pivot(folder: str) -> None:
    """Makes `folder`, a mount, this mount namespace's root; the former one is out of sight. Raises NotPermitted."""
    os.chdir(folder)
    if _libc.syscall(PIVOT_ROOT, b".", b".") or _libc.umount2(b".", MNT_DETACH):
        raise NotPermitted(f"{folder} cannot become the root: {os.strerror(ctypes.get_errno())}")
    os.chdir("/")


def own(places: Iterable[str], keep: Sequence[Path]) -> None:
    """A tmpfs on each of `places` that exists; the paths of `keep` that it would hide are bound back. A path that is
    one of the places, or around it, keeps nothing of it visible."""
    for place in places:
        if not os.path.isdir(place):
            continue
        inner = _outermost(path for path in map(Path, map(os.path.realpath, keep)) if Path(place) in path.parents)
        inner = [path for path in inner if path.exists()]
        fds = [os.open(path, os.O_PATH | os.O_CLOEXEC) for path in inner]
        mount("tmpfs", place, "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
        for path, fd in zip(inner, fds, strict=True):
            if stat.S_ISDIR(os.fstat(fd).st_mode):
                path.mkdir(parents=True)
            else:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.touch()
            mount(f"/proc/self/fd/{fd}", str(path), None, MS_BIND | MS_REC)
            os.close(fd)


def open_to_others(folder: Path) -> None:
    """A folder that others may not enter becomes a tmpfs here, in this mount namespace only, that shows the same
    entries; so do such folders in it, as an umask of 077 leaves them."""
    if folder.stat().st_mode & 0o005 == 0o005:
        return
    entries = [entry for entry in folder.iterdir() if entry.name != ".git"]
    own([str(folder)], entries)
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink():
            open_to_others(entry)


def _outermost(paths: Iterable[Path]) -> list[Path]:
    """Without those that lie in another one."""
    found: list[Path] = []
    for path in sorted({Path(os.path.realpath(p)) for p in paths}, key=lambda p: len(p.parts)):
        if not any(path.is_relative_to(other) for other in found):
            found.append(path)
    return found


def frr_groups() -> None:
    """A copy of /etc/group that has FRR's groups, over the real one; needs a /run of our own."""
    copy = Path("/run/podpath.group")
    with open("/etc/group") as file:
        others = [line for line in file if line.split(":")[0] not in ("frr", "frrvty")]
    copy.write_text("".join(others) + FRR_GROUPS)
    mount(str(copy), "/etc/group", None, MS_BIND)


def fresh_proc_and_sys() -> None:
    """/proc of our process namespace and /sys of our network namespace, where a container lets us."""
    with contextlib.suppress(NotPermitted):
        mount("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    with contextlib.suppress(NotPermitted):
        mount("sysfs", "/sys", "sysfs", MS_NOSUID | MS_NODEV | MS_NOEXEC)


def reachable_for_others(keep: Sequence[Path]) -> None:
    """Makes `keep` reachable for a user that may not enter some folder above: that folder becomes a tmpfs here,
    in this mount namespace only, which holds nothing but `keep`."""
    for path in _outermost(keep):
        for parent in reversed(path.parents):
            if not parent.stat().st_mode & 0o001:
                own([str(parent)], keep)
