"""frr.conf of each kind of router, to the letter, and the commands that make one router another."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from bgp import change
from bgp.model import Peer, Router
from bgp.render import bgpd_conf, frr_conf, zebra_conf

POOLS = ("10.244.0.0/16", "fd00:10:244::/64")
NODE = Router(
    "node1",
    64512,
    "192.168.1.1",
    (Peer("192.168.1.2", 64512), Peer("fd00:192:168:1::2", 64512), Peer("192.168.1.254", 64999, own_only=True)),
    networks=("10.244.0.0/26", "10.244.0.77/32", "fd00:10:244::/122"),
    pools=POOLS,
)
REFLECTOR = Router(
    "rr1",
    64512,
    "192.168.1.101",
    (Peer("192.168.1.1", 64512, client=True), Peer("192.168.1.102", 64512)),
    cluster_id="1.0.0.1",
    pools=POOLS,
)
KINDS = {
    "node": NODE,
    "node-with-tunnels": replace(NODE, kept_out=POOLS),
    "reflector": REFLECTOR,
    "router-of-another-as": Router("gw", 64999, "192.168.1.254", (Peer("192.168.1.1", 64512),), pools=POOLS),
    "ipv4-only": replace(NODE, peers=NODE.peers[:1], networks=NODE.networks[:1], pools=POOLS[:1]),
}


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_configuration(kind: str, golden: Callable[[str, str], None]) -> None:
    golden(f"bgp/{kind}.txt", frr_conf(KINDS[kind]))


@pytest.mark.parametrize("router", KINDS.values(), ids=KINDS)
def test_both_daemons_together_read_it_all(router: Router) -> None:
    said = set((zebra_conf(router) + bgpd_conf(router)).splitlines())
    assert set(frr_conf(router).splitlines()) - said <= {"!"}


def words(old: Router, new: Router) -> list[str]:
    """What is said, without the ways into contexts and out of them."""
    context = ("configure terminal", "end", "exit", "router bgp", "address-family")
    return [line for line in change.commands(frr_conf(old), frr_conf(new)) if not line.startswith(context)]


def test_the_same_router_is_told_nothing() -> None:
    assert words(NODE, replace(NODE, expects=("10.244.0.64/26",))) == []


def test_a_block_more_and_a_block_less() -> None:
    more = replace(NODE, networks=(*NODE.networks, "10.244.1.0/26"))
    assert words(NODE, more) == [
        "network 10.244.1.0/26",
        "ip prefix-list OWN permit 10.244.1.0/26",
        "ip prefix-list INSIDE-OWN permit 10.244.1.0/26 ge 27",
    ]
    assert words(more, NODE) == ["no " + line for line in words(NODE, more)]


def test_a_command_stands_in_its_context() -> None:
    said = change.commands(bgpd_conf(NODE), bgpd_conf(replace(NODE, networks=(*NODE.networks, "10.244.1.0/26"))))
    place = said.index("network 10.244.1.0/26")
    assert said[place - 2 : place] == ["router bgp 64512", "address-family ipv4 unicast"]
    assert said[place + 1 : place + 3] == ["exit", "exit"]


def test_a_neighbour_that_goes_is_ended_by_one_command() -> None:
    fewer = replace(NODE, peers=NODE.peers[1:])
    assert words(NODE, fewer) == ["no neighbor 192.168.1.2"]
    assert words(fewer, NODE)[0] == "neighbor 192.168.1.2 remote-as 64512"


def test_becoming_a_client_and_staying_a_neighbour() -> None:
    client = replace(REFLECTOR, peers=(REFLECTOR.peers[0], replace(REFLECTOR.peers[1], client=True)))
    assert words(REFLECTOR, client) == ["neighbor 192.168.1.102 route-reflector-client"]


@pytest.mark.parametrize(
    "other",
    [
        replace(NODE, asn=64513),
        replace(NODE, router_id="192.168.1.9"),
        replace(NODE, cluster_id="1.0.0.2"),
        replace(NODE, peers=(replace(NODE.peers[0], asn=64999), *NODE.peers[1:])),
    ],
    ids=["as", "router-id", "cluster-id", "neighbour's as"],
)
def test_what_needs_a_restart(other: Router) -> None:
    assert not change.fits(NODE, other)
    assert change.fits(NODE, replace(NODE, peers=NODE.peers[1:], networks=()))
