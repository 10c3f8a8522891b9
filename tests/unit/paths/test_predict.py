"""Predicted ways: of every mode as the documents have them, of recorded traces as they were seen, of broken states."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from cluster.lab import Plan
from cluster.model import host_veth
from kernel.errors import BadInput
from kernel.state import Netns, State
from paths.documented import Stage, ways
from paths.kinds import End, pair
from paths.model import Hop, Step
from paths.observe import addresses_of
from paths.observe import ends as observed_ends
from paths.parting import parting
from paths.predict import Prediction, Predictor
from paths.verify import _fitting, diverges
from paths.wires import Wires
from plugins.registry import MODES
from tests.unit.paths.made import address, made, seen
from tests.unit.paths.recorded import NAMES, header, observation, planned


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", MODES)
def test_the_documented_paths_of_every_mode_are_predicted(name: str, family: int) -> None:
    one = made(name)
    predictor = Predictor(one.state, one.wanted.routers)
    plugin, _, which = name.partition("-")
    for kind, way in ways(plugin, which).items():
        if (ends := pair(one.cluster, kind, family)) is None:
            continue
        a, b = ends
        target = address(one, b.name, family)
        out = predictor.way(a.name, None, target)
        back = predictor.answer(out, b.name, target)
        follows(one, out, way.out, a, b, family)
        assert bool(out.lost or back.lost) == (way.out[-1].lost or way.back[-1].lost), (kind, out.lost, back.lost)
        if not way.out[-1].lost:
            follows(one, back, way.back, b, a, family)


@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("name", ["pod1", "node1"])
def test_a_probe_to_oneself_is_on_the_loopback_device_only(name: str, family: int) -> None:
    one = made("hybridnet-vxlan")
    own = address(one, name, family)
    predictor = Predictor(one.state, one.wanted.routers)
    out = predictor.way(name, own, own)
    for found in (out, predictor.answer(out, name, own)):
        assert [(step.netns, step.device, step.direction) for step in found.steps] == [(name, "lo", "in")]
        assert not found.lost and parting("out", found.steps, [seen(step) for step in found.steps]) is None


@pytest.mark.parametrize("target", ["127.0.0.1", "::1", "0.0.0.0"])
def test_an_address_that_never_leaves_a_host_is_no_target(target: str) -> None:
    with pytest.raises(BadInput, match="never leaves a host"):
        observed_ends(made("hybridnet-vxlan").state, "pod1", target, 4)


def follows(one: Plan, found: Prediction, path: tuple[Stage, ...], a: End, b: End, family: int) -> None:
    """The prediction is the documented path from `a` to `b`."""
    roles = {"source": a.name, "near": a.node, "far": b.node, "target": b.name}
    stages = _fitting(one.cluster, path, a, b, family)
    hops = [seen(step, next((str(stage.port) for stage in path if stage.port), "")) for step in found.steps]
    assert diverges(stages, roles, hops, addresses_of(one.state)) == ("", ""), (a, b, found.steps)


@pytest.mark.parametrize("name", [name for name in NAMES if header(name)["answered"]])
def test_recorded_ways_are_as_predicted(name: str) -> None:
    one, data = planned(name), header(name)
    predictor = Predictor(one.state, one.wanted.routers)
    source, target = data["addresses"]
    found, _ = observation(name).ways(Wires(one.state))
    out = predictor.way(data["source"], source, target)
    back = predictor.answer(out, data["owner"], target)
    assert parting("out", out.steps, [Hop(one, "") for one in found["probe"].path]) is None
    assert parting("back", back.steps, [Hop(one, "") for one in found["answer"].path]) is None


def test_recorded_losses_part_where_it_was_broken() -> None:
    name = "calico-bgp-port-down"
    one = planned(name)
    out = Predictor(one.state, one.wanted.routers).way("pod1", "10.244.0.1", "10.244.0.65")
    found, _ = observation(name).ways(Wires(one.state))
    wrong = parting("out", out.steps, [Hop(one, "") for one in found["probe"].path])
    assert wrong and (wrong.expected, wrong.observed) == ("s1:node2 out, 10.244.0.1 > 10.244.0.65", "nothing more")


def test_what_makes_two_ways_part() -> None:
    steps = (Step("node1", "eth0", "out", tag=10, table=254), Step("s1", "node1", "in"))
    good = [seen(step) for step in steps]
    assert parting("out", steps, good) is None
    other_table = parting("out", steps, [replace(good[0], table=40000), good[1]])
    untagged = parting("out", steps, [seen(replace(steps[0], tag=None)), good[1]])
    tunnelled = parting("out", steps, [good[0], seen(replace(steps[1], tunnel="IPIP"))])
    longer = parting("out", steps, [*good, good[0]], "gw has no way to it")
    assert [one and one.number for one in (other_table, untagged, tunnelled, longer)] == [0, 0, 1, 2]
    assert longer and longer.expected == "gw has no way to it"


# -- what is not there, and what is too much --------------------------------------------------------------


def without(one: Plan, netns: str, part: str, gone: Any) -> Predictor:
    """The state without those objects of one namespace for which `gone` is true."""
    kept = tuple(item for item in getattr(one.state[netns], part) if not gone(item))
    assert len(kept) < len(getattr(one.state[netns], part)), "nothing was taken away"
    return Predictor(changed(one.state, netns, **{part: kept}), one.wanted.routers)


def changed(state: State, netns: str, **parts: Any) -> State:
    def of(ns: Netns) -> Netns:
        return replace(ns, **parts) if ns.name == netns else ns

    return State(tuple(of(ns) for ns in state.namespaces))


def to_pod3(predictor: Predictor, family: int = 4) -> Prediction:
    ends = ("10.244.0.1", "10.244.0.65") if family == 4 else ("fd00:10:244::1", "fd00:10:244::41")
    return predictor.way("pod1", *ends)


def test_without_a_rule_another_one_leads_astray() -> None:
    one = made("hybridnet-vxlan")
    far = to_pod3(without(one, "node2", "rules", lambda rule: rule.table == 39999))
    assert far.steps[-1].place == "node2:eth0.vxlan4" and "nobody answers there for 10.244.0.65" in far.lost
    near = to_pod3(without(one, "node1", "rules", lambda rule: rule.table == 40000))
    assert near.steps[-1].place == "gw:eth0" and near.lost.startswith("gw has no way to 10.244.0.65")
    assert near.src == "192.168.1.1", "what is not for the tunnel is masqueraded"


def test_without_a_forwarding_entry() -> None:
    one = made("hybridnet-vxlan")
    mac = one.cluster.node("node2").mac
    rest = to_pod3(without(one, "node1", "fdb", lambda entry: entry.dst == "192.168.1.2"))
    assert rest.steps[-1].place == "node1:eth0.vxlan4" and "no entry" in rest.lost
    flooded = to_pod3(without(one, "node1", "fdb", lambda entry: entry.mac == mac))
    assert not flooded.lost, "the entry for every MAC still floods"


def test_bgp_brings_the_routes_and_without_a_session_does_not() -> None:
    one = made("calico-bgp")
    assert to_pod3(Predictor(one.state, one.wanted.routers)).steps[2].why == (
        "table main: 10.244.0.64/26 via 192.168.1.2 dev eth0"
    )
    alone = tuple(router for router in one.wanted.routers if router.netns != "node2")
    lost = to_pod3(Predictor(one.state, alone))
    assert lost.lost == "gw has no way to 10.244.0.65: Network is unreachable"


@pytest.mark.parametrize("name", ["calico-bgp", "hybridnet-bgp", "hybridnet-globalbgp"])
@pytest.mark.parametrize("topology", ["default", "two-rack", "route-reflectors", "leaf-spine", "tor"])
def test_bgp_brings_what_each_router_expects(name: str, topology: str) -> None:
    """`expects` is what bgp.converge waits for on real labs; here it comes out of the announcements alone."""
    from kernel.errors import BadInput
    from paths.learned import with_learned

    try:
        one = made(name, topology)
    except BadInput:
        return  # the mode and the topology do not fit
    state = with_learned(one.state, one.wanted.routers)
    for router in one.wanted.routers:
        learned = {route.dst for route in state[router.netns].routes if route.proto == 186}
        assert learned == set(router.expects), router.netns


def test_routes_that_end_a_packet() -> None:
    one = made("calico-bgp")
    hole = without(one, "node2", "routes", lambda route: route.dst == "10.244.0.65/32")
    assert to_pod3(hole).lost == "node2 has no way to 10.244.0.65: table main: blackhole 10.244.0.64/26"


def test_forwarding_proxy_arp_and_filters() -> None:
    one = made("calico-bgp")
    cali = host_veth("cali", "default", "pod1")
    deaf = without(one, "node1", "sysctls", lambda item: item.key == f"net.ipv4.conf.{cali}.proxy_arp")
    assert "nobody answers there for 169.254.1.1" in to_pod3(deaf).lost
    still = without(one, "node1", "sysctls", lambda item: "forward" in item.key)
    assert to_pod3(still).lost == "node1 does not forward"
    rules = (replace(one.state["node2"].filters[0], table="filter", chain="FORWARD", args=("-j", "DROP")),)
    closed = Predictor(changed(one.state, "node2", filters=rules), one.wanted.routers)
    assert to_pod3(closed).lost == "the firewall of node2 drops it: -A FORWARD -j DROP"


def test_a_switch_port_outside_the_vlan() -> None:
    one = made("bifrost-macvlan")
    ends = address(one, "pod1", 4), address(one, "pod4", 4)
    whole = Predictor(one.state).way("pod1", *ends)
    assert not whole.lost and {step.tag for step in whole.steps if step.netns == "s1"} == {10}
    closed = without(one, "s1", "port_vlans", lambda item: (item.dev, item.vid) == ("node2", 10)).way("pod1", *ends)
    assert f"nobody answers there for {ends[1]}" in closed.lost


def test_a_pod_to_the_outside_and_back() -> None:
    """hybridnet VXLAN masquerades; the answer finds the pod again."""
    one = made("hybridnet-vxlan")
    predictor = Predictor(one.state)
    out = predictor.way("pod1", "10.244.0.1", "203.0.113.10")
    assert not out.lost and (out.src, out.translations) == ("192.168.1.1", (("node1", "192.168.1.1", "10.244.0.1"),))
    back = predictor.answer(out, "client", "203.0.113.10")
    assert not back.lost and back.steps[-1].place == "pod1:eth0"
    assert [step.place for step in back.steps][::-1] == [step.place for step in out.steps]
