"""ipvlan L2 and L3 by themselves, and terway's use of it (kernel: Documentation/networking/ipvlan.rst)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, layers, ping, ttl
from tests.lab.pods import of

pytestmark = pytest.mark.only("embedded")
FAMILIES = pytest.mark.parametrize("version", [4, 6])
Labs = Callable[[str, str], Any]


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Labs]:
    """`labs(plugin, mode)`: a lab of that mode on its own preset, up."""
    from cluster.lab import Lab, features, plan
    from plugins.registry import mode as find
    from topologies.spec import preset

    made: dict[tuple[str, str], Lab] = {}

    def of_mode(plugin: str, mode: str) -> Lab:
        if (plugin, mode) not in made:
            planned = plan(preset(find(plugin, mode).preset), plugin, mode, features())
            made[plugin, mode] = Lab(planned, tmp_path_factory.mktemp("lab"))
            made[plugin, mode].up()
        return made[plugin, mode]

    yield of_mode
    for lab in made.values():
        lab.down()


@pytest.mark.parametrize(("plugin", "mode"), [("ipvlan", "l2"), ("ipvlan", "l3"), ("terway", "ipvlan")])
def test_documented_paths(labs: Labs, plugin: str, mode: str) -> None:
    check_documented(labs(plugin, mode))


@pytest.mark.case("M04")
@FAMILIES
@pytest.mark.parametrize(("plugin", "mode"), [("ipvlan", "l2"), ("ipvlan", "l3"), ("terway", "ipvlan")])
def test_who_reaches_whom(labs: Labs, plugin: str, mode: str, version: int) -> None:
    """All pods each other and every other node; their own node by terway's slave only.

    From empty neighbour tables: where pods are in the nodes' own subnet, a terway node cannot ask for another node's
    pod by itself (plugins/terway/ipvlan.py), and what the pod's question taught it grows old.
    """
    lab = labs(plugin, mode)
    for name in (*(one.name for one in lab.cluster.nodes), *(one.name for one in lab.cluster.pods)):
        lab.namespaces.run(name, ["ip", "neigh", "flush", "dev", "eth0"])
    for pod in lab.cluster.pods:
        reached = {one.name: ping(lab, pod.name, of(one.addresses, version)) for one in lab.cluster.pods}
        assert None not in reached.values(), f"{pod.name}: {reached}"
        for node in lab.cluster.nodes:
            possible = plugin == "terway" or node.name != pod.node
            wait = 2.0 if possible else 0.15
            assert bool(ping(lab, pod.name, of(node.addresses, version), timeout_s=wait)) == possible, node.name
            assert bool(ping(lab, node.name, of(pod.addresses, version), timeout_s=wait)) == possible, node.name


@FAMILIES
@pytest.mark.parametrize(("plugin", "mode"), [("ipvlan", "l2"), ("ipvlan", "l3"), ("terway", "ipvlan")])
def test_all_pods_of_a_node_have_its_mac(labs: Labs, plugin: str, mode: str, version: int) -> None:
    lab = labs(plugin, mode)
    a, b = lab.cluster.pods_of("node1")[0], lab.cluster.pods_of("node3")[0]
    pair = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    macs = {name: lab.cluster.node(name).mac for name in ("node1", "node3")}
    assert {one[0] for one in having(frames, pair)} == {f"Ethernet {macs['node1']} > {macs['node3']}"}
    for pod in lab.cluster.pods_of("node1"):
        assert [link.mac for link in lab.engine.read(pod.name).links if link.name == "eth0"] == [macs["node1"]]


@pytest.mark.parametrize(("plugin", "mode"), [("ipvlan", "l2"), ("ipvlan", "l3")])
def test_siblings_talk_inside_the_node(labs: Labs, plugin: str, mode: str) -> None:
    lab = labs(plugin, mode)
    a, b = lab.cluster.pods_of("node1")
    with captured(lab, "node1", "s1", b.name) as frames:
        assert ping(lab, a.name, b.addresses[0])
    seen = [one for one in frames if ends(a.addresses[0], b.addresses[0]) in layers(one.raw)]
    assert {one.netns for one in seen} == {b.name}


def test_l3_takes_the_nodes_routes_and_asks_for_no_pods_mac(labs: Labs) -> None:
    lab = labs("ipvlan", "l3")
    a, b = lab.cluster.pods_of("node1")[0], lab.cluster.pods_of("node3")[0]
    lab.namespaces.run("node1", ["ip", "neigh", "flush", "all"])
    with captured(lab, "s1", a.name, b.name) as frames:
        assert ping(lab, a.name, b.addresses[0])
    asked = {one[-1] for one in having(frames) if "ARP asks" in one[-1]}
    assert f"ARP asks {of(lab.cluster.node('node3').addresses, 4)}" in asked
    assert not asked & {f"ARP asks {pod.addresses[0]}" for pod in lab.cluster.pods}
    assert not [one for one in frames if one.netns in (a.name, b.name) and "ARP" in layers(one.raw)[-1]]
    arrived = [one for one in frames if one.netns == b.name and having([one], ends(a.addresses[0], b.addresses[0]))]
    assert [ttl(one.raw) for one in arrived] == [64]  # handed over below the nodes' stacks: nobody forwarded it


def test_the_mode_belongs_to_the_parent(labs: Labs) -> None:
    """A slave of another mode changes all: ipvlan.rst, and why one node has one mode."""
    lab = labs("ipvlan", "l3")
    pod = lab.cluster.pods_of("node2")[0].name

    def mode() -> str:
        return str(next(link.mode for link in lab.engine.read(pod).links if link.name == "eth0"))

    assert mode() == "l3"
    add = ["ip", "link", "add", "link", "eth0", "name", "other", "type", "ipvlan", "mode", "l2"]
    done = lab.namespaces.run("node2", add)
    assert done.returncode == 0, done.stderr
    try:
        assert mode() == "l2"
    finally:
        lab.namespaces.run("node2", ["ip", "link", "del", "other"])
        lab.engine.apply(lab.state)
    assert mode() == "l3"


def test_terways_slave_is_what_joins_node_and_pods(labs: Labs) -> None:
    lab = labs("terway", "ipvlan")
    pod, node = lab.cluster.pods_of("node1")[0], of(lab.cluster.node("node1").addresses, 4)
    with captured(lab, "s1", "node1") as frames:
        assert ping(lab, pod.name, node) and ping(lab, "node1", pod.addresses[0])
    assert {one.device for one in frames if having([one], "ICMP 8")} == {"ipvl_eth0"}
    lab.namespaces.run("node1", ["ip", "link", "del", "ipvl_eth0"])
    try:
        assert ping(lab, "node1", pod.addresses[0], timeout_s=0.15) is None
    finally:
        lab.engine.apply(lab.state)
    assert ping(lab, "node1", pod.addresses[0])
