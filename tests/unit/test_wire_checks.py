"""Each check of tests/lab/wire.py finds nothing in a good frame, and the one fault in a frame made wrong on purpose."""

from __future__ import annotations

import struct
from functools import partial
from ipaddress import ip_address

import pytest

from paths.capture import Frame
from tests.lab import wire

NODE, POD, OTHER = "02:00:00:00:00:01", "02:00:00:00:00:0a", "02:00:00:00:00:02"
INSIDE = bytes.fromhex("02000000000b02000000000a")
VNI, PORT = 1234567, 4789


def ip4(payload: bytes, protocol: int, *, ttl: int = 64, tos: int = 0, df: bool = False, options: bytes = b"") -> bytes:
    head = struct.pack(
        "!BBHHHBBH", 0x45 + len(options) // 4, tos, 20 + len(options) + len(payload), 1, df << 14, ttl, protocol, 0
    )
    return head + ip_address("192.0.2.1").packed + ip_address("192.0.2.2").packed + options + payload


ECHO = ip4(b"\x08\0\0\0\0\1\0\1", 1)


def ethernet(payload: bytes, *vids: int, sender: str = NODE) -> bytes:
    macs = bytes.fromhex((OTHER + sender).replace(":", ""))
    return macs + b"".join(struct.pack("!HH", 0x8100, vid) for vid in vids) + b"\x08\0" + payload


def vxlan(
    header: str = "0800000012d68700", port: int = PORT, sum_: int = 0x1234, inner: bytes = b"", **outer: int
) -> bytes:
    data = bytes.fromhex(header) + (inner or INSIDE + b"\x08\0" + ECHO)
    return ethernet(ip4(struct.pack("!HHHH", 40000, port, 8 + len(data), sum_) + data, 17, **outer))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (vxlan(port=8472), "VX-01: to port 8472, not 4789"),
        (ethernet(ECHO), "VX-01: no UDP"),
        (ethernet(ip4(ECHO, 4)), "VX-01: no UDP"),
        (vxlan("0800000012d68800"), "VX-02: header 0800000012d68800, not 0800000012d68700"),
        (vxlan("0800000112d68700"), "VX-02: header 0800000112d68700, not 0800000012d68700"),
        (vxlan("0c00000012d68700"), "VX-02: header 0c00000012d68700, not 0800000012d68700"),
        (vxlan("0000000012d68700"), "VX-02: header 0000000012d68700, not 0800000012d68700"),
        (vxlan("0800000012d68701"), "VX-02: header 0800000012d68701, not 0800000012d68700"),
        (vxlan(sum_=0), "VX-06: no checksum"),
        (vxlan(ttl=63), "VX-07: TTL 63, not 64"),
        (vxlan(tos=0xB8), "VX-07: TOS 0xb8"),
        (vxlan(df=True), "VX-07: don't fragment"),
        (vxlan(inner=INSIDE + b"\x81\0\0\x05\x08\0" + ECHO), "VX-09: a tag inside: (5,)"),
        (vxlan(inner=(INSIDE + b"\x08\0" + ECHO)[:-4]), "VX-13: 74 bytes for 38 inside"),
    ],
)
def test_vxlan(frame: bytes, fault: str) -> None:
    assert wire.vxlan(vxlan(), VNI, PORT) == []
    assert wire.vxlan(frame, VNI, PORT) == [fault]


LONG = ECHO[:2] + struct.pack("!H", 48) + ECHO[4:]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (ethernet(ECHO), "IP-01: no protocol 4"),
        (vxlan(), "IP-01: no protocol 4"),
        (ethernet(ip4(LONG, 4, df=True)), "IP-01: 48 bytes for 48 inside"),
        (ethernet(ip4(ECHO, 4, df=True, ttl=63)), "IP-02: TTL 63, inside 64"),
        (ethernet(ip4(ECHO, 4)), "IP-03: may be fragmented"),
        (ethernet(ip4(ECHO, 4, df=True, tos=0xB8)), "IP-06: TOS 0xb8"),
    ],
)
def test_ipip(frame: bytes, fault: str) -> None:
    assert wire.ipip(ethernet(ip4(ECHO, 4, df=True))) == []
    assert wire.ipip(frame) == [fault]


def test_ipip_with_options() -> None:
    """A source route copied out makes the outer header too long as well."""
    found = wire.ipip(ethernet(ip4(ECHO, 4, df=True, options=b"\x83\x03\x04\0")))
    assert found == ["IP-01: 52 bytes for 28 inside", "IP-09: the outer header has options"]


@pytest.mark.parametrize(
    ("frame", "fault"),
    [
        (ethernet(ip4(ECHO, 4)), "protocol 4 between 192.0.2.1 and 192.0.2.2"),
        (ethernet(ip4(b"\0\0\x08\0" + ECHO, 47)), "protocol 47 between 192.0.2.1 and 192.0.2.2"),
        (vxlan(), "VXLAN to port 4789"),
        (vxlan(port=8472), "VXLAN to port 8472"),
    ],
)
def test_plain(frame: bytes, fault: str) -> None:
    assert wire.plain(ethernet(ECHO)) == wire.plain(ethernet(ECHO, 10)) == []
    assert wire.plain(frame) == [fault]


@pytest.mark.parametrize(
    ("vids", "wrong"), [((10,), ()), ((10,), (20,)), ((10,), (10, 20)), ((), (10,)), ((10, 20), (20, 10))]
)
def test_tags(vids: tuple[int, ...], wrong: tuple[int, ...]) -> None:
    assert wire.tagged(ethernet(ECHO, *vids), *vids) == []
    assert wire.tagged(ethernet(ECHO, *wrong), *vids) == [f"VLANs {wrong}, not {vids}"]


def test_a_priority_is_no_vlan() -> None:
    assert wire.tagged(ethernet(ECHO, 0xA00A), 10) == []
    assert wire.tags(ethernet(ECHO, 0xA00A)) == (0xA00A,)


def test_a_foreign_mac() -> None:
    assert wire.foreign(ethernet(ECHO, 10), {NODE, OTHER}) == []
    assert wire.foreign(ethernet(ECHO, 10, sender=POD), {NODE, OTHER}) == [f"sent by {POD}"]


def test_one_wrong_frame_among_good_ones_is_found_and_no_frame_is_no_proof() -> None:
    seen = [Frame("s1", "node1", False, 0, raw) for raw in (ethernet(ECHO, 10), ethernet(ECHO, 20), ethernet(ECHO, 10))]
    assert wire.faults(seen, partial(_vlan, 10)) == ["VLANs (20,), not (10,)"]
    with pytest.raises(AssertionError, match="no frame to check"):
        wire.faults([], partial(_vlan, 10))
    assert len(wire.between(seen, "192.0.2.1", "192.0.2.2")) == 3
    assert wire.between(seen, "192.0.2.2", "192.0.2.1") == []


def _vlan(vid: int, frame: bytes) -> list[str]:
    return wire.tagged(frame, vid)
