"""Every frame on every device of a lab while a probe is under way: one AF_PACKET socket a namespace (packet(7))."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
from collections.abc import Iterable
from dataclasses import dataclass

from kernel.namespaces import Namespaces

ETH_P_ALL = 3
SOL_PACKET, PACKET_AUXDATA, PACKET_IGNORE_OUTGOING, OUTGOING = 263, 8, 23, 4
SO_TIMESTAMPNS = 35
"""asm-generic/socket.h"""
VLAN_VALID = 1 << 4
"""TP_STATUS_VLAN_VALID, linux/if_packet.h"""
SNAP = 65536


@dataclass(frozen=True)
class Frame:
    """A captured frame. `vid` is the tag that the kernel had taken off, if any."""

    netns: str
    device: str
    outgoing: bool
    time_ns: int
    raw: bytes
    vid: int | None = None


class Capture:
    """Listens from the moment that it is made; also a context manager."""

    def __init__(self, namespaces: Namespaces, names: Iterable[str]) -> None:
        self._sockets: dict[int, tuple[str, socket.socket]] = {}
        self._poll = select.epoll()
        self.frames: list[Frame] = []
        for name in names:
            with namespaces.inside(name):
                sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(ETH_P_ALL))
            sock.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
            sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
            self._sockets[sock.fileno()] = (name, sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)

    def watch(self, fd: int, events: int) -> None:
        """`wait` also returns when this descriptor has one of these epoll events."""
        self._poll.register(fd, events)

    def wait(self, timeout_s: float) -> set[int]:
        """Collects what there is, or comes first within `timeout_s`; returns the watched descriptors that are ready."""
        ready = {fd for fd, _ in self._poll.poll(timeout_s)}
        for fd in ready & self._sockets.keys():
            self._drain(*self._sockets[fd])
        return ready - self._sockets.keys()

    def drain(self) -> None:
        """Collects what is there now, without waiting."""
        for name, sock in self._sockets.values():
            self._drain(name, sock)

    def _drain(self, name: str, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                raw, extra, _, address = sock.recvmsg(SNAP, 256)
                vid, time_ns = _ancillary(extra)
                self.frames.append(Frame(name, address[0], address[2] == OUTGOING, time_ns, raw, vid))

    def close(self) -> None:
        self._poll.close()
        for _, sock in self._sockets.values():
            sock.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _ancillary(extra: list[tuple[int, int, bytes]]) -> tuple[int | None, int]:
    vid, time_ns = None, 0
    for level, kind, data in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, _ = struct.unpack_from("=IIIHHHH", data)
            vid = tci & 0xFFF if status & VLAN_VALID else None
        elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from("=qq", data)
            time_ns = seconds * 10**9 + nanoseconds
    return vid, time_ns
