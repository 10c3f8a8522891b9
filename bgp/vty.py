"""Talking to a daemon as vtysh does, without a process of its own: a command and a zero byte on its unix socket, then
text, three zero bytes and a status (FRR: vtysh/vtysh.c, vtysh_client_run; lib/vty.c, vtysh_read)."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterable
from pathlib import Path

from kernel.errors import NotConverged

END = b"\0\0\0"
OK = (0, 3)
"""CMD_SUCCESS and CMD_SUCCESS_DAEMON, lib/command.h."""
TIMEOUT_S = 10.0
"""A busy daemon answers late; one that never does is ill."""
LISTENS_S = 1.0


def ask(path: Path, commands: Iterable[str]) -> list[str]:
    """What a daemon at `path` says to each command. Raises NotConverged when it cannot be reached or refuses one."""
    answers = []
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
            sock.settimeout(TIMEOUT_S)
            _connect(sock, path)
            for command in ("enable", *commands):
                sock.sendall(command.encode() + b"\0")
                text, status = _answer(sock)
                if status not in OK:
                    what = f"{path.stem} of {path.parent.name!r} refused {command!r}: {text.strip() or status}"
                    raise NotConverged(what, where=str(path), remedy="look into the log of the router")
                answers.append(text)
    except OSError as problem:
        what = f"{path.stem} of {path.parent.name!r} does not answer: {problem.strerror or 'it is silent'}"
        raise NotConverged(what, where=str(path), remedy="`up` starts it again") from None
    return answers[1:]


def _connect(sock: socket.socket, path: Path) -> None:
    """A socket is a file before it is listened on; a daemon that starts needs a moment in between."""
    deadline = time.monotonic() + LISTENS_S
    while True:
        try:
            return sock.connect(str(path))
        except ConnectionRefusedError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.001)


def _answer(sock: socket.socket) -> tuple[str, int]:
    data = b""
    while not (len(data) >= len(END) + 1 and data[-4:-1] == END):
        more = sock.recv(1 << 16)
        if not more:
            raise ConnectionResetError(0, "it ended meanwhile")
        data += more
    return data[:-4].decode(errors="replace"), data[-1]
