"""The baseline `raw`: two namespaces joined by plain links through two switches; no tunnel, no routing, no rules.

What a mode costs is its figure against this one: the same number of veth pairs and bridges between two
nodes, and nothing of a container network.
"""

from __future__ import annotations

from kernel.state import Address, Bridge, Link, Netns, State, Veth

LEFT, RIGHT = "raw-0", "raw-1"
"""The two ends, in the place of pods."""
ADDRESSES = {LEFT: "10.255.0.1", RIGHT: "10.255.0.2"}
"""Their IPv4 addresses, without the prefix length."""
SWITCHES = ("raw-s0", "raw-s1")


def state(mtu: int = 1500) -> State:
    """raw-0 - raw-s0 - raw-s1 - raw-1, every link of `mtu` bytes."""
    ends = tuple(_end(name, switch, mtu) for name, switch in zip((LEFT, RIGHT), SWITCHES, strict=True))
    trunk = Veth(
        "trunk", mtu=mtu, master=SWITCHES[0], peer_netns=SWITCHES[1], peer=Link("trunk", mtu=mtu, master=SWITCHES[1])
    )
    first = Netns(SWITCHES[0], links=(Bridge(SWITCHES[0], mtu=mtu), trunk))
    second = Netns(SWITCHES[1], links=(Bridge(SWITCHES[1], mtu=mtu),))
    return State((first, second, *ends))


def _end(name: str, switch: str, mtu: int) -> Netns:
    veth = Veth("eth0", mtu=mtu, peer_netns=switch, peer=Link(name, mtu=mtu, master=switch))
    return Netns(name, links=(veth,), addresses=(Address("eth0", f"{ADDRESSES[name]}/24"),))
