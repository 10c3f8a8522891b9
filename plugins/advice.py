"""Which mode for which data center: the article's chapter 2.5 as a decision, each answer with the statement behind it.

A statement applies when all that it names is wished for; it proposes modes. What a wish then forbids is taken out, with
the reason, and what meets the most wishes comes first.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any

from plugins.registry import mode, parted


@dataclass(frozen=True)
class Wishes:
    """What is asked of the network, as the options of `advise` say it."""

    least_invasive: bool = False
    dual_stack: bool = False
    underlay_bgp: bool = False
    same_subnet: bool = False
    low_latency: bool = False
    public_cloud: bool = False
    no_trunk: bool = False

    @property
    def named(self) -> tuple[str, ...]:
        """Those that are wished for, and `same_subnet`, which is no wish but how the nodes are."""
        return tuple(one.name for one in fields(self) if getattr(self, one.name))


RUN = "python run_topology.py"
TUNNELS = ("hybridnet-vxlan", "calico-ipip", "calico-vxlan")
"""The article's tunnel solutions."""
TRUNKED = ("hybridnet-vlan", "bifrost-macvlan")
"""Modes whose pods live in VLANs that reach the nodes by 802.1Q trunks."""
INVASION = "Invasion of existing networks (chapter 2.4, shortcoming of underlay solutions)"


@dataclass(frozen=True)
class Statement:
    """One of the article's statements. It applies where all of `when` and nothing of `unless` is wished for."""

    modes: tuple[str, ...]
    article: str
    when: frozenset[str] = frozenset()
    unless: frozenset[str] = frozenset()

    def applies(self, wishes: Wishes) -> bool:
        """Whether it is about these wishes."""
        named = set(wishes.named)
        return self.when <= named and not self.unless & named


def _said(modes: Sequence[str], article: str, when: Sequence[str] = (), unless: Sequence[str] = ()) -> Statement:
    return Statement(tuple(modes), article, frozenset(when), frozenset(unless))


LESS = "If you want to be less invasive to the data center's physical network, you can choose to use a tunnel solution"
BGP = "Hope that the data center supports and uses BGP"
STATEMENTS = (
    _said(
        ["hybridnet-vxlan"],
        f"{LESS}. If dual stack support is required, the hybridnet vxlan solution can be selected",
        ["least_invasive", "dual_stack"],
    ),
    _said(
        ["calico-ipip", "calico-vxlan"],
        f"{LESS}. If only single-stack IPv4 is supported, you can choose calico IPIP or calico vxlan",
        ["least_invasive"],
        ["dual_stack"],
    ),
    _said(
        ["calico-bgp"],
        f"{BGP}. If the host is in the same network segment, the calico BGP solution (supports dual stack) can be "
        "selected",
        ["underlay_bgp", "same_subnet"],
    ),
    _said(
        ["hybridnet-bgp"],
        f"{BGP}. If the host machine is in a different network segment, you can choose the hybridnet bgp solution "
        "(supports dual stack)",
        ["underlay_bgp"],
        ["same_subnet"],
    ),
    _said(
        ["macvlan-bridge", "ipvlan-l2", "bifrost-macvlan"],
        "In pursuit of high performance and low latency for business, solutions such as macvlan and ipvlan l2 have "
        "emerged",
        ["low_latency"],
    ),
    _said(
        ["terway-ipvlan", "ipvlan-l3", *TUNNELS],
        "In the public cloud scenario, you can choose the terway solution, or other ipvlan l3 solutions, or tunnel "
        "solutions",
        ["public_cloud"],
    ),
    _said(
        ["hybridnet-vxlan", "hybridnet-vlan", "hybridnet-bgp"],
        "There are also solutions developed to meet all scenarios, such as hybridnet and multus",
        (),
        ["least_invasive", "underlay_bgp", "low_latency", "public_cloud"],
    ),
)
"""The bullets of chapter 2.5, in its order; among macvlan bifrost, "based on macvlan transformation"."""


@dataclass(frozen=True)
class Option:
    """A mode that fits: the wishes that it meets, the statements that propose it, and commands that show it."""

    mode: str
    meets: tuple[str, ...]
    article: tuple[str, ...]
    evidence: tuple[tuple[str, str], ...]
    """What can be seen, and the command for it."""


@dataclass(frozen=True)
class Advice:
    """Modes that fit, the best first; those taken out and why; wishes that the first does not meet."""

    options: tuple[Option, ...]
    excluded: tuple[tuple[str, str], ...]
    unmet: tuple[str, ...]

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        options = [
            {
                "mode": one.mode,
                "meets": list(one.meets),
                "article": list(one.article),
                "evidence": [{"claim": claim, "command": command} for claim, command in one.evidence],
            }
            for one in self.options
        ]
        excluded = [{"mode": name, "reason": reason} for name, reason in self.excluded]
        return {"options": options, "excluded": excluded, "unmet": list(self.unmet)}


def advise(wishes: Wishes) -> Advice:
    """The decision. There may be no option left."""
    proposed: dict[str, list[Statement]] = {}
    for statement in STATEMENTS:
        if statement.applies(wishes):
            for name in statement.modes:
                proposed.setdefault(name, []).append(statement)
    excluded = {name: reason for name in proposed if (reason := _forbidden(name, wishes))}
    options = [_option(name, found, wishes) for name, found in proposed.items() if name not in excluded]
    options.sort(key=lambda one: -len(one.meets))
    met = {"same_subnet", *(options[0].meets if options else ())}
    unmet = tuple(wish for wish in wishes.named if wish not in met)
    return Advice(tuple(options), tuple(excluded.items()), unmet)


def _forbidden(name: str, wishes: Wishes) -> str:
    """Why a wish rules a mode out; "" if none does."""
    found = mode(*parted(name))
    if wishes.dual_stack and 6 in found.lacks:
        return f"it carries no IPv6: {found.lacks[6]}"
    if wishes.no_trunk and name in TRUNKED:
        return "its pods are in VLANs, which reach the nodes over 802.1Q trunks only"
    if wishes.least_invasive and name not in TUNNELS:
        return INVASION
    return ""


def _option(name: str, found: Sequence[Statement], wishes: Wishes) -> Option:
    named = {wish for statement in found for wish in statement.when}
    also = {"dual_stack"} if 6 in mode(*parted(name)).families else set()
    also |= {"no_trunk"} if name not in TRUNKED else set()
    also |= {"least_invasive"} if name in TUNNELS else set()
    meets = tuple(wish for wish in wishes.named if wish in (named | also) - {"same_subnet"})
    return Option(name, meets, tuple(one.article for one in found), tuple(_evidence(name, meets)))


def _evidence(name: str, meets: Sequence[str]) -> Iterator[tuple[str, str]]:
    plugin, rest = parted(name)
    chosen = f"--plugin {plugin} --mode {rest}"
    yield "every path and rule of the mode, hop by hop", f"{RUN} demo {chosen}"
    if "dual_stack" in meets:
        yield "IPv6 between pods of two nodes", _up(chosen, "trace pod1 pod3 -6")
    if "least_invasive" in meets:
        yield "the physical network sees nodes' addresses only", _up(chosen, "trace pod1 pod3")
    if "underlay_bgp" in meets:
        yield "sessions, and the prefixes that each peer sent", _up(chosen, "inspect")
    if "low_latency" in meets:
        bench = f"{RUN} bench --quick --modes raw,hybridnet-vxlan,{name}"
        yield "throughput and latency beside a tunnel and the links alone", bench
    if "public_cloud" in meets and name not in TUNNELS:
        claim = "pods' frames bear the MAC of their node, which is all that a cloud's network lets pass"
        yield claim, _up(chosen, "trace pod1 pod3 --json")


def _up(chosen: str, then: str) -> str:
    return f"{RUN} up -d {chosen} && {RUN} {then}"
