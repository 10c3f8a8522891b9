"""Mininet's Node, Switch, Intf and Link over what the engine made: they describe it, they do not make it.

A node's shell starts when somebody first uses it, with setns(2) where Mininet needs its helper mnexec.
"""

from __future__ import annotations

import os
import pty
import select
import shlex
import subprocess
import termios
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from mininet.link import Intf, Link
from mininet.node import Host, Node, Switch

from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from topologies import device

OF_SHELL = ("shell", "pid", "stdin", "stdout", "pollOut", "master", "slave", "execed", "lastPid", "lastCmd")
"""What Mininet's Node has once its shell runs; asking one of them starts it."""
VTYSH = 'vtysh() {{ command vtysh -N {} "$@"; }}'
"""FRR's shell finds the node's daemons by itself: each node has its own path space (bgp.daemons)."""
PROMPT = chr(127)
"""By this Mininet sees that a command has ended."""
Shape = Callable[..., None]
SetUp = Callable[[list[tuple[str, str]], bool], None]
"""Sets devices, each a namespace and a name, up or down."""


def _stay(*_: Any) -> None:
    """The device is where it belongs already."""


class LabIntf(Intf):
    """A device of a node. What is asked about it (IP, MAC, up) comes from the kernel, without a process."""

    def __init__(self, name: str, node: Node, port: int, mac: str | None, addresses: tuple[str, ...]) -> None:
        super().__init__(name, node=node, port=port, moveIntfFn=_stay, up=None)
        self.mac = mac
        self.addresses = addresses
        """Every wanted address with its prefix length; `ip` is the first IPv4 one."""
        first = next((one for one in addresses if ":" not in one), None)
        self.ip: str | None
        self.prefixLen: str | None
        self.ip, self.prefixLen = first.split("/") if first else (None, None)

    @property
    def ip6(self) -> str | None:
        """The first IPv6 address, without its prefix length."""
        return next((one.partition("/")[0] for one in self.addresses if ":" in one), None)

    @contextmanager
    def _there(self) -> Iterator[None]:
        with self.node.inside():
            yield

    def updateIP(self) -> str | None:
        """The device's first IPv4 address as the kernel has it now."""
        with self._there():
            self.ip = device.ipv4(self.name) if device.exists(self.name) else None
        return self.ip

    def updateMAC(self) -> str | None:
        """Its MAC as the kernel has it now."""
        with self._there():
            self.mac = device.mac(self.name) if device.exists(self.name) else None
        return self.mac

    def updateAddr(self) -> tuple[str | None, str | None]:
        """Both."""
        return self.updateIP(), self.updateMAC()

    def MAC(self) -> str | None:
        """The MAC, asked once when no topology states it."""
        return self.mac or self.updateMAC()

    def ifconfig(self, *args: str) -> str:
        """`up` and `down` at once; anything else by the program ifconfig in the node's shell. "" is success."""
        if args not in (("up",), ("down",)):
            return str(super().ifconfig(*args))
        try:
            with self._there():
                device.set_up(self.name, args == ("up",))
        except OSError as problem:
            return f"{self.node.name}: {self.name}: {problem.strerror}\n"
        return ""

    def isUp(self, setUp: bool = False) -> bool:
        """The device is up; with `setUp` it is set up first."""
        if setUp and self.ifconfig("up"):
            return False
        with self._there():
            return device.exists(self.name) and device.is_up(self.name)

    def status(self) -> str:
        """OK, DOWN or MISSING."""
        with self._there():
            if not device.exists(self.name):
                return "MISSING"
            return "OK" if device.is_up(self.name) else "DOWN"

    def config(self, bw: float | None = None, delay: Any = None, loss: Any = None, **params: Any) -> Any:
        """As Mininet's TCIntf: `bw` Mbit/s, `delay` such as "5ms", `loss` percent, and `mtu` bytes. They are the
        link's, so both directions get them. Raises BadInput for a link that cannot be shaped."""
        stated = {"bandwidth": None if bw is None else round(bw * 10**6), "delay": delay, "loss": loss}
        values = {name: value for name, value in stated.items() if value is not None}
        if "mtu" in params:
            values["mtu"] = params.pop("mtu")
        if values:
            if self.link is None:
                raise BadInput(f"{self.node.name}:{self.name} is no end of a link", remedy="`links` shows them")
            self.link.shape(**values)
        return super().config(**{"up": None} | params)

    def delete(self) -> None:
        """Raises BadInput."""
        raise engine_only("delete an interface")

    def rename(self, newname: str) -> None:
        """Raises BadInput."""
        raise engine_only("rename an interface")


def engine_only(what: str) -> BadInput:
    return BadInput(
        f"podpath's engine makes and removes what a lab is made of; Mininet cannot {what}",
        remedy="change the topology file and run `run_topology.py up -f FILE` again: it applies the difference",
    )


class LabLink(Link):
    """A veth pair between two nodes."""

    def __init__(self, intf1: LabIntf, intf2: LabIntf, shape: Shape) -> None:
        self.intf1, self.intf2, self.fast = intf1, intf2, True
        intf1.link = intf2.link = self
        self._shape = shape

    def shape(self, **values: Any) -> None:
        """Other values for the link: `bandwidth` bits/s or "100Mbit", `delay` microseconds or "5ms", `loss` percent,
        `mtu` bytes. Raises BadInput and MissingFeature."""
        self._shape(self.intf1.node.name, self.intf2.node.name, **values)

    def delete(self) -> None:
        """Raises BadInput."""
        raise engine_only("delete a link")

    def stop(self) -> None:
        """The lab keeps its links."""

    def __str__(self) -> str:
        """Interface names repeat (each host has its eth0), so each comes with its node."""
        ends = (f"{intf.node.name}:{intf.name}" for intf in (self.intf1, self.intf2))
        return "<->".join(ends)


class LabNode(Node):
    """A node of the lab: a network namespace, and a bash in it as soon as one is needed."""

    isSetup = True  # Mininet would run `which` for mnexec and ifconfig

    def __init__(self, name: str, namespaces: Namespaces, **params: Any) -> None:
        self._namespaces = namespaces
        self._born = False
        super().__init__(name, **params)
        self._born = True
        for attribute in OF_SHELL:
            self.__dict__.pop(attribute, None)

    def __getattr__(self, attribute: str) -> Any:
        """Called for what is not there yet."""
        if attribute in OF_SHELL and self.__dict__.get("_born"):
            self.startShell()
            return self.__dict__[attribute]
        raise AttributeError(f"{type(self).__name__} has no attribute {attribute!r}")

    @contextmanager
    def inside(self) -> Iterator[None]:
        """This thread is in the node's network namespace meanwhile."""
        with self._namespaces.inside(self.name):
            yield

    @property
    def started(self) -> bool:
        """Its shell runs."""
        return bool(self.__dict__.get("shell"))

    def startShell(self, mnopts: str | None = None) -> None:
        """bash on a pseudo-terminal of its own, in the namespace. Raises MissingTool."""
        if not self._born or self.started:
            return
        self.master, self.slave = pty.openpty()
        settings = termios.tcgetattr(self.slave)
        settings[3] &= ~termios.ECHO
        termios.tcsetattr(self.slave, termios.TCSANOW, settings)
        argv = ["setsid", "--ctty", "bash", "--norc", "--noediting", "-is", f"mininet:{self.name}"]
        ends = dict.fromkeys(("stdin", "stdout", "stderr"), self.slave)
        environment = os.environ | {"PS1": PROMPT, "PS2": ""}
        self.shell = self._namespaces.spawn(self.name, argv, env=environment, **ends)
        self._attach()
        self.cmd("unset HISTFILE; set +m; " + VTYSH.format(self.name))  # m: no messages about jobs

    def _attach(self) -> None:
        """Mininet's bookkeeping of a shell, and its first prompt."""
        self.stdin = self.stdout = os.fdopen(self.master, "r")
        self.pid = self.shell.pid
        self.execed, self.waiting = False, False
        self.lastCmd, self.lastPid, self.readbuf = None, None, ""
        self.pollOut = select.poll()
        self.pollOut.register(self.stdout)
        self.outToNode[self.stdout.fileno()] = self.inToNode[self.stdin.fileno()] = self
        while not self.read(1024).endswith(PROMPT):
            self.pollOut.poll()

    def _popen(self, cmd: list[str], **params: Any) -> subprocess.Popen[Any]:
        """A child in the namespace. Raises MissingTool."""
        return self._namespaces.spawn(self.name, cmd, **params)

    def popen(self, *args: Any, **kwargs: Any) -> subprocess.Popen[Any]:
        """A child in the node's namespace, as Mininet's: a list, a string or words; `shell=True` for bash's syntax.
        Raises MissingTool."""
        kwargs.pop("mncmd", None)
        options: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "start_new_session": True}
        options |= kwargs
        one = args[0] if len(args) == 1 else list(args)
        if options.pop("shell", False):
            text = one if isinstance(one, str) else " ".join(one)
            return self._popen(["bash", "-c", text], **options)
        return self._popen(shlex.split(one) if isinstance(one, str) else list(one), **options)

    def IP6(self, intf: Any = None) -> str | None:
        """The IPv6 address of the node or of one of its interfaces."""
        found: str | None = self.intf(intf).ip6
        return found

    def terminate(self) -> None:
        """Ends the shell, if one runs; the node stays."""
        if self.started:
            super().terminate()

    def stop(self, deleteIntfs: bool = False) -> None:
        """The same; `deleteIntfs` is Mininet's and does nothing: the lab keeps its devices."""
        self.terminate()

    def __repr__(self) -> str:
        """As Mininet's; pid is None until the shell runs."""
        intfs = ",".join(f"{intf.name}:{intf.IP()}" for intf in self.intfList())
        pid = self.shell.pid if self.started else None
        return f"<{type(self).__name__} {self.name}: {intfs} pid={pid}> "


class LabHost(LabNode, Host):
    """Whatever has addresses."""


class Pod(LabHost):
    """A pod of the cluster."""


class ClusterNode(LabHost):
    """A machine of the cluster."""


class Reflector(LabHost):
    """A route reflector."""


class Router(LabHost):
    """The gateway between subnets and to the outside."""


class Client(LabHost):
    """The host outside the cluster."""


class LabSwitch(LabNode, Switch):
    """A Linux bridge that has the switch's name, in a namespace of its own."""

    def __init__(self, name: str, namespaces: Namespaces, number: int, set_up: SetUp) -> None:
        super().__init__(name, namespaces, dpid=f"{number:x}")
        self.controlIntf = None
        self._set_up = set_up

    def start(self, controllers: Any = ()) -> None:
        """Sets the bridge up: it forwards."""
        self._set_up([(self.name, self.name)], True)

    def stop(self, deleteIntfs: bool = False) -> None:
        """Sets the bridge down: it forwards nothing."""
        self._set_up([(self.name, self.name)], False)

    def dpctl(self, *_: str) -> str:
        """There is no OpenFlow here."""
        return f"{self.name} is a Linux bridge: try `{self.name} bridge vlan show` or `{self.name} bridge fdb show`\n"
