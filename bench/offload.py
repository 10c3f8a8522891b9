"""Segmentation and aggregation offloads of devices, by ethtool's ioctl (SIOCETHTOOL, linux/ethtool.h); no fork."""

from __future__ import annotations

import array
import fcntl
import socket
import struct
from collections.abc import Iterable
from typing import Any

SIOCETHTOOL = 0x8946
SWITCHES = {"tso": (0x1E, 0x1F), "gso": (0x23, 0x24), "gro": (0x2B, 0x2C)}
"""ETHTOOL_G... and ETHTOOL_S... of each."""
GET_FLAGS, SET_FLAGS, TX_VLAN = 0x25, 0x26, 1 << 7
"""ETHTOOL_GFLAGS and ETHTOOL_SFLAGS, and the flag that leaves a VLAN tag beside the frame instead of in it."""


def _ask(sock: socket.socket, device: str, command: int, value: int = 0) -> int | None:
    """The value that the driver answers with; None where it has no such thing."""
    data = array.array("I", [command, value])
    address, _ = data.buffer_info()
    try:
        fcntl.ioctl(sock, SIOCETHTOOL, struct.pack("16sP16x", device.encode(), address))
    except OSError:
        return None
    return data[1]


def read(namespaces: Any, name: str) -> dict[str, dict[str, bool]]:
    """Which of SWITCHES and `txvlan` are on, for every device in namespace `name` that says so."""
    found: dict[str, dict[str, bool]] = {}
    with namespaces.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        for _, device in socket.if_nameindex():
            answers = {switch: _ask(sock, device, get) for switch, (get, _) in SWITCHES.items()}
            flags = _ask(sock, device, GET_FLAGS)
            answers["txvlan"] = None if flags is None else flags & TX_VLAN
            found[device] = {switch: bool(value) for switch, value in answers.items() if value is not None}
    return found


def set_all(namespaces: Any, names: Iterable[str], on: bool) -> None:
    """Turns them on or off at every device of these namespaces; a device that cannot keeps what it has."""
    for name in names:
        with namespaces.inside(name), socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
            for _, device in socket.if_nameindex():
                for _, command in SWITCHES.values():
                    _ask(sock, device, command, int(on))
                if (flags := _ask(sock, device, GET_FLAGS)) is not None:
                    _ask(sock, device, SET_FLAGS, flags | TX_VLAN if on else flags & ~TX_VLAN)


def still_on(namespaces: Any, names: Iterable[str]) -> list[str]:
    """NAMESPACE:DEVICE of those veth-like devices that still aggregate or segment, loopback apart."""
    return [
        f"{name}:{device}"
        for name in names
        for device, state in read(namespaces, name).items()
        if device != "lo" and (state.get("tso") or state.get("gso") or state.get("gro"))
    ]
