"""Mininet's API over a wanted state, and the prompt's words, with no privileges: nothing here enters a namespace."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import pytest
from mininet.net import Mininet

from kernel.errors import BadInput
from kernel.namespaces import Namespaces
from kernel.state import Address, Link, Netns, State, Veth, merge
from topologies.cli import LabCLI, Verb
from topologies.complete import Completer
from topologies.mininet_net import LabNet, _rate
from topologies.mininet_node import Router
from topologies.spec import PRESETS, LabSpec, preset
from topologies.underlay import underlay


def pods(node: str, *numbers: int) -> State:
    """Pods as a plugin makes them: a veth from the node to each."""
    veths = [Veth(f"veth{n}", peer_netns=f"pod{n}", peer=Link("eth0", mac=f"02:00:00:00:00:0{n}")) for n in numbers]
    spaces = [
        Netns(f"pod{n}", addresses=(Address("eth0", f"10.244.0.{n}/32"), Address("eth0", f"fd00::{n}/128")))
        for n in numbers
    ]
    return State((Netns(node, links=tuple(veths)), *spaces))


class Owner:
    """What a lab is to its LabNet."""

    def __init__(self) -> None:
        self.spec: LabSpec = preset("default")
        self.state: State = merge((underlay(self.spec), pods("node1", 1, 2)))
        self.asked: list[Any] = []

    def shape(self, a: str, b: str, values: dict[str, Any]) -> None:
        self.asked.append((a, b, values))
        self.spec = self.spec.with_link(a, b, **values)
        self.state = merge((underlay(self.spec), pods("node1", 1, 2)))

    def set_up(self, devices: Any, up: bool) -> None:
        self.asked.append((sorted(devices), up))


@pytest.fixture
def owner() -> Owner:
    return Owner()


@pytest.fixture
def net(owner: Owner) -> Iterator[LabNet]:
    namespaces = Namespaces()
    yield LabNet(owner.spec, namespaces, owner.state, owner)
    namespaces.close()


def names(nodes: Any) -> list[str]:
    return [node.name for node in nodes]


def test_it_is_a_mininet(net: LabNet) -> None:
    assert isinstance(net, Mininet) and not Mininet.inited, "the machine's limits are as they were"
    assert names(net.hosts) == ["pod1", "pod2", "node1", "node2", "node3", "gw", "client"]
    assert (names(net.switches), names(net.pods), names(net.nodes)) == (
        ["s1", "s2"],
        ["pod1", "pod2"],
        ["node1", "node2", "node3"],
    )
    assert len(net) == 9 and "pod1" in net and "pod9" not in net and list(net)[:2] == ["pod1", "pod2"]
    assert net.get("pod1", "s1") == [net["pod1"], net["s1"]] and net.controllers == []
    assert not any(node.started for node in net.values()), "no shell before one is used"


@pytest.mark.parametrize("name", PRESETS)
def test_only_what_a_plugin_makes_is_a_pod(name: str) -> None:
    spec = preset(name)
    net = LabNet(spec, Namespaces(), underlay(spec))
    assert net.pods == [] and names(net.nodes) == [node.name for node in spec.nodes]
    routers = [node.name for node in net.hosts if isinstance(node, Router)]
    assert routers == [router.name for router in spec.routers]


@pytest.mark.parametrize(
    ("bits", "unit", "text"),
    [(9.413e9, None, "9.41 Gbits/sec"), (2e6, "k", "2000 Kbits/sec"), (512.0, None, "0.512 Kbits/sec")],
)
def test_rates_as_iperf_writes_them(bits: float, unit: str | None, text: str) -> None:
    assert _rate(bits, unit) == text


def test_nodes_and_interfaces(net: LabNet) -> None:
    pod, node, switch = net["pod1"], net["node1"], net["s1"]
    assert (pod.IP(), pod.IP6(), pod.MAC()) == ("10.244.0.1", "fd00::1", "02:00:00:00:00:01")
    assert (node.IP(), node.IP6(), node.defaultIntf().prefixLen) == ("192.168.1.1", "fd00:192:168:1::1", "24")
    assert node.intfNames() == ["eth0", "veth1", "veth2"]
    assert [switch.ports[intf] for intf in switch.intfList()] == [0, 1, 2, 3, 4]
    assert switch.intfNames() == ["s1", "s2", "node1", "node2", "gw"] and switch.dpid == "0" * 15 + "1"
    assert str(net["gw"].intf("outside").link) == "client:eth0<->gw:outside"
    assert repr(pod) == "<Pod pod1: eth0:10.244.0.1 pid=None> " and not pod.started


def test_links(net: LabNet) -> None:
    assert [str(link) for link in net.links[:2]] == ["s1:s2<->s2:s1", "node1:eth0<->s1:node1"]
    (link,) = net.linksBetween(net["s1"], net["s2"])
    assert (link.intf1.node, link.intf2.node) == (net["s1"], net["s2"])
    assert [(a.name, b.name) for a, b in net["pod2"].connectionsTo(net["node1"])] == [("eth0", "veth2")]


def test_a_link_is_changed_through_the_lab(net: LabNet, owner: Owner) -> None:
    net["node1"].defaultIntf().config(bw=10, delay="5ms")
    assert owner.asked == [("node1", "s1", {"bandwidth": 10_000_000, "delay": "5ms"})]
    assert net.spec.link_between("node1", "s1")["delay"] == 5000 and net.state is owner.state
    net.configLinkStatus("s1", "s2", "down")
    assert owner.asked[-1] == ([("s1", "s2"), ("s2", "s1")], False)
    net["s2"].stop()
    assert owner.asked[-1] == ([("s2", "s2")], False)


@pytest.mark.parametrize(
    ("call", "what"),
    [
        (lambda net: net.configLinkStatus("s1", "nobody", "up"), "there is no node 'nobody'"),
        (lambda net: net.configLinkStatus("pod1", "pod2", "up"), "there is no link between 'pod1' and 'pod2'"),
        (lambda net: net.configLinkStatus("s1", "s2", "sideways"), "a link is up or down, not 'sideways'"),
        (lambda net: net.addHost("h1"), "Mininet cannot add a host"),
        (lambda net: net.addSwitch("s9"), "Mininet cannot add a switch"),
        (lambda net: net.addLink("s1", "s2"), "Mininet cannot add a link"),
        (lambda net: net.delLink(net.links[0]), "Mininet cannot delete a link"),
        (lambda net: net.delHost(net["pod1"]), "Mininet cannot delete a node"),
        (lambda net: net.links[0].delete(), "Mininet cannot delete a link"),
        (lambda net: net["pod1"].defaultIntf().delete(), "Mininet cannot delete an interface"),
    ],
)
def test_what_only_the_engine_does_is_refused(net: LabNet, call: Any, what: str) -> None:
    before = len(net.links), len(net)
    with pytest.raises(BadInput) as caught:
        call(net)
    assert what in str(caught.value) and (len(net.links), len(net)) == before


def test_it_follows_the_lab(net: LabNet, owner: Owner) -> None:
    kept = net["pod1"]
    owner.state = merge((underlay(owner.spec), pods("node1", 1, 3)))
    net.refresh()
    assert names(net.pods) == ["pod1", "pod3"] and net["pod1"] is kept
    assert [str(link) for link in net.links if "pod" in str(link)] == [
        "node1:veth1<->pod1:eth0",
        "node1:veth3<->pod3:eth0",
    ]


# -- the prompt ------------------------------------------------------------------------------------------------


class Prompt:
    """One run of the prompt with its standard input piped; `out` and `err` are what it said."""

    def __init__(self, net: LabNet, capsys: pytest.CaptureFixture[str]) -> None:
        self.net, self.capsys, self.seen = net, capsys, list[str]()

    def __call__(self, *lines: str) -> LabCLI:
        read, write = os.pipe()
        os.write(write, "".join(f"{line}\n" for line in lines).encode())
        os.close(write)
        verbs = {"trace": Verb(self._trace, "trace: show a path", ("--json", "--probe"))}
        with open(read) as stdin:
            cli = LabCLI(self.net, stdin=stdin, verbs=verbs)
        said = self.capsys.readouterr()
        self.out, self.err = said.out, said.err
        return cli

    def _trace(self, line: str) -> int:
        self.seen.append(line)
        return int("nobody" in line)


@pytest.fixture
def prompt(net: LabNet, capsys: pytest.CaptureFixture[str]) -> Prompt:
    return Prompt(net, capsys)


def test_mininets_commands(prompt: Prompt) -> None:
    assert prompt("nodes", "net", "intfs", "ports", "dump", "py pod1.IP()", "px x = 2", "py x + 1").status == 0
    assert "client gw node1 node2 node3 pod1 pod2 s1 s2" in prompt.out
    assert "node1 eth0:s1:node1 veth1:pod1:eth0 veth2:pod2:eth0\n" in prompt.out
    assert "s2: s2,s1,node3\n" in prompt.out and "s2 s2:0 s1:1 node3:2 \n" in prompt.out
    assert "<Client client: eth0:203.0.113.10 pid=None>" in prompt.out
    assert prompt.out.endswith("10.244.0.1\n3\n") and prompt.err == ""


def test_our_verbs_get_their_line_and_their_status_counts(prompt: Prompt) -> None:
    assert prompt("trace pod1 pod2 --json").status == 0
    assert prompt("trace pod1 nobody", "nodes").status == 1
    assert prompt.seen == ["pod1 pod2 --json", "pod1 nobody"]


def test_a_link_from_the_prompt(prompt: Prompt, owner: Owner) -> None:
    assert prompt("shape node1 s1 delay=5ms loss=1%", "shape s1 node1", "link s1 s2 down").status == 0
    assert prompt.out == "bandwidth=none delay=5ms loss=1% mtu=1500\n" * 2
    assert owner.asked[-1] == ([("s1", "s2"), ("s2", "s1")], False)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("foo", "*** there is no command and no node 'foo'; `help` lists the commands, `nodes` the nodes"),
        ("pod", "*** there is no command and no node 'pod'; did you mean 'pod2'?"),
        ("pod1", "*** what is 'pod1' to do? Write a command behind it, such as: pod1 ip addr"),
        ("py 1 / 0", "*** ZeroDivisionError: division by zero"),
        ("py (", "*** SyntaxError: '(' was never closed (<string>, line 1)"),
        ("px raise SystemExit", "*** this would end the prompt; `exit` does that"),
        ("link s1", "*** a link has two ends and is up or down; such as: link s1 s2 down"),
        ("link s1 pod1 up", "*** there is no link between 's1' and 'pod1'; `links` shows them"),
        ("shape node1", "*** a link has two ends; such as: shape node1 s1 delay=5ms"),
        (
            "shape node1 s1 fast",
            "*** 'fast' is no value of a link; such as bandwidth=100Mbit delay=5ms loss=1% mtu=1400",
        ),
        (
            "shape node1 s1 delay=fast",
            "*** node1 - s1: delay: 'fast' is no delay; give a time up to 10 s, such as 5 ms",
        ),
        ("switch pod1 stop", "*** 'pod1' is no switch; one of: s1, s2"),
        ("pingall nobody", "*** there is no node 'nobody'; `nodes` lists them"),
        ("iperf pod1", "*** two nodes are needed; such as: iperf pod1 pod3"),
        ("xterm pod1", "*** there is no X11 in a lab; from another terminal: run_topology.py exec pod1 -- bash"),
        ("dpctl show", "*** the switches are Linux bridges and know no OpenFlow; try: s1 bridge vlan show"),
        ("source /nowhere", "*** '/nowhere' cannot be read: No such file or directory"),
    ],
)
def test_a_mistake_is_one_line_and_not_the_end(prompt: Prompt, line: str, said: str) -> None:
    assert prompt(line, "py 'still here'").status == 1
    assert (prompt.err, prompt.out) == (f"{said}\n", "still here\n")


def test_comments_empty_lines_exit_and_a_script(prompt: Prompt, tmp_path: Any) -> None:
    script = tmp_path / "script"
    script.write_text("# a comment\n\npy 'from the script'\nexit\npy 'not reached'\n")
    assert prompt(f"source {script}", "py 'after it'", "exit", "py 'not reached'").status == 0
    assert prompt.out == "from the script\nafter it\n"


def test_help_names_every_command_and_explains_each(prompt: Prompt) -> None:
    cli = prompt("help")
    listed = {
        line.split()[0] for line in prompt.out.splitlines() if line and not line.startswith((" ", "`", "A ", "after"))
    }
    assert {"pingall", "links", "shape", "trace", "py", "exit"} <= listed
    for name in listed:
        assert (getattr(cli, f"do_{name}").__doc__ or "").strip(), name
    prompt("help shape")
    assert prompt.out.startswith("shape NODE NODE")


@pytest.mark.parametrize(
    ("before", "text", "words"),
    [
        ("", "po", ["ports ", "pod1 ", "pod2 "]),
        ("link", "s", ["s1 ", "s2 "]),
        ("link s2", "", ["node3 ", "s1 "]),
        ("link s1 s2", "d", ["down "]),
        ("shape node1", "", ["s1 "]),
        ("shape node1 s1 delay=1ms", "", ["bandwidth=", "loss=", "mtu="]),
        ("switch s1", "st", ["start ", "stop "]),
        ("trace pod1", "--", ["--json ", "--probe "]),
        ("trace pod1", "pod", ["pod1 ", "pod2 "]),
        ("pod1 ping -c1", "pod", ["pod1 ", "pod2 "]),
        ("time link s1 s2", "u", ["up "]),
        ("py", "pod", ["pod1", "pod2"]),
    ],
)
def test_what_tab_offers(prompt: Prompt, before: str, text: str, words: list[str]) -> None:
    completer = Completer(prompt())
    assert (completer.further(text, before.split()) if before else completer.first(text)) == words
