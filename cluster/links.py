"""Devices that a user set down, in the wanted state. Pure."""

from __future__ import annotations

from dataclasses import replace

from kernel.state import Link, Netns, State, Veth

Device = tuple[str, str]
"""A namespace and a device's name."""


def with_down(state: State, down: frozenset[Device]) -> State:
    """`state` with these devices down, and without the routes through them: the kernel drops those itself and
    takes none for a device that is down (ENETDOWN); when it is up again they are part of the difference."""
    return State(tuple(_with_down(ns, down) for ns in state.namespaces)) if down else state


def joined(state: State) -> dict[Device, Device]:
    """The other end of each end of a veth pair."""
    veths = [(ns.name, link) for ns in state.namespaces for link in ns.links if isinstance(link, Veth)]
    pairs = {(name, veth.name): (veth.peer_netns, veth.peer.name) for name, veth in veths}
    return pairs | {there: here for here, there in pairs.items()}


def _with_down(ns: Netns, down: frozenset[Device]) -> Netns:
    links = tuple(_end(link, ns.name, down) for link in ns.links)
    routes = tuple(route for route in ns.routes if (ns.name, route.dev) not in down)
    return replace(ns, links=links, routes=routes)


def _end(link: Link, netns: str, down: frozenset[Device]) -> Link:
    if isinstance(link, Veth) and (link.peer_netns, link.peer.name) in down:
        link = replace(link, peer=replace(link.peer, up=False))
    return replace(link, up=False) if (netns, link.name) in down else link
