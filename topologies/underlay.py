"""The wanted state of what a cluster stands on: switches, nodes' NICs, router, reflectors, client. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_interface

from kernel.state import DEFAULT, Address, Bridge, Link, Netns, PortVlan, Route, Shaping, State, Sysctl, Veth, merge
from topologies.spec import ClientSpec, LabSpec, LinkSpec, NodeSpec, Port, RouterSpec, Shape
from topologies.tunnels import tunnels

NIC = "eth0"
"""The name of a host's first NIC."""
OUTSIDE = "outside"
"""The router's device towards the client."""
UNTAGGED = 1
"""The VLAN of ports that state none, in a lab where others do."""

FORWARDING = (Sysctl("net.ipv4.ip_forward", "1"), Sysctl("net.ipv6.conf.all.forwarding", "1"))
LOOSE = (Sysctl("net.ipv4.conf.all.rp_filter", "0"), Sysctl("net.ipv4.conf.default.rp_filter", "0"))
"""A fresh namespace takes the machine's values (net.core.devconf_inherit_init_net); a lab must not depend on them."""
NO_REDIRECTS = tuple(Sysctl(f"net.ipv4.conf.{dev}.send_redirects", "0") for dev in ("all", "default"))
"""A router that sends a packet out where it came in says nothing of it, as routers of data centres are set up."""
SILENT = (Sysctl("net.ipv6.conf.default.disable_ipv6", "1"),)
"""A switch has no addresses of its own."""


def mac_of(name: str) -> str:
    """A locally administered MAC that is always the same for a name."""
    return "02:" + hashlib.sha1(name.encode()).digest()[:5].hex(":")


def underlay(spec: LabSpec) -> State:
    """Everything but what a plugin makes."""
    parts: list[Netns] = []
    for switch in spec.switches:
        bridge = Bridge(switch.name, vlan_filtering=spec.tagged)
        parts.append(Netns(switch.name, links=(bridge,), sysctls=SILENT))
    parts += [part for link in spec.links for part in _trunk(spec, link)]
    for node in spec.nodes:
        parts += _host(spec, node.name, node, gateways(spec, node))
    for reflector in spec.reflectors:
        parts += _host(spec, reflector.name, reflector, _router_addresses(spec, reflector))
    parts += [part for router in spec.routers for part in _router(spec, router)]
    if spec.router:
        parts += [part for tor in spec.tors for part in _rack(spec.router, tor)]
        if spec.client:
            parts += _client(spec.client, spec.router)
    parts += tunnels(spec)
    return merge(State((part,)) for part in parts)


def gateways(spec: LabSpec, node: NodeSpec) -> tuple[str, ...]:
    """The next hops of a node's default routes, one for each family at most."""
    return node.gateway if node.gateway is not None else _router_addresses(spec, node)


def _router_addresses(spec: LabSpec, port: Port) -> tuple[str, ...]:
    """The routers' addresses in the port's subnets."""
    networks = [ip_interface(address).network for address in port.addresses]
    mine = [address for router in spec.routers for address in _addresses(router)]
    return tuple(str(address.ip) for address in mine if address.network in networks)


def _addresses(router: RouterSpec) -> list[IPv4Interface | IPv6Interface]:
    return [ip_interface(text) for port in router.ports for text in port.addresses]


def _host(spec: LabSpec, name: str, port: Port, next_hops: Sequence[str]) -> Iterator[Netns]:
    """A host with one NIC and its default routes. Without a router the default route is the link itself: a node
    that has none answers no ARP request for 169.254.1.1 (proxy_arp looks the target up; arp(7))."""
    routes = [Route(DEFAULT[6 if ":" in hop else 4], dev=NIC, via=hop) for hop in next_hops]
    if not any(route.dst == DEFAULT[4] for route in routes):
        routes.append(Route(DEFAULT[4], dev=NIC, scope="link"))
    nic, *switch_side = _nic(spec, NIC, name, name, port)
    yield Netns(
        name,
        links=nic.links,
        addresses=tuple(Address(NIC, address) for address in port.addresses),
        routes=tuple(routes),
        sysctls=LOOSE,
        shaping=nic.shaping,
    )
    yield from switch_side


def _nic(spec: LabSpec, dev: str, owner: str, port_name: str, port: Port) -> Iterator[Netns]:
    """A NIC `dev` of `owner` at its switch: first the owner's part, then the switch's."""
    mac = port.mac or mac_of(f"{spec.name}/{owner}/{dev}")
    peer = Link(port_name, mtu=port.mtu, master=port.switch)
    veth = Veth(dev, mtu=port.mtu, mac=mac, peer_netns=port.switch, peer=peer)
    yield Netns(owner, links=(veth,), shaping=_shaped(dev, port.link))
    vlans = _port_vlans(port_name, port) if spec.tagged else ()
    yield Netns(port.switch, port_vlans=tuple(vlans), shaping=_shaped(port_name, port.link))


def _port_vlans(name: str, port: Port) -> Iterator[PortVlan]:
    native = port.vlan if port.vlan or port.trunk else UNTAGGED
    if native:
        yield PortVlan(name, native, pvid=True, untagged=True)
    yield from (PortVlan(name, vid) for vid in port.trunk if vid != native)


def _vids(spec: LabSpec) -> list[int]:
    """Every tagged VLAN of the lab."""
    stated = [vid for _, port in spec.ports() for vid in (port.vlan, *port.trunk) if vid]
    return sorted(set(stated) - {UNTAGGED})


def _trunk(spec: LabSpec, link: LinkSpec) -> Iterator[Netns]:
    """A link between switches: each end is named after the other switch and carries every VLAN."""
    a, b = link.ends
    peer = Link(a, mtu=link.mtu, master=b)
    veth = Veth(b, mtu=link.mtu, master=a, peer_netns=b, peer=peer)
    for here, dev, links in ((a, b, (veth,)), (b, a, ())):
        vlans = [PortVlan(dev, UNTAGGED, pvid=True, untagged=True), *(PortVlan(dev, vid) for vid in _vids(spec))]
        yield Netns(here, links=links, port_vlans=tuple(vlans) if spec.tagged else (), shaping=_shaped(dev, link.link))


def _router(spec: LabSpec, router: RouterSpec) -> Iterator[Netns]:
    """One NIC for each port, so that it needs no VLAN devices of its own."""
    for number, port in enumerate(router.ports):
        dev = f"eth{number}"
        several = sum(other.switch == port.switch for other in router.ports) > 1
        yield from _nic(spec, dev, router.name, f"{router.name}-{number}" if several else router.name, port)
        yield Netns(router.name, addresses=tuple(Address(dev, address) for address in port.addresses))
    yield Netns(router.name, sysctls=(*LOOSE, *FORWARDING, *NO_REDIRECTS))


def _rack(router: RouterSpec, tor: RouterSpec) -> Iterator[Netns]:
    """The static routes between `router` and a rack's own router."""
    above, own = _addresses(router), _addresses(tor)
    for up in above:
        down = next((one for one in own if one.network == up.network), None)
        if down is None:
            continue
        family = up.version
        yield Netns(tor.name, routes=(Route(DEFAULT[family], via=str(up.ip)),))
        rack = [str(one.network) for one in own if one.version == family and one != down]
        yield Netns(router.name, routes=tuple(Route(network, via=str(down.ip)) for network in rack))


def _client(client: ClientSpec, router: RouterSpec) -> Iterator[Netns]:
    hops = [str(ip_interface(address).ip) for address in client.router]
    routes = tuple(Route(DEFAULT[6 if ":" in hop else 4], dev=NIC, via=hop) for hop in hops)
    veth = Veth(NIC, mac=mac_of(client.name), peer_netns=router.name, peer=Link(OUTSIDE, mac=mac_of(OUTSIDE)))
    addresses = tuple(Address(NIC, address) for address in client.addresses)
    yield Netns(client.name, links=(veth,), addresses=addresses, routes=routes)
    yield Netns(router.name, addresses=tuple(Address(OUTSIDE, address) for address in client.router))


def _shaped(dev: str, shape: Shape) -> tuple[Shaping, ...]:
    if shape == Shape():
        return ()
    return (Shaping(dev, rate_bps=shape.bandwidth, delay_us=shape.delay, loss_pct=shape.loss),)
