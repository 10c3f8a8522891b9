"""What plugins with a tunnel or route from node to node ask of a node."""

from __future__ import annotations

from ipaddress import ip_interface

from cluster.model import Node, family
from kernel.errors import BadInput


def node_ip(node: Node, version: int) -> str:
    """A node's address of that family, without its length. Raises BadInput."""
    for address in node.addresses:
        if family(address) == version:
            return str(ip_interface(address).ip)
    what = f"node {node.name!r} has no IPv{version} address, and pods have: their packets travel between such addresses"
    raise BadInput(what, where="nodes", remedy=f"give every node an IPv{version} address, or take the pool out")
