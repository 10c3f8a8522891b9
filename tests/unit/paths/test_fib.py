"""Route look-up on a state: rules, longest prefixes, metrics, kinds of route, devices that are down."""

from __future__ import annotations

import pytest

from kernel.state import Address, Link, Netns, NextHop, Route, Rule
from paths.fib import lookup, matches

BASE = Netns(
    "node1",
    links=(Link("eth0"), Link("eth1"), Link("down0", up=False)),
    addresses=(Address("eth0", "192.168.1.1/24"), Address("eth1", "fd00::1/64")),
    routes=(
        Route("0.0.0.0/0", dev="eth0", via="192.168.1.254"),
        Route("10.0.0.0/8", dev="eth1"),
        Route("10.1.0.0/16", kind="blackhole"),
        Route("10.2.0.0/16", dev="down0"),
        Route("10.3.0.0/16", dev="eth0", metric=20),
        Route("10.3.0.0/16", dev="eth1", metric=10),
        Route("10.4.0.0/16", via="192.168.1.7"),
        Route("10.5.0.0/16", hops=(NextHop("eth1", "192.168.1.8"), NextHop("eth0", "192.168.1.9"))),
        Route("10.6.0.0/16", dev="eth1", table=100),
        Route("10.6.1.0/24", kind="throw", table=100),
        Route("10.7.0.0/16", dev="eth1", table=200),
    ),
    rules=(Rule(10, 100), Rule(20, 200, fwmark=0x20, fwmask=0xF0), Rule(30, 200, src="172.16.0.0/12", iif="eth1")),
)


@pytest.mark.parametrize(
    ("dst", "said"),
    [
        ("192.168.1.1", "table local: local 192.168.1.1/32 dev eth0"),
        ("192.168.1.9", "table main: 192.168.1.0/24 dev eth0"),
        ("203.0.113.1", "table main: default via 192.168.1.254 dev eth0"),
        ("10.9.0.1", "table main: 10.0.0.0/8 dev eth1"),
        ("10.1.0.1", "table main: blackhole 10.1.0.0/16"),
        ("10.2.0.1", "table main: 10.0.0.0/8 dev eth1"),
        ("10.3.0.1", "table main: 10.3.0.0/16 dev eth1"),
        ("10.4.0.1", "table main: 10.4.0.0/16 via 192.168.1.7 dev eth0"),
        ("10.5.0.1", "table main: 10.5.0.0/16 via 192.168.1.8 dev eth1"),
        ("10.6.0.1", "rule 10, table 100: 10.6.0.0/16 dev eth1"),
        ("10.6.1.1", "table main: 10.0.0.0/8 dev eth1"),
        ("fd00::2", "table main: fd00::/64 dev eth1"),
        ("fd01::1", "no route: Network is unreachable"),
    ],
)
def test_what_a_packet_follows(dst: str, said: str) -> None:
    assert str(lookup(BASE, dst)) == said


def test_marks_sources_and_incoming_devices_choose_rules() -> None:
    assert lookup(BASE, "10.7.0.1").table == 254
    assert str(lookup(BASE, "10.7.0.1", mark=0x25)) == "rule 20 (mark 0x25), table 200: 10.7.0.0/16 dev eth1"
    assert lookup(BASE, "10.7.0.1", src="172.16.5.5").table == 254
    assert lookup(BASE, "10.7.0.1", src="172.16.5.5", iif="eth1").rule == 30
    assert not matches(Rule(1, 1, dst="10.0.0.0/8"), None, 0, "11.0.0.1")


def test_an_end_says_which_errno() -> None:
    assert lookup(BASE, "10.1.0.1").error == "Invalid argument"
    unreachable = Netns("a", routes=(Route("10.0.0.0/8", kind="unreachable"),))
    assert lookup(unreachable, "10.0.0.1").error == "No route to host"


def test_an_address_that_is_not_to_be_taken_for_its_own_is_not_local() -> None:
    kept = Netns("a", addresses=(Address("eth0", "10.0.0.5/24", own=False, noprefixroute=True),))
    assert lookup(kept, "10.0.0.5").error == "Network is unreachable"


def test_another_entry_to_the_same_next_hop_is_the_same_way() -> None:
    assert lookup(BASE, "10.9.0.1").same_way(lookup(BASE, "10.2.0.1"))
    assert not lookup(BASE, "10.9.0.1").same_way(lookup(BASE, "203.0.113.1"))
