"""Captured frames as files for Wireshark: one pcapng (draft-ietf-opsawg-pcapng) a device, nanoseconds, directions."""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator

from paths.capture import Frame

SECTION, INTERFACE, PACKET = 0x0A0D0D0A, 1, 6
"""Block types: section header, interface description, enhanced packet."""
MAGIC, NANOSECONDS = 0x1A2B3C4D, 9
ETHERNET, RAW_IP = 1, 101
"""LINKTYPE_ETHERNET and LINKTYPE_RAW (tcpdump.org/linktypes.html)."""
IF_NAME, IF_TSRESOL, EPB_FLAGS, USER_APPLICATION = 2, 9, 2, 4
"""Option codes; their meaning depends on the block."""
INBOUND, OUTBOUND = 1, 2


def files(frames: Iterable[Frame]) -> dict[str, bytes]:
    """NAMESPACE-DEVICE.pcapng for each device that saw a frame, its frames in the order of time."""
    devices: dict[str, list[Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.time_ns):
        devices.setdefault(f"{frame.netns}-{frame.device}.pcapng", []).append(frame)
    return {name: b"".join(_file(found)) for name, found in devices.items()}


def _file(frames: list[Frame]) -> Iterator[bytes]:
    place = f"{frames[0].netns}:{frames[0].device}"
    yield _block(SECTION, struct.pack("<IHHq", MAGIC, 1, 0, -1), _text(USER_APPLICATION, "podpath"))
    yield _block(
        INTERFACE,
        struct.pack("<HHI", RAW_IP if frames[0].bare else ETHERNET, 0, 0),
        _text(IF_NAME, place),
        _option(IF_TSRESOL, bytes([NANOSECONDS])),
    )
    for frame in frames:
        high, low = frame.time_ns >> 32, frame.time_ns & 0xFFFFFFFF
        head = struct.pack("<IIIII", 0, high, low, len(frame.raw), len(frame.raw))
        flags = struct.pack("<I", OUTBOUND if frame.outgoing else INBOUND)
        yield _block(PACKET, head + _padded(frame.raw), _option(EPB_FLAGS, flags))


def _block(kind: int, body: bytes, *options: bytes) -> bytes:
    """A block; its length stands at both ends."""
    whole = body + b"".join(options) + _option(0, b"")
    length = struct.pack("<I", len(whole) + 12)
    return struct.pack("<I", kind) + length + whole + length


def _option(code: int, value: bytes) -> bytes:
    return struct.pack("<HH", code, len(value)) + _padded(value)


def _text(code: int, value: str) -> bytes:
    return _option(code, value.encode())


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
