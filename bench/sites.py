"""Where is measured: a running lab, or the links alone. Each gives its ends, its settings and what it is made of."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from bench import headers, offload, raw
from bench.headers import Encapsulation
from bench.metrics import Ends
from bench.plan import AGAIN, NODE, RAW, SAME_NODE, WIRE, split
from bench.settings import Place, Setting, Shaper, far_end
from cluster.lab import Lab, features
from cluster.model import Cluster, Pod, family
from kernel.errors import BadInput
from paths.kinds import pair
from paths.trace import trace

LabFactory = Callable[[str, str, int], AbstractContextManager[Lab]]
"""(plugin, mode, MTU of the links) -> a context in which that lab is up."""
NIC = "eth0"
PREFERRED = ("cross-node-same-subnet-same-vlan", "cross-node-same-subnet", "cross-node")
"""Two pods on different nodes, as close as there are any: so that no router is measured along."""
WAITED_S = 5.0
"""How long the packet that shows the encapsulation may take, seconds."""


def far_pods(cluster: Cluster, version: int) -> tuple[Pod, Pod]:
    """Two pods of different nodes. Raises BadInput."""
    pods = {pod.name: pod for pod in cluster.pods}
    for kind in PREFERRED:
        if found := pair(cluster, kind, version):
            return pods[found[0].name], pods[found[1].name]
    remedy = "give the lab file two nodes with a pod on each"
    raise BadInput("the lab has no two pods on different nodes", remedy=remedy)


def mtu(namespaces: Any, name: str) -> int:
    """The MTU of eth0 in namespace `name` (SIOCGIFMTU, netdevice(7))."""
    import fcntl
    import socket
    import struct

    siocgifmtu = 0x8921
    with namespaces.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, siocgifmtu, struct.pack("16si12x", NIC.encode(), 0))
    return int(struct.unpack("16si12x", answer)[1])


class Site:
    """One thing that is up; `ends` by scenario."""

    def __init__(self, namespaces: Any, ends: dict[str, Ends], ports: tuple[Place, Place], netem: bool) -> None:
        self.namespaces, self.ends = namespaces, ends
        self._shaper = Shaper(namespaces, ports, netem)
        self.encapsulation = headers.NONE
        self.devices: int | None = None

    def put(self, one: Setting) -> list[str]:
        """Into a setting; returns what could not be had."""
        return self._shaper.put(one, self.encapsulation.outside)

    def facts(self) -> dict[str, Any]:
        """What it is made of, for the report: MTU, encapsulation seen, offloads and queues of the sender's NIC."""
        first = next(iter(self.ends.values()))
        netns = (first.nic or (first.source, NIC))[0]
        shown = self.namespaces.run(netns, ["tc", "-j", "qdisc", "show", "dev", NIC]).stdout
        return {
            "pod_mtu": first.mtu,
            "link_mtu": mtu(self.namespaces, netns),
            "encapsulation": self.encapsulation.name,
            "inside": self.encapsulation.inside,
            "outside": self.encapsulation.outside,
            "devices": self.devices,
            "offloads": offload.read(self.namespaces, netns).get(NIC, {}),
            "qdisc": [one["kind"] for one in json.loads(shown or "[]")],
            "bridge_nf_call_iptables": _bridge_nf(self.namespaces, netns),
        }


def _bridge_nf(namespaces: Any, name: str) -> int | None:
    """Whether bridged packets pass iptables there; None where br_netfilter is not loaded."""
    with namespaces.inside(name):
        try:
            return int(Path("/proc/sys/net/bridge/bridge-nf-call-iptables").read_text())
        except OSError:
            return None


@contextmanager
def site(name: str, link_mtu: int, lab_factory: LabFactory) -> Iterator[Site]:
    """The lab of a mode, or the links alone, up while the context lasts."""
    if name in (RAW, AGAIN):
        with _raw(link_mtu) as found:
            yield found
        return
    with lab_factory(*split(name), link_mtu) as lab:
        yield of_lab(lab)


@contextmanager
def _raw(link_mtu: int) -> Iterator[Site]:
    from kernel.engine import Engine
    from kernel.namespaces import Namespaces

    namespaces = Namespaces()
    engine = Engine(namespaces)
    try:
        state = raw.state(link_mtu)
        engine.apply(state)
        left, right = raw.LEFT, raw.RIGHT
        ends = Ends(namespaces, left, right, raw.ADDRESSES[right], mtu(namespaces, left), (left, NIC))
        ports = (far_end(state, (left, NIC)), far_end(state, (right, NIC)))
        yield Site(namespaces, {RAW: ends}, ports, "netem" in features())
    finally:
        engine.close()
        namespaces.close()


def of_lab(lab: Lab) -> Site:
    """The ends of each scenario, and what one real packet between nodes carries. Raises BadInput."""
    cluster = lab.cluster
    version = min(family(address) for pod in cluster.pods for address in pod.addresses)
    source, target = far_pods(cluster, version)
    nic = (source.node, NIC)

    def ends(a: str, b: str, addresses: tuple[str, ...], over: Place | None) -> Ends:
        address = next(one.partition("/")[0] for one in addresses if family(one) == version)
        return Ends(lab.namespaces, a, b, address, mtu(lab.namespaces, a), over)

    found = {WIRE: ends(source.name, target.name, target.addresses, nic)}
    found[NODE] = ends(source.node, target.node, cluster.node(target.node).addresses, nic)
    near = [pod for pod in cluster.pods_of(source.node) if pod.name != source.name]
    if near:
        found[SAME_NODE] = ends(source.name, near[0].name, near[0].addresses, None)
    ports = (far_end(lab.state, nic), far_end(lab.state, (target.node, NIC)))
    made = Site(lab.namespaces, found, ports, "netem" in lab.features)
    made.encapsulation, made.devices = observed(lab, source.name, target.name, version, ports[0])
    return made


def observed(lab: Lab, source: str, target: str, version: int, port: Place) -> tuple[Encapsulation, int]:
    """What a real packet carries where it enters the wire's switch at `port`, and how many devices saw it on its way.

    Raises BadInput when it did not arrive."""
    told = trace(lab, source, target, family=version, timeout_s=WAITED_S)
    if not told.delivered:
        where = f"{lab.plugin}-{lab.mode}"
        raise BadInput(f"{source} does not reach {target}: {told.reason}", where=where, remedy="see `trace`")
    places = [(hop.seen.netns, hop.seen.device) for hop in told.forward]
    frame = next((hop.seen for hop in told.forward if (hop.seen.netns, hop.seen.device) == port), None)
    if frame is None:
        return headers.NONE, len(set(places))
    return headers.seen([(layer.kind, layer.size) for layer in frame.packet.layers]), len(set(places))
