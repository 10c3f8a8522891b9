"""What `inspect` tells, as plain data: what runs in the lab, or what the kernel has in one namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from typing import Any

from cluster.lab import Lab
from kernel.firewall import backend
from kernel.state import Link, Veth


def plain(value: Any) -> Any:
    """Dataclasses and tuples as dicts and lists, with the kind of each link and without what is empty or unset."""
    if is_dataclass(value) and not isinstance(value, type):
        found = {
            f.name: plain(getattr(value, f.name)) for f in fields(value) if getattr(value, f.name) not in (None, ())
        }
        return {"kind": type(value).__name__.lower(), **found} if isinstance(value, Link) else found
    if isinstance(value, tuple):
        return [plain(one) for one in value]
    return value


def of_namespace(lab: Lab, name: str) -> dict[str, Any]:
    """All that the kernel has in namespace `name` now."""
    found: dict[str, Any] = plain(lab.engine.read(name, daemons=True))
    wanted = lab.state[name]
    if wanted.filters or wanted.ipsets:
        kind = backend()
        for family, tool in ((4, "iptables"), (6, "ip6tables")):
            text = lab.namespaces.run(name, [f"{tool}-{kind}-save"]).stdout
            found.setdefault("filters", []).extend(filter_rules(family, text))
    if wanted.ipsets:
        found["ipsets"] = list(sets(lab.namespaces.run(name, ["ipset", "save"]).stdout))
    return found


def filter_rules(family: int, text: str) -> Iterator[dict[str, Any]]:
    """The rules in the output of iptables-save(8)."""
    table = ""
    for line in text.splitlines():
        if line.startswith("*"):
            table = line[1:]
        elif line.startswith("-A "):
            _, chain, *args = line.split(" ")
            yield {"family": family, "table": table, "chain": chain, "args": args}


def sets(text: str) -> Iterator[dict[str, Any]]:
    """The sets in the output of `ipset save` (ipset(8))."""
    made: dict[str, dict[str, Any]] = {}
    for words in map(str.split, text.splitlines()):
        if words[0] == "create":
            made[words[1]] = {"name": words[1], "kind": words[2], "members": []}
        elif words[0] == "add":
            made[words[1]]["members"].append(words[2])
    yield from made.values()


def of_lab(lab: Lab) -> dict[str, Any]:
    """Nodes, pods, links of the underlay and BGP sessions."""
    cluster = lab.cluster
    return {
        "lab": lab.spec.name,
        "kernel": os.environ.get("PODPATH_KERNEL", ""),
        "plugin": lab.plugin,
        "mode": lab.mode,
        "pod_mtu": lab.wanted.pod_mtu,
        "pools": [plain(pool) for pool in cluster.pools],
        "nodes": [
            plain(node) | {"blocks": [block.cidr for block in cluster.blocks if block.node == node.name]}
            for node in cluster.nodes
        ],
        "pods": [plain(pod) for pod in cluster.pods],
        "links": links(lab),
        "bgp": [session for router in lab.wanted.routers for session in sessions(lab, router.netns)],
        "notes": list(lab.wanted.notes),
    }


def links(lab: Lab) -> list[dict[str, Any]]:
    """The veth pairs whose ends are in two namespaces."""
    pairs = [(ns.name, link) for ns in lab.state.namespaces for link in ns.links if isinstance(link, Veth)]
    return [
        {"from": name, "dev": link.name, "to": link.peer_netns, "peer": link.peer.name, "mtu": link.mtu or 1500}
        for name, link in pairs
    ]


def sessions(lab: Lab, netns: str) -> list[dict[str, Any]]:
    """One router's BGP sessions, as FRR states them."""
    summary = lab.routers.show(netns, "show bgp summary json")
    found: dict[str, dict[str, Any]] = {}
    for family, part in summary.items():
        for address, peer in part.get("peers", {}).items() if isinstance(part, dict) else ():
            one = found.setdefault(
                address,
                {"router": netns, "peer": address, "as": peer["remoteAs"], "state": peer["state"], "received": {}},
            )
            one["received"][family] = peer.get("pfxRcd", 0)
    return list(found.values())
