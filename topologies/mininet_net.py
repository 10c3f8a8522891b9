"""Mininet's view of a running lab: `LabNet` is a Mininet whose nodes, switches and links the engine made."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from mininet.log import output
from mininet.net import Mininet

from kernel import diff, iperf3
from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from kernel.state import Link, State, Veth
from topologies.mininet_node import (
    Client,
    ClusterNode,
    LabHost,
    LabIntf,
    LabLink,
    LabNode,
    LabSwitch,
    Pod,
    Reflector,
    Router,
    engine_only,
)
from topologies.ping import WINDOW, Probe, ping
from topologies.shaping import as_text
from topologies.spec import LabSpec

PING_S = 2.0
"""How long an answer may take, seconds; a neighbour that does not answer is asked again after one."""
Full = tuple[int, int, float, float, float, float]
"""Sent, received; least, mean, greatest round trip and deviation in ms: what Mininet's pingFull gives."""


class Control(Protocol):
    """Who owns the lab: cluster.lab.Lab itself, or whoever asks its server."""

    @property
    def spec(self) -> LabSpec:
        """The lab's topology as it is now."""

    @property
    def state(self) -> State:
        """The wanted state that follows from it."""

    def shape(self, a: str, b: str, values: dict[str, Any]) -> Any:
        """Other values for the link between `a` and `b`."""

    def set_up(self, devices: Sequence[tuple[str, str]], up: bool) -> Any:
        """Sets devices, each a namespace and a name, up or down, and keeps them so."""


class LabNet(Mininet):
    """The lab as Mininet knows a network: `hosts`, `switches`, `links`, `get`, `ping`, `iperf`, `configLinkStatus`.

    `pods` and `nodes` are those of the cluster. It makes nothing and removes nothing: `stop` ends the shells that
    were started. `control` changes links; without one they can be set up and down, and the next apply mends that.
    """

    def __init__(self, spec: LabSpec, namespaces: Namespaces, state: State, control: Control | None = None) -> None:
        with _machine_as_it_is():
            super().__init__(topo=None, build=False, controller=None, inNamespace=True)
        self._namespaces = namespaces
        self.control = control
        self.built = True
        self._become(spec, state)

    # -- what is there --

    def refresh(self) -> None:
        """Follows the lab: what came and went since, if anything. Nodes that stay keep their shells."""
        if self.control is not None and self.control.state is not self.state:
            self._become(self.control.spec, self.control.state)

    def _become(self, spec: LabSpec, state: State) -> None:
        self.spec, self.state = spec, state
        before: dict[str, LabNode] = self.nameToNode
        kinds = _kinds(spec)
        for name in set(before) - set(state.names):
            before[name].terminate()
        self.nameToNode: dict[str, LabNode] = {
            name: before.get(name) or self._node(name, kinds) for name in state.names
        }
        every = list(self.nameToNode.values())
        self.switches = [node for node in every if isinstance(node, LabSwitch)]
        self.pods = [node for node in every if isinstance(node, Pod)]
        self.nodes = [node for node in every if isinstance(node, ClusterNode)]
        others = [node for node in every if not isinstance(node, LabSwitch | Pod | ClusterNode)]
        self.hosts = [*self.pods, *self.nodes, *others]
        self._connect(state)

    def _node(self, name: str, kinds: dict[str, type[LabNode]]) -> LabNode:
        kind = kinds.get(name, Pod)
        if issubclass(kind, LabSwitch):
            return kind(name, self._namespaces, list(kinds).index(name) + 1, self._set_up)
        return kind(name, self._namespaces)

    def _connect(self, state: State) -> None:
        """Every device as an interface of its node, every pair of devices in two namespaces as a link."""
        addresses: dict[tuple[str, str], list[str]] = {}
        for ns in state.namespaces:
            for item in ns.addresses:
                addresses.setdefault((ns.name, item.dev), []).append(item.address)
        for name, devices in diff.ends(state).items():
            node = self.nameToNode[name]
            node.intfs, node.ports, node.nameToIntf = {}, {}, {}
            for port, link in enumerate(_ordered(name, devices)):
                LabIntf(link.name, node, port, link.mac, tuple(addresses.get((name, link.name), ())))
        pairs = [(ns.name, link) for ns in state.namespaces for link in ns.links if isinstance(link, Veth)]
        self.links = [
            LabLink(self[name].nameToIntf[link.name], self[link.peer_netns].nameToIntf[link.peer.name], self.shape)
            for name, link in pairs
        ]

    # -- measuring --

    def ping(
        self, hosts: Sequence[LabHost] | None = None, timeout: str | float | None = None, *, family: int = 4
    ) -> float:
        """Pings between all of `hosts` (all pods when none are given); returns the loss in percent.

        All requests are under way at once. `timeout` is in seconds; `family` 6 pings IPv6 addresses."""
        chosen = self._pinged(hosts)
        pairs = _pairs(chosen, family)
        answered = [rtt is not None for rtt in self._rtts(pairs, timeout, family)]
        seen = dict(zip(pairs, answered, strict=True))
        for source in chosen:
            words = (target.name if seen[source, target] else "X" for target in chosen if (source, target) in seen)
            output(f"{source.name} -> {' '.join(words)} \n")
        if not pairs:
            output("*** Warning: No packets sent\n")
            return 0.0
        loss = 100.0 * answered.count(False) / len(pairs)
        output(f"*** Results: {loss:.0f}% dropped ({answered.count(True)}/{len(pairs)} received)\n")
        return loss

    def pingFull(
        self, hosts: Sequence[LabHost] | None = None, timeout: str | float | None = None, *, family: int = 4
    ) -> list[tuple[LabHost, LabHost, Full]]:
        """The same with round-trip times, of pings sent one after the other; those that nobody answers are told
        first, all at once."""
        chosen = self._pinged(hosts)
        pairs = _pairs(chosen, family)
        first = dict(zip(pairs, self._rtts(pairs, timeout, family), strict=True))
        good = [pair for pair in pairs if first[pair] is not None]
        rtts = dict(zip(good, self._rtts(good, timeout, family, window=1), strict=True))
        found = [(*pair, _full(rtts.get(pair))) for pair in pairs]
        output("*** Results: \n")
        for source, target, (sent, received, least, mean, greatest, deviation) in found:
            times = f"{least:.3f}/{mean:.3f}/{greatest:.3f}/{deviation:.3f}"
            output(f" {source}->{target}: {sent}/{received}, rtt min/avg/max/mdev {times} ms\n")
        return found

    def pingAll(self, timeout: str | float | None = None) -> float:
        """Pings between all pods; returns the loss in percent."""
        return self.ping(timeout=timeout)

    def _pinged(self, hosts: Sequence[LabHost] | None) -> list[LabHost]:
        if not hosts:
            output("*** Ping: testing ping reachability\n")
        return list(hosts or self.pods or self.hosts)

    def _rtts(
        self, pairs: Sequence[tuple[LabHost, LabHost]], timeout: str | float | None, family: int, window: int = WINDOW
    ) -> list[float | None]:
        probes = [Probe(source.name, _address(target, family)) for source, target in pairs]
        return ping(self._namespaces, probes, float(timeout or PING_S), window)

    def iperf(
        self,
        hosts: Sequence[LabHost] | None = None,
        l4Type: str = "TCP",
        udpBw: str = "10M",
        fmt: str | None = None,
        seconds: float = 5,
        port: int = 5001,
    ) -> list[str]:
        """iperf3 from the first of two hosts to the second (the first and the last pod when none are given).

        Returns the server's and the client's rate as text, and with UDP the asked-for rate before them.
        Raises MissingTool, and PodpathError with iperf3's own words."""
        every = self.pods or self.hosts
        client, server = hosts or (every[0], every[-1])
        if l4Type not in ("TCP", "UDP"):
            raise BadInput(f"there is no l4Type {l4Type!r}", remedy="TCP or UDP")
        output(f"*** Iperf: testing {l4Type} bandwidth between {client} and {server} \n")
        rate = udpBw if l4Type == "UDP" else None
        address = _address(server, 4)
        found = iperf3.measure(self._namespaces, client.name, server.name, address, float(seconds), udp=rate, port=port)
        rates = (found.bits_per_second, found.sent_bits_per_second)
        result = [*([udpBw] if rate else []), *(_rate(one, fmt) for one in rates)]
        output(f"*** Results: {result}\n")
        return result

    # -- links --

    def shape(self, a: str, b: str, **values: Any) -> None:
        """Other values for the link between two nodes while the lab runs: `bandwidth` in bits a second or as
        "100Mbit", `delay` in microseconds or as "5ms", `loss` in percent, `mtu` in bytes; what is not named stays.

        Raises BadInput, and MissingFeature where the kernel has no netem or tbf."""
        if self.control is None:
            raise BadInput("this LabNet has no lab behind it that could change a link", remedy="give it `control`")
        self.control.shape(a, b, values)
        self.refresh()

    def configLinkStatus(self, src: str, dst: str, status: str) -> None:
        """Sets the links between two nodes "up" or "down". Raises BadInput."""
        for name in (src, dst):
            if name not in self:
                raise BadInput(f"there is no node {name!r}", remedy="`nodes` lists them")
        pairs = self[src].connectionsTo(self[dst])
        if not pairs:
            raise BadInput(f"there is no link between {src!r} and {dst!r}", remedy="`links` shows them")
        if status not in ("up", "down"):
            raise BadInput(f"a link is up or down, not {status!r}")
        self._set_up([(intf.node.name, intf.name) for pair in pairs for intf in pair], status == "up")

    def _set_up(self, devices: Sequence[tuple[str, str]], up: bool) -> None:
        if self.control is not None:
            self.control.set_up(devices, up)
            self.refresh()
            return
        for node, name in devices:
            if problem := self[node].nameToIntf[name].ifconfig("up" if up else "down"):
                raise BadInput(problem.strip())

    def shape_text(self, link: LabLink) -> str:
        """How a link is shaped, in words; "" if it is not."""
        try:
            shape = self.spec.link_between(link.intf1.node.name, link.intf2.node.name)
        except BadInput:  # a pod's
            return ""
        plain = {"bandwidth": None, "delay": 0, "loss": 0.0, "mtu": 1500}
        return "" if shape == plain else as_text(shape)

    # -- the engine's part, not Mininet's --

    def build(self) -> None:
        """The lab is built already."""

    def start(self) -> None:
        """The lab runs already."""

    def stop(self) -> None:
        """Ends the shells; the lab stays."""
        for node in self.nameToNode.values():
            node.terminate()

    def addHost(self, name: str, cls: Any = None, **params: Any) -> Any:
        """Raises BadInput."""
        raise engine_only("add a host")

    def addSwitch(self, name: str, cls: Any = None, **params: Any) -> Any:
        """Raises BadInput."""
        raise engine_only("add a switch")

    def addLink(self, node1: Any, node2: Any, *_: Any, **params: Any) -> Any:
        """Raises BadInput."""
        raise engine_only("add a link")

    def addController(self, name: Any = "c0", controller: Any = None, **params: Any) -> Any:
        """Raises BadInput: the switches are Linux bridges, which no controller steers."""
        raise engine_only("add a controller")

    def delNode(self, node: Any, nodes: Any = None) -> None:
        """Raises BadInput."""
        raise engine_only("delete a node")

    def delLink(self, link: Any) -> None:
        """Raises BadInput."""
        raise engine_only("delete a link")


@contextmanager
def _machine_as_it_is() -> Iterator[None]:
    """Mininet's constructor else raises limits of the machine (mininet.util.fixLimits), which are not the lab's."""
    before, Mininet.inited = Mininet.inited, True
    try:
        yield
    finally:
        Mininet.inited = before


def _kinds(spec: LabSpec) -> dict[str, type[LabNode]]:
    """What each name of a topology is; the others are pods."""
    found: dict[str, type[LabNode]] = {one.name: LabSwitch for one in spec.switches}
    found |= {one.name: ClusterNode for one in spec.nodes}
    found |= {one.name: Reflector for one in spec.reflectors}
    found |= {one.name: Router for one in spec.routers}
    found |= {spec.client.name: Client} if spec.client else {}
    return found


def _ordered(name: str, devices: dict[str, Link]) -> list[Link]:
    """A switch's own bridge first, which is port 0 as Mininet's control interface is, or a host's NICs."""
    return sorted(devices.values(), key=lambda link: (link.name != name, not link.name.startswith("eth")))


def _pairs(hosts: Sequence[LabHost], family: int) -> list[tuple[LabHost, LabHost]]:
    """Each host with each other one that has an address of the family."""
    return [(a, b) for a in hosts for b in hosts if a is not b and _address(b, family) and _address(a, family)]


def _address(host: LabHost, family: int) -> str:
    """ "" if it has none."""
    return (host.IP6() if family == 6 else host.IP()) or ""


def _rate(bits: float, unit: str | None) -> str:
    """A rate as iperf writes it: "9.41 Gbits/sec"; in `unit` k, m or g, else in the one that fits."""
    sizes = {"g": 10**9, "m": 10**6, "k": 10**3}
    if unit is None or unit.lower() not in sizes:
        unit = next((name for name, size in sizes.items() if bits >= size), "k")
    value = bits / sizes[unit.lower()]
    return f"{value:.3g} {unit.upper()}bits/sec" if value < 1000 else f"{value:.0f} {unit.upper()}bits/sec"


def _full(rtt: float | None) -> Full:
    if rtt is None:
        return 1, 0, 0.0, 0.0, 0.0, 0.0
    return 1, 1, rtt * 1000, rtt * 1000, rtt * 1000, 0.0
