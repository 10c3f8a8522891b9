"""Makes the devices of all namespaces as wanted: removes what is wrong, makes what is missing, settles the rest.

What stands on another device comes after it, wherever that one is: requests go out in ranks, all namespaces of
one rank before the next rank.
"""

from __future__ import annotations

import errno

from kernel import devices, diff, wire
from kernel.diff import Links, Place
from kernel.errors import KernelRefused, MissingFeature, PodpathError
from kernel.read import indexes
from kernel.spaces import Spaces
from kernel.state import Bridge, Link, Stacked, Veth


def lost(spaces: Spaces, wanted: Links, there: Links) -> set[Place]:
    """The devices that must go, with all that go with them: ours that are wanted no more, those that are of another
    kind than wanted or stand on another device, and the other ends of such."""
    gone: set[Place] = set()
    for netns, links in wanted.items():
        now = there[netns]
        ours = spaces[netns].links if netns in spaces else {}
        gone |= {(netns, name) for name in ours if name not in links and name in now}
        for name, link in links.items():
            if name in now and not (diff.fits(netns, link, now[name]) and _whole(link, there)):
                gone.add((netns, name))
    return diff.falling(gone, there)


def _whole(link: Link, there: Links) -> bool:
    """A veth's other end is where it should be."""
    return not isinstance(link, Veth) or link.peer.name in there[link.peer_netns]


class Linker:
    """One apply's work on devices."""

    def __init__(self, spaces: Spaces, wanted: Links, there: dict[str, dict[str, Link]]) -> None:
        self.spaces, self.wanted, self.there = spaces, wanted, there
        self._late: set[Place] = set()
        """Devices that are not as wanted yet: other ends, those taken over, and those whose ARP is stated."""

    def run(self) -> None:
        """Makes and settles, those first on which others stand: one that is down takes no device on it. What had to
        go must have gone already (`remove`). Raises KernelRefused."""
        for row in diff.ranks(self.wanted):
            queues: dict[str, list[wire.Request]] = {}
            for netns, link in row:
                if link.name not in self.there[netns]:
                    self._make(queues, netns, link)
                self._settle(queues, netns, link.name)
                if isinstance(link, Veth):
                    self._settle(queues, link.peer_netns, link.peer.name)
            self._flush(queues)
            self._complete()
        for netns, links in self.wanted.items():
            self.spaces[netns].links = dict(links)

    def remove(self, gone: set[Place]) -> None:
        """Removes devices; some go with others."""
        for netns in {netns for netns, _ in gone}:
            space = self.spaces[netns]
            names = [name for where, name in gone if where == netns]
            requests = [devices.del_link(space.index[name], name) for name in names if name in space.index]
            self.spaces.attempt(netns, requests)
            self.spaces.counts.removed += len(names)
            for name in names:
                self.there[netns].pop(name, None)
                if name not in devices.FALLBACK:
                    space.index.pop(name, None)

    def _make(self, queues: dict[str, list[wire.Request]], netns: str, link: Link) -> None:
        if isinstance(link, Veth):
            self._veth(queues, netns, link)
        elif link.name in devices.FALLBACK:
            self._take_over(netns, link)
        else:
            home = (link.dev_netns if isinstance(link, Stacked) else "") or netns
            queues.setdefault(home, []).append(self._plain(netns, home, link))
            self._mind_arp(netns, link)
        self.spaces.counts.made += 1

    def _plain(self, netns: str, home: str, link: Link) -> wire.Request:
        """The request, to be sent in namespace `home`, that makes any device but a veth."""
        space = self.spaces[netns]
        under = getattr(link, "dev", "")
        dev = self.spaces.index(home, under) if under else None
        master = self.spaces.master(netns, link)
        if home == netns:
            index = space.index[link.name] = space.free_index()
            return devices.new_link(link, index, master, dev)
        index = space.index[link.name] = max(space.free_index(), self.spaces[home].free_index())
        return devices.new_link(link, index, master, dev, self.spaces.namespaces.fd(netns))

    def _take_over(self, netns: str, link: Link) -> None:
        """A device that the tunnel's module makes by itself, unless net.core.fb_tunnels_only_for_init_net says no."""
        if link.name not in self.spaces[netns].index:
            request = self._plain(netns, netns, link)
            refused = self.spaces.attempt(netns, [request])
            index = self.spaces[netns].index
            del index[link.name]
            index.update(indexes(self.spaces[netns].rtnl))
            if not refused:
                return
            if refused[0].errno != errno.EEXIST or link.name not in index:
                raise _refused(netns, refused)
        self._late.add((netns, link.name))

    def _veth(self, queues: dict[str, list[wire.Request]], netns: str, near: Veth) -> None:
        """Both ends."""
        far_netns, far = near.peer_netns, self.wanted[near.peer_netns][near.peer.name]
        here, there = self.spaces[netns], self.spaces[far_netns]
        index = here.index[near.name] = here.free_index()
        far_index = there.index[far.name] = there.free_index()
        self._late.add((far_netns, far.name))
        fd, master = self.spaces.namespaces.fd(far_netns), self.spaces.master(netns, near)
        queues.setdefault(netns, []).append(devices.new_veth(near, index, far, far_index, fd, master))

    def _settle(self, queues: dict[str, list[wire.Request]], netns: str, name: str) -> None:
        """What has changed of a device that was there."""
        link, before = self.wanted[netns][name], self.there[netns].get(name)
        if before is None or diff.settled(link, before):
            return
        queue, index = queues.setdefault(netns, []), self.spaces[netns].index[name]
        master = (self.spaces.master(netns, link) or 0) if link.master != before.master else None
        queue.append(devices.set_link(index, link, master))
        if not before.up:
            self._mind_arp(netns, link)
        if isinstance(link, Bridge) and devices.filters(link) != devices.filters(before):
            queue.append(devices.filtering(index, link))

    def _mind_arp(self, netns: str, link: Link) -> None:
        """An ipvlan device forgets IFF_NOARP when it goes up (drivers/net/ipvlan/ipvlan_main.c, ipvlan_open)."""
        if link.up and link.arp is not None:
            self._late.add((netns, link.name))

    def _complete(self) -> None:
        """What could not be stated when a device was made."""
        queues: dict[str, list[wire.Request]] = {}
        for netns, name in sorted(self._late):
            link = self.wanted[netns][name]
            stated = link if name in devices.FALLBACK else Link(name, up=link.up, arp=link.arp)
            request = devices.set_link(self.spaces[netns].index[name], stated, self.spaces.master(netns, link))
            queues.setdefault(netns, []).append(request)
        self._late.clear()
        self._flush(queues)

    def _flush(self, queues: dict[str, list[wire.Request]]) -> None:
        for netns, requests in queues.items():
            if requests and (refused := self.spaces.attempt(netns, requests)):
                raise _refused(netns, refused)
            requests.clear()


def _refused(netns: str, refused: list[wire.Refusal]) -> PodpathError:
    first, place = refused[0], f"namespace {netns}"
    if first.errno == errno.EOPNOTSUPP:
        return MissingFeature(f"this kernel has no {first.what}", where=place, remedy="use --kernel embedded")
    more = f" (and {len(refused) - 1} more)" if len(refused) > 1 else ""
    return KernelRefused(f"the kernel refused {first.what}: {first.reason}{more}", where=place)
