"""Two containers of one pod, for real: processes with mount, UTS and IPC namespaces of their own in the pod's network
namespace. One listens on 127.0.0.1, the other connects; each says what it has."""

from __future__ import annotations

import ctypes
import fcntl
import json
import os
import select
import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernel.inside import NEWIPC, NEWNET, NEWNS, NEWUTS
from kernel.namespaces import Namespaces

SIOCGIFHWADDR = 0x8927
"""netdevice(7)"""
WAIT_S = 5.0
"""How long the two wait for each other, seconds."""
_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True)
class Container:
    """What one sees: the numbers of its network and mount namespaces, its interfaces by index, eth0's MAC, and what it
    got from the other by way of 127.0.0.1."""

    network: int
    mounts: int
    interfaces: tuple[tuple[int, str], ...]
    mac: str
    heard: str


def two_containers(namespaces: Namespaces, pod: str) -> tuple[Container, ...]:
    """Both; an empty tuple where one did not come so far."""
    with namespaces.inside(pod):
        network = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    port_read, port_write = os.pipe()
    try:
        first = _start(network, lambda: _listen(port_write))
        second = _start(network, lambda: _connect(port_read))
        found = [_collect(child) for child in (first, second)]
    finally:
        for fd in (network, port_read, port_write):
            os.close(fd)
    return tuple(Container(**one) for one in found if one)


def _start(network: int, body: Callable[[], str]) -> tuple[int, int]:
    """A container: its process and where it says what it found."""
    said, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.close(said)
            if _libc.setns(network, NEWNET) or _libc.unshare(NEWNS | NEWUTS | NEWIPC):
                os._exit(1)
            os.write(say, json.dumps(_view(body())).encode())
        finally:
            os._exit(1)
    os.close(say)
    return pid, said


def _collect(child: tuple[int, int]) -> dict[str, Any]:
    pid, said = child
    with open(said) as file:
        text = file.read()
    os.waitpid(pid, 0)
    found: dict[str, Any] = json.loads(text) if text else {}
    if found:
        found["interfaces"] = tuple((number, name) for number, name in found["interfaces"])
    return found


def _view(heard: str) -> dict[str, Any]:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        answer = fcntl.ioctl(sock, SIOCGIFHWADDR, struct.pack("16s24x", b"eth0"))
    return {
        "network": os.stat("/proc/self/ns/net").st_ino,
        "mounts": os.stat("/proc/self/ns/mnt").st_ino,
        "interfaces": socket.if_nameindex(),
        "mac": answer[18:24].hex(":"),
        "heard": heard,
    }


def _listen(port_write: int) -> str:
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(WAIT_S)
        os.write(port_write, struct.pack("=H", server.getsockname()[1]))
        peer, _ = server.accept()
    with peer:
        peer.sendall(b"from the listener")
        return peer.recv(64).decode()


def _connect(port_read: int) -> str:
    if not select.select([port_read], [], [], WAIT_S)[0]:
        raise TimeoutError("the other container does not listen")
    (port,) = struct.unpack("=H", os.read(port_read, 2))
    with socket.create_connection(("127.0.0.1", port), WAIT_S) as sock:
        sock.sendall(b"from the caller")
        return sock.recv(64).decode()
