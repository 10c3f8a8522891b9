"""Ways to die in a host: at the source, on a node or router that should pass it on, in a tunnel, at the target."""

from __future__ import annotations

from collections.abc import Iterator
from ipaddress import ip_address

from kernel.state import Vxlan
from paths import fib
from paths.case import Case, Check, dropping, first, setting
from paths.evidence import REVERSE_PATH
from paths.fib import Lookup
from paths.layer2 import WIRE, no_carrier, port_towards, refused_by_device, wrong_vlan_in
from paths.model import Layer, Sighting
from paths.segment import Segments
from paths.space import Space
from paths.wires import chain

ANY_MAC = ("00:00:00:00:00:00", "ff:ff:ff:ff:ff:f1")
"""FDB entries of VXLAN devices that hold for every MAC."""


def at_source(case: Case) -> str:
    """Nothing left the source."""
    space, target = case.explainer.space(case.source), case.probe.target
    lookup = space.lookup(target, None, None)
    wanted = fib.lookup(case.lab.state[case.source], target)
    if wanted.dev and wanted.dev != lookup.dev and (down := _not_up(space, wanted.dev)):
        return down
    if lookup.error:
        entry = fib.lookup(space.now, target)
        said = f" ({entry})" if entry.kind else ""
        return f"{case.source} has no way to {target}: {lookup.error}{said}"
    link = space.links.get(lookup.dev or "")
    if rule := dropping(case, case.source):
        return f"the firewall of {case.source} drops it: {rule}"
    if case.probe.error:
        mtu = f" ({link.name} takes {link.mtu} bytes)" if link and case.probe.error == "Message too long" else ""
        return f"{case.source}'s kernel refused to send it: {case.probe.error}{mtu}"
    return _unresolved(case, space, lookup, target) or f"{lookup}, and nothing was seen to leave"


# -- passing through --------------------------------------------------------------------------------------


def reverse_path(case: Case, last: Sighting) -> str | None:
    """rp_filter: the way back to its source is not by the device where it came in (RFC 3704)."""
    header = _header(last)
    if not header or not case.grown[last.netns].get(REVERSE_PATH):
        return None
    keys = (f"net.ipv4.conf.{dev}.rp_filter" for dev in ("all", last.device.replace(".", "/")))
    value = max(setting(case, last.netns, key) for key in keys)
    back = case.space.lookup(header.src, None, None)
    return (
        f"rp_filter is {value} on {last.device}: {last.netns} takes no packet from {header.src} there, because the way "
        f"back is {back} (the kernel counted it: {REVERSE_PATH})"
    )


def dropped_by_filter(case: Case, last: Sighting) -> str | None:
    """A rule that drops counted it."""
    rule = dropping(case, last.netns)
    return f"the firewall of {last.netns} drops it: {rule}" if rule else None


def tunnel_for_nobody(case: Case, last: Sighting) -> str | None:
    """It is addressed to this host, and no device here takes this kind of tunnel."""
    tunnel, outer = last.packet.tunnel, last.packet.outer
    if tunnel is None or outer is None or case.space.lookup(outer.dst, None, None).kind != "local":
        return None
    vni = f" with VNI {tunnel.more['vni']}" if "vni" in tunnel.more else ""
    udp = f" on UDP port {last.packet.udp.dst}" if last.packet.udp else ""
    return f"it is for {last.netns}, and no device there takes {tunnel.kind}{vni}{udp}"


def not_forwarding(case: Case, last: Sighting) -> str | None:
    """The host is no router."""
    header = _header(last)
    if not header or case.space.lookup(header.dst, None, None).kind == "local":
        return None
    version, everywhere = ("ipv6", "all") if ":" in header.dst else ("ipv4", last.device.replace(".", "/"))
    key = f"net.{version}.conf.{everywhere}.forwarding"
    return f"{last.netns} does not forward: {key} is 0" if setting(case, last.netns, key) == "0" else None


def no_way(case: Case, last: Sighting) -> str | None:
    """No route, or one that says no."""
    header = _header(last)
    if not header:
        return None
    lookup = _lookup(case, last, header)
    entry = fib.lookup(case.space.now, header.dst, header.src, iif=last.device)
    if entry.kind in fib.ENDS:
        return f"a route ends it: {entry}{_instead(case, last, header)}"
    if lookup.error:
        return f"{last.netns} has no way to {header.dst}: {lookup.error}{_instead(case, last, header)}"
    return None


def way_out_down(case: Case, last: Sighting) -> str | None:
    """The device by which it should leave is down or gone; its routes went with it."""
    header = _header(last)
    if not header:
        return None
    wanted = fib.lookup(case.lab.state[last.netns], header.dst, header.src, iif=last.device)
    if not wanted.dev or wanted.dev == last.device or _lookup(case, last, header).dev == wanted.dev:
        return None
    return _not_up(case.space, wanted.dev)


def too_long(case: Case, last: Sighting) -> str | None:
    """It may not be fragmented, and the next device takes less."""
    header = _header(last)
    link = case.space.links.get(_lookup(case, last, header).dev or "") if header else None
    size = int(header.more.get("length", 0)) if header else 0
    if link is None or not link.mtu or size <= link.mtu or not header or header.more.get("df") is False:
        return None
    return f"the packet has {size} bytes and may not be fragmented, and {link.name} takes {link.mtu} (its MTU)"


def no_carrier_out(case: Case, last: Sighting) -> str | None:
    """The device by which it should leave is up, and nobody is at its other end."""
    header = _header(last)
    lookup = _lookup(case, last, header) if header else Lookup()
    silent = no_carrier(case, last.netns, lookup.dev) if lookup.dev else None
    return f"{lookup}, and {silent}" if silent else None


def no_neighbour(case: Case, last: Sighting) -> str | None:
    """Nobody answered for the next hop."""
    header = _header(last)
    if not header:
        return None
    lookup = _lookup(case, last, header)
    found = _unresolved(case, case.space, lookup, header.dst)
    return found + _instead(case, last, header) if found else None


def expired(case: Case, last: Sighting) -> str | None:
    """Its time to live was over."""
    header = _header(last)
    ttl = header.more.get("ttl", header.more.get("hop_limit")) if header else None
    return f"its TTL was {ttl}: {last.netns} may not pass it on" if ttl is not None and ttl <= 1 else None


PASSING: tuple[Check, ...] = (
    reverse_path,
    dropped_by_filter,
    tunnel_for_nobody,
    expired,
    not_forwarding,
    way_out_down,
    no_way,
    too_long,
    no_carrier_out,
    no_neighbour,
)

# -- at the target ----------------------------------------------------------------------------------------


def not_mine(case: Case, last: Sighting) -> str | None:
    """The target has not the address that the probe was sent to."""
    header = _header(last)
    if not header or case.space.lookup(header.dst, None, None).kind == "local":
        return None
    return f"{last.netns} does not have the address {header.dst}"


def cannot_answer(case: Case, last: Sighting) -> str | None:
    """The target has no way back."""
    header = _header(last)
    if not header or case.back:
        return None
    lookup = case.space.lookup(header.src, None, None)
    if lookup.error:
        entry = fib.lookup(case.space.now, header.src)
        said = f" ({entry})" if entry.kind in fib.ENDS else ""
        return f"it arrived, and {last.netns} has no way back to {header.src}: {lookup.error}{said}"
    unresolved = _unresolved(case, case.space, lookup, header.src)
    return f"it arrived, and the answer did not leave: {unresolved}" if unresolved else None


ARRIVED: tuple[Check, ...] = (reverse_path, dropped_by_filter, not_mine, cannot_answer)

# -- in a tunnel device -----------------------------------------------------------------------------------


def no_entry(case: Case, last: Sighting) -> str | None:
    """A VXLAN device does not know the destination MAC."""
    mac = last.packet.ethernet.dst if last.packet.ethernet else "?"
    known = [entry for entry in case.space.fdb(last.device) if entry.mac in (mac, *ANY_MAC)]
    if not isinstance(case.space.links.get(last.device), Vxlan) or not all(entry.learned for entry in known):
        return None
    return f"{last.device} has no FDB entry for {mac}" + (" (one was learned meanwhile)" if known else "")


def no_way_below(case: Case, last: Sighting) -> str | None:
    """The tunnel's other end cannot be reached."""
    mac = last.packet.ethernet.dst if last.packet.ethernet else ""
    for entry in case.space.fdb(last.device):
        if entry.mac == mac and entry.dst:
            lookup = case.space.lookup(entry.dst, None, None)
            if lookup.error:
                return f"there is no way to the tunnel's end {entry.dst}: {lookup.error}"
            if unresolved := _unresolved(case, case.space, lookup, entry.dst):
                return f"the tunnel's end {entry.dst} does not answer: {unresolved}"
    return None


def lower_down(case: Case, last: Sighting) -> str | None:
    """The device under it is down."""
    link = case.space.links.get(last.device)
    under = case.space.links.get(getattr(link, "dev", ""))
    return f"{under.name}, under {last.device}, is down" if under is not None and not under.up else None


TUNNEL: tuple[Check, ...] = (lower_down, dropped_by_filter, no_way_below, no_entry, refused_by_device)

# -- what they share --------------------------------------------------------------------------------------


def _header(last: Sighting) -> Layer | None:
    """The IP header that the host looks at."""
    return last.packet.outer


def _lookup(case: Case, last: Sighting, header: Layer) -> Lookup:
    """The kernel's own answer; without the device where it came in, when it forwards nothing at all."""
    return case.space.lookup(header.dst, header.src, last.device)


def _not_up(space: Space, device: str) -> str | None:
    """A device by which a packet should leave cannot."""
    link = space.links.get(device)
    if link is not None and link.up:
        return None
    return f"{device}, by which it should leave, is {'gone' if link is None else 'down'}"


def _instead(case: Case, last: Sighting, header: Layer) -> str:
    """The way that is wanted, when it is another one."""
    wanted = fib.lookup(case.lab.state[last.netns], header.dst, header.src, iif=last.device)
    actual = _lookup(case, last, header)
    return "" if wanted.error or wanted.same_way(actual) else f"; wanted is {wanted}"


def _unresolved(case: Case, space: Space, lookup: Lookup, target: str) -> str | None:
    """The next hop has no MAC address; how far the question for it came, and why no further."""
    hop = str(ip_address(lookup.via or target))
    if lookup.error or lookup.kind == "local" or not lookup.dev or space.neighbour(lookup.dev, hop):
        return None
    if silent := no_carrier(case, space.name, lookup.dev):
        return f"{lookup}, and {silent}"
    found = f"{lookup}, and nobody answers there for {hop}"
    mine = space.links[lookup.dev].mac
    questions = [one for one in case.asked if one.packet.layers[-1].dst == hop and _sender(one) == mine]
    return found + "".join(_question(case, questions, space.name, lookup.dev, hop))


def _sender(question: Sighting) -> str:
    """The MAC of who asks, tunnelled or not: others may ask for the same address meanwhile."""
    return next((layer.src for layer in reversed(question.packet.layers) if layer.kind == "Ethernet"), "")


def _question(case: Case, questions: list[Sighting], asker: str, device: str, hop: str) -> Iterator[str]:
    """How far the question came on its way to whom it is for."""
    holder = Segments(case.lab.state).answer((asker, device), hop)
    goal = holder.at[0] if holder and holder.at else None
    way = chain(questions, case.wires, goal, holder.mac if holder else None).path
    if not way:
        return
    last = way[-1]
    name = "neighbour solicitation" if case.probe.six else "ARP request"
    yield f": its {name} was last seen at {last.place}"
    case.concern(last.netns)
    if last.direction == "out":
        reason = first(WIRE, case, last)
    elif case.wires.is_port((last.netns, last.device)):
        reason = wrong_vlan_in(case, last) or (port_towards(case, last, holder.mac) if holder else None)
    else:
        reason = None
    yield f" ({reason})" if reason else ""
