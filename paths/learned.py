"""The routes that BGP will bring, from the model of its routers alone: announcements passed on until nothing changes.

As bgpd decides (RFC 4271 9.1): own networks, the shortest AS path, eBGP before iBGP, the lowest router id; iBGP routes
are passed on to iBGP peers by reflectors only (RFC 4456). Pure, so that a path can be predicted without a lab.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from bgp.model import Peer, Router
from kernel.state import Netns, Route, State
from paths import fib
from paths.fib import ip_address, ip_interface, ip_network

METRIC = 20
"""Of zebra's BGP routes in the kernel."""
ROUNDS = 32
"""More than any path here is long."""


@dataclass(frozen=True)
class _Way:
    """How a router knows a prefix; `via` "" is its own."""

    via: str = ""
    as_path: tuple[int, ...] = ()
    internal: bool = False
    client: bool = False
    no_export: bool = False
    router_id: str = "0.0.0.0"

    @property
    def rank(self) -> tuple[bool, int, bool, int]:
        """The lower, the better."""
        return bool(self.via), len(self.as_path), self.internal, int(ip_address(self.router_id))


@dataclass(frozen=True)
class _Session:
    """What `here` announces to `there`, as `peer` of its configuration; `mine` is its address on it."""

    here: Router
    there: Router
    peer: Peer
    mine: str


def with_learned(state: State, routers: Sequence[Router]) -> State:
    """The state with the routes that BGP adds to it."""
    known = _exchanged(state, routers)
    spaces = []
    for ns in state.namespaces:
        router = next((router for router in routers if router.netns == ns.name), None)
        more = tuple(_routes(ns, router, known[ns.name])) if router else ()
        spaces.append(replace(ns, routes=ns.routes + more))
    return State(tuple(spaces))


def _routes(ns: Netns, router: Router, known: dict[str, _Way]) -> Iterator[Route]:
    """What zebra puts into the kernel: next hops that are not on a link are looked up in main."""
    for prefix, way in known.items():
        kept_out = any(_inside(prefix, other) for other in router.kept_out)
        if not way.via or kept_out:
            continue
        found = fib.lookup(ns, way.via)
        if found.dev and not found.error:
            yield Route(prefix, dev=found.dev, via=found.via or way.via, proto=186, metric=METRIC)


def _exchanged(state: State, routers: Sequence[Router]) -> dict[str, dict[str, _Way]]:
    """By namespace, each prefix that its router knows."""
    sessions = list(_sessions(state, routers))
    known = {router.netns: {prefix: _Way() for prefix in router.networks} for router in routers}
    for _ in range(ROUNDS):
        before = {name: dict(ways) for name, ways in known.items()}
        for session in sessions:
            for prefix, way in before[session.here.netns].items():
                offered = _offered(state, session, prefix, way)
                had = known[session.there.netns].get(prefix)
                if offered and (had is None or offered.rank < had.rank):
                    known[session.there.netns][prefix] = offered
        if known == before:
            break
    return known


def _sessions(state: State, routers: Sequence[Router]) -> Iterator[_Session]:
    """Each direction of each session that both sides have."""
    owners = {ip: router for router in routers for ip in _addresses(state, router.netns)}
    for here in routers:
        for peer in here.peers:
            there = owners.get(peer.address)
            for back in there.peers if there else ():
                if owners.get(back.address) == here and (":" in back.address) == (":" in peer.address) and there:
                    yield _Session(here, there, peer, back.address)


def _addresses(state: State, netns: str) -> list[str]:
    return [str(ip_interface(item.address).ip) for item in state[netns].addresses]


def _offered(state: State, session: _Session, prefix: str, way: _Way) -> _Way | None:
    """What the peer gets to know, if it may."""
    here, there, peer = session.here, session.there, session.peer
    external = here.asn != there.asn
    passed_on = way.internal and not external and not (way.client or peer.client)
    closed = external and (way.no_export or there.asn in (here.asn, *way.as_path))
    if (":" in prefix) != (":" in peer.address) or passed_on or closed or not _exported(here, peer, prefix, way):
        return None
    via = way.via if way.via and (not external or _shared(state, there.netns, way.via)) else session.mine
    as_path = (here.asn, *way.as_path) if external else way.as_path
    own_client = any(p.client for p in there.peers if p.address in _addresses(state, here.netns))
    kept = prefix in here.no_export if not way.via else way.no_export
    return _Way(via, as_path, not external, own_client, kept, here.router_id)


def _exported(here: Router, peer: Peer, prefix: str, way: _Way) -> bool:
    """The router's export filter (bgp/render.py): own networks, nothing longer inside them, what is in the pools."""
    if prefix in here.networks:
        return True
    inside = any(_inside(prefix, own) for own in here.networks)
    return bool(way.via) and not peer.own_only and not inside and any(_inside(prefix, pool) for pool in here.pools)


def _shared(state: State, netns: str, address: str) -> bool:
    """The address is on a link of this namespace: a third party's next hop stays (RFC 4271 5.1.3)."""
    links = (ip_interface(item.address).network for item in state[netns].addresses)
    return any(ip_address(address) in network for network in links if network.version == ip_address(address).version)


def _inside(inner: str, outer: str) -> bool:
    a, b = ip_network(inner), ip_network(outer)
    return a.version == b.version and a[0] in b and a.prefixlen >= b.prefixlen
