"""Pods and nodes of a lab: their addresses, and whom they reach."""

from __future__ import annotations

from ipaddress import ip_interface
from typing import Any

from tests.lab.frames import ping


def of(addresses: tuple[str, ...], version: int) -> str:
    """The address of a family, without its prefix length."""
    return next(str(ip_interface(one).ip) for one in addresses if ip_interface(one).version == version)


def node_ip(lab: Any, node: str, version: int = 4) -> str:
    return of(lab.cluster.node(node).addresses, version)


def pod(lab: Any, node: str, number: int = 0) -> Any:
    return lab.cluster.pods_of(node)[number]


def unreached(lab: Any, version: int) -> list[tuple[str, str]]:
    """The pings without an answer: a pod of each node and a second one of node1 with each other, and with every node
    both ways."""
    pods = [pod(lab, node.name) for node in lab.cluster.nodes] + [pod(lab, "node1", 1)]
    pairs = [(a.name, of(b.addresses, version)) for a in pods for b in pods if a != b]
    pairs += [(node.name, of(one.addresses, version)) for node in lab.cluster.nodes for one in pods]
    pairs += [(one.name, node_ip(lab, node.name, version)) for node in lab.cluster.nodes for one in pods]
    return [pair for pair in pairs if not ping(lab, *pair)]
