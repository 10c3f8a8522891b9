"""From a topology to the cluster that stands on it: pods placed, blocks and addresses taken from the pools. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_network

from cluster.model import Block, Cluster, Node, Pod, Pool, Speaker
from kernel.errors import BadInput
from topologies.checks import block_room, pods_on
from topologies.spec import LabSpec, NodeSpec, PodSpec, PoolSpec
from topologies.underlay import NIC, gateways, mac_of

Network = IPv4Network | IPv6Network


def cluster_of(spec: LabSpec) -> Cluster:
    """The same topology always gives the same cluster. Raises BadInput for a pod with two of a family."""
    blocks = tuple(block for pool in spec.pools for block in _blocks(spec, pool))
    return Cluster(
        nodes=tuple(_node(spec, node) for node in spec.nodes),
        pods=tuple(_pods(spec, blocks)),
        pools=tuple(Pool(pool.cidr, pool.block_length) for pool in spec.pools),
        blocks=blocks,
        reflectors=tuple(Speaker(r.name, r.addresses, cluster_id=r.cluster_id) for r in spec.reflectors),
        routers=_routers(spec),
    )


def _routers(spec: LabSpec) -> tuple[Speaker, ...]:
    if not spec.router or spec.router.asn is None:
        return ()
    addresses = tuple(address for port in spec.router.ports for address in port.addresses)
    return (Speaker(spec.router.name, addresses, asn=spec.router.asn),)


def _node(spec: LabSpec, node: NodeSpec) -> Node:
    mac = node.mac or mac_of(f"{spec.name}/{node.name}/{NIC}")
    return Node(node.name, NIC, mac, node.addresses, gateways(spec, node), node.mtu)


def _blocks(spec: LabSpec, pool: PoolSpec) -> Iterator[Block]:
    """Each node's blocks, in the order of the nodes; at least one each."""
    network = ip_network(pool.cidr)
    free = network.subnets(new_prefix=pool.block_length)
    room = block_room(pool)
    for node in spec.nodes:
        for _ in range(max(1, -(-pods_on(spec, node.name) // room))):
            yield Block(str(next(free)), node.name)


def _pods(spec: LabSpec, blocks: tuple[Block, ...]) -> Iterator[Pod]:
    stated = {address for pod in spec.pods for address in pod.addresses}
    free = {
        (node.name, pool.cidr): _addresses(pool, node.name, blocks, stated)
        for node in spec.nodes
        for pool in spec.pools
    }
    names = {pod.name for pod in spec.pods}
    for pod in spec.pods:
        yield _pod(pod, tuple(pod.addresses) or tuple(next(free[pod.node, pool.cidr]) for pool in spec.pools))
    number = 0
    for node in spec.nodes:
        for _ in range(pods_on(spec, node.name) - sum(pod.node == node.name for pod in spec.pods)):
            number += 1
            while (name := f"pod{number}") in names:
                number += 1
            addresses = tuple(next(free[node.name, pool.cidr]) for pool in spec.pools)
            yield _pod(PodSpec(name=name, node=node.name), addresses)


def _pod(pod: PodSpec, addresses: tuple[str, ...]) -> Pod:
    families = [":" in address for address in addresses]
    if len(set(families)) < len(families):
        raise BadInput(f"pod {pod.name!r} would get two addresses of one family", remedy="state its addresses")
    return Pod(pod.name, pod.node, mac_of(f"{pod.namespace}/{pod.name}"), addresses, pod.namespace)


def _addresses(pool: PoolSpec, node: str, blocks: tuple[Block, ...], taken: set[str]) -> Iterator[str]:
    """The free addresses of a node's blocks in one pool, without each block's first and last."""
    for block in blocks:
        network = ip_network(block.cidr)
        if block.node != node or not _inside(network, ip_network(pool.cidr)):
            continue
        edges = {int(network[0]), int(network[-1])} if network.num_addresses > 2 else set()
        for number in range(int(network[0]), int(network[-1]) + 1):
            text = str(network[number - int(network[0])])
            if number not in edges and text not in taken:
                yield text


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner[0] in outer
