"""One virtio device of the embedded kernel, seen from outside: its memory and its queues, over vhost-user.

UML's driver virtio_uml (linux: arch/um/drivers/virtio_uml.c) connects to a unix socket, hands over the file
that is the guest's memory, and tells where its queues are and which descriptors ring the bell on each side.
The messages are those of the vhost-user specification (QEMU: docs/interop/vhost-user.rst), the queues are
split virtqueues (virtio 1.1, section 2.6).
"""

from __future__ import annotations

import contextlib
import mmap
import os
import socket
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field

GET_FEATURES, SET_MEM_TABLE, VRING_NUM, VRING_ADDR, VRING_BASE = 1, 5, 8, 9, 10
VRING_KICK, VRING_CALL, GET_PROTOCOL_FEATURES, SET_SLAVE_REQ_FD, GET_CONFIG = 12, 13, 15, 21, 24
VERSION, REPLY = 1, 4
"""Flags of a message."""
FEATURES = 1 << 32 | 1 << 30
"""VIRTIO_F_VERSION_1 and VHOST_USER_F_PROTOCOL_FEATURES."""
PROTOCOL_FEATURES = 1 << 9 | 1 << 5
"""VHOST_USER_PROTOCOL_F_CONFIG: the configuration is asked for by message. VHOST_USER_PROTOCOL_F_SLAVE_REQ: a
descriptor for messages of ours; we send none, but UML 6.1 gives only such a device an interrupt of its own."""
HEAD = struct.Struct("=III")
NEXT, WRITE = 1, 2
"""Flags of a descriptor: it goes on in `next`; the device writes into it."""
DESCRIPTOR, USED, SHORT = struct.Struct("=QIHH"), struct.Struct("=II"), struct.Struct("=H")
MAX_FDS = 8


@dataclass
class Memory:
    """The guest's memory, mapped: (first physical address, size in bytes, view) of each region."""

    regions: list[tuple[int, int, memoryview]] = field(default_factory=list)

    def map(self, payload: bytes, fds: list[int]) -> None:
        """Maps what SET_MEM_TABLE told."""
        for number in range(struct.unpack_from("=I", payload)[0]):
            address, size, _, offset = struct.unpack_from("=QQQQ", payload, 8 + 32 * number)
            mapped = mmap.mmap(fds[number], size, mmap.MAP_SHARED, offset=offset)
            self.regions.append((address, size, memoryview(mapped)))

    def view(self, address: int, length: int) -> memoryview:
        """The bytes at a physical address. Raises ValueError for what is no memory."""
        for first, size, view in self.regions:
            if first <= address and address + length <= first + size:
                return view[address - first : address - first + length]
        raise ValueError(f"the guest named memory that it has not: {address:#x}, {length} bytes")


@dataclass(frozen=True)
class Chain:
    """Buffers that the guest gave in one piece: to read for us or, if `writable`, to be filled by us."""

    head: int
    parts: tuple[memoryview, ...]
    writable: bool


class Queue:
    """One split virtqueue."""

    def __init__(self, memory: Memory) -> None:
        self._memory = memory
        self.size = 0
        self.kick = self.call = -1
        self._descriptors = self._available = self._used = memoryview(b"")
        self._taken = self._given = 0

    def place(self, descriptors: int, used: int, available: int) -> None:
        """Where its three parts are (physical addresses)."""
        self._descriptors = self._memory.view(descriptors, DESCRIPTOR.size * self.size)
        self._available = self._memory.view(available, 4 + 2 * self.size)
        self._used = self._memory.view(used, 4 + USED.size * self.size)

    def start_at(self, index: int) -> None:
        self._taken = self._given = index

    def waiting(self) -> int:
        """How many chains the guest has given and we have not taken."""
        return (int(SHORT.unpack_from(self._available, 2)[0]) - self._taken) & 0xFFFF if self.kick >= 0 else 0

    def take(self) -> Chain:
        """The next chain; there must be one waiting."""
        (head,) = SHORT.unpack_from(self._available, 4 + 2 * (self._taken % self.size))
        self._taken = (self._taken + 1) & 0xFFFF
        parts, index, writable = [], head, False
        for _ in range(self.size):
            address, length, flags, following = DESCRIPTOR.unpack_from(self._descriptors, DESCRIPTOR.size * index)
            parts.append(self._memory.view(address, length))
            writable = writable or bool(flags & WRITE)
            if not flags & NEXT:
                break
            index = following
        return Chain(head, tuple(parts), writable)

    def give(self, chain: Chain, written: int) -> None:
        """Gives a chain back with `written` bytes in it; the guest hears of it at the next `ring`.

        The entry is stored before the index: x86 keeps the order of stores.
        """
        USED.pack_into(self._used, 4 + USED.size * (self._given % self.size), chain.head, written)
        self._given = (self._given + 1) & 0xFFFF
        SHORT.pack_into(self._used, 2, self._given)

    def ring(self) -> None:
        """Interrupts the guest. Always, though it may have asked for silence: to honour that safely takes a
        memory barrier, which Python has not."""
        with contextlib.suppress(BlockingIOError):  # enough interrupts are pending
            os.write(self.call, b"\1\0\0\0\0\0\0\0")

    def quiet(self) -> None:
        """Takes the guest's bell (an eventfd) back to silence."""
        with contextlib.suppress(BlockingIOError):
            os.read(self.kick, 8)


class Device:
    """The device's end of the vhost-user conversation. `config` is its configuration space."""

    def __init__(self, sock: socket.socket, config: bytes, queues: int) -> None:
        self.sock = sock
        self._config = config
        self._requests = -1
        self.memory = Memory()
        self.queues = tuple(Queue(self.memory) for _ in range(queues))

    def answer(self) -> bool:
        """Takes one message and answers it if it wants that; false when the guest is gone."""
        head, fds, _, _ = socket.recv_fds(self.sock, HEAD.size, MAX_FDS)
        if len(head) < HEAD.size:
            return False
        request, _, size = HEAD.unpack(head)
        payload = self.sock.recv(size, socket.MSG_WAITALL) if size else b""
        with _closing(fds) as kept:
            self._take(request, payload, kept)
        return True

    def _take(self, request: int, payload: bytes, fds: list[int]) -> None:
        if request == GET_FEATURES:
            self._reply(request, struct.pack("=Q", FEATURES))
        elif request == GET_PROTOCOL_FEATURES:
            self._reply(request, struct.pack("=Q", PROTOCOL_FEATURES))
        elif request == GET_CONFIG:
            offset, size, flags = struct.unpack_from("=III", payload)
            space = self._config[offset : offset + size].ljust(size, b"\0")
            self._reply(request, struct.pack("=III", offset, size, flags) + space)
        elif request == SET_MEM_TABLE:
            self.memory.map(payload, fds)
        elif request == SET_SLAVE_REQ_FD:
            self._requests = fds.pop()  # kept open, never written to
        elif request in (VRING_KICK, VRING_CALL):
            self._bell(request, payload, fds)
        elif request in (VRING_NUM, VRING_ADDR, VRING_BASE):
            self._place(request, payload)

    def _place(self, request: int, payload: bytes) -> None:
        index, value = struct.unpack_from("=II", payload)
        queue = self.queues[index]
        if request == VRING_NUM:
            queue.size = value
        elif request == VRING_BASE:
            queue.start_at(value)
        else:
            queue.place(*struct.unpack_from("=QQQ", payload, 8))

    def _bell(self, request: int, payload: bytes, fds: list[int]) -> None:
        queue = self.queues[payload[0]]
        fd = fds.pop()
        os.set_blocking(fd, False)
        if request == VRING_KICK:
            queue.kick = fd
        else:
            queue.call = fd

    def _reply(self, request: int, payload: bytes) -> None:
        self.sock.sendall(HEAD.pack(request, VERSION | REPLY, len(payload)) + payload)


@contextlib.contextmanager
def _closing(fds: list[int]) -> Iterator[list[int]]:
    """Closes the descriptors that nobody took out of the list."""
    try:
        yield fds
    finally:
        for fd in fds:
            os.close(fd)
