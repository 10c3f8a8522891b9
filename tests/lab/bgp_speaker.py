"""A BGP speaker of a few lines, to say what FRR never would: an OPEN without a family, no End-of-RIB, a NOTIFICATION of
one's choice (RFC 4271, RFC 4724, RFC 8538)."""

from __future__ import annotations

import socket
import struct
import time
from ipaddress import ip_address, ip_network
from typing import Any

from tests.lab import bgp_wire as bgp

ASN = 65000
CEASE, ADMINISTRATIVE_RESET, HARD_RESET = 6, 4, 9
"""RFC 4486 and RFC 8538."""
IPV4 = b"\0\1\1"


def restarts(
    seconds: int, *, again: bool = True, kept: bool = True, notified: bool = True, families: bool = True
) -> bytes:
    """Capability 64's value: the R bit says `again`, N `notified`; one family whose F bit is `kept`, or none."""
    head = struct.pack("!H", again << 15 | notified << 14 | seconds)
    return head + (IPV4 + (b"\x80" if kept else b"\0") if families else b"")


def message(kind: int, body: bytes = b"") -> bytes:
    return bgp.MARKER + struct.pack("!HB", 19 + len(body), kind) + body


class Speaker:
    """A session from namespace `netns` with `peer`, established when this returns; `hold_s` 0 is for ever."""

    def __init__(
        self,
        lab: Any,
        netns: str,
        address: str,
        peer: str,
        capability: bytes | None,
        hold_s: int = 0,
        wait_s: float = 15.0,
    ) -> None:
        self._address = address
        end = time.monotonic() + wait_s
        while not self._established(lab, netns, peer, capability, hold_s):
            self.sock.close()
            assert time.monotonic() < end, f"{peer} takes no session from {address} within {wait_s:g} s"
            time.sleep(0.05)  # a peer that is idle after a session's end listens to nobody for a while

    def _established(self, lab: Any, netns: str, peer: str, capability: bytes | None, hold_s: int) -> bool:
        with lab.namespaces.inside(netns):
            self.sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self.sock.settimeout(1.0)
        self.rest = b""
        options = [b"\1\4\0\1\0\1", *([] if capability is None else [bytes([64, len(capability)]) + capability])]
        options = [bytes([2, len(one)]) + one for one in options]
        size = sum(map(len, options))
        body = struct.pack("!BHH4sB", 4, ASN, hold_s, ip_address(self._address).packed, size) + b"".join(options)
        try:
            self.sock.connect((peer, bgp.PORT))
            self.sock.sendall(message(bgp.OPEN, body))
            if self._heard() != bgp.OPEN:
                return False
            self.sock.sendall(message(bgp.KEEPALIVE))
            return self._heard() == bgp.KEEPALIVE
        except OSError:
            return False

    def _heard(self) -> int:
        """The kind of the next message, 0 when the peer has closed."""
        while len(self.rest) < 19 or len(self.rest) < struct.unpack_from("!H", self.rest, 16)[0]:
            data = self.sock.recv(65536)
            if not data:
                return 0
            self.rest += data
        kind, self.rest = self.rest[18], self.rest[struct.unpack_from("!H", self.rest, 16)[0] :]
        return kind

    def announce(self, *prefixes: str) -> None:
        """With this speaker as next hop."""
        address = ip_address(self._address).packed
        attributes = b"\x40\1\1\0" + b"\x40\2\0" + b"\x40\3\4" + address + b"\x40\5\4\0\0\0\x64"
        networks = [ip_network(one) for one in prefixes]
        packed = b"".join(bytes([one.prefixlen]) + one.network_address.packed[: one.prefixlen // 8] for one in networks)
        self.sock.sendall(message(bgp.UPDATE, struct.pack("!HH", 0, len(attributes)) + attributes + packed))

    def end_of_rib(self) -> None:
        self.sock.sendall(message(bgp.UPDATE, bytes(4)))

    def notify(self, code: int, subcode: int) -> None:
        """Ends the session with a reason."""
        self.sock.sendall(message(bgp.NOTIFICATION, bytes([code, subcode])))
        self.sock.close()

    def crash(self) -> None:
        """Ends it with a reset and no word, as the kernel does for a process that was killed."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()
