"""Frames decoded by hand, independent of paths/decode.py, and probes that fork nothing: raw sockets in a namespace."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Iterable, Iterator
from ipaddress import ip_address
from typing import Any

from paths.capture import Capture, Frame

VXLAN_PORTS = (4789, 8472)
ECHO = {4: (8, 0), 6: (128, 129)}
"""Types of ICMP's echo request and reply (RFC 792, RFC 4443)."""
IPV6_DONTFRAG = 62
"""linux/in6.h; Python has no name for it."""


def layers(frame: bytes, bare: bool = False) -> list[str]:
    """What is in a frame, outermost first: "Ethernet A > B", "VLAN 10", "IPv4 A > B", "UDP 8472", "VXLAN 4", ...;
    a `bare` one has no Ethernet header."""
    if bare:
        return _ip(frame) if frame[0] >> 4 == 4 else _ip6(frame)
    target, source, kind = frame[:6].hex(":"), frame[6:12].hex(":"), frame[12:14]
    found, rest = [f"Ethernet {source} > {target}"], frame[14:]
    while kind == b"\x81\x00":
        found.append(f"VLAN {struct.unpack('!H', rest[:2])[0] & 0xFFF}")
        kind, rest = rest[2:4], rest[4:]
    if kind == b"\x08\x06":
        asked = rest[7] == 1
        return [*found, f"ARP asks {ip_address(rest[24:28])}" if asked else f"ARP tells {ip_address(rest[14:18])}"]
    if kind == b"\x08\x00":
        return found + _ip(rest)
    return found + (_ip6(rest) if kind == b"\x86\xdd" else [])


def _ip(data: bytes) -> list[str]:
    size = (data[0] & 15) * 4
    fragment = struct.unpack("!H", data[6:8])[0] & 0x1FFF
    head = f"IPv4 {ip_address(data[12:16])} > {ip_address(data[16:20])}"
    return [head] if fragment else [head, *_payload(data[9], data[size:])]


def _ip6(data: bytes) -> list[str]:
    return [f"IPv6 {ip_address(data[8:24])} > {ip_address(data[24:40])}", *_payload(data[6], data[40:])]


def _payload(protocol: int, data: bytes) -> list[str]:
    if protocol == 4:
        return ["IPIP", *_ip(data)]
    if protocol == 58 and data[0] in (135, 136):  # RFC 4861
        return [f"NDP {'asks' if data[0] == 135 else 'tells'} {ip_address(data[8:24])}"]
    if protocol in (1, 58):
        return [f"ICMP {data[0]}"]
    if protocol == 6:
        return ["TCP {} > {}".format(*struct.unpack("!HH", data[:4]))]
    if protocol != 17:
        return [f"protocol {protocol}"]
    port = struct.unpack("!H", data[2:4])[0]
    if port not in VXLAN_PORTS:
        return [f"UDP {port}"]
    flags, vni = data[8], int.from_bytes(data[12:15], "big")
    return [f"UDP {port}", f"VXLAN {vni}" if flags == 8 else f"VXLAN with flags {flags:#x}", *layers(data[16:])]


def ttl(frame: bytes) -> int:
    """The TTL or hop limit of a frame's outermost IP header."""
    start = 14
    while frame[start - 2 : start] == b"\x81\x00":
        start += 4
    return frame[start + (8 if frame[start] >> 4 == 4 else 7)]


def ends(source: str, target: str) -> str:
    """The layer of a packet between two addresses."""
    return f"IPv{ip_address(source).version} {ip_address(source)} > {ip_address(target)}"


def having(frames: Iterable[Frame], *wanted: str, device: str | None = None) -> list[list[str]]:
    """The layers of those frames that have all the wanted ones, in this order."""
    found = []
    for frame in frames:
        have = layers(frame.raw, frame.bare)
        rest = iter(have)
        if device in (None, frame.device) and all(one in rest for one in wanted):
            found.append(have)
    return found


@contextlib.contextmanager
def captured(lab: Any, *names: str) -> Iterator[list[Frame]]:
    """Every frame in these namespaces meanwhile; complete when the block has ended."""
    with contextlib.closing(Capture(lab.namespaces, names)) as capture:
        yield capture.frames
        capture.wait(0.05)


def ping(
    lab: Any,
    source: str,
    target: str,
    *,
    size: int = 56,
    whole: bool = False,
    timeout_s: float = 2.0,
    address: str | None = None,
) -> float | None:
    """Round-trip time in seconds of one echo from namespace `source`, or None. `size` is ICMP's payload in bytes;
    with `whole` it must not be fragmented; `address` is the sender's own, if not what the kernel chooses. Raises
    OSError (EMSGSIZE) when it does not fit the first device."""
    with contextlib.closing(Echo(lab, source, target, whole, address)) as echo:
        sent = time.monotonic()
        echo.send(0, size)
        return time.monotonic() - sent if echo.heard(sent + timeout_s, 0) else None


def unanswered(lab: Any, pairs: Iterable[tuple[str, str]], timeout_s: float = 5.0) -> list[tuple[str, str]]:
    """Sends one echo for each (source namespace, target address), all at once; returns those that nobody answered."""
    with contextlib.ExitStack() as stack:
        echoes = [(pair, stack.enter_context(contextlib.closing(Echo(lab, *pair)))) for pair in pairs]
        for _, echo in echoes:
            echo.send(0)
        until = time.monotonic() + timeout_s
        return [pair for pair, echo in echoes if not echo.heard(until, 0)]


class Echo:
    """A raw ICMP socket of one namespace towards one address."""

    def __init__(self, lab: Any, source: str, target: str, whole: bool = False, address: str | None = None) -> None:
        self.version = ip_address(target).version
        six = self.version == 6
        with lab.namespaces.inside(source):
            family, protocol = (socket.AF_INET6, 58) if six else (socket.AF_INET, 1)
            self.sock = socket.socket(family, socket.SOCK_RAW, protocol)
        if whole:
            level, option = (41, 23) if six else (0, 10)  # IPV6_MTU_DISCOVER, IP_MTU_DISCOVER
            self.sock.setsockopt(level, option, 2)
            if six:
                self.sock.setsockopt(level, IPV6_DONTFRAG, 1)
        if address:
            self.sock.bind((address, 0))
        self.sock.connect((target, 0))
        self.number = id(self) >> 4 & 0xFFFF

    def send(self, sequence: int, size: int = 56) -> None:
        head = struct.pack("!BBHHH", ECHO[self.version][0], 0, 0, self.number, sequence)
        body = bytes(size)
        if self.version == 4:  # the kernel fills ICMPv6's in by itself
            head = head[:2] + struct.pack("!H", checksum(head + body)) + head[4:]
        self.sock.send(head + body)

    def heard(self, until: float, sequence: int | None = None) -> int | None:
        """Waits for an answer and returns its number plus one; None when none comes until then (monotonic)."""
        while (left := until - time.monotonic()) > 0:
            self.sock.settimeout(left)
            try:
                data = self.sock.recv(65536)
            except TimeoutError:
                return None
            except OSError:  # an ICMP error
                continue
            data = data[(data[0] & 15) * 4 :] if self.version == 4 else data
            kind, number, got = data[0], *struct.unpack("!HH", data[4:8])
            if (kind, number) == (ECHO[self.version][1], self.number) and sequence in (None, got):
                return got + 1
        return None

    def close(self) -> None:
        self.sock.close()


def checksum(data: bytes) -> int:
    """RFC 1071."""
    total = sum(struct.unpack(f"!{len(data) // 2}H", data[: len(data) & ~1])) + (data[-1] << 8 if len(data) & 1 else 0)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Stream:
    """Echoes every `interval_s` from a thread; `lost` afterwards are the numbers that nobody answered."""

    def __init__(self, lab: Any, source: str, target: str, interval_s: float = 0.01) -> None:
        self._echo = Echo(lab, source, target)
        self._interval_s = interval_s
        self._stop = threading.Event()
        self.sent = 0
        self._answered: set[int] = set()
        self._threads = [threading.Thread(target=one) for one in (self._send, self._hear)]

    def __enter__(self) -> Stream:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join()
        self._echo.close()

    def until(self, count: int) -> None:
        """Waits until so many have been sent."""
        while self.sent < count:
            time.sleep(self._interval_s)

    @property
    def lost(self) -> list[int]:
        return sorted(set(range(self.sent)) - self._answered)

    def _send(self) -> None:
        while not self._stop.wait(self._interval_s):
            self._echo.send(self.sent & 0xFFFF)
            self.sent += 1

    def _hear(self) -> None:
        late = 0.0
        while not self._stop.is_set() or time.monotonic() < late:
            if got := self._echo.heard(time.monotonic() + 0.1):
                self._answered.add(got - 1)
            if self._stop.is_set() and not late:
                late = time.monotonic() + 0.5
