"""Who is who on a packet's way: a pod's node, whose an address or a MAC is, and headers in those names. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_interface

from cluster.model import Cluster
from kernel.diff import ends
from kernel.state import Bridge, State
from paths.model import IP, TUNNELS, Packet

PLAIN = ("ICMP", "ICMPv6", "TCP", "UDP")
"""What a probe is made of."""
Bar = tuple[tuple[str, str], ...]
"""Headers outermost first: the kind of layer, and its words."""


class Scene:
    """The names of one lab."""

    def __init__(self, cluster: Cluster, state: State) -> None:
        self.node_of = {pod.name: pod.node for pod in cluster.pods}
        self.nodes = {node.name for node in cluster.nodes}
        self.switches = {ns.name for ns in state.namespaces if any(link.name == ns.name for link in _bridges(ns.links))}
        self._addresses = {
            str(ip_interface(item.address).ip): ns.name for ns in state.namespaces for item in ns.addresses if item.own
        }
        self._macs: dict[str, set[str]] = {}
        for name, links in ends(state).items():
            for link in links.values():
                if link.mac:
                    self._macs.setdefault(link.mac, set()).add(name)

    def site(self, netns: str) -> str:
        """The node that a namespace is on; itself if it is on none."""
        return self.node_of.get(netns, netns)

    def whose(self, address: str) -> str:
        """The namespace's name, else the address."""
        return self._addresses.get(address, address)

    def device_of(self, mac: str, near: Iterable[str]) -> str:
        """Whose device has a MAC. calico's and hybridnet's host ends all have the same: then who is `near`."""
        owners = self._macs.get(mac, set())
        if len(owners) == 1:
            return next(iter(owners))
        return next((name for name in near if name in owners), f"{mac[:5]}…" if mac else "?")

    def bar(self, packet: Packet, near: Sequence[str] = ()) -> Bar:
        """The headers in names: Eth, IP node1>node2, UDP 8472, VXLAN 4, Eth, IP pod1>pod3, ICMP."""
        tunnelled = packet.tunnel is not None
        parts: list[tuple[str, str]] = []
        for layer in packet.layers:
            if layer.kind == "Ethernet":
                named = f" {self.device_of(layer.src, near)}>{self.device_of(layer.dst, near)}"
                parts.append(("Ethernet", "Eth" + ("" if tunnelled else named)))
            elif layer.kind == "802.1Q":
                parts.append(("802.1Q", f"VLAN {layer.more['vid']}"))
            elif layer.kind in IP:
                parts.append(("IP", f"IP {self.whose(layer.src)}>{self.whose(layer.dst)}"))
            elif layer.kind in TUNNELS:
                parts.append(("tunnel", f"{layer.kind} {layer.more['vni']}" if "vni" in layer.more else layer.kind))
            elif layer.kind in PLAIN:
                carrier = layer.kind == "UDP" and packet.udp is layer and tunnelled
                parts.append(("UDP" if carrier else "probe", f"UDP {layer.dst}" if carrier else layer.kind))
        return tuple(parts)


def _bridges(links: Iterable[object]) -> Iterable[Bridge]:
    return (link for link in links if isinstance(link, Bridge))
