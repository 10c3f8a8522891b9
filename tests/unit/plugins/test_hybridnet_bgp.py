"""hybridnet BGP and GlobalBGP: the one-route table, who announces what to whom, and topologies that do not fit."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from bgp.model import Router
from cluster.lab import Plan, plan
from kernel.errors import BadInput
from kernel.features import FEATURES
from kernel.state import Route
from topologies.source import parse
from topologies.spec import PRESET_FOLDER, preset

LAB = """\
name: small
pools:
  - {cidr: 10.244.0.0/24, block: 28}
  - {network: tunnel, overlay: true, cidr: 10.200.0.0/16}
switches: [{name: s1}]
nodes:
  - {name: node1, switch: s1, addresses: [10.0.0.2/24]}
  - {name: node2, switch: s1, addresses: [10.0.0.3/24]}
pods_per_node: 2
router:
  name: tor
  asn: 65001
  ports: [{switch: s1, addresses: [10.0.0.1/24]}]
"""


def planned(mode: str = "bgp", edits: dict[str, str] | None = None) -> Plan:
    text = LAB
    for old, new in (edits or {}).items():
        assert old in text
        text = text.replace(old, new)
    return plan(parse(text, "lab.yaml"), "hybridnet", mode, frozenset(FEATURES))


def router(made: Plan, name: str) -> Router:
    return next(one for one in made.wanted.routers if one.netns == name)


def test_an_underlay_pods_table_has_nothing_but_the_way_to_the_switch() -> None:
    """Table 10001, as in the article: the overlay beside it has 10000."""
    node = planned().wanted.state["node1"]
    assert [(rule.src, rule.table) for rule in node.rules if rule.src] == [
        ("10.200.0.0/16", 10000),
        ("10.244.0.0/24", 10001),
    ]
    mine = [route for route in node.routes if route.table == 10001]
    assert mine == [Route("0.0.0.0/0", dev="eth0", via="10.0.0.1", table=10001)]


def test_overlay_pods_reach_underlay_pods_through_the_tunnel_but_not_the_peer() -> None:
    node = planned().wanted.state["node1"]
    assert [(route.dst, route.kind, route.dev) for route in node.routes if route.table == 10000] == [
        ("10.244.0.0/24", "unicast", "eth0.vxlan4"),
        ("10.0.0.1/32", "throw", None),
    ]


def test_no_proxy_on_the_nic_and_a_guard_against_loops() -> None:
    node = planned().wanted.state["node1"]
    assert {one.dev for one in node.neighbours if one.proxy and "." in one.address} == {"eth0.vxlan4"}
    assert [rule.args[1] for rule in node.filters if rule.args[-1] == "DROP"] == ["eth0"]


def test_bgp_announces_the_subnet_and_keeps_host_routes_on_the_tor() -> None:
    made = planned()
    node = router(made, "node1")
    assert (node.asn, [(peer.address, peer.asn) for peer in node.peers]) == (100, [("10.0.0.1", 65001)])
    assert node.networks == ("10.244.0.0/24", "10.244.0.1/32")
    assert node.no_export == ("10.244.0.1/32",)
    assert (node.expects, node.kept_out) == ((), ("10.244.0.0/24",))
    assert set(router(made, "tor").expects) == {"10.244.0.0/24", "10.244.0.1/32", "10.244.0.17/32"}


def test_globalbgp_announces_host_routes_only_and_lets_them_go() -> None:
    made = planned("globalbgp")
    assert (router(made, "node1").networks, router(made, "node1").no_export) == (("10.244.0.1/32",), ())
    assert set(router(made, "tor").expects) == {"10.244.0.1/32", "10.244.0.17/32"}


def test_a_node_without_pods_is_a_member_of_its_tors_network_still() -> None:
    made = planned(edits={"addresses: [10.0.0.3/24]}": "addresses: [10.0.0.3/24], pods: 0}"})
    assert router(made, "node2").networks == ("10.244.0.0/24",)


def test_between_racks_bgp_tells_subnets_and_globalbgp_host_routes() -> None:
    spec = preset("leaf-spine")
    made = {mode: plan(spec, "hybridnet", mode, frozenset(FEATURES)) for mode in ("bgp", "globalbgp")}
    assert {one for one in router(made["bgp"], "spine").expects if "." in one} == {"10.244.1.0/24", "10.244.2.0/24"}
    pods = {f"{one.addresses[0]}/32" for one in made["bgp"].cluster.pods}
    assert {one for one in router(made["globalbgp"], "tor1").expects if "." in one} == pods
    assert router(made["bgp"], "node3").networks[0] == "10.244.2.0/24"
    assert {peer.asn for peer in router(made["bgp"], "tor1").peers} == {100, 65000}


def test_a_network_below_two_tors_is_refused_in_bgp(golden: Callable[[str, str], None]) -> None:
    text = (PRESET_FOLDER / "leaf-spine.yaml").read_text().replace("node: node4, network: rack2", "node: node4")
    with pytest.raises(BadInput) as caught:
        plan(parse(text, "lab.yaml"), "hybridnet", "bgp", frozenset(FEATURES))
    golden("errors/hybridnet-bgp-two-tors.txt", f"{caught.value}\n")


MISFITS = {
    "no-asn": ("bgp", {"  asn: 65001\n": ""}),
    "global-no-asn": ("globalbgp", {"  asn: 65001\n": ""}),
    "node-elsewhere": ("bgp", {"10.0.0.3/24": "10.0.9.3/24"}),
    "all-overlay": ("bgp", {"cidr: 10.244.0.0/24": "overlay: true, cidr: 10.244.0.0/24"}),
    "vlan-pool": ("bgp", {"{cidr: 10.244.0.0/24, block: 28}": "{vlan: 0, cidr: 10.0.0.0/24, gateway: 10.0.0.1}"}),
    "no-ipv6-at-the-tor": ("bgp", {"10.244.0.0/24, block: 28": '"fd00:10:244::/64"'}),
}


@pytest.mark.parametrize("name", MISFITS)
def test_a_topology_that_does_not_fit_is_refused(name: str, golden: Callable[[str, str], None]) -> None:
    with pytest.raises(BadInput) as caught:
        planned(*MISFITS[name])
    golden(f"errors/hybridnet-bgp-{name}.txt", f"{caught.value}\n")
