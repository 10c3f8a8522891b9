"""What to tell a running router so that it becomes another one: the difference of two configurations, as commands."""

from __future__ import annotations

from collections.abc import Iterator

from bgp.model import Router

Line = tuple[tuple[str, ...], str]
"""A command and the contexts that it stands in, such as ("router bgp 64512", "address-family ipv4 unicast")."""
ENDS = ("exit", "exit-address-family", "!")
EMPTY = "address-family"
"""A context that says nothing by itself."""


def fits(old: Router, new: Router) -> bool:
    """A running `old` can become `new`: AS, identifiers and timers stay, and each neighbour keeps its AS."""
    systems = {peer.address: peer.asn for peer in old.peers}
    fixed = [(one.netns, one.asn, one.router_id, one.cluster_id, one.timers) for one in (old, new)]
    return fixed[0] == fixed[1] and all(systems.get(peer.address, peer.asn) == peer.asn for peer in new.peers)


def commands(old: str, new: str) -> list[str]:
    """What to say to a daemon that runs with configuration `old`, line by line; nothing if it is `new` already. What
    is new comes first, so that no route is withdrawn that stays."""
    before, after = list(_lines(old)), list(_lines(new))
    added = [line for line in after if line not in before and not line[1].startswith(EMPTY)]
    removed = [line for line in before if line not in after and not line[1].startswith(EMPTY)]
    stay = {command.split()[1] for _, command in after if command.startswith("neighbor ")}
    said = [_said(context, command) for context, command in added]
    said += [_said(context, f"no {command}") for context, command in _ended(removed, stay)]
    return ["configure terminal", *(line for block in said for line in block), "end"] if said else []


def _lines(text: str) -> Iterator[Line]:
    """Contexts open by being followed by deeper lines; prefix lists and route maps stand after what uses them, and
    `network` statements after their session, so each line can be said in turn."""
    context: list[str] = []
    for line in text.splitlines():
        command = line.strip()
        depth = len(line) - len(line.lstrip())
        if command in ENDS:
            continue
        context = [*context[:depth], command]
        yield tuple(context[:-1]), command


def _ended(removed: list[Line], stay: set[str]) -> Iterator[Line]:
    """A session is ended by one command; whatever stood in a route-map entry that goes, goes with it."""
    gone: set[str] = set()
    heads = {command for context, command in removed if not context}
    for context, command in removed:
        address = command.split()[1] if command.startswith("neighbor ") else ""
        if address and address not in stay:
            if address not in gone:
                yield context[:1], f"neighbor {address}"
            gone.add(address)
        elif not (context and context[0] in heads):
            yield context, command


def _said(context: tuple[str, ...], command: str) -> list[str]:
    return [*context, command, *("exit" for _ in context)]
