"""Mininet's API and prompt over a real lab: commands in namespaces, pings, rates, links that change while it runs."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel import places
from kernel.errors import BadInput, MissingFeature, MissingTool
from tests.lab.terminal import Terminal
from topologies.source import as_text
from topologies.spec import LabSpec, preset

EMBEDDED = pytest.mark.only("embedded")
"""The machine's kernel may have no netem."""


def made(tmp: Path, spec: LabSpec, plugin: str = "hybridnet", mode: str = "vxlan") -> Any:
    from cluster.lab import Lab, features, plan

    lab = Lab(plan(spec, plugin, mode, features()), tmp)
    lab.up()
    return lab


def netted(lab: Any) -> Any:
    from topologies.mininet_net import LabNet

    return LabNet(lab.spec, lab.namespaces, lab.state, lab)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    """The default lab: pod1 and pod2 on node1, pod5 and pod6 on node3 behind the other switch."""
    with made(tmp_path_factory.mktemp("lab"), preset("default")) as lab:
        yield lab


@pytest.fixture
def net(lab: Any) -> Iterator[Any]:
    net = netted(lab)
    yield net
    net.stop()


# -- nodes -----------------------------------------------------------------------------------------------------


def test_a_shell_starts_when_it_is_first_used_and_keeps_its_state(net: Any) -> None:
    pod = net["pod1"]
    assert not pod.started
    assert "10.244.0.1/" in pod.cmd("ip -4 -o addr show dev eth0")
    assert pod.started and not net["pod2"].started
    pod.cmd("cd /usr; A=kept")
    assert pod.cmd("echo $A in $PWD").strip() == "kept in /usr"
    assert pod.cmd("readlink /proc/self/ns/net") == pod.cmd(f"readlink /proc/{pod.pid}/ns/net")
    pod.terminate()
    assert not pod.started


def test_commands_beside_the_shell(net: Any) -> None:
    pod = net["pod1"]
    out, err, status = pod.pexec("ip -o link show dev eth0")
    assert "eth0" in out and (err, status) == ("", 0)
    assert pod.pexec(["sh", "-c", "echo oh >&2; exit 3"]) == ("", "oh\n", 3)
    with pod.popen("cat /proc/net/dev | grep -c eth0", shell=True) as child:
        assert child.stdout.read() == b"1\n"
    with pytest.raises(MissingTool):
        pod.popen("nosuchprogram")
    assert not pod.started


def test_addresses_and_devices_are_the_kernels(lab: Any, net: Any) -> None:
    intf = net["node1"].defaultIntf()
    assert (intf.updateIP(), intf.updateMAC(), intf.isUp(), intf.status()) == ("192.168.1.1", intf.mac, True, "OK")
    assert net["pod1"].defaultIntf().updateAddr() == (net["pod1"].IP(), net["pod1"].MAC())
    assert net["s1"].defaultIntf().updateIP() is None
    assert all(link.status() == "(OK OK)" for link in net.links)
    net["client"].setIP("203.0.113.77", 24)
    assert "203.0.113.77/24" in net["client"].cmd("ip -4 -o addr show dev eth0")
    lab.change(lab.spec.model_dump_json(), lab.plugin, lab.mode)
    assert "203.0.113.10/24" in net["client"].cmd("ip -4 -o addr show dev eth0")
    assert "default via 203.0.113.1" in net["client"].cmd("ip route"), "what an ifconfig took away is there again"


# -- measuring -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("family", [4, 6])
def test_all_pods_ping_each_other_within_a_second(net: Any, family: int) -> None:
    began = time.monotonic()
    assert net.ping(family=family) == 0
    assert time.monotonic() - began < 1
    assert not any(node.started for node in net.values()), "it forks nothing"
    assert net.pingPair() == 0 and net.pingAll("1") == 0


def test_ping_says_what_mininets_does(net: Any, capsys: pytest.CaptureFixture[str]) -> None:
    from topologies.cli import _streams

    with _streams(lambda: None):
        net.ping([net["pod1"], net["pod2"], net["client"]])
    assert capsys.readouterr().out.splitlines() == [
        "pod1 -> pod2 client ",
        "pod2 -> pod1 client ",
        "client -> X X ",  # the overlay is not to be reached from outside
        "*** Results: 33% dropped (4/6 received)",
    ]


def test_round_trips_are_measured(net: Any) -> None:
    found = net.pingFull()
    assert len(found) == 30
    for _, _, (sent, received, least, mean, greatest, deviation) in found:
        assert (sent, received, deviation) == (1, 1, 0.0) and 0 < least == mean == greatest < 100


def test_iperf_gives_both_rates(net: Any) -> None:
    server, client = net.iperf((net["pod1"], net["pod5"]), seconds=1)
    assert server.endswith("bits/sec") and client.endswith("bits/sec")
    asked, server, _ = net.iperf((net["pod1"], net["pod5"]), l4Type="UDP", udpBw="2M", seconds=1, fmt="m")
    assert asked == "2M" and 1.5 < float(server.split()[0]) < 2.5 and server.endswith(" Mbits/sec")


# -- links -----------------------------------------------------------------------------------------------------


def loss(net: Any, *names: str) -> float:
    return float(net.ping([net[name] for name in names], timeout=0.5))


def test_a_link_set_down_stays_down_and_comes_back_whole(lab: Any, net: Any) -> None:
    net.configLinkStatus("node1", "s1", "down")
    try:
        assert net.linksBetween(net["node1"], net["s1"])[0].status() == "(DOWN DOWN)"
        assert loss(net, "pod1", "pod2") == 0 and loss(net, "pod1", "pod5") == 100
        summary = lab.change(lab.spec.model_dump_json(), lab.plugin, lab.mode)
        assert "node1:eth0" in summary["notes"][-1], "the summary says that it was left down"
        lab.shape("node2", "s1", {"mtu": 1450})
        assert loss(net, "pod1", "pod5") == 100, "a later change must not mend what a user broke"
    finally:
        net.configLinkStatus("node1", "s1", "up")
    net.shape("node2", "s1", mtu=1500)
    assert net.ping() == 0 and net.ping(family=6) == 0, "routes and IPv6 addresses are there again"
    assert lab.plan(lab.spec.model_dump_json(), lab.plugin, lab.mode) == []


def test_a_switch_forwards_when_it_is_started(net: Any) -> None:
    net["s2"].stop()
    assert loss(net, "pod1", "pod5") == 100
    net["s2"].start()
    assert loss(net, "pod1", "pod5") == 0


def test_bandwidth_changes_while_the_lab_runs(net: Any) -> None:
    net.shape("node1", "s1", bandwidth="20Mbit")
    rate, _ = net.iperf((net["pod1"], net["pod5"]), seconds=1.5, fmt="m")
    back, _ = net.iperf((net["pod5"], net["pod1"]), seconds=1.5, fmt="m")
    net["node1"].defaultIntf().config(bw=40)
    faster, _ = net.iperf((net["pod1"], net["pod5"]), seconds=1.5, fmt="m")
    net.shape("node1", "s1", bandwidth=None)
    assert net.spec == preset("default") and "tbf" not in net["node1"].cmd("tc qdisc show dev eth0")
    assert 12 < float(rate.split()[0]) < 22, rate
    assert 12 < float(back.split()[0]) < 22, back
    assert 24 < float(faster.split()[0]) < 44, faster


def test_the_mtu_changes_while_the_lab_runs(lab: Any, net: Any) -> None:
    for node in ("node1", "node2", "node3"):
        net.shape(node, "s2" if node == "node3" else "s1", mtu=1400)
    assert lab.wanted.pod_mtu == 1350
    whole = "ping -M do -c1 -W1 -s {} " + net["pod5"].IP()
    assert net["pod1"].pexec(whole.format(1350 - 28))[2] == 0
    assert "too long" in net["pod1"].pexec(whole.format(1350 - 27))[1]
    with pytest.raises(BadInput) as caught:
        net.shape("node1", "s1", mtu=1300)
    assert "leaves pods an MTU of 1250" in str(caught.value) and lab.wanted.pod_mtu == 1350
    for node in ("node1", "node2", "node3"):
        net.shape(node, "s2" if node == "node3" else "s1", mtu=1500)
    assert net.ping(family=6) == 0


@EMBEDDED
def test_delay_and_loss_change_while_the_lab_runs(net: Any) -> None:
    net.shape("node1", "s1", delay="10ms")
    (there, _), (near, _) = net.pingFull([net["pod1"], net["pod5"]]), net.pingFull([net["pod5"], net["pod6"]])
    assert 20 < there[2][2] < 40, "10 ms in each direction"
    assert near[2][2] < 10
    net.shape("node1", "s1", delay=0, loss=100)
    assert loss(net, "pod1", "pod5") == 100 and loss(net, "pod1", "pod2") == 0
    net.shape("node1", "s1", loss=0)
    assert net.ping() == 0 and "netem" not in net["node1"].cmd("tc qdisc show dev eth0")


def test_what_the_kernel_cannot_is_one_sentence(lab: Any, net: Any) -> None:
    if "netem" in lab.features:
        return
    with pytest.raises(MissingFeature) as caught:
        net.shape("node1", "s1", delay="10ms")
    assert str(caught.value) == (
        "the topology 'default' needs netem, which this kernel lacks\n"
        "  -> use --kernel embedded, which has every feature"
    )
    assert lab.spec == preset("default") and net.ping() == 0


# -- a changed topology ------------------------------------------------------------------------------------------


def test_the_difference_to_a_changed_topology_is_applied(tmp_path: Path) -> None:
    """A pod goes and the others' names move up, a node comes, another one moves to a new switch."""
    before = preset("one-switch")
    with made(tmp_path, before) as lab:
        net = netted(lab)
        assert net["pod4"].cmd("echo $$") and net.ping() == 0
        data = before.model_dump(mode="json")
        data["switches"].append({"name": "s2"})
        data["links"].append({"ends": ["s1", "s2"]})
        data["nodes"].append({"name": "node3", "switch": "s2", "addresses": ["192.168.1.3/24", "fd00:192:168:1::3/64"]})
        data["nodes"][0]["pods"], data["nodes"][1]["switch"] = 1, "s2"
        changed = LabSpec.model_validate(data).model_dump_json()
        assert lab.plan(changed, lab.plugin, lab.mode)
        lab.change(changed, lab.plugin, lab.mode)
        assert lab.plan(changed, lab.plugin, lab.mode) == []
        net.refresh()
        assert [node.name for node in net.pods] == ["pod1", "pod2", "pod3", "pod4", "pod5"] and "node3" in net
        assert str(net.linksBetween(net["node2"], net["s2"])[0]) == "node2:eth0<->s2:node2"
        assert net.ping() == 0 and net.ping(family=6) == 0
        net["node3"].cmd("true")
        lab.change(before.model_dump_json(), lab.plugin, lab.mode)
        net.refresh()
        assert "node3" not in net and "node3" not in lab.namespaces.names, "its shell must not keep it"
        assert net.ping() == 0 and net.ping(family=6) == 0
        net.stop()


# -- the prompt ------------------------------------------------------------------------------------------------


@pytest.fixture
def prompt(net: Any, capsys: pytest.CaptureFixture[str]) -> Callable[..., tuple[int, str, str]]:
    from topologies.cli import LabCLI

    def run(*lines: str) -> tuple[int, str, str]:
        read, write = os.pipe()
        os.write(write, "".join(f"{line}\n" for line in lines).encode())
        os.close(write)
        with open(read) as stdin:
            status = int(LabCLI(net, stdin=stdin).status)
        said = capsys.readouterr()
        return status, said.out, said.err

    return run


def test_commands_of_nodes_at_the_prompt(prompt: Callable[..., tuple[int, str, str]]) -> None:
    status, out, err = prompt("pod1 ping -c1 -W2 pod5", "pod1 ping -6 -c1 -W2 pod5", "s1 bridge link show dev node1")
    assert (status, err) == (0, "")
    assert "1 packets transmitted, 1 received" in out and "PING 10.244.0.129 (10.244.0.129)" in out
    assert "fd00:10:244::81 ping statistics" in out
    assert ": node1" in out, "a switch's ports keep their names"


@pytest.mark.parametrize(
    ("line", "status"),
    [("pod1 true", 0), ("pod1 false", 1), ("pingall 1", 0), ("pingall 0.2 pod1 client", 1), ("sh false", 1)],
)
def test_a_command_that_fails_is_the_prompts_status(
    prompt: Callable[..., tuple[int, str, str]], line: str, status: int
) -> None:
    assert prompt(line, "nodes")[0] == status


def prompt_of(net: Any) -> Callable[[], int]:
    """The prompt on the standard streams of a child."""

    def child() -> int:
        from topologies.cli import LabCLI

        sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w"), open(2, "w")  # noqa: SIM115
        return int(LabCLI(net).status)

    return child


def test_at_a_terminal_keys_go_where_they_belong(net: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TERM", "dumb")
    terminal = Terminal(prompt_of(net))
    terminal.until("mininet> ")
    terminal.type("link s1 nod\t\t\t")
    terminal.until("node1")
    terminal.type("1 \t\x15")  # Ctrl-U: away with the line
    terminal.type("pod1 ping pod2\n")
    terminal.until("icmp_seq=2")
    terminal.type("\x03")
    assert " 0% packet loss" in terminal.until("mininet> ")
    terminal.type("pod1 read X; echo got $X\n")
    terminal.type("what was typed\n")
    terminal.until("got what was typed")
    terminal.until("mininet> ")
    terminal.type("py [one for one in iter(int, 1)]\n")
    terminal.until("iter(int, 1)]\n")
    time.sleep(0.2)
    terminal.type("\x03")
    terminal.until("mininet> ")
    terminal.type("nosuchthing\n")
    terminal.until("*** there is no command and no node 'nosuchthing'")
    terminal.until("mininet> ")
    terminal.type("\x04")
    assert terminal.end() == 0
    assert "pod1 ping pod2" in (tmp_path / ".podpath_history").read_text()


@pytest.mark.only("machine")
def test_the_prompt_follows_what_another_terminal_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path / "run"))
    environment = {name: value for name, value in os.environ.items() if not name.startswith("PODPATH_")}
    environment |= {"PODPATH_RUN_ROOT": str(tmp_path / "run"), "HOME": str(tmp_path), "TERM": "dumb"}
    program = [sys.executable, str(places.HOME / "run_topology.py")]

    def other(*words: str) -> str:
        argv = [*program, words[0], "--name", "followed", *words[1:]]
        done = subprocess.run(argv, env=environment, capture_output=True, text=True, timeout=60)
        assert done.returncode == 0, done.stderr
        return done.stdout

    up = [*program, "up", "--kernel", "host", "--preset", "one-switch", "--name", "followed"]
    terminal = Terminal(lambda: os.execve(up[0], up, environment))
    terminal.until("mininet> ", 60)
    data = preset("one-switch").model_dump(mode="json")
    data["nodes"].append({"name": "node3", "switch": "s1", "addresses": ["192.168.1.3/24", "fd00:192:168:1::3/64"]})
    (tmp_path / "more.yaml").write_text(as_text(LabSpec.model_validate(data)))
    other("up", "-f", str(tmp_path / "more.yaml"), "--detach")
    other("shape", "node3", "s1", "bandwidth=10Mbit")

    def shows(line: str, text: str) -> None:
        terminal.type(f"{line}\n")
        terminal.until(text)
        terminal.until("mininet> ")

    shows("pingall", "(30/30 received)")
    shows("pod6 cat /proc/net/dev", "eth0")
    shows("shape node3 s1", "bandwidth=10Mbit delay=0ms loss=0% mtu=1500")
    shows("link node3 s1 down", "\n")
    shows("links", "node3:eth0<->s1:node3 (DOWN DOWN)")
    assert "DOWN" in other("exec", "node3", "--", "ip", "-br", "link", "show", "eth0")
    shows("trace pod1 pod3", "answered in")
    shows("trace --help", "usage:")
    shows("trace pod1 nobody", "error: ")
    terminal.type("exit\n")
    assert terminal.end() == 0
    assert places.running() == [], "the lab ends with the prompt that brought it up"


# -- stock Mininet -----------------------------------------------------------------------------------------------


@pytest.mark.only("machine")
def test_stock_mininet_runs_our_topos() -> None:
    """As `mn --custom topologies/topo.py --topo one-switch` does it, with a bridge as the switch."""
    from mininet.net import Mininet
    from mininet.node import Switch

    class IpBridge(Switch):  # type: ignore[misc]
        """mininet.nodelib.LinuxBridge wants brctl."""

        def start(self, _controllers: Any) -> None:
            self.cmd(f"ip link add {self} type bridge; ip link set {self} up")
            for intf in self.intfList():
                self.cmd(f"ip link set {intf} master {self}")

    customs: dict[str, Any] = {}
    home = Path(__file__).resolve().parents[2]
    exec(compile((home / "topologies/topo.py").read_text(), "topo.py", "exec"), customs, customs)
    net = Mininet(topo=customs["topos"]["one-switch"](), switch=IpBridge, controller=None)
    net.start()
    try:
        assert net.ping([net["node1"], net["node2"], net["gw"]]) == 0
    finally:
        net.stop()
