"""Ways to die below IP: on a link, in a switch."""

from __future__ import annotations

from paths.case import Case, Check
from paths.model import Sighting

ETHERNET, TAG = 14, 4
"""Bytes of an Ethernet header and of an 802.1Q tag."""


def concern_next(case: Case, last: Sighting) -> None:
    """The namespace at the other end of the link has to do with it too."""
    peer = case.wires.peers.get((last.netns, last.device))
    if last.direction == "out" and peer:
        case.concern(peer[0])


# -- on a link --------------------------------------------------------------------------------------------


def other_end_gone(case: Case, last: Sighting) -> str | None:
    """The veth's other end is not there or not up."""
    return no_carrier(case, last.netns, last.device)


def no_carrier(case: Case, netns: str, device: str) -> str | None:
    """A veth whose other end is not there or not up can send nothing."""
    peer = case.wires.peers.get((netns, device))
    if peer is None:
        return None
    there = case.explainer.space(peer[0]).links.get(peer[1])
    if there is not None and there.up:
        return None
    case.concern(peer[0])
    return f"the other end of {device}, {peer[0]}:{peer[1]}, is {'gone' if there is None else 'down'}"


def too_long_for_link(case: Case, last: Sighting) -> str | None:
    """A veth refuses what is longer than its other end's MTU with Ethernet header and tag (is_skb_forwardable)."""
    peer = case.wires.peers.get((last.netns, last.device))
    there = case.explainer.space(peer[0]).links.get(peer[1]) if peer else None
    if not peer or there is None or not there.mtu or last.length <= there.mtu + ETHERNET + TAG:
        return None
    size = last.length - ETHERNET
    return f"the packet has {size} bytes, and the other end, {peer[0]}:{peer[1]}, takes {there.mtu} (its MTU)"


def lossy(case: Case, last: Sighting) -> str | None:
    """The topology says that this link loses packets."""
    shape = next((one for one in case.lab.state[last.netns].shaping if one.dev == last.device), None)
    if not shape or not shape.loss_pct:
        return None
    return f"the link loses {shape.loss_pct:g} % of its packets, as the topology says"


def refused_by_device(case: Case, last: Sighting) -> str | None:
    """The device counted a drop."""
    counted = [key for key in case.grown.get(last.netns, {}) if key.startswith(f"{last.device} ")]
    return f"the device dropped it (the kernel counted it: {', '.join(counted)})" if counted else None


WIRE: tuple[Check, ...] = (other_end_gone, too_long_for_link, lossy, refused_by_device)

# -- in a switch ------------------------------------------------------------------------------------------


def wrong_vlan_in(case: Case, last: Sighting) -> str | None:
    """The port where it came in is not in its VLAN."""
    if not _filtering(case, last):
        return None
    mine = _vlans(case, last.netns, last.device)
    vid = last.packet.vlan
    if vid is not None and vid not in mine:
        return f"port {last.device} of {last.netns} is not in VLAN {vid}{_members(mine)}"
    if vid is None and not any(pvid for pvid, _ in mine.values()):
        return f"port {last.device} of {last.netns} has no VLAN for untagged frames{_members(mine)}"
    return None


def no_port(case: Case, last: Sighting) -> str | None:
    """No port leads to the destination MAC, or that port cannot take it."""
    mac = last.packet.ethernet.dst if last.packet.ethernet else ""
    return None if int(mac[:2] or "0", 16) & 1 else port_towards(case, last, mac)  # or to a group


def port_towards(case: Case, last: Sighting, mac: str) -> str | None:
    """Why the switch cannot pass a frame on to this MAC."""
    port = case.wires.towards(last.netns, mac)
    if port is None:
        return f"{mac} is nobody's MAC behind a port of {last.netns}"
    link = case.explainer.space(last.netns).links.get(port)
    if link is None or not link.up:
        return f"port {port} of {last.netns}, towards {mac}, is {'gone' if link is None else 'down'}"
    if silent := no_carrier(case, last.netns, port):
        return silent
    size = last.length - ETHERNET - (TAG if last.packet.vlan is not None else 0)
    if link.mtu and size > link.mtu:
        return f"the packet has {size} bytes, and port {port} of {last.netns} takes {link.mtu} (its MTU)"
    return _wrong_vlan_out(case, last, port)


def _wrong_vlan_out(case: Case, last: Sighting, port: str) -> str | None:
    if not _filtering(case, last):
        return None
    here = _vlans(case, last.netns, last.device)
    vid = last.packet.vlan or next((vid for vid, (pvid, _) in here.items() if pvid), None)
    there = _vlans(case, last.netns, port)
    return None if vid in there else f"port {port} of {last.netns} is not in VLAN {vid}{_members(there)}"


SWITCH: tuple[Check, ...] = (wrong_vlan_in, no_port)


def _filtering(case: Case, last: Sighting) -> bool:
    links = case.explainer.space(last.netns).links
    port = links.get(last.device)
    return bool(port and port.master and getattr(links.get(port.master), "vlan_filtering", False))


def _vlans(case: Case, netns: str, port: str) -> dict[int, tuple[bool, bool]]:
    """A port's VLANs, each with whether it is for untagged frames in, and untagged out."""
    found = case.explainer.space(netns).now.port_vlans
    return {item.vid: (item.pvid, item.untagged) for item in found if item.dev == port}


def _members(vlans: dict[int, tuple[bool, bool]]) -> str:
    return f" (it is in {', '.join(map(str, sorted(vlans))) or 'none'})"
