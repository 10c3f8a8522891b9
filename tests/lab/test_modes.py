"""Whole modes on the engine: one becomes another without a rest; filters, sets and queueing are repaired."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace

import pytest

from kernel.errors import MissingFeature
from kernel.state import (
    PARTS,
    Netns,
    Shaping,
    State,
    merge,
)
from tests.lab.world import World, planned


def possible() -> list[str]:
    """The modes that this kernel can run."""
    from cluster.lab import features
    from plugins.registry import MODES, mode

    return [key for key in MODES if mode(*key.split("-", 1)).needs <= features() and _has(planned, key)]


def _has(make: Callable[[str], State], key: str) -> bool:
    try:
        return bool(make(key))
    except MissingFeature:  # of the topology
        return False


MACHINE_MAY_LACK = ["hybridnet-vxlan", "hybridnet-vlan", "calico-ipip", "bifrost-macvlan", "terway-ipvlan"]
"""On the embedded kernel, where each process that iptables takes is slow, only these follow each other."""


@pytest.mark.case("F04")
def test_a_lab_goes_from_mode_to_mode_and_leaves_nothing_behind(world: World, on_kernel: str) -> None:
    keys = possible()
    assert {"hybridnet-vxlan", "calico-bgp"} <= set(keys)
    if on_kernel == "embedded":
        assert set(keys) >= set(MACHINE_MAY_LACK)
        keys = MACHINE_MAY_LACK
    first = {}
    for key in [*keys, keys[0]]:
        state = planned(key)
        wanted = world.engine.plan(state)
        done = world.engine.apply(state)
        assert bool(wanted) == bool(done.made + done.removed), key
        assert world.engine.plan(state) == [], key
        assert world.engine.apply(state).messages == 0, key
        first = first or {name: content(world, name) for name in state.names}
    assert {name: content(world, name) for name in first} == first


SLOWED = "+ tc qdisc add dev eth0 root handle 1: tbf rate 10000000bit burst 12500 latency 50ms"
BREAKING = {
    "{iptables} -t nat -D POSTROUTING 1": ["+ iptables -t nat -A POSTROUTING -j HYBRIDNET-POSTROUTING"],
    "{iptables} -t mangle -A FORWARD -j DROP": ["- iptables -t mangle -D FORWARD -j DROP"],
    "{ip6tables} -t filter -F FORWARD": ["+ ip6tables -t filter -A FORWARD -j HYBRIDNET-FORWARD"],
    "ipset del HYBR-NODE-IP 192.168.1.2": ["+ ipset add HYBR-NODE-IP 192.168.1.2"],
    "tc qdisc del dev eth0 root": [SLOWED],
    "tc qdisc change dev eth0 root tbf rate 1mbit burst 10k latency 50ms": [SLOWED],
}
"""What somebody does, and what the plan says to it."""


def test_filters_sets_and_queueing_are_repaired(world: World, on_kernel: str) -> None:
    from kernel.firewall import backend

    hybridnet, kind = planned("hybridnet-vxlan"), backend()
    node = next(name for name in hybridnet.names if hybridnet[name].filters)
    state = merge((hybridnet, State((Netns(node, shaping=(Shaping("eth0", rate_bps=10_000_000),)),))))
    world.engine.apply(state)
    before = _saved(world, node, kind)
    for what, said in list(BREAKING.items())[:: 3 if on_kernel == "embedded" else 1]:
        world.run(node, what.format(iptables=f"iptables-{kind}", ip6tables=f"ip6tables-{kind}"))
        assert world.engine.plan(state) == [f"{node}: {line}" for line in said], what
        world.engine.apply(state)
        assert world.engine.plan(state) == [], what
    assert _saved(world, node, kind) == before


def _saved(world: World, node: str, kind: str) -> list[str]:
    """Rules, sets and disciplines, without comments, counters and the sets' random numbers."""
    commands = (f"iptables-{kind}-save", f"ip6tables-{kind}-save", "ipset save", "tc qdisc show dev eth0")
    lines = [line for command in commands for line in world.run(node, command).splitlines()]
    return sorted(re.split(r" \[|initval", line)[0] for line in lines if not line.startswith("#"))


def content(world: World, name: str) -> dict[str, list[str]]:
    """What is there, in no order, and without MACs: those that nobody stated are random."""
    actual = world.engine.read(name)
    links = tuple(replace(link, mac=None) for link in actual.links)
    return {part: sorted(map(str, getattr(replace(actual, links=links), part))) for part in PARTS}
