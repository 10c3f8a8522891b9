"""From a Mininet Topo to a lab: what its hosts and links are in a topology file's words."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network
from typing import Any

from kernel.errors import BadInput
from topologies.spec import LabSpec, checked

NODES_4, NODES_6 = IPv4Network("192.168.0.0/16"), IPv6Network("fd00:192:168::/64")
"""Where hosts that state no address get theirs from, in the order in which they were added."""
POOLS = ({"cidr": "10.244.0.0/16", "block": 26}, {"cidr": "fd00:10:244::/64", "block": 122})
"""The pools of a Topo that states none."""
ADDRESSES = ("ip", "ip6", "addresses", "mac")
OF_HOSTS = {
    "node": (*ADDRESSES, "role", "defaultRoute", "gateway", "pods"),
    "router": (*ADDRESSES, "role", "asn"),
    "tor": (*ADDRESSES, "role", "asn"),
    "reflector": (*ADDRESSES, "role", "defaultRoute", "cluster_id"),
    "client": (*ADDRESSES, "role", "defaultRoute"),
}
OF_LINKS = (*ADDRESSES, "bw", "delay", "loss", "mtu", "vlan", "trunk")
MININETS = (
    "node1",
    "node2",
    "port1",
    "port2",
    "params1",
    "params2",
    "addr1",
    "addr2",
    "use_htb",
    "use_tbf",
    "use_hfsc",
)
"""Link parameters of Mininet's that are taken, or that choose between ways to the same end."""
End = tuple[str, dict[str, Any]]
"""What is at the other end of a host's link, and the link's parameters at the host's end."""


def spec_of(topo: Any, name: str = "") -> LabSpec:
    """The lab that a Topo, of Mininet's or ours, describes. `name` is the lab's unless the Topo states one; else it is
    the class's. Raises BadInput, with the place, for what a lab cannot be made of."""
    name = name or re.sub(r"[^a-z0-9]+", "-", type(topo).__name__.lower()).strip("-")
    reader = _Reader(topo, name)
    data = reader.data()

    def where(loc: Sequence[int | str]) -> str:
        return f"topo {name}: {_place(data, loc)}"

    return checked(data, where)


class _Reader:
    """One Topo, as the data of a topology file."""

    def __init__(self, topo: Any, name: str) -> None:
        self.topo, self.name = topo, name
        every = topo.nodes(sort=False)
        self.switches = [one for one in every if topo.isSwitch(one)]
        self.hosts: dict[str, dict[str, Any]] = {one: topo.nodeInfo(one) for one in every if not topo.isSwitch(one)}
        links = sorted(topo.iterLinks(withKeys=True, withInfo=True), key=lambda link: int(link[2]))
        self.links: list[dict[str, Any]] = [info for _, _, _, info in links]

    def data(self) -> dict[str, Any]:
        """All of it. Raises BadInput."""
        for host, opts in self.hosts.items():
            role = opts.get("role", "node")
            if role not in OF_HOSTS:
                raise BadInput(
                    f"there is no role {role!r}", where=self._at(host), remedy=f"one of: {', '.join(OF_HOSTS)}"
                )
            self._known(host, opts, OF_HOSTS[role], ())
        found = {"name": self.name, "pools": POOLS, **getattr(self.topo, "settings", {})}
        found["switches"] = [{"name": one} for one in self.switches]
        found["links"] = [self._trunk(info) for info in self.links if not self._host_in(info)]
        found["nodes"] = list(self._nodes())
        found["reflectors"] = [
            {"name": host, "cluster_id": opts.get("cluster_id"), **self._port(host)}
            for host, opts in self._with("reflector")
        ]
        router = self._only("router")
        found["router"], found["client"] = self._routing(*router) if router else None, self._client()
        found["tors"] = [self._routing(*tor) for tor in self._with("tor")]
        return found

    def _at(self, what: str) -> str:
        return f"topo {self.name}: {what}"

    def _with(self, role: str) -> list[End]:
        return [(host, opts) for host, opts in self.hosts.items() if opts.get("role", "node") == role]

    def _known(self, what: str, opts: Mapping[str, Any], names: Iterable[str], silent: Iterable[str]) -> None:
        """Raises BadInput for a parameter that a lab would have to ignore."""
        for name, value in opts.items():
            if value is not None and name not in (*names, *silent):
                raise BadInput(f"a lab has no {name!r}", where=self._at(what), remedy=f"it has {', '.join(names)}")

    def _host_in(self, info: Mapping[str, Any]) -> bool:
        return info["node1"] in self.hosts or info["node2"] in self.hosts

    def _ends(self, host: str) -> Iterator[End]:
        """The host's links, from its side."""
        for info in self.links:
            for side, other in (("1", "2"), ("2", "1")):
                if info[f"node{side}"] == host:
                    far = str(info[f"node{other}"])
                    self._known(f"link {host} - {far}", info, OF_LINKS, MININETS)
                    stated = {"mac": info.get(f"addr{side}"), **info, **(info.get(f"params{side}") or {})}
                    yield far, {name: stated[name] for name in OF_LINKS if stated.get(name) is not None}

    def _nodes(self) -> Iterator[dict[str, Any]]:
        for number, (host, opts) in enumerate(self._with("node"), 1):
            port = self._port(host)
            if not port["addresses"]:
                port["addresses"] = [f"{one[number]}/{one.prefixlen}" for one in (NODES_4, NODES_6)]
            route = str(opts.get("defaultRoute") or "").split()
            via = (route[route.index("via") + 1],) if "via" in route[:-1] else None
            yield {"name": host, **port, "gateway": opts.get("gateway", via), "pods": opts.get("pods")}

    def _port(self, host: str) -> dict[str, Any]:
        """A host's only link, to a switch."""
        ends = list(self._ends(host))
        if len(ends) != 1 or ends[0][0] not in self.switches:
            what = f"{host!r} has {len(ends)} links" if len(ends) != 1 else f"{host!r} is linked with {ends[0][0]!r}"
            remedy = "give it one link, to a switch; only a router has several, and only a client is linked with one"
            raise BadInput(what, where=self._at(host), remedy=remedy)
        return self._plugged(*ends[0], self.hosts[host])

    def _plugged(self, switch: str, opts: dict[str, Any], host: Mapping[str, Any]) -> dict[str, Any]:
        """A port of a topology file; what the link states goes before what the host does."""
        own = {name: host[name] for name in ADDRESSES if host.get(name) is not None}
        stated = opts if any(name in opts for name in ADDRESSES[:3]) else own | opts
        kept = {name: opts[name] for name in ("mtu", "vlan", "trunk") if name in opts}
        mac = opts.get("mac", own.get("mac"))
        return {"switch": switch, "addresses": _addresses(stated), "mac": mac, "link": _shape(opts)} | kept

    def _trunk(self, info: Mapping[str, Any]) -> dict[str, Any]:
        ends = (info["node1"], info["node2"])
        self._known(f"link {' - '.join(ends)}", info, ("bw", "delay", "loss", "mtu"), MININETS)
        mtu = {"mtu": info["mtu"]} if info.get("mtu") is not None else {}
        return {"ends": ends, "link": _shape(info)} | mtu

    def _only(self, role: str) -> End | None:
        found = self._with(role)
        if len(found) > 1:
            raise BadInput(
                f"a lab has one {role}", where=self._at(found[1][0]), remedy=f"remove it, or {found[0][0]!r}"
            )
        return found[0] if found else None

    def _routing(self, name: str, opts: dict[str, Any]) -> dict[str, Any]:
        """A router, with a port for each of its links to a switch."""
        plugs = [(far, link) for far, link in self._ends(name) if far in self.switches]
        ports = [self._plugged(*plug, {} if number else opts) for number, plug in enumerate(plugs)]
        return {"name": name, "asn": opts.get("asn"), "ports": ports}

    def _client(self) -> dict[str, Any] | None:
        if (found := self._only("client")) is None:
            return None
        name, opts = found
        router = self._only("router")
        far = [link for other, link in self._ends(router[0]) if other == name] if router else []
        if len(far) != 1 or len(list(self._ends(name))) != 1:
            remedy = "link it with the router, once: addLink(client, router, ip=..., ip6=...)"
            raise BadInput(f"{name!r} is not behind the router", where=self._at(name), remedy=remedy)
        return {"name": name, "addresses": _addresses(opts), "router": _addresses(far[0])}


def _addresses(opts: Mapping[str, Any]) -> tuple[str, ...]:
    """Those stated in any of the ways."""
    if opts.get("addresses") is not None:
        return tuple(opts["addresses"])
    return tuple(opts[name] for name in ("ip", "ip6") if opts.get(name) is not None)


def _shape(opts: Mapping[str, Any]) -> dict[str, Any]:
    """Mininet's names as ours."""
    found = {"bandwidth": opts.get("bw"), "delay": opts.get("delay"), "loss": opts.get("loss")}
    if isinstance(found["bandwidth"], int | float):
        found["bandwidth"] = round(found["bandwidth"] * 10**6)
    return {name: value for name, value in found.items() if value is not None}


def _place(data: Any, loc: Sequence[int | str]) -> str:
    """nodes[node1].addresses[0]: items that have a name are called by it."""
    text = ""
    for part in loc:
        try:
            data = data[part]
        except (KeyError, IndexError, TypeError):
            data = None
        if isinstance(part, int):
            text += f"[{data['name'] if isinstance(data, dict) and 'name' in data else part}]"
        else:
            text += f".{part}"
    return text.removeprefix(".")
