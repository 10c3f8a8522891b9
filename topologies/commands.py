"""The prompt's commands, beside those in nodes: measuring, links, Python, files."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from mininet.cli import CLI
from mininet.log import output

from kernel.errors import BadInput
from topologies.mininet_node import LabNode, LabSwitch
from topologies.shaping import as_text, values_of

NO_X11 = "there is no X11 in a lab; from another terminal: run_topology.py exec {} -- bash"


class Commands(CLI):
    """Each `do_` method is a command; its docstring is USAGE: HELP."""

    def failed(self) -> None:
        """Notes that a command's answer is no."""
        raise NotImplementedError

    def complain(self, text: str) -> None:
        """Says what went wrong, in one line."""
        raise NotImplementedError

    # -- measuring --

    def do_pingall(self, line: str) -> None:
        """pingall [-6] [TIMEOUT] [NODE ...]: ping between all pods, or between these nodes, all at once.

        TIMEOUT is in seconds (2); -6 pings the IPv6 addresses."""
        hosts, options = self._pinged(line)
        if self.mn.ping(hosts, **options):
            self.failed()

    def do_pingallfull(self, line: str) -> None:
        """pingallfull [-6] [TIMEOUT] [NODE ...]: the same, one after the other, with round-trip times."""
        hosts, options = self._pinged(line)
        if any(not full[1] for _, _, full in self.mn.pingFull(hosts, **options)):
            self.failed()

    def do_pingpair(self, line: str) -> None:
        """pingpair: ping between the first two pods."""
        if self.mn.pingPair():
            self.failed()

    def _pinged(self, line: str) -> tuple[list[LabNode], dict[str, Any]]:
        options: dict[str, Any] = {}
        hosts = []
        for word in line.split():
            if word == "-6":
                options["family"] = 6
            elif word.replace(".", "", 1).isdigit():
                options["timeout"] = float(word)
            else:
                hosts.append(self._node(word))
        return hosts, options

    def do_iperf(self, line: str) -> None:
        """iperf [NODE NODE]: TCP throughput from the first to the second for five seconds (iperf3)."""
        self.mn.iperf(self._two(line.split()))

    def do_iperfudp(self, line: str) -> None:
        """iperfudp [BANDWIDTH NODE NODE]: the same with UDP at a rate, such as 10M."""
        words = line.split()
        self.mn.iperf(self._two(words[1:]), l4Type="UDP", **({"udpBw": words[0]} if words else {}))

    def _two(self, names: Sequence[str]) -> list[LabNode] | None:
        """The two nodes of these names, None when none are given. Raises BadInput."""
        if len(names) not in (0, 2):
            raise BadInput("two nodes are needed", remedy="such as: iperf pod1 pod3")
        return [self._node(name) for name in names] or None

    def _node(self, name: str) -> LabNode:
        if name not in self.mn:
            raise BadInput(f"there is no node {name!r}", remedy="`nodes` lists them")
        node: LabNode = self.mn[name]
        return node

    # -- links --

    def do_net(self, line: str) -> None:
        """net: each node with its interfaces and what they lead to."""
        for node in self.mn.values():
            ends = []
            for intf in node.intfList():
                far = [end for end in (intf.link.intf1, intf.link.intf2) if end is not intf] if intf.link else []
                ends.append(f"{intf.name}:" + (f"{far[0].node.name}:{far[0].name}" if far else " "))
            output(f"{node.name} {' '.join(ends)}\n")

    def do_links(self, line: str) -> None:
        """links: each link, the state of its ends, and how it is shaped."""
        for link in self.mn.links:
            shaped = self.mn.shape_text(link)
            output(f"{link} {link.status()}{f' {shaped}' if shaped else ''}\n")

    def do_link(self, line: str) -> None:
        """link NODE NODE up|down: set the links between two nodes up or down; they stay so until you change it."""
        words = line.split()
        if len(words) != 3:
            raise BadInput("a link has two ends and is up or down", remedy="such as: link s1 s2 down")
        self.mn.configLinkStatus(*words)

    def do_shape(self, line: str) -> None:
        """shape NODE NODE [bandwidth=100Mbit|none] [delay=5ms] [loss=1%] [mtu=1400]: change a link while the lab
        runs, in both directions; without values, show how it is shaped."""
        words = line.split()
        if len(words) < 2:
            raise BadInput("a link has two ends", remedy="such as: shape node1 s1 delay=5ms")
        if len(words) > 2:
            self.mn.shape(*words[:2], **values_of(words[2:]))
        output(as_text(self.mn.spec.link_between(*words[:2])) + "\n")

    def do_switch(self, line: str) -> None:
        """switch SWITCH start|stop: let a switch forward, or not."""
        words = line.split()
        if len(words) != 2 or words[1] not in ("start", "stop"):
            raise BadInput("a switch is started or stopped", remedy="such as: switch s1 stop")
        switch = self._node(words[0])
        if not isinstance(switch, LabSwitch):
            raise BadInput(f"{words[0]!r} is no switch", remedy=f"one of: {', '.join(map(str, self.mn.switches))}")
        switch.start() if words[1] == "start" else switch.stop()

    # -- Python, the shell, files --

    def do_py(self, line: str) -> None:
        """py EXPRESSION: evaluate Python; the nodes have their names and the network is `net`: py pod1.IP()"""
        result = self._python(lambda names: eval(line, names, names))
        if result is not None:
            output(f"{result if isinstance(result, str) else repr(result)}\n")

    def do_px(self, line: str) -> None:
        """px STATEMENT: execute Python: px print(net['pod1'].cmd('ip addr'))"""
        self._python(lambda names: exec(line, names, names))

    def _python(self, run: Callable[[dict[str, Any]], Any]) -> Any:
        try:
            return run(self.getLocals())
        except SystemExit:
            self.complain("this would end the prompt; `exit` does that")
        return None

    def do_sh(self, line: str) -> None:
        """sh COMMAND: run a command beside the nodes: in the lab, but in none of its namespaces."""
        if subprocess.call(line, shell=True):
            self.failed()

    def do_source(self, line: str) -> None:
        """source FILE: run the commands in a file."""
        try:
            commands = Path(line.strip()).expanduser().read_text().splitlines()
        except (OSError, UnicodeDecodeError) as problem:
            why = problem.strerror if isinstance(problem, OSError) else "it is no text"
            raise BadInput(f"{line.strip()!r} cannot be read: {why}") from None
        for command in commands:
            if self.onecmd(self.precmd(command)):
                return

    # -- what a lab does not have --

    def do_xterm(self, line: str, term: str = "xterm") -> None:
        """xterm, gterm, x: not in a lab."""
        raise BadInput(NO_X11.format((line.split() or ["pod1"])[0]))

    do_gterm = do_x = do_xterm

    def do_dpctl(self, line: str) -> None:
        """dpctl: not in a lab, whose switches are Linux bridges."""
        raise BadInput("the switches are Linux bridges and know no OpenFlow", remedy="try: s1 bridge vlan show")

    def do_wait(self, line: str) -> None:
        """wait: nothing to wait for; the lab is up before its prompt is."""
