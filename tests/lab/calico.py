"""What the tests of calico's modes ask of a lab."""

from __future__ import annotations

import re
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from cluster.lab import Lab, features, plan
from plugins.calico.felix import host_end
from tests.lab.frames import checksum
from topologies.spec import LabSpec, from_json, preset


@contextmanager
def running(mode: str, spec: LabSpec | str, folder: Path) -> Iterator[Any]:
    """A lab of calico `mode`, up."""
    chosen = preset(spec) if isinstance(spec, str) else spec
    with Lab(plan(chosen, "calico", mode, features()), folder) as lab:
        lab.up()
        yield lab


def altered(name: str, **values: Any) -> LabSpec:
    """A preset with other values at its top level."""
    import json

    return from_json(json.dumps(preset(name).model_dump(mode="json") | values))


def main_table(lab: Any, node: str, version: int = 4) -> list[str]:
    """`ip route show table main`, without the kernel's own and what differs from run to run."""
    said = lab.namespaces.run(node, ["ip", f"-{version}", "route", "show", "table", "main"]).stdout
    names = {host_end(one): f"<{one.name}>" for one in lab.cluster.pods}
    lines = []
    for line in said.splitlines():
        if "proto kernel" in line or line.startswith("fe80::"):
            continue
        line = re.sub(r" nhid \d+| pref medium", "", line).strip()
        lines.append(re.sub(r"cali\w+", lambda found: names.get(found[0], found[0]), line))
    return sorted(lines)


def sessions(lab: Any, router: str, version: int = 4) -> dict[str, str]:
    """A router's neighbours and their states."""
    found = lab.routers.show(router, f"show bgp ipv{version} unicast summary json")
    return {address: peer["state"] for address, peer in found.get("peers", {}).items()}


def send_raw(lab: Any, netns: str, packet: bytes) -> None:
    """Sends a whole IPv4 packet, header and all, as nobody's socket would (raw(7), IP_HDRINCL)."""
    with lab.namespaces.inside(netns):
        sock = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW)
    with sock:
        sock.sendto(packet, (str(ip_address(packet[16:20])), 0))


def ipv4(source: str, target: str, protocol: int, payload: bytes) -> bytes:
    """A packet with these addresses."""
    head = bytes([0x45, 0]) + (20 + len(payload)).to_bytes(2, "big") + bytes([0, 1, 0, 0, 64, protocol])
    addresses = ip_address(source).packed + ip_address(target).packed
    whole = head + bytes(2) + addresses
    return head + checksum(whole).to_bytes(2, "big") + addresses + payload


def echo() -> bytes:
    """An ICMP echo request."""
    head = bytes([8, 0])
    rest = bytes([0x12, 0x34, 0, 1]) + b"podpath!"
    return head + checksum(head + bytes(2) + rest).to_bytes(2, "big") + rest


def udp(port: int, payload: bytes) -> bytes:
    """A datagram without a checksum, as IPv4 allows (RFC 768)."""
    return port.to_bytes(2, "big") * 2 + (8 + len(payload)).to_bytes(2, "big") + bytes(2) + payload
