"""A prediction as a tree for a terminal, and as JSON: where a packet will go in a lab that is only planned."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from bgp.model import Router
from kernel.state import State
from paths.model import Step
from paths.observe import ends
from paths.paint import Paint, wrapped
from paths.predict import Prediction, Predictor
from paths.show import ARROWS, DETAIL

PROTOCOLS = {("icmp", 6): "ipv6-icmp"}
"""As iptables calls it, where that is another name than the probe's."""


@dataclass(frozen=True)
class Outlook:
    """What will become of a probe and of its answer."""

    plugin: str
    mode: str
    source: str
    target: str
    address: str
    out: Prediction
    back: Prediction

    @property
    def lost(self) -> str:
        """Why there will be no answer; empty when there will be one."""
        return self.out.lost or self.back.lost

    def to_json(self) -> dict[str, Any]:
        """For `--json`."""
        return {
            "plugin": self.plugin,
            "mode": self.mode,
            "source": self.source,
            "target": self.target,
            "source_address": self.out.src,
            "target_address": self.address,
            "lost": self.lost,
            "expected_forward": [step.to_json() for step in self.out.steps],
            "expected_return": [step.to_json() for step in self.back.steps],
        }


def outlook(
    mode: tuple[str, str], made: tuple[State, Sequence[Router]], pair: tuple[str, str], family: int, probe: str = "icmp"
) -> Outlook:
    """Of a probe between `pair` (names, or an address as the target). `mode` is plugin and mode, `made` what is wanted.
    Raises BadInput for names that are nobody's."""
    state, routers = made
    owner, (_, target) = ends(state, *pair, family)
    predictor = Predictor(state, routers)
    protocol = PROTOCOLS.get((probe, 6 if ":" in target else 4), probe)
    out = predictor.way(pair[0], None, target, protocol)
    back = Prediction(()) if out.lost or owner is None else predictor.answer(out, owner, target, protocol)
    return Outlook(*mode, *pair, target, out, back)


def tree(found: Outlook, color: bool = False, width: int = 100) -> str:
    """The devices of both ways, and what leads out by each."""
    paint = Paint(color)
    lines = [paint(f"{found.source} → {found.target}", "bold") + f"   {found.out.src} → {found.address}"]
    lines.append(paint(f"{found.plugin} {found.mode}, predicted from the wanted state; nothing was built", "dim"))
    for name, way in (("out", found.out), ("back", found.back)):
        if way.steps:
            lines += ["", paint(name, "bold") + paint(f"   {len(way.steps)} devices", "dim"), *_way(way, paint, width)]
    end = paint(f"✘ {found.lost}", "bold", "red") if found.lost else paint("✔ it will be answered", "bold", "green")
    return "\n".join(line.rstrip() for line in (*lines, "", end))


def _way(way: Prediction, paint: Paint, width: int) -> Iterator[str]:
    groups = [list(group) for _, group in groupby(enumerate(way.steps, 1), lambda one: one[1].netns)]
    for group in groups:
        ending = group is groups[-1]
        yield paint("└─ " if ending else "├─ ", "dim") + paint(group[0][1].netns, "bold")
        guide = paint("   " if ending else "│  ", "dim")
        for number, step in group:
            yield from (guide + line for line in _step(number, step, paint, width - 3))


def _step(number: int, step: Step, paint: Paint, width: int) -> Iterator[str]:
    marks = [f"in {step.tunnel}"] if step.tunnel else []
    marks += [f"VLAN {step.tag}"] if step.tag else []
    text = f"{paint(f'{number:2}', 'dim')} {ARROWS[step.direction]} {paint(f'{step.device:<15}', 'bold')}"
    yield f"{text}  {step.action or 'arrives':<12}  {', '.join((f'{step.src} > {step.dst}', *marks))}"
    for why in (step.why, step.next_hop):
        for line in wrapped(why, width - DETAIL, 2):
            yield " " * DETAIL + paint(line, "dim")
