"""Streams between the machine and the embedded kernel: the device's side of virtio-vsock (virtio 1.2, section 5.10).

In the guest they are sockets of the family AF_VSOCK (vsock(7)), with flow control and half-close, made by its
own kernel; nothing of ours runs there. Here each stream ends in a descriptor of the machine.
"""

from __future__ import annotations

import struct
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from kernel.vhost import Chain, Device, Queue

HOST, GUEST = 2, 3
"""Addresses (CIDs): VMADDR_CID_HOST, and the first that a guest may have."""
HEAD = struct.Struct("=QQIIIHHIII")
STREAM = 1
REQUEST, RESPONSE, RESET, SHUTDOWN, DATA, CREDIT, CREDIT_REQUEST = range(1, 8)
"""Operations: connect, accept, and so on."""
NO_MORE_RECEIVED, NO_MORE_SENT = 1, 2
"""What a SHUTDOWN tells: its sender will not receive, will not send any more."""
CONFIG = struct.pack("=Q", GUEST)
RX, TX, EVENT = range(3)
ROOM = 1 << 18
"""Bytes that we are ready to hold for the descriptor of one stream; the guest's kernel has as many by default."""
CHUNK = 1 << 16


@dataclass
class Stream:
    """One connection. `arrived` holds what the descriptor behind it has not taken yet."""

    guest_port: int
    host_port: int
    open: bool = False
    """The guest has accepted."""
    arrived: deque[memoryview] = field(default_factory=deque)
    ended: bool = False
    """The guest sends no more."""
    gone: bool = False
    """The guest has closed its end."""
    held: int = 0
    forwarded: int = 0
    told: int = 0
    sent: int = 0
    peer_room: int = 0
    peer_forwarded: int = 0

    @property
    def credit(self) -> int:
        """Bytes that the guest has room for."""
        return self.peer_room - ((self.sent - self.peer_forwarded) & 0xFFFFFFFF) if self.open else 0

    def took(self, count: int) -> None:
        """The descriptor took `count` bytes of `arrived`."""
        self.held -= count
        self.forwarded = (self.forwarded + count) & 0xFFFFFFFF


@dataclass(frozen=True)
class _Packet:
    stream: Stream
    operation: int
    flags: int = 0
    data: memoryview = memoryview(b"")


class Vsock:
    """All streams of one guest. `accept(stream)` says whether a connection from the guest is wanted; `changed(stream)`
    is called whenever something about a stream changed."""

    def __init__(self, device: Device, accept: Callable[[Stream], bool], changed: Callable[[Stream], None]) -> None:
        self._device = device
        self._accept = accept
        self._changed = changed
        self._streams: dict[tuple[int, int], Stream] = {}
        self._waiting: deque[_Packet] = deque()
        self._next_port = 1 << 20

    def connect(self, port: int) -> Stream:
        """A stream to a port of the guest; `open` once the guest has accepted, `gone` when it refuses."""
        self._next_port += 1
        stream = self._streams[port, self._next_port] = Stream(port, self._next_port)
        self._send(_Packet(stream, REQUEST))
        return stream

    @property
    def congested(self) -> bool:
        """The guest has no buffers for what waits already: read no more from the descriptors."""
        return bool(self._waiting)

    def send(self, stream: Stream, data: bytes) -> None:
        """Data for the guest; no more than `stream.credit`."""
        stream.sent = (stream.sent + len(data)) & 0xFFFFFFFF
        self._send(_Packet(stream, DATA, 0, memoryview(data)))

    def shutdown(self, stream: Stream, *, both: bool) -> None:
        """We send no more; with `both` we take no more either."""
        if not stream.gone:
            self._send(_Packet(stream, SHUTDOWN, NO_MORE_SENT | (NO_MORE_RECEIVED if both else 0)))

    def settle(self, stream: Stream) -> None:
        """Tells the guest about room that has become free, before it has to wait for it."""
        used = (stream.forwarded - stream.told) & 0xFFFFFFFF
        if used >= ROOM // 4 and not stream.gone:
            self._send(_Packet(stream, CREDIT))

    def kicked(self, index: int) -> None:
        """The guest rang the bell of queue `index`."""
        queue = self._device.queues[index]
        queue.quiet()
        if index == TX:
            self._receive(queue)
        elif index == RX:
            self._flush()

    def _receive(self, queue: Queue) -> None:
        touched: dict[int, Stream] = {}
        while queue.waiting():
            chain = queue.take()
            if stream := self._take(b"".join(chain.parts)):
                touched[id(stream)] = stream
            queue.give(chain, 0)
        queue.ring()
        for stream in touched.values():
            self._changed(stream)

    def _take(self, packet: bytes) -> Stream | None:
        """One packet of the guest; returns the stream that it belongs to."""
        _, _, guest_port, host_port, length, _, operation, flags, room, forwarded = HEAD.unpack_from(packet)
        stream = self._streams.get((guest_port, host_port))
        if stream is None:
            stream = self._unknown(guest_port, host_port, operation)
            if stream is None:
                return None
        stream.peer_room, stream.peer_forwarded = room, forwarded
        if operation == RESPONSE:
            stream.open = True
        elif operation == DATA:
            stream.arrived.append(memoryview(packet)[HEAD.size : HEAD.size + length])
            stream.held += length
        elif operation == SHUTDOWN:
            self._guest_shuts(stream, flags)
        elif operation == RESET:
            self._forget(stream)
        elif operation == CREDIT_REQUEST:
            self._send(_Packet(stream, CREDIT))
        return stream

    def _unknown(self, guest_port: int, host_port: int, operation: int) -> Stream | None:
        stream = Stream(guest_port, host_port)
        if operation == REQUEST and self._accept(stream):
            stream.open = True
            self._streams[guest_port, host_port] = stream
            self._send(_Packet(stream, RESPONSE))
            return stream
        if operation != RESET:
            self._send(_Packet(stream, RESET))
        return None

    def _guest_shuts(self, stream: Stream, flags: int) -> None:
        stream.ended = stream.ended or bool(flags & NO_MORE_SENT)
        if flags & NO_MORE_SENT and flags & NO_MORE_RECEIVED:
            self._send(_Packet(stream, RESET))  # the guest's close(2) waits for it
            self._forget(stream)

    def _forget(self, stream: Stream) -> None:
        stream.open, stream.ended, stream.gone = False, True, True
        self._streams.pop((stream.guest_port, stream.host_port), None)

    def _send(self, packet: _Packet) -> None:
        self._waiting.append(packet)
        self._flush()

    def _flush(self) -> None:
        """Packets that wait go out while the guest has buffers for them; data fills several, if need be."""
        queue = self._device.queues[RX]
        rang = False
        while self._waiting and queue.waiting():
            packet = self._waiting.popleft()
            chain = queue.take()
            rest = self._fill(queue, chain, packet)
            if rest:
                self._waiting.appendleft(_Packet(packet.stream, packet.operation, packet.flags, rest))
            rang = True
        if rang:
            queue.ring()

    def _fill(self, queue: Queue, chain: Chain, packet: _Packet) -> memoryview:
        """Puts a packet, or the start of its data, into one chain; returns the data that did not fit."""
        stream = packet.stream
        head, *places = chain.parts
        if len(head) > HEAD.size:
            places.insert(0, head[HEAD.size :])
        done = 0
        for place in places:
            part = packet.data[done : done + len(place)]
            place[: len(part)] = part
            done += len(part)
        stream.told = stream.forwarded
        fields = (STREAM, packet.operation, packet.flags, ROOM, stream.forwarded)
        HEAD.pack_into(head, 0, HOST, GUEST, stream.host_port, stream.guest_port, done, *fields)
        queue.give(chain, HEAD.size + done)
        return packet.data[done:]
