"""The probes: an echo request, a UDP datagram that the target sends back, a TCP handshake."""

from __future__ import annotations

import errno
import os
import select
import socket
import struct

from kernel.arp import checksum
from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from paths.decode import ICMP_ERRORS
from paths.model import Packet
from paths.probe import (
    PORT,
    SIZE,
    Part,
    Probe,
    dont_fragment,
    error_about,
    last_and_inner,
    listening,
    report_errors,
)

SYN, RST, ACK = 2, 4, 16
"""TCP flags (RFC 9293)."""


class Icmp(Probe):
    """Echo request and reply (RFC 792, RFC 4443). Don't-fragment is set."""

    kind = "icmp"
    sock: socket.socket | None = None

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        del target
        protocol = socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP
        with spaces.inside(source):
            self.sock = socket.socket(self.family, socket.SOCK_RAW | socket.SOCK_NONBLOCK, protocol)
        dont_fragment(self.sock, self.six)
        self.ident = int.from_bytes(os.urandom(2), "big")

    def send(self) -> None:
        assert self.sock
        kind = 128 if self.six else 8
        head = struct.pack("!BBHHH", kind, 0, 0, self.ident, 1)
        if not self.six:  # the kernel fills in ICMPv6's checksum itself
            head = struct.pack("!BBHHH", kind, 0, checksum(head + self.payload), self.ident, 1)
        try:
            self.sock.sendto(head + self.payload, (self.target, 0))
        except OSError as problem:
            self.refuse(problem.errno or 0)

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(self.sock.fileno(), select.EPOLLIN)] if self.sock else []

    def ready(self, fd: int) -> bool:
        assert self.sock
        try:
            while not self._is_answer(self.sock.recv(65536)):
                pass
            return True
        except BlockingIOError:
            return False
        except OSError as problem:
            self.refuse(problem.errno or 0)
            return True

    def _is_answer(self, data: bytes) -> bool:
        """The reply, or an error, which becomes `error`."""
        body = data if self.six else data[(data[0] & 15) * 4 :]
        if self.token not in body:
            return False
        errors, reply = ((1, 2, 3), 129) if self.six else ((3, 11), 0)
        if body[0] in errors:
            number = socket.IPPROTO_ICMPV6 if self.six else socket.IPPROTO_ICMP
            self.error = ICMP_ERRORS.get((number, body[0], body[1]), f"ICMP type {body[0]} code {body[1]}")
        return body[0] in (*errors, reply)

    def ours(self, packet: Packet, raw: bytes) -> Part | None:
        last, inner = last_and_inner(packet)
        if error_about(packet, raw, self.token):
            return "error"
        if self.token not in raw or inner is None or last is None or not last.kind.startswith("ICMP"):
            return None
        return "probe" if last.more["type"] == (128 if self.six else 8) else "answer"

    def close(self) -> None:
        if self.sock:
            self.sock.close()


class Udp(Probe):
    """A datagram to a socket that we open at the target, which sends it back."""

    kind = "udp"
    sock: socket.socket | None = None
    echo: socket.socket | None = None
    port = PORT

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        if target is not None:
            with spaces.inside(target):
                self.echo, self.port = listening(self.family, socket.SOCK_DGRAM, self.target)
        with spaces.inside(source):
            self.sock = socket.socket(self.family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        dont_fragment(self.sock, self.six)
        report_errors(self.sock, self.six)

    def send(self) -> None:
        assert self.sock
        try:
            self.sock.connect((self.target, self.port))
            self.sock.send(self.payload)
        except OSError as problem:
            self.refuse(problem.errno or 0)

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(sock.fileno(), select.EPOLLIN) for sock in (self.sock, self.echo) if sock]

    def ready(self, fd: int) -> bool:
        assert self.sock
        if self.echo and fd == self.echo.fileno():
            self._send_back()
            return False
        try:
            return self.sock.recv(65536).startswith(self.token)
        except BlockingIOError:
            return False
        except OSError as problem:
            self.refuse(problem.errno or 0)
            return True

    def _send_back(self) -> None:
        """The target's part; what its kernel refuses is an answer that never left."""
        assert self.echo
        try:
            data, address = self.echo.recvfrom(65536)
            if data.startswith(self.token):
                self.echo.sendto(data, address)
        except BlockingIOError:
            pass
        except OSError as problem:
            self.error = f"the target could not answer: {os.strerror(problem.errno or 0)}"

    def ours(self, packet: Packet, raw: bytes) -> Part | None:
        last, inner = last_and_inner(packet)
        if error_about(packet, raw, self.token):
            return "error"
        if self.token not in raw or inner is None or last is None or last.kind != "UDP":
            return None
        return "probe" if last.dst == str(self.port) else "answer"

    def close(self) -> None:
        for sock in (self.sock, self.echo):
            if sock:
                sock.close()


class Tcp(Probe):
    """A handshake with a socket that we open at the target: SYN, and SYN-ACK (or RST) as the answer."""

    kind = "tcp"
    sock: socket.socket | None = None
    listener: socket.socket | None = None
    port = PORT
    number: int | None = None
    """The SYN's sequence number, which it keeps whatever is rewritten around it."""

    def __init__(self, addresses: tuple[str, str], size: int = SIZE) -> None:
        if size != SIZE:
            what = "a TCP probe is a SYN, which carries no payload"
            raise BadInput(what, where="--size", remedy="use --probe udp or icmp for a probe of a given size")
        super().__init__(addresses, size)

    def open(self, spaces: Namespaces, source: str, target: str | None) -> None:
        if target is not None:
            with spaces.inside(target):
                self.listener, self.port = listening(self.family, socket.SOCK_STREAM, self.target)
            self.listener.listen(1)
        with spaces.inside(source):
            self.sock = socket.socket(self.family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)

    def send(self) -> None:
        assert self.sock
        result = self.sock.connect_ex((self.target, self.port))
        if result not in (0, errno.EINPROGRESS):
            self.refuse(result)

    @property
    def watches(self) -> list[tuple[int, int]]:
        return [(self.sock.fileno(), select.EPOLLOUT)] if self.sock else []

    def ready(self, fd: int) -> bool:
        assert self.sock
        if problem := self.sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR):
            self.refuse(problem)
        return True

    def ours(self, packet: Packet, raw: bytes) -> Part | None:
        last, inner = last_and_inner(packet)
        if inner is None or last is None:
            return None
        if "error" in last.more:
            quoted = self.number is not None and self.number.to_bytes(4, "big") in raw
            return "error" if quoted else None
        if last.kind != "TCP":
            return None
        flags = last.more["flags"]
        if flags & SYN and not flags & ACK:
            if self.number is None and last.dst == str(self.port) and inner.dst == self.target:
                self.number = last.more["seq"]
            return "probe" if last.more["seq"] == self.number else None
        answers = flags & (SYN | RST) and flags & ACK and self.number is not None
        return "answer" if answers and last.more["ack"] == ((self.number or 0) + 1) & 0xFFFFFFFF else None

    def close(self) -> None:
        for sock in (self.sock, self.listener):
            if sock:
                sock.close()


PROBES: dict[str, type[Probe]] = {kind.kind: kind for kind in (Icmp, Udp, Tcp)}
