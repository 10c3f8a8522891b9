"""Every frame on every device of a lab while a probe is under way: one AF_PACKET socket a namespace (packet(7))."""

from __future__ import annotations

import contextlib
import select
import socket
import struct
import time
from collections.abc import Iterable
from dataclasses import dataclass

from kernel.namespaces import Namespaces

ETH_P_ALL = 3
SOL_PACKET, PACKET_STATISTICS, PACKET_AUXDATA = 263, 6, 8
OTHER_HOST, OUTGOING = 3, 4
"""PACKET_OTHERHOST and PACKET_OUTGOING (linux/if_packet.h)."""
SO_TIMESTAMPNS = 35
"""asm-generic/socket.h"""
VLAN_VALID, TPID_VALID = 1 << 4, 1 << 6
"""TP_STATUS_VLAN_VALID and TP_STATUS_VLAN_TPID_VALID (linux/if_packet.h)."""
ETH_P_8021Q = 0x8100
FRAMED = (1, 772)
"""ARPHRD_ETHER and ARPHRD_LOOPBACK (linux/if_arp.h): frames begin with an Ethernet header. Those of other devices,
such as tunl0, begin with the IP header."""
SNAP = 65536
SO_RCVBUFFORCE, BUFFER = 33, 4 << 20
"""Bytes a namespace. A frame takes about 2 KiB of it, and a lab that just came up is busy with neighbour discovery."""
STAMPS_S = 0.2
"""How long the kernel may take to switch its time-stamps on, seconds; some hundred microseconds are usual."""


@dataclass(frozen=True)
class Frame:
    """A captured frame as it is on the wire, its 802.1Q tag included; `time_ns` is the kernel's clock.

    `other_host`: its destination MAC is not the device's, as for every frame that a switch port gets. `bare`: it has no
    Ethernet header, since the device has no link layer.
    """

    netns: str
    device: str
    outgoing: bool
    time_ns: int
    raw: bytes
    other_host: bool = False
    bare: bool = False


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
                _enlarge(sock)
                first = not self._sockets
                if first:
                    _await_stamps()
            self._sockets[sock.fileno()] = (name, sock)
            self._poll.register(sock.fileno(), select.EPOLLIN)
            if first:  # what _await_stamps sent is nobody's business
                self.drain()
                self.frames.clear()

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

    def lost(self) -> dict[str, int]:
        """Frames that a full buffer lost since it was last asked, by namespace."""
        counted = {
            name: struct.unpack("=II", sock.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))[1]
            for name, sock in self._sockets.values()
        }
        return {name: count for name, count in counted.items() if count}

    def _drain(self, name: str, sock: socket.socket) -> None:
        with contextlib.suppress(BlockingIOError):
            while True:
                raw, extra, _, address = sock.recvmsg(SNAP, 256)
                tag, time_ns = _ancillary(extra)
                kind, bare = address[2], address[3] not in FRAMED
                whole = raw if bare else raw[:12] + tag + raw[12:]
                self.frames.append(Frame(name, address[0], kind == OUTGOING, time_ns, whole, kind == OTHER_HOST, bare))

    def close(self) -> None:
        self._poll.close()
        for _, sock in self._sockets.values():
            sock.close()

    def __enter__(self) -> Capture:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _enlarge(sock: socket.socket) -> None:
    """Beyond net.core.rmem_max only the machine's root may."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, BUFFER)
    except PermissionError:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER)


def _ancillary(extra: list[tuple[int, int, bytes]]) -> tuple[bytes, int]:
    """The tag that the kernel had taken off the frame, if any, and the time in nanoseconds."""
    tag, time_ns = b"", 0
    for level, kind, data in extra:
        if level == SOL_PACKET and kind == PACKET_AUXDATA:
            status, _, _, _, _, tci, tpid = struct.unpack_from("=IIIHHHH", data)
            if status & VLAN_VALID:
                tag = struct.pack("!HH", tpid if status & TPID_VALID else ETH_P_8021Q, tci)
        elif level == socket.SOL_SOCKET and kind == SO_TIMESTAMPNS:
            seconds, nanoseconds = struct.unpack_from("=qq", data)
            time_ns = seconds * 10**9 + nanoseconds
    return tag, time_ns


def _await_stamps() -> None:
    """The kernel switches time-stamps of packets on in the background (net_enable_timestamp); until then a frame
    gets the time at which it is read, and frames of several sockets cannot be put in order. So datagrams go over
    this namespace's loopback until one is stamped before it is read."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
        sock.setsockopt(socket.SOL_SOCKET, SO_TIMESTAMPNS, 1)
        sock.bind(("127.0.0.1", 0))
        end = time.monotonic() + STAMPS_S
        while time.monotonic() < end:
            try:
                sock.sendto(b"", sock.getsockname())
                sent_ns = time.time_ns()
                _, extra, _, _ = sock.recvmsg(1, 256)
            except BlockingIOError:
                continue  # its delivery was put off to another processor
            except OSError:
                return  # no loopback here
            if _ancillary(extra)[1] <= sent_ns:
                return
