"""What a topology file may say (the schema is lab.schema.json), and how it is read: `load`, `preset`, `from_json`."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from kernel.errors import BadInput, meant
from topologies.fields import (
    PERCENT,
    RATE,
    TIME,
    Address,
    Asn,
    Cidr,
    ClusterId,
    Count,
    Delay,
    Device,
    Key,
    Loss,
    Mac,
    Mtu,
    Name,
    Prefix,
    Rate,
    VlanId,
    ranged,
)
from topologies.shaping import NAMES

PRESET_FOLDER = Path(__file__).resolve().parent / "presets"
PRESETS = (
    "default",
    "one-switch",
    "two-rack",
    "route-reflectors",
    "vlans",
    "trunks",
    "flat",
    "tor",
    "leaf-spine",
    "tunnels",
    "node-subnets",
)
SCHEMA = Path(__file__).resolve().parent / "lab.schema.json"
TunnelType = Literal["ipip", "gre", "sit", "isatap", "vti"]
TUNNEL_FEATURES = {"ipip": ("ipip",), "gre": ("gre",), "sit": ("sit",), "isatap": ("sit",), "vti": ("vti", "xfrm")}
"""Kernel features that a tunnel's type needs."""


class Part(BaseModel):
    """Strict: an unknown key is a mistake."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Shape(Part):
    """What a link does to packets, in both directions: bits a second, microseconds, percent."""

    bandwidth: Rate | None = None
    delay: Delay = 0
    loss: Loss = 0.0


class Port(Part):
    """A NIC on a switch. `vlan` makes it an access port (or is the trunk's native VLAN); `trunk` adds tagged VLANs."""

    switch: Name
    addresses: tuple[Cidr, ...] = ()
    mac: Mac | None = None
    mtu: Mtu = 1500
    vlan: VlanId | None = None
    trunk: tuple[VlanId, ...] = ()
    link: Shape = Shape()


class NodeSpec(Port):
    """A cluster node; `gateway` defaults to the router's address in the node's subnet, one for each family."""

    name: Name
    gateway: tuple[Address, ...] | None = None
    pods: Count | None = None


class PodSpec(Part):
    """A pod by name, in `network` (default: the first); without `addresses` they come from that network's pools."""

    name: Name
    node: Name
    namespace: Name = "default"
    network: Name | None = None
    addresses: tuple[Address, ...] = ()


class PoolSpec(Part):
    """Where pod addresses come from. Of most pools each node takes blocks of prefix length `block`. A pool with
    `vlan` (0: untagged) is a subnet of the physical network, whose router is `gateway`: pods take single addresses
    of it, from `start` to `end` without `exclude`.

    Pools of one `network` belong together: a pod is in one network and has an address of each of its pools. In an
    underlay mode `overlay` keeps a network in the tunnel."""

    cidr: Prefix
    block: Annotated[int, ranged(1, 128, "a prefix length")] | None = None
    network: Name = "default"
    overlay: bool = False
    vlan: Annotated[int, ranged(0, 4094, "a number (0: untagged)")] | None = None
    gateway: Address | None = None
    start: Address | None = None
    end: Address | None = None
    exclude: tuple[Address, ...] = ()

    @property
    def block_length(self) -> int:
        """As stated, else calico's defaults: 26 and 122."""
        return self.block or (122 if ":" in self.cidr else 26)


class SwitchSpec(Part):
    """A Linux bridge in a namespace of its own."""

    name: Name


class LinkSpec(Part):
    """A link between two switches; it carries every VLAN tagged where the lab has VLANs."""

    ends: tuple[Name, Name]
    mtu: Mtu = 1500
    link: Shape = Shape()


class RouterSpec(Part):
    """The gateway between subnets and to the outside; with `asn` it also speaks BGP with the nodes."""

    name: Name = "gw"
    ports: tuple[Port, ...]
    asn: Asn | None = None


class TorSpec(RouterSpec):
    """A router of a single rack, below `router` and in a subnet with it. What is not of its rack it sends there, and
    `router` sends it what is; of pods the two know from each other by BGP."""

    name: Name


class ReflectorSpec(Port):
    """A host that reflects routes (RFC 4456); with any, the nodes' mesh is off."""

    name: Name
    cluster_id: ClusterId


class ClientSpec(Part):
    """A host outside the cluster, behind the router. `router` holds the router's addresses on that link."""

    name: Name = "client"
    addresses: tuple[Cidr, ...]
    router: tuple[Cidr, ...]


class TunnelSpec(Part):
    """A tunnel over IPv4 between two hosts: a device `name` on each, with that end's `addresses` inside.

    ipip carries IPv4 (RFC 2003), sit IPv6 (RFC 4213), gre both (RFC 2784), vti IPv4 by IPsec. isatap (RFC 5214) carries
    IPv6 and makes its addresses itself: each end's out of `prefix` and its IPv4 address. `key` tells two gre tunnels
    between the same hosts apart (RFC 2890)."""

    name: Device
    type: Annotated[TunnelType, Field(description="one of ipip, gre, sit, isatap, vti")]
    ends: tuple[Name, Name]
    addresses: tuple[tuple[Cidr, ...], tuple[Cidr, ...]] = ((), ())
    prefix: Prefix | None = None
    key: Key | None = None


class LabSpec(Part):
    """A whole lab."""

    name: Name
    plugin: str | None = None
    mode: str | None = None
    families: Annotated[tuple[Literal[4, 6], ...], Field(min_length=1, description="[4], [6] or [4, 6]")] | None = None
    """IP versions that pods must have; unstated: those of the pools that the mode can carry."""
    pools: Annotated[tuple[PoolSpec, ...], Field(min_length=1, description="a list such as [{cidr: 10.244.0.0/16}]")]
    service_cidrs: Annotated[tuple[Prefix, ...], Field(max_length=2)] = ("10.96.0.0/12",)
    """Where service addresses come from, at most one range of a family; kubeadm's default."""
    address_check: Delay = 3 * 10**6
    """For how long it is probed whether a host on the physical network has a pod's address already, for plugins that
    do so; 0 is not at all. hybridnet's --vlan-check-timeout, whose default is 3 s."""
    switches: Annotated[tuple[SwitchSpec, ...], Field(min_length=1, description="a list such as [{name: s1}]")]
    links: tuple[LinkSpec, ...] = ()
    nodes: Annotated[
        tuple[NodeSpec, ...],
        Field(min_length=1, description="a list such as [{name: node1, switch: s1, addresses: [192.168.1.1/24]}]"),
    ]
    pods_per_node: Count = 2
    pods: tuple[PodSpec, ...] = ()
    router: RouterSpec | None = None
    tors: tuple[TorSpec, ...] = ()
    reflectors: tuple[ReflectorSpec, ...] = ()
    client: ClientSpec | None = None
    tunnels: tuple[TunnelSpec, ...] = ()

    @property
    def tagged(self) -> bool:
        """Some port belongs to a VLAN, so the switches filter."""
        return any(port.vlan or port.trunk for _, port in self.ports())

    @property
    def needs(self) -> frozenset[str]:
        """Kernel features without which this underlay, and pods in its VLANs, cannot be."""
        shapes = [port.link for _, port in self.ports()] + [link.link for link in self.links]
        wanted = {"veth", "bridge"}
        wanted |= {"vlan-filtering"} if self.tagged else set()
        wanted |= {"vlan"} if any(pool.vlan for pool in self.pools) else set()
        wanted |= {"netem"} if any(shape.delay or shape.loss for shape in shapes) else set()
        wanted |= {feature for tunnel in self.tunnels for feature in TUNNEL_FEATURES[tunnel.type]}
        wanted |= {"tbf"} if any(shape.bandwidth for shape in shapes) else set()
        return frozenset(wanted)

    @property
    def routers(self) -> tuple[RouterSpec, ...]:
        """The one router, and those of racks."""
        return (*([self.router] if self.router else []), *self.tors)

    def ports(self) -> Iterator[tuple[str, Port]]:
        """Every NIC on a switch with the name of its owner."""
        yield from ((node.name, node) for node in self.nodes)
        yield from ((reflector.name, reflector) for reflector in self.reflectors)
        yield from ((router.name, port) for router in self.routers for port in router.ports)

    def link_between(self, a: str, b: str) -> dict[str, Any]:
        """The link between two names as it is: bandwidth (bits a second or None), delay (microseconds), loss
        (percent), mtu. Raises BadInput when there is no such link."""
        part = self._links_between(self.model_dump(mode="json"), a, b)[0]
        return {**part["link"], "mtu": part["mtu"]}

    def with_link(self, a: str, b: str, **values: Any) -> LabSpec:
        """This lab with other values on the link between `a` and `b`: bandwidth, delay, loss, mtu.

        Raises BadInput when there is no such link or a value is wrong.
        """
        if unknown := sorted(set(values) - set(NAMES)):
            raise BadInput(f"a link has no {unknown[0]!r}", remedy=", ".join(NAMES))
        data = self.model_dump(mode="json")
        for part in self._links_between(data, a, b):
            part |= {"mtu": values["mtu"]} if "mtu" in values else {}
            part["link"] |= {name: value for name, value in values.items() if name != "mtu"}
        return checked(data, lambda loc: f"{a} - {b}" + "".join(f": {key}" for key in loc[-1:] if key in values))

    def _links_between(self, data: dict[str, Any], a: str, b: str) -> list[dict[str, Any]]:
        """The parts of the dumped spec that state a link between two names; a router may have several."""
        routers = [*([data["router"]] if data["router"] else []), *data["tors"]]
        stated = [({one["name"], one["switch"]}, one) for one in (*data["nodes"], *data["reflectors"])]
        stated += [(set(one["ends"]), one) for one in data["links"]]
        stated += [({router["name"], one["switch"]}, one) for router in routers for one in router["ports"]]
        if found := [part for ends, part in stated if ends == {a, b}]:
            return found
        what = f"there is no link between {a!r} and {b!r} that can be shaped"
        raise BadInput(what, remedy="name a switch and what is plugged into it; `links` at the prompt shows them")


def checked(data: Any, where: Callable[[Sequence[int | str]], str]) -> LabSpec:
    """The lab that `data` states. Raises BadInput for the first mistake; `where` makes text of its place."""
    from topologies.checks import check
    from topologies.mistakes import first

    try:
        spec = LabSpec.model_validate(data)
    except ValidationError as problem:
        raise first(problem, where) from None
    check(spec, where)
    return spec


def load(path: Path) -> LabSpec:
    """A topology file: YAML, or Python with Mininet's Topo. Raises BadInput with the file, the line and the place."""
    from topologies import python_file, source

    return python_file.read(path) if python_file.is_python(path) else source.read(path)


def preset(name: str) -> LabSpec:
    """A topology that comes along. Raises BadInput."""
    if name not in PRESETS:
        raise BadInput(f"there is no preset {name!r}", where="--preset", remedy=meant(name, PRESETS))
    return load(PRESET_FOLDER / f"{name}.yaml")


def from_json(text: str) -> LabSpec:
    """What `model_dump_json` wrote; it was checked then."""
    return LabSpec.model_validate_json(text)


def schema() -> dict[str, Any]:
    """The JSON schema of topology files."""
    found = LabSpec.model_json_schema(mode="validation")
    _also_text(found)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **found}


LIMITS = {"gt": "exclusiveMinimum", "ge": "minimum", "le": "maximum"}
"""What pydantic leaves in its own words on a value that it also reads from text."""


def _also_text(found: dict[str, Any]) -> None:
    """Rates, delays and losses may be written with their unit."""
    shape = found["$defs"]["Shape"]["properties"]
    for name, pattern in (("bandwidth", RATE), ("delay", TIME), ("loss", PERCENT)):
        plain = dict(shape[name])
        kept = {key: plain.pop(key) for key in ("default", "title") if key in plain}
        ways = [{LIMITS.get(key, key): value for key, value in way.items()} for way in plain.get("anyOf", [plain])]
        text = {"type": "string", "pattern": pattern.pattern, "description": "the same with its unit"}
        shape[name] = {"anyOf": [*ways, text], **kept}


if __name__ == "__main__":
    if sys.argv[1:] == ["--schema"]:
        SCHEMA.write_text(json.dumps(schema(), indent=2) + "\n")
