"""terway's data path over ipvlan: pods are slaves of the node's NIC, and one more slave on the node answers them.

As terway's legacy mode for several addresses on one elastic network interface (plugin/datapath/ipvlan.go). A node and
its own pods reach each other by that slave, which ipvlan alone does not allow: it carries the node's address, so ipvlan
hands it what pods send there.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from cluster.model import Cluster, Node, Pod, family, plain
from kernel.state import Address, Ipvlan, Neighbour, Netns, Route, State, merge
from plugins import physical, veth
from plugins.contract import Wanted
from plugins.ipvlan import l2

NAMED_BY_PARENT = "the node's slave is named after its parent, where terway's is ipvl_ and the parent's interface index"
NO_REDIRECT = (
    "terway's tc filters on the parent (clsact, u32, mirred), which turn packets for services into the node's stack, "
    "are not made: there are no services yet"
)


class OverIpvlan:
    """terway, mode ipvlan."""

    plugin = "terway"
    name = "ipvlan"
    families = (4, 6)
    lacks: Mapping[int, str] = {}
    preset = "flat"
    needs = frozenset({"ipvlan"})

    def wanted(self, cluster: Cluster, features: frozenset[str]) -> Wanted:
        """What ipvlan l2 makes, and the way between a node and its own pods."""
        del features
        physical.check(cluster, "terway ipvlan")
        parts = [State((_node_side(cluster, node),)) for node in cluster.nodes]
        parts += [State((_pod_side(cluster, pod),)) for pod in cluster.pods]
        mtu = min(node.mtu for node in cluster.nodes)
        return Wanted(merge(parts), pod_mtu=mtu, notes=(NAMED_BY_PARENT, NO_REDIRECT))


def slave(node: Node, vid: int) -> str:
    """The node's own slave of a VLAN's device."""
    return f"ipvl_{physical.sub_interface(node, vid)}"


def _node_side(cluster: Cluster, node: Node) -> Netns:
    """A slave for each VLAN with pods. IFF_NOARP makes its frames carry its own MAC as destination, which is the MAC of
    all slaves: such a frame stays inside and finds its pod by address.

    Where the parent is the node's own NIC (terway gives pods another one) the slave also takes the answers to the
    node's own ARP requests, which carry the node's address: it learns another node's pods only when they ask for it."""
    vids = physical.vids(cluster, node)
    slaves = tuple(
        Ipvlan(slave(node, vid), mtu=node.mtu, arp=False, dev=physical.sub_interface(node, vid), mode="l2")
        for vid in vids
    )
    own = [veth.host_prefix(address) for address in plain(node.addresses)]
    return Netns(
        node.name,
        links=(*physical.vlan_links(cluster, node, physical.sub_interface), *slaves),
        addresses=tuple(_unused_as_source(one.name, address) for one in slaves for address in own),
        routes=tuple(_to_pods(cluster, node)),
    )


def _unused_as_source(dev: str, address: str) -> Address:
    """With scope host no packet gets it as its source; IPv6 has no such scope."""
    return Address(dev, address) if veth.six(address) else Address(dev, address, scope="host")


def _to_pods(cluster: Cluster, node: Node) -> Iterator[Route]:
    for pod in cluster.pods_of(node.name):
        dev = slave(node, physical.vid_of(cluster, pod))
        yield from (Route(veth.host_prefix(address), dev=dev, scope="link") for address in pod.addresses)


def _pod_side(cluster: Cluster, pod: Pod) -> Netns:
    """The node is on the pod's own wire, at the MAC that both have."""
    node = cluster.node(pod.node)
    near = [one for one in plain(node.addresses) if family(one) in {family(mine) for mine in pod.addresses}]
    return l2.pod_side(cluster, pod).plus(
        Netns(
            pod.name,
            routes=tuple(Route(veth.host_prefix(one), dev=physical.POD_NIC, scope="link") for one in near),
            neighbours=tuple(Neighbour(physical.POD_NIC, one, node.mac) for one in near),
        )
    )
