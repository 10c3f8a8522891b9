"""hybridnet's chains and sets (pkg/daemon/iptables/iptables.go, pkg/daemon/ipset)."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from kernel.state import FilterRule, IpSet

TO_NODE_MARK, FULL_NAT_MARK, MASQUERADE_MARK = "0x20/0x20", "0x40/0x40", "0x4000/0x4000"
Family = Literal[4, 6]
Table = Literal["filter", "nat", "mangle", "raw"]


@dataclass(frozen=True)
class Facts:
    """What one node's rules of one family are made of. `vxlan` is its device where there is an overlay network;
    `overlay`, `underlay` and `local_underlay` are CIDRs, the last ones those whose network the node belongs to;
    `guarded` are the devices by which its underlay pods' packets come in; `node_ips` the addresses of every node,
    `own_ips` the node's, `pod_ips` those of its pods."""

    family: Family
    vxlan: str | None
    overlay: tuple[str, ...]
    underlay: tuple[str, ...]
    local_underlay: tuple[str, ...]
    guarded: tuple[str, ...]
    node_ips: tuple[str, ...]
    own_ips: tuple[str, ...]
    pod_ips: tuple[str, ...]

    def rule(self, table: Table, chain: str, *args: str) -> FilterRule:
        """A rule of this family."""
        return FilterRule(self.family, table, chain, args)

    def set_name(self, name: str) -> str:
        """IPv6 sets carry a prefix."""
        return name if self.family == 4 else f"inet6:{name}"

    def within(self, name: str, side: str) -> tuple[str, ...]:
        """A match of the source or destination (`side` src, dst) with a set; with "!" before the name, of all else."""
        negation = ("!",) if name.startswith("!") else ()
        return ("-m", "set", *negation, "--match-set", self.set_name(name.removeprefix("!")), side)


def sets(facts: Facts) -> Iterator[IpSet]:
    """All five are made whatever the mode; those of what a mode has not are empty."""
    members = {
        "HYBR-OVERLAY-NET": facts.overlay,
        "HYBR-ALL": (*facts.underlay, *facts.overlay, *facts.node_ips),
        "HYBR-NODE-IP": facts.node_ips,
        "HYBR-LOCAL-UNDERLAY-NET": facts.local_underlay,
        "HYBR-LOCAL-POD-IP": facts.pod_ips,
    }
    for name, found in members.items():
        yield IpSet(facts.set_name(name), "hash:ip" if name.endswith("-IP") else "hash:net", found, facts.family)


def rules(facts: Facts) -> Iterator[FilterRule]:
    """All rules of one node. A chain that has none is left out, with the jump to it."""
    own = [*(_overlay(facts, facts.vxlan) if facts.vxlan else ()), *_loop_guard(facts), *_skip_tables(facts)]
    hooks: tuple[tuple[Table, str], ...] = (
        ("nat", "POSTROUTING"),
        ("filter", "FORWARD"),
        ("mangle", "PREROUTING"),
        ("mangle", "POSTROUTING"),
    )
    for table, hook in hooks:
        if any((rule.table, rule.chain) == (table, f"HYBRIDNET-{hook}") for rule in own):
            yield facts.rule(table, hook, "-j", f"HYBRIDNET-{hook}")
    yield from own


def _overlay(facts: Facts, vxlan: str) -> Iterator[FilterRule]:
    """The masquerade stands for the article's SNAT of overlay pods that leave the cluster; what goes into the tunnel
    for nobody of the cluster is refused; replies of overlay pods to nodes are marked into the tunnel."""
    from_overlay = facts.within("HYBR-OVERLAY-NET", "src")
    yield facts.rule("nat", "HYBRIDNET-POSTROUTING", "-o", "hybr+", "-j", "RETURN")
    yield facts.rule("nat", "HYBRIDNET-POSTROUTING", "-o", "h_+", "-j", "RETURN")
    yield facts.rule("nat", "HYBRIDNET-POSTROUTING", "!", "-o", vxlan, *from_overlay, "-j", "MASQUERADE")
    reject = "icmp-host-unreachable" if facts.family == 4 else "icmp6-addr-unreachable"
    strangers = facts.within("!HYBR-ALL", "dst")
    new = ("-m", "conntrack", "!", "--ctstate", "RELATED,ESTABLISHED")
    refusal = ("-j", "REJECT", "--reject-with", reject)
    yield facts.rule("filter", "HYBRIDNET-FORWARD", "-o", vxlan, *strangers, *new, *refusal)
    reply = (
        *("-m", "addrtype", "!", "--dst-type", "LOCAL"),
        *from_overlay,
        *facts.within("HYBR-NODE-IP", "dst"),
        *("-m", "conntrack", "!", "--ctstate", "NEW,INVALID,DNAT,SNAT"),
    )
    yield facts.rule("mangle", "HYBRIDNET-PREROUTING", *reply, "-j", "HYBRIDNET-POD-TO-NODE-MARK")
    yield facts.rule("mangle", "HYBRIDNET-POSTROUTING", *reply, "-j", "MARK", "--set-xmark", "0x0/0x20")
    for address in facts.own_ips:
        original = ("-m", "conntrack", "--ctorigdst", address)
        yield facts.rule("mangle", "HYBRIDNET-POD-TO-NODE-MARK", *original, "-j", "RETURN")
    yield facts.rule("mangle", "HYBRIDNET-POD-TO-NODE-MARK", "-j", "MARK", "--set-xmark", TO_NODE_MARK)


def _loop_guard(facts: Facts) -> Iterator[FilterRule]:
    """What the physical network sends here for an address of an underlay subnet that no pod of this node has would go
    back to the gateway, and come again (#379)."""
    for dev in facts.guarded:
        strange = (*facts.within("!HYBR-LOCAL-POD-IP", "dst"), *facts.within("HYBR-LOCAL-UNDERLAY-NET", "dst"))
        unmarked = ("-m", "mark", "!", "--mark", MASQUERADE_MARK)
        yield facts.rule("filter", "HYBRIDNET-FORWARD", "-i", dev, *unmarked, *strange, "-j", "DROP")


def _skip_tables(facts: Facts) -> Iterator[FilterRule]:
    """Replies of pods to whoever came by a NodePort and was translated both ways skip the subnet tables (#297)."""
    cidrs = (*facts.underlay, *facts.overlay)
    if cidrs:
        translated = ("-m", "conntrack", "--ctstate", "SNAT", "-j", "HYBRIDNET-FROM-RULE-SKIP")
        yield facts.rule("mangle", "HYBRIDNET-PREROUTING", *translated)
    for cidr in cidrs:
        dnat = ("-m", "conntrack", "--ctstate", "DNAT", "--ctreplsrc", cidr)
        yield facts.rule("mangle", "HYBRIDNET-FROM-RULE-SKIP", *dnat, "-j", "MARK", "--set-xmark", FULL_NAT_MARK)
