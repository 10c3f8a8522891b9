"""What goes to the kernel, decoded by pyroute2, which was written by others from the same headers."""

from __future__ import annotations

import struct
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pyroute2.netlink.rtnl.marshal import MarshalRtnl

from kernel import devices, wire
from kernel.state import (
    Address,
    Bridge,
    Dummy,
    Fdb,
    Gre,
    Ipip,
    Ipvlan,
    Link,
    Macvlan,
    Neighbour,
    NextHop,
    PortVlan,
    Route,
    Rule,
    Sit,
    Vlan,
    Vti,
    Vxlan,
)

MAC = "02:00:00:00:00:0a"


def decoded(request: wire.Request) -> Any:
    """The request as pyroute2 reads it."""
    kind, flags, body, _ = request
    return next(iter(MarshalRtnl().parse(wire.HEAD.pack(wire.HEAD.size + len(body), kind, flags, 1, 0) + body)))


def attrs(message: Any) -> dict[str, Any]:
    """Attributes by name; of nested ones likewise."""
    pairs: Any = message["attrs"]
    return {name: attrs(value) if isinstance(value, dict) and "attrs" in value else value for name, value in pairs}


def info(request: wire.Request) -> tuple[str, dict[str, Any]]:
    """A device's kind and its own attributes."""
    found = attrs(decoded(request))["IFLA_LINKINFO"]
    return found["IFLA_INFO_KIND"], found.get("IFLA_INFO_DATA", {})


DEVICES: dict[str, tuple[Link, dict[str, Any]]] = {
    "bridge": (Bridge("d"), {}),
    "dummy": (Dummy("d"), {}),
    "vlan": (Vlan("d", dev="eth0", vid=20), {"IFLA_VLAN_ID": 20}),
    "macvlan": (Macvlan("d", dev="eth0", mode="passthru"), {"IFLA_MACVLAN_MODE": "passthru"}),
    "ipvlan": (Ipvlan("d", dev="eth0", mode="l3s", flag="vepa"), {"IFLA_IPVLAN_MODE": 2}),
    "vxlan": (
        Vxlan("d", vni=4096, dev="eth0", local="192.0.2.1", port=4789),
        {
            "IFLA_VXLAN_ID": 4096,
            "IFLA_VXLAN_LINK": 7,
            "IFLA_VXLAN_LOCAL": "192.0.2.1",
            "IFLA_VXLAN_PORT": 4789,
            "IFLA_VXLAN_LEARNING": 0,
        },
    ),
    "ipip": (
        Ipip("d", local="192.0.2.1", remote="192.0.2.2", ttl=64),
        {"IFLA_IPIP_LOCAL": "192.0.2.1", "IFLA_IPIP_REMOTE": "192.0.2.2", "IFLA_IPIP_TTL": 64},
    ),
    "sit": (
        Sit("d", local="192.0.2.1", isatap=True, dev="eth0"),
        {"IFLA_SIT_LINK": 7, "IFLA_SIT_LOCAL": "192.0.2.1", "IFLA_SIT_TTL": 0, "IFLA_SIT_FLAGS": 1},
    ),
    "gre": (
        Gre("d", local="192.0.2.1", remote="192.0.2.2", key=7),
        {
            "IFLA_GRE_LOCAL": "192.0.2.1",
            "IFLA_GRE_REMOTE": "192.0.2.2",
            "IFLA_GRE_TTL": 0,
            "IFLA_GRE_IKEY": 7,
            "IFLA_GRE_OKEY": 7,
        },
    ),
    "vti": (
        Vti("d", local="192.0.2.1", remote="192.0.2.2", key=7),
        {"IFLA_VTI_LOCAL": "192.0.2.1", "IFLA_VTI_REMOTE": "192.0.2.2", "IFLA_VTI_IKEY": 7, "IFLA_VTI_OKEY": 7},
    ),
}


@pytest.mark.parametrize("kind", DEVICES)
def test_devices(kind: str) -> None:
    link, expected = DEVICES[kind]
    found_kind, data = info(devices.new_link(link, 16, None, 7))
    assert found_kind == kind
    assert {name: data.get(name) for name in expected} == expected


def test_every_kind_that_can_be_made_is_tested() -> None:
    assert set(DEVICES) | {"veth"} == set(devices.KINDS)


def test_a_filtering_bridge_has_no_vlan_of_its_own() -> None:
    _, data = info(devices.new_link(Bridge("d", vlan_filtering=True), 16, None, None))
    assert data["IFLA_BR_VLAN_FILTERING"] == 1
    assert data["IFLA_BR_VLAN_DEFAULT_PVID"] == 0


def test_gre_says_that_it_has_a_key() -> None:
    _, keyed = info(devices.new_link(DEVICES["gre"][0], 16, None, None))
    assert keyed["IFLA_GRE_IFLAGS"] == keyed["IFLA_GRE_OFLAGS"] == 0x2000
    _, plain = info(devices.new_link(Gre("d"), 16, None, None))
    assert "IFLA_GRE_IFLAGS" not in plain


def test_what_every_device_may_state() -> None:
    link = Vlan("d", mtu=1400, mac=MAC, master="br0", dev="eth0", vid=1, arp=False)
    message = decoded(devices.new_link(link, 16, 5, 7, 9))
    found = attrs(message)
    assert (message["index"], message["flags"], message["change"]) == (16, 0x81, 0x81)
    assert found["IFLA_IFNAME"] == "d"
    assert (found["IFLA_MTU"], found["IFLA_ADDRESS"]) == (1400, MAC)
    assert (found["IFLA_MASTER"], found["IFLA_LINK"], found["IFLA_NET_NS_FD"]) == (5, 7, 9)


def test_a_veth_pair_in_one_message() -> None:
    request = devices.new_veth(Link("a", mtu=1400), 16, Link("b", mac=MAC, mtu=1400), 17, 9, 5)
    kind, data = info(request)
    peer = data["VETH_INFO_PEER"]
    assert kind == "veth"
    assert (peer["IFLA_IFNAME"], peer["IFLA_ADDRESS"], peer["IFLA_MTU"], peer["IFLA_NET_NS_FD"]) == ("b", MAC, 1400, 9)
    assert attrs(decoded(request))["IFLA_MASTER"] == 5


@pytest.mark.parametrize(
    ("up", "arp", "flags", "change"),
    [(None, None, 0, 0), (True, None, 1, 1), (False, None, 0, 1), (True, False, 0x81, 0x81), (None, True, 0, 0x80)],
)
def test_flags_that_are_not_stated_stay(up: bool | None, arp: bool | None, flags: int, change: int) -> None:
    assert struct.unpack("=BxHiII", wire.ifinfo(3, up, arp=arp)) == (0, 0, 3, flags, change)


def test_port_vlan() -> None:
    message = decoded(devices.port_vlan(7, PortVlan("p", 20, pvid=True, untagged=True), False))
    assert message["family"] == 7
    assert message.get_attr("IFLA_AF_SPEC").get_attr("IFLA_BRIDGE_VLAN_INFO") == {"flags": 6, "vid": 20}


def test_addresses() -> None:
    message = decoded(wire.address(Address("eth0", "192.0.2.1/24", scope="link", noprefixroute=True), 7))
    found = attrs(message)
    assert (message["index"], message["prefixlen"], message["scope"]) == (7, 24, 253)
    assert found["IFA_LOCAL"] == found["IFA_ADDRESS"] == "192.0.2.1"
    assert found["IFA_FLAGS"] == 0x200
    six = decoded(wire.address(Address("eth0", "2001:db8::1/64"), 7))
    assert (attrs(six)["IFA_ADDRESS"], attrs(six)["IFA_FLAGS"]) == ("2001:db8::1", 0x02)  # no DAD


def test_routes() -> None:
    item = Route("10.0.0.0/8", dev="eth0", via="192.0.2.2", table=40000, proto=80, metric=5, onlink=True, mtu=1400)
    message = decoded(wire.route(item, {"eth0": 7}))
    found = attrs(message)
    assert (message["dst_len"], message["proto"], message["type"], message["flags"]) == (8, 80, 1, 4)
    assert (found["RTA_DST"], found["RTA_GATEWAY"], found["RTA_OIF"]) == ("10.0.0.0", "192.0.2.2", 7)
    assert (found["RTA_TABLE"], found["RTA_PRIORITY"], found["RTA_METRICS"]) == (40000, 5, {"RTAX_MTU": 1400})


@pytest.mark.parametrize(("kind", "number"), [("blackhole", 6), ("unreachable", 7), ("throw", 9)])
def test_routes_that_lead_nowhere(kind: Any, number: int) -> None:
    message = decoded(wire.route(Route("2001:db8::/32", kind=kind), {}))
    assert (message["type"], message["dst_len"], "RTA_OIF" in attrs(message)) == (number, 32, False)


def test_several_next_hops() -> None:
    hops = (NextHop("a", "192.0.2.2", weight=3), NextHop("b", "192.0.2.3", onlink=True))
    message = decoded(wire.route(Route("10.0.0.0/8", hops=hops), {"a": 7, "b": 8}))
    first, second = message.get_attr("RTA_MULTIPATH")
    assert (first["oif"], first["hops"], first.get_attr("RTA_GATEWAY")) == (7, 2, "192.0.2.2")
    assert (second["oif"], second["flags"], second.get_attr("RTA_GATEWAY")) == (8, 4, "192.0.2.3")


def test_an_ipv4_route_over_an_ipv6_next_hop() -> None:
    via = attrs(decoded(wire.route(Route("10.0.0.0/8", dev="a", via="2001:db8::2"), {"a": 7})))["RTA_VIA"]
    assert via == {"family": 10, "addr": "2001:db8::2"}


def test_rules() -> None:
    item = Rule(512, 40000, 4, src="10.0.0.0/8", fwmark=0, fwmask=0x4040, dst="192.0.2.1/32", iif="eth0")
    message = decoded(wire.rule(item))
    found = attrs(message)
    assert (message["src_len"], message["dst_len"], message["action"]) == (8, 32, 1)
    assert (found["FRA_SRC"], found["FRA_DST"], found["FRA_IIFNAME"]) == ("10.0.0.0", "192.0.2.1", "eth0")
    assert (found["FRA_PRIORITY"], found["FRA_TABLE"]) == (512, 40000)
    assert (found["FRA_FWMARK"], found["FRA_FWMASK"]) == (0, 0x4040)


def test_neighbours_and_forwarding_entries() -> None:
    known = decoded(wire.neighbour(Neighbour("eth0", "192.0.2.2", MAC, state="noarp"), 7))
    assert (known["state"], attrs(known)["NDA_DST"], attrs(known)["NDA_LLADDR"]) == (0x40, "192.0.2.2", MAC)
    proxy = decoded(wire.neighbour(Neighbour("eth0", "2001:db8::2", proxy=True), 7))
    assert (proxy["flags"], "NDA_LLADDR" in attrs(proxy)) == (8, False)
    entry = decoded(wire.fdb(Fdb("vx", MAC, "192.0.2.9"), 7))
    assert (entry["family"], entry["state"], entry["flags"]) == (7, 0x80, 2)
    assert (attrs(entry)["NDA_LLADDR"], attrs(entry)["NDA_DST"]) == (MAC, "192.0.2.9")


@pytest.mark.parametrize("mac", ["00:00:00:00:00:00", "ff:ff:ff:ff:ff:f1"])
def test_entries_for_head_end_replication_add_up(mac: str) -> None:
    assert wire.fdb(Fdb("vx", mac, "192.0.2.9"), 7)[1] & wire.APPEND
    assert wire.fdb(Fdb("vx", MAC, "192.0.2.9"), 7)[1] & wire.REPLACE


# -- the other direction ---------------------------------------------------------------------------------

ipv4 = st.ip_addresses(v=4).filter(int).map(str)
names = st.sampled_from(["", "eth0"])


@st.composite
def links(draw: st.DrawFn) -> Link:
    """Any device with attributes of its own."""
    ends = {"local": draw(ipv4), "remote": draw(ipv4), "dev": draw(names)}
    key = draw(st.integers(0, 2**32 - 1))
    return draw(
        st.sampled_from(
            [
                Bridge("d", vlan_filtering=draw(st.booleans())),
                Vlan("d", dev="eth0", vid=draw(st.integers(1, 4094))),
                Macvlan("d", dev="eth0", mode=draw(st.sampled_from(["bridge", "private", "vepa", "passthru"]))),
                Ipvlan("d", dev="eth0", mode=draw(st.sampled_from(["l2", "l3", "l3s"])), flag="private"),
                Vxlan("d", vni=draw(st.integers(1, 2**24 - 1)), local=ends["local"], dev="eth0", port=8472),
                Vxlan("d", vni=9, local=draw(st.ip_addresses(v=6).filter(int).map(str)), learning=True),
                Ipip("d", **ends, ttl=draw(st.integers(0, 255))),
                Sit("d", **ends, isatap=draw(st.booleans())),
                Gre("d", **ends, key=key),
                Vti("d", **ends, key=key),
            ]
        )
    )


@given(links())
def test_what_is_packed_is_read_back(link: Link) -> None:
    body = devices.new_link(link, 16, None, 7 if getattr(link, "dev", "") else None)[2]
    found = wire.attributes(wire.attributes(body, 16)[devices.LINKINFO])
    kind, fields, under = devices.read_back(
        found[devices.INFO_KIND].rstrip(b"\0").decode(), found.get(devices.INFO_DATA, b"")
    )
    again = kind("d", **fields)
    assert devices.fixed(again) == devices.fixed(link)
    assert devices.filters(again) == devices.filters(link)
    if devices.BY_TYPE[type(link)].under is not None:
        assert under == (7 if getattr(link, "dev", "") else 0)


@example(bytes(64))
@given(st.binary(max_size=200))
def test_no_bytes_break_the_parsers(data: bytes) -> None:
    wire.attributes(data)
    list(wire.messages(data))
    list(wire.errors(data))


@given(st.lists(st.tuples(st.integers(1, 0x3FFF), st.binary(max_size=40)), max_size=8))
def test_attributes_come_back_in_order(pairs: list[tuple[int, bytes]]) -> None:
    assert list(wire.each_attribute(b"".join(wire.attr(*pair) for pair in pairs))) == pairs


def test_an_error_carries_the_kernels_words() -> None:
    tlv = wire.attr(1, b"no such port\0")
    body = struct.pack("=i", -22) + wire.HEAD.pack(16, 16, 0, 5, 0) + tlv
    message = wire.HEAD.pack(16 + len(body), 2, 0x200 | 0x100, 5, 0) + body
    assert list(wire.errors(message)) == [(5, 22, "no such port")]
