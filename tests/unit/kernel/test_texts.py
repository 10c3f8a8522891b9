"""States as text: the exported script, iptables' and ipset's own words, tc's."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel import diff, export, firewall, tc
from kernel.export import as_ip
from kernel.state import (
    Address,
    Bridge,
    BroadcastRewrite,
    Dummy,
    Fdb,
    FilterRule,
    Gre,
    Ipip,
    IpSet,
    Ipvlan,
    Link,
    Macvlan,
    Neighbour,
    Netns,
    NextHop,
    PortVlan,
    Route,
    Rule,
    Shaping,
    Sit,
    State,
    Sysctl,
    Veth,
    Vlan,
    Vti,
    Vxlan,
)

NODE = Netns(
    "node",
    links=(
        Vxlan("vx", mac="02:00:00:00:00:01", mtu=1450, vni=4, dev="eth0", local="192.0.2.1", port=8472),
        Veth("eth0", mtu=1500, peer_netns="s", peer=Link("node", master="s")),
        Vlan("eth0.20", dev="eth0", vid=20),
        Ipip("tunl0", mtu=1480),
        Gre("gre1", local="192.0.2.1", remote="192.0.2.2", key=7, ttl=64),
        Sit("isatap1", local="192.0.2.1", isatap=True),
        Vti("vti1", local="192.0.2.1", remote="192.0.2.2", dev="eth0", key=9),
        Dummy("d0", up=False),
    ),
    addresses=(Address("eth0", "192.0.2.1/24"), Address("vx", "2001:db8::1/64", noprefixroute=True)),
    routes=(
        Route("0.0.0.0/0", dev="eth0", via="192.0.2.254"),
        Route("10.1.0.0/26", dev="tunl0", via="192.0.2.2", onlink=True, proto=80, mtu=1480),
        Route("10.0.0.0/26", kind="blackhole", proto=80),
        Route("2001:db8:1::/64", dev="vx", table=40000),
        Route("10.2.0.0/16", hops=(NextHop("eth0", "192.0.2.2"), NextHop("eth0", "192.0.2.3", weight=2))),
        Route("10.3.0.0/16", dev="eth0", via="fe80::1"),
    ),
    rules=(
        Rule(4, 10000, src="10.0.0.0/16", fwmark=0, fwmask=0x4040),
        Rule(5, 254, 6, dst="2001:db8::9/128", iif="vx"),
    ),
    neighbours=(Neighbour("vx", "10.0.0.9", proxy=True), Neighbour("vx", "10.1.0.0", "02:00:00:00:00:02")),
    fdb=(Fdb("vx", "ff:ff:ff:ff:ff:f1", "192.0.2.2"), Fdb("vx", "02:00:00:00:00:02", "192.0.2.2")),
    sysctls=(Sysctl("net.ipv4.ip_forward", "1"), Sysctl("net.ipv4.neigh.eth0/20.app_solicit", "1")),
    ipsets=(IpSet("ALL", "hash:net", ("10.0.0.0/16",)),),
    filters=(
        FilterRule(4, "nat", "POSTROUTING", ("-j", "own")),
        FilterRule(4, "nat", "own", ("-m", "comment", "--comment", "of ours", "-j", "MASQUERADE")),
    ),
    rewrites=(BroadcastRewrite("vx", "ff:ff:ff:ff:ff:f1"),),
    shaping=(Shaping("eth0", rate_bps=10_000_000, delay_us=5000),),
)
LAB = State(
    (
        Netns("s", links=(Bridge("s", vlan_filtering=True),), port_vlans=(PortVlan("node", 10, True, True),)),
        NODE,
        Netns("pod1", links=(Macvlan("eth0", dev="eth0.20", dev_netns="node"),)),
        Netns("pod2", links=(Ipvlan("eth0", dev="eth0", dev_netns="node", mode="l3", arp=False),)),
    )
)


def test_the_script(golden: Callable[[str, str], None]) -> None:
    golden("kernel/export.sh", as_ip(LAB))


def test_every_object_of_a_namespace_is_in_its_script() -> None:
    """A part that is added to the state and forgotten in export would show here."""
    text = as_ip(LAB)
    for item in (*NODE.addresses, *NODE.routes, *NODE.neighbours, *NODE.fdb):
        assert getattr(item, "address", None) or getattr(item, "dst", "")
        assert str(getattr(item, "address", None) or item.dst) in text  # type: ignore[union-attr]
    assert all(f" {link.name} " in text for ns in LAB.namespaces for link in ns.links)


# -- firewall --------------------------------------------------------------------------------------------


def test_rules_of_one_family_in_one_transaction() -> None:
    rules = (*NODE.filters, FilterRule(6, "filter", "FORWARD", ("-j", "DROP")))
    assert firewall.rules_text(rules, 4) == (
        "*nat\n:PREROUTING ACCEPT [0:0]\n:INPUT ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\n:POSTROUTING ACCEPT [0:0]\n"
        ":own - [0:0]\n-A POSTROUTING -j own\n"
        '-A own -m comment --comment "of ours" -j MASQUERADE\nCOMMIT\n'
    )
    assert firewall.rules_text(rules, 6).startswith("*filter\n:INPUT ACCEPT")
    assert firewall.rules_text((), 4) == ""


def test_a_set_is_filled_aside_and_swapped_in() -> None:
    assert firewall.sets_text((IpSet("ALL", "hash:net", ("10.0.0.0/16", "10.1.0.0/16")),)) == (
        "create -exist ALL hash:net family inet\ncreate -exist ALL- hash:net family inet\nflush ALL-\n"
        "add -exist ALL- 10.0.0.0/16\nadd -exist ALL- 10.1.0.0/16\nswap ALL- ALL\ndestroy ALL-\n"
    )


def test_the_difference_of_sets_and_rules_is_told_piece_by_piece() -> None:
    before = Netns(
        "a",
        ipsets=(IpSet("ALL", "hash:ip", ("192.0.2.1", "192.0.2.2")), IpSet("OLD", "hash:ip", ())),
        filters=(*NODE.filters, FilterRule(4, "nat", "gone", ("-j", "RETURN"))),
    )
    after = Netns(
        "a",
        ipsets=(IpSet("ALL", "hash:ip", ("192.0.2.1", "192.0.2.3")), IpSet("NEW", "hash:ip", ("192.0.2.9",), 6)),
        filters=(*NODE.filters, FilterRule(6, "filter", "new", ("-j", "DROP"))),
    )
    change = diff.change(after, before, Netns("a"))
    assert export.difference(change) == [
        "- ipset del ALL 192.0.2.2",
        "+ ipset add ALL 192.0.2.3",
        "+ ipset create NEW hash:ip family inet6",
        "+ ipset add NEW 192.0.2.9",
        "- ipset destroy OLD",
        "- iptables -t nat -D gone -j RETURN",
        "- iptables -t nat -X gone",
        "+ ip6tables -t filter -N new",
        "+ ip6tables -t filter -A new -j DROP",
    ]
    assert export.difference(diff.change(after, after, Netns("a"))) == []


def test_removals_are_said_as_removals() -> None:
    text = export.difference(diff.change(Netns("node"), NODE, NODE))
    assert "- ip route del blackhole 10.0.0.0/26 proto 80" in text
    assert "- bridge fdb del 02:00:00:00:00:02 dev vx dst 192.0.2.2 self permanent" in text
    assert "~ sysctl -qw 'net/ipv4/ip_forward=1'" in text
    assert all(line.startswith(("- ", "~ ")) and " add " not in line for line in text)


# -- traffic control -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("item", "said"),
    [
        (Shaping("e", delay_us=10), ["qdisc add dev e root handle 1: netem limit 10000 delay 10us"]),
        (Shaping("e", rate_bps=1000), ["qdisc add dev e root handle 1: tbf rate 1000bit burst 3200 latency 50ms"]),
        (
            Shaping("e", rate_bps=10**9, loss_pct=0.5),
            [
                "qdisc add dev e root handle 1: netem limit 10000 loss 0.5%",
                "qdisc add dev e parent 1: handle 2: tbf rate 1000000000bit burst 1250000 latency 50ms",
            ],
        ),
        (Shaping("e"), []),
    ],
)
def test_shaping(item: Shaping, said: list[str]) -> None:
    assert tc.shaping(item) == said


def test_the_replicated_mac_is_written_in_two_pieces() -> None:
    _, line = tc.rewrite(BroadcastRewrite("vx", "ff:ee:dd:cc:bb:aa"))
    assert "match u8 0x01 0x01 at -14" in line
    assert "offset -14 u16 set 0xffee munge offset -12 u32 set 0xddccbbaa" in line
