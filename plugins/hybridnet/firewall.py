"""hybridnet's chains and sets (pkg/daemon/iptables/iptables.go, pkg/daemon/ipset)."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Literal

from kernel.state import FilterRule, IpSet

TO_NODE_MARK, FULL_NAT_MARK = "0x20/0x20", "0x40/0x40"
Family = Literal[4, 6]
Table = Literal["filter", "nat", "mangle", "raw"]


def set_name(name: str, family: Family) -> str:
    """IPv6 sets carry a prefix."""
    return name if family == 4 else f"inet6:{name}"


def sets(family: Family, overlay: Sequence[str], node_ips: Sequence[str], pod_ips: Sequence[str]) -> Iterator[IpSet]:
    """`overlay` are CIDRs, `node_ips` the local addresses of every node, `pod_ips` those of this node's pods. All five
    are made whatever the mode; those of the underlay are empty without one."""
    yield IpSet(set_name("HYBR-OVERLAY-NET", family), "hash:net", tuple(overlay), family)
    yield IpSet(set_name("HYBR-ALL", family), "hash:net", (*overlay, *node_ips), family)
    yield IpSet(set_name("HYBR-NODE-IP", family), "hash:ip", tuple(node_ips), family)
    yield IpSet(set_name("HYBR-LOCAL-UNDERLAY-NET", family), "hash:net", (), family)
    yield IpSet(set_name("HYBR-LOCAL-POD-IP", family), "hash:ip", tuple(pod_ips), family)


def rules(family: Family, vxlan: str, overlay: Iterable[str], own_ips: Iterable[str]) -> Iterator[FilterRule]:
    """All rules of one node: `vxlan` is its device, `own_ips` are its addresses.

    The masquerade stands for the article's SNAT of overlay pods that leave the cluster.
    """

    def rule(table: Table, chain: str, *args: str) -> FilterRule:
        return FilterRule(family, table, chain, args)

    from_overlay = ("-m", "set", "--match-set", set_name("HYBR-OVERLAY-NET", family), "src")
    for table, hook in (
        ("nat", "POSTROUTING"),
        ("filter", "FORWARD"),
        ("mangle", "PREROUTING"),
        ("mangle", "POSTROUTING"),
    ):
        yield rule(table, hook, "-j", f"HYBRIDNET-{hook}")  # type: ignore[arg-type]
    yield rule("nat", "HYBRIDNET-POSTROUTING", "-o", "hybr+", "-j", "RETURN")
    yield rule("nat", "HYBRIDNET-POSTROUTING", "-o", "h_+", "-j", "RETURN")
    yield rule("nat", "HYBRIDNET-POSTROUTING", "!", "-o", vxlan, *from_overlay, "-j", "MASQUERADE")
    reject = "icmp-host-unreachable" if family == 4 else "icmp6-addr-unreachable"
    strangers = ("-m", "set", "!", "--match-set", set_name("HYBR-ALL", family), "dst")
    new = ("-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED")
    yield rule("filter", "HYBRIDNET-FORWARD", "-o", vxlan, *strangers, *new, "-j", "REJECT", "--reject-with", reject)
    reply = (
        *("-m", "addrtype", "!", "--dst-type", "LOCAL"),
        *from_overlay,
        *("-m", "set", "--match-set", set_name("HYBR-NODE-IP", family), "dst"),
        *("-m", "conntrack", "!", "--ctstate", "NEW,INVALID,DNAT,SNAT"),
    )
    yield rule("mangle", "HYBRIDNET-PREROUTING", *reply, "-j", "HYBRIDNET-POD-TO-NODE-MARK")
    yield rule(
        "mangle", "HYBRIDNET-PREROUTING", "-m", "conntrack", "--ctstate", "SNAT", "-j", "HYBRIDNET-FROM-RULE-SKIP"
    )
    yield rule("mangle", "HYBRIDNET-POSTROUTING", *reply, "-j", "MARK", "--set-xmark", "0x0/0x20")
    for address in own_ips:
        yield rule("mangle", "HYBRIDNET-POD-TO-NODE-MARK", "-m", "conntrack", "--ctorigdst", address, "-j", "RETURN")
    yield rule("mangle", "HYBRIDNET-POD-TO-NODE-MARK", "-j", "MARK", "--set-xmark", TO_NODE_MARK)
    for cidr in overlay:
        dnat = ("-m", "conntrack", "--ctstate", "DNAT", "--ctreplsrc", cidr)
        yield rule("mangle", "HYBRIDNET-FROM-RULE-SKIP", *dnat, "-j", "MARK", "--set-xmark", FULL_NAT_MARK)
