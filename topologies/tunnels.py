"""Tunnels between hosts as links of a topology: ipip, gre, sit, isatap, and vti with its IPsec. Pure."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Sequence
from ipaddress import IPv4Address, ip_interface, ip_network
from typing import TYPE_CHECKING

from kernel.devices import KERNELS_OWN
from kernel.errors import BadInput
from kernel.state import Address, Gre, Ipip, Ipsec, Link, Netns, Sit, Vti

if TYPE_CHECKING:
    from topologies.spec import LabSpec, TunnelSpec

TTL = 64
CARRIES = {"ipip": {4}, "gre": {4, 6}, "sit": {6}, "isatap": set(), "vti": {4}}
"""The families of the addresses that an end may be given."""
OVERHEAD = {"ipip": 20, "gre": 24, "sit": 20, "isatap": 20}
"""Bytes: an outer IPv4 header, and GRE's 4."""
GRE_KEY = 4
"""Bytes that a key adds (RFC 2890)."""
SAME_PROTOCOL = (
    frozenset({"isatap", "sit"}),
    frozenset({"vti", "ipip"}),
    frozenset({"vti", "sit"}),
    frozenset({"vti", "isatap"}),
)
"""Types that do not go together between two hosts: one takes the other's packets. vti takes those of protocols 4 and 41
too, for IPComp's sake (vti_rcv_tunnel in net/ipv4/ip_vti.c)."""
GCM_KEY = 20
"""Bytes: AES-128 and the salt of RFC 4106."""
TAKEN = KERNELS_OWN | {"lo", "all", "default", "outside"}
Where = Callable[[Sequence[int | str]], str]


def hosts(spec: LabSpec) -> dict[str, tuple[str, int]]:
    """Each host that a tunnel may end on: its first IPv4 address, without length, and the MTU of that NIC."""
    found: dict[str, tuple[str, int]] = {}
    for name, port in spec.ports():
        for address in port.addresses:
            if ":" not in address:
                found.setdefault(name, (str(ip_interface(address).ip), port.mtu))
    if spec.client:
        for address in spec.client.addresses:
            if ":" not in address:
                found.setdefault(spec.client.name, (str(ip_interface(address).ip), 1500))
    return found


def isatap(prefix: str, host: str) -> str:
    """A host's address in an ISATAP subnet: the identifier is 0000:5efe and the IPv4 address, with the universal bit
    set when that address is globally unique (RFC 5214, section 6.1).

    >>> isatap("2001:db8:5::/64", "192.168.1.1")
    '2001:db8:5::5efe:c0a8:101/64'
    >>> isatap("2001:db8:5::/64", "8.8.8.8")
    '2001:db8:5:0:200:5efe:808:808/64'
    """
    network, four = ip_network(prefix), IPv4Address(host)
    identifier = (0x02005EFE if four.is_global else 0x5EFE) << 32 | int(four)
    return f"{network[identifier]}/{network.prefixlen}"


def mtu(kind: str, under: int, keyed: bool) -> int:
    """Bytes that a packet inside may have so that the outer one fits into `under`. ESP with AES-GCM adds an outer
    header (20), SPI and sequence number (8), IV (8), ICV (16), and a trailer of 2 and more, to a multiple of 4."""
    if kind == "vti":
        return (under - 20 - 8 - 8 - 16) // 4 * 4 - 2
    return under - OVERHEAD[kind] - (GRE_KEY if kind == "gre" and keyed else 0)


def tunnels(spec: LabSpec) -> Iterator[Netns]:
    """Both ends of every tunnel."""
    known = hosts(spec)
    for number, tunnel in enumerate(spec.tunnels, start=1):
        (a, a_mtu), (b, b_mtu) = (known[end] for end in tunnel.ends)
        size = mtu(tunnel.type, min(a_mtu, b_mtu), tunnel.key is not None)
        for here, local, remote, addresses in zip(tunnel.ends, (a, b), (b, a), tunnel.addresses, strict=True):
            own = (isatap(tunnel.prefix, local),) if tunnel.prefix else addresses
            yield Netns(
                here,
                links=(_device(tunnel, number, local, remote, size),),
                addresses=tuple(Address(tunnel.name, address) for address in own),
                ipsec=(_ipsec(spec, tunnel, number, local, remote),) if tunnel.type == "vti" else (),
            )


def _device(tunnel: TunnelSpec, number: int, local: str, remote: str, size: int) -> Link:
    """`number` is a vti's mark, by which the kernel's policies know its traffic: the tunnel's own on both hosts."""
    name, kind = tunnel.name, tunnel.type
    if kind == "ipip":
        return Ipip(name, mtu=size, local=local, remote=remote, ttl=TTL)
    if kind == "gre":
        return Gre(name, mtu=size, local=local, remote=remote, ttl=TTL, key=tunnel.key or 0)
    if kind == "vti":
        return Vti(name, mtu=size, local=local, remote=remote, key=number)
    return Sit(name, mtu=size, local=local, remote="" if kind == "isatap" else remote, ttl=TTL, isatap=kind == "isatap")


def _ipsec(spec: LabSpec, tunnel: TunnelSpec, mark: int, local: str, remote: str) -> Ipsec:
    """Keys stand in for what IKE would have agreed on: both ends work out the same ones from the lab's names."""

    def drawn(source: str, target: str) -> bytes:
        return hashlib.sha256(f"{spec.name}/{tunnel.name}/{source}/{target}".encode()).digest()

    out, into = drawn(local, remote), drawn(remote, local)
    return Ipsec(
        local,
        remote,
        mark=mark,
        spi_out=_spi(out),
        spi_in=_spi(into),
        key_out=out[-GCM_KEY:].hex(),
        key_in=into[-GCM_KEY:].hex(),
    )


def _spi(drawn: bytes) -> int:
    """The numbers to 255 are reserved (RFC 4303, section 2.1)."""
    return 256 + int.from_bytes(drawn[:3], "big")


# -- checks ----------------------------------------------------------------------------------------------


def check(spec: LabSpec, where: Where) -> None:
    """Raises BadInput for the first mistake."""
    known = hosts(spec)
    for i, tunnel in enumerate(spec.tunnels):
        _named(tunnel, where(("tunnels", i, "name")))
        _ends(tunnel, known, where(("tunnels", i, "ends")))
        _insides(tunnel, where(("tunnels", i)))
        for other in spec.tunnels[:i]:
            _both(tunnel, other, where(("tunnels", i)))


def _named(tunnel: TunnelSpec, place: str) -> None:
    if tunnel.name in TAKEN or re.match(r"eth\d+$", tunnel.name):
        what = f"{tunnel.name!r} names other devices of a host"
        raise BadInput(what, where=place, remedy=f"choose another name, such as {tunnel.type}1")


def _ends(tunnel: TunnelSpec, known: dict[str, tuple[str, int]], place: str) -> None:
    for end in tunnel.ends:
        if end not in known:
            raise BadInput(
                f"there is no host {end!r} with an IPv4 address", where=place, remedy=f"one of: {', '.join(known)}"
            )
    if tunnel.ends[0] == tunnel.ends[1]:
        raise BadInput("a tunnel needs two different ends", where=place, remedy="name another host")


def _insides(tunnel: TunnelSpec, place: str) -> None:
    """Addresses of the families that the type carries."""
    kind = tunnel.type
    if kind == "isatap" and (any(tunnel.addresses) or not tunnel.prefix or not tunnel.prefix.endswith("/64")):
        what = "an isatap tunnel has a `prefix` of /64 and makes its ends' addresses out of it"
        raise BadInput(what, where=place, remedy='write prefix: "2001:db8:5::/64", and no addresses')
    if kind != "isatap" and tunnel.prefix:
        raise BadInput(f"`prefix` is for isatap, and this tunnel is {kind}", where=place, remedy="give `addresses`")
    if tunnel.key is not None and kind != "gre":
        raise BadInput(f"only gre has a key, and this tunnel is {kind}", where=place, remedy="leave `key` out")
    inside = [[ip_interface(one).network for one in end] for end in tunnel.addresses]
    for here, there in (inside, inside[::-1]):
        if missing := next((network for network in here if network not in there), None):
            what = f"only one end of the tunnel has an address in {missing}"
            raise BadInput(what, where=place, remedy="give both ends an address in each of its subnets")
    for address in (one for ends in tunnel.addresses for one in ends):
        if ip_interface(address).version not in CARRIES[kind]:
            what = f"{kind} does not carry IPv{ip_interface(address).version}, and {address} is for its inside"
            raise BadInput(
                what, where=place, remedy="use gre, which carries both" if kind != "vti" else "use gre or sit"
            )


def _both(tunnel: TunnelSpec, other: TunnelSpec, place: str) -> None:
    """Two tunnels on one host have two names, and the kernel must be able to tell their packets apart. An isatap device
    has no remote, and so takes its host's IPv6 in IPv4 from everywhere."""
    shared = sorted(set(tunnel.ends) & set(other.ends))
    if shared and tunnel.name == other.name:
        what = f"{shared[0]} has a tunnel {tunnel.name!r} already"
        raise BadInput(what, where=place, remedy="give another name")
    kinds = {tunnel.type, other.type}
    if (len(shared) == 2 and kinds in SAME_PROTOCOL) or (shared and kinds == {"isatap"}):
        what = f"the kernel of {shared[0]} cannot tell the packets of this {tunnel.type} from those of {other.name!r}"
        raise BadInput(what, where=place, remedy="use gre for one of them, or other hosts")
    if len(shared) == 2 and tunnel.type == other.type and tunnel.key == other.key:
        what = f"this is the second {tunnel.type} tunnel between {' and '.join(shared)}"
        remedy = "give each its own `key`" if tunnel.type == "gre" else "use another type"
        raise BadInput(what, where=place, remedy=remedy)
