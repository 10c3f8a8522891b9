"""A BGP speaker as a value; `bgp.render` turns it into frr.conf."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Peer:
    """A neighbour: address, AS number; `client` makes it a route-reflector client (RFC 4456). With `own_only` it is
    told the router's own networks and nothing that was learned."""

    address: str
    asn: int
    client: bool = False
    own_only: bool = False


@dataclass(frozen=True)
class Timers:
    """Of all sessions, in seconds; BIRD's in calico's template. `restart_s` is for how long neighbours keep what this
    router announced while it restarts (RFC 4724)."""

    keepalive_s: int = 80
    hold_s: int = 240
    connect_s: int = 5
    restart_s: int = 120


@dataclass(frozen=True)
class Router:
    """zebra and bgpd in namespace `netns`. `networks` are announced with the `network` statement
    (IPv4 and IPv6 prefixes mixed); `cluster_id` is set on route reflectors."""

    netns: str
    asn: int
    router_id: str
    peers: tuple[Peer, ...]
    networks: tuple[str, ...] = ()
    cluster_id: str | None = None
    expects: tuple[str, ...] = ()
    """Prefixes that must be in this namespace's main table (proto bgp) once BGP has converged."""
    pools: tuple[str, ...] = ()
    """Only prefixes within these are announced to peers."""
    kept_out: tuple[str, ...] = ()
    """Prefixes within these are learned and passed on, but not put into the kernel: somebody else routes them."""
    no_export: tuple[str, ...] = ()
    """Those of `networks` that neighbours of another AS must not pass on (RFC 1997, NO_EXPORT)."""
    timers: Timers = Timers()
