"""The values of topology files: how each is written, in the words that a mistake's remedy and the schema show."""

from __future__ import annotations

import re
from collections.abc import Callable
from ipaddress import ip_address, ip_interface
from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field

from kernel.state import IFNAMSIZ

NAME = r"^[a-z0-9]([a-z0-9-]*[a-z0-9])?$"
"""As Kubernetes names objects (RFC 1123 label)."""
RATE = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*([kKmMgG]?)(?:[bB]it(?:/s)?|bps)\s*$")
TIME = re.compile(r"^\s*([0-9]+(?:\.[0-9]+)?)\s*(us|ms|s)\s*$")
PERCENT = re.compile(r"^\s*[0-9]+(?:\.[0-9]+)?\s*%?\s*$")
"""How a link's values are written as text; the published schema has these patterns too (ECMA 262)."""


def _bits(value: Any) -> Any:
    """Bits a second out of "1 Gbit"."""
    if isinstance(value, str):
        if not (found := RATE.match(value)):
            raise ValueError("is no bandwidth")
        return int(float(found[1]) * {"": 1, "k": 10**3, "m": 10**6, "g": 10**9}[found[2].lower()])
    return value


def _microseconds(value: Any) -> Any:
    """Microseconds out of "1 ms"."""
    if isinstance(value, str):
        if not (found := TIME.match(value)):
            raise ValueError("is no delay")
        return round(float(found[1]) * {"us": 1, "ms": 10**3, "s": 10**6}[found[2]])
    return value


def _percent(value: Any) -> Any:
    if isinstance(value, str) and value.strip().endswith("%"):
        return value.strip().removesuffix("%")
    return value


def _interface(value: str) -> str:
    """An address with its prefix length, in canonical form."""
    if "/" not in value:
        raise ValueError("has no prefix length")
    return str(_of_a_host(_parsed(ip_interface, value)))


def _network(value: str) -> str:
    if "/" not in value:
        raise ValueError("has no prefix length")
    network = _parsed(ip_interface, value).network
    if str(network) != str(_parsed(ip_interface, value)):
        raise ValueError(f"has bits set after its prefix: the network is {network}")
    _of_a_host(network)
    return str(network)


def _address(value: str) -> str:
    return str(_of_a_host(_parsed(ip_address, value)))


def _number_of_four_parts(value: str) -> str:
    if ":" in value:
        raise ValueError("is no IPv4 address")
    return _address(value)


def _parsed(kind: Callable[[str], Any], value: str) -> Any:
    try:
        return kind(value)
    except ValueError:
        raise ValueError("is no IPv4 or IPv6 address") from None


def _of_a_host(address: Any) -> Any:
    """RFC 6890's addresses that no host has on a link, and those with a zone (fe80::1%eth0), are refused."""
    wrong = address.is_multicast or address.is_loopback or address.is_unspecified or "%" in str(address)
    if wrong:
        raise ValueError("is no address that a host can have")
    return address


def ranged(least: int, most: int, text: str) -> Any:
    """A whole number's limits; `text` says what it is."""
    return Field(ge=least, le=most, description=f"{text} from {least} to {most}")


Name = Annotated[
    str, Field(pattern=NAME, max_length=63, description="lower-case letters, digits and dashes, such as node1")
]
Cidr = Annotated[
    str, AfterValidator(_interface), Field(description="an address with its prefix length, such as 192.168.1.1/24")
]
Prefix = Annotated[str, AfterValidator(_network), Field(description="a network, such as 10.244.0.0/16")]
Address = Annotated[str, AfterValidator(_address), Field(description="an address, such as 192.168.1.1")]
ClusterId = Annotated[
    str, AfterValidator(_number_of_four_parts), Field(description="four numbers such as 1.0.0.1 (RFC 4456)")
]
VlanId = Annotated[int, ranged(1, 4094, "a number (IEEE 802.1Q)")]
Mtu = Annotated[int, ranged(68, 65535, "a number of bytes")]
Mac = Annotated[
    str,
    Field(
        pattern=r"^[0-9a-f][02468ace](:[0-9a-f]{2}){5}$",
        description="six pairs of lower-case hexadecimal digits, the first pair even, such as 02:00:00:00:00:01",
    ),
]
Device = Annotated[
    str,
    Field(
        pattern=r"^[a-z][a-z0-9._-]*$",
        max_length=IFNAMSIZ,
        description=f"an interface's name, at most {IFNAMSIZ} lower-case letters, digits, dashes and dots",
    ),
]
Key = Annotated[int, ranged(1, 0xFFFFFFFF, "a number")]
Asn = Annotated[int, ranged(1, 4294967295, "a number")]
Count = Annotated[int, ranged(0, 1000, "a number")]
Rate = Annotated[int, BeforeValidator(_bits), Field(gt=0, description="bits a second, such as 100 Mbit")]
Delay = Annotated[
    int, BeforeValidator(_microseconds), Field(ge=0, le=10**7, description="a time up to 10 s, such as 5 ms")
]
Loss = Annotated[float, BeforeValidator(_percent), Field(ge=0, le=100, description="percent, from 0 to 100")]
