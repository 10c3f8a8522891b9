"""The flat network's rules (article, chapter 1.2) as checks: each a class that judges what was observed.

A rule may not hold in a mode: the real system translates an address, or a kernel device has no way. Where the mode's
documents say so (paths.documented), the rule is reported as not holding, with the reason, and the lab agrees.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from paths.containers import Container
from paths.documented import Stage, Ways
from paths.reach import Heard

PODS = "pod-to-pod"
"""The kind of a pair of pods, whichever."""


@dataclass(frozen=True)
class Pair:
    """A call of one kind (PODS, or paths.kinds' of a pod and a node) and what came of it."""

    kind: str
    heard: Heard

    @property
    def unchanged(self) -> bool:
        """The receiver saw the sender's own address, and its answer came."""
        return self.heard.answered and self.heard.seen == self.heard.own

    def __str__(self) -> str:
        call, heard = self.heard.call, self.heard
        what = "no answer" if not heard.answered else f"seen as {heard.seen}, which has {heard.own}"
        return f"{call.source} -> {call.target}: {what}"


@dataclass(frozen=True)
class Observed:
    """What was asked of a lab in one family. `inside` are the addresses that each pod itself has on its devices,
    `nodes` those of each node, `containers` what two containers of `pod` said."""

    family: int
    pairs: tuple[Pair, ...]
    inside: Mapping[str, Sequence[str]]
    nodes: Mapping[str, Sequence[str]] = field(default_factory=dict)
    homes: Mapping[str, str] = field(default_factory=dict)
    """The node of each pod."""
    containers: tuple[Container, ...] = ()
    pod: str = ""


@dataclass(frozen=True)
class Finding:
    """What a rule came to. `holds`: as the article has it; `agrees`: as the mode's documents have it."""

    rule: str
    article: str
    family: int
    holds: bool
    agrees: bool
    tried: int
    said: tuple[str, ...] = ()
    """Why it does not hold, or what is otherwise than documented."""

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "rule": self.rule,
            "article": self.article,
            "family": self.family,
            "holds": self.holds,
            "agrees": self.agrees,
            "tried": self.tried,
            "said": list(self.said),
        }


class Rule(ABC):
    """One statement of the article and how it is judged."""

    name: str
    article: str

    @abstractmethod
    def judge(self, observed: Observed, documents: Mapping[str, Ways]) -> Finding:
        """From what was observed, against the mode's documents."""

    def finding(self, observed: Observed, tried: int, wrong: Iterable[str], exceptions: Iterable[str] = ()) -> Finding:
        """`wrong` is otherwise than documented, `exceptions` otherwise than the article has it."""
        unlike, excepted = tuple(wrong), tuple(dict.fromkeys(exceptions))
        holds = not unlike and not excepted
        return Finding(self.name, self.article, observed.family, holds, not unlike, tried, unlike or excepted)


class PodsReachPods(Rule):
    """Every pod sends every other pod a datagram; the receiver sees the address that the sender's own socket has."""

    name = "pods reach pods without NAT"
    article = "All containers can access each other directly without NAT"

    def judge(self, observed: Observed, documents: Mapping[str, Ways]) -> Finding:
        del documents  # no mode may except itself
        pairs = [pair for pair in observed.pairs if pair.kind == PODS]
        return self.finding(observed, len(pairs), (str(pair) for pair in pairs if not pair.unchanged))


class NodesAndPods(Rule):
    """Every node sends every pod a datagram, and every pod every node; the receiver sees the sender's own address,
    unless the mode's document says whose it sees instead, or that nothing arrives."""

    name = "nodes and pods reach each other without NAT"
    article = "All nodes and all containers can directly access each other without NAT"

    def judge(self, observed: Observed, documents: Mapping[str, Ways]) -> Finding:
        pairs = [pair for pair in observed.pairs if pair.kind != PODS]
        wrong = (str(pair) for pair in pairs if not _as_documented(pair, observed, documents))
        excepted = (
            f"{pair.kind.replace('-', ' ')}: {_reason(documents[pair.kind].out)}"
            for pair in pairs
            if not pair.unchanged
        )
        return self.finding(observed, len(pairs), wrong, excepted)


class OneNamespacePerPod(Rule):
    """Two processes, each with a mount namespace of its own as containers have, in one pod: the one listens on
    127.0.0.1, the other connects to it, and both see the same devices under the same indices and the same MAC."""

    name = "containers of a pod share its network namespace"
    article = "all containers in the Pod share a network namespace"

    def judge(self, observed: Observed, documents: Mapping[str, Ways]) -> Finding:
        del documents
        return self.finding(observed, len(observed.containers), _apart(observed))


class SameAddressInside(Rule):
    """The address by which other pods know a pod is one that its own devices have."""

    name = "a container sees its own address as others do"
    article = "The container itself sees the same IP as other containers"

    def judge(self, observed: Observed, documents: Mapping[str, Ways]) -> Finding:
        del documents
        seen: dict[str, set[str]] = {pod: set() for pod in observed.inside}
        for pair in observed.pairs:
            if pair.kind == PODS and pair.heard.seen:
                seen[pair.heard.call.source].add(pair.heard.seen)
        wrong = (
            f"{pod} has {', '.join(own)} and others see {', '.join(sorted(seen[pod])) or 'nothing of it'}"
            for pod, own in observed.inside.items()
            if not seen[pod] or not seen[pod] <= set(own)
        )
        return self.finding(observed, len(observed.inside), wrong)


RULES: tuple[Rule, ...] = (PodsReachPods(), NodesAndPods(), OneNamespacePerPod(), SameAddressInside())


def judge(observed: Observed, documents: Mapping[str, Ways]) -> list[Finding]:
    """All rules; that of containers once, with IPv4, since it is about no address."""
    return [rule.judge(observed, documents) for rule in RULES if observed.containers or rule is not RULES[2]]


def arrives(kind: str, documents: Mapping[str, Ways]) -> bool:
    """A packet of this kind and its answer are documented to arrive."""
    way = documents.get(kind)
    return way is None or not (way.out[-1].lost or way.back[-1].lost)


def _as_documented(pair: Pair, observed: Observed, documents: Mapping[str, Ways]) -> bool:
    if not arrives(pair.kind, documents):
        return not pair.heard.answered
    translated = documents[pair.kind].out[-1].src == "near" if pair.kind in documents else False
    if not translated:
        return pair.unchanged
    home = observed.homes.get(pair.heard.call.source, pair.heard.call.source)
    return pair.heard.answered and pair.heard.seen in observed.nodes[home]


def _reason(path: Sequence[Stage]) -> str:
    """Of the stage where the packet is lost, or translated."""
    return next((stage.fact for stage in path if stage.fact and (stage.lost or stage.src == "near")), "not documented")


def _apart(observed: Observed) -> Iterator[str]:
    if len(observed.containers) != 2:
        yield f"{observed.pod}: two containers could not speak to each other on 127.0.0.1"
        return
    one, other = observed.containers
    if one.mounts == other.mounts:
        yield f"{observed.pod}: the two processes share a mount namespace, so they are no two containers"
    for what in ("network", "interfaces", "mac"):
        if getattr(one, what) != getattr(other, what):
            yield f"{observed.pod}: its containers differ in {what}: {getattr(one, what)} and {getattr(other, what)}"
    if (one.heard, other.heard) != ("from the caller", "from the listener"):
        yield f"{observed.pod}: on 127.0.0.1 its containers heard {one.heard!r} and {other.heard!r}"
