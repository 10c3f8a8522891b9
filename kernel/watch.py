"""Waiting for a file to appear, by event (inotify(7))."""

from __future__ import annotations

import ctypes
import os
import select
import time
from collections.abc import Callable, Collection
from pathlib import Path

IN_CREATE, IN_MOVED_TO = 0x100, 0x80
_libc = ctypes.CDLL(None, use_errno=True)


def appear(paths: Collection[Path], deadline_s: float, alive: Callable[[], bool] = lambda: True) -> list[Path]:
    """Waits until all `paths` exist and returns those that do not at the deadline (seconds), or as soon as
    `alive` says, asked ten times a second, that nobody will make them. Their folders must exist."""
    fd = _libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        for folder in {path.parent for path in paths}:
            _libc.inotify_add_watch(fd, str(folder).encode(), IN_CREATE | IN_MOVED_TO)
        end = time.monotonic() + deadline_s
        while missing := [path for path in paths if not path.exists()]:
            left = end - time.monotonic()
            if left <= 0 or not alive():
                return missing
            if select.select([fd], [], [], min(left, 0.1))[0]:
                os.read(fd, 65536)
        return []
    finally:
        os.close(fd)
