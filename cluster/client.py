"""The command's side of a lab's control channel."""

from __future__ import annotations

import contextlib
import os
import select
import signal
import socket
import sys
import termios
import tty
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from cluster.channel import (
    EXIT,
    NUMBER,
    PAIR,
    RESIZE,
    SIGNAL,
    STDERR,
    STDIN,
    STDOUT,
    Channel,
    Closed,
    raised,
    write_all,
)
from kernel.errors import LabBusy, PodpathError
from kernel.places import SOCKET, short

CONTROL = "PODPATH_CONTROL"
"""Environment variable, set in the lab's processes only: the folder of the control socket as seen from there."""
KEPT = ("TERM", "COLORTERM", "LANG", "LC_ALL", "NO_COLOR")
"""Environment variables that a session takes from the client."""
CHUNK = 1 << 14


def connect(folder: Path) -> Channel:
    """A connection to the lab of this run folder. Raises LabBusy when none listens."""
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        with short(folder) as path:
            sock.connect(f"{path}/{SOCKET}")
    except OSError as problem:
        sock.close()
        what = f"the lab {folder.name!r} does not answer ({problem.strerror})"
        raise LabBusy(what, remedy="start it with `run_topology.py up`") from None
    return Channel(sock)


def call(folder: Path, request: Mapping[str, Any], progress: Callable[[Any], None] = lambda _: None) -> Any:
    """Sends one request and returns its result; `progress` sees what comes before.

    Raises the lab's own error, or PodpathError when the lab ends meanwhile.
    """
    channel = connect(folder)
    try:
        channel.send(request)
        while True:
            message = channel.receive()
            if "error" in message:
                raise raised(message)
            if "done" in message:
                return message["done"]
            progress(message["progress"])
    except Closed:
        what = "the lab ended before it answered"
        raise PodpathError(what, where=str(folder / "log"), remedy="start it again: `run_topology.py up`") from None
    finally:
        channel.close()


def session(folder: Path, request: Mapping[str, Any]) -> int:
    """Runs an interactive request on this process's terminal or pipes; returns its exit status."""
    on_terminal = sys.stdin.isatty() and sys.stdout.isatty()
    environment = {name: os.environ[name] for name in KEPT if name in os.environ}
    asked = {**request, "environment": environment, "terminal": _size() if on_terminal else None}
    channel = connect(folder)
    try:
        channel.send(asked)
        message = channel.receive()
        if "error" in message:
            raise raised(message)
        with _raw() if on_terminal else contextlib.nullcontext(), _signals(on_terminal) as signals:
            return _pump(channel, signals)
    except Closed:
        raise PodpathError("the lab ended", where=str(folder)) from None
    finally:
        channel.close()


def _size() -> tuple[int, int]:
    columns, rows = os.get_terminal_size(sys.stdin.fileno())
    return rows, columns


@contextlib.contextmanager
def _raw() -> Iterator[None]:
    """This terminal in raw mode: keys, Ctrl-C too, go to the session's terminal."""
    fd = sys.stdin.fileno()
    before = termios.tcgetattr(fd)
    tty.setraw(fd)
    try:
        yield
    finally:
        with contextlib.suppress(termios.error):  # the terminal is gone
            termios.tcsetattr(fd, termios.TCSADRAIN, before)


@contextlib.contextmanager
def _signals(on_terminal: bool) -> Iterator[int]:
    """A descriptor on which each signal to pass on arrives as a byte: a terminal's new size, or else Ctrl-C and TERM.

    Not sent from the handler itself: it may run in the middle of another frame.
    """
    numbers = (signal.SIGWINCH,) if on_terminal else (signal.SIGINT, signal.SIGTERM)
    arrived, arrive = os.pipe()
    os.set_blocking(arrive, False)
    wakeup_before = signal.set_wakeup_fd(arrive)
    before = {number: signal.signal(number, lambda *_: None) for number in numbers}
    try:
        yield arrived
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        signal.set_wakeup_fd(wakeup_before)
        os.close(arrive)
        os.close(arrived)


def _pump(channel: Channel, signals: int) -> int:
    """Moves bytes until the session's exit status comes. Raises Closed."""
    stdin = sys.stdin.fileno()
    waiting: list[Any] = [channel, signals, stdin]
    while True:
        ready, _, _ = select.select(waiting, [], [])
        if channel in ready:
            for kind, data in channel.frames():
                if kind == EXIT:
                    return int(NUMBER.unpack(data)[0])
                write_all({STDOUT: 1, STDERR: 2}[kind], data)
        if signals in ready:
            for number in os.read(signals, 64):
                resized = number == signal.SIGWINCH
                channel.send_frame(*((RESIZE, PAIR.pack(*_size())) if resized else (SIGNAL, NUMBER.pack(number))))
        if stdin in ready:
            data = os.read(stdin, CHUNK)
            channel.send_frame(STDIN, data)
            if not data:
                waiting.remove(stdin)
