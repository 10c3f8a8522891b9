"""The one way among sightings where devices stand on another one's wire: macvlan and ipvlan siblings, and VLANs."""

from __future__ import annotations

from itertools import permutations

import pytest

from kernel.state import Ipvlan, Link, Macvlan, Netns, State, Veth, Vlan
from paths.model import Direction, Packet, Sighting
from paths.wires import Wires, chain

Seen = tuple[str, str, Direction]


def wires(kind: type[Macvlan] | type[Ipvlan], tagged: bool) -> Wires:
    """Two pods on one node, over its NIC or over a VLAN device of it."""
    nic = Veth("eth0", peer_netns="s1", peer=Link("node1", master="s1"))
    parent = "eth0.10" if tagged else "eth0"
    vlan = (Vlan("eth0.10", dev="eth0", vid=10),) if tagged else ()
    pods = [Netns(name, links=(kind("eth0", dev=parent, dev_netns="node1"),)) for name in ("pod1", "pod2")]
    return Wires(State((Netns("s1", links=(Link("s1"),)), Netns("node1", links=(nic, *vlan)), *pods)))


def sighting(seen: Seen, time_ns: int) -> Sighting:
    netns, device, direction = seen
    return Sighting(netns, device, direction, time_ns, 98, Packet(()))


@pytest.mark.parametrize("tagged", [False, True])
@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_a_macvlans_frame_for_a_sibling_is_shown_to_the_parent(tagged: bool, order: tuple[int, ...]) -> None:
    """Whatever order the captures come in: a coarse clock gives all three one time."""
    parent = "eth0.10" if tagged else "eth0"
    way: list[Seen] = [("pod1", "eth0", "out"), ("node1", parent, "in"), ("pod2", "eth0", "in")]
    found = chain([sighting(way[number], 7) for number in order], wires(Macvlan, tagged), "pod2")
    assert [(one.netns, one.device, one.direction) for one in found.path] == way
    assert found.copies == ()


def test_an_ipvlans_is_not() -> None:
    way: list[Seen] = [("pod1", "eth0", "out"), ("pod2", "eth0", "in")]
    found = chain([sighting(one, 7) for one in way[::-1]], wires(Ipvlan, False), "pod2")
    assert [(one.netns, one.device, one.direction) for one in found.path] == way


def test_down_to_the_wire_with_a_tag() -> None:
    way: list[Seen] = [
        ("pod1", "eth0", "out"),
        ("node1", "eth0.10", "out"),
        ("node1", "eth0", "out"),
        ("s1", "node1", "in"),
    ]
    found = chain([sighting(one, number) for number, one in enumerate(way)], wires(Macvlan, True), "gw")
    assert [(one.netns, one.device, one.direction) for one in found.path] == way
