"""From a topology to the cluster that stands on it: pods placed, blocks and addresses taken from the pools. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_interface, ip_network

from cluster.model import Block, Client, Cluster, Node, Pod, Pool, Speaker, family
from kernel.errors import BadInput
from topologies.placement import block_room, placed, pods_in
from topologies.spec import LabSpec, NodeSpec, PodSpec, PoolSpec, RouterSpec
from topologies.underlay import NIC, gateways, mac_of

Network = IPv4Network | IPv6Network


def cluster_of(spec: LabSpec, first_pod: int = 1) -> Cluster:
    """The same topology always gives the same cluster. `first_pod` is the lowest number within a block that a pod
    gets. Raises BadInput for a pod with two of a family."""
    blocks = tuple(block for pool in spec.pools if pool.vlan is None for block in _blocks(spec, pool))
    return Cluster(
        nodes=tuple(_node(spec, node) for node in spec.nodes),
        pods=tuple(_pods(spec, blocks, first_pod)),
        pools=tuple(_pool(pool) for pool in spec.pools),
        blocks=blocks,
        reflectors=tuple(Speaker(r.name, r.addresses, cluster_id=r.cluster_id) for r in spec.reflectors),
        routers=tuple(_speaker(router) for router in spec.routers if router.asn is not None),
        service_cidrs=spec.service_cidrs,
        address_check_s=spec.address_check / 1e6,
        client=Client(spec.client.name, spec.client.addresses) if spec.client else None,
    )


def _speaker(router: RouterSpec) -> Speaker:
    return Speaker(router.name, tuple(one for port in router.ports for one in port.addresses), asn=router.asn)


def _node(spec: LabSpec, node: NodeSpec) -> Node:
    mac = node.mac or mac_of(f"{spec.name}/{node.name}/{NIC}")
    return Node(node.name, NIC, mac, node.addresses, gateways(spec, node), node.mtu, node.trunk)


def _pool(pool: PoolSpec) -> Pool:
    bounds = (pool.start, pool.end, pool.exclude)
    return Pool(pool.cidr, pool.block_length, pool.network, pool.overlay, pool.vlan, pool.gateway, *bounds)


def _blocks(spec: LabSpec, pool: PoolSpec) -> Iterator[Block]:
    """Each node's blocks, in the order of the nodes; at least one each."""
    free = ip_network(pool.cidr).subnets(new_prefix=pool.block_length)
    room = block_room(pool)
    counts = pods_in(spec, pool.network)
    for node in spec.nodes:
        for _ in range(max(1, -(-counts[node.name] // room))):
            yield Block(str(next(free)), node.name)


def _pods(spec: LabSpec, blocks: tuple[Block, ...], first: int) -> Iterator[Pod]:
    taken = {address for pod in spec.pods for address in pod.addresses}
    taken |= {str(ip_interface(address).ip) for _, port in spec.ports() for address in port.addresses}
    free = {
        (node.name, pool.cidr): _of_blocks(pool, node.name, blocks, taken, first)
        for node in spec.nodes
        for pool in spec.pools
        if pool.vlan is None
    }
    shared = {pool.cidr: _of_subnet(pool, taken) for pool in spec.pools if pool.vlan is not None}
    for pod in placed(spec):
        mine = [pool for pool in spec.pools if pool.network == pod.network]
        sources = [shared[pool.cidr] if pool.vlan is not None else free[pod.node, pool.cidr] for pool in mine]
        try:
            yield _pod(pod, pod.addresses or tuple([next(source) for source in sources]))
        except StopIteration:
            what = f"the network {pod.network!r} has no address left for pod {pod.name!r}"
            raise BadInput(what, where="pools", remedy="make its pool larger, or have fewer pods") from None


def _pod(pod: PodSpec, addresses: tuple[str, ...]) -> Pod:
    families = [family(address) for address in addresses]
    if len(set(families)) < len(families):
        raise BadInput(f"pod {pod.name!r} would get two addresses of one family", remedy="state its addresses")
    mac = mac_of(f"{pod.namespace}/{pod.name}")
    return Pod(pod.name, pod.node, mac, addresses, pod.namespace, pod.network or "default")


def _of_blocks(pool: PoolSpec, node: str, blocks: tuple[Block, ...], taken: set[str], first: int) -> Iterator[str]:
    """The free addresses of a node's blocks in one pool, from number `first` on, without each block's last."""
    for block in blocks:
        network = ip_network(block.cidr)
        if block.node == node and _inside(network, ip_network(pool.cidr)):
            start = int(network[0]) + (first if network.num_addresses > 2 else 0)
            yield from _between(network, start, int(network[-1]), taken)


def _of_subnet(pool: PoolSpec, taken: set[str]) -> Iterator[str]:
    """The free addresses of a subnet of the physical network, in order."""
    network = ip_network(pool.cidr)
    first, last = (int(ip_address(one)) if one else None for one in (pool.start, pool.end))
    others = {*pool.exclude, *((pool.gateway,) if pool.gateway else ())}
    yield from _between(network, first or int(network[0]), last or int(network[-1]), taken | others)


def _between(network: Network, first: int, last: int, taken: set[str]) -> Iterator[str]:
    edges = {int(network[0]), int(network[-1])} if network.num_addresses > 2 else set()
    for number in range(first, last + 1):
        text = str(network[number - int(network[0])])
        if number not in edges and text not in taken:
            yield text


def _inside(inner: Network, outer: Network) -> bool:
    return inner.version == outer.version and inner[0] in outer
