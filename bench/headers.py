"""What header sizes alone predict: the share of a link's bit rate that TCP's payload gets. Pure.

On the wire a frame takes its IP packet, the Ethernet header (14), the check sequence (4), preamble and start (8) and
the gap before the next (12): 38 bytes more (IEEE 802.3, clauses 3 and 4). TCP/IPv4 with time-stamps takes 52 of the
packet (RFC 791, RFC 9293, RFC 7323).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ETHERNET = 38
TCP_IPV4 = 52
SOURCE = "header sizes of RFC 2003 (IP in IP, 20), RFC 7348 (VXLAN, 50) and IEEE 802.1Q (4)"


@dataclass(frozen=True)
class Encapsulation:
    """`inside` bytes are taken from the packet that the link's MTU allows, `outside` ones come on top of it."""

    name: str
    inside: int = 0
    outside: int = 0


NONE = Encapsulation("none")
VLAN = Encapsulation("VLAN tag", outside=4)
IPIP = Encapsulation("IPIP", inside=20)
VXLAN = Encapsulation("VXLAN", inside=50)
KNOWN = {one.name: one for one in (NONE, VLAN, IPIP, VXLAN)}
TRUTHS = {
    ("VLAN tag", 1500): 0.9974,
    ("IPIP", 1500): 0.9862,
    ("VXLAN", 1500): 0.9655,
    ("VLAN tag", 9000): 0.9996,
    ("IPIP", 9000): 0.9978,
    ("VXLAN", 9000): 0.9944,
}
"""Goodput over that without encapsulation, to four digits, for an encapsulation and the link's MTU."""


def share(mtu: int, pod_mtu: int, outside: int = 0) -> float:
    """TCP payload bits for each bit of the line: a link of `mtu` bytes, pods with `pod_mtu`, `outside` bytes more.

    >>> round(share(1500, 1500), 4)
    0.9415
    """
    return (pod_mtu - TCP_IPV4) / (mtu + ETHERNET + outside)


def relative(one: Encapsulation, mtu: int) -> float:
    """Goodput with `one` over that without, both on a link of `mtu` bytes whose packets are full."""
    return share(mtu, mtu - one.inside, one.outside) / share(mtu, mtu)


def predicted(mtu: int, pod_mtu: int, inside: int, outside: int) -> float:
    """The share for full packets of `pod_mtu` bytes that carry `inside` bytes of headers more on their way: less than
    MTU − inside leaves the frames short."""
    return (pod_mtu - TCP_IPV4) / (min(pod_mtu + inside, mtu) + ETHERNET + outside)


def seen(layers: Sequence[tuple[str, int]]) -> Encapsulation:
    """The encapsulation out of the (kind, size) of a frame's headers, outermost first: what is before the innermost IP
    header beyond one Ethernet header."""
    kinds = [kind for kind, _ in layers]
    last = max((index for index, kind in enumerate(kinds) if kind in ("IPv4", "IPv6")), default=len(kinds))
    before = list(layers[:last])
    tags = _leading_tags(kinds)
    outside = sum(size for _, size in before[1 : 1 + tags])
    inside = sum(size for _, size in before[1 + tags :])
    tunnel = next((kind for kind, _ in before if kind in ("VXLAN", "IPIP", "GRE", "SIT")), None)
    name = " in ".join(part for part in (tunnel, "VLAN tag" if tags else None) if part) or "none"
    return Encapsulation(name, inside, outside)


def _leading_tags(kinds: Sequence[str]) -> int:
    count = 0
    while len(kinds) > 1 + count and kinds[1 + count] == "802.1Q":
        count += 1
    return count
