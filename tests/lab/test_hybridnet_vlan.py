"""hybridnet VLAN on 802.1Q trunks: who reaches whom, what is on the wire, and how an address gets onto it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import AddressInUse, NotConverged
from tests.lab import wire
from tests.lab.frames import captured, ends, having, ping, unanswered
from tests.lab.pods import of

pytestmark = pytest.mark.only("embedded")
"""The machine's own kernel may have no 8021q; test_hybridnet_mixed.py has untagged subnets and runs everywhere."""
FAMILIES = pytest.mark.parametrize("version", [4, 6])
GATEWAYS = {4: "10.0.0.1", 6: "fd00:0:0:10::1"}
TRUNK_PORTS = {"node1", "node2", "s2"}
"""Ports of switch s1 that carry VLANs tagged."""


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    spec = preset("trunks").model_copy(update={"address_check": 300_000})
    with Lab(plan(spec, "hybridnet", "vlan", features()), Path(tmp_path_factory.mktemp("lab"))) as lab:
        lab.up()
        yield lab


def pod(lab: Any, node: str, network: str, number: int = 0) -> Any:
    return [one for one in lab.cluster.pods_of(node) if one.network == network][number]


def mac(lab: Any, node: str) -> str:
    return str(lab.cluster.node(node).mac)


def router_mac(lab: Any, device: str) -> str:
    return next(str(link.mac) for link in lab.engine.read("gw").links if link.name == device)


def forget(lab: Any, *names: str) -> None:
    """Empties neighbour tables."""
    for name in names:
        for family in ("-4", "-6"):
            lab.namespaces.run(name, ["ip", family, "neigh", "flush", "all"])


@pytest.fixture
def added(lab: Any) -> Iterator[Callable[..., None]]:
    """`added(name=..., node=..., addresses=...)`: the same lab with this pod more, until the test ends."""
    before = lab.spec.model_dump_json()

    def change(**pod_: Any) -> None:
        lab.change(json.dumps(json.loads(before) | {"pods": [pod_]}), "hybridnet", "vlan")

    yield change
    lab.change(before, "hybridnet", "vlan")


@FAMILIES
def test_every_pod_reaches_every_pod_and_the_outside(lab: Any, version: int) -> None:
    targets = [of(one.addresses, version) for one in lab.cluster.pods] + [of(lab.spec.client.addresses, version)]
    pairs = [(one.name, target) for one in lab.cluster.pods for target in targets if target not in one.addresses]
    assert unanswered(lab, pairs) == []


@pytest.mark.case("H04")
@FAMILIES
def test_in_one_vlan_frames_go_from_node_to_node_with_the_tag(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1", "vlan10"), pod(lab, "node3", "vlan10")
    there = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1", "gw") as frames:
        assert ping(lab, a.name, of(b.addresses, version), timeout_s=4.0)
    on_trunks = [frame for frame in frames if frame.netns == "s1" and frame.device in TRUNK_PORTS]
    assert having(on_trunks, f"Ethernet {mac(lab, 'node1')} > {mac(lab, 'node3')}", "VLAN 10", there)
    assert [one for one in having(on_trunks, there) if "VLAN 10" not in one] == []
    assert having((frame for frame in frames if frame.netns == "gw"), there) == [], "the gateway is not on the way"


@pytest.mark.case("H04")
@FAMILIES
def test_between_vlans_the_gateway_is_on_the_way(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1", "vlan10"), pod(lab, "node2", "vlan20")
    there = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version), timeout_s=4.0)
    to_gateway = f"Ethernet {mac(lab, 'node1')} > {router_mac(lab, 'eth1')}"
    from_gateway = f"Ethernet {router_mac(lab, 'eth2')} > {mac(lab, 'node2')}"
    assert having(frames, to_gateway, "VLAN 10", there, device="node1")
    assert having(frames, from_gateway, "VLAN 20", there, device="node2")
    assert having(frames, "VLAN 20", there, device="node1") == []


@FAMILIES
def test_on_one_node_nothing_goes_out_even_between_vlans(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1", "vlan10"), pod(lab, "node1", "vlan20")
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    assert having(frames, ends(of(a.addresses, version), of(b.addresses, version))) == []


@pytest.mark.case("H04")
def test_the_switch_sees_nodes_macs_only_and_no_tunnel(lab: Any) -> None:
    forget(lab, *(node.name for node in lab.cluster.nodes))
    pairs = [(a.name, of(b.addresses, v)) for a in lab.cluster.pods for b in lab.cluster.pods for v in (4, 6) if a != b]
    with captured(lab, "s1") as frames:
        assert unanswered(lab, pairs) == []
    nodes = {mac(lab, node.name) for node in lab.cluster.nodes}
    routers = {router_mac(lab, device) for device in ("eth1", "eth2")}
    for device in TRUNK_PORTS:
        sent = [one for one in frames if one.device == device and wire.tags(one.raw)]
        assert wire.faults(sent, partial(wire.foreign, macs=nodes | routers)) == []
        assert wire.faults(sent, wire.plain) == []
    assert nodes <= {one.raw[6:12].hex(":") for one in frames}


@pytest.mark.case("H08")
@FAMILIES
def test_pods_meet_the_outside_with_their_own_address(lab: Any, version: int) -> None:
    client, a = of(lab.spec.client.addresses, version), pod(lab, "node2", "vlan20")
    own = of(a.addresses, version)
    with captured(lab, "client") as frames:
        assert ping(lab, a.name, client)
    assert having(frames, ends(own, client)), "the client sees another source address"
    with captured(lab, a.name) as frames:
        assert ping(lab, "client", own, timeout_s=4.0)
    assert having(frames, ends(client, own)), "the pod sees another source address"


def test_a_new_pods_address_is_probed_and_announced(lab: Any, added: Callable[..., None]) -> None:
    with captured(lab, "gw") as frames:
        added(name="fresh", node="node1", addresses=["10.0.0.60", "fd00:0:0:10::60"])
    arp = [
        f.raw
        for f in frames
        if f.device == "eth1" and f.raw[12:14] == b"\x08\x06" and f.raw[38:42] == bytes([10, 0, 0, 60])
    ]
    said = [(raw[21], raw[28:32], raw[6:12].hex(":")) for raw in arp]
    probe, request, reply = ((1, bytes(4)), (1, bytes([10, 0, 0, 60])), (2, bytes([10, 0, 0, 60])))
    assert [one for one in said if one[:2] in (probe, request, reply)] == [
        (*one, mac(lab, "node1")) for one in (probe, request, reply)
    ]
    assert having(
        frames, f"Ethernet {mac(lab, 'node1')} > 33:33:00:00:00:01", "NDP tells fd00:0:0:10::60", device="eth1"
    )
    assert ping(lab, "gw", "10.0.0.60", timeout_s=4.0) and ping(lab, "gw", "fd00:0:0:10::60", timeout_s=4.0)


@pytest.mark.case("H14", "F31")
@FAMILIES
def test_a_pod_that_moves_is_announced_at_its_new_node(lab: Any, added: Callable[..., None], version: int) -> None:
    """Gratuitous ARP sets the gateway's neighbour right at once: it does not ask again."""
    address = "10.0.0.61" if version == 4 else "fd00:0:0:10::61"
    added(name="mover", node="node1", addresses=[address])
    assert ping(lab, "gw", address, timeout_s=4.0)
    added(name="mover", node="node3", addresses=[address])
    neighbour = lab.namespaces.run("gw", ["ip", "neigh", "show", address, "dev", "eth1"]).stdout
    assert f"lladdr {mac(lab, 'node3')}" in neighbour
    with captured(lab, "gw") as frames:
        assert ping(lab, "gw", address, timeout_s=1.0)
    assert having(frames, f"Ethernet {router_mac(lab, 'eth1')} > {mac(lab, 'node3')}", ends(GATEWAYS[version], address))


@pytest.mark.case("H05")
@FAMILIES
def test_an_address_that_another_host_has_is_refused(lab: Any, added: Callable[..., None], version: int) -> None:
    taken = "10.0.0.77" if version == 4 else "fd00:0:0:10::77"
    before = lab.state
    lab.namespaces.run("gw", ["ip", "addr", "add", f"{taken}/{24 if version == 4 else 64}", "dev", "eth1", "nodad"])
    try:
        with pytest.raises(AddressInUse) as caught:
            added(name="late", node="node2", addresses=[taken])
    finally:
        lab.namespaces.run("gw", ["ip", "addr", "del", f"{taken}/{24 if version == 4 else 64}", "dev", "eth1"])
    assert f"late's address {taken} is in use already: {router_mac(lab, 'eth1')} answers for it" in str(caught.value)
    assert lab.state is before and lab.engine.plan(before) == [], "something of the new pod is left"
    assert "late" not in lab.namespaces.names


@pytest.mark.case("H05")
def test_a_gateway_that_does_not_answer_is_named(lab: Any, added: Callable[..., None]) -> None:
    lab.set_up([("gw", "eth2")], up=False)
    try:
        with pytest.raises(NotConverged) as caught:
            added(name="late", node="node2", network="vlan20", addresses=["10.20.0.60"])
    finally:
        lab.set_up([("gw", "eth2")], up=True)
    assert "10.20.0.1, the gateway, did not answer late's 10.20.0.60 in 0.3 s" in str(caught.value)


def test_the_node_asks_with_the_enhanced_address(lab: Any) -> None:
    """Whichever pod the packet is from, the sender of the node's question is of the same subnet as its target."""
    first, second, far = pod(lab, "node2", "vlan10"), pod(lab, "node2", "vlan10", 1), pod(lab, "node3", "vlan10")
    forget(lab, "node2")
    with captured(lab, "node2") as frames:
        assert ping(lab, second.name, of(far.addresses, 4), timeout_s=4.0)
    target = bytes(map(int, of(far.addresses, 4).split(".")))
    arp = [frame.raw for frame in frames if frame.device == "eth0.10" and frame.raw[12:14] == b"\x08\x06"]
    senders = {raw[28:32] for raw in arp if raw[21] == 1 and raw[38:42] == target}
    assert senders == {bytes(map(int, of(first.addresses, 4).split(".")))}
    with captured(lab, first.name) as frames:
        assert ping(lab, "gw", of(first.addresses, 4), timeout_s=4.0)
    assert having(frames, "ICMP 8"), "the node took the packet for itself"


@pytest.mark.case("H10")
@FAMILIES
def test_what_nobody_has_does_not_go_round(lab: Any, version: int) -> None:
    """The loop guard in FORWARD: a packet that comes by the VLAN device for an address without a pod ends here."""
    nobody, gateway = "10.0.0.150" if version == 4 else "fd00:0:0:10::150", GATEWAYS[version]
    neighbour = ["ip", "neigh", "replace", nobody, "lladdr", mac(lab, "node1"), "dev", "eth1"]
    lab.namespaces.run("gw", neighbour)
    try:
        with captured(lab, "node1") as frames:
            assert not ping(lab, "gw", nobody, timeout_s=1.0)
    finally:
        lab.namespaces.run("gw", ["ip", "neigh", "del", nobody, "dev", "eth1"])
    came = having((f for f in frames if not f.outgoing), ends(gateway, nobody), device="eth0.10")
    assert came and having((f for f in frames if f.outgoing), ends(gateway, nobody)) == []


def test_the_documented_path_is_the_one_taken(lab: Any) -> None:
    from paths.verify import verify

    found = verify(lab)
    assert found and [one.to_json() for one in found if not one.agrees] == []
