"""Filter rules and ipsets, applied through Debian's iptables and ipset: one text a family, in one transaction.

Debian has two backends. iptables-nft is taken where the kernel has nftables; the embedded kernel has not, and
gets iptables-legacy. The text is the same for both (iptables-restore(8), ipset(8)).
"""

from __future__ import annotations

import contextlib
import functools
import shlex
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from kernel.diff import Change, change
from kernel.errors import KernelRefused, MissingFeature
from kernel.namespaces import Namespaces
from kernel.state import FilterRule, IpSet, Netns

BUILT_IN: Mapping[str, tuple[str, ...]] = {
    "filter": ("INPUT", "FORWARD", "OUTPUT"),
    "nat": ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"),
    "mangle": ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"),
    "raw": ("PREROUTING", "OUTPUT"),
}
"""The chains that a table is born with."""
NEW = "-"
"""What the name of a set that is being filled ends in, as hybridnet has it; names hold 31 characters (ip_set.h)."""


def sets_text(sets: Iterable[IpSet]) -> str:
    """For `ipset restore`: each set is filled aside and swapped in, so no packet sees it half full."""
    lines = []
    for one in sets:
        family = "inet6" if one.family == 6 else "inet"
        for name in (one.name, one.name + NEW):
            lines.append(f"create -exist {name} {one.kind} family {family}")
        lines.append(f"flush {one.name}{NEW}")
        lines += [f"add -exist {one.name}{NEW} {member}" for member in one.members]
        lines += [f"swap {one.name}{NEW} {one.name}", f"destroy {one.name}{NEW}"]
    return "".join(line + "\n" for line in lines)


def rules_text(rules: Iterable[FilterRule], family: int) -> str:
    """For iptables-restore without --noflush: the tables named are replaced as a whole."""
    tables: dict[str, list[FilterRule]] = {}
    for rule in rules:
        if rule.family == family:
            tables.setdefault(rule.table, []).append(rule)
    text = ""
    for table, found in tables.items():
        own = dict.fromkeys(rule.chain for rule in found if rule.chain not in BUILT_IN[table])
        text += f"*{table}\n" + "".join(f":{chain} ACCEPT [0:0]\n" for chain in BUILT_IN[table])
        text += "".join(f":{chain} - [0:0]\n" for chain in own)
        text += "".join(f"-A {rule.chain} {_quoted(rule.args)}\n" for rule in found) + "COMMIT\n"
    return text


def _quoted(args: Iterable[str]) -> str:
    """iptables-restore knows double quotes only."""
    return " ".join(f'"{arg}"' if " " in arg else arg for arg in args)


@functools.cache
def works(kind: str) -> bool:
    """iptables' backend "nft" or "legacy" can be used on this kernel. Tried by making the table nat in this thread's
    namespace: a kernel with nf_tables but without its families lists it as empty all the same."""
    with contextlib.suppress(FileNotFoundError):
        argv, text = [f"iptables-{kind}-restore", "--noflush"], b"*nat\n:PREROUTING ACCEPT [0:0]\nCOMMIT\n"
        return subprocess.run(argv, input=text, capture_output=True, check=False).returncode == 0
    return False


def backend() -> str:
    """ "nft" or "legacy": what this kernel can do. Raises MissingFeature when it can neither."""
    for kind in ("nft", "legacy"):
        if works(kind):
            return kind
    what = "neither iptables-nft nor iptables-legacy can be used on this kernel"
    raise MissingFeature(what, remedy="run `make setup`; if that does not help, use --kernel embedded")


@dataclass
class _Run:
    """A restore that is under way in one namespace."""

    where: str
    argv: list[str]
    child: subprocess.Popen[Any]
    text: str

    def finish(self) -> None:
        _, said = self.child.communicate(self.text)
        if self.child.returncode:
            what = f"{self.argv[0]} refused the rules: {said.strip()}"
            raise KernelRefused(what, where=f"namespace {self.where}")


def apply(namespaces: Namespaces, changes: Iterable[Change]) -> None:
    """Sets first, then rules; all namespaces at the same time, since each takes a process or three.

    Raises KernelRefused with the tool's own words.
    """
    wanted = [change for change in changes if change.redo & {"filters", "ipsets"}]
    _all(namespaces, ((c.add.name, ["ipset", "restore"], sets_text(c.add.ipsets)) for c in wanted if c.add.ipsets))
    ruled = [change for change in wanted if "filters" in change.redo]
    if ruled:
        kind = backend()
        _all(namespaces, (run for change in ruled for run in _restores(change, kind)))
    stale = ((c.add.name, ["ipset", "restore"], _destroys(c)) for c in wanted)
    _all(namespaces, (run for run in stale if run[2]))


def _restores(change: Change, kind: str) -> Iterable[tuple[str, list[str], str]]:
    """A restore for each family; a table that is wanted no more is emptied by the same text."""
    for family, tool in ((4, "iptables"), (6, "ip6tables")):
        text = rules_text(change.whole.filters, family)
        tables = {rule.table for rule in change.whole.filters if rule.family == family}
        gone = {rule.table for rule in change.remove.filters if rule.family == family} - tables
        text += "".join(f"*{table}\nCOMMIT\n" for table in sorted(gone))
        if text:
            yield change.add.name, [f"{tool}-{kind}-restore"], text


def _destroys(change: Change) -> str:
    names = {one.name for one in change.remove.ipsets} - {one.name for one in change.whole.ipsets}
    return "".join(f"destroy {name}\n" for name in sorted(names))


def _all(namespaces: Namespaces, runs: Iterable[tuple[str, list[str], str]]) -> None:
    pipe, null = subprocess.PIPE, subprocess.DEVNULL
    started = [
        _Run(name, argv, namespaces.spawn(name, argv, stdin=pipe, stdout=null, stderr=pipe, text=True), text)
        for name, argv, text in runs
    ]
    for run in started:
        run.finish()


def lines(ns: Netns) -> list[str]:
    """The same as single commands, for people to read: a chain is made before a rule can lead into it."""
    said = [line for one in ns.ipsets for line in _made(one)]
    said += [f"{_tool(chain)} -N {chain[2]}" for chain in chains(ns.filters)]
    return said + [_said("-A", rule) for rule in ns.filters]


def _made(one: IpSet) -> list[str]:
    family = "inet6" if one.family == 6 else "inet"
    adds = [f"ipset add {one.name} {member}" for member in one.members]
    return [f"ipset create {one.name} {one.kind} family {family}", *adds]


Chain = tuple[int, str, str]
"""IP version, table and name."""


def chains(rules: Iterable[FilterRule]) -> list[Chain]:
    """Those that are not built in, in the order in which they are met."""
    return list(dict.fromkeys((r.family, r.table, r.chain) for r in rules if r.chain not in BUILT_IN[r.table]))


def _tool(chain: Chain) -> str:
    return f"{'ip6tables' if chain[0] == 6 else 'iptables'} -t {chain[1]}"


def _said(verb: str, rule: FilterRule) -> str:
    return f"{_tool((rule.family, rule.table, rule.chain))} {verb} {rule.chain} {shlex.join(rule.args)}"


def differences(add: Netns, remove: Netns, whole: Netns) -> Iterator[str]:
    """What changes in sets and rules, "+" or "-" before each command; `whole` is what is there afterwards."""
    old, new = ({one.name: one for one in ns.ipsets} for ns in (remove, add))
    for name, one in new.items():
        yield from _members(old[name], one) if name in old else (f"+ {line}" for line in _made(one))
    yield from (f"- ipset destroy {name}" for name in old if all(one.name != name for one in whole.ipsets))
    before = chains([*(rule for rule in whole.filters if rule not in add.filters), *remove.filters])
    after = chains(whole.filters)
    yield from (f"- {_said('-D', rule)}" for rule in remove.filters)
    yield from (f"- {_tool(chain)} -X {chain[2]}" for chain in before if chain not in after)
    yield from (f"+ {_tool(chain)} -N {chain[2]}" for chain in chains(add.filters) if chain not in before)
    yield from (f"+ {_said('-A', rule)}" for rule in add.filters)


def tampered(namespaces: Namespaces, wanted: Netns) -> list[str]:
    """What apply would put right, "+" or "-" before each command. The kernel words rules in its own way; so the wanted
    ones are made once more, in a namespace of their own, and the tools' words for both are compared."""
    scratch = Namespaces()
    try:
        scratch.create(wanted.name)
        apply(scratch, [change(wanted, Netns(wanted.name), None)])
        right, now = _listed(scratch, wanted), _listed(namespaces, wanted)
    finally:
        scratch.close()
    found = [f"- {_undone(line)}" for line in now if line not in right]
    return [*found, *(f"+ {line}" for line in right if line not in now)] or ["~ the order of the filter rules"]


_OPPOSITE = (("-A", "-D"), ("-N", "-X"), ("add", "del"), ("create", "destroy"))


def _undone(line: str) -> str:
    """The command that takes back what `line` does."""
    verb, opposite = next(pair for pair in _OPPOSITE if f" {pair[0]} " in line)
    return line.replace(f" {verb} ", f" {opposite} ", 1)


def _listed(namespaces: Namespaces, wanted: Netns) -> list[str]:
    """The members of the wanted sets, and the chains and rules of the wanted tables, as commands."""
    names = {one.name for one in wanted.ipsets}
    said = namespaces.run(wanted.name, ["ipset", "save"]).stdout.splitlines() if names else []
    found = [f"ipset {line.partition(' hashsize')[0]}" for line in said if line.split(" ")[1] in names]
    for family in sorted({rule.family for rule in wanted.filters}):
        tool, table = "ip6tables" if family == 6 else "iptables", ""
        tables = {rule.table for rule in wanted.filters if rule.family == family}
        for line in namespaces.run(wanted.name, [f"{tool}-{backend()}-save"]).stdout.splitlines():
            table = line[1:] if line.startswith("*") else table
            if table in tables and line.startswith((":", "-A")):
                chain = line[1:].split(" ")[0]
                known = line.startswith(":") and chain in BUILT_IN[table]
                command = f"-N {chain}" if line.startswith(":") else line
                found += [] if known else [f"{tool} -t {table} {command}"]
    return found


def _members(old: IpSet, new: IpSet) -> Iterator[str]:
    yield from (f"- ipset del {old.name} {member}" for member in old.members if member not in new.members)
    yield from (f"+ ipset add {new.name} {member}" for member in new.members if member not in old.members)
