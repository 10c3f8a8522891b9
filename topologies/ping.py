"""ICMP echo between many namespaces at once, from this one process: a fork costs 35 ms on the embedded kernel."""

from __future__ import annotations

import os
import select
import socket
import struct
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from kernel.arp import checksum
from kernel.namespaces import Namespaces

WINDOW = 128
"""Requests that may be under way at once; a neighbour that is being resolved queues about as many (arp(7))."""
ECHO_REQUEST = {4: 8, 6: 128}
ECHO_REPLY = {4: 0, 6: 129}
UNREACHABLE = {4: 3, 6: 1}
"""ICMP types (RFC 792, RFC 4443)."""
HEAD = struct.Struct("!BBHHHQ")
"""Type, code, checksum, identifier, sequence number, and our number of the request as the payload."""


@dataclass(frozen=True)
class Probe:
    """A request from namespace `source` to an address."""

    source: str
    target: str

    @property
    def family(self) -> int:
        return 6 if ":" in self.target else 4


def ping(namespaces: Namespaces, probes: Sequence[Probe], timeout_s: float, window: int = WINDOW) -> list[float | None]:
    """Sends one echo request for each probe; the round-trip times in seconds, None for what was not answered within
    `timeout_s` or was refused by a router. With a `window` of 1 they go one after the other."""
    run = _Run(probes)
    try:
        run.open(namespaces)
        waiting = deque(range(len(probes)))
        while waiting or run.sent:
            while waiting and len(run.sent) < window:
                run.send(waiting.popleft())
            if run.sent:
                run.receive(timeout_s)
    finally:
        run.close()
    return [run.rtts[number] for number in range(len(probes))]


class _Run:
    """The sockets, what is under way, and what came of the rest; requests are known by their place in `probes`."""

    def __init__(self, probes: Sequence[Probe]) -> None:
        self.probes = probes
        self.sent: dict[int, float] = {}
        self.rtts: dict[int, float | None] = {}
        self.identifier = int.from_bytes(os.urandom(2), "big")
        self.sockets: dict[tuple[str, int], socket.socket] = {}
        self.poller = select.poll()

    def open(self, namespaces: Namespaces) -> None:
        """A raw ICMP socket in each source's namespace; it stays there (network_namespaces(7))."""
        for source, family in dict.fromkeys((probe.source, probe.family) for probe in self.probes):
            with namespaces.inside(source):
                kind = (socket.AF_INET, 1) if family == 4 else (socket.AF_INET6, 58)  # IPPROTO_ICMP, IPPROTO_ICMPV6
                sock = socket.socket(kind[0], socket.SOCK_RAW, kind[1])
            sock.setblocking(False)
            self.sockets[source, family] = sock
            self.poller.register(sock, select.POLLIN)

    def close(self) -> None:
        for sock in self.sockets.values():
            sock.close()

    def send(self, number: int) -> None:
        """One request; one that cannot even be sent (no route, link down) counts as not answered."""
        probe = self.probes[number]
        fields = self.identifier, number & 0xFFFF, number
        data = HEAD.pack(ECHO_REQUEST[probe.family], 0, 0, *fields)
        if probe.family == 4:  # ICMPv6's checksum is filled in by the kernel (RFC 3542, section 3.1)
            data = HEAD.pack(ECHO_REQUEST[4], 0, checksum(data), *fields)
        now = time.perf_counter()  # before: on veths the answer may be here when sendto returns
        try:
            self.sockets[probe.source, probe.family].sendto(data, (probe.target, 0))
            self.sent[number] = now
        except OSError:
            self.rtts[number] = None

    def receive(self, timeout_s: float) -> None:
        """Waits until something arrives or the oldest request is too late."""
        left = next(iter(self.sent.values())) + timeout_s - time.perf_counter()
        ready = {fd for fd, _ in self.poller.poll(max(0.0, left) * 1000)}
        for (_, family), sock in self.sockets.items():
            if sock.fileno() in ready:
                self._take(sock, family)
        now = time.perf_counter()
        for number in [n for n, at in self.sent.items() if now - at >= timeout_s]:
            del self.sent[number]
            self.rtts[number] = None

    def _take(self, sock: socket.socket, family: int) -> None:
        """Reads a socket empty."""
        while True:
            try:
                data = sock.recv(2048)
            except BlockingIOError:
                return
            except OSError:  # an error that the kernel noted on the socket, such as EHOSTUNREACH
                continue
            now = time.perf_counter()
            message = data[(data[0] & 15) * 4 :] if family == 4 else data
            answered = message[0] != UNREACHABLE[family]
            if not answered:  # it quotes the request (RFC 792, RFC 4443)
                message = message[8 + (message[8] & 15) * 4 :] if family == 4 else message[48:]
            number = self._number(message, ECHO_REPLY[family] if answered else ECHO_REQUEST[family])
            if number in self.sent:
                self.rtts[number] = now - self.sent.pop(number) if answered else None

    def _number(self, message: bytes, kind: int) -> int:
        """The request that a message is about; -1 if it is somebody else's."""
        if len(message) < HEAD.size:
            return -1
        found, _, _, identifier, _, number = HEAD.unpack_from(message)
        return int(number) if (found, identifier) == (kind, self.identifier) else -1
