"""What holds for every mode there is, and the exact wanted state of one node and one pod of each."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable

import pytest

from bgp.render import frr_conf
from cluster.lab import Plan, plan
from kernel.export import as_ip
from kernel.features import FEATURES
from kernel.state import IFNAMSIZ, State, Veth
from plugins.registry import MODES, mode
from topologies.spec import preset

EVERY = pytest.mark.parametrize("key", sorted(MODES))


def planned(key: str, name: str | None = None) -> Plan:
    """The mode on preset `name`, or on its own, with every kernel feature."""
    plugin, _, mode_name = key.partition("-")
    return plan(preset(name or mode(plugin, mode_name).preset), plugin, mode_name, frozenset(FEATURES))


@EVERY
def test_state_of_a_node_and_a_pod(key: str, golden: Callable[[str, str], None]) -> None:
    made = planned(key)
    pod = made.cluster.pods[0]
    text = as_ip(State((made.wanted.state[pod.node], made.wanted.state[pod.name])))
    text += "".join(f"\n# frr.conf of {pod.node}\n{frr_conf(r)}" for r in made.wanted.routers if r.netns == pod.node)
    golden(f"plugins/{key}.txt", text)


@EVERY
def test_same_cluster_same_state(key: str) -> None:
    assert planned(key).wanted == planned(key).wanted


@EVERY
def test_no_address_is_in_two_namespaces(key: str) -> None:
    homes = defaultdict(set)
    for ns in planned(key).state.namespaces:
        for item in (one for one in ns.addresses if one.own):
            homes[item.address.partition("/")[0]].add(ns.name)
    assert {address: where for address, where in homes.items() if len(where) > 1} == {}


@EVERY
def test_interface_names_fit(key: str) -> None:
    names = [link.name for ns in planned(key).state.namespaces for link in ns.links]
    names += [veth.peer.name for ns in planned(key).state.namespaces for veth in ns.links if isinstance(veth, Veth)]
    assert [name for name in names if not 0 < len(name) <= IFNAMSIZ] == []


@EVERY
def test_a_mode_is_what_its_key_says(key: str) -> None:
    plugin, _, name = key.partition("-")
    found = mode(plugin, name)
    assert (found.plugin, found.name) == (plugin, name)
    assert found.needs <= set(FEATURES)
    assert set(found.lacks) == {4, 6} - set(found.families)
