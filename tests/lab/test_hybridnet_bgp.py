"""hybridnet BGP and GlobalBGP with real FRR: what the switch learned, who learned nothing, and the way through it."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from ipaddress import ip_interface
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wire
from tests.lab.frames import Stream, captured, ends, having, ping, unanswered
from tests.lab.pods import of, pod

FAMILIES = pytest.mark.parametrize("version", [4, 6])


@pytest.fixture(scope="module", params=["bgp", "globalbgp"])
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    folder = Path(tmp_path_factory.mktemp("lab"))
    with Lab(plan(preset("tor"), "hybridnet", request.param, features()), folder) as lab:
        lab.up()
        yield lab


def pool(lab: Any, version: int) -> str:
    return next(one.cidr for one in lab.cluster.pools if one.family == version)


def router_mac(lab: Any) -> str:
    return next(str(link.mac) for link in lab.engine.read("tor").links if link.name == "eth0")


def learned(lab: Any, netns: str, version: int) -> set[str]:
    """The routes that BGP put into a namespace's kernel."""
    found = lab.engine.read(netns, daemons=True).routes
    return {route.dst for route in found if route.proto == 186 and (":" in route.dst) == (version == 6)}


@FAMILIES
def test_every_pod_reaches_every_pod_and_the_outside(lab: Any, version: int) -> None:
    targets = [of(one.addresses, version) for one in (*lab.cluster.pods, *lab.cluster.nodes)]
    targets.append(of(lab.spec.client.addresses, version))
    pairs = [(one.name, target) for one in lab.cluster.pods for target in targets if target not in one.addresses]
    assert unanswered(lab, pairs) == []


@pytest.mark.case("H11")
@FAMILIES
def test_the_switch_learned_each_pod_and_the_nodes_learned_nothing(lab: Any, version: int) -> None:
    host = "/32" if version == 4 else "/128"
    pods = {of(one.addresses, version) + host for one in lab.cluster.pods}
    assert learned(lab, "tor", version) == pods | ({pool(lab, version)} if lab.mode == "bgp" else set())
    for node in lab.cluster.nodes:
        assert learned(lab, node.name, version) == set()


@pytest.mark.case("H11")
@FAMILIES
def test_host_routes_stay_on_the_switch_in_bgp_and_may_go_on_in_globalbgp(lab: Any, version: int) -> None:
    one = pod(lab, "node1")
    family, host = ("ipv4", "/32") if version == 4 else ("ipv6", "/128")
    path = lab.routers.show("tor", f"show bgp {family} unicast {of(one.addresses, version)}{host} json")["paths"][0]
    communities = path.get("community", {}).get("list", [])
    assert communities == (["noExport"] if lab.mode == "bgp" else [])
    assert (path["aspath"]["string"], path["origin"]) == ("100", "IGP")


@pytest.mark.case("H11")
@FAMILIES
def test_the_way_to_another_node_is_through_the_switch_without_a_tunnel(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1"), pod(lab, "node3")
    there = ends(of(a.addresses, version), of(b.addresses, version))
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    near, far = (lab.cluster.node(name).mac for name in ("node1", "node3"))
    assert having(frames, f"Ethernet {near} > {router_mac(lab)}", there, device="node1")
    assert having(frames, f"Ethernet {router_mac(lab)} > {far}", there, device="node3")
    assert having(frames, f"Ethernet {near} > {far}", there) == [], "past the switch"
    assert wire.faults(frames, wire.plain) == []


@FAMILIES
def test_on_one_node_nothing_goes_out(lab: Any, version: int) -> None:
    a, b = pod(lab, "node1"), pod(lab, "node1", 1)
    with captured(lab, "s1") as frames:
        assert ping(lab, a.name, of(b.addresses, version))
    assert having(frames, ends(of(a.addresses, version), of(b.addresses, version))) == []


@pytest.mark.case("H08")
@FAMILIES
def test_pods_meet_the_outside_with_their_own_address(lab: Any, version: int) -> None:
    client, own = of(lab.spec.client.addresses, version), of(pod(lab, "node2").addresses, version)
    for source, target, there in ((pod(lab, "node2").name, client, (own, client)), ("client", own, (client, own))):
        with captured(lab, "client", pod(lab, "node2").name) as frames:
            assert ping(lab, source, target)
        receiver = "client" if source != "client" else pod(lab, "node2").name
        assert having((frame for frame in frames if frame.netns == receiver), ends(*there))


@pytest.mark.case("H10")
@FAMILIES
def test_what_nobody_has_does_not_go_round(lab: Any, version: int) -> None:
    """In BGP mode the switch sends it to some node of the subnet, which drops it in FORWARD (the loop guard); in
    GlobalBGP no route leads there, and the switch's own default would."""
    nobody = str(ip_interface(pool(lab, version)).network[250])
    client = of(lab.spec.client.addresses, version)
    nodes = [node.name for node in lab.cluster.nodes]
    with captured(lab, *nodes) as frames:
        assert not ping(lab, "client", nobody, timeout_s=0.5)
    there = ends(client, nobody)
    came = having((frame for frame in frames if not frame.outgoing), there, device="eth0")
    assert len(came) == (1 if lab.mode == "bgp" else 0)
    assert having((frame for frame in frames if frame.outgoing), there) == []


@pytest.mark.case("H11", "H13", "GR-11")
@FAMILIES
def test_a_speaker_that_dies_leaves_its_routes_to_the_switch(lab: Any, version: int) -> None:
    """Graceful restart (RFC 4724), always on in hybridnet: forwarding goes on for 300 s without the node's speaker."""
    target, before = of(pod(lab, "node2").addresses, version), learned(lab, "tor", version)
    with Stream(lab, "client", target) as stream:
        lab.routers.kill("node2")
        await_session(lab, "node2", version, up=False)
        assert learned(lab, "tor", version) == before
        lab.routers.revive("node2")
        await_session(lab, "node2", version, up=True)
    assert stream.lost == []
    assert learned(lab, "tor", version) == before


def await_session(lab: Any, node: str, version: int, *, up: bool, deadline_s: float = 20.0) -> None:
    """Until the switch's session with a node is established, or is not."""
    peer, end = of(lab.cluster.node(node).addresses, version), time.monotonic() + deadline_s
    while True:
        state = lab.routers.show("tor", "show bgp summary json")[f"ipv{version}Unicast"]["peers"][peer]["state"]
        if (state == "Established") == up:
            return
        assert time.monotonic() < end, f"the session with {node} is {state} after {deadline_s:g} s"
        time.sleep(0.05)  # FRR announces no state to us


@pytest.mark.case("H11")
def test_a_pod_that_goes_takes_its_host_route_along(lab: Any) -> None:
    import json

    spec = json.loads(lab.spec.model_dump_json())
    spec["nodes"][2]["pods"] = 1
    gone = pod(lab, "node3", 1)
    lab.change(json.dumps(spec), "hybridnet", lab.mode)
    assert of(gone.addresses, 4) + "/32" not in learned(lab, "tor", 4)
    assert of(pod(lab, "node3").addresses, 4) + "/32" in learned(lab, "tor", 4)


@pytest.mark.parametrize("mode", ["bgp", "globalbgp"])
def test_two_racks_with_a_spine(mode: str, make_lab: Callable[..., Any]) -> None:
    """NO_EXPORT keeps host routes below each ToR; without it they go everywhere. Either way pods meet, untunnelled."""
    lab = make_lab("hybridnet", mode, "leaf-spine")
    client, far = lab.spec.client.addresses, pod(lab, "node4")
    for version in (4, 6):
        pairs = [(a.name, of(b.addresses, version)) for a in lab.cluster.pods for b in lab.cluster.pods if a != b]
        pairs += [("client", of(one.addresses, version)) for one in lab.cluster.pods]
        assert unanswered(lab, pairs) == []
        subnets = {one.cidr for one in lab.cluster.pools if one.family == version}
        hosts = {of(one.addresses, version) + ("/32" if version == 4 else "/128") for one in lab.cluster.pods}
        assert learned(lab, "spine", version) == (subnets if mode == "bgp" else hosts)
        with captured(lab, "spine", "client") as frames:
            assert ping(lab, pod(lab, "node1").name, of(far.addresses, version))
            assert ping(lab, far.name, of(client, version))
        there = ends(of(pod(lab, "node1").addresses, version), of(far.addresses, version))
        assert having(frames, there, device="eth0") and having(frames, there, device="eth1"), "not by the spine"
        assert wire.faults(frames, wire.plain) == []
        assert having((f for f in frames if f.netns == "client"), ends(of(far.addresses, version), of(client, version)))


def test_the_documented_path_is_the_one_taken(lab: Any) -> None:
    from paths.verify import verify

    found = verify(lab)
    assert found and [one.to_json() for one in found if not one.agrees] == []
