"""What modes do alike whose pods live in subnets of the physical network, with no tunnel and no routed pair.

Such a pod's eth0 shares the wire of its node's NIC, or of an 802.1Q sub-interface of it. The pod is one more host
of its VLAN: connected route, default route to the subnet's router.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from ipaddress import ip_interface, ip_network

from cluster.model import Cluster, Node, Pod, Pool, family
from kernel.errors import BadInput
from kernel.state import DEFAULT, Address, Claim, Netns, Route, State, Vlan
from plugins.contract import Wanted

POD_NIC = "eth0"
NODE_APART = (
    "a node and its own pods do not reach each other, and pods reach no service: a macvlan or ipvlan has no way to the "
    "device that it stands on"
)
Named = Callable[[Node, int], str]
"""How a plugin names the device of a VLAN on a node; VLAN 0 is the NIC itself."""


def sub_interface(node: Node, vid: int) -> str:
    """A VLAN's device by the usual name: eth0.10."""
    return f"{node.nic}.{vid}" if vid else node.nic


def pools_of(cluster: Cluster, pod: Pod) -> tuple[Pool, ...]:
    """The pool of each of a pod's addresses."""
    return tuple(cluster.pool_of(address) for address in pod.addresses)


def vid_of(cluster: Cluster, pod: Pod) -> int:
    """The VLAN that a pod is in; 0: untagged."""
    return pools_of(cluster, pod)[0].vlan or 0


def vids(cluster: Cluster, node: Node) -> list[int]:
    """The VLANs that the pods of a node are in."""
    return sorted({vid_of(cluster, pod) for pod in cluster.pods_of(node.name)})


def vlan_links(cluster: Cluster, node: Node, named: Named) -> tuple[Vlan, ...]:
    """The 802.1Q sub-interfaces that the pods of a node need. They have the NIC's MAC (8021q's default)."""
    return tuple(
        Vlan(named(node, vid), mtu=node.mtu, mac=node.mac, dev=node.nic, vid=vid) for vid in vids(cluster, node) if vid
    )


def pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """Addresses with their subnets' lengths, so that the kernel adds the connected routes, and the default routes. The
    network hears of a new address, as it does from the CNI project's plugins (gratuitous ARP, unasked)."""
    pairs = tuple(zip(pod.addresses, pools_of(cluster, pod), strict=True))
    return Netns(
        pod.name,
        addresses=tuple(Address(POD_NIC, f"{address}/{ip_network(pool.cidr).prefixlen}") for address, pool in pairs),
        routes=tuple(Route(DEFAULT[pool.family], dev=POD_NIC, via=pool.gateway) for _, pool in pairs),
        claims=tuple(Claim(POD_NIC, address, pod.name, pool.gateway or "", 0.0) for address, pool in pairs),
    )


def by_themselves(cluster: Cluster, mode: str, pod_side: Callable[[Cluster, Pod], Netns]) -> Wanted:
    """A mode that makes nothing on nodes but the sub-interfaces of tagged VLANs; the rest is in the pods. Raises what
    `check` raises."""
    check(cluster, mode)
    nodes = [Netns(node.name, links=vlan_links(cluster, node, sub_interface)) for node in cluster.nodes]
    state = State((*nodes, *(pod_side(cluster, pod) for pod in cluster.pods)))
    return Wanted(state, pod_mtu=min(node.mtu for node in cluster.nodes), notes=(NODE_APART,))


def check(cluster: Cluster, mode: str) -> None:
    """Raises BadInput, in the name of `mode`, when a pod's node has no way into the pod's subnet."""
    for pod in cluster.pods:
        node = cluster.node(pod.node)
        pools = pools_of(cluster, pod)
        for pool in pools:
            for what, remedy in _misfits(pool, node, mode):
                raise BadInput(what, where="pools", remedy=remedy)
        if len({pool.vlan for pool in pools}) > 1:
            what = f"the pools of network {pod.network!r} are in several VLANs, and a pod has one device"
            raise BadInput(what, where="pools", remedy="give them one `vlan`, or make them two networks")


def _misfits(pool: Pool, node: Node, mode: str) -> Iterator[tuple[str, str]]:
    """What is wrong and what to do."""
    if pool.vlan is None:
        what = f"{mode} puts pods into subnets of the physical network, and the pool {pool.cidr} is none"
        yield what, "give the pool its `vlan` (0: untagged) and `gateway`, or take --preset trunks or flat"
        return
    if pool.overlay:
        yield f"network {pool.network!r} is to stay in a tunnel, and {mode} has none", "leave `overlay` out"
    if pool.gateway is None:
        what = f"the subnet {pool.cidr} has no gateway, where the pods of {mode} have their default route"
        yield what, "give the pool its `gateway`"
    if pool.vlan and pool.vlan not in node.vlans:
        what = f"the switch port of {node.name} carries no VLAN {pool.vlan}, where {mode} has pods of {pool.cidr}"
        yield what, f"add {pool.vlan} to the `trunk` of {node.name}, or take --preset trunks"
    inside = [address for address in node.addresses if ip_interface(address).network == ip_network(pool.cidr)]
    if not pool.vlan and not inside and any(family(address) == pool.family for address in node.addresses):
        what = f"{node.name} is not in the untagged subnet {pool.cidr}, where {mode} has pods on it"
        yield what, "give the subnet a `vlan`, or keep its pods on nodes that are in it"
