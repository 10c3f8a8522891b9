"""macvlan in bridge mode by itself (ip-link(8), drivers/net/macvlan.c): who reaches whom, and with which MAC."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, layers, ping
from tests.lab.pods import of

FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    with Lab(plan(preset("flat"), "macvlan", "bridge", features()), tmp_path_factory.mktemp("lab")) as lab:
        lab.up()
        yield lab


def test_documented_paths(lab: Any) -> None:
    check_documented(lab)


@FAMILIES
def test_pods_reach_all_but_their_own_node(lab: Any, version: int) -> None:
    """The truth table of bridge mode: siblings yes, parent no, everybody on the wire yes."""
    wire = [lab.spec.client.addresses, lab.spec.router.ports[0].addresses]
    for pod in lab.cluster.pods:
        reached = {one.name: ping(lab, pod.name, of(one.addresses, version)) for one in lab.cluster.pods}
        assert None not in reached.values(), f"{pod.name}: {reached}"
        assert all(ping(lab, pod.name, of(addresses, version)) for addresses in wire)
        for node in lab.cluster.nodes:
            own = node.name == pod.node
            answered = ping(lab, pod.name, of(node.addresses, version), timeout_s=0.15 if own else 2.0)
            assert (answered is None) == own, f"{pod.name} and {node.name}"


def test_a_node_does_not_reach_its_own_pods_and_reaches_others(lab: Any) -> None:
    pod = lab.cluster.pods_of("node1")[0]
    assert ping(lab, "node1", pod.addresses[0], timeout_s=0.15) is None
    assert ping(lab, "node2", pod.addresses[0]) and ping(lab, "client", pod.addresses[0])


@FAMILIES
def test_the_wire_sees_the_pods_own_mac_and_address(lab: Any, version: int) -> None:
    a, b = lab.cluster.pods_of("node1")[0], lab.cluster.pods_of("node3")[0]
    pair = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    assert having(frames, f"Ethernet {a.mac} > {b.mac}", pair)
    assert {one[0] for one in having(frames, pair)} == {f"Ethernet {a.mac} > {b.mac}"}


def test_siblings_talk_inside_the_node(lab: Any) -> None:
    """The parent sees the frame come in, for its taps' sake (macvlan_queue_xmit), and the wire never."""
    a, b = lab.cluster.pods_of("node1")
    with captured(lab, "node1", "s1", a.name, b.name) as frames:
        assert ping(lab, a.name, b.addresses[0])
    seen = [one for one in frames if ends(a.addresses[0], b.addresses[0]) in layers(one.raw)]
    assert sorted((one.netns, one.device, one.outgoing) for one in seen) == [
        ("node1", "eth0", False),
        (a.name, "eth0", True),
        (b.name, "eth0", False),
    ]


@FAMILIES
def test_a_new_pod_tells_the_network(lab: Any, version: int) -> None:
    """Gratuitous ARP or an unsolicited advertisement, from the pod's MAC, to everybody on the wire."""
    more = lab.spec.model_copy(update={"pods_per_node": 2 + version})
    with captured(lab, "s2") as frames:
        lab.change(more.model_dump_json(), lab.plugin, lab.mode)
    new = lab.cluster.pods_of("node1")[-1]
    told = f"{'ARP' if version == 4 else 'NDP'} tells {of(new.addresses, version)}"
    assert {one[0].partition(" > ")[0] for one in having(frames, told)} == {f"Ethernet {new.mac}"}


def test_a_second_apply_finds_nothing_to_do(lab: Any) -> None:
    report = lab.engine.apply(lab.state)
    assert (report.made, report.removed) == (0, 0)
    assert lab.engine.plan(lab.state) == []
