"""Which claims are new, and what stays away until they are made."""

from __future__ import annotations

from dataclasses import replace

from kernel.claims import fresh, unclaimed
from kernel.state import Address, Claim, Macvlan, Neighbour, Netns, State

CLAIM = Claim("eth0.10", "10.0.0.11", "pod1", "10.0.0.1", 3.0)
NODE = Netns(
    "node1",
    addresses=(
        Address("eth0", "192.168.1.1/24"),
        Address("eth0.10", "10.0.0.11/24", "link", noprefixroute=True, own=False),
    ),
    neighbours=(
        Neighbour("eth0.10", "10.0.0.11", proxy=True),
        Neighbour("eth0.10", "10.0.0.12", proxy=True),
        Neighbour("eth0.vxlan4", "10.0.0.11", proxy=True),
    ),
    claims=(CLAIM,),
)


def test_a_claim_is_new_on_another_node_or_device_only() -> None:
    state = State((NODE,))
    assert fresh(state, State()) == [("node1", CLAIM)]
    assert fresh(state, state) == []
    assert fresh(state, State((replace(NODE, claims=(replace(CLAIM, check_s=1.0),)),))) == []
    assert fresh(state, State((replace(NODE, name="node2"),))) == [("node1", CLAIM)]


def test_nothing_on_the_wire_stands_for_an_address_before_its_claim_is_made() -> None:
    state = State((NODE,))
    (held,) = unclaimed(state, fresh(state, State())).namespaces
    assert held.addresses == NODE.addresses[:1]
    assert held.neighbours == NODE.neighbours[1:]


def test_a_pod_on_another_wire_claims_anew() -> None:
    claim = Claim("eth0", "10.0.0.11", "pod1", "10.0.0.1", 0.0)

    def pod_on(node: str) -> State:
        nic = Macvlan("eth0", dev="eth0-vlan-10", dev_netns=node)
        return State((Netns("pod1", links=(nic,), claims=(claim,)),))

    assert fresh(pod_on("node2"), pod_on("node1")) == [("pod1", claim)]
    assert fresh(pod_on("node1"), pod_on("node1")) == []
