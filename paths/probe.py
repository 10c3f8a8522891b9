"""One real packet and its answer: an echo request, a UDP datagram or a TCP handshake from the source's namespace."""

from __future__ import annotations

import contextlib
import errno
import os
import select
import socket
import struct
from abc import ABC, abstractmethod

from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from paths.decode import ICMP_ERRORS
from paths.model import Layer, Packet

PORT = 33434
"""traceroute's first port: nothing listens there."""
MARK = b"podpath!"
SIZE = 56
"""Payload bytes, as ping(8) sends."""


class Probe(ABC):
    """`ours` tells the probe (True), its answer (False) and other packets (None) apart."""

    def __init__(self, addresses: tuple[str, str], size: int) -> None:
        self.source, self.target = addresses
        self.six = ":" in self.target
        self.token = MARK + os.urandom(8)
        if size < len(self.token):
            raise BadInput(f"a probe needs at least {len(self.token)} bytes to be told apart", where="--size")
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
        """A descriptor is readable: true when the answer has come."""

    @abstractmethod
    def ours(self, packet: Packet, raw: bytes) -> bool | None:
        """See the class."""

    @abstractmethod
    def close(self) -> None: ...

    def _sending(self, problem: OSError) -> None:
        """The source's own kernel refused."""
        self.refused = problem.errno or 0
        self.error = os.strerror(problem.errno or 0)

    def _inner(self, packet: Packet) -> tuple[Layer | None, Layer | None]:
        last = packet.layers[-1] if packet.layers else None
        return packet.inner, last


class Icmp(Probe):
    """Echo request and reply (RFC 792, RFC 4443). Don't-fragment is set."""

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        family, protocol = (
            (socket.AF_INET6, socket.IPPROTO_ICMPV6) if self.six else (socket.AF_INET, socket.IPPROTO_ICMP)
        )
        with spaces.inside(source):
            self.sock = socket.socket(family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        _dont_fragment(self.sock, self.six)
        self.ident = struct.unpack("!H", os.urandom(2))[0]

    def send(self) -> None:
        kind = 128 if self.six else 8
        head = struct.pack("!BBHHH", kind, 0, 0, self.ident, 1)
        if not self.six:  # the kernel fills in ICMPv6's checksum itself
            head = struct.pack("!BBHHH", kind, 0, _checksum(head + self.payload), self.ident, 1)
        try:
            self.sock.sendto(head + self.payload, (self.target, 0))
        except OSError as problem:
            self._sending(problem)

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(self.sock.fileno(), select.EPOLLIN)]

    def ready(self, fd: int) -> bool:
        reply = 129 if self.six else 0
        with contextlib.suppress(BlockingIOError):
            while True:
                try:
                    data = self.sock.recv(65536)
                except OSError as problem:
                    if isinstance(problem, BlockingIOError):
                        raise
                    self._sending(problem)
                    return True
                body = data if self.six else data[(data[0] & 15) * 4 :]
                if self.token in body and body[0] == reply:
                    return True
                if self.token in body and body[0] in ((1, 2, 3) if self.six else (3, 11)):
                    self.error = ICMP_ERRORS.get((58 if self.six else 1, body[0], body[1]), f"type {body[0]}")
                    return True
        return False

    def ours(self, packet: Packet, raw: bytes) -> bool | None:
        inner, last = self._inner(packet)
        if self.token not in raw or inner is None or last is None or not last.kind.startswith("ICMP"):
            return None
        return bool(last.more["type"] == (128 if self.six else 8))

    def close(self) -> None:
        self.sock.close()


class Udp(Probe):
    """A datagram to a socket that we open at the target, which sends it back."""

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        family = socket.AF_INET6 if self.six else socket.AF_INET
        self.echo: socket.socket | None = None
        if target is not None:
            with spaces.inside(target):
                self.echo = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            self.echo.bind((self.target, PORT))
        with spaces.inside(source):
            self.sock = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        _dont_fragment(self.sock, self.six)

    def send(self) -> None:
        try:
            self.sock.connect((self.target, PORT))
            self.sock.send(self.payload)
        except OSError as problem:
            self._sending(problem)

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(sock.fileno(), select.EPOLLIN) for sock in (self.sock, self.echo) if sock]

    def ready(self, fd: int) -> bool:
        try:
            if self.echo and fd == self.echo.fileno():
                data, address = self.echo.recvfrom(65536)
                if data.startswith(self.token):
                    self.echo.sendto(data, address)
                return False
            return self.sock.recv(65536).startswith(self.token)
        except BlockingIOError:
            return False
        except OSError as problem:
            self._sending(problem)
            return True

    def ours(self, packet: Packet, raw: bytes) -> bool | None:
        inner, last = self._inner(packet)
        if self.token not in raw or inner is None or last is None:
            return None
        return last.kind == "UDP" and last.dst == str(PORT)

    def close(self) -> None:
        for sock in (self.sock, self.echo):
            if sock:
                sock.close()


class Tcp(Probe):
    """A handshake with a socket that we open at the target: SYN, and SYN-ACK as the answer."""

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        family = socket.AF_INET6 if self.six else socket.AF_INET
        self.listening: socket.socket | None = None
        if target is not None:
            with spaces.inside(target):
                self.listening = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
            self.listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listening.bind((self.target, PORT))
            self.listening.listen(1)
        with spaces.inside(source):
            self.sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        self.number: int | None = None

    def send(self) -> None:
        result = self.sock.connect_ex((self.target, PORT))
        if result not in (0, errno.EINPROGRESS):
            self._sending(OSError(result, ""))

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(self.sock.fileno(), select.EPOLLOUT)]

    def ready(self, fd: int) -> bool:
        if problem := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self._sending(OSError(problem, ""))
        return True

    def ours(self, packet: Packet, raw: bytes) -> bool | None:
        """The SYN has its first sequence number throughout, whatever is rewritten around it."""
        inner, last = self._inner(packet)
        if inner is None or last is None or last.kind != "TCP":
            return None
        syn, ack = last.more["flags"] & 2, last.more["flags"] & 16
        if syn and not ack and last.dst == str(PORT) and inner.dst == self.target and self.number is None:
            self.number = last.more["seq"]
        if syn and not ack and last.more["seq"] == self.number:
            return True
        if syn and ack and self.number is not None and last.more["ack"] == (self.number + 1) & 0xFFFFFFFF:
            return False
        return None

    def close(self) -> None:
        for sock in (self.sock, self.listening):
            if sock:
                sock.close()


PROBES: dict[str, type[Probe]] = {"icmp": Icmp, "udp": Udp, "tcp": Tcp}


def _dont_fragment(sock: socket.socket, six: bool) -> None:
    """IP_PMTUDISC_PROBE: don't-fragment, and no use of a path MTU that was learned before (ip(7))."""
    ip_mtu_discover, ipv6_mtu_discover, probe = 10, 23, 3
    if six:
        sock.setsockopt(socket.IPPROTO_IPV6, ipv6_mtu_discover, probe)
    else:
        sock.setsockopt(socket.IPPROTO_IP, ip_mtu_discover, probe)


def _checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    total = (total >> 16) + (total & 0xFFFF)
    return ~(total + (total >> 16)) & 0xFFFF
