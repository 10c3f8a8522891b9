"""What `inspect` prints on a terminal of 80 columns, exactly."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from console import facts, views
from kernel.state import Address, Bridge, Fdb, FilterRule, Link, Neighbour, Netns, Route, Rule, Sysctl, Veth, Vxlan

Golden = Callable[[str, str], None]
NODE = Netns(
    "node1",
    links=(
        Veth("eth0", mtu=1500, mac="02:47:94:83:42:5b", peer_netns="s1", peer=Link("node1")),
        Vxlan("eth0.vxlan4", mtu=1450, mac="02:47:94:83:42:5b", vni=4, dev="eth0", local="192.168.1.1"),
    ),
    addresses=(Address("eth0", "192.168.1.1/24"), Address("eth0.vxlan4", "192.168.1.1/24", noprefixroute=True)),
    routes=(
        Route("10.244.0.1/32", dev="hybrce0906292e2", table=39999),
        Route("10.244.0.0/26", kind="blackhole", proto=80),
        Route("fd00:10:244:1111:2222:3333:4444:40/122", dev="eth0", via="fe80::bb:70ff:fee9:4916", proto=186),
    ),
    rules=(Rule(3, 40001, fwmark=0x20, fwmask=0x20), Rule(4, 10000, family=6, src="fd00:10:244::/64")),
    neighbours=(Neighbour("eth0.vxlan4", "10.244.0.1", proxy=True),),
    fdb=(Fdb("eth0.vxlan4", "02:a8:49:b2:bc:6c", "192.168.1.3"),),
    sysctls=(Sysctl("net.ipv4.ip_forward", "1"),),
    filters=(FilterRule(4, "nat", "POSTROUTING", ("-m", "set", "!", "--match-set", "A", "dst", "-j", "ACCEPT")),),
)
LAB: dict[str, Any] = {
    "lab": "default",
    "kernel": "host",
    "plugin": "calico",
    "mode": "bgp",
    "pod_mtu": 1500,
    "pools": [{"cidr": "10.244.0.0/16", "block": 26}, {"cidr": "10.14.0.0/16", "block": 26, "vlan": 20}],
    "nodes": [
        {
            "name": "node1",
            "nic": "eth0",
            "mac": "02:47:94:83:42:5b",
            "addresses": ["192.168.1.1/24", "fd00:192:168:1::1/64"],
            "gateways": ["192.168.1.254", "fd00:192:168:1::fe"],
            "mtu": 1500,
            "blocks": ["10.244.0.0/26", "fd00:10:244::/122"],
        }
    ],
    "pods": [
        {
            "name": "pod1",
            "node": "node1",
            "mac": "02:ac:c6:4e:84:7a",
            "addresses": ["10.244.0.1", "fd00:10:244:1111:2222:3333:4444:1"],
        }
    ],
    "links": [{"from": "node1", "dev": "calice0906292e2", "to": "pod1", "peer": "eth0", "mtu": 1500}],
    "bgp": [
        {"router": "node1", "peer": "192.168.1.2", "as": 64512, "state": "Established", "received": {"ipv4Unicast": 1}}
    ],
    "notes": ["FRR is in BIRD's place: learned routes carry `proto bgp` and metric 20 where BIRD's carry `proto bird`"],
}


@pytest.fixture
def narrow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "dumb")


def lines_fit(text: str, columns: int) -> bool:
    return all(len(line) <= columns and line == line.rstrip() for line in text.splitlines())


@pytest.mark.usefixtures("narrow")
def test_lab(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    views.lab(LAB)
    text = capsys.readouterr().out
    golden("console/inspect-lab.txt", text)
    assert lines_fit(text, 80)


@pytest.mark.usefixtures("narrow")
def test_namespace(golden: Golden, capsys: pytest.CaptureFixture[str]) -> None:
    views.namespace(facts.plain(NODE))
    text = capsys.readouterr().out
    golden("console/inspect-node.txt", text)
    assert lines_fit(text, 80)


@pytest.mark.parametrize("columns", [20, 40])
def test_an_address_is_never_broken(
    columns: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    views.lab(LAB)
    views.namespace(facts.plain(NODE))
    words = capsys.readouterr().out.replace(",", " ").split()
    for address in ("fd00:192:168:1::1/64", "02:47:94:83:42:5b", "fd00:10:244:1111:2222:3333:4444:40/122"):
        assert address in words


def test_a_mac_address_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """To Rich ":cd:" is a compact disc."""
    views.lab(LAB | {"nodes": [LAB["nodes"][0] | {"mac": "02:4a:7a:cd:e1:a2"}]})
    assert "02:4a:7a:cd:e1:a2" in capsys.readouterr().out


def test_plain_names_a_links_kind_and_leaves_out_what_is_unset() -> None:
    assert facts.plain(Bridge("s1", vlan_filtering=True)) == {
        "kind": "bridge",
        "name": "s1",
        "up": True,
        "vlan_filtering": True,
    }
    assert facts.plain(Netns("a")) == {"name": "a"}


def test_filter_rules_and_sets_are_read_as_the_tools_print_them() -> None:
    text = "*nat\n:PREROUTING ACCEPT [0:0]\n-A POSTROUTING -s 10.0.0.0/8 -j MASQUERADE\n*filter\n-A FORWARD -j X\n"
    first, second = facts.filter_rules(4, text)
    assert first == {
        "family": 4,
        "table": "nat",
        "chain": "POSTROUTING",
        "args": ["-s", "10.0.0.0/8", "-j", "MASQUERADE"],
    }
    assert (second["table"], second["chain"]) == ("filter", "FORWARD")
    saved = "create A hash:net family inet\nadd A 10.0.0.0/8\nadd A 10.1.0.0/16\ncreate B hash:ip family inet\n"
    one, other = facts.sets(saved)
    assert one == {"name": "A", "kind": "hash:net", "members": ["10.0.0.0/8", "10.1.0.0/16"]}
    assert other["members"] == []


def test_bgp_sessions_join_the_families_of_a_peer() -> None:
    peer = {"remoteAs": 64512, "state": "Established", "pfxRcd": 2}
    summary = {"ipv4Unicast": {"peers": {"10.0.0.2": peer}}, "ipv6Unicast": {"peers": {"10.0.0.2": peer}}}
    lab: Any = SimpleNamespace(routers=SimpleNamespace(show=lambda _netns, _command: summary))
    (session,) = facts.sessions(lab, "node1")
    assert session["received"] == {"ipv4Unicast": 2, "ipv6Unicast": 2}
    assert (session["router"], session["peer"], session["state"]) == ("node1", "10.0.0.2", "Established")
