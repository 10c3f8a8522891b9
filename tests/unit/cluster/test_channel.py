"""The control channel: lines, then frames, over a real socket pair."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cluster.channel import EXIT, HEAD, NUMBER, STDIN, STDOUT, Channel, Closed, error_message, raised
from kernel.errors import BadInput, NotConverged, PodpathError


@pytest.fixture
def pair() -> Iterator[tuple[Channel, Channel]]:
    left, right = socket.socketpair()
    yield Channel(left), Channel(right)
    left.close()
    right.close()


def test_a_line_goes_across(pair: tuple[Channel, Channel]) -> None:
    pair[0].send({"request": "inspect", "netns": "knöten"})
    assert pair[1].receive() == {"request": "inspect", "netns": "knöten"}


def test_frames_may_follow_a_line_at_once(pair: tuple[Channel, Channel]) -> None:
    pair[0].send({"started": True})
    pair[0].send_frame(STDOUT, b"hello")
    pair[0].send_frame(EXIT, NUMBER.pack(-9))
    assert pair[1].receive() == {"started": True}
    assert list(pair[1].frames()) == [(STDOUT, b"hello"), (EXIT, NUMBER.pack(-9))]


def test_a_frame_in_pieces_is_waited_for(pair: tuple[Channel, Channel]) -> None:
    whole = HEAD.pack(STDIN, 4) + b"abcd"
    pair[0].sock.sendall(whole[:6])
    assert list(pair[1].frames()) == []
    pair[0].sock.sendall(whole[6:])
    assert list(pair[1].frames()) == [(STDIN, b"abcd")]


def test_the_end_is_closed(pair: tuple[Channel, Channel]) -> None:
    pair[0].close()
    with pytest.raises(Closed):
        pair[1].receive()
    with pytest.raises(Closed):
        list(pair[1].frames())


@pytest.mark.parametrize("kind", [BadInput, NotConverged, PodpathError])
def test_an_error_keeps_its_kind_and_its_words(kind: type[PodpathError]) -> None:
    back = raised(error_message(kind("no such pod", where="trace", remedy="see inspect")))
    assert type(back) is kind
    assert str(back) == "trace: no such pod\n  -> see inspect"


@given(st.lists(st.tuples(st.sampled_from([STDIN, STDOUT]), st.binary(max_size=300)), max_size=20), st.integers(1, 50))
def test_frames_survive_any_cutting(frames: list[tuple[bytes, bytes]], step: int) -> None:
    left, right = socket.socketpair()
    with left, right:
        stream = b"".join(HEAD.pack(kind, len(data)) + data for kind, data in frames)
        channel, seen = Channel(right), []
        for start in range(0, len(stream), step):
            left.sendall(stream[start : start + step])
            seen += list(channel.frames())
        assert seen == frames
