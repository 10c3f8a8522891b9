"""Filter rules evaluated on a state: matches, chains, marks, translations, and what is not understood."""

from __future__ import annotations

from typing import Any

import pytest

from kernel.state import FilterRule, IpSet, Netns
from paths.filters import Passing, hook

SETS = (IpSet("pods", "hash:net", ("10.244.0.0/16",)), IpSet("nodes", "hash:ip", ("192.168.1.1", "192.168.1.2")))
PACKET = Passing("10.244.0.1", "192.168.1.2", iif="cali1", oif="eth0", local=frozenset({"192.168.1.1"}))


def rules(*texts: str, table: Any = "filter") -> Netns:
    """Each "CHAIN args"."""
    made = (FilterRule(4, table, text.split()[0], tuple(text.split()[1:])) for text in texts)
    return Netns("node1", filters=tuple(made), ipsets=SETS)


@pytest.mark.parametrize(
    ("condition", "fits"),
    [
        ("-s 10.244.0.0/16", True),
        ("! -s 10.244.0.0/16", False),
        ("-d 192.168.1.2/32", True),
        ("-i cali+", True),
        ("! -i cali+", False),
        ("-o eth1", False),
        ("-p icmp", True),
        ("-p tcp", False),
        ("-m set --match-set pods src", True),
        ("-m set --match-set pods dst", False),
        ("-m set ! --match-set nodes dst", False),
        ("-m conntrack --ctstate NEW", True),
        ("-m conntrack ! --ctstate RELATED,ESTABLISHED", True),
        ("-m addrtype --dst-type LOCAL", False),
        ("-m addrtype ! --src-type LOCAL", True),
        ("-m mark --mark 0x0/0x20", True),
        ("-s 10.244.0.0/16 -o eth1", False),
        ("-s fd00::/64", False),
    ],
)
def test_conditions(condition: str, fits: bool) -> None:
    found = hook(rules(f"FORWARD {condition} -j DROP"), "filter", "FORWARD", PACKET)
    assert (found.verdict == "DROP") == fits
    assert (found.rule == f"-A FORWARD {condition} -j DROP") == fits


def test_chains_return_and_go_on() -> None:
    ns = rules("FORWARD -j FIRST", "FIRST -i cali+ -j RETURN", "FIRST -j DROP", "FORWARD -j REJECT")
    assert hook(ns, "filter", "FORWARD", PACKET).rule == "-A FORWARD -j REJECT"
    assert hook(ns, "filter", "FORWARD", Passing("10.0.0.1", "10.0.0.2", iif="eth0")).rule == "-A FIRST -j DROP"
    assert hook(ns, "filter", "INPUT", PACKET).verdict == ""


def test_marks_are_set_and_cleared_bit_by_bit() -> None:
    ns = rules("PREROUTING -j MARK --set-xmark 0x20/0x20", "PREROUTING -j MARK --set-xmark 0x0/0x4", table="mangle")
    assert hook(ns, "mangle", "PREROUTING", Passing("1.1.1.1", "2.2.2.2", mark=0x5)).packet.mark == 0x21


def test_translations_end_the_chain() -> None:
    ns = rules("POSTROUTING -o eth0 -j MASQUERADE --random-fully", "POSTROUTING -j DROP", table="nat")
    assert hook(ns, "nat", "POSTROUTING", PACKET).verdict == "MASQUERADE"
    fixed = rules("POSTROUTING -j SNAT --to-source 203.0.113.7", table="nat")
    assert hook(fixed, "nat", "POSTROUTING", PACKET).packet.src == "203.0.113.7"


def test_a_match_that_is_not_known_is_passed_over_and_named() -> None:
    found = hook(rules("FORWARD -m recent --seconds 5 -j DROP", "FORWARD -j ACCEPT"), "filter", "FORWARD", PACKET)
    assert found.verdict == "ACCEPT" and found.unknown == ("-m recent --seconds 5 -j DROP",)


def test_each_family_and_table_for_itself() -> None:
    ns = rules("FORWARD -j DROP")
    assert hook(ns, "filter", "FORWARD", Passing("fd00::1", "fd00::2")).verdict == ""
    assert hook(ns, "mangle", "FORWARD", PACKET).verdict == ""
