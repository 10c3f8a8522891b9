"""The pcapng files: read back block by block, as the format's document has it."""

from __future__ import annotations

import struct

from paths.pcap import files
from tests.unit.paths.recorded import frames

NAME = "hybridnet-vlan-cross-node"


def blocks(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        kind, length = struct.unpack_from("<II", data)
        assert length % 4 == 0 and struct.unpack_from("<I", data, length - 4)[0] == length, "the length is at both ends"
        found.append((kind, data[8 : length - 4]))
        data = data[length:]
    return found


def options(data: bytes) -> dict[int, bytes]:
    found = {}
    while data:
        code, length = struct.unpack_from("<HH", data)
        if not code:
            return found
        found[code] = data[4 : 4 + length]
        data = data[4 + (length + 3) // 4 * 4 :]
    raise AssertionError("no end of options")


def test_a_file_a_device_with_its_frames_in_order() -> None:
    recorded = frames(NAME)
    written = files(reversed(recorded))
    assert set(written) == {f"{frame.netns}-{frame.device}.pcapng" for frame in recorded}
    for name, data in written.items():
        mine = [frame for frame in recorded if f"{frame.netns}-{frame.device}.pcapng" == name]
        (section, head), (interface, device), *packets = blocks(data)
        assert (section, struct.unpack_from("<IHH", head)) == (0x0A0D0D0A, (0x1A2B3C4D, 1, 0))
        assert interface == 1 and struct.unpack_from("<H", device)[0] == 1, "Ethernet"
        assert options(device[8:])[2].decode() == f"{mine[0].netns}:{mine[0].device}"
        assert options(device[8:])[9] == b"\x09", "nanoseconds"
        assert len(packets) == len(mine)
        for frame, (kind, body) in zip(sorted(mine, key=lambda one: one.time_ns), packets, strict=True):
            number, high, low, kept, length = struct.unpack_from("<IIIII", body)
            assert (kind, number, high << 32 | low) == (6, 0, frame.time_ns)
            assert kept == length == len(frame.raw) and body[20 : 20 + kept] == frame.raw
            flags = options(body[20 + (kept + 3) // 4 * 4 :])[2]
            assert struct.unpack("<I", flags)[0] == (2 if frame.outgoing else 1)


def test_tags_are_in_the_frames() -> None:
    """The kernel hands them over beside the frame (PACKET_AUXDATA); a file without them would tell another story."""
    tagged = [frame for frame in frames(NAME) if frame.netns.startswith("s") and frame.raw[12:14] == b"\x81\x00"]
    assert tagged and all(struct.unpack("!H", frame.raw[14:16])[0] & 0xFFF == 10 for frame in tagged)
