"""The cluster that a plugin is given: nodes, pods, pools, and the underlay they stand on. Pure data."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from ipaddress import ip_address, ip_interface, ip_network


@dataclass(frozen=True)
class Node:
    """A machine of the cluster. `netns` is its namespace's name, which is `name`.

    `addresses` are CIDRs on `nic` (one IPv4, at most one IPv6); `gateways` are the default routes'
    next hops, which the topology has already put into main; `mtu` is the NIC's. `vlans` are the tagged VLANs
    that its switch port carries (802.1Q).
    """

    name: str
    nic: str
    mac: str
    addresses: tuple[str, ...]
    gateways: tuple[str, ...] = ()
    mtu: int = 1500
    vlans: tuple[int, ...] = ()


@dataclass(frozen=True)
class Pod:
    """A pod: its own namespace `name`, on node `node`, with plain host addresses (no prefix length)."""

    name: str
    node: str
    mac: str
    addresses: tuple[str, ...]
    namespace: str = "default"
    network: str = "default"


@dataclass(frozen=True)
class Pool:
    """A pod CIDR; each node takes blocks of `block` prefix length from it (calico's /26 and /122). With `vlan`
    (0: untagged) it is a subnet of the physical network with router `gateway`, and has no blocks; pods have addresses
    from `start` to `end` without `exclude`. Pools of one `network` belong together. `overlay` keeps a network in the
    tunnel where the mode is an underlay."""

    cidr: str
    block: int
    network: str = "default"
    overlay: bool = False
    vlan: int | None = None
    gateway: str | None = None
    start: str | None = None
    end: str | None = None
    exclude: tuple[str, ...] = ()

    @property
    def family(self) -> int:
        """4 or 6."""
        return family(self.cidr)


@dataclass(frozen=True)
class Block:
    """A block of a pool and the node that owns it."""

    cidr: str
    node: str


@dataclass(frozen=True)
class Speaker:
    """A namespace beside the nodes that speaks BGP: a route reflector (`cluster_id`, RFC 4456) or a router of
    another AS (`asn`). `addresses` are CIDRs, one for each subnet and family that it is in."""

    netns: str
    addresses: tuple[str, ...]
    asn: int | None = None
    cluster_id: str | None = None


@dataclass(frozen=True)
class Client:
    """The host outside the cluster. `addresses` are CIDRs."""

    netns: str
    addresses: tuple[str, ...]


@dataclass(frozen=True)
class Cluster:
    """Everything a plugin may look at."""

    nodes: tuple[Node, ...]
    pods: tuple[Pod, ...]
    pools: tuple[Pool, ...]
    blocks: tuple[Block, ...]
    reflectors: tuple[Speaker, ...] = ()
    routers: tuple[Speaker, ...] = ()
    service_cidrs: tuple[str, ...] = ()
    """Ranges of service addresses, which no device has; at most one of a family."""
    address_check_s: float = 3.0
    """How long a pod's address is probed for on a physical network, seconds."""
    client: Client | None = None

    def node(self, name: str) -> Node:
        return next(n for n in self.nodes if n.name == name)

    def pods_of(self, node: str) -> tuple[Pod, ...]:
        return tuple(p for p in self.pods if p.node == node)

    def pool_of(self, address: str) -> Pool:
        """The pool that a pod's address is from."""
        return next(pool for pool in self.pools if ip_address(address) in ip_network(pool.cidr))

    def only(self, families: Collection[int]) -> Cluster:
        """The same cluster as a mode sees it that carries no other IP versions (4, 6) than these."""

        def kept(addresses: tuple[str, ...]) -> tuple[str, ...]:
            return tuple(address for address in addresses if family(address) in families)

        return replace(
            self,
            nodes=tuple(replace(n, addresses=kept(n.addresses), gateways=kept(n.gateways)) for n in self.nodes),
            pods=tuple(replace(pod, addresses=kept(pod.addresses)) for pod in self.pods),
            pools=tuple(pool for pool in self.pools if pool.family in families),
            blocks=tuple(block for block in self.blocks if family(block.cidr) in families),
            reflectors=tuple(replace(one, addresses=kept(one.addresses)) for one in self.reflectors),
            routers=tuple(replace(one, addresses=kept(one.addresses)) for one in self.routers),
            service_cidrs=kept(self.service_cidrs),
        )


def family(address: str) -> int:
    """The IP version of an address or prefix: 4 or 6."""
    return 6 if ":" in address else 4


def plain(addresses: Iterable[str]) -> list[str]:
    """Addresses without their prefix lengths."""
    return [str(ip_interface(address).ip) for address in addresses]


def in_one_subnet(mine: Sequence[str], theirs: Sequence[str]) -> list[tuple[str, str]]:
    """Pairs of addresses, one of each, that are in one subnet; without their prefix lengths."""
    pairs = ((ip_interface(a), ip_interface(b)) for a in mine for b in theirs)
    return [(str(a.ip), str(b.ip)) for a, b in pairs if a.network == b.network]


def host_veth(prefix: str, namespace: str, pod: str) -> str:
    """The host end's name: `prefix` + 11 hex digits of SHA-1("<namespace>.<pod>").

    The same in calico (workload_endpoint_default.go) and hybridnet (daemon/containernetwork/utils.go).
    >>> host_veth("cali", "default", "nginx")
    'calic440f455693'
    """
    return prefix + hashlib.sha1(f"{namespace}.{pod}".encode()).hexdigest()[:11]
