"""Where and why a packet died: from the last place where it was seen, the kernel is asked what it would do next."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from kernel import export
from kernel.diff import change, ends
from kernel.state import Bridge, Netns, Vxlan
from paths.explain import Explainer, Space
from paths.lab import Lab
from paths.model import Hop, Sighting
from paths.probe import Probe

IP_HEADERS = {4: 20, 6: 40}


def diagnose(
    lab: Lab,
    explainer: Explainer,
    probe: Probe,
    source: str,
    owner: str | None,
    forward: Sequence[Hop],
    back: Sequence[Hop],
) -> tuple[str, str]:
    """The place, "namespace:device", and the reason in a sentence."""
    if not forward:
        return _at_source(lab, explainer, probe, source)
    last = (back or forward)[-1].seen
    goal = source if back else owner
    if last.netns == goal and last.direction == "in":
        if back:
            return last.place, "the answer arrived, but not at the probe's socket"
        return last.place, f"it arrived, and {owner} gave no answer{_differences(lab, explainer, last.netns)}"
    reason = next(_reasons(lab, explainer, last, probe), "")
    return last.place, reason or _unknown(lab, explainer, last, probe)


def _at_source(lab: Lab, explainer: Explainer, probe: Probe, source: str) -> tuple[str, str]:
    """Nothing left the source."""
    space = explainer.space(source)
    lookup = space.lookup(probe.target, None, None)
    if lookup.error or lookup.dev is None:
        return source, f"{source} has no route to {probe.target}{_differences(lab, explainer, source)}"
    link = space.links.get(lookup.dev)
    if link is not None and not link.up:
        return f"{source}:{lookup.dev}", f"{lookup.dev} is down{_differences(lab, explainer, source)}"
    if link is not None and link.mtu is not None and (size := _packet_size(probe)) > link.mtu:
        return f"{source}:{lookup.dev}", f"the packet has {size} bytes, and {lookup.dev} takes {link.mtu}"
    hop = lookup.via or probe.target
    reason = f"{hop} has no MAC address: nobody answered on {lookup.dev}"
    return f"{source}:{lookup.dev}", reason + _differences(
        lab, explainer, source, *_beyond(explainer, source, lookup.dev)
    )


def _packet_size(probe: Probe) -> int:
    return len(probe.payload) + 8 + IP_HEADERS[6 if probe.six else 4]


def _beyond(explainer: Explainer, netns: str, device: str) -> tuple[str, ...]:
    peer = explainer.peers.get((netns, device))
    return (peer[0],) if peer else ()


def _reasons(lab: Lab, explainer: Explainer, last: Sighting, probe: Probe) -> Iterator[str]:
    """Known ways to die after `last`, the surest first."""
    space = explainer.space(last.netns)
    link = space.links.get(last.device)
    if last.direction == "out":
        if isinstance(link, Vxlan):
            yield from _in_tunnel(lab, explainer, space, last)
        else:
            yield from _on_wire(lab, explainer, last)
    elif isinstance(space.links.get(last.netns), Bridge):
        yield from _in_switch(lab, explainer, space, last)
    else:
        yield from _in_host(lab, explainer, space, last, probe)


def _in_tunnel(lab: Lab, explainer: Explainer, space: Space, last: Sighting) -> Iterator[str]:
    """A VXLAN device got the packet and sent nothing."""
    ether = last.packet.ethernet
    mac = ether.dst if ether else "?"
    entries = space.fdb(last.device)
    if not any(known in (mac, "00:00:00:00:00:00") for known, _ in entries):
        yield f"{last.device} has no FDB entry for {mac}" + _differences(lab, explainer, space.name)
    for known, target in entries:
        if known == mac:
            lookup = space.lookup(target, None, None)
            if lookup.error:
                yield f"no route to the tunnel's end {target}: {lookup.error}" + _differences(
                    lab, explainer, space.name
                )
            out = space.links.get(lookup.dev or "")
            if out and out.mtu and last.length + 36 > out.mtu:
                yield f"encapsulated it has {last.length + 36} bytes, and {out.name} takes {out.mtu}"
            if out and not out.up:
                yield f"{out.name}, under the tunnel, is down" + _differences(lab, explainer, space.name)
            yield f"the tunnel's end {target} has no MAC address on {lookup.dev}" + _differences(
                lab, explainer, space.name
            )


def _on_wire(lab: Lab, explainer: Explainer, last: Sighting) -> Iterator[str]:
    peer = explainer.peers.get((last.netns, last.device))
    if peer is None:
        return
    space = explainer.space(peer[0])
    there = space.links.get(peer[1])
    if there is None:
        yield f"the other end, {peer[0]}:{peer[1]}, is gone" + _differences(lab, explainer, *peer[:1])
    elif not there.up:
        yield f"the other end, {peer[0]}:{peer[1]}, is down" + _differences(lab, explainer, peer[0])
    else:
        yield f"lost between {last.place} and {peer[0]}:{peer[1]}: the link drops packets" + _differences(
            lab, explainer, last.netns, peer[0]
        )


def _in_switch(lab: Lab, explainer: Explainer, space: Space, last: Sighting) -> Iterator[str]:
    down = [link.name for link in space.links.values() if not link.up]
    if down:
        yield f"the switch's {', '.join(down)} is down" + _differences(lab, explainer, space.name)
    ether = last.packet.ethernet
    yield f"{space.name} has no port to send {ether.dst if ether else '?'} to" + _differences(
        lab, explainer, space.name
    )


def _in_host(lab: Lab, explainer: Explainer, space: Space, last: Sighting, probe: Probe) -> Iterator[str]:
    """Arrived at a host that should pass it on."""
    header = last.packet.outer if last.packet.tunnel else last.packet.inner
    if header is None:
        return
    more = _differences(lab, explainer, space.name)
    answers = [space.lookup(header.dst, header.src, last.device, mark) for mark in space.marks()]
    lookup = answers[0]
    if last.packet.tunnel and lookup.kind == "local":
        yield f"the tunnel's packet arrived, and no device takes {last.packet.tunnel}{more}"
    if lookup.error:
        yield f"{space.name} has no way to {header.dst}: {lookup.error}{more}"
        return
    if lookup.kind in ("blackhole", "unreachable", "prohibit"):
        yield f"{lookup}{more}"
    if _sysctl(lab, space.name, last.device, ":" in header.dst) == "0":
        yield f"{space.name} does not forward what comes in by {last.device} (forwarding is 0){more}"
    out = space.links.get(lookup.dev or "")
    if out is not None and not out.up:
        yield f"{out.name} is down{more}"
    size = int(header.more.get("length", 0))
    if out is not None and out.mtu and size > out.mtu:
        yield f"the packet has {size} bytes and may not be fragmented, and {out.name} takes {out.mtu}{more}"
    if dropped := dropping_rule(lab, space.name, probe):
        yield f"the firewall of {space.name} drops it: {dropped}"
    hop = lookup.via or header.dst
    if not any(n.dev == lookup.dev and n.address == hop and n.mac and n.state != "FAILED" for n in space.neighbours()):
        others = _beyond(explainer, space.name, lookup.dev or "")
        yield (
            f"{lookup}, and {hop} has no MAC address there: nobody answered"
            + _differences(lab, explainer, space.name, *others)
        )
    if more:
        yield f"{lookup}{more}"


def _sysctl(lab: Lab, netns: str, device: str, six: bool) -> str:
    """Whether a device forwards."""
    path = f"/proc/sys/net/{'ipv6' if six else 'ipv4'}/conf/{device}/forwarding"
    try:
        with lab.namespaces.inside(netns), open(path) as file:
            return file.read().strip()
    except OSError:
        return ""


def dropping_rule(lab: Lab, netns: str, probe: Probe) -> str:
    """The rule whose counter grows when the probe is sent once more; empty when none that drops does."""
    from time import monotonic

    before = _counters(lab, netns, probe.six)
    if not any(_drops(rule) for rule in before):
        return ""
    again = type(probe)((probe.source, probe.target), len(probe.payload))
    source = next(ns for ns, addresses in _addresses(lab).items() if probe.source in addresses)
    again.open(lab.namespaces, source, None)
    end = monotonic() + 0.3
    try:
        again.send()
        while monotonic() < end:
            grown = [r for r, n in _counters(lab, netns, probe.six).items() if n > before.get(r, 0) and _drops(r)]
            if grown:
                return grown[0]
    finally:
        again.close()
    return ""


def _addresses(lab: Lab) -> dict[str, list[str]]:
    return {ns.name: [a.address.partition("/")[0] for a in ns.addresses] for ns in lab.state.namespaces}


def _drops(rule: str) -> bool:
    return " -j DROP" in rule or " -j REJECT" in rule


def _counters(lab: Lab, netns: str, six: bool) -> dict[str, int]:
    """Packets that each rule matched, by the rule's text, from the backend that the lab uses."""
    from kernel.firewall import backend

    text = lab.namespaces.run(netns, [f"ip{'6' if six else ''}tables-{backend()}-save", "-c"]).stdout
    found: dict[str, int] = {}
    for line in text.splitlines():
        if line.startswith("["):
            count, _, rule = line.partition("] ")
            found[rule] = found.get(rule, 0) + int(count[1:].partition(":")[0])
    return found


def _differences(lab: Lab, explainer: Explainer, *names: str) -> str:
    """What these namespaces lack of the wanted state, in `ip` words: usually the cause itself."""
    missing = [f"{name}: {line}" for name in names for line in lacking(lab, explainer.space(name))]
    shown = "; ".join(missing[:3]) + (f"; and {len(missing) - 3} more" if len(missing) > 3 else "")
    return f". Missing here: {shown}" if missing else ""


def lacking(lab: Lab, space: Space) -> Iterator[str]:
    """Wanted objects that the kernel does not have, and links that are not as wanted."""
    wanted = lab.state[space.name]
    actual = lab.engine.read(space.name)
    for name, link in ends(lab.state)[space.name].items():
        there = space.links.get(name)
        if there is None:
            yield f"device {name}"
        elif link.up and not there.up:
            yield f"device {name} up"
        elif link.mtu not in (None, there.mtu):
            yield f"MTU {link.mtu} on {name} (it is {there.mtu})"
    missing = change(wanted, Netns(space.name), actual).add
    yield from export.lines(
        Netns(
            space.name,
            port_vlans=missing.port_vlans,
            addresses=missing.addresses,
            routes=missing.routes,
            rules=missing.rules,
            neighbours=missing.neighbours,
            fdb=missing.fdb,
            sysctls=missing.sysctls,
        ),
        links=False,
    )


def _unknown(lab: Lab, explainer: Explainer, last: Sighting, probe: Probe) -> str:
    said = f": {probe.error}" if probe.error else ""
    return f"last seen here{said}{_differences(lab, explainer, last.netns)}"
