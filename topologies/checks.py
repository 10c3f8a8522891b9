"""What a topology's parts must be to each other; each mistake is told at its place, with what to do."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_interface, ip_network
from itertools import combinations
from typing import TYPE_CHECKING, Any

from kernel.errors import BadInput
from kernel.state import IFNAMSIZ
from topologies import tunnels
from topologies.placement import block_room, networks, pods_in

if TYPE_CHECKING:
    from topologies.spec import LabSpec, PoolSpec, Port, RouterSpec

Loc = Sequence[int | str]
Where = Callable[[Loc], str]
LEAST_IPV6_MTU = 1280
"""RFC 8200, section 5."""
ROUTERS = ("router", "tors")
"""Where topologies state routers."""
DEVICE_WORDS = ("lo", "all", "default")
"""The loopback's name, and what net.ipv4.conf has beside interfaces; a name becomes a switch port's."""


def check(spec: LabSpec, where: Where) -> None:
    """Raises BadInput for the first mistake."""
    for one in (
        _names,
        _links,
        _ports,
        _addresses,
        _subnets,
        _tors,
        _gateways,
        _client,
        _mtus,
        _pools,
        _services,
        tunnels.check,
        _pods,
        _capacity,
    ):
        one(spec, where)


def _named(spec: LabSpec) -> Iterator[tuple[Loc, str]]:
    """Everything that becomes a namespace."""
    yield from ((("switches", i, "name"), one.name) for i, one in enumerate(spec.switches))
    yield from ((("nodes", i, "name"), one.name) for i, one in enumerate(spec.nodes))
    yield from ((("reflectors", i, "name"), one.name) for i, one in enumerate(spec.reflectors))
    yield from ((("pods", i, "name"), one.name) for i, one in enumerate(spec.pods))
    yield from (((*loc, "name"), router.name) for loc, router in placed_routers(spec))
    if spec.client:
        yield ("client", "name"), spec.client.name


def placed_ports(spec: LabSpec) -> Iterator[tuple[Loc, str, Port]]:
    """Every NIC on a switch with its place and its owner."""
    yield from ((("nodes", i), one.name, one) for i, one in enumerate(spec.nodes))
    yield from ((("reflectors", i), one.name, one) for i, one in enumerate(spec.reflectors))
    for loc, router in placed_routers(spec):
        yield from (((*loc, "ports", i), router.name, one) for i, one in enumerate(router.ports))


def placed_routers(spec: LabSpec) -> Iterator[tuple[Loc, RouterSpec]]:
    """Every router with its place."""
    if spec.router:
        yield ("router",), spec.router
    yield from ((("tors", i), one) for i, one in enumerate(spec.tors))


def _names(spec: LabSpec, where: Where) -> None:
    several = [one for one in spec.routers if len(one.ports) > 1]
    seen = {f"{one.name}-{number}" for one in several for number in range(len(one.ports))}
    for loc, name in _named(spec):
        if name in DEVICE_WORDS:
            remedy = "choose another name: interfaces and their settings in /proc/sys are called so"
            raise BadInput(f"{name!r} means something else to the kernel", where=where(loc), remedy=remedy)
        if name in seen:
            raise BadInput(
                f"the name {name!r} is taken", where=where(loc), remedy="every node, pod and switch needs its own"
            )
        seen.add(name)
        if loc[0] != "pods" and len(name) > IFNAMSIZ - (2 if loc[0] in ROUTERS else 0):
            limit = IFNAMSIZ - (2 if loc[0] in ROUTERS else 0)
            what = f"{name!r} names a switch port and is longer than {limit} characters"
            raise BadInput(what, where=where(loc), remedy=f"interface names hold {IFNAMSIZ}: choose a shorter one")


def _links(spec: LabSpec, where: Where) -> None:
    switches = {one.name for one in spec.switches}
    for i, link in enumerate(spec.links):
        for end in link.ends:
            if end not in switches:
                raise BadInput(
                    f"there is no switch {end!r}", where=where(("links", i, "ends")), remedy=_one_of(switches)
                )
        if link.ends[0] == link.ends[1]:
            raise BadInput(
                "a link needs two different ends", where=where(("links", i, "ends")), remedy="name another switch"
            )
        if any(set(link.ends) == set(other.ends) for other in spec.links[:i]):
            raise BadInput(
                f"{' and '.join(link.ends)} are linked already", where=where(("links", i)), remedy="remove one link"
            )
    _loops(spec, where)


def _loops(spec: LabSpec, where: Where) -> None:
    """The bridges run no spanning tree, so a loop would flood for ever."""
    group = {one.name: one.name for one in spec.switches}
    for i, link in enumerate(spec.links):
        a, b = (group[end] for end in link.ends)
        if a == b:
            what = f"the link {' - '.join(link.ends)} closes a loop of switches"
            raise BadInput(what, where=where(("links", i)), remedy="remove a link: the switches run no spanning tree")
        group = {name: b if of == a else of for name, of in group.items()}


def _ports(spec: LabSpec, where: Where) -> None:
    switches = {one.name for one in spec.switches}
    for loc, _, port in placed_ports(spec):
        if port.switch not in switches:
            raise BadInput(
                f"there is no switch {port.switch!r}", where=where((*loc, "switch")), remedy=_one_of(switches)
            )
    macs: set[str] = set()
    for loc, _, port in placed_ports(spec):
        if port.mac in macs:
            raise BadInput(f"the MAC {port.mac} is taken", where=where((*loc, "mac")), remedy="give another one")
        macs |= {port.mac} if port.mac else set()


def _stated(spec: LabSpec) -> Iterator[tuple[Loc, str]]:
    for loc, _, port in placed_ports(spec):
        yield from (((*loc, "addresses", i), address) for i, address in enumerate(port.addresses))
    if spec.client:
        yield from ((("client", "addresses", i), one) for i, one in enumerate(spec.client.addresses))
        yield from ((("client", "router", i), one) for i, one in enumerate(spec.client.router))
    for i, tunnel in enumerate(spec.tunnels):
        for j, addresses in enumerate(tunnel.addresses):
            yield from ((("tunnels", i, "addresses", j, k), one) for k, one in enumerate(addresses))


def _addresses(spec: LabSpec, where: Where) -> None:
    seen: set[str] = set()
    for loc, text in _stated(spec):
        address = ip_interface(text)
        if str(address.ip) in seen:
            raise BadInput(f"the address {address.ip} is taken", where=where(loc), remedy="give another one")
        seen.add(str(address.ip))
        edges = (address.network.network_address, address.network.broadcast_address)
        if address.version == 4 and address.network.num_addresses > 2 and address.ip in edges:
            what = f"{address.ip} is the network or broadcast address of {address.network}"
            raise BadInput(what, where=where(loc), remedy="give a host's address")


def _subnets(spec: LabSpec, where: Where) -> None:
    """One address of a family for each host; a router has one link for each subnet."""
    for i, node in enumerate(spec.nodes):
        versions = [ip_interface(address).version for address in node.addresses]
        if versions.count(4) != 1 or versions.count(6) > 1:
            what = f"{node.name!r} has {versions.count(4)} IPv4 and {versions.count(6)} IPv6 addresses"
            raise BadInput(
                what, where=where(("nodes", i, "addresses")), remedy="give one IPv4 and at most one IPv6 address"
            )
    seen: dict[str, list[Any]] = {}
    for loc, owner, text in _routed(spec):
        network, others = ip_interface(text).network, seen.setdefault(owner, [])
        if double := next((other for other in others if other.overlaps(network)), None):
            what = f"the router would be in {network} twice" if double == network else f"{network} is in {double}"
            raise BadInput(what, where=where(loc), remedy="give each of its links a subnet of its own")
        others.append(network)


def _routed(spec: LabSpec) -> Iterator[tuple[Loc, str, str]]:
    """Every address of a router, with its place and owner."""
    for loc, owner, port in placed_ports(spec):
        if loc[0] in ROUTERS:
            yield from (((*loc, "addresses", i), owner, one) for i, one in enumerate(port.addresses))
    if spec.client and spec.router:
        yield from ((("client", "router", i), spec.router.name, one) for i, one in enumerate(spec.client.router))


def _tors(spec: LabSpec, where: Where) -> None:
    for i, tor in enumerate(spec.tors):
        if not spec.router:
            what = "a rack's router stands below a router, and there is none"
            raise BadInput(what, where=where(("tors", i)), remedy="add `router`, or make this one it")
        above, own = ({ip_interface(a).network for p in one.ports for a in p.addresses} for one in (spec.router, tor))
        if not above & own:
            what = f"{tor.name!r} is in no subnet of {spec.router.name!r}, the router above it"
            raise BadInput(what, where=where(("tors", i, "ports")), remedy=_one_of(map(str, above)))


def _gateways(spec: LabSpec, where: Where) -> None:
    for i, node in enumerate(spec.nodes):
        addresses = [ip_interface(address) for address in node.addresses]
        versions: set[int] = set()
        for j, gateway in enumerate(node.gateway or ()):
            place = where(("nodes", i, "gateway", j))
            if not any(ip_address(gateway) in one.network for one in addresses):
                what = f"the gateway {gateway} is in no subnet of {node.name!r}"
                raise BadInput(what, where=place, remedy=_one_of(str(one.network) for one in addresses))
            if any(ip_address(gateway) == one.ip for one in addresses):
                what = f"{gateway} is {node.name!r} itself"
                raise BadInput(what, where=place, remedy="give the router's address, or leave `gateway` out")
            if ip_address(gateway).version in versions:
                what = f"{node.name!r} has a gateway of that family already"
                raise BadInput(what, where=place, remedy="give one for IPv4 and one for IPv6")
            versions.add(ip_address(gateway).version)


def _client(spec: LabSpec, where: Where) -> None:
    if not spec.client:
        return
    if not spec.router:
        what = "a client stands behind a router, and there is none"
        raise BadInput(what, where=where(("client",)), remedy="add `router`")
    own = [ip_interface(address).network for address in spec.client.addresses]
    routers = [ip_interface(address).network for address in spec.client.router]
    for key, networks_of, others in (("addresses", own, routers), ("router", routers, own)):
        for i, network in enumerate(networks_of):
            if network not in others:
                what = f"the client and the router share no subnet {network}"
                raise BadInput(what, where=where(("client", key, i)), remedy="give both an address in it")
            if [one.version for one in networks_of].count(network.version) > 1:
                what = f"there are two IPv{network.version} addresses"
                raise BadInput(what, where=where(("client", key)), remedy="give one of each family")


def _mtus(spec: LabSpec, where: Where) -> None:
    for loc, owner, port in placed_ports(spec):
        if port.mtu < LEAST_IPV6_MTU and any(":" in address for address in port.addresses):
            what = f"MTU {port.mtu} of {owner!r} is too small for its IPv6 address"
            raise BadInput(what, where=where((*loc, "mtu")), remedy=f"use {LEAST_IPV6_MTU} or more, or no IPv6")


def _pools(spec: LabSpec, where: Where) -> None:
    for i, pool in enumerate(spec.pools):
        network = ip_network(pool.cidr)
        if pool.vlan is None and not network.prefixlen <= pool.block_length <= network.max_prefixlen:
            what = f"a block of /{pool.block_length} does not fit into {network}"
            raise BadInput(
                what, where=where(("pools", i)), remedy="make the pool larger, or the block smaller (a greater number)"
            )
        _subnet(pool, ("pools", i), where)
        _pool_gateway(spec, pool, where(("pools", i, "gateway")))
    for (_, a), (j, b) in combinations(enumerate(spec.pools), 2):
        if ip_network(a.cidr).overlaps(ip_network(b.cidr)):
            raise BadInput(
                f"the pools {a.cidr} and {b.cidr} overlap", where=where(("pools", j, "cidr")), remedy="move one"
            )
    for loc, text in _stated(spec):
        network = ip_interface(text).network
        for j, pool in enumerate(spec.pools):
            if pool.vlan is None and ip_network(pool.cidr).overlaps(network):
                what = f"the pool {pool.cidr} overlaps {network}, the subnet of {where(loc).rpartition(' ')[2]}"
                raise BadInput(what, where=where(("pools", j, "cidr")), remedy="move the pool or the subnet")


def _subnet(pool: PoolSpec, loc: Loc, where: Where) -> None:
    """What only a pool with `vlan` may say, and that it is inside the pool."""
    stated = {key: getattr(pool, key) for key in ("gateway", "start", "end") if getattr(pool, key)}
    if pool.vlan is None and (stated or pool.exclude):
        key = next(iter(stated), "exclude")
        raise BadInput(
            f"{key!r} is for subnets of the physical network", where=where((*loc, key)), remedy="state its `vlan` too"
        )
    for key, address in [*stated.items(), *(("exclude", one) for one in pool.exclude)]:
        if ip_address(address) not in ip_network(pool.cidr):
            raise BadInput(f"{address} is not in {pool.cidr}", where=where((*loc, key)), remedy="move it into the pool")
    if pool.start and pool.end and int(ip_address(pool.start)) > int(ip_address(pool.end)):
        raise BadInput(f"{pool.start} is after {pool.end}", where=where((*loc, "start")), remedy="exchange them")


def _pool_gateway(spec: LabSpec, pool: PoolSpec, place: str) -> None:
    """Somebody must have the gateway's address, and in the pool's VLAN."""
    if pool.gateway is None:
        return
    ports = [port for router in spec.routers for port in router.ports]
    having = [port for port in ports if pool.gateway in (str(ip_interface(one).ip) for one in port.addresses)]
    if not having:
        what = f"no port of the router has the gateway {pool.gateway}"
        raise BadInput(what, where=place, remedy="give a port of `router` this address")
    if pool.vlan and all(pool.vlan not in (port.vlan, *port.trunk) for port in having):
        what = f"the router's port that has the gateway {pool.gateway} is not in VLAN {pool.vlan}"
        raise BadInput(what, where=place, remedy=f"give that port `vlan: {pool.vlan}`")


def _services(spec: LabSpec, where: Where) -> None:
    """A service address is nobody's: its range keeps clear of pools and subnets."""
    ranges = [ip_network(one) for one in spec.service_cidrs]
    if len({one.version for one in ranges}) < len(ranges):
        what = "there are two ranges of service addresses of one family"
        raise BadInput(what, where=where(("service_cidrs",)), remedy="give one range for each family")
    taken = [(ip_network(pool.cidr), "the pool") for pool in spec.pools]
    taken += [(ip_interface(text).network, "the subnet") for _, text in _stated(spec)]
    for i, mine in enumerate(ranges):
        for other, kind in taken:
            if mine.overlaps(other):
                what = f"the service addresses {mine} overlap {kind} {other}"
                raise BadInput(what, where=where(("service_cidrs", i)), remedy="move them")


def _capacity(spec: LabSpec, where: Where) -> None:
    for i, pool in enumerate(spec.pools):
        if pool.vlan is not None:
            continue  # cluster.plan counts single addresses as it takes them
        network = ip_network(pool.cidr)
        blocks = 2 ** (pool.block_length - network.prefixlen)
        counts = pods_in(spec, pool.network)
        needed = sum(max(1, -(-counts[node.name] // block_room(pool))) for node in spec.nodes)
        if needed > blocks:
            what = f"the pool {pool.cidr} has {blocks} blocks of /{pool.block_length}, and the nodes need {needed}"
            raise BadInput(what, where=where(("pools", i)), remedy="make the pool larger, or have fewer pods")


def _pods(spec: LabSpec, where: Where) -> None:
    nodes = {one.name for one in spec.nodes}
    known = networks(spec)
    seen: set[str] = set()
    for i, pod in enumerate(spec.pods):
        if pod.node not in nodes:
            raise BadInput(f"there is no node {pod.node!r}", where=where(("pods", i, "node")), remedy=_one_of(nodes))
        if pod.network is not None and pod.network not in known:
            raise BadInput(
                f"no pool is of network {pod.network!r}", where=where(("pods", i, "network")), remedy=_one_of(known)
            )
        for j, address in enumerate(pod.addresses):
            loc = ("pods", i, "addresses", j)
            if address in seen:
                raise BadInput(f"the address {address} is taken", where=where(loc), remedy="give another one")
            seen.add(address)
            if not any(ip_address(address) in ip_network(pool.cidr) for pool in spec.pools):
                raise BadInput(f"{address} is in no pool", where=where(loc), remedy=_one_of(p.cidr for p in spec.pools))


def _one_of(names: Iterable[str]) -> str:
    return f"one of: {', '.join(sorted(names))}"
