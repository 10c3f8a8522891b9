"""hybridnet's VLAN mode: a pod is a member of a VLAN of the physical network, behind the MAC of its node.

A pod's packet comes out of its veth pair and leaves by the table of its subnet: to the subnet itself straight out of
the VLAN device (eth0.20), to anything else through the VLAN's gateway, always with the pod's own address. On the other
side the node answers ARP for its pods (proxy neighbours), so the switch sees nodes' MACs only.

A pool with a VLAN is a Subnet, and its nodes are those whose switch ports carry the VLAN. Pools without one are an
overlay network beside it.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from ipaddress import IPv4Interface, IPv6Interface, ip_address, ip_interface, ip_network

from cluster.model import Cluster, Node, Pod, Pool, family
from kernel.errors import BadInput
from kernel.state import DEFAULT, Address, Claim, Neighbour, Netns, Route, State, Sysctl, merge
from kernel.state import Vlan as VlanLink
from plugins.contract import Wanted
from plugins.hybridnet import daemon, vxlan
from plugins.hybridnet.daemon import Subnet

CHECKED_BESIDE = (
    "all pods' addresses are probed at the same time; hybridnet's daemon probes each pod's for 3 s as the pod is added"
)
SLOW_ANSWER = (
    "the first packet to a pod of another node can take 0.8 s: the node answers ARP requests from the physical network "
    "for its pods after a random part of proxy_delay, which hybridnet leaves as it is"
)


class Vlan:
    """hybridnet, mode vlan."""

    plugin = "hybridnet"
    name = "vlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "trunks"
    needs = daemon.NEEDS | vxlan.NEEDS

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """Nodes and pods; no BGP. Raises BadInput for a pod in a VLAN that its node's port does not carry, a VLAN
        without gateway, and a node whose own address is at odds with a VLAN."""
        overlay, underlay = daemon.networks(cluster, lambda pool: pool.vlan is not None and not pool.overlay)
        _check(cluster, underlay)
        gateways = {pool: pool.gateway for pool in underlay}

        def subnets(node: Node) -> list[Subnet]:
            return vxlan.subnets(node, overlay, gateways) + [subnet(node, pool) for pool in underlay]

        parts = [daemon.state(cluster, subnets), *([vxlan.tunnels(cluster, features, overlay)] if overlay else [])]
        parts += [State((node_side(cluster, node, underlay),)) for node in cluster.nodes]
        notes = (CHECKED_BESIDE, SLOW_ANSWER, *(vxlan.notes(features) if overlay else ()))
        return Wanted(merge(parts), pod_mtu=min(node.mtu for node in cluster.nodes), notes=notes)


def device(node: Node, pool: Pool) -> str:
    """The forward interface: <parent>.<netID>, or the parent itself for netID 0 (pkg/daemon/utils/network.go)."""
    return f"{node.nic}.{pool.vlan}" if pool.vlan else node.nic


def belongs(node: Node, pool: Pool) -> bool:
    """The node is in the pool's VLAN."""
    return not pool.vlan or pool.vlan in node.vlans


def subnet(node: Node, pool: Pool) -> Subnet:
    """The table that the article calls 10001: the subnet itself out of the VLAN device, everything else through the
    VLAN's gateway (ensureRoutesForVlanSubnet, pkg/daemon/route/utils.go)."""
    if not belongs(node, pool):
        return Subnet(pool.cidr, None)
    dev = device(node, pool)
    own = _own(node, pool)
    direct = Route(pool.cidr, dev=dev, scope="link", src=str(own.ip) if own else None)
    return Subnet(pool.cidr, dev, (direct, Route(DEFAULT[pool.family], dev=dev, via=pool.gateway)))


def node_side(cluster: Cluster, node: Node, underlay: Sequence[Pool]) -> Netns:
    """The VLAN devices of one node, and how it stands for its pods there."""
    devices: dict[str, VlanLink] = {}
    local: dict[Pool, list[tuple[Pod, str]]] = {pool: [] for pool in underlay if belongs(node, pool)}
    for pool, members in local.items():
        if pool.vlan:
            name = device(node, pool)
            devices[name] = VlanLink(name, mtu=node.mtu, dev=node.nic, vid=pool.vlan)
        for pod in cluster.pods_of(node.name):
            members += [(pod, one) for one in pod.addresses if ip_address(one) in ip_network(pool.cidr)]
    return Netns(
        node.name,
        links=tuple(devices.values()),
        addresses=tuple(_enhanced(node, local)),
        neighbours=tuple(Neighbour(device(node, pool), a, proxy=True) for pool in local for _, a in local[pool]),
        sysctls=tuple(_sysctls(node, local)),
        claims=tuple(
            Claim(device(node, pool), address, pod.name, pool.gateway or "", cluster.address_check_s)
            for pool in local
            for pod, address in local[pool]
        ),
    )


def _enhanced(node: Node, local: Mapping[Pool, Sequence[tuple[Pod, str]]]) -> Iterator[Address]:
    """The enhanced address: switches may drop ARP requests of a sender from another subnet, so the VLAN device carries
    the address of one pod of each subnet, which the kernel then takes as sender and must not take for its own
    (pkg/daemon/addr/addr.go). Not needed where the node itself has an address in the subnet."""
    for pool, members in local.items():
        if members and pool.family == 4 and not _own(node, pool):
            text = f"{members[0][1]}/{pool.cidr.partition('/')[2]}"
            yield Address(device(node, pool), text, "link", noprefixroute=True, own=False)


def _sysctls(node: Node, local: Mapping[Pool, Sequence[tuple[Pod, str]]]) -> Iterator[Sysctl]:
    """Of the device and not of `all`, as hybridnet has it: so the kernel answers solicitations to the group of a pod's
    address, and forwards to the pod those to the address itself, which it ignores (hop limit below 255)."""
    for pool, members in local.items():
        if members and pool.family == 6:
            yield Sysctl(f"net.ipv6.conf.{device(node, pool).replace('.', '/')}.proxy_ndp", "1")


def _own(node: Node, pool: Pool) -> IPv4Interface | IPv6Interface | None:
    """The node's own address in the pool's subnet."""
    return next((one for one in map(ip_interface, node.addresses) if one.ip in ip_network(pool.cidr)), None)


def _check(cluster: Cluster, underlay: Sequence[Pool]) -> None:
    """What hybridnet's webhook and daemon would refuse. Raises BadInput."""
    if not underlay:
        what = "hybridnet vlan finds no pool that is a VLAN of the physical network"
        raise BadInput(what, where="pools", remedy="give a pool its `vlan` and `gateway`, or take --preset trunks")
    for pool in underlay:
        if pool.gateway is None:
            what = f"the VLAN pool {pool.cidr} has no gateway: pods reach everything outside their VLAN through it"
            raise BadInput(what, where="pools", remedy="state the router's address there as its `gateway`")
        for node in cluster.nodes:
            _check_node(node, pool)
    for pod in cluster.pods:
        node, mine = cluster.node(pod.node), [pool for pool in underlay if pool.network == pod.network]
        if lacking := next((pool.vlan for pool in mine if not belongs(node, pool)), None):
            what = f"pod {pod.name!r} is to be in VLAN {lacking}, which the switch port of {node.name} does not carry"
            remedy = f"add {lacking} to the `trunk` of {node.name}, or put the pod on another node"
            raise BadInput(what, where=f"nodes: {node.name}", remedy=remedy)


def _check_node(node: Node, pool: Pool) -> None:
    """A node with an address of its own in the subnet must reach it as its pods do (ensureRoutesForVlanSubnet)."""
    own = _own(node, pool)
    if own is None or not belongs(node, pool):
        return
    if pool.vlan or str(own.network) != pool.cidr:
        where_it_is = f"untagged and in {own.network}" if pool.vlan else f"in {own.network}"
        what = f"{node.name} has {own.ip}, {where_it_is}, and the pool {pool.cidr} is VLAN {pool.vlan}"
        raise BadInput(what, where=f"nodes: {node.name}", remedy="move the node or the pool to a subnet of its own")
    others = [hop for hop in node.gateways if family(hop) == pool.family and hop != pool.gateway]
    if others:
        what = f"{node.name} has the gateway {others[0]}, and its subnet's pods have {pool.gateway}"
        raise BadInput(what, where=f"nodes: {node.name}", remedy="give both the same gateway")
