"""What to tell a running router so that it becomes another one: the difference of two configurations, as commands."""

from __future__ import annotations

from collections.abc import Iterator

from bgp.model import Router
from bgp.render import frr_conf

Line = tuple[tuple[str, ...], str]
"""A command and the contexts that it stands in, such as ("router bgp 64512", "address-family ipv4 unicast")."""
ENDS = ("exit", "exit-address-family", "!")
EMPTY = "address-family"
"""A context that says nothing by itself."""


def commands(old: Router, new: Router) -> list[str] | None:
    """For vtysh, line by line: what is new comes first, so that no route is withdrawn that stays. None when only a
    restart makes `new` out of `old`: another AS, router or cluster identifier, or a neighbour of another AS."""
    if (old.netns, old.asn, old.router_id, old.cluster_id) != (new.netns, new.asn, new.router_id, new.cluster_id):
        return None
    systems = {peer.address: peer.asn for peer in old.peers}
    if any(systems.get(peer.address, peer.asn) != peer.asn for peer in new.peers):
        return None
    before, after = list(_lines(frr_conf(old))), list(_lines(frr_conf(new)))
    added = [line for line in after if line not in before and not line[1].startswith(EMPTY)]
    removed = [line for line in before if line not in after and not line[1].startswith(EMPTY)]
    said = [_said(context, command) for context, command in added]
    said += [_said(context, f"no {command}") for context, command in _ended(removed, {p.address for p in new.peers})]
    if not said:
        return []
    return ["configure terminal", *(line for block in said for line in block), "end"]


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


def _ended(removed: list[Line], peers: set[str]) -> Iterator[Line]:
    """A session is ended by one command; whatever stood in a route-map entry that goes, goes with it."""
    gone: set[str] = set()
    heads = {command for context, command in removed if not context}
    for context, command in removed:
        address = command.split()[1] if command.startswith("neighbor ") else ""
        if address and address not in peers:
            if address not in gone:
                yield context[:1], f"neighbor {address}"
            gone.add(address)
        elif not (context and context[0] in heads):
            yield context, command


def _said(context: tuple[str, ...], command: str) -> list[str]:
    return [*context, command, *("exit" for _ in context)]
