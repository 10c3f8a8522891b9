"""One bring-up run, inside the namespaces that bench.bringup made: `python -m bench.builders TOOL SIZE`.

Every tool makes the same: SIZE hosts, each with lo and eth0 up and an address in 10.0.0.0/8, on one
Linux bridge. The last host must then reach the first, or the run does not count. (`pods` is another
thing: SIZE pods of hybridnet VXLAN on 10 nodes, to show what a container network adds.)
"""

from __future__ import annotations

import gc
import json
import os
import socket
import subprocess
import sys
import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

from kernel.errors import PodpathError
from kernel.state import Address, Bridge, Link, Netns, Route, State, Veth, merge

SWITCH = "s1"
LARGEST_SWITCH = 1023
"""Ports that a Linux bridge takes (net/bridge/br_private.h: BR_PORT_BITS is 10, port 0 is not used)."""
NODES = 10
GONE_DEADLINE_S = 120.0


def address(index: int) -> str:
    """The address of host `index` (from 1) in 10.0.0.0/8."""
    return f"10.{index >> 16 & 255}.{index >> 8 & 255}.{index & 255}"


def hosts_state(size: int) -> State:
    """`size` hosts h1.. with one link each to the switch s1."""
    hosts = []
    for index in range(1, size + 1):
        name = f"h{index}"
        veth = Veth("eth0", peer_netns=SWITCH, peer=Link(name, master=SWITCH))
        hosts.append(Netns(name, links=(veth,), addresses=(Address("eth0", f"{address(index)}/8"),)))
    return State((Netns(SWITCH, links=(Bridge(SWITCH),)), *hosts))


class Builder(ABC):
    """A tool under test. `up` is timed, then `reaches` checks the outcome, then `down` is timed."""

    def __init__(self, size: int) -> None:
        self.size = size

    @abstractmethod
    def prepare(self) -> None:
        """Imports and files: what a user pays once, or would write by hand. Not timed."""

    @abstractmethod
    def up(self) -> None:
        """Hosts, links, addresses."""

    @abstractmethod
    def reaches(self) -> bool:
        """The last host gets an answer from the first."""

    @abstractmethod
    def down(self) -> None:
        """Everything removed, or handed to the kernel to be removed."""

    def remaining(self) -> int | None:
        """Devices beside lo still on the switch after `down`; None if that cannot be seen."""
        return len(socket.if_nameindex()) - 1

    def _ping(self, run: Callable[[list[str]], int], target: str = address(1)) -> bool:
        return run(["ping", "-c", "1", "-W", "5", target]) == 0


class Podpath(Builder):
    """kernel.engine on a state computed beforehand by the same pure functions that the product uses."""

    def prepare(self) -> None:
        from kernel.engine import Engine
        from kernel.namespaces import Namespaces

        self.state = hosts_state(self.size)
        self.namespaces: Any = Namespaces()
        self.engine: Any = Engine(self.namespaces)
        self.switch_fd = -1

    def up(self) -> None:
        self.engine.apply(self.state)

    def reaches(self) -> bool:
        return self._ping(lambda argv: int(self.namespaces.run(f"h{self.size}", argv).returncode))

    def down(self) -> None:
        self.switch_fd = os.dup(self.namespaces.fd(SWITCH))  # keeps the switch, so that `remaining` can look into it
        self.engine.close()
        self.namespaces.close()

    def remaining(self) -> int | None:
        if self.switch_fd < 0:
            return None
        _setns(self.switch_fd)
        return len([name for _, name in socket.if_nameindex() if name not in ("lo", SWITCH)])


class Pods(Podpath):
    """SIZE pods of hybridnet VXLAN on 10 nodes that share one switch; plan and mode are timed too."""

    def up(self) -> None:
        from plugins.registry import mode

        try:
            from kernel.features import probe

            features = frozenset(name for name, lack in probe().items() if not lack)
        except ImportError:
            features = frozenset()
        self.cluster, underlay = pods_cluster(self.size)
        wanted = mode("hybridnet", "vxlan").wanted(self.cluster, features)
        self.engine.apply(merge((underlay, wanted.state)))

    def reaches(self) -> bool:
        first, last = self.cluster.pods[0], self.cluster.pods[-1]
        target = first.addresses[0]
        return self._ping(lambda argv: int(self.namespaces.run(last.name, argv).returncode), target)


def pods_cluster(size: int) -> tuple[Any, State]:
    """A cluster of `size` pods spread over 10 nodes, and the underlay that its nodes stand on."""
    from cluster.model import Block, Cluster, Node, Pod, Pool

    nodes, spaces = [], []
    for index in range(1, NODES + 1):
        name, mac = f"node-{index}", f"02:00:0a:00:00:{index:02x}"
        cidr = f"192.168.100.{index}/24"
        nodes.append(Node(name, "eth0", mac, (cidr,), ("192.168.100.254",)))
        veth = Veth("eth0", mac=mac, peer_netns=SWITCH, peer=Link(name, master=SWITCH))
        default = Route("0.0.0.0/0", dev="eth0", via="192.168.100.254")
        spaces.append(Netns(name, links=(veth,), addresses=(Address("eth0", cidr),), routes=(default,)))
    pods = tuple(
        Pod(f"p{i}", f"node-{(i - 1) % NODES + 1}", f"02:01:00:00:{i >> 8:02x}:{i & 255:02x}", (_pod_address(i),))
        for i in range(1, size + 1)
    )
    blocks = tuple(Block(f"10.244.{index}.0/24", f"node-{index}") for index in range(1, NODES + 1))
    cluster = Cluster(tuple(nodes), pods, (Pool("10.244.0.0/16", 24),), blocks)
    return cluster, State((Netns(SWITCH, links=(Bridge(SWITCH),)), *spaces))


def _pod_address(index: int) -> str:
    row, node = divmod(index - 1, NODES)
    return f"10.244.{node + 1}.{row + 2}"


class Mininet(Builder):
    """Stock Mininet 2.3.0: its Topo, Host and Link, and a Linux bridge as switch.

    Its own LinuxBridge calls brctl, which Debian 12 no longer installs; the same commands in `ip` words stand in.
    """

    def prepare(self) -> None:
        from mininet.log import setLogLevel
        from mininet.net import Mininet as Net
        from mininet.node import Switch
        from mininet.topo import SingleSwitchTopo

        class IpBridge(Switch):  # type: ignore[misc]
            def start(self, _controllers: object) -> None:
                self.cmd("ip link add", self, "type bridge")
                for intf in self.intfList():
                    if self.name in intf.name:
                        self.cmd("ip link set", intf, "master", self)
                self.cmd("ip link set", self, "up")

            def stop(self, deleteIntfs: bool = True) -> None:
                self.cmd("ip link del", self)
                super().stop(deleteIntfs)

        setLogLevel("error")
        topo: Any = SingleSwitchTopo  # mininet has no annotations
        self.make: Any = lambda: Net(topo(self.size), switch=IpBridge, controller=None, ipBase="10.0.0.0/8")

    def up(self) -> None:
        self.net = self.make()
        self.net.start()

    def reaches(self) -> bool:
        host = self.net.get(f"h{self.size}")
        return self._ping(lambda argv: int(host.pexec(argv)[2]), self.net.get("h1").IP())

    def down(self) -> None:
        self.net.stop()


class IpBatch(Builder):
    """iproute2 at its best: one batch for the bridge, namespaces and pairs, then one per namespace."""

    def prepare(self) -> None:
        hosts = range(1, self.size + 1)
        self.main = f"link add {SWITCH} type bridge\nlink set {SWITCH} up\n" + "".join(
            f"netns add h{i}\nlink add p{i} up master {SWITCH} type veth peer name eth0 netns h{i}\n" for i in hosts
        )
        self.each = {f"h{i}": f"link set lo up\naddr add {address(i)}/8 dev eth0\nlink set eth0 up\n" for i in hosts}
        self.delete = "".join(f"netns del h{i}\n" for i in hosts)

    def _batch(self, text: str, *options: str) -> None:
        subprocess.run(["ip", *options, "-batch", "-"], input=text, text=True, check=True, stdout=subprocess.DEVNULL)

    def up(self) -> None:
        self._batch(self.main)
        for name, text in self.each.items():
            self._batch(text, "-n", name)

    def reaches(self) -> bool:
        enter = ["ip", "netns", "exec", f"h{self.size}"]
        return self._ping(
            lambda argv: subprocess.run([*enter, *argv], stdout=subprocess.DEVNULL, check=False).returncode
        )

    def down(self) -> None:
        self._batch(self.delete)

    def remaining(self) -> int | None:
        return len([name for _, name in socket.if_nameindex() if name not in ("lo", SWITCH)])


BUILDERS: dict[str, type[Builder]] = {"podpath": Podpath, "mininet": Mininet, "ip-batch": IpBatch, "pods": Pods}


def _setns(fd: int) -> None:
    import ctypes

    clone_newnet = 0x40000000  # linux/sched.h; os.setns is there from Python 3.12
    if ctypes.CDLL(None, use_errno=True).setns(fd, clone_newnet):
        raise OSError(ctypes.get_errno(), "setns")


def forks() -> int:
    """The newest process number of this pid namespace: /proc/loadavg's last field counts every fork in it."""
    return int(Path("/proc/loadavg").read_text().split()[-1])


def process_kib() -> int:
    """Proportional memory (PSS) of all processes of this pid namespace."""
    total = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            lines = (folder / "smaps_rollup").read_text().splitlines()
        except OSError:  # it ended meanwhile
            continue
        total += sum(int(line.split()[1]) for line in lines if line.startswith("Pss:"))
    return total


def kernel_kib() -> int:
    """What the whole machine's kernel holds for objects and stacks; other work on the machine shows in it."""
    wanted = {"Slab:", "Percpu:", "KernelStack:", "PageTables:"}
    fields = (line.split() for line in Path("/proc/meminfo").read_text().splitlines())
    return sum(int(field[1]) for field in fields if field[0] in wanted)


def measure(builder: Builder) -> dict[str, float | int | None]:
    """Up, check, down, with what each took. Memory is per host."""
    builder.prepare()
    gc.collect()
    before = forks(), process_kib(), kernel_kib()
    start = time.perf_counter()
    builder.up()
    up = time.perf_counter() - start
    after = forks(), process_kib(), kernel_kib()
    made = [(now - then) for now, then in zip(after, before, strict=True)]
    if not builder.reaches():
        raise PodpathError(f"the last of {builder.size} does not reach the first")
    start = time.perf_counter()
    builder.down()
    down = time.perf_counter() - start
    gone = _gone(builder, start)
    memory = {"process_kib": made[1] / builder.size, "kernel_kib": made[2] / builder.size}
    return {"up_s": up, "forks": made[0], **memory, "down_s": down, "gone_s": gone}


def _gone(builder: Builder, start: float) -> float | None:
    """Seconds from `start` until the kernel has removed the last link (looked for every 2 ms: nothing announces it)."""
    while (left := builder.remaining()) is not None and time.perf_counter() - start < GONE_DEADLINE_S:
        if not left:
            return time.perf_counter() - start
        time.sleep(0.002)
    return None


def main() -> int:
    tool, size = sys.argv[1], int(sys.argv[2])
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)  # `ip netns` writes there; ours alone
    try:
        print(json.dumps(measure(BUILDERS[tool](size))), flush=True)
    except PodpathError as problem:
        print(str(problem).replace("\n", " "), file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
