"""hybridnet VXLAN on a real kernel: who reaches whom, with which source address, and how MAC addresses are found."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from kernel.state import State
from plugins.hybridnet.daemon import host_end
from tests.lab import wire
from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, ping
from tests.lab.pods import of, pod

FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    with Lab(plan(preset("default"), "hybridnet", "vxlan", features()), Path(tmp_path_factory.mktemp("lab"))) as lab:
        lab.up()
        yield lab


def forget(lab: Any, node: str) -> None:
    """Empties a node's neighbour tables."""
    for family in ("-4", "-6"):
        lab.namespaces.run(node, ["ip", family, "neigh", "flush", "all"])


def test_documented_paths(lab: Any) -> None:
    check_documented(lab)


@pytest.mark.case("H07")
@FAMILIES
def test_pods_reach_pods_and_nodes_both_ways(lab: Any, version: int) -> None:
    a, near, far = pod(lab, "node1"), pod(lab, "node1", 1), pod(lab, "node3")
    for source, target in ((a, near), (a, far), (far, a)):
        with captured(lab, target.name) as frames:
            assert ping(lab, source.name, of(target.addresses, version)), f"{source.name} does not reach {target.name}"
        assert having(frames, ends(of(source.addresses, version), of(target.addresses, version))), "not its own address"
    for node in lab.cluster.nodes:
        assert ping(lab, node.name, of(a.addresses, version)), f"{node.name} does not reach {a.name}"
        assert ping(lab, a.name, of(node.addresses, version)), f"{a.name} does not reach {node.name}"


@pytest.mark.case("VX-01", "VX-02", "VX-06", "VX-07", "VX-13", "H06")
@FAMILIES
def test_the_underlay_sees_vxlan_between_nodes(lab: Any, version: int) -> None:
    a, far = pod(lab, "node1"), pod(lab, "node3")
    inner = ends(of(a.addresses, version), of(far.addresses, version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(far.addresses, version))
    nodes = ends(of(lab.cluster.node("node1").addresses, 4), of(lab.cluster.node("node3").addresses, 4))
    assert having(frames, nodes, "UDP 8472", "VXLAN 4", inner)
    assert [one for one in having(frames, inner) if "VXLAN 4" not in one] == []
    here, there = (of(lab.cluster.node(name).addresses, 4) for name in ("node1", "node3"))
    sent = wire.between(frames, here, there) + wire.between(frames, there, here)
    assert wire.faults(sent, partial(wire.vxlan, vni=4, port=8472)) == []


@pytest.mark.case("H08")
@FAMILIES
def test_what_leaves_the_cluster_has_the_nodes_address(lab: Any, version: int) -> None:
    client = of(lab.spec.client.addresses, version)
    with captured(lab, "client") as frames:
        assert ping(lab, pod(lab, "node1").name, client)
    assert having(
        frames, ends(of(lab.cluster.node("node1").addresses, version), client), f"ICMP {8 if version == 4 else 128}"
    )


@FAMILIES
def test_a_pods_reply_to_a_far_node_returns_by_the_tunnel(lab: Any, version: int) -> None:
    """Mark 0x20 and table 40001: without them the reply would leave by the default route, and be masqueraded."""
    node, target = lab.cluster.node("node1"), pod(lab, "node2")
    with captured(lab, "s1") as frames:
        assert ping(lab, node.name, of(target.addresses, version))
    reply = having(frames, ends(of(target.addresses, version), of(node.addresses, version)))
    assert reply and all("VXLAN 4" in one for one in reply)


@FAMILIES
def test_the_listener_answers_before_anything_is_broadcast(lab: Any, version: int) -> None:
    a, far = pod(lab, "node1"), pod(lab, "node2")
    forget(lab, "node1")
    with captured(lab, "node1") as frames:
        assert ping(lab, a.name, of(far.addresses, version))
    assert asked(frames, of(far.addresses, version), "eth0.vxlan4") == []
    neighbour = lab.namespaces.run("node1", ["ip", "neigh", "show", of(far.addresses, version)]).stdout
    assert f"dev eth0.vxlan4 lladdr {lab.cluster.node('node2').mac}" in neighbour


@pytest.mark.case("H06", "VX-10")
@FAMILIES
def test_without_the_listener_the_far_node_answers_for_its_pods(lab: Any, version: int) -> None:
    """The question goes to every node (head-end replication), and the one that has the pod answers: NTF_PROXY."""
    a, far = pod(lab, "node1"), pod(lab, "node2")
    lab.resolvers.set(State())
    try:
        forget(lab, "node1")
        with captured(lab, "node1", "s1") as frames:
            assert ping(lab, a.name, of(far.addresses, version), timeout_s=4.0)
    finally:
        lab.resolvers.set(lab.state)
    copies = {one[1].partition(" > ")[2] for one in asked(frames, of(far.addresses, version)) if "VXLAN 4" in one}
    assert copies == {of(lab.cluster.node(name).addresses, 4) for name in ("node2", "node3")}
    neighbour = lab.namespaces.run("node1", ["ip", "neigh", "show", of(far.addresses, version)]).stdout
    assert f"dev eth0.vxlan4 lladdr {lab.cluster.node('node2').mac}" in neighbour


def asked(frames: Any, address: str, device: str | None = None) -> list[list[str]]:
    """Questions for the address's MAC."""
    return having(frames, f"{'NDP' if ':' in address else 'ARP'} asks {address}", device=device)


@pytest.mark.case("H06")
@pytest.mark.only("embedded")
def test_broadcasts_become_the_replicated_mac(lab: Any) -> None:
    """tc's work, where the kernel has pedit: ff:ff:ff:ff:ff:f1 inside the tunnel, one copy for each node."""
    lab.resolvers.set(State())
    try:
        forget(lab, "node1")
        with captured(lab, "s1") as frames:
            assert ping(lab, pod(lab, "node1").name, of(pod(lab, "node2").addresses, 4), timeout_s=4.0)
    finally:
        lab.resolvers.set(lab.state)
    questions = [one for one in asked(frames, of(pod(lab, "node2").addresses, 4)) if "VXLAN 4" in one]
    inside = {one[one.index("VXLAN 4") + 1].partition(" > ")[2] for one in questions}
    once_known = {one.mac for one in lab.cluster.nodes}  # who has answered is asked again by its own MAC
    assert inside - once_known == {"ff:ff:ff:ff:ff:f1"}


@pytest.mark.case("H09")
def test_the_firewall_says_no_to_strangers_at_once(lab: Any) -> None:
    """A route into the tunnel for what no subnet has, as autoNatOutgoing false makes: rejected, not lost."""
    run = lab.namespaces.run
    run("node1", ["ip", "route", "add", "198.51.100.0/24", "dev", "eth0.vxlan4"])
    try:
        said = run(pod(lab, "node1").name, ["ping", "-c", "1", "-W", "2", "198.51.100.7"]).stdout
    finally:
        run("node1", ["ip", "route", "del", "198.51.100.0/24", "dev", "eth0.vxlan4"])
    assert "Destination Host Unreachable" in said


@pytest.mark.case("H01")
def test_a_pods_device_is_named_as_the_daemon_names_it(lab: Any) -> None:
    names = {link.name: link.mac for link in lab.engine.read("node1").links}
    for one in lab.cluster.pods_of("node1"):
        assert names[host_end(one)] == "ee:ee:ee:ee:ee:ee"


@pytest.mark.case("H01")
def test_a_pod_asks_for_a_next_hop_that_nobody_has(lab: Any) -> None:
    one, run = pod(lab, "node1"), lab.namespaces.run
    assert "default via 169.254.1.1 dev eth0" in run(one.name, ["ip", "route"]).stdout
    assert "default via fe80::ecee:eeff:feee:eeee dev eth0" in run(one.name, ["ip", "-6", "route"]).stdout
    wanted = {"proxy_arp": "1", "route_localnet": "1", "rp_filter": "0"}
    keys = [f"net.ipv4.conf.{host_end(one)}.{key}" for key in wanted]
    keys.append(f"net.ipv4.neigh.{host_end(one)}.proxy_delay")
    assert run("node1", ["sysctl", "-n", *keys]).stdout.split() == [*wanted.values(), "0"]
    assert ping(lab, one.name, of(lab.cluster.node("node1").addresses, 4))
    assert "lladdr ee:ee:ee:ee:ee:ee" in run(one.name, ["ip", "neigh", "show", "169.254.1.1"]).stdout


@pytest.mark.case("H02", "H03")
@FAMILIES
def test_policy_routing_in_the_order_of_the_tables(lab: Any, version: int) -> None:
    """Local pods first, then what goes into the overlay, then what is marked, then by the sender's subnet."""
    run, six = lab.namespaces.run, f"-{version}"
    rules = run("node1", ["ip", six, "rule"]).stdout.splitlines()
    tables = [line.rpartition("lookup ")[2].strip() for line in rules]
    first = [tables.index(name) for name in ("39999", "40000", "40001")]
    by_subnet = [at for at, line in enumerate(rules) if "from all" not in line]
    assert first == sorted(first) and by_subnet and first[-1] < min(by_subnet)
    assert "fwmark 0x20/0x20" in rules[first[-1]]
    local = {line.strip() for line in run("node1", ["ip", six, "route", "show", "table", "39999"]).stdout.splitlines()}
    for one in lab.cluster.pods_of("node1"):
        assert any(line.startswith(f"{of(one.addresses, version)} dev {host_end(one)}") for line in local), local
    assert len([line for line in local if "dev hybr" in line]) == len(lab.cluster.pods_of("node1"))
    into = run("node1", ["ip", six, "route", "show", "table", "40000"]).stdout
    subnet = next(pool.cidr for pool in lab.cluster.pools if pool.family == version)
    assert f"{subnet} dev eth0.vxlan4" in into
