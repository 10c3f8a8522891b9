"""A network device in this thread's namespace through ioctl(2): no process, no netlink socket (netdevice(7))."""

from __future__ import annotations

import fcntl
import socket
import struct

SIOCGIFFLAGS, SIOCSIFFLAGS, SIOCGIFADDR, SIOCGIFHWADDR = 0x8913, 0x8914, 0x8915, 0x8927
"""linux/sockios.h"""
IFF_UP = 1


def exists(name: str) -> bool:
    """There is a device of that name."""
    try:
        return bool(socket.if_nametoindex(name))
    except OSError:
        return False


def is_up(name: str) -> bool:
    """It is administratively up. Raises OSError when there is no such device."""
    return bool(_flags(name) & IFF_UP)


def set_up(name: str, up: bool) -> None:
    """Sets it up or down. Raises OSError."""
    flags = _flags(name)
    wanted = flags | IFF_UP if up else flags & ~IFF_UP
    _ask(SIOCSIFFLAGS, struct.pack("16sh22x", name.encode(), wanted))


def ipv4(name: str) -> str | None:
    """Its first IPv4 address, without the prefix length. Raises OSError when there is no such device."""
    try:
        return socket.inet_ntoa(_ask(SIOCGIFADDR, struct.pack("16s24x", name.encode()))[20:24])
    except OSError:
        _flags(name)
        return None


def mac(name: str) -> str:
    """Its MAC. Raises OSError when there is no such device."""
    return _ask(SIOCGIFHWADDR, struct.pack("16s24x", name.encode()))[18:24].hex(":")


def _flags(name: str) -> int:
    return int(struct.unpack_from("16xH", _ask(SIOCGIFFLAGS, struct.pack("16s24x", name.encode())))[0])


def _ask(request: int, argument: bytes) -> bytes:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        return fcntl.ioctl(sock, request, argument)
