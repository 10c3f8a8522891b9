"""One connection between a command and the running lab: JSON lines, then (for a session) frames.

A client sends one request, a JSON object on a line. The lab answers with any number of
`{"progress": ...}` lines and ends with `{"done": ...}` or `{"error": ...}`. A session (a command in a
pod, the prompt) answers `{"started": true}`; from there on both sides send frames: a letter, the length
as four bytes, the data.
"""

from __future__ import annotations

import json
import os
import socket
import struct
from collections.abc import Iterator, Mapping
from typing import Any

from kernel import errors

STDIN, STDOUT, STDERR, RESIZE, SIGNAL, EXIT = b"i", b"o", b"e", b"w", b"s", b"x"
"""Kinds of frame. STDIN of length 0 is its end; RESIZE holds rows and columns, SIGNAL and EXIT a number."""
HEAD = struct.Struct("!cI")
PAIR = struct.Struct("!HH")
NUMBER = struct.Struct("!i")
LONGEST_LINE = 64 << 20


class Closed(Exception):
    """The other side is gone."""


class Channel:
    """A connected stream socket with the protocol above."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._buffer = bytearray()

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()

    def send(self, message: Mapping[str, Any]) -> None:
        """One JSON line. Raises Closed."""
        self._send(json.dumps(message, separators=(",", ":")).encode() + b"\n")

    def receive(self) -> dict[str, Any]:
        """The next JSON line. Raises Closed at the end of the stream."""
        while (end := self._buffer.find(b"\n")) < 0:
            if len(self._buffer) > LONGEST_LINE or not self._fill():
                raise Closed
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        message: dict[str, Any] = json.loads(line)
        return message

    def send_frame(self, kind: bytes, data: bytes = b"") -> None:
        """One frame. Raises Closed."""
        self._send(HEAD.pack(kind, len(data)) + data)

    def frames(self) -> Iterator[tuple[bytes, bytes]]:
        """The frames that are here now, after one read of the socket. Raises Closed at the end."""
        if not (len(self._buffer) >= HEAD.size and self._whole()) and not self._fill():
            raise Closed
        while len(self._buffer) >= HEAD.size and self._whole():
            kind, length = HEAD.unpack_from(self._buffer)
            data = bytes(self._buffer[HEAD.size : HEAD.size + length])
            del self._buffer[: HEAD.size + length]
            yield kind, data

    def _whole(self) -> bool:
        return len(self._buffer) >= HEAD.size + int(HEAD.unpack_from(self._buffer)[1])

    def _fill(self) -> bool:
        try:
            data = self.sock.recv(1 << 16)
        except OSError:
            return False
        self._buffer += data
        return bool(data)

    def _send(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except OSError:
            raise Closed from None


def write_all(fd: int, data: bytes) -> None:
    """write(2) until all is written. Raises OSError."""
    while data:
        data = data[os.write(fd, data) :]


def error_message(problem: errors.PodpathError) -> dict[str, Any]:
    """An error as the lab sends it."""
    fields = {"what": problem.what, "where": problem.where, "remedy": problem.remedy}
    return {"error": {"kind": type(problem).__name__, **fields}}


def raised(message: Mapping[str, Any]) -> errors.PodpathError:
    """The error that `error_message` made a message of."""
    fields = dict(message["error"])
    kind = getattr(errors, fields.pop("kind"), errors.PodpathError)
    problem = kind(fields.pop("what"), **fields)
    assert isinstance(problem, errors.PodpathError)
    return problem
