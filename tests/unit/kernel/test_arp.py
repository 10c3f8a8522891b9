"""The frames of ARP and neighbour discovery, byte for byte as the RFCs lay them out."""

from __future__ import annotations

import struct

from kernel import arp
from kernel.arp import Heard

MAC = bytes.fromhex("020000000001")
OTHER = bytes.fromhex("0200000000aa")


def test_an_arp_probe_says_nothing_of_its_sender() -> None:
    """RFC 5227, section 1.1: sender IP all zero, target hardware address zero."""
    expected = "ffffffffffff 020000000001 0806 0001 0800 06 04 0001 020000000001 00000000 000000000000 0a00000b"
    assert arp.question(MAC, "10.0.0.11") == bytes.fromhex(expected)


def test_a_gateway_is_asked_in_the_name_of_the_pod() -> None:
    assert arp.question(MAC, "10.0.0.1", "10.0.0.11")[28:32] == bytes([10, 0, 0, 11])


def test_gratuitous_arp_is_a_request_and_a_reply_with_sender_and_target_alike() -> None:
    request, reply = arp.announcements(MAC, "10.0.0.11")
    assert (request[20:22], reply[20:22]) == (b"\0\1", b"\0\2")
    for frame in (request, reply):
        assert frame[:6] == b"\xff" * 6
        assert frame[28:32] == frame[38:42] == bytes([10, 0, 0, 11])
        assert arp.heard(frame) == Heard("10.0.0.11", MAC.hex(":"), "10.0.0.11")


def test_a_solicitation_goes_to_the_solicited_node_group() -> None:
    """RFC 4861, section 4.3: hop limit 255, ff02::1:ffXX:XXXX, the asker's MAC as an option."""
    frame = arp.question(MAC, "fd00::12:3456")
    assert frame[:6] == bytes.fromhex("3333ff123456")
    assert frame[14 + 7] == 255
    assert frame[22:38] == bytes.fromhex("fe80000000000000000000fffe000001")
    assert frame[38:54] == bytes.fromhex("ff0200000000000000000001ff123456")
    assert frame[54] == 135 and frame[78:86] == b"\1\1" + MAC
    assert _sum_with_pseudo_header(frame) == 0xFFFF


def test_an_unsolicited_advertisement_overrides() -> None:
    """RFC 4861, section 7.2.6: to all nodes, not solicited, override."""
    (frame,) = arp.announcements(MAC, "fd00::11")
    assert frame[38:54] == bytes.fromhex("ff020000000000000000000000000001")
    assert frame[54] == 136 and frame[58] == 0x20
    assert _sum_with_pseudo_header(frame) == 0xFFFF
    assert arp.heard(frame) == Heard("fd00::11", MAC.hex(":"))


def test_only_answers_are_heard() -> None:
    assert arp.heard(arp.question(MAC, "fd00::11")) is None
    assert arp.heard(b"\xff" * 6 + OTHER + b"\x08\x00" + bytes(60)) is None
    assert arp.heard(b"") is None


def _sum_with_pseudo_header(frame: bytes) -> int:
    """RFC 1071: the sum over a message with a right checksum is all ones."""
    packet = frame[14:]
    data = packet[8:40] + struct.pack("!II", len(packet) - 40, 58) + packet[40:]
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    return (total & 0xFFFF) + (total >> 16)
