"""bifrost: what its service pair stands on, and what it must not copy."""

from __future__ import annotations

import pytest

from cluster.lab import Plan, plan
from kernel.errors import BadInput
from kernel.features import FEATURES
from kernel.state import Route, Veth
from topologies.spec import LabSpec, preset


def planned(spec: LabSpec) -> Plan:
    return plan(spec, "bifrost", "macvlan", frozenset(FEATURES))


def test_the_node_and_services_are_behind_the_pair_and_nothing_else() -> None:
    made = planned(preset("trunks"))
    for pod in made.cluster.pods:
        node = made.cluster.node(pod.node)
        routes = made.wanted.state[pod.name].routes
        assert {route.dst for route in routes if route.dev == "veth1"} == {
            "169.254.1.1/32",
            "10.96.0.0/12",
            node.addresses[0].replace("/24", "/32"),
        }
        assert all(route.via == "169.254.1.1" for route in routes if route.dev == "veth1" and route.scope != "link")
        assert Route(f"{pod.addresses[0]}/32", dev=_host_end(made, pod.name), scope="link") in (
            made.wanted.state[node.name].routes
        )


def _host_end(made: Plan, pod: str) -> str:
    pairs = [x for ns in made.wanted.state.namespaces for x in ns.links if isinstance(x, Veth) and x.peer_netns == pod]
    assert [pair.peer.name for pair in pairs] == ["veth1"]
    return pairs[0].name


def test_the_pair_has_no_address_and_pods_answer_for_nobody() -> None:
    made = planned(preset("trunks"))
    for pod in made.cluster.pods:
        space = made.wanted.state[pod.name]
        assert [item.dev for item in space.addresses] == ["eth0"]
        assert space.sysctls == ()  # neither proxy_arp nor ip_forward
    for node in made.cluster.nodes:
        keys = {item.key.rpartition(".")[2]: item.value for item in made.wanted.state[node.name].sysctls}
        assert keys == {"ip_forward": "1", "proxy_arp": "1", "proxy_delay": "0", "forwarding": "1"}


def test_another_range_of_services_is_routed_instead() -> None:
    made = planned(preset("trunks").model_copy(update={"service_cidrs": ("172.20.0.0/16",)}))
    routes = made.wanted.state[made.cluster.pods[0].name].routes
    assert "172.20.0.0/16" in {route.dst for route in routes}
    assert "10.96.0.0/12" not in {route.dst for route in routes}


def test_ipv6_is_refused_with_the_articles_reason() -> None:
    spec = preset("trunks").model_copy(update={"families": (4, 6)})
    with pytest.raises(BadInput, match="carries no IPv6: the article's table says no for bifrost"):
        planned(spec)
    assert any(note.startswith("pods have no IPv6 here") for note in planned(preset("trunks")).wanted.notes)


def test_snat_is_said() -> None:
    assert any("SNAT" in note for note in planned(preset("trunks")).wanted.notes)
