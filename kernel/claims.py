"""Standing for an address on a wire: nobody else may have it, and everybody hears of it.

What a real network plugin does when a pod is added is done here for all new claims of a lab at the same time, with real
frames: the gateway must answer, the address must not (RFC 5227, section 2.1; RFC 4861 for IPv6), then it is announced.
"""

from __future__ import annotations

import select
import socket
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from kernel import arp
from kernel.engine import Engine, Report
from kernel.errors import AddressInUse, NotConverged, PodpathError
from kernel.namespaces import Namespaces
from kernel.state import Claim, Netns, Stacked, State

AGAIN_S = 0.25
"""How often a gateway that has not answered is asked again, seconds; a device that came up just now loses frames."""
Claims = Sequence[tuple[str, Claim]]
"""Claims and the namespaces that they are made in."""


def apply(engine: Engine, wanted: State, before: State, said: Callable[[str], None]) -> Report:
    """Makes `wanted` so, `before` having been applied last. New claims are checked when all is there but what stands
    for their addresses; if one fails, `before` is so again. Raises what `check` does, and KernelRefused."""
    claims = fresh(wanted, before)
    checked = [one for one in claims if one[1].check_s]
    report = _checked(engine, wanted, before, checked, said) if checked else engine.apply(wanted)
    announce(engine.namespaces, claims)
    return report


def _checked(engine: Engine, wanted: State, before: State, claims: Claims, said: Callable[[str], None]) -> Report:
    first = engine.apply(unclaimed(wanted, claims))
    longest = max(claim.check_s for _, claim in claims)
    said(f"probing for {longest:g} s whether anybody has the {len(claims)} addresses of pods")
    try:
        check(engine.namespaces, claims)
    except PodpathError:
        engine.apply(before)
        raise
    return first.plus(engine.apply(wanted))


def fresh(wanted: State, applied: State) -> Claims:
    """The claims of `wanted` that `applied` had not, or had on another wire: a pod has moved."""
    known = {(ns.name, claim.address, _wire_of(ns, claim)) for ns in applied.namespaces for claim in ns.claims}
    every = ((ns, claim) for ns in wanted.namespaces for claim in ns.claims)
    return [(ns.name, claim) for ns, claim in every if (ns.name, claim.address, _wire_of(ns, claim)) not in known]


def _wire_of(ns: Netns, claim: Claim) -> tuple[str, str, str]:
    """The claim's device, and where it stands when it stands on another one."""
    link = next((link for link in ns.links if link.name == claim.dev), None)
    return (claim.dev, link.dev_netns, link.dev) if isinstance(link, Stacked) else (claim.dev, "", "")


def unclaimed(wanted: State, claims: Claims) -> State:
    """The same state before the claims are made: nothing answers for their addresses yet."""
    held = {(netns, claim.dev, claim.address) for netns, claim in claims}
    return State(tuple(_without(ns, held) for ns in wanted.namespaces))


def _without(ns: Netns, held: Collection[tuple[str, str, str]]) -> Netns:
    def free(dev: str, address: str) -> bool:
        return (ns.name, dev, address.partition("/")[0]) not in held

    neighbours = tuple(one for one in ns.neighbours if not one.proxy or free(one.dev, one.address))
    return replace(ns, neighbours=neighbours, addresses=tuple(a for a in ns.addresses if free(a.dev, a.address)))


def check(namespaces: Namespaces, claims: Claims) -> None:
    """Probes for all at the same time; takes as long as the longest `check_s`.

    Raises AddressInUse when an address is somebody else's, NotConverged when a gateway does not answer."""
    with _wires(namespaces, claims) as wires:
        silent = _ask_gateways(wires)
        _probe(wires)  # first of all: a gateway that has the address itself does not answer it either
        for wire, claim in silent:
            what = (
                f"{claim.gateway}, the gateway, did not answer {claim.owner}'s {claim.address} in {claim.check_s:g} s"
            )
            raise NotConverged(what, where=wire.place, remedy="is the VLAN on every switch port between the two?")


def announce(namespaces: Namespaces, claims: Claims) -> None:
    """Gratuitous ARP, or unsolicited advertisement, for each address from the MAC of its device."""
    with _wires(namespaces, claims) as wires:
        for wire in wires:
            for claim in wire.claims:
                for frame in arp.announcements(wire.mac, claim.address):
                    wire.sock.send(frame)


@dataclass
class _Wire:
    """A device in a namespace, the claims of one family on it, and a socket that hears ARP or IPv6 there."""

    netns: str
    dev: str
    claims: list[Claim]
    sock: socket.socket

    @property
    def mac(self) -> bytes:
        return bytes(self.sock.getsockname()[4])

    def heard(self) -> Iterator[arp.Heard]:
        """What others said since the last time."""
        while True:
            try:
                frame, where = self.sock.recvfrom(2048)
            except BlockingIOError:
                return
            said = arp.heard(frame)
            if said and where[2] != socket.PACKET_OUTGOING and said.mac != self.mac.hex(":"):
                yield said

    @property
    def place(self) -> str:
        return f"{self.netns}: {self.dev}"


@contextmanager
def _wires(namespaces: Namespaces, claims: Claims) -> Iterator[list[_Wire]]:
    wires: dict[tuple[str, str, int], _Wire] = {}
    try:
        for netns, claim in claims:
            kind = arp.ethertype(claim.address)
            if (netns, claim.dev, kind) not in wires:
                with namespaces.inside(netns):
                    sock = socket.socket(socket.AF_PACKET, socket.SOCK_RAW | socket.SOCK_NONBLOCK, socket.htons(kind))
                wires[netns, claim.dev, kind] = _Wire(netns, claim.dev, [], sock)
                sock.bind((claim.dev, kind))
            wires[netns, claim.dev, kind].claims.append(claim)
        yield list(wires.values())
    finally:
        for wire in wires.values():
            wire.sock.close()


def _ask_gateways(wires: Sequence[_Wire]) -> list[tuple[_Wire, Claim]]:
    """An IPv4 gateway is asked in the name of each address, an IPv6 gateway by the device's link-local address, until
    it answers. Returns the claims for which none did."""
    waiting = {(id(wire), c.gateway, _asker(c)): (wire, c) for wire in wires for c in wire.claims}
    deadline = time.monotonic() + _longest(wires)

    def answered(wire: _Wire, said: arp.Heard) -> None:
        waiting.pop((id(wire), said.address, said.to), None)

    while waiting and (now := time.monotonic()) < deadline:
        for wire, claim in waiting.values():
            wire.sock.send(arp.question(wire.mac, claim.gateway, claim.address))
        _listen(wires, min(deadline, now + AGAIN_S), answered, lambda: not waiting)
    return list(waiting.values())


def _asker(claim: Claim) -> str:
    return "" if ":" in claim.address else claim.address


def _longest(wires: Sequence[_Wire]) -> float:
    return max((claim.check_s for wire in wires for claim in wire.claims), default=0.0)


def _probe(wires: Sequence[_Wire]) -> None:
    """All addresses at once; whoever answers for one has it."""
    claims = {(id(wire), claim.address): claim for wire in wires for claim in wire.claims}

    def answered(wire: _Wire, said: arp.Heard) -> None:
        if claim := claims.get((id(wire), said.address)):
            what = f"{claim.owner}'s address {claim.address} is in use already: {said.mac} answers for it"
            remedy = f"give {claim.owner} another address, exclude it from its pool, or take the other host away"
            raise AddressInUse(what, where=wire.place, remedy=remedy)

    for wire in wires:
        for claim in wire.claims:
            wire.sock.send(arp.question(wire.mac, claim.address))
    _listen(wires, time.monotonic() + _longest(wires), answered, lambda: False)


def _listen(
    wires: Iterable[_Wire], until: float, each: Callable[[_Wire, arp.Heard], None], enough: Callable[[], bool]
) -> None:
    """Until the time `until` (monotonic, seconds), or until `enough` says so."""
    by_fd = {wire.sock.fileno(): wire for wire in wires}
    poll = select.poll()
    for fd in by_fd:
        poll.register(fd, select.POLLIN)
    while by_fd and not enough() and (left := until - time.monotonic()) > 0:
        for fd, _ in poll.poll(left * 1000):
            for said in by_fd[fd].heard():
                each(by_fd[fd], said)
