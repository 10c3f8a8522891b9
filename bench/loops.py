"""Packets and connections a second, and ping: loops of this process between two namespaces, as in bench.latency.

One thread does both ends, so a datagram is counted when the far end has it: the rate is one without loss, of the path
and the system calls one after the other, not of two CPUs at once.
"""

from __future__ import annotations

import os
import socket
import struct
import time
from collections.abc import Callable
from typing import Any

from bench import latency
from bench.stats import percentile
from kernel.errors import PodpathError

BURST = 32
"""Datagrams sent before they are read; they fit into the default receive buffer (net.core.rmem_default, 208 KiB)."""
ECHO_REQUEST, ECHO_REPLY = 8, 0
"""ICMP types (RFC 792)."""


def datagrams(namespaces: Any, source: str, target: str, address: str, size: int, seconds: float) -> float:
    """UDP datagrams of `size` payload bytes that arrive in a second. Raises PodpathError when one does not."""
    payload = bytes(size)
    with latency.ends(namespaces, source, target, address, "udp") as (near, far):
        near.connect(far.getsockname())

        def burst() -> None:
            for _ in range(BURST):
                near.send(payload)
            for _ in range(BURST):
                far.recv(size)

        return BURST * _rate(burst, seconds)


def connections(namespaces: Any, source: str, target: str, address: str, seconds: float) -> float:
    """TCP connections that are opened, accepted and closed in a second."""
    with latency.ends(namespaces, source, target, address, "tcp") as (_, far):
        far.listen(8)
        where = far.getsockname()
        with namespaces.inside(source):

            def once() -> None:
                with latency.opened(address, "tcp") as near:
                    # closed by RST: thousands of ports in TIME_WAIT would be measured too (tcp(7), socket(7))
                    near.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    near.connect(where)
                    far.accept()[0].close()

            return _rate(once, seconds)


def _rate(once: Callable[[], None], seconds: float) -> float:
    count, start = 0, time.perf_counter()
    while True:
        once()
        count += 1
        if (took := time.perf_counter() - start) >= seconds:
            return count / took


def ping(namespaces: Any, source: str, address: str, count: int) -> float:
    """The median round trip of `count` ICMP echo requests over IPv4, one after the other, in microseconds; the far
    kernel answers by itself."""
    times = []
    with namespaces.inside(source):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
    with sock:
        latency.patient(sock)
        ident = os.getpid() & 0xFFFF
        for number in range(count):
            before = time.perf_counter_ns()
            sock.sendto(echo(ident, number), (address, 0))
            _answer(sock, source, address, ident, number)
            times.append((time.perf_counter_ns() - before) / 1000)
    return percentile(times, 50)


def _answer(sock: socket.socket, source: str, address: str, ident: int, number: int) -> None:
    wanted = struct.pack("!HH", ident, number & 0xFFFF)
    try:
        while True:
            data = sock.recv(2048)
            header = (data[0] & 15) * 4
            if data[header] == ECHO_REPLY and data[header + 4 : header + 8] == wanted:
                return
    except OSError as problem:
        raise PodpathError(f"no echo from {address} to {source}: {problem}") from problem


def echo(ident: int, number: int) -> bytes:
    """An ICMP echo request with 56 bytes of payload, as ping(8) sends it; the checksum is RFC 1071's."""
    body = struct.pack("!HH", ident, number & 0xFFFF) + latency.PAYLOAD[:56]
    head = struct.pack("!BB", ECHO_REQUEST, 0)
    total = sum(struct.unpack(f"!{(len(head) + len(body)) // 2}H", head + body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return head + struct.pack("!H", ~total & 0xFFFF) + body
