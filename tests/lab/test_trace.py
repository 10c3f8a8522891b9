"""Traces on a real kernel: whole paths of both modes, and broken ones that must end in their place and reason."""

from __future__ import annotations

import json
import shlex
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from cluster.model import host_veth
from kernel.firewall import backend
from paths.trace import trace

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "paths/trace.schema.json").read_text())
MODES = ("hybridnet-vxlan", "calico-bgp")
VXLAN = "eth0.vxlan4"
LONG = 1350
"""Payload bytes of a probe that fits every pod's MTU, and no wrong one of 1300."""
NARROW = 1300
LOST_S = 0.5
"""How long a probe that cannot come back is waited for, seconds."""


@pytest.fixture(scope="module", params=MODES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    wanted = plan(preset("one-switch"), *request.param.split("-"), features())
    with Lab(wanted, tmp_path_factory.mktemp("lab")) as lab:
        lab.up()
        yield lab


def end(lab: Any, pod: str) -> str:
    """The host end of a pod's veth."""
    return host_veth({"hybridnet": "hybr", "calico": "cali"}[lab.plugin], "default", pod)


def places(hops: Sequence[Any]) -> list[str]:
    return [f"{hop.seen.place} {hop.seen.direction}" for hop in hops]


def path(lab: Any, target: str) -> list[str]:
    """The way from pod1 to pod2 (same node) or pod3 (cross node) as both modes document it."""
    near = ["pod1:eth0 out", f"node1:{end(lab, 'pod1')} in"]
    far = [f"node{1 if target == 'pod2' else 2}:{end(lab, target)} out", f"{target}:eth0 in"]
    tunnel = lab.plugin == "hybridnet"
    wire = [f"node1:{VXLAN} out"] if tunnel else []
    wire += ["node1:eth0 out", "s1:node1 in", "s1:node2 out", "node2:eth0 in"]
    wire += [f"node2:{VXLAN} in"] if tunnel else []
    return near + ([] if target == "pod2" else wire) + far


@pytest.mark.parametrize("probe", ["icmp", "udp", "tcp"])
@pytest.mark.parametrize("family", [4, 6])
@pytest.mark.parametrize("target", ["pod2", "pod3"])
def test_whole_paths(lab: Any, target: str, family: int, probe: str) -> None:
    seen = trace(lab, "pod1", target, probe=probe, family=family)
    assert (seen.disposition, seen.place, seen.reason, seen.differences) == ("replied", "", "", ())
    assert places(seen.forward) == path(lab, target)
    assert seen.parting is None, "not as the wanted state predicts"
    assert [f"{step.place} {step.direction}" for step in seen.expected] == path(lab, target)
    swapped = {"in": "out", "out": "in"}
    back = [f"{hop.seen.place} {swapped[hop.seen.direction]}" for hop in reversed(seen.back)]
    assert back == path(lab, target), "the answer came another way"
    assert seen.rtt_us and seen.rtt_us > 0
    told = json.loads(json.dumps(seen.to_json()))
    jsonschema.validate(told, SCHEMA)
    times = [hop["at_us"] for hop in told["forward"] + told["return"]]
    assert times[0] == 0 and times == sorted(times), "not in the order of time"


def test_each_device_says_why(lab: Any) -> None:
    """Rule, table, neighbour, FDB entry, encapsulation and its bytes."""
    hops = {hop.seen.place: hop for hop in trace(lab, "pod1", "pod3").forward}
    node1, node2 = (lab.cluster.node(name) for name in ("node1", "node2"))
    out, local = hops["node1:eth0"], hops[f"node2:{end(lab, 'pod3')}"]
    assert any(node2.mac in why for why in out.why), "the MAC of the next hop"
    assert f"neighbour 10.244.0.65 is {lab.cluster.pods[2].mac}" in " ".join(local.why)
    assert hops["s1:node2"].action == "bridged" and f"FDB {node2.mac} dev node2" in hops["s1:node2"].why
    if lab.plugin == "hybridnet":
        assert (hops[f"node1:{VXLAN}"].rule, hops[f"node1:{VXLAN}"].table) == (2, 40000)
        assert (local.rule, local.table) == (1, 39999)
        assert out.action == "encapsulated" and out.seen.length == hops[f"node1:{VXLAN}"].seen.length + 50
        assert f"FDB {node2.mac} dst 192.168.1.2" in out.why
        assert hops[f"node2:{VXLAN}"].action == "decapsulated"
        tunnel = out.seen.packet.tunnel
        assert tunnel and tunnel.more["vni"] == 4 and out.seen.packet.udp and out.seen.packet.udp.dst == "8472"
    else:
        assert out.why[0] == "table main: 10.244.0.64/26 via 192.168.1.2 dev eth0", "the route that BGP brought"
        assert all(hop.seen.packet.tunnel is None for hop in hops.values())
    assert {hop.seen.packet.ethernet.src for hop in (out, hops["s1:node1"])} == {node1.mac}


def test_a_probe_to_oneself_and_to_the_node(lab: Any) -> None:
    assert trace(lab, "pod1", "pod1").delivered
    assert places(trace(lab, "node1", "pod1").forward) == [f"node1:{end(lab, 'pod1')} out", "pod1:eth0 in"]
    assert places(trace(lab, "pod1", "node1").forward) == ["pod1:eth0 out", f"node1:{end(lab, 'pod1')} in"]


def test_a_healthy_lab_differs_nowhere(lab: Any) -> None:
    from paths.differences import differences

    assert differences(lab, lab.state.names) == ()


# -- broken paths -----------------------------------------------------------------------------------------

Commands = Sequence[tuple[str, str]]


@dataclass(frozen=True)
class Break:
    """Commands (namespace, command) that break the path from pod1 to `target`; `undo` what repair does not. {1} is
    pod1's host end, {3} is pod3's, {mac} is node2's, {table} has the local pods. `differs` is in the hint. Of two
    places (A|B) it is the second until the kernel has noticed that the other end is down (linkwatch, up to 1 s)."""

    name: str
    commands: Commands
    place: str
    words: tuple[str, ...]
    differs: str = ""
    undo: Commands = ()
    modes: tuple[str, ...] = MODES
    disposition: str = "dropped"
    options: dict[str, Any] = field(default_factory=dict)


def narrow(netns: str, device: str) -> Commands:
    return ((netns, f"ip link set {device} mtu {NARROW}"),)


def firewall(netns: str, rule: str, tool: str = "iptables") -> dict[str, Commands]:
    return {"commands": ((netns, f"{tool}-{{kind}} -I {rule}"),), "undo": ((netns, f"{tool}-{{kind}} -D {rule}"),)}


HYBRIDNET, CALICO = MODES[:1], MODES[1:]
SIZE = {"size": LONG}
HOLE = "blackhole 10.244.0.65/32 table {table}"
ASTRAY = "10.244.0.1/32 dev {4} table {overlay}"
BREAKS = (
    # hybridnet's own objects
    Break(
        "FDB entry",
        (("node1", f"bridge fdb del {{mac}} dev {VXLAN} dst 192.168.1.2"), ("node1", "FLOOD")),
        f"node1:{VXLAN}",
        (f"{VXLAN} has no FDB entry for {{mac}}",),
        f"bridge fdb replace {{mac}} dev {VXLAN} dst 192.168.1.2",
        modes=HYBRIDNET,
    ),
    Break(
        "rule to 39999",
        (("node2", "ip rule del pref 1"),),
        f"node2:{VXLAN}",
        ("table 40000", "nobody answers", "10.244.0.65", "wanted is rule 1, table 39999"),
        "ip rule add pref 1 from all lookup 39999",
        modes=HYBRIDNET,
    ),
    Break(
        "rule to 40000",
        (("node1", "ip rule del pref 2"),),
        "gw:eth0",
        ("gw has no way to 10.244.0.65", "unreachable"),
        "node1: lacks `ip rule add pref 2 from all lookup 40000`",
        modes=HYBRIDNET,
    ),
    Break(
        "route to the overlay",
        (("node1", f"ip route del 10.244.0.0/16 dev {VXLAN} table 40000"),),
        "gw:eth0",
        ("gw has no way to 10.244.0.65", "unreachable"),
        f"node1: lacks `ip route replace 10.244.0.0/16 dev {VXLAN} table 40000`",
        modes=HYBRIDNET,
    ),
    Break(
        "proxy neighbour",
        (
            ("node2", f"ip neigh del proxy 10.244.0.65 dev {VXLAN}"),
            ("node1", "sysctl -qw net.ipv4.neigh.eth0/vxlan4.app_solicit=0"),
            ("node1", f"ip neigh flush dev {VXLAN}"),
        ),
        "node1:{1}",
        ("nobody answers", "10.244.0.65", f"ARP request was last seen at node2:{VXLAN}"),
        f"node2: lacks `ip neigh replace proxy 10.244.0.65 dev {VXLAN}`",
        modes=HYBRIDNET,
    ),
    Break(
        "MTU of the tunnel",
        narrow("node1", VXLAN),
        "node1:{1}",
        ("may not be fragmented", f"{VXLAN} takes 1300"),
        f"{VXLAN} has MTU 1300, not 1450",
        modes=HYBRIDNET,
        options=SIZE,
    ),
    Break(
        "tunnel device down, far end",
        (("node2", f"ip link set {VXLAN} down"),),
        "node2:eth0",
        ("no device there takes VXLAN with VNI 4 on UDP port 8472",),
        f"node2: {VXLAN} is down",
        modes=HYBRIDNET,
        undo=(("node2", f"ip link set {VXLAN} up"),),
    ),
    # calico's own objects
    Break(
        "proxy ARP",
        (("node1", "sysctl -qw net.ipv4.conf.{1}.proxy_arp=0"), ("pod1", "ip neigh flush all")),
        "pod1",
        ("nobody answers", "169.254.1.1", "ARP request was last seen at node1:{1}"),
        "proxy_arp=1",
        modes=CALICO,
    ),
    Break(
        "MTU of the NIC",
        narrow("node1", "eth0"),
        "node1:{1}",
        ("may not be fragmented", "eth0 takes 1300"),
        "node1: eth0 has MTU 1300, not 1500",
        modes=CALICO,
        options=SIZE,
    ),
    Break(
        "route to the pod: calico's block blackhole holds it",
        (("node2", "ip route del 10.244.0.65/32"),),
        "node2:eth0",
        ("a route ends it", "blackhole 10.244.0.64/26", "wanted is", "dev {3}"),
        "ip route replace 10.244.0.65/32 dev {3}",
        modes=CALICO,
    ),
    # what both have
    Break(
        "route to the pod",
        (("node2", "ip route del 10.244.0.65/32 table {table}"),),
        f"node2:{VXLAN}",
        ("table 40000", "nobody answers", "wanted is", "dev {3}"),
        "ip route replace 10.244.0.65/32 dev {3} table 39999",
        modes=HYBRIDNET,
    ),
    Break(
        "MTU of the pod",
        narrow("pod1", "eth0"),
        "pod1",
        ("Message too long", "eth0 takes 1300"),
        "pod1: eth0 has MTU 1300",
        options=SIZE,
    ),
    Break(
        "MTU of the host end",
        narrow("node2", "{3}"),
        "node2:{in}",
        ("may not be fragmented", "{3} takes 1300"),
        "node2: {3} has MTU 1300",
        options=SIZE,
    ),
    Break(
        "MTU of the target's end",
        narrow("pod3", "eth0"),
        "node2:{3}",
        ("pod3:eth0, takes 1300",),
        "pod3: eth0 has MTU 1300",
        options=SIZE,
    ),
    Break(
        "MTU of the far NIC",
        narrow("node2", "eth0"),
        "s1:node2",
        ("node2:eth0, takes 1300",),
        "node2: eth0 has MTU 1300, not 1500",
        options=SIZE,
    ),
    Break(
        "MTU of the switch's port, in",
        narrow("s1", "node1"),
        "node1:eth0",
        ("s1:node1, takes 1300",),
        "s1: node1 has MTU 1300, not 1500",
        options=SIZE,
    ),
    Break(
        "MTU of the switch's port, out",
        narrow("s1", "node2"),
        "s1:node1",
        ("port node2 of s1 takes 1300",),
        "s1: node2 has MTU 1300, not 1500",
        modes=CALICO,
        options=SIZE,
    ),
    Break(
        "the switch's port down",
        (("s1", "ip link set node2 down"),),
        "s1:node1",
        ("port node2 of s1", "is down"),
        "s1: node2 is down",
        modes=HYBRIDNET,
        undo=(("s1", "ip link set node2 up"),),
    ),
    Break(
        "pod's link down",
        (("pod1", "ip link set eth0 down"),),
        "pod1",
        ("eth0, by which it should leave, is down",),
        "pod1: eth0 is down",
        undo=(("pod1", "ip link set eth0 up"),),
    ),
    Break(
        "target's link down",
        (("pod3", "ip link set eth0 down"),),
        "node2:{in}|node2:{3}",
        ("the other end of {3}, pod3:eth0, is down",),
        "pod3: eth0 is down",
        undo=(("pod3", "ip link set eth0 up"),),
    ),
    Break(
        "host end down",
        (("node2", "ip link set {3} down"),),
        "node2:{in}",
        ("{3}, by which it should leave, is down",),
        "node2: {3} is down",
        undo=(("node2", "ip link set {3} up"),),
    ),
    Break(
        "forwarding off",
        (("node1", "sysctl -qw net.ipv4.ip_forward=0"),),
        "node1:{1}",
        ("node1 does not forward",),
        "net/ipv4/ip_forward=1",
    ),
    Break(
        "IPv6 forwarding off",
        (("node2", "sysctl -qw net.ipv6.conf.all.forwarding=0"),),
        "node2:{in}",
        ("node2 does not forward",),
        "net/ipv6/conf/all/forwarding=1",
        options={"family": 6},
    ),
    Break(
        "filter rule",
        **firewall("node2", "FORWARD -d 10.244.0.65 -j DROP"),
        place="node2:{in}",
        words=("the firewall of node2 drops it", "-A FORWARD -d 10.244.0.65/32 -j DROP"),
    ),
    Break(
        "filter rule on the way back",
        **firewall("node1", "FORWARD -d 10.244.0.1 -p tcp -j DROP"),
        place="node1:{in}",
        words=("the firewall of node1 drops it", "-p tcp -j DROP"),
        disposition="delivered",
        options={"probe": "tcp"},
    ),
    Break(
        "filter rule at the target",
        **firewall("pod3", "INPUT -p udp -j DROP"),
        place="pod3:eth0",
        words=("the firewall of pod3 drops it", "-A INPUT -p udp -j DROP"),
        disposition="delivered",
        options={"probe": "udp"},
    ),
    Break(
        "IPv6 filter rule",
        **firewall("node2", "FORWARD -p ipv6-icmp -j DROP", "ip6tables"),
        place="node2:{in}",
        words=("the firewall of node2 drops it", "-p ipv6-icmp -j DROP"),
        options={"family": 6},
    ),
    Break(
        "reverse-path filter",
        (("node2", "sysctl -qw net/ipv4/conf/{dev}/rp_filter=1"), ("node2", f"ip route add {ASTRAY}")),
        "node2:{in}",
        ("rp_filter is 1 on {in}", "10.244.0.1", "dev {4}", "IPReversePathFilter"),
        "has `ip route replace 10.244.0.1/32 dev {4}",
        undo=(("node2", "sysctl -qw net/ipv4/conf/{dev}/rp_filter=0"), ("node2", f"ip route del {ASTRAY}")),
    ),
    Break(
        "the source's default route",
        (("pod1", "ip route del default"),),
        "pod1",
        ("pod1 has no way to 10.244.0.65", "Network is unreachable"),
        "pod1: lacks `ip route replace 0.0.0.0/0",
    ),
    Break(
        "the target's default route",
        (("pod3", "ip route del default"),),
        "pod3:eth0",
        ("pod3 has no way back to 10.244.0.1", "Network is unreachable"),
        "pod3: lacks `ip route replace 0.0.0.0/0",
        disposition="delivered",
    ),
    Break(
        "blackhole",
        (("node1", f"ip route add {HOLE}"),),
        "node1:{1}",
        ("a route ends it", "blackhole 10.244.0.65/32"),
        "node1: has `ip route replace blackhole 10.244.0.65/32",
        undo=(("node1", f"ip route del {HOLE}"),),
    ),
    Break(
        "the target's address",
        (("pod3", "ip addr flush dev eth0"),),
        "pod3:eth0",
        ("pod3 does not have the address 10.244.0.65",),
        "pod3: lacks `ip addr add 10.244.0.65/",
        disposition="delivered",
    ),
    Break(
        "a node's NIC down",
        (("node2", "ip link set eth0 down"),),
        "s1:node1|s1:node2",
        ("the other end of node2, node2:eth0, is down",),
        "node2: eth0 is down",
        modes=HYBRIDNET,
        undo=(("node2", "ip link set eth0 up"),),
    ),
)


def filled(lab: Any) -> Callable[[str], str]:
    """Fills in the names that a Break leaves open."""
    hybridnet = lab.plugin == "hybridnet"
    names = {pod[-1]: end(lab, pod) for pod in ("pod1", "pod3", "pod4")}
    names |= {"mac": lab.cluster.node("node2").mac, "in": VXLAN if hybridnet else "eth0"}
    names |= {"table": "39999", "overlay": "40000"} if hybridnet else {"table": "main", "overlay": "main"}
    names |= {"dev": names["in"], "kind": backend()}

    def fill(text: str) -> str:
        for name, value in names.items():
            text = text.replace(f"{{{name}}}", value)
        return text

    return fill


def run(lab: Any, commands: Commands) -> None:
    fill = filled(lab)
    for netns, command in commands:
        if command == "FLOOD":  # whichever entry floods on this kernel
            flood = next(
                x for x in lab.state[netns].fdb if x.mac != lab.cluster.node("node2").mac and x.dst == "192.168.1.2"
            )
            command = f"bridge fdb del {flood.mac} dev {VXLAN} dst {flood.dst}"
        done = lab.namespaces.run(netns, shlex.split(fill(command)))
        assert not done.returncode, f"{netns}: {fill(command)}: {done.stderr}"


def repair(lab: Any, one: Break) -> None:
    """As `up` a second time does it."""
    from bgp.converge import wait

    run(lab, one.undo)
    lab.engine.apply(lab.state)
    if lab.wanted.routers:
        wait(lab.wanted.routers, lab.namespaces, 30.0)
    end = time.monotonic() + 5.0
    while not trace(lab, "pod1", "pod3", timeout_s=LOST_S).delivered:
        assert time.monotonic() < end, "not whole again"


CASES = [(mode, one) for mode in MODES for one in BREAKS if mode in one.modes]


@pytest.mark.parametrize(("lab", "one"), CASES, indirect=["lab"], ids=lambda part: getattr(part, "name", part))
def test_a_broken_path_ends_in_its_place_and_reason(lab: Any, one: Break) -> None:
    fill = filled(lab)
    assert trace(lab, "pod1", "pod3", **one.options).delivered, "broken before it was broken"
    try:
        run(lab, one.commands)
        seen = trace(lab, "pod1", "pod3", timeout_s=LOST_S, **one.options)
    finally:
        repair(lab, one)
    assert seen.disposition == one.disposition and seen.place in fill(one.place).split("|"), (seen.place, seen.reason)
    for word in one.words:
        assert fill(word) in seen.reason
    assert seen.parting, "the wanted state predicts no loss"
    assert fill(one.differs) in "\n".join(seen.differences), seen.differences
    jsonschema.validate(json.loads(json.dumps(seen.to_json())), SCHEMA)


def test_a_route_that_bgp_did_not_bring(make_lab: Callable[..., Any]) -> None:
    lab = make_lab("calico", "bgp")
    words = ["configure terminal", "router bgp 64512", "neighbor 192.168.1.2 shutdown"]
    argv = ["vtysh", "-N", "node1", *(part for word in words for part in ("-c", word))]
    assert not lab.namespaces.run("node1", argv).returncode
    end = time.monotonic() + 10.0
    while (seen := trace(lab, "pod1", "pod3", timeout_s=LOST_S)).delivered and time.monotonic() < end:
        pass  # the route is withdrawn once bgpd has acted
    assert (seen.disposition, seen.place) == ("dropped", "gw:eth0"), seen.reason
    assert "gw has no way to 10.244.0.65" in seen.reason
    assert "node1: lacks the route to 10.244.0.64/26, which BGP should have brought" in seen.differences


@pytest.mark.only("embedded")
@pytest.mark.parametrize(
    ("port", "place", "reason"),
    [
        ("node1", "s1:node1", "port node1 of s1 is not in VLAN 10 (it is in 1, 20)"),
        ("node2", "s1:node1", "port node2 of s1 is not in VLAN 10 (it is in 1, 20)"),
    ],
)
def test_a_switch_port_outside_the_vlan(make_lab: Callable[..., Any], port: str, place: str, reason: str) -> None:
    """pod1 and pod4 are in VLAN 10, on two nodes."""
    lab = make_lab("hybridnet", "vlan", "trunks")
    whole = trace(lab, "pod1", "pod4")
    assert whole.delivered and whole.parting is None
    assert {hop.seen.packet.vlan for hop in whole.forward if hop.seen.netns == "s1"} == {10}
    run(lab, (("s1", f"bridge vlan del dev {port} vid 10"),))
    seen = trace(lab, "pod1", "pod4", timeout_s=LOST_S)
    assert (seen.disposition, seen.place) == ("dropped", place), (seen.place, seen.reason)
    assert reason in seen.reason
    assert f"s1: lacks `bridge vlan add dev {port} vid 10`" in seen.differences


@pytest.mark.only("embedded")
def test_a_question_that_the_switch_does_not_pass_on(make_lab: Callable[..., Any]) -> None:
    """The packet waits at node1 for a MAC address; the reason is where its ARP request was lost."""
    lab = make_lab("hybridnet", "vlan", "trunks")
    run(lab, (("s1", "bridge vlan del dev node2 vid 10"),))
    seen = trace(lab, "pod1", "pod4", timeout_s=LOST_S)
    assert seen.place.startswith("node1:hybr") and "nobody answers there for" in seen.reason
    assert "its ARP request was last seen at s1:node1 (port node2 of s1 is not in VLAN 10" in seen.reason
    assert "s1: lacks `bridge vlan add dev node2 vid 10`" in seen.differences
