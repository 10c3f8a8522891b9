"""Tunnels as links of a topology: the exact state of each type's ends, and what cannot be."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from kernel.errors import BadInput
from kernel.export import as_ip
from kernel.state import State, merge
from topologies.source import parse
from topologies.spec import LabSpec
from topologies.tunnels import isatap, mtu, tunnels

HEAD = """
name: t
pools: [{cidr: 10.244.0.0/16}]
switches: [{name: s1}]
nodes:
  - {name: n1, switch: s1, addresses: [192.168.1.1/24]}
  - {name: n2, switch: s1, addresses: [192.168.1.2/24], mtu: 1400}
  - {name: n3, switch: s1, addresses: [192.168.1.3/24]}
tunnels:
"""


def lab(*found: str) -> LabSpec:
    """A topology with these tunnels."""
    return parse(HEAD + "".join(f"  - {{{one}}}\n" for one in found), "t.yaml")


IPIP = "name: a, type: ipip, ends: [n1, n2], addresses: [[10.9.0.1/30], [10.9.0.2/30]]"
SIT = 'name: b, type: sit, ends: [n1, n2], addresses: [["fd00:9::1/64"], ["fd00:9::2/64"]]'
GRE = "name: c, type: gre, ends: [n1, n2], addresses: [[10.9.0.5/30], [10.9.0.6/30]]"
VTI = "name: d, type: vti, ends: [n1, n3], addresses: [[10.9.0.9/30], [10.9.0.10/30]]"
ISATAP = 'name: e, type: isatap, ends: [n2, n3], prefix: "2001:db8:5::/64"'


def test_state_of_both_ends_of_each_type(golden: Callable[[str, str], None]) -> None:
    keyed = f"{GRE}, key: 7".replace("name: c", "name: f").replace("10.9.0", "10.9.1")
    parts = (State((one,)) for one in tunnels(lab(IPIP, SIT, GRE, VTI, ISATAP, keyed)))
    golden("topologies/tunnels.txt", as_ip(merge(parts)))


def test_both_ends_of_a_vti_agree_and_no_two_directions_share_a_key() -> None:
    a, b = [one.ipsec[0] for one in tunnels(lab(VTI))]
    assert (a.spi_out, a.key_out, a.mark) == (b.spi_in, b.key_in, b.mark)
    assert (a.spi_in, a.key_in) == (b.spi_out, b.key_out)
    assert len({a.key_out, a.key_in}) == len({a.spi_out, a.spi_in}) == 2
    assert len(bytes.fromhex(a.key_out)) == 20


def test_the_identifier_of_isatap_says_whether_the_address_is_global() -> None:
    assert isatap("2001:db8::/64", "192.0.2.1") == "2001:db8::5efe:c000:201/64"
    assert isatap("2001:db8::/64", "9.9.9.9") == "2001:db8::200:5efe:909:909/64"


@pytest.mark.parametrize(
    ("kind", "keyed", "size"),
    [("ipip", False, 1480), ("gre", False, 1476), ("gre", True, 1472), ("sit", False, 1480), ("vti", False, 1446)],
)
def test_mtu_inside_1500(kind: str, keyed: bool, size: int) -> None:
    assert mtu(kind, 1500, keyed) == size


@pytest.mark.parametrize(
    ("found", "said"),
    [
        ([IPIP.replace("n2", "n9")], "there is no host 'n9' with an IPv4 address"),
        ([IPIP.replace("n2", "n1")], "a tunnel needs two different ends"),
        ([IPIP.replace("name: a", "name: tunl0")], "'tunl0' names other devices of a host"),
        ([IPIP.replace("name: a", "name: eth0")], "'eth0' names other devices of a host"),
        ([IPIP.replace("ipip", "l2tp")], "'l2tp' is not allowed"),
        ([IPIP.replace("10.9.0.2/30", "10.8.0.2/30")], "only one end of the tunnel has an address in 10.9.0.0/30"),
        ([IPIP.replace("ipip", "sit")], "sit does not carry IPv4"),
        ([SIT.replace("sit", "vti")], "vti does not carry IPv6"),
        ([ISATAP.replace("/64", "/48")], "has a `prefix` of /64"),
        ([f'{GRE}, prefix: "2001:db8::/64"'], "`prefix` is for isatap"),
        ([f"{IPIP}, key: 5"], "only gre has a key"),
        ([IPIP, GRE.replace("name: c", "name: a")], "n1 has a tunnel 'a' already"),
        ([IPIP, IPIP.replace("name: a", "name: z").replace("10.9.0", "10.9.9")], "the second ipip tunnel between"),
        ([IPIP, VTI.replace("n3", "n2")], "cannot tell the packets of this vti from those of 'a'"),
        ([SIT.replace("n1", "n3"), ISATAP], "cannot tell the packets of this isatap from those of 'b'"),
        ([ISATAP, ISATAP.replace("n3", "n1").replace("name: e", "name: z")], "cannot tell the packets of this isatap"),
        ([IPIP.replace("10.9.0", "192.168.1")], "the address 192.168.1.1 is taken"),
        ([IPIP.replace("10.9.0", "10.244.7")], "the pool 10.244.0.0/16 overlaps 10.244.7.0/30"),
    ],
)
def test_a_tunnel_that_cannot_be_is_one_message(found: list[str], said: str) -> None:
    with pytest.raises(BadInput, match=said) as problem:
        lab(*found)
    assert problem.value.where.startswith("t.yaml") and problem.value.remedy
