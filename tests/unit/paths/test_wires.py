"""Recorded frames into one way: the same devices that the documents name, copies aside."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from paths.documented import document
from paths.model import Hop, Sighting
from paths.observe import Observation
from paths.verify import diverges
from paths.wires import Wires
from tests.unit.paths.recorded import NAMES, header, observation, planned

WHOLE = [name for name in NAMES if header(name)["answered"]]


def ways(name: str, seen: Observation | None = None) -> dict[str, tuple[Sighting, ...]]:
    found, _ = (seen or observation(name)).ways(Wires(planned(name).state))
    return {part: way.path for part, way in found.items()}


def places(path: tuple[Sighting, ...]) -> list[str]:
    return [f"{one.place} {one.direction}" for one in path]


@pytest.mark.parametrize("name", WHOLE)
def test_a_recorded_way_is_the_documented_one(name: str) -> None:
    data, cluster = header(name), planned(name).cluster
    plugin, _, mode = data["mode"].partition("-")
    pods = {pod.name: pod for pod in cluster.pods}
    a, b = pods[data["source"]], pods[data["target"]]
    kinds = [k for k in document(plugin, mode) if k.startswith("same-node") == (a.node == b.node)]
    found = ways(name)
    for source, target, path in ((a, b, found["probe"]), (b, a, found["answer"])):
        roles = {"source": source.name, "near": source.node, "far": target.node, "target": target.name}
        hops = [Hop(one, "") for one in path]
        wrong = [diverges([replace(s, table=None) for s in document(plugin, mode)[k]], roles, hops) for k in kinds]
        assert ("", "") in wrong, wrong


@pytest.mark.parametrize("name", WHOLE)
def test_the_answer_comes_back_the_same_way(name: str) -> None:
    found = ways(name)
    assert [one.place for one in found["probe"]] == [one.place for one in reversed(found["answer"])]


@pytest.mark.parametrize("name", NAMES)
def test_captures_read_in_another_order_give_the_same_way(name: str) -> None:
    """Frames of one namespace come in their order; in which order the namespaces' are read is chance."""
    seen = observation(name)
    names = list(dict.fromkeys(frame.netns for frame in seen.frames))
    random.Random(1).shuffle(names)
    shuffled = [frame for name in names for frame in seen.frames if frame.netns == name]
    assert ways(name, replace(seen, frames=shuffled)) == ways(name)


def test_stamps_of_two_processors_may_swap_the_ends_of_a_link() -> None:
    name = "hybridnet-vxlan-cross-node"
    seen = observation(name)
    late = [
        replace(frame, time_ns=frame.time_ns + 20_000) if (frame.netns, frame.outgoing) == ("s1", True) else frame
        for frame in seen.frames
    ]
    assert places(ways(name, replace(seen, frames=late))["probe"]) == places(ways(name)["probe"])


def test_a_flooded_copy_is_not_the_way() -> None:
    """The port towards node2 is down: the switch floods to the router, and the packet's way ends at the switch."""
    name = "calico-bgp-port-down"
    found, _ = observation(name).ways(Wires(planned(name).state))
    assert places(found["probe"].path)[-1] == "s1:node1 in"
    assert {one.place for one in found["probe"].copies} == {"s1:gw", "gw:eth0"}


def test_an_icmp_error_has_a_way_of_its_own() -> None:
    found = ways("hybridnet-vxlan-too-long")
    assert places(found["probe"])[-1].startswith("node1:hybr")
    assert places(found["error"])[0].startswith("node1:hybr") and places(found["error"])[-1] == "pod1:eth0 in"
    assert found["error"][0].packet.layers[-1].more == {
        "type": 3,
        "code": 4,
        "error": "fragmentation needed",
        "mtu": 1300,
        "about": "10.244.0.1 > 10.244.0.65",
    }


def test_who_is_behind_a_switch_port() -> None:
    plan = planned("bifrost-macvlan-cross-node")
    wires = Wires(plan.state)
    for pod in plan.cluster.pods:
        port = next(
            (s.name, port)
            for s in plan.spec.switches
            if (port := wires.towards(s.name, pod.mac)) in (pod.node, "s1", "s2")
        )
        assert port[1], pod
    node = next(pod for pod in plan.cluster.pods if pod.name == "pod4").node
    ours = next(spec.switch for spec in plan.spec.nodes if spec.name == node)
    pod4 = next(pod for pod in plan.cluster.pods if pod.name == "pod4")
    assert wires.towards(ours, pod4.mac) == node, "a macvlan's MAC is behind its node's port"
    assert wires.towards(ours, "02:ff:ff:ff:ff:ff") is None
