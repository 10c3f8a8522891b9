"""What a running lab shows of the properties that the article compares plugins by (its chapters 2.4 and 4.1)."""

from __future__ import annotations

from dataclasses import dataclass, replace

from cluster.model import Cluster, family
from kernel.state import Ipvlan, Macvlan, Veth
from paths.kinds import pair
from paths.lab import Lab
from paths.model import Sighting, Trace
from paths.trace import trace

CROSS = ("cross-node-same-vlan", "cross-node")
"""Between nodes; within one VLAN where there are VLANs."""


BGP = 186
"""RTPROT_BGP, linux/rtnetlink.h."""


@dataclass(frozen=True)
class Traits:
    """Of one mode on one lab. `source` and `target` are the pods between which packets were sent."""

    mode: str
    preset: str
    source: str = ""
    target: str = ""
    families: tuple[int, ...] = ()
    """IP versions in which a packet to a pod of another node was answered."""
    lacks: tuple[str, ...] = ()
    """Why pods have no address of the others."""
    tunnel: str = ""
    """What encapsulates packets on the wire; "" for nothing."""
    tagged: bool = False
    """Frames on the wire bear an 802.1Q tag."""
    speaks_bgp: bool = False
    routed: bool = False
    """Somebody on the way counted the TTL down."""
    switched: bool = False
    """Both pods are in one subnet of the physical network, and no router of it was passed."""
    device: str = ""
    """What kind of device a pod's eth0 is."""
    exits: tuple[str, ...] = ()
    """Whose address the client outside sees: "SNAT", "podIP"."""
    blocks: tuple[str, ...] = ()
    """Pools' blocks, one line for each node."""
    ranges: tuple[str, ...] = ()
    """Pools of which single addresses are given out, from and to."""
    fixed: str = ""
    """The address by which a pod answered whose lab file states it."""
    stated: str = ""
    """The line that states it."""


def observe(lab: Lab, preset: str, lacks: tuple[str, ...], fixed: tuple[str, str], stated: str) -> Traits:
    """Sends what is needed and reads what is there. `lacks` are the mode's reasons for families that it has not,
    `fixed` a pod beside those of the preset and the address that its lab file has for it, in the line `stated`."""
    cluster = replace(lab.cluster, pods=tuple(pod for pod in lab.cluster.pods if pod.name != fixed[0]))
    found = Traits(f"{lab.plugin}-{lab.mode}", preset, lacks=lacks, device=_device(lab), stated=stated)
    found = replace(found, blocks=tuple(_blocks(cluster)), ranges=tuple(_ranges(cluster)))
    found = replace(found, exits=tuple(_exits(lab, cluster)), speaks_bgp=_learned(lab))
    if trace(lab, cluster.pods[0].name, fixed[1]).delivered:
        found = replace(found, fixed=fixed[1])
    for version in (4, 6):
        kinds = (pair(cluster, kind, version) for kind in CROSS)
        ends = next((one for one in kinds if one), None)
        if ends is None:
            continue
        seen = trace(lab, ends[0].name, ends[1].name, family=version)
        if seen.delivered:
            found = replace(found, families=(*found.families, version), source=ends[0].name, target=ends[1].name)
            found = _wire(lab, found, seen)
    return found


def _wire(lab: Lab, found: Traits, seen: Trace) -> Traits:
    """What lies between the two nodes."""
    ours = {node.name for node in lab.cluster.nodes} | {pod.name for pod in lab.cluster.pods}
    hops = [hop.seen for hop in seen.forward]
    wire = [one for one in hops if one.netns not in ours]
    tunnels = [one.packet.tunnel.kind for one in wire if one.packet.tunnel]
    pools = [lab.cluster.pool_of(address) for address in seen.addresses]
    routers = {one.netns for one in wire if one.netns in _routers(lab)}
    return replace(
        found,
        tunnel=tunnels[0] if tunnels else "",
        tagged=any(one.packet.vlan is not None for one in wire),
        routed=found.routed or _ttl(hops[0]) > _ttl(hops[-1]),
        switched=found.switched or (pools[0].vlan is not None and pools[0] == pools[1] and not routers),
    )


def _ttl(seen: Sighting) -> int:
    inner = seen.packet.inner
    return int(inner.more["ttl" if inner.kind == "IPv4" else "hop_limit"]) if inner else 0


def _routers(lab: Lab) -> set[str]:
    """Those of the physical network: namespaces that forward and are no node."""
    nodes = {node.name for node in lab.cluster.nodes}
    return {
        ns.name
        for ns in lab.state.namespaces
        if ns.name not in nodes and any(one.key == "net.ipv4.ip_forward" and one.value == "1" for one in ns.sysctls)
    }


def _learned(lab: Lab) -> bool:
    """A node or a router has a route in its kernel that came by BGP."""
    names = [*(node.name for node in lab.cluster.nodes), *_routers(lab)]
    return any(route.proto == BGP for name in names for route in lab.engine.read(name, daemons=True).routes)


def _device(lab: Lab) -> str:
    """A veth's other end is in the node; a macvlan or ipvlan stands on a device of the node."""
    pod = lab.cluster.pods[0]
    read = next(link for link in lab.engine.read(pod.name).links if link.name == "eth0")
    kinds = {Veth: "veth pair", Macvlan: "macvlan subinterface", Ipvlan: "ipvlan subinterface"}
    return next((name for kind, name in kinds.items() if isinstance(read, kind)), type(read).__name__.lower())


def _exits(lab: Lab, cluster: Cluster) -> list[str]:
    """By whose address a pod goes out, and whether the client reaches a pod by the pod's own."""
    found: list[str] = []
    ends = pair(cluster, "pod-to-client", 4)
    if ends is None:
        return found
    pod, client = ends
    own = next(one for one in cluster.pods if one.name == pod.name).addresses
    out = trace(lab, pod.name, client.name)
    last = out.forward[-1].seen if out.forward else None
    if out.delivered and last and last.packet.inner:
        found.append("podIP" if last.packet.inner.src in own else "SNAT")
    back = trace(lab, client.name, pod.name, timeout_s=1.0)
    if back.delivered and "podIP" not in found:
        found.append("podIP")
    return found


def _blocks(cluster: Cluster) -> list[str]:
    return [f"{block.cidr} of {block.node}" for block in cluster.blocks if family(block.cidr) == 4]


def _ranges(cluster: Cluster) -> list[str]:
    pools = (pool for pool in cluster.pools if pool.vlan is not None and pool.family == 4)
    return [f"{pool.start or 'the first'} to {pool.end or 'the last'} of {pool.cidr}" for pool in pools]
