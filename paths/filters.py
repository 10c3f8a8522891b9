"""What a namespace's wanted filter rules do to a packet: marks, source translation, drops (iptables(8)). Pure.

Rules with a match that is not known here are passed over, and named in `unknown`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace

from kernel.state import FilterRule, Netns
from paths.fib import ip_address, ip_network

ENDS = ("DROP", "REJECT", "ACCEPT")
KNOWN = ("-j", "--set-xmark", "--random-fully", "--reject-with", "-m", "--to-source")
"""Options that are no condition."""


@dataclass(frozen=True)
class Passing:
    """A packet at a hook: `state` is conntrack's, `original` what the connection's first packet was sent to."""

    src: str
    dst: str
    protocol: str = "icmp"
    iif: str = ""
    oif: str = ""
    mark: int = 0
    state: str = "NEW"
    original: str = ""
    translated: bool = False
    local: frozenset[str] = field(default_factory=frozenset)
    """Addresses that the namespace itself has."""


@dataclass(frozen=True)
class Outcome:
    """The packet as it leaves the hook; `verdict` "" goes on."""

    packet: Passing
    verdict: str = ""
    rule: str = ""
    unknown: tuple[str, ...] = ()


def hook(ns: Netns, table: str, chain: str, packet: Passing) -> Outcome:
    """All rules of one table at one hook."""
    family = 6 if ":" in packet.dst else 4
    rules = [rule for rule in ns.filters if rule.family == family and rule.table == table]
    return _chain(ns, rules, chain, Outcome(packet))


def _chain(ns: Netns, rules: list[FilterRule], chain: str, now: Outcome) -> Outcome:
    for rule in rules:
        if rule.chain != chain:
            continue
        fits = _fits(ns, rule, now.packet)
        if fits is None:
            now = replace(now, unknown=(*now.unknown, " ".join(rule.args)))
        if not fits:
            continue
        target = _after(rule.args, "-j") or ""
        if target == "RETURN":
            return now
        now = _target(ns, rules, rule, target, now)
        if now.verdict:
            return now
    return now


def _target(ns: Netns, rules: list[FilterRule], rule: FilterRule, target: str, now: Outcome) -> Outcome:
    """What a rule does to a packet that it fits."""
    text = f"-A {rule.chain} {' '.join(rule.args)}"
    if target in ENDS:
        return replace(now, verdict=target, rule=text)
    if target in ("MASQUERADE", "SNAT"):
        source = _after(rule.args, "--to-source") or ""
        return replace(now, verdict=target, rule=text, packet=replace(now.packet, src=source or now.packet.src))
    if target == "MARK":
        value, _, mask = (_after(rule.args, "--set-xmark") or "0/0").partition("/")
        mark = now.packet.mark & ~int(mask or "0xffffffff", 16) ^ int(value, 16)
        return replace(now, packet=replace(now.packet, mark=mark))
    if any(other.chain == target for other in rules):
        return _chain(ns, rules, target, now)
    return now


def _after(args: tuple[str, ...], option: str) -> str | None:
    return args[args.index(option) + 1] if option in args else None


def _fits(ns: Netns, rule: FilterRule, packet: Passing) -> bool | None:
    """The packet fits every condition of the rule; None when one is not known here."""
    found = list(_conditions(rule.args))
    if any(option not in CONDITIONS for _, option, _ in found):
        return None
    return all(CONDITIONS[option](ns, packet, *values) != negated for negated, option, values in found)


def _conditions(args: tuple[str, ...]) -> Iterator[tuple[bool, str, tuple[str, ...]]]:
    """(negated, option, values) for each condition; options begin with a dash."""
    negated, place = False, 0
    while place < len(args):
        word, place = args[place], place + 1
        if word == "!":
            negated = True
            continue
        values = []
        while place < len(args) and not args[place].startswith("-") and args[place] != "!":
            values.append(args[place])
            place += 1
        if word not in KNOWN:
            yield negated, word, tuple(values)
        negated = False


def _named(device: str, pattern: str) -> bool:
    return device.startswith(pattern[:-1]) if pattern.endswith("+") else device == pattern


def _within(address: str, prefix: str) -> bool:
    network = ip_network(prefix)
    return network.version == ip_address(address).version and ip_address(address) in network


def _in_set(ns: Netns, packet: Passing, name: str, side: str) -> bool:
    members = next((one.members for one in ns.ipsets if one.name == name), ())
    return any(_within(packet.src if side == "src" else packet.dst, member) for member in members)


def _state(_ns: Netns, packet: Passing, states: str) -> bool:
    return packet.state in states.split(",") or (packet.translated and "SNAT" in states.split(","))


def _mark(_ns: Netns, packet: Passing, value: str) -> bool:
    wanted, _, mask = value.partition("/")
    return packet.mark & int(mask or "0xffffffff", 16) == int(wanted, 16)


def _type(address: str, packet: Passing, kind: str) -> bool:
    return kind == "LOCAL" and address in packet.local


Condition = Callable[..., bool]
CONDITIONS: dict[str, Condition] = {
    "-i": lambda _ns, packet, name: _named(packet.iif, name),
    "-o": lambda _ns, packet, name: _named(packet.oif, name),
    "-s": lambda _ns, packet, prefix: _within(packet.src, prefix),
    "-d": lambda _ns, packet, prefix: _within(packet.dst, prefix),
    "-p": lambda _ns, packet, name: packet.protocol == name,
    "--match-set": _in_set,
    "--ctstate": _state,
    "--ctorigdst": lambda _ns, packet, address: _within(packet.original or packet.dst, address),
    "--ctreplsrc": lambda _ns, packet, prefix: _within(packet.original or packet.dst, prefix),
    "--mark": _mark,
    "--dst-type": lambda _ns, packet, kind: _type(packet.dst, packet, kind),
    "--src-type": lambda _ns, packet, kind: _type(packet.src, packet, kind),
}
