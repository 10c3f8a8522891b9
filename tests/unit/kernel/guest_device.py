"""The guest's side of a vhost-user device, as UML's driver plays it: memory, queues, messages."""

from __future__ import annotations

import mmap
import os
import socket
import struct
from dataclasses import dataclass

from kernel import vhost, vsock

SIZE = 8
"""Descriptors of a queue."""
BASE = 0x6000_0000
"""The physical address at which the memory begins."""
QUEUE, PLACE = 0x1000, 0x4000
"""Bytes for one queue's rings; where the buffers begin."""
BUFFER = 4096


@dataclass(frozen=True)
class Packet:
    """A packet of virtio-vsock, as far as the tests look."""

    operation: int
    guest_port: int
    host_port: int
    data: bytes = b""
    flags: int = 0
    room: int = 1 << 18
    forwarded: int = 0


class Guest:
    """Owns the memory; `device` is what is tested."""

    def __init__(self) -> None:
        self._fd = os.memfd_create("guest")
        os.ftruncate(self._fd, 1 << 20)
        self._memory = mmap.mmap(self._fd, 1 << 20)
        self._sock, theirs = socket.socketpair()
        self.device = vhost.Device(theirs, vsock.CONFIG, 3)
        self._seen = [0, 0, 0]
        self._given = [0, 0, 0]
        self._kicks = [os.eventfd(0) for _ in range(3)]
        self._calls = [os.pipe() for _ in range(3)]
        self._tell(vhost.SET_MEM_TABLE, struct.pack("=II4Q", 1, 0, BASE, 1 << 20, BASE, 0), [self._fd])
        for index in range(3):
            self._set_up(index)

    def ask(self, request: int, payload: bytes = b"") -> bytes:
        """Sends a message and returns the answer's payload."""
        self._tell(request, payload, [])
        _, flags, size = struct.unpack("=III", self._sock.recv(12))
        assert flags == vhost.VERSION | vhost.REPLY
        return self._sock.recv(size)

    def _tell(self, request: int, payload: bytes, fds: list[int]) -> None:
        socket.send_fds(self._sock, [struct.pack("=III", request, vhost.VERSION, len(payload)) + payload], fds)
        assert self.device.answer()

    def _set_up(self, index: int) -> None:
        start = BASE + index * QUEUE
        self._tell(vhost.VRING_NUM, struct.pack("=II", index, SIZE), [])
        self._tell(vhost.VRING_BASE, struct.pack("=II", index, 0), [])
        places = struct.pack("=IIQQQQ", index, 0, start, start + 0x800, start + 0x400, 0)
        self._tell(vhost.VRING_ADDR, places, [])
        self._tell(vhost.VRING_CALL, struct.pack("=Q", index), [self._calls[index][1]])
        self._tell(vhost.VRING_KICK, struct.pack("=Q", index), [self._kicks[index]])

    def offer(self, index: int, parts: list[tuple[int, int]], flags: int) -> None:
        """Gives the device a chain of (address, length)."""
        rings = index * QUEUE
        head = 2 * (self._given[index] % (SIZE // 2))
        for number, (address, length) in enumerate(parts):
            last = number == len(parts) - 1
            struct.pack_into(
                "=QIHH",
                self._memory,
                rings + 16 * (head + number),
                address,
                length,
                flags | (0 if last else vhost.NEXT),
                head + number + 1,
            )
        slot = rings + 0x404 + 2 * (self._given[index] % SIZE)
        struct.pack_into("=H", self._memory, slot, head)
        self._given[index] += 1
        struct.pack_into("=H", self._memory, rings + 0x402, self._given[index])

    def listen(self, streams: vsock.Vsock, count: int = 1) -> None:
        """Offers buffers for that many packets, each a header and a buffer, as Linux 6.1 does."""
        for _ in range(count):
            place = BASE + PLACE + (self._given[vsock.RX] % (SIZE // 2)) * 2 * BUFFER
            self.offer(vsock.RX, [(place, vsock.HEAD.size), (place + BUFFER, BUFFER)], vhost.WRITE)
        streams.kicked(vsock.RX)

    def say(self, streams: vsock.Vsock, packet: Packet) -> None:
        """Sends a packet."""
        place = PLACE + 0x10000
        ports = packet.guest_port, packet.host_port
        fields = vsock.STREAM, packet.operation, packet.flags, packet.room, packet.forwarded
        vsock.HEAD.pack_into(self._memory, place, vsock.GUEST, vsock.HOST, *ports, len(packet.data), *fields)
        self._memory[place + BUFFER : place + BUFFER + len(packet.data)] = packet.data
        parts = [(BASE + place, vsock.HEAD.size)]
        if packet.data:
            parts.append((BASE + place + BUFFER, len(packet.data)))
        self.offer(vsock.TX, parts, 0)
        streams.kicked(vsock.TX)

    def heard(self) -> list[Packet]:
        """The packets that came since the last time."""
        rings = vsock.RX * QUEUE
        (used,) = struct.unpack_from("=H", self._memory, rings + 0x802)
        found = []
        while self._seen[vsock.RX] != used:
            slot = rings + 0x804 + 8 * (self._seen[vsock.RX] % SIZE)
            head, written = struct.unpack_from("=II", self._memory, slot)
            place = PLACE + head * BUFFER
            fields = vsock.HEAD.unpack_from(self._memory, place)
            assert fields[:2] == (vsock.HOST, vsock.GUEST)
            assert written == vsock.HEAD.size + fields[4]
            data = self._memory[place + BUFFER : place + BUFFER + fields[4]]
            found.append(Packet(fields[6], fields[3], fields[2], data, *fields[7:10]))
            self._seen[vsock.RX] += 1
        return found

    def interrupts(self, index: int) -> int:
        """How often the device has rung since the last time."""
        os.set_blocking(self._calls[index][0], False)
        try:
            return len(os.read(self._calls[index][0], 4096)) // 8
        except BlockingIOError:
            return 0
