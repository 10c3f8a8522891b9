"""Topologies written in Python, in Mininet's own words: `LabTopo` is a Mininet Topo that knows what a lab has more.

    class TwoNodes(LabTopo):
        def build(self, delay="1ms"):
            self.lab(plugin="calico", mode="bgp", pods_per_node=3)
            s1 = self.addSwitch("s1")
            for number in (1, 2):
                node = self.addHost(f"node{number}", ip=f"192.168.1.{number}/24", ip6=f"fd00:192:168:1::{number}/64")
                self.addLink(node, s1, bw=100, delay=delay)
            self.addLink(self.addRouter("gw"), s1, ip="192.168.1.254/24", ip6="fd00:192:168:1::fe/64")

    topos = {"two-nodes": TwoNodes}

`run_topology.py up -f FILE.py` makes a lab of such a file, `spec_of` a LabSpec of a Topo, `of` a Topo of a LabSpec. Any
Topo will do, Mininet's own too: its hosts are the cluster's nodes. `topos` here are the presets, as `mn --custom` wants
them; stock Mininet takes their IPv4 addresses and link parameters and leaves out what it does not know.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count
from typing import Any

from mininet.topo import Topo

from topologies.from_topo import spec_of
from topologies.spec import PRESETS, LabSpec, LinkSpec, Port, preset
from topologies.underlay import gateways

__all__ = ["LabTopo", "of", "spec_of", "topos"]

IN_GRAPH = ("switches", "links", "nodes", "router", "tors", "reflectors", "client")
"""Keys of a topology file that a Topo has as hosts and links; the others are its settings."""


class LabTopo(Topo):
    """A Topo with routers, route reflectors, a client, and settings. Hosts are cluster nodes.

    Hosts take `ip` and `ip6` with prefix lengths (or `addresses`), `mac`, `gateway` (addresses) and `pods` (how many).
    Links take `bw` (Mbit/s), `delay` ("5ms"), `loss` (percent), `mtu` (bytes); a link of a host also `vlan` (its access
    port's, or a trunk's native VLAN) and `trunk` (tagged VLANs); a link of a router its own `ip` and `ip6` there."""

    def __init__(self, *args: Any, **params: Any) -> None:
        self.settings: dict[str, Any] = {}
        self._order = count()
        super().__init__(*args, **params)

    def lab(self, **settings: Any) -> None:
        """Keys of a topology file that are about the whole lab: name, plugin, mode, pools, pods_per_node, pods, ..."""
        self.settings |= settings

    def addRouter(self, name: str = "gw", asn: int | None = None, **opts: Any) -> str:
        """The gateway between subnets; with `asn` it speaks BGP with the nodes. `ip` and `ip6` are its first link's."""
        return str(self.addHost(name, role="router", asn=asn, **opts))

    def addTor(self, name: str, asn: int | None = None, **opts: Any) -> str:
        """A rack's own router, below the router: one link to the rack's switch, one into a subnet of the router."""
        return str(self.addHost(name, role="tor", asn=asn, **opts))

    def addReflector(self, name: str, cluster_id: str, **opts: Any) -> str:
        """A host that reflects routes (RFC 4456)."""
        return str(self.addHost(name, role="reflector", cluster_id=cluster_id, **opts))

    def addClient(self, name: str = "client", **opts: Any) -> str:
        """A host outside the cluster, to be linked with the router."""
        return str(self.addHost(name, role="client", **opts))

    def addLink(
        self, node1: str, node2: str, port1: Any = None, port2: Any = None, key: int | None = None, **opts: Any
    ) -> Any:
        """As Mininet's; the key counts on, so that the links keep their order."""
        return super().addLink(node1, node2, port1, port2, next(self._order) if key is None else key, **opts)


def of(spec: LabSpec) -> LabTopo:
    """The Topo of a lab; `spec_of` makes the same lab of it again."""
    topo = LabTopo()
    topo.lab(**{name: getattr(spec, name) for name in LabSpec.model_fields if name not in IN_GRAPH})
    for switch in spec.switches:
        topo.addSwitch(switch.name)
    for node in spec.nodes:
        route = [f"via {hop}" for hop in gateways(spec, node) if ":" not in hop]
        more = {"gateway": node.gateway, "pods": node.pods, "defaultRoute": route[0] if route else None}
        topo.addHost(node.name, **_addressed(node.addresses, node.mac), **more)
        topo.addLink(node.name, node.switch, **_link(node))
    for link in spec.links:
        topo.addLink(*link.ends, **_link(link))
    for reflector in spec.reflectors:
        topo.addReflector(reflector.name, reflector.cluster_id, **_addressed(reflector.addresses, reflector.mac))
        topo.addLink(reflector.name, reflector.switch, **_link(reflector))
    for router in spec.routers:
        add = topo.addRouter if router == spec.router else topo.addTor
        own = _addressed(router.ports[0].addresses, None) if router.ports else {}
        add(router.name, router.asn, ip=own.get("ip"))
        for port in router.ports:
            params = _addressed(port.addresses, port.mac)
            topo.addLink(router.name, port.switch, params1=params, **_link(port))
    if spec.client and spec.router:
        topo.addClient(spec.client.name, **_addressed(spec.client.addresses, None))
        topo.addLink(spec.client.name, spec.router.name, params2=_addressed(spec.client.router, None))
    return topo


def _addressed(addresses: Sequence[str], mac: str | None) -> dict[str, Any]:
    """`ip` is for stock Mininet."""
    four = [address for address in addresses if ":" not in address]
    found = {"addresses": tuple(addresses), "ip": four[0] if four else None, "mac": mac}
    return {name: value for name, value in found.items() if value is not None}


def _link(part: Port | LinkSpec) -> dict[str, Any]:
    """What differs from a plain link."""
    shape = part.link
    bw = None if shape.bandwidth is None else shape.bandwidth / 10**6
    found: dict[str, Any] = {"bw": bw, "delay": f"{shape.delay}us" if shape.delay else None, "loss": shape.loss or None}
    found |= {"mtu": part.mtu if part.mtu != 1500 else None}
    if isinstance(part, Port):
        found |= {"vlan": part.vlan, "trunk": part.trunk or None}
    return {name: value for name, value in found.items() if value is not None}


def _preset(name: str) -> LabTopo:
    return of(preset(name))


topos = {name: partial(_preset, name) for name in PRESETS}
