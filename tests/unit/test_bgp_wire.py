"""Each check of tests/lab/bgp_wire.py finds nothing in a good message, and the fault of one made wrong on purpose."""

from __future__ import annotations

import struct
from ipaddress import ip_address

import pytest

from paths.capture import Frame
from tests.lab import bgp_wire as bgp

ONE, TWO, ME = "10.0.0.2", "10.0.0.1", "10.0.0.11"
PREFIX = b"\x18\x0a\x63\x01"


def message(kind: int, body: bytes) -> bytes:
    return bgp.MARKER + struct.pack("!HB", 19 + len(body), kind) + body


def seen(raw: bytes) -> bgp.Message:
    return bgp.Message(ME, ONE, 0, raw)


def attribute(kind: int, value: bytes, flags: int = 0x40) -> bytes:
    return bytes([flags, kind, len(value)]) + value


def announced(*more: bytes, next_hop: str = ME, path: bytes = b"", preference: int = 100) -> bgp.Update:
    attributes = b"".join(
        [
            attribute(bgp.ORIGIN, b"\0"),
            attribute(bgp.AS_PATH, path),
            attribute(bgp.NEXT_HOP, ip_address(next_hop).packed),
            attribute(bgp.MED, bytes(4), 0x80),
            attribute(bgp.LOCAL_PREF, struct.pack("!I", preference)),
            *more,
        ]
    )
    body = bytes(2) + struct.pack("!H", len(attributes)) + attributes + PREFIX
    return bgp.update(seen(message(bgp.UPDATE, body)))


def originator(address: str = ME, flags: int = 0x80) -> bytes:
    return attribute(bgp.ORIGINATOR_ID, ip_address(address).packed, flags)


def clusters(*addresses: str) -> bytes:
    return attribute(bgp.CLUSTER_LIST, b"".join(ip_address(one).packed for one in addresses), 0x80)


GOOD = announced(originator(), clusters(TWO, ONE))


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (announced(clusters(TWO, ONE)), "RR-02: ORIGINATOR_ID missing, not 0a00000b"),
        (announced(originator(ONE), clusters(TWO, ONE)), "RR-02: ORIGINATOR_ID 80 0a000002, not 0a00000b"),
        (announced(originator(flags=0xC0), clusters(TWO, ONE)), "RR-02: ORIGINATOR_ID c0 0a00000b, not 0a00000b"),
        (announced(originator()), "RR-03: CLUSTER_LIST missing, not 0a0000010a000002"),
        (announced(originator(), clusters(ONE, TWO)), "RR-03: CLUSTER_LIST 80 0a0000020a000001, not 0a0000010a000002"),
        (announced(originator(), clusters(TWO)), "RR-03: CLUSTER_LIST 80 0a000001, not 0a0000010a000002"),
    ],
)
def test_reflected(wrong: bgp.Update, fault: str) -> None:
    assert bgp.reflected(GOOD, ME, [TWO, ONE]) == []
    assert bgp.reflected(wrong, ME, [TWO, ONE]) == [fault]


def test_unreflected() -> None:
    assert bgp.unreflected(announced()) == []
    assert bgp.unreflected(announced(originator())) == ["attribute 9: 80 0a00000b"]
    assert bgp.unreflected(announced(clusters(ONE))) == ["attribute 10: 80 0a000002"]


@pytest.mark.parametrize(
    ("wrong", "fault"),
    [
        (announced(next_hop=ONE), "RR-01: NEXT_HOP 40 0a000002, not 40 0a00000b"),
        (announced(path=b"\2\1\0\0\xfd\xe8"), "RR-01: AS_PATH 40 02010000fde8, not 40 "),
        (announced(preference=200), "RR-01: LOCAL_PREF 40 000000c8, not 40 00000064"),
    ],
)
def test_unchanged(wrong: bgp.Update, fault: str) -> None:
    assert bgp.unchanged(announced(), GOOD) == []
    assert bgp.unchanged(announced(), wrong) == [fault]


def opened(value: bytes | None) -> bgp.Message:
    capabilities = b"\2\6\1\4\0\1\0\1" + (b"" if value is None else bytes([2, 2 + len(value), 64, len(value)]) + value)
    head = b"\4" + struct.pack("!HH", 65000, 240) + ip_address(ME).packed
    return seen(message(bgp.OPEN, head + bytes([len(capabilities)]) + capabilities))


@pytest.mark.parametrize(
    ("value", "fault"),
    [
        ("401e00010180", "GR-01: 401e00010180, not c01e00010180"),
        ("801e00010180", "GR-01: 801e00010180, not c01e00010180"),
        ("c01f00010180", "GR-01: c01f00010180, not c01e00010180"),
        ("c01e00010100", "GR-01: c01e00010100, not c01e00010180"),
        ("c01e", "GR-01: c01e, not c01e00010180"),
        (None, "GR-01: missing, not c01e00010180"),
    ],
)
def test_restart(value: str | None, fault: str) -> None:
    kept = {bgp.IPV4_UNICAST: True}
    assert bgp.restart(opened(bytes.fromhex("c01e00010180")), True, 30, kept) == []
    assert bgp.restart(opened(None if value is None else bytes.fromhex(value)), True, 30, kept) == [fault]


@pytest.mark.parametrize(
    ("raw", "family"),
    [
        ("ff" * 16 + "00170200000000", (1, 1)),
        ("ff" * 16 + "001d0200000006800f03000201", (2, 1)),
        ("ff" * 16 + "001304", None),
        ("ff" * 16 + "001b020004180a63010000", None),
        ("ff" * 16 + "001e0200000007800f0400020100", None),
    ],
    ids=["IPv4", "IPv6", "keepalive", "a withdrawal", "a withdrawal of IPv6"],
)
def test_end_of_rib(raw: str, family: bgp.Family | None) -> None:
    assert bgp.end_of_rib(seen(bytes.fromhex(raw))) == family


def segment(number: int, data: bytes, time_ns: int, flags: int = 0x18) -> Frame:
    tcp = struct.pack("!HHIIBBHHH", 40000, bgp.PORT, number, 0, 0x50, flags, 0, 0, 0) + data
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(tcp), 0, 0, 64, 6, 0)
    ends = ip_address(ME).packed + ip_address(ONE).packed
    return Frame("lan", "c1", False, time_ns, bytes(12) + b"\x08\0" + head + ends + tcp)


def test_messages_are_put_together_again() -> None:
    """One over two segments, two in one, one sent twice; and what is missing is no message."""
    alive, end = message(bgp.KEEPALIVE, b""), message(bgp.UPDATE, bytes(4))
    stream = alive + end + alive
    frames = [segment(99, b"", 1, bgp.SYN), segment(100, stream[:30], 2), segment(130, stream[30:], 3)]
    found = bgp.messages([*frames, segment(100, stream[:30], 4)])
    assert [one.raw for one in found] == [alive, end, alive]
    assert [one.time_ns for one in found] == [2, 3, 3]
    with pytest.raises(AssertionError, match="lacks a segment"):
        bgp.messages([segment(100, alive, 1), segment(130, alive, 2)])
