"""What one namespace's kernel answers: route look-ups, neighbours, forwarding entries, counters of its devices."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address

from kernel import wire
from kernel.namespaces import Namespaces
from kernel.read import Reader, bodies, gateway, u32
from kernel.state import Netns
from paths.fib import Lookup, matches, rules

LOOKUP_TABLE, FIB_MATCH = 0x1000, 0x2000
"""RTM_F_LOOKUP_TABLE and RTM_F_FIB_MATCH (linux/rtnetlink.h): the table and the entry that matched."""
STATES = {
    1: "INCOMPLETE",
    2: "REACHABLE",
    4: "STALE",
    8: "DELAY",
    16: "PROBE",
    32: "FAILED",
    64: "NOARP",
    128: "PERMANENT",
}
"""Of a neighbour entry (linux/neighbour.h)."""
STATS64 = 23
"""IFLA_STATS64 (linux/if_link.h)."""
COUNTERS = {"rx_errors": 4, "tx_errors": 5, "rx_dropped": 6, "tx_dropped": 7, "tx_carrier_errors": 17}
"""Places in struct rtnl_link_stats64."""
TYPES = {1: "unicast", 2: "local", 3: "broadcast", 6: "blackhole", 7: "unreachable", 8: "prohibit", 9: "throw"}
"""Of a route (linux/rtnetlink.h)."""


@dataclass(frozen=True)
class Neigh:
    """A neighbour entry of any state."""

    dev: str
    address: str
    mac: str
    state: str


@dataclass(frozen=True)
class Entry:
    """A forwarding entry: of a VXLAN device (`dst` is the tunnel's end) or of a bridge's port (in VLAN `vid`)."""

    dev: str
    mac: str
    dst: str = ""
    vid: int | None = None
    learned: bool = False


class Space:
    """One namespace; its links, rules and the like are read once, the rest when asked. Close it after use."""

    def __init__(self, namespaces: Namespaces, name: str) -> None:
        self.name = name
        with namespaces.inside(name):
            self._rtnl = wire.Rtnl()
        self._reader = Reader(name, self._rtnl)
        self.index = {device: index for index, device in self._reader.names.items()}
        self.now: Netns = self._reader.netns(daemons=True)
        self.links = {link.name: link for link in self.now.links}

    def close(self) -> None:
        self._rtnl.close()

    def lookup(self, dst: str, src: str | None, iif: str | None, mark: int = 0) -> Lookup:
        """ip route get DST from SRC iif IIF mark MARK, with the entry and the rule that matched."""
        family, bits = wire.family_of(dst), 128 if ":" in dst else 32
        known = bool(src and iif)
        flags = LOOKUP_TABLE | FIB_MATCH
        body = struct.pack("=BBBBBBBBI", family, bits, bits if known else 0, 0, 0, 0, 0, 0, flags)
        body += wire.attr(1, wire.packed(dst))
        if src and known:
            body += wire.attr(2, wire.packed(src))
        if iif and iif in self.index:
            body += wire.u32(3, self.index[iif])
        if mark:
            body += wire.u32(16, mark)
        try:
            answer = next(bodies(self._rtnl.dump(wire.GETROUTE, body, flags=0)))
        except OSError as problem:
            return Lookup(mark=mark, error=problem.strerror or "refused")
        return self._answer(answer, src, mark, dst, iif)

    def _answer(self, body: bytes, src: str | None, mark: int, sought: str, iif: str | None) -> Lookup:
        family, bits, _, _, small, _, _, number, _ = struct.unpack_from("=BBBBBBBBI", body)
        found = wire.attributes(body, 12)
        table = u32(found, 15) or small
        dst = f"{_said(found.get(1, bytes(16 if family == socket.AF_INET6 else 4)))}/{bits}"
        kind = TYPES.get(number, str(number))
        dev, via = self._reader.names.get(u32(found, 4)), gateway(found, family)
        return Lookup(table, kind, dst, via, dev, self._rule(table, src, mark, sought, iif), mark)

    def _rule(self, table: int, src: str | None, mark: int, dst: str, iif: str | None) -> int | None:
        """The first rule that leads such a packet into `table`."""
        mine = [rule for rule in rules(self.now, 6 if ":" in dst else 4) if rule.table == table]
        return next((rule.priority for rule in mine if matches(rule, src, mark, dst, iif)), None)

    def marks(self) -> list[int]:
        """The firewall marks that rules ask for, 0 first."""
        return [0, *sorted({rule.fwmark for rule in self.now.rules if rule.fwmark})]

    def neighbours(self) -> list[Neigh]:
        """Every neighbour entry that is there now, and has an address."""
        found = []
        for body in bodies(self._rtnl.dump(wire.GETNEIGH, _ndmsg(0))):
            family, index, number = struct.unpack_from("=BxxxiH", body)
            entry = wire.attributes(body, 12)
            if family in (socket.AF_INET, socket.AF_INET6) and 1 in entry:
                state = STATES.get(number, str(number))
                dev, mac = self._reader.names.get(index, ""), entry.get(2, b"").hex(":")
                found.append(Neigh(dev, _said(entry[1]), mac, state))
        return found

    def neighbour(self, dev: str | None, address: str) -> Neigh | None:
        """The entry for `address` on `dev` that can be used now: it has a MAC."""
        usable = (n for n in self.neighbours() if n.mac and n.state not in ("FAILED", "INCOMPLETE"))
        wanted = str(ip_address(address))
        return next((n for n in usable if n.dev == dev and n.address == wanted), None)

    def fdb(self, device: str) -> list[Entry]:
        """The entries of a VXLAN device or of a bridge's ports, learned ones too; `device` is that VXLAN or bridge."""
        return [entry for entry in self._entries() if device in (entry.dev, self._master(entry.dev))]

    def _entries(self) -> Iterator[Entry]:
        for body in bodies(self._rtnl.dump(wire.GETNEIGH, _ndmsg(socket.AF_BRIDGE))):
            index, state = struct.unpack_from("=4xiH", body)
            entry = wire.attributes(body, 12)
            vid = struct.unpack("=H", entry[5])[0] if 5 in entry else None  # NDA_VLAN
            dst = _said(entry[1]) if 1 in entry else ""
            dev, learned = self._reader.names.get(index, ""), not state & wire.PERMANENT
            yield Entry(dev, entry.get(2, b"").hex(":"), dst, vid, learned)

    def _master(self, device: str) -> str | None:
        link = self.links.get(device)
        return link.master if link else None

    def drops(self) -> dict[str, int]:
        """Packets that each device refused or lost, by "DEVICE COUNTER" as `ip -s link` names them."""
        found = {}
        for body in bodies(self._rtnl.dump(wire.GETLINK, wire.ifinfo(0, None))):
            device = self._reader.names.get(struct.unpack_from("=4xi", body)[0], "")
            stats = wire.attributes(body, 16).get(STATS64, b"")
            for name, place in COUNTERS.items():
                found[f"{device} {name}"] = struct.unpack_from("=Q", stats, 8 * place)[0] if stats else 0
        return found


def _said(address: bytes) -> str:
    return str(ip_address(address))


def _ndmsg(family: int) -> bytes:
    """struct ndmsg, for a dump."""
    return struct.pack("=BxHiHBB", family, 0, 0, 0, 0, 0)
