"""Mininet's Topo to a lab and back; topologies in Python files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mininet.topo import LinearTopo, SingleSwitchTopo, Topo
from mininet.topolib import TorusTopo, TreeTopo

from kernel.errors import BadInput
from topologies.python_file import is_python
from topologies.spec import PRESETS, LabSpec, load, preset
from topologies.topo import LabTopo, of, spec_of, topos

HOME = Path(__file__).resolve().parents[3]


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_as_a_topo_is_the_same_lab(name: str) -> None:
    assert spec_of(topos[name]()) == preset(name)


SHAPES = st.fixed_dictionaries(
    {},
    optional={
        "bandwidth": st.integers(1, 10**11),
        "delay": st.integers(0, 10**7),
        "loss": st.floats(0, 100, allow_nan=False).map(lambda value: round(value, 3)),
        "mtu": st.integers(1280, 9000),
    },
)


@given(st.sampled_from(PRESETS), st.lists(SHAPES, min_size=3, max_size=3))
@settings(max_examples=40, deadline=None)
def test_shaped_links_survive_the_way_through_a_topo(name: str, shapes: list[dict[str, Any]]) -> None:
    spec = preset(name)
    links = [(spec.nodes[0].name, spec.nodes[0].switch), (spec.nodes[-1].name, spec.nodes[-1].switch)]
    assert spec.router
    for ends, shape in zip([*links, (spec.router.name, spec.router.ports[0].switch)], shapes, strict=True):
        spec = spec.with_link(*ends, **shape)
    assert spec_of(of(spec)) == spec


def test_a_topo_says_what_stock_mininet_understands() -> None:
    topo = of(preset("default").with_link("node1", "s1", bandwidth="10Mbit", delay="5ms", loss="1%"))
    assert topo.hosts() == ["client", "gw", "node1", "node2", "node3"] and topo.switches() == ["s1", "s2"]
    assert topo.nodeInfo("node1")["ip"] == "192.168.1.1/24"
    assert topo.nodeInfo("node1")["defaultRoute"] == "via 192.168.1.254"
    link = topo.linkInfo("node1", "s1")
    assert (link["bw"], link["delay"], link["loss"]) == (10.0, "5000us", 1.0)
    assert topo.linkInfo("gw", "s1")["params1"]["ip"] == "192.168.1.254/24"


@pytest.mark.parametrize(
    ("topo", "nodes", "links"),
    [
        (SingleSwitchTopo(3), ["h1 s1", "h2 s1", "h3 s1"], []),
        (LinearTopo(3, 1), ["h1 s1", "h2 s2", "h3 s3"], ["s2 s1", "s3 s2"]),
        (TreeTopo(2, 2), ["h1 s2", "h2 s2", "h3 s3", "h4 s3"], ["s1 s2", "s1 s3"]),
    ],
    ids=["single", "linear", "tree"],
)
def test_mininets_own_topos_are_labs(topo: Any, nodes: list[str], links: list[str]) -> None:
    spec = spec_of(topo)
    assert [f"{node.name} {node.switch}" for node in spec.nodes] == nodes
    assert [" ".join(link.ends) for link in spec.links] == links
    assert [node.addresses[0] for node in spec.nodes[:2]] == ["192.168.0.1/16", "192.168.0.2/16"]
    assert [pool.cidr for pool in spec.pools] == ["10.244.0.0/16", "fd00:10:244::/64"]


class Everything(LabTopo):
    """All that a Topo may state."""

    def build(self, nodes: int = 2) -> None:
        self.lab(name="everything", plugin="calico", mode="bgp", pods_per_node=1, pools=[{"cidr": "10.9.0.0/16"}])
        s1, s2 = self.addSwitch("s1"), self.addSwitch("s2")
        self.addLink(s1, s2, bw=1000, mtu=9000)
        for number in range(1, nodes + 1):
            node = self.addHost(f"n{number}", ip=f"172.16.0.{number}/24", mac=f"02:00:00:00:00:0{number}", pods=number)
            self.addLink(node, s1, bw=1.5, delay="2ms", loss=3, mtu=1400, vlan=10, trunk=[20, 30])
        gw = self.addRouter("gw", asn=65000)
        self.addLink(gw, s2, ip="172.16.0.254/24", vlan=10)
        self.addLink(gw, s2, ip="172.16.1.254/24", vlan=20, params1={"mac": "02:00:00:00:00:fe"})
        rr = self.addReflector("rr1", "1.0.0.1", ip="172.16.0.101/24")
        self.addLink(s2, rr, vlan=10)
        tor = self.addTor("tor", asn=65001)
        self.addLink(tor, s1, ip="172.16.1.1/24", vlan=20)
        client = self.addClient("out", ip="203.0.113.10/24")
        self.addLink(gw, client, ip="203.0.113.1/24")


def test_all_that_a_topo_may_state() -> None:
    spec = spec_of(Everything(nodes=3))
    assert (spec.name, spec.plugin, spec.mode, spec.pods_per_node) == ("everything", "calico", "bgp", 1)
    node = spec.nodes[2]
    assert (node.mac, node.pods, node.mtu, node.vlan, node.trunk) == ("02:00:00:00:00:03", 3, 1400, 10, (20, 30))
    assert (node.link.bandwidth, node.link.delay, node.link.loss) == (1_500_000, 2000, 3.0)
    assert (spec.links[0].mtu, spec.links[0].link.bandwidth) == (9000, 10**9)
    assert spec.router and [(p.vlan, p.addresses, p.mac) for p in spec.router.ports] == [
        (10, ("172.16.0.254/24",), None),
        (20, ("172.16.1.254/24",), "02:00:00:00:00:fe"),
    ]
    assert [(t.name, t.asn, t.ports[0].switch, t.ports[0].vlan) for t in spec.tors] == [("tor", 65001, "s1", 20)]
    assert spec.reflectors[0].cluster_id == "1.0.0.1" and spec.reflectors[0].vlan == 10
    assert spec.client and (spec.client.addresses, spec.client.router) == (("203.0.113.10/24",), ("203.0.113.1/24",))
    assert spec_of(of(spec)) == spec


def one_host(**link: Any) -> Any:
    class One(Topo):
        def build(self) -> None:
            self.addLink(self.addHost("h1"), self.addSwitch("s1"), **link)

    return One()


def hosts(**params: Any) -> Any:
    class Hosts(LabTopo):
        def build(self) -> None:
            self.addLink(self.addHost("h1", **params), self.addSwitch("s1"))

    return Hosts()


class Alone(Topo):
    def build(self) -> None:
        self.addHost("h1"), self.addSwitch("s1")


class TwoRouters(LabTopo):
    def build(self) -> None:
        s1 = self.addSwitch("s1")
        for name in ("gw1", "gw2"):
            self.addLink(self.addRouter(name), s1)


class ClientInside(LabTopo):
    def build(self) -> None:
        self.addLink(self.addClient(ip="203.0.113.1/24"), self.addSwitch("s1"))


@pytest.mark.parametrize(
    ("topo", "what"),
    [
        (one_host(jitter="1ms"), "topo t: link h1 - s1: a lab has no 'jitter'"),
        (one_host(bw="fast"), "topo t: nodes[h1].link.bandwidth: 'fast' is no bandwidth"),
        (one_host(vlan=4095), "topo t: nodes[h1].vlan: 4095 is too large"),
        (hosts(cpu=0.5), "topo t: h1: a lab has no 'cpu'"),
        (hosts(ip="192.168.1.1"), "topo t: nodes[h1].addresses[0]: '192.168.1.1' has no prefix length"),
        (hosts(role="firewall"), "topo t: h1: there is no role 'firewall'"),
        (Alone(), "topo t: h1: 'h1' has 0 links"),
        (TwoRouters(), "topo t: gw2: a lab has one router"),
        (ClientInside(), "topo t: client: 'client' is not behind the router"),
        (TorusTopo(3, 3), "closes a loop of switches"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_a_lab_cannot_be_made_of_is_said_at_its_place(topo: Any, what: str) -> None:
    with pytest.raises(BadInput) as caught:
        spec_of(topo, "t")
    assert what in str(caught.value)


# -- Python files ----------------------------------------------------------------------------------------------

TWO = """
from mininet.topo import Topo
class Small(Topo):
    def build(self, n=1):
        s1 = self.addSwitch("s1")
        for i in range(n):
            self.addLink(self.addHost("h%d" % i), s1)
topos = {"small": Small, "large": lambda n=5: Small(n=n)}
"""


@pytest.fixture
def written(tmp_path: Path) -> Callable[[str], Path]:
    def write(text: str) -> Path:
        path = tmp_path / "lab.py"
        path.write_text(text)
        return path

    return write


def test_the_example_is_a_lab() -> None:
    spec = load(HOME / "examples/two_leaves.py:two-leaves,3,delay=5ms")
    assert (len(spec.nodes), spec.name, spec.links[0].link.delay) == (6, "two-leaves", 5000)
    assert isinstance(load(HOME / "examples/two_leaves.py"), LabSpec)


def test_a_file_for_mn_custom(written: Callable[[str], Path]) -> None:
    path = written(TWO)
    assert len(load(Path(f"{path}:large")).nodes) == 5
    assert len(load(Path(f"{path}:small,n=2")).nodes) == 2


def test_a_file_with_one_class_needs_no_name(written: Callable[[str], Path]) -> None:
    spec = load(written(TWO.partition("topos =")[0]))
    assert (spec.name, len(spec.nodes)) == ("small", 1)


@pytest.mark.parametrize(
    ("text", "wish", "what"),
    [
        (TWO, "", "the file has 2 topologies"),
        (TWO, ":middle", "there is no topology 'middle'"),
        (TWO, ":small,1,2", "TypeError"),
        ("x = 1\n", "", "the file has no topology"),
        ("def f(:\n", "", "lab.py:1: this is no Python: invalid syntax\n  -> mend the line"),
        ("import nosuchmodule\n", "", "lab.py:1: ModuleNotFoundError"),
        ("\n\n1 / 0\n", "", "lab.py:3: ZeroDivisionError"),
        ("import sys\nsys.exit(3)\n", "", "lab.py:2: SystemExit"),
        (TWO.replace('"s1"', '"S1"', 1), ":small", "topo small: switches[S1].name: 'S1' is not allowed"),
    ],
)
def test_a_mistake_in_a_file_is_told_with_its_line(
    written: Callable[[str], Path], text: str, wish: str, what: str
) -> None:
    with pytest.raises(BadInput) as caught:
        load(Path(f"{written(text)}{wish}"))
    assert what in str(caught.value)


def test_what_is_a_python_file() -> None:
    assert is_python(Path("a/lab.py")) and is_python(Path("lab.py:one,2"))
    assert not is_python(Path("lab.yaml")) and not is_python(Path("lab.pyx"))
