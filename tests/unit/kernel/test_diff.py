"""The difference between wanted, applied and actual, and the order of devices; pure."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kernel import diff
from kernel.errors import BadInput
from kernel.state import (
    Address,
    Bridge,
    FilterRule,
    Ipip,
    Link,
    Macvlan,
    Netns,
    Route,
    Rule,
    State,
    Sysctl,
    Veth,
    Vlan,
    Vxlan,
    merge,
)

routes = st.builds(
    Route,
    st.sampled_from(["10.0.0.0/8", "10.1.0.0/16", "2001:db8::/32"]),
    dev=st.sampled_from(["eth0", "eth1"]),
    table=st.sampled_from([254, 40000]),
    metric=st.sampled_from([0, 1024]),
    mtu=st.sampled_from([None, 1400]),
)
addresses = st.builds(Address, st.sampled_from(["eth0", "eth1"]), st.sampled_from(["192.0.2.1/24", "2001:db8::1/64"]))
rules = st.builds(Rule, st.integers(1, 3), st.sampled_from([254, 40000]), st.sampled_from([4, 6]))
sysctls = st.builds(Sysctl, st.sampled_from(["a", "b"]), st.sampled_from(["0", "1"]))


def one_each(items: Any, key: Any) -> Any:
    return st.lists(items, max_size=5, unique_by=key).map(tuple)


spaces = st.builds(
    Netns,
    st.just("a"),
    addresses=one_each(addresses, diff.KEYS["addresses"]),
    routes=one_each(routes, diff.KEYS["routes"]),
    rules=one_each(rules, diff.KEYS["rules"]),
    sysctls=one_each(sysctls, diff.KEYS["sysctls"]),
)


def done(actual: Netns, change: diff.Change) -> Netns:
    """What a kernel has after a change: objects of one key replace each other."""
    parts = {}
    for part, key in diff.KEYS.items():
        there = {key(item): item for item in getattr(actual, part)}
        for item in getattr(change.remove, part):
            there.pop(key(item), None)
        there |= {key(item): item for item in getattr(change.add, part)}
        parts[part] = tuple(there.values())
    return replace(actual, **parts)


@given(wanted=spaces, applied=spaces, actual=spaces)
def test_a_change_makes_the_wanted_state_and_leaves_what_nobody_applied(
    wanted: Netns, applied: Netns, actual: Netns
) -> None:
    after = done(actual, diff.change(wanted, applied, actual))
    again = diff.change(wanted, wanted, after)
    assert (again.add, again.remove) == (Netns("a"), Netns("a"))
    for part, key in diff.KEYS.items():
        ours = {key(item) for item in (*getattr(applied, part), *getattr(wanted, part))}
        kept = [item for item in getattr(after, part) if key(item) not in ours]
        assert kept == [item for item in getattr(actual, part) if key(item) not in ours], part
        gone = {key(item) for item in getattr(applied, part)} - {key(item) for item in getattr(wanted, part)}
        assert not gone & {key(item) for item in getattr(after, part)}, part


@given(spaces)
def test_nothing_is_to_do_where_all_is_as_wanted(ns: Netns) -> None:
    change = diff.change(ns, ns, ns)
    assert (change.add, change.remove, change.redo) == (Netns("a"), Netns("a"), frozenset())


def test_what_the_kernel_fills_in_is_no_difference() -> None:
    wanted = Netns("a", routes=(Route("0.0.0.0/0", via="192.0.2.2"), Route("2001:db8::/32", dev="eth0", metric=1024)))
    actual = Netns(
        "a",
        routes=(Route("0.0.0.0/0", dev="eth0", via="192.0.2.2"), Route("2001:db8::/32", dev="eth0", scope="link")),
    )
    assert diff.change(wanted, wanted, actual).add == Netns("a")


RULES = tuple(FilterRule(4, "nat", "POSTROUTING", ("-o", dev, "-j", "MASQUERADE")) for dev in "abc")


@pytest.mark.parametrize(
    ("new", "intact", "add", "remove", "redo"),
    [
        (RULES[:2], diff.WHOLE, (), (), False),
        (RULES, diff.WHOLE, RULES[2:], (), True),
        (RULES[1:2], diff.WHOLE, (), RULES[:1], True),
        (RULES[1::-1], diff.WHOLE, RULES[1::-1], (), True),  # only the order is new
        (RULES[:2], (), RULES[:2], (), True),  # somebody changed them
    ],
)
def test_what_is_applied_as_a_whole(new: Any, intact: Any, add: Any, remove: Any, redo: bool) -> None:
    change = diff.change(Netns("a", filters=new), Netns("a", filters=RULES[:2]), Netns("a"), intact)
    assert (change.add.filters, change.remove.filters) == (add, remove)
    assert ("filters" in change.redo, change.whole.filters) == (redo, new)


# -- devices ---------------------------------------------------------------------------------------------

TOWER = State(
    (
        Netns("pod", links=(Macvlan("eth0", dev="eth0.20", dev_netns="node"),)),
        Netns(
            "node",
            links=(
                Vxlan("vx", dev="eth0.20", master="br0"),
                Vlan("eth0.20", dev="eth0", vid=20),
                Veth("eth0", peer_netns="s", peer=Link("p", master="s")),
                Bridge("br0"),
            ),
        ),
        Netns("s", links=(Bridge("s"),)),
    )
)


def test_what_stands_on_a_device_comes_after_it_wherever_it_is() -> None:
    rows = [[(netns, link.name) for netns, link in row] for row in diff.ranks(diff.ends(TOWER))]
    assert [set(row) for row in rows] == [
        {("node", "br0"), ("s", "s")},
        {("s", "p")},
        {("node", "eth0.20")},
        {("pod", "eth0"), ("node", "vx")},
    ]


def test_a_pair_is_made_once_from_the_bridges_side() -> None:
    veths = [(n, link.name) for row in diff.ranks(diff.ends(TOWER)) for n, link in row if isinstance(link, Veth)]
    assert veths == [("s", "p")]


def test_devices_that_stand_on_each_other() -> None:
    state = State((Netns("a", links=(Vlan("x", dev="y"), Vlan("y", dev="x"))),))
    with pytest.raises(BadInput, match="namespace a: x stands on itself, by way of x and y"):
        diff.ranks(diff.ends(state))


def test_both_ends_of_a_pair_know_each_other() -> None:
    found = diff.ends(TOWER)["s"]["p"]
    assert isinstance(found, Veth)
    assert (found.peer_netns, found.peer.name, found.master) == ("node", "eth0", "s")


@pytest.mark.parametrize(
    ("gone", "lost"),
    [
        (("s", "p"), {("s", "p"), ("node", "eth0"), ("node", "eth0.20"), ("node", "vx"), ("pod", "eth0")}),
        (("node", "eth0.20"), {("node", "eth0.20"), ("node", "vx"), ("pod", "eth0")}),
        (("node", "br0"), {("node", "br0")}),
        (("node", "no such"), set()),
    ],
)
def test_what_goes_along_with_a_device(gone: diff.Place, lost: set[diff.Place]) -> None:
    assert diff.falling({gone}, diff.ends(TOWER)) == lost


def test_a_namespace_without_a_device() -> None:
    whole = Netns(
        "a",
        links=(Bridge("x"), Bridge("y")),
        addresses=(Address("x", "192.0.2.1/24"), Address("y", "192.0.2.2/24")),
        routes=(Route("10.0.0.0/8", dev="x"), Route("10.1.0.0/16", kind="blackhole")),
        sysctls=(Sysctl("net.ipv4.conf.x.forwarding", "1"), Sysctl("net.ipv4.ip_forward", "1")),
    )
    rest = diff.without(whole, {"x"})
    assert [link.name for link in rest.links] == ["y"]
    assert rest.addresses == whole.addresses[1:]
    assert rest.routes == whole.routes[1:]
    assert rest.sysctls == (Sysctl("net.ipv4.conf.x.forwarding", ""), whole.sysctls[1])


@pytest.mark.parametrize(
    ("key", "device"),
    [
        ("net.ipv4.conf.eth0.forwarding", "eth0"),
        ("net.ipv4.neigh.eth0/vxlan4.app_solicit", "eth0.vxlan4"),
        ("net.ipv4.conf.all.rp_filter", ""),
        ("net.ipv6.conf.default.accept_dad", ""),
        ("net.ipv4.ip_forward", ""),
    ],
)
def test_the_device_of_a_sysctl(key: str, device: str) -> None:
    assert diff.device_of(key) == device


VX = Vxlan("vx", mtu=1450, mac="02:00:00:00:00:01", vni=4, dev="eth0", local="192.0.2.1")


@pytest.mark.parametrize(
    ("there", "fits", "settled"),
    [
        (VX, True, True),
        (replace(VX, mtu=1400), True, False),
        (replace(VX, up=False), True, False),
        (replace(VX, master="br0"), True, False),
        (replace(VX, arp=True), True, True),
        (replace(VX, vni=5), False, True),
        (replace(VX, dev="eth1"), False, True),
        (replace(VX, local="192.0.2.9"), False, True),
        (Bridge("vx", mtu=1450, mac=VX.mac), False, True),
    ],
)
def test_what_can_be_changed_and_what_must_be_made_anew(there: Link, fits: bool, settled: bool) -> None:
    assert (diff.fits("a", VX, there), diff.settled(VX, there)) == (fits, settled)


def test_a_pair_fits_only_with_its_own_other_end() -> None:
    wanted = Veth("eth0", peer_netns="b", peer=Link("x"))
    assert diff.fits("a", wanted, replace(wanted, peer=Link("x", mtu=1400)))
    assert diff.fits("a", wanted, replace(wanted, peer_netns="?", peer=Link("")))
    assert not diff.fits("a", wanted, replace(wanted, peer_netns="c"))
    assert not diff.fits("a", wanted, replace(wanted, peer=Link("y")))


def test_the_kernels_own_tunnel_is_any_to_any() -> None:
    assert diff.fits("a", Ipip("tunl0", mtu=1480), Ipip("tunl0", mtu=1500))
    assert not diff.fits("a", Ipip("tunl0"), Ipip("tunl0", local="192.0.2.1"))


def test_states_of_one_namespace_are_joined_in_order() -> None:
    first = State((Netns("a", rules=(Rule(1, 2),)), Netns("b")))
    second = State((Netns("c"), Netns("a", rules=(Rule(3, 4),))))
    joined = merge((first, second))
    assert joined.names == ("a", "b", "c")
    assert joined["a"].rules == (Rule(1, 2), Rule(3, 4))


def test_a_sysctl_that_went_with_its_device_is_not_given_back() -> None:
    applied = Netns("a", sysctls=(Sysctl("net.ipv4.conf.x.forwarding", "1"), Sysctl("net.ipv4.ip_forward", "1")))
    change = diff.change(Netns("a"), applied, diff.without(applied, {"x"}))
    assert change.remove.sysctls == applied.sysctls[1:]
