"""What a kernel counted while the probe was sent once more: filter rules that matched, refusals, devices' drops.

The reasons for a loss that leave no other trace (reverse-path filter, firewall, a device that refuses) show in
counters only (Documentation/networking/snmp_counter.rst; iptables-save -c).
"""

from __future__ import annotations

import select
from collections.abc import Iterable

from kernel.namespaces import Namespaces
from paths.probe import Probe
from paths.space import Space

COUNTED_S = 0.25
"""How long the second probe gets to reach the place, seconds; it ends earlier when it is answered."""
FILES = ("snmp", "netstat")
REFUSALS = (
    "InHdrErrors",
    "InAddrErrors",
    "InUnknownProtos",
    "InDiscards",
    "InNoRoutes",
    "InTooBigErrors",
    "InTruncatedPkts",
    "OutDiscards",
    "OutNoRoutes",
    "FragFails",
    "IPReversePathFilter",
)
"""Counters of /proc/net/snmp, netstat and snmp6 that tell that a packet was refused."""
REVERSE_PATH = "IPReversePathFilter"


class Witness:
    """Counters of some namespaces; `again` tells which of them grow when the probe is sent again."""

    def __init__(self, namespaces: Namespaces, spaces: Iterable[Space], probe: Probe) -> None:
        self._namespaces, self._spaces, self._probe = namespaces, list(spaces), probe

    def again(self, source: str, owner: str | None) -> dict[str, dict[str, int]]:
        """By namespace what grew and by how much. A rule is named as iptables-save writes it."""
        before = self._read()
        another = self._probe.again()
        try:
            another.open(self._namespaces, source, owner)
            _exchange(another)
        finally:
            another.close()
        after = self._read()
        return {name: _growth(before[name], after[name]) for name in after}

    def _read(self) -> dict[str, dict[str, int]]:
        return {
            space.name: space.drops() | refusals(self._namespaces, space.name) | self._rules(space.name)
            for space in self._spaces
        }

    def _rules(self, name: str) -> dict[str, int]:
        """Packets that each filter rule matched, by the rule's text, from the backend that the lab uses."""
        from kernel.firewall import backend

        tool = f"ip{'6' if self._probe.six else ''}tables-{backend()}-save"
        found: dict[str, int] = {}
        for line in self._namespaces.run(name, [tool, "-c"]).stdout.splitlines():
            if line.startswith("["):
                count, _, rule = line.partition("] ")
                found[rule] = found.get(rule, 0) + int(count[1:].partition(":")[0])
        return found


def _growth(before: dict[str, int], after: dict[str, int]) -> dict[str, int]:
    return {key: count - before.get(key, 0) for key, count in after.items() if count > before.get(key, 0)}


def drops(rule: str) -> bool:
    """A filter rule that ends a packet."""
    return " -j DROP" in rule or " -j REJECT" in rule


def refusals(namespaces: Namespaces, name: str) -> dict[str, int]:
    """The counters of IPv4 and IPv6 in one namespace that tell of refusals, IPv6's with a 6 at the end."""
    found: dict[str, str] = {}
    with namespaces.inside(name):
        for file in FILES:
            with open(f"/proc/thread-self/net/{file}") as lines:
                for names, values in zip(lines, lines, strict=False):
                    found.update(zip(names.split()[1:], values.split()[1:], strict=False))
        with open("/proc/thread-self/net/snmp6") as lines:
            for line in lines:
                key, value = line.split()
                found[key.removeprefix("Ip6") + "6" if key.startswith("Ip6") else key] = value
    wanted = {*REFUSALS, *(f"{one}6" for one in REFUSALS)}
    return {key: int(value) for key, value in found.items() if key in wanted}


def _exchange(probe: Probe) -> None:
    """Sends it and serves its sockets until it is answered or the time is over."""
    probe.send()
    if probe.refused:
        return
    poll = select.epoll()
    for fd, events in probe.watches:
        poll.register(fd, events)
    with poll:
        while ready := poll.poll(COUNTED_S):
            if any([probe.ready(fd) for fd, _ in ready]):
                return
