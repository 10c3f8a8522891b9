"""Labs that are only planned, and the traces that they will give when all is as predicted."""

from __future__ import annotations

from functools import cache

from cluster.lab import Plan, plan
from kernel.features import FEATURES
from paths.documented import ways
from paths.kinds import pair
from paths.model import DROPPED, REPLIED, Hop, Layer, Packet, Setting, Sighting, Step, Trace
from paths.observe import addresses_of
from paths.predict import Predictor
from paths.segment import Segments
from plugins.registry import MODES, mode
from topologies.spec import preset

EVERYTHING = frozenset(FEATURES)


@cache
def made(name: str, topology: str | None = None) -> Plan:
    plugin, _, which = name.partition("-")
    return plan(preset(topology or mode(plugin, which).preset), plugin, which, EVERYTHING)


def address(one: Plan, name: str, family: int) -> str:
    return next(text for text in addresses_of(one.state)[name] if (":" in text) == (family == 6))


def seen(step: Step, port: str = "") -> Hop:
    """A sighting as it will be when the prediction is right."""
    tag = [Layer("802.1Q", more={"vid": step.tag})] if step.tag else []
    udp = [Layer("UDP", dst=port)] if step.tunnel == "VXLAN" else []
    tunnel = [Layer("IPv4"), *udp, Layer(step.tunnel)] if step.tunnel else []
    packet = Packet((Layer("Ethernet"), *tag, *tunnel, Layer("IPv4", step.src, step.dst)))
    return Hop(Sighting(step.netns, step.device, step.direction, 0, 0, packet), "", table=step.table)


def kinds() -> list[tuple[str, str, int]]:
    """Mode, kind of pair and family of every documented path that its preset has."""
    found = []
    for name in MODES:
        plugin, _, which = name.partition("-")
        for kind in ways(plugin, which):
            found += [(name, kind, family) for family in (4, 6) if pair(made(name).cluster, kind, family)]
    return found


def traced(name: str, kind: str, family: int) -> Trace:
    """The trace that a documented pair of ends will give."""
    one = made(name)
    ends = pair(one.cluster, kind, family)
    assert ends
    source, target = ends[0].name, ends[1].name
    predictor = Predictor(one.state, one.wanted.routers)
    out = predictor.way(source, None, address(one, target, family))
    back = predictor.answer(out, target, address(one, target, family)) if not out.lost else None
    macs = Segments(one.state)
    steps = (out.steps, back.steps if back else ())
    forward, again = (tuple(_hop(step, number, macs) for number, step in enumerate(way)) for way in steps)
    lost = out.lost or (back.lost if back else "")
    return Trace(
        Setting(*name.split("-", 1), "host kernel, Linux 6.1.0"),
        source,
        target,
        (out.src, address(one, target, family)),
        "icmp",
        family,
        DROPPED if lost else REPLIED,
        forward,
        again,
        place=next((hop.seen.place for hop in (again or forward)[::-1]), source) if lost else "",
        reason=lost,
        rtt_us=None if lost else 250.0,
        expected=out.steps,
    )


def _hop(step: Step, number: int, segments: Segments) -> Hop:
    """With a time, a length, MACs and what the headers on a real wire would be."""
    hop = seen(step, "8472")
    mac = segments.mac((step.netns, step.device))
    layers = tuple(
        Layer("Ethernet", mac, "ee:ee:ee:ee:ee:ee") if layer.kind == "Ethernet" else layer
        for layer in hop.seen.packet.layers
    )
    packet = Packet((*layers, Layer("ICMP")))
    sighting = Sighting(step.netns, step.device, step.direction, number * 1000, 98, packet)
    return Hop(sighting, step.action or "arrives", (step.why,) if step.why else (), step.rule, step.table)
