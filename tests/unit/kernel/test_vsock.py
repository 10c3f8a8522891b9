"""Streams to a guest: flow control, half-close, refusals; against a guest that follows virtio 1.2."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from kernel import vhost, vsock
from kernel.vsock import DATA, REQUEST, RESET, RESPONSE, SHUTDOWN, Stream, Vsock
from tests.unit.kernel.guest_device import BASE, Guest, Packet

WANTED = 4
"""The port of the machine that takes connections."""


class Wired:
    """A guest, its streams, and what was said of them."""

    def __init__(self) -> None:
        self.guest = Guest()
        self.changed: list[Stream] = []
        self.streams = Vsock(self.guest.device, lambda stream: stream.host_port == WANTED, self.changed.append)

    def say(self, *fields: Any, **more: Any) -> None:
        self.guest.say(self.streams, Packet(*fields, **more))

    def connected(self) -> Stream:
        """A stream that the machine opened and the guest accepted."""
        self.guest.listen(self.streams)
        stream = self.streams.connect(1)
        (asked,) = self.guest.heard()
        assert asked.operation == REQUEST
        self.say(RESPONSE, 1, asked.host_port)
        assert stream.open
        return stream


@pytest.fixture
def wired() -> Wired:
    return Wired()


def test_the_guest_is_told_its_address(wired: Wired) -> None:
    features = struct.unpack("=Q", wired.guest.ask(vhost.GET_FEATURES))[0]
    assert features == 1 << 32 | 1 << 30
    answer = wired.guest.ask(vhost.GET_CONFIG, struct.pack("=III", 0, 8, 0) + bytes(8))
    assert answer == struct.pack("=IIIQ", 0, 8, 0, 3)


@pytest.mark.parametrize(("port", "answer"), [(WANTED, RESPONSE), (WANTED + 1, RESET)])
def test_connections_of_the_guest(wired: Wired, port: int, answer: int) -> None:
    wired.guest.listen(wired.streams, 2)
    wired.say(REQUEST, 77, port)
    (said,) = wired.guest.heard()
    assert (said.operation, said.guest_port, said.host_port) == (answer, 77, port)
    assert wired.guest.interrupts(vsock.RX) == 1


def test_data_arrives_whole_and_in_order(wired: Wired) -> None:
    stream = wired.connected()
    for part in (b"one ", b"two ", bytes(range(256))):
        wired.say(DATA, 1, stream.host_port, part)
    assert b"".join(stream.arrived) == b"one two " + bytes(range(256))
    assert wired.changed[-1] is stream
    assert wired.guest.interrupts(vsock.TX) == 4


def test_data_fills_several_buffers_and_waits_for_them(wired: Wired) -> None:
    stream, sent = wired.connected(), bytes(range(250)) * 40
    wired.guest.listen(wired.streams)
    wired.streams.send(stream, sent)
    assert wired.streams.congested
    wired.guest.listen(wired.streams, 2)
    assert not wired.streams.congested
    parts = [packet.data for packet in wired.guest.heard()]
    assert [len(part) for part in parts] == [4096, 4096, len(sent) - 8192]
    assert b"".join(parts) == sent


def test_credit_is_what_the_guest_has_room_for(wired: Wired) -> None:
    stream = wired.connected()
    wired.guest.listen(wired.streams, 2)
    wired.say(DATA, 1, stream.host_port, b"x", room=6000, forwarded=0)
    wired.streams.send(stream, bytes(5000))
    assert stream.credit == 1000
    wired.say(vsock.CREDIT, 1, stream.host_port, room=6000, forwarded=5000)
    assert stream.credit == 6000


def test_the_guest_hears_of_room_before_it_has_none(wired: Wired) -> None:
    stream = wired.connected()
    wired.guest.listen(wired.streams, 2)
    stream.took(vsock.ROOM // 4 - 1)
    wired.streams.settle(stream)
    assert wired.guest.heard() == []
    stream.took(1)
    wired.streams.settle(stream)
    (said,) = wired.guest.heard()
    assert (said.operation, said.forwarded, said.room) == (vsock.CREDIT, vsock.ROOM // 4, vsock.ROOM)


def test_half_close_then_close(wired: Wired) -> None:
    stream = wired.connected()
    wired.guest.listen(wired.streams, 3)
    wired.streams.shutdown(stream, both=False)
    wired.say(SHUTDOWN, 1, stream.host_port, flags=vsock.NO_MORE_SENT)
    assert (stream.ended, stream.gone) == (True, False)
    wired.say(SHUTDOWN, 1, stream.host_port, flags=vsock.NO_MORE_SENT | vsock.NO_MORE_RECEIVED)
    assert stream.gone
    assert [(said.operation, said.flags) for said in wired.guest.heard()] == [
        (SHUTDOWN, vsock.NO_MORE_SENT),
        (RESET, 0),
    ]


def test_a_refused_connection_is_gone(wired: Wired) -> None:
    wired.guest.listen(wired.streams)
    stream = wired.streams.connect(1)
    wired.say(RESET, 1, stream.host_port)
    assert (stream.open, stream.gone) == (False, True)
    assert wired.changed == [stream]


def test_memory_that_the_guest_has_not(wired: Wired) -> None:
    wired.guest.offer(vsock.TX, [(BASE - 64, 64)], 0)
    with pytest.raises(ValueError, match="memory that it has not"):
        wired.streams.kicked(vsock.TX)
