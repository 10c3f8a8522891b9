"""frr.conf out of the model: BIRD's behaviour on a calico node, in FRR's words."""

from __future__ import annotations

from collections.abc import Iterator

from bgp.model import Peer, Router

KEEPALIVE_S, HOLD_S, CONNECT_S, RESTART_S = 80, 240, 5, 120
"""BIRD's timers in calico's template, seconds: keepalive, hold, connect retry, graceful restart."""
EXPORT, POOLS = "POOLS-ONLY", "POOLS"


def frr_conf(router: Router) -> str:
    """The whole configuration of a router, as `show running-config` of vtysh would order it."""
    return f"hostname {router.netns}\n!\n{zebra_conf(router)}!\n{bgpd_conf(router)}"


def zebra_conf(_router: Router) -> str:
    """zebra's part: a next hop may be reached by the default route, as between two racks."""
    return "ip nht resolve-via-default\nipv6 nht resolve-via-default\n"


def bgpd_conf(router: Router) -> str:
    """bgpd's part. `no bgp network import-check` and preserve-fw-state keep blocks announced and forwarding while
    bgpd restarts; `coalesce-time 0` sends the first update at once (bgpd waits a second otherwise), and the delay
    timer 0 applies route maps at once (five seconds otherwise)."""
    head = [
        "bgp route-map delay-timer 0",
        f"router bgp {router.asn}",
        f" bgp router-id {router.router_id}",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " no bgp network import-check",
        *([f" bgp cluster-id {router.cluster_id}"] if router.cluster_id else []),
        " coalesce-time 0",
        f" timers bgp {KEEPALIVE_S} {HOLD_S}",
        " bgp graceful-restart",
        f" bgp graceful-restart restart-time {RESTART_S}",
        " bgp graceful-restart preserve-fw-state",
    ]
    lines = [*head, *(line for peer in router.peers for line in _session(router, peer))]
    for family, six in (("ipv4", False), ("ipv6", True)):
        lines += _family(router, family, six)
    lines += ["exit", "!", *_filters(router)]
    return "".join(line + "\n" for line in lines)


def _session(router: Router, peer: Peer) -> Iterator[str]:
    yield f" neighbor {peer.address} remote-as {peer.asn}"
    yield f" neighbor {peer.address} timers connect {CONNECT_S}"
    if peer.asn != router.asn:
        yield f" neighbor {peer.address} advertisement-interval 0"


def _family(router: Router, family: str, six: bool) -> Iterator[str]:
    peers = [peer for peer in router.peers if (":" in peer.address) == six]
    networks = [prefix for prefix in router.networks if (":" in prefix) == six]
    if not peers and not networks:
        return
    yield " !"
    yield f" address-family {family} unicast"
    yield from (f"  network {prefix}" for prefix in networks)
    for peer in peers:
        yield f"  neighbor {peer.address} activate"
        if peer.client:
            yield f"  neighbor {peer.address} route-reflector-client"
        yield f"  neighbor {peer.address} route-map {EXPORT}{6 if six else ''} out"
    yield "  maximum-paths ibgp 16"
    yield " exit-address-family"


def _filters(router: Router) -> Iterator[str]:
    """Nothing but prefixes within the pools leaves (confd's bird_ipam template, its last accepting rule)."""
    for family, six in (("ip", False), ("ipv6", True)):
        pools = [pool for pool in router.pools if (":" in pool) == six]
        name = f"{POOLS}{6 if six else ''}"
        longest = 128 if six else 32
        for number, pool in enumerate(pools):
            yield f"{family} prefix-list {name} seq {5 + 5 * number} permit {pool} le {longest}"
        yield f"route-map {EXPORT}{6 if six else ''} permit 10"
        if pools:
            yield f" match {family} address prefix-list {name}"
        yield "exit"
