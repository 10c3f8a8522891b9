"""The namespaces that an engine works in: one socket each, the devices by name, and what was applied last."""

from __future__ import annotations

import struct
from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace

from kernel import devices, wire
from kernel.errors import BadInput, KernelRefused
from kernel.namespaces import Namespaces
from kernel.read import Elsewhere, Reader, indexes, sysctl
from kernel.state import Link, Netns, Stacked, Sysctl, Veth

FIRST_INDEX = 16
"""Where our interface indexes start in a fresh namespace; tunnel modules make up to nine devices of their own."""
GETNSID, NETNSA_NSID, NETNSA_FD = 90, 1, 3
"""linux/net_namespace.h"""


@dataclass
class Space:
    """One namespace. `links` are the devices applied, other ends included."""

    rtnl: wire.Rtnl
    index: dict[str, int] = field(default_factory=lambda: {"lo": 1})
    applied: Netns = field(default_factory=lambda: Netns(""))
    links: dict[str, Link] = field(default_factory=dict)
    numbers: dict[str, int] = field(default_factory=dict)
    """What the kernel calls other namespaces here."""
    before: dict[str, str] = field(default_factory=dict)
    """What sysctls held before they were written the first time."""
    seals: dict[str, Hashable] = field(default_factory=dict)
    """Of the parts that are applied as a whole, as they were after the last apply."""

    def free_index(self) -> int:
        return max(FIRST_INDEX - 1, max(self.index.values(), default=0)) + 1


@dataclass
class Counts:
    """What was done: netlink requests, objects made, objects removed."""

    messages: int = 0
    made: int = 0
    removed: int = 0


class Spaces:
    """All of them by name, opened when they are first asked for."""

    def __init__(self, namespaces: Namespaces) -> None:
        self.namespaces = namespaces
        self.counts = Counts()
        self._spaces: dict[str, Space] = {}

    def __getitem__(self, name: str) -> Space:
        if name not in self._spaces:
            with self.namespaces.inside(name):
                self._spaces[name] = Space(wire.Rtnl(), applied=Netns(name))
            self.renew(name)
        return self._spaces[name]

    def __contains__(self, name: str) -> bool:
        return name in self._spaces

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._spaces))

    def create(self, names: list[str], each: Callable[[str], None]) -> None:
        """Fresh namespaces; `each` is called inside every one."""

        def born(name: str) -> None:
            self._spaces[name] = Space(wire.Rtnl(), applied=Netns(name))
            each(name)

        self.namespaces.create_all(names, born)
        self.counts.made += len(names)

    def drop(self, name: str) -> None:
        """Gives a namespace back. Its devices go at once: the kernel clears a dropped namespace some time later."""
        space = self._spaces.pop(name)
        self.counts.removed += 1
        space.rtnl.attempt([devices.del_ours()])
        space.rtnl.close()
        self.namespaces.drop(name)
        for other in self._spaces.values():
            other.numbers.pop(name, None)

    def after_fork(self) -> None:
        """In a child: drops the parent's sockets without a word to the kernel, and opens its own; forgets namespaces
        that are gone."""
        for name, space in list(self._spaces.items()):
            space.rtnl.close()
            if name not in self.namespaces.names:
                del self._spaces[name]
                continue
            with self.namespaces.inside(name):
                space.rtnl = wire.Rtnl()

    def close(self) -> None:
        """Closes the sockets; the namespaces are not ours."""
        for space in self._spaces.values():
            space.rtnl.close()
        self._spaces.clear()

    # -- devices --

    def renew(self, name: str) -> None:
        """Asks the kernel for the devices of a namespace."""
        space = self._spaces[name]
        space.index = indexes(space.rtnl)

    def index(self, name: str, device: str) -> int:
        """The index of a device. Raises BadInput when there is none of that name."""
        space = self[name]
        if device not in space.index:
            self.renew(name)
        if device not in space.index:
            raise BadInput(f"there is no device {device!r}", where=f"namespace {name}")
        return space.index[device]

    def master(self, name: str, link: Link) -> int | None:
        return self.index(name, link.master) if link.master else None

    # -- sending --

    def send(self, name: str, requests: list[wire.Request]) -> None:
        """Raises KernelRefused, which names the object and the namespace."""
        self.counts.messages += len(requests)
        try:
            self[name].rtnl.send(requests)
        except KernelRefused as problem:
            raise KernelRefused(problem.what, where=f"namespace {name}", remedy=problem.remedy) from None

    def attempt(self, name: str, requests: list[wire.Request]) -> list[wire.Refusal]:
        """The same for requests that may be in vain; returns those refused."""
        self.counts.messages += len(requests)
        return self[name].rtnl.attempt(requests)

    # -- reading --

    def read(
        self, names: Iterable[str], daemons: bool = False, keys: Mapping[str, Iterable[Sysctl]] | None = None
    ) -> dict[str, Netns]:
        """What the kernel has there now; with `daemons` also routes that FRR installed. Of sysctls those that were
        applied, and those of `keys`, by namespace."""
        readers = {name: Reader(name, self[name].rtnl) for name in names}
        for name, reader in readers.items():
            self[name].index = {device: index for index, device in reader.names.items()}
        return {
            name: self._netns(reader, readers, daemons, (keys or {}).get(name, ())) for name, reader in readers.items()
        }

    def _netns(self, reader: Reader, readers: dict[str, Reader], daemons: bool, more: Iterable[Sysctl]) -> Netns:
        reader.elsewhere = self._elsewhere(reader, readers)
        found = reader.netns(daemons)
        keys = dict.fromkeys(item.key for item in (*self[reader.name].applied.sysctls, *more))
        if not keys:
            return found
        with self.namespaces.inside(reader.name):
            return replace(found, sysctls=tuple(sysctl(key) for key in keys))

    def _elsewhere(self, reader: Reader, readers: dict[str, Reader]) -> Elsewhere:
        """The namespaces in which devices of this one have their other part, as far as they are ours."""
        space, wanted = self[reader.name], reader.numbers()
        if not wanted:
            return {}
        for name in {far for link in space.links.values() if (far := _far(link))}:
            if name in self and name not in space.numbers:
                space.numbers[name] = self._number(space.rtnl, name)
        return {
            number: (name, readers[name].names if name in readers else _turned(self[name].index))
            for name, number in space.numbers.items()
            if number in wanted and name in self
        }

    def _number(self, rtnl: wire.Rtnl, name: str) -> int:
        """What the kernel calls namespace `name` in that of `rtnl` (RTM_GETNSID); -1 if it has no number."""
        body = bytes(4) + wire.u32(NETNSA_FD, self.namespaces.fd(name))
        found = wire.attributes(rtnl.dump(GETNSID, body, flags=0), wire.HEAD.size + 4)
        return int(struct.unpack("=i", found[NETNSA_NSID])[0])


def _far(link: Link) -> str:
    if isinstance(link, Veth):
        return link.peer_netns
    return link.dev_netns if isinstance(link, Stacked) else ""


def _turned(index: dict[str, int]) -> dict[int, str]:
    return {number: name for name, number in index.items()}
