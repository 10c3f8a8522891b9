"""frr.conf out of the model: BIRD's behaviour on a calico node, in FRR's words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bgp.model import Peer, Router

TO_PEERS, OWN_ONLY, OWN, INSIDE_OWN, POOLS = "TO-PEERS", "OWN-ONLY", "OWN", "INSIDE-OWN", "POOLS"
TO_KERNEL, KEPT_OUT, NO_EXPORT = "TO-KERNEL", "KEPT-OUT", "NO-EXPORT"
FAMILIES = (("ip", "ipv4", 32), ("ipv6", "ipv6", 128))
"""How FRR's commands begin, the address family's name, the length of a host route."""


def frr_conf(router: Router) -> str:
    """The whole configuration of a router, as `show running-config` of vtysh would order it."""
    return _text([f"hostname {router.netns}", "!", *_zebra(router), "!", *_bgpd(router)])


def zebra_conf(router: Router) -> str:
    """What zebra reads."""
    return _text([f"hostname {router.netns}", *_zebra(router)])


def bgpd_conf(router: Router) -> str:
    """What bgpd reads. It tells its neighbours the host name."""
    return _text([f"hostname {router.netns}", "log timestamp precision 3", *_bgpd(router)])


def _text(lines: Sequence[str]) -> str:
    return "".join(line + "\n" for line in lines)


def _zebra(router: Router) -> list[str]:
    """A next hop may be reached by the default route, as between two racks; what is `kept_out` stays out of the
    kernel."""
    lines = ["ip nht resolve-via-default", "ipv6 nht resolve-via-default"]
    if router.kept_out:
        lines.append("zebra route-map delay-timer 0")
    for command, family, longest in FAMILIES:
        if prefixes := _of(router.kept_out, family):
            name = TO_KERNEL + _suffix(family)
            lines += _prefix_list(command, KEPT_OUT, family, (f"{one} le {longest}" for one in prefixes))
            lines += _entry(f"route-map {name} deny 10", command, KEPT_OUT + _suffix(family))
            lines += [f"route-map {name} permit 20", "exit", f"{command} protocol bgp route-map {name}"]
    return lines


def _bgpd(router: Router) -> list[str]:
    """`no bgp network import-check` and preserve-fw-state keep blocks announced and forwarding while
    bgpd restarts; `coalesce-time 0` sends the first update at once (bgpd waits a second otherwise), and the delay
    timer 0 applies route maps at once (five seconds otherwise)."""
    head = [
        "bgp route-map delay-timer 0",
        f"router bgp {router.asn}",
        f" bgp router-id {router.router_id}",
        " bgp log-neighbor-changes",
        " no bgp ebgp-requires-policy",
        " no bgp default ipv4-unicast",
        " no bgp network import-check",
        *([f" bgp cluster-id {router.cluster_id}"] if router.cluster_id else []),
        " coalesce-time 0",
        f" timers bgp {router.timers.keepalive_s} {router.timers.hold_s}",
        " bgp graceful-restart",
        f" bgp graceful-restart restart-time {router.timers.restart_s}",
        " bgp graceful-restart preserve-fw-state",
    ]
    lines = [*head, *(line for peer in router.peers for line in _session(router, peer))]
    for _, family, _ in FAMILIES:
        lines += _announced(router, family)
    return [*lines, "exit", "!", *_filters(router)]


def _session(router: Router, peer: Peer) -> Iterator[str]:
    yield f" neighbor {peer.address} remote-as {peer.asn}"
    yield f" neighbor {peer.address} timers connect {router.timers.connect_s}"
    if peer.asn != router.asn:
        yield f" neighbor {peer.address} advertisement-interval 0"


def _announced(router: Router, family: str) -> Iterator[str]:
    peers = [peer for peer in router.peers if _is(peer.address, family)]
    networks = _of(router.networks, family)
    if not peers and not networks:
        return
    yield " !"
    yield f" address-family {family} unicast"
    yield from (f"  network {prefix}" for prefix in networks)
    for peer in peers:  # activated at last: what is said of a session afterwards resets it
        if peer.client:
            yield f"  neighbor {peer.address} route-reflector-client"
        yield f"  neighbor {peer.address} route-map {OWN_ONLY if peer.own_only else TO_PEERS}{_suffix(family)} out"
        yield f"  neighbor {peer.address} activate"
    yield "  maximum-paths ibgp 16"
    yield " exit-address-family"


def _filters(router: Router) -> Iterator[str]:
    """calico's export filter (confd's bird_aggr and bird_ipam templates): own blocks, nothing longer inside them,
    then whatever is within the pools, such as an address borrowed from another's block; nothing else. BIRD's rule
    against tunnel devices has no counterpart: nothing is redistributed from the kernel here. NO_EXPORT is put on here:
    on a route that has it already, FRR keeps even its own from a neighbour of another AS."""
    for command, family, longest in FAMILIES:
        own, pools, close = (_of(some, family) for some in (router.networks, router.pools, router.no_export))
        suffix, wider = _suffix(family), [one for one in own if not one.endswith(f"/{longest}")]
        yield from _prefix_list(command, NO_EXPORT, family, close)
        yield from _prefix_list(command, OWN, family, own)
        yield from _prefix_list(command, INSIDE_OWN, family, (f"{one} ge {_length(one) + 1}" for one in wider))
        yield from _prefix_list(command, POOLS, family, (f"{one} le {longest}" for one in pools))
        if close:
            head = f"route-map {TO_PEERS}{suffix} permit 5"
            yield from _entry(head, command, NO_EXPORT + suffix, " set community no-export")
        if own:
            yield from _entry(f"route-map {TO_PEERS}{suffix} permit 10", command, OWN + suffix)
        if wider:
            yield from _entry(f"route-map {TO_PEERS}{suffix} deny 20", command, INSIDE_OWN + suffix)
        if pools:
            yield from _entry(f"route-map {TO_PEERS}{suffix} permit 30", command, POOLS + suffix)
        if own and any(peer.own_only and _is(peer.address, family) for peer in router.peers):
            yield from _entry(f"route-map {OWN_ONLY}{suffix} permit 10", command, OWN + suffix)


def _prefix_list(command: str, name: str, family: str, entries: Iterator[str] | Sequence[str]) -> Iterator[str]:
    yield from (f"{command} prefix-list {name}{_suffix(family)} permit {entry}" for entry in entries)


def _entry(head: str, command: str, prefix_list: str, *more: str) -> Iterator[str]:
    yield head
    yield f" match {command} address prefix-list {prefix_list}"
    yield from more
    yield "exit"


def _suffix(family: str) -> str:
    return "6" if family == "ipv6" else ""


def _is(address: str, family: str) -> bool:
    return (":" in address) == (family == "ipv6")


def _of(addresses: Sequence[str], family: str) -> list[str]:
    return [address for address in addresses if _is(address, family)]


def _length(prefix: str) -> int:
    return int(prefix.partition("/")[2])
