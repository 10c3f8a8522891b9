"""A session: something interactive in the lab whose terminal or pipes are the client's.

It runs in a child of the lab's server. The child pumps bytes between the connection and either a command
in a namespace (`exec`) or a function of ours in a further child (the prompt).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import select
import signal
import struct
import subprocess
import sys
import termios
import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cluster.channel import EXIT, NUMBER, PAIR, RESIZE, SIGNAL, STDERR, STDIN, STDOUT, Channel, Closed, write_all
from kernel.namespaces import Namespaces
from kernel.places import exit_status

CHUNK = 1 << 16


@dataclass(frozen=True)
class Ends:
    """File descriptors of the session's side, and of the side that the command gets."""

    ours: tuple[int, int, int]
    theirs: tuple[int, int, int]

    def close_theirs(self) -> None:
        for fd in set(self.theirs):
            os.close(fd)


def terminal(size: Sequence[int]) -> Ends:
    """A pseudo-terminal of `size` (rows, columns)."""
    ours, theirs = pty.openpty()
    resize(ours, size)
    return Ends((ours, ours, -1), (theirs, theirs, theirs))


def pipes() -> Ends:
    """Three pipes: standard input, output and error."""
    stdin, stdout, stderr = os.pipe(), os.pipe(), os.pipe()
    return Ends((stdin[1], stdout[0], stderr[0]), (stdin[0], stdout[1], stderr[1]))


def resize(fd: int, size: Sequence[int]) -> None:
    """Sets a terminal's rows and columns (TIOCSWINSZ, ioctl_tty(2))."""
    fcntl.ioctl(fd, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))


def ends_for(request: Mapping[str, Any]) -> Ends:
    """What the request asks for: a terminal when the client has one, else pipes."""
    size = request.get("terminal")
    return terminal(size) if size else pipes()


def command(channel: Channel, namespaces: Namespaces, request: Mapping[str, Any]) -> None:
    """Runs request["argv"] in namespace request["netns"] until it ends. Raises MissingTool before it starts."""
    argv, ends = list(request["argv"]), ends_for(request)
    on_terminal = bool(request.get("terminal"))
    if on_terminal:  # setsid(1) takes the terminal without a fork of this large process
        argv = ["setsid", "--ctty", *argv]
    environment = dict(os.environ) | dict(request.get("environment", {}))
    stdin, stdout, stderr = ends.theirs
    try:
        child = namespaces.spawn(
            request["netns"],
            argv,
            stdin=stdin,
            stdout=stdout,
            stderr=stderr,
            env=environment,
            start_new_session=not on_terminal,
        )
    finally:
        ends.close_theirs()
    channel.send({"started": True})
    _pump(channel, ends, child.pid)
    _finish(channel, child)


def function(channel: Channel, request: Mapping[str, Any], body: Callable[[], int]) -> None:
    """Runs `body` in a further child on the session's terminal or pipes."""
    ends = ends_for(request)
    pid = os.fork()
    if not pid:
        _become(ends, bool(request.get("terminal")), dict(request.get("environment", {})), body)
    ends.close_theirs()
    channel.send({"started": True})
    _pump(channel, ends, pid)
    _say(channel, EXIT, NUMBER.pack(exit_status(os.waitpid(pid, 0)[1])))


def _become(ends: Ends, on_terminal: bool, environment: dict[str, str], body: Callable[[], int]) -> None:
    """The further child: takes the session's ends as its standard streams and never returns."""
    status = 1
    try:
        os.environ.update(environment)
        for fd in {fd for fd in ends.ours if fd >= 0}:
            os.close(fd)
        if on_terminal:
            os.login_tty(ends.theirs[0])
        else:
            os.setsid()
            for number, fd in enumerate(ends.theirs):
                os.dup2(fd, number)
        signal.signal(signal.SIGINT, signal.default_int_handler)
        sys.stdin, sys.stdout, sys.stderr = (open(n, "r" if n == 0 else "w", closefd=False) for n in range(3))  # noqa: SIM115
        status = body()
        sys.stdout.flush()
    except KeyboardInterrupt:
        status = 130
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError, ValueError):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _finish(channel: Channel, child: subprocess.Popen[Any]) -> None:
    status = child.wait()
    _say(channel, EXIT, NUMBER.pack(status if status >= 0 else 128 - status))


def _say(channel: Channel, kind: bytes, data: bytes) -> None:
    with contextlib.suppress(Closed):
        channel.send_frame(kind, data)


def _pump(channel: Channel, ends: Ends, pid: int) -> None:
    """Moves bytes until the command has ended and its output is read, or the client is gone."""
    stdin, stdout, stderr = ends.ours
    names = {fd: kind for fd, kind in ((stdout, STDOUT), (stderr, STDERR)) if fd >= 0}
    ended = os.pidfd_open(pid)
    waiting: list[Any] = [channel, ended, *names]
    try:
        while names and not (ended not in waiting and _idle(names)):
            ready, _, _ = select.select(waiting, [], [])
            for fd in [fd for fd in ready if fd in names]:
                if data := _read(fd):
                    channel.send_frame(names[fd], data)
                else:
                    waiting.remove(fd)
                    del names[fd]
            if channel in ready:
                _input(channel, stdin, stdout, pid)
            if ended in ready:
                waiting.remove(ended)
    except Closed:
        _kill(pid, signal.SIGHUP)
        _kill(pid, signal.SIGKILL)
    finally:
        os.close(ended)


def _idle(names: Mapping[int, bytes]) -> bool:
    """No output is waiting. (A background child may hold the pipes open after the command's end.)"""
    return not select.select(list(names), [], [], 0)[0]


def _read(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK)
    except OSError:  # EIO: the other side of a terminal is closed
        return b""


def _input(channel: Channel, stdin: int, stdout: int, pid: int) -> None:
    for kind, data in channel.frames():
        if kind == STDIN and data:
            with contextlib.suppress(OSError):  # the command does not read any more
                write_all(stdin, data)
        elif kind == STDIN and stdin != stdout:
            with contextlib.suppress(OSError):
                os.close(stdin)
        elif kind == RESIZE:
            resize(stdin, PAIR.unpack(data))
        elif kind == SIGNAL:
            _kill(pid, NUMBER.unpack(data)[0])


def _kill(pid: int, number: int) -> None:
    """To the command's whole group: it leads one (setsid)."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
