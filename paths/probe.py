"""What every probe is: one real packet from the source's namespace, and how it is told apart from other packets."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from typing import Literal

from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from paths.model import Layer, Packet

PORT = 33434
"""traceroute's first port: nothing listens there."""
PORTS = 64
"""How many ports from PORT on are tried for one that is free: traces may run side by side."""
MARK = b"podpath!"
SIZE = 56
"""Payload bytes, as ping(8) sends."""
Part = Literal["probe", "answer", "error"]
"""What a packet is to a probe: itself, its answer, or an ICMP error about one of the two."""


class Probe(ABC):
    """One packet and its answer. `error` is what the source's kernel was told, or what it said itself (`refused`)."""

    kind: str

    def __init__(self, addresses: tuple[str, str], size: int = SIZE) -> None:
        self.source, self.target = addresses
        self.size = size
        self.six = ":" in self.target
        self.family = socket.AF_INET6 if self.six else socket.AF_INET
        self.token = MARK + os.urandom(8)
        if size < len(self.token):
            what = f"a probe needs at least {len(self.token)} bytes to be told apart"
            raise BadInput(what, where="--size", remedy=f"give {len(self.token)} or more")
        self.payload = self.token + bytes(size - len(self.token))
        self.error = ""
        self.refused = 0

    @abstractmethod
    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        """Opens sockets in the two namespaces; `target` None is a host outside the lab's knowledge."""

    @abstractmethod
    def send(self) -> None:
        """Sends the packet."""

    @property
    @abstractmethod
    def watches(self) -> list[tuple[int, int]]:
        """Descriptors to watch once the packet is sent, with the epoll events."""

    @abstractmethod
    def ready(self, fd: int) -> bool:
        """A descriptor is readable: true when the answer, or an error, has come."""

    @abstractmethod
    def ours(self, packet: Packet, raw: bytes) -> Part | None:
        """What a captured packet is to this probe; None for other traffic."""

    @abstractmethod
    def close(self) -> None:
        """Closes what `open` opened, also when that failed half-way."""

    def again(self) -> Probe:
        """Another packet like this one."""
        return type(self)((self.source, self.target), self.size)

    def refuse(self, number: int) -> None:
        """The source's own kernel said no."""
        self.refused = number
        self.error = os.strerror(number)


def error_about(packet: Packet, raw: bytes, token: bytes) -> bool:
    """An ICMP error that quotes `token`. Linux quotes as much as fits into 576 bytes, or 1280 (RFC 4443)."""
    return bool(packet.layers) and "error" in packet.layers[-1].more and token in raw


def last_and_inner(packet: Packet) -> tuple[Layer | None, Layer | None]:
    """The innermost header, and the innermost IP header."""
    return (packet.layers[-1] if packet.layers else None), packet.inner


def listening(family: int, kind: int, address: str) -> tuple[socket.socket, int]:
    """A socket bound to a free port at `address`, which need not be there just now (a lab may be broken on purpose).
    Raises BadInput when every port is taken."""
    free_bind = (socket.IPPROTO_IPV6, 78) if family == socket.AF_INET6 else (socket.IPPROTO_IP, 15)
    sock = socket.socket(family, kind | socket.SOCK_NONBLOCK)
    sock.setsockopt(*free_bind, 1)
    for port in range(PORT, PORT + PORTS):
        try:
            sock.bind((address, port))
            return sock, port
        except OSError:
            continue
    sock.close()
    what = f"no port of {PORT} to {PORT + PORTS - 1} is free at {address}"
    raise BadInput(what, where="trace", remedy="end what listens there")


def dont_fragment(sock: socket.socket, six: bool) -> None:
    """IP_PMTUDISC_PROBE: don't-fragment, and no use of a path MTU that was learned before (ip(7))."""
    ip_mtu_discover, ipv6_mtu_discover, probe = 10, 23, 3
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, ipv6_mtu_discover, probe)
    else:
        sock.setsockopt(socket.IPPROTO_IP, ip_mtu_discover, probe)


def report_errors(sock: socket.socket, six: bool) -> None:
    """IP_RECVERR: every ICMP error about a datagram is told to its sender (ip(7))."""
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, 25, 1)
    else:
        sock.setsockopt(socket.IPPROTO_IP, 11, 1)
