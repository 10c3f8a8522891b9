"""BGP as it was on the wire: TCP put together by hand out of raw captures, messages read from their bytes (RFC 4271),
and checks of what route reflection (RFC 4456) and graceful restart (RFC 4724) put there. A check returns its faults."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import ip_address, ip_network

from paths.capture import Frame
from tests.lab import wire

PORT, MARKER = 179, b"\xff" * 16
OPEN, UPDATE, NOTIFICATION, KEEPALIVE = 1, 2, 3, 4
ORIGIN, AS_PATH, NEXT_HOP, MED, LOCAL_PREF, ORIGINATOR_ID, CLUSTER_LIST, MP_UNREACH = 1, 2, 3, 4, 5, 9, 10, 15
SYN = 2
IPV4_UNICAST = (1, 1)
Family = tuple[int, int]
"""AFI and SAFI."""


@dataclass(frozen=True)
class Message:
    """One message; `time_ns` is when its last byte was seen."""

    source: str
    target: str
    time_ns: int
    raw: bytes

    @property
    def kind(self) -> int:
        return self.raw[18]

    @property
    def body(self) -> bytes:
        return self.raw[19:]


@dataclass(frozen=True)
class Update:
    """What an UPDATE says of IPv4 unicast; `attributes` by their type, each with its flags and its value."""

    withdrawn: frozenset[str]
    attributes: dict[int, tuple[int, bytes]]
    prefixes: frozenset[str]


def messages(frames: Iterable[Frame]) -> list[Message]:
    """All messages, by the time at which they were complete. A segment seen twice counts once."""
    segments: dict[tuple[str, str, int, int], dict[int, tuple[bytes, int]]] = {}
    begins: dict[tuple[str, str, int, int], int] = {}
    for frame in sorted(frames, key=lambda one: one.time_ns):
        head = wire.packet(frame.raw)
        if head is None or head.protocol != 6:
            continue
        sport, dport, number = struct.unpack_from("!HHI", head.payload)
        data = head.payload[(head.payload[12] >> 4) * 4 :]
        if PORT not in (sport, dport):
            continue
        key = (head.source, head.target, sport, dport)
        stream = segments.setdefault(key, {})
        if head.payload[13] & SYN:
            stream.clear()  # another connection with the same ports
            begins[key] = number + 1
        elif data:
            stream.setdefault((number - begins.setdefault(key, number)) % 2**32, (data, frame.time_ns))
    found = [one for key, stream in segments.items() for one in _split(key[0], key[1], stream)]
    return sorted(found, key=lambda one: one.time_ns)


def _split(source: str, target: str, stream: dict[int, tuple[bytes, int]]) -> Iterator[Message]:
    rest, expected = b"", None
    for number in sorted(stream):
        data, time_ns = stream[number]
        again = 0 if expected is None else expected - number
        assert again >= 0, f"{source} > {target}: the capture lacks a segment"
        rest, expected = rest + data[again:], max(expected or 0, number + len(data))
        while len(rest) >= 19 and len(rest) >= (size := struct.unpack_from("!H", rest, 16)[0]):
            assert rest.startswith(MARKER)
            yield Message(source, target, time_ns, rest[:size])
            rest = rest[size:]


def update(message: Message) -> Update:
    """RFC 4271, section 4.3."""
    body = message.body
    gone = struct.unpack_from("!H", body)[0]
    size = struct.unpack_from("!H", body, 2 + gone)[0]
    start, end = 4 + gone, 4 + gone + size
    return Update(_prefixes(body[2 : 2 + gone]), _attributes(body[start:end]), _prefixes(body[end:]))


def _attributes(data: bytes) -> dict[int, tuple[int, bytes]]:
    found: dict[int, tuple[int, bytes]] = {}
    while data:
        flags, kind = data[0], data[1]
        wide = bool(flags & 0x10)
        size = struct.unpack_from("!H", data, 2)[0] if wide else data[2]
        start = 4 if wide else 3
        found[kind] = (flags, data[start : start + size])
        data = data[start + size :]
    return found


def _prefixes(data: bytes) -> frozenset[str]:
    found = set()
    while data:
        length, size = data[0], (data[0] + 7) // 8
        found.add(str(ip_network((data[1 : 1 + size].ljust(4, b"\0"), length))))
        data = data[1 + size :]
    return frozenset(found)


def reflected(one: Update, originator: str, clusters: Iterable[str]) -> list[str]:
    """RR-02 and RR-03: optional, not transitive; the identifier nearest to the receiver stands first."""
    wanted = {
        "RR-02: ORIGINATOR_ID": (ORIGINATOR_ID, ip_address(originator).packed),
        "RR-03: CLUSTER_LIST": (CLUSTER_LIST, b"".join(ip_address(each).packed for each in clusters)),
    }
    return [
        f"{what} {_shown(one, kind)}, not {value.hex()}"
        for what, (kind, value) in wanted.items()
        if one.attributes.get(kind) != (0x80, value)
    ]


def unreflected(one: Update) -> list[str]:
    """RR-06 and RR-12: neither attribute is there."""
    there = [kind for kind in (ORIGINATOR_ID, CLUSTER_LIST) if kind in one.attributes]
    return [f"attribute {kind}: {_shown(one, kind)}" for kind in there]


def unchanged(before: Update, after: Update) -> list[str]:
    """RR-01: a reflector changes none of these."""
    kinds = {"ORIGIN": ORIGIN, "AS_PATH": AS_PATH, "NEXT_HOP": NEXT_HOP, "MED": MED, "LOCAL_PREF": LOCAL_PREF}
    return [
        f"RR-01: {name} {_shown(after, kind)}, not {_shown(before, kind)}"
        for name, kind in kinds.items()
        if before.attributes.get(kind) != after.attributes.get(kind)
    ]


def _shown(one: Update, kind: int) -> str:
    flags, value = one.attributes.get(kind, (0, b""))
    return f"{flags:02x} {value.hex()}" if kind in one.attributes else "missing"


def graceful(message: Message) -> bytes | None:
    """The value of capability 64 of an OPEN (RFC 4724, section 3), None without it."""
    data = message.body[10 : 10 + message.body[9]]
    while data:
        kind, size = data[0], data[1]
        options, data = data[2 : 2 + size], data[2 + size :]
        while kind == 2 and options:
            code, length = options[0], options[1]
            if code == 64:
                return options[2 : 2 + length]
            options = options[2 + length :]
    return None


def restart(message: Message, restarting: bool, seconds: int, kept: dict[Family, bool]) -> list[str]:
    """GR-01: the flags R and N (RFC 8538), the restart time, and of each family whether forwarding went on."""
    families = b"".join(struct.pack("!HBB", afi, safi, 0x80 if keeps else 0) for (afi, safi), keeps in kept.items())
    wanted = struct.pack("!H", (0xC000 if restarting else 0x4000) | seconds) + families
    found = graceful(message)
    return [] if found == wanted else [f"GR-01: {found.hex() if found is not None else 'missing'}, not {wanted.hex()}"]


def end_of_rib(message: Message) -> Family | None:
    """GR-02: the family whose end an UPDATE marks, None for any other message."""
    if message.kind != UPDATE:
        return None
    if message.body == bytes(4):
        return IPV4_UNICAST
    one = update(message)
    alone = set(one.attributes) == {MP_UNREACH} and not one.prefixes and not one.withdrawn
    value = one.attributes[MP_UNREACH][1] if alone else b""
    return struct.unpack("!HB", value) if len(value) == 3 else None
