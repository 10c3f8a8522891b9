"""Answers to the kernel's questions for MAC addresses."""

from __future__ import annotations

import socket
import struct

import pytest
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from kernel import wire
from kernel.resolver import REACHABLE, reply

MAC = bytes.fromhex("02000000000a")


def question(address: str, index: int = 7) -> bytes:
    """An RTM_GETNEIGH as neigh_app_ns sends it, with more than the address."""
    head = struct.pack("=BxHiHBB", wire.family_of(address), 0, index, 0, 0, 0)
    return head + wire.attr(3, bytes(16)) + wire.attr(1, wire.packed(address)) + wire.u32(4, 1)


@pytest.mark.parametrize("address", ["10.244.0.9", "fd00:10:244::9"])
def test_a_known_address_is_answered(address: str) -> None:
    said = reply(question(address), {(7, wire.packed(address)): MAC})
    assert said is not None
    message = next(iter(MarshalRtnl().parse(said)))
    assert (message["event"], message["ifindex"], message["state"]) == ("RTM_NEWNEIGH", 7, REACHABLE)
    assert (message.get_attr("NDA_DST"), message.get_attr("NDA_LLADDR")) == (address, MAC.hex(":"))
    assert message["header"]["flags"] == wire.REQUEST | wire.CREATE | wire.REPLACE


def test_others_are_not() -> None:
    answers = {(7, wire.packed("10.244.0.9")): MAC}
    assert reply(question("10.244.0.8"), answers) is None
    assert reply(question("10.244.0.9", index=8), answers) is None
    assert reply(struct.pack("=BxHiHBB", socket.AF_INET, 0, 7, 0, 0, 0), answers) is None
