"""Probes tell their own packets apart; sizes that cannot be; what they say when a kernel refuses."""

from __future__ import annotations

import errno

import pytest

from kernel.errors import BadInput
from paths.decode import decode
from paths.observe import sightings
from paths.probes import PROBES, Icmp, Tcp, Udp
from tests.unit.paths.recorded import NAMES, observation

ENDS = ("10.0.0.1", "10.0.0.2")


@pytest.mark.parametrize("name", NAMES)
def test_recorded_frames_are_the_probe_its_answer_or_an_error(name: str) -> None:
    seen = observation(name)
    parts = sightings(seen.frames, seen.probe).parts
    assert parts["probe"]
    assert bool(parts["answer"]) == (seen.rtt_us is not None) or name == "hybridnet-vxlan-fragments"
    for part, found in parts.items():
        for one in found:
            ends = (one.packet.inner.src, one.packet.inner.dst) if one.packet.inner else ()
            there = (seen.probe.source, seen.probe.target)
            assert ends == {"probe": there, "answer": there[::-1]}.get(part, ends)


@pytest.mark.parametrize("name", NAMES)
def test_they_are_nothing_to_another_probe(name: str) -> None:
    other = PROBES[observation(name).probe.kind](ENDS)
    assert not any(sightings(observation(name).frames, other).parts.values())


def test_a_second_syn_is_another_packet() -> None:
    seen = observation("hybridnet-vxlan-tcp")
    probe = seen.probe
    assert isinstance(probe, Tcp)
    first = next(frame for frame in seen.frames if probe.ours(decode(frame.raw), frame.raw) == "probe")
    changed = bytearray(first.raw)
    changed[14 + 20 + 4] ^= 0xFF  # of the sequence number
    assert probe.ours(decode(bytes(changed)), bytes(changed)) is None


@pytest.mark.parametrize("kind", [Icmp, Udp])
def test_a_probe_too_small_to_be_told_apart(kind: type[Icmp] | type[Udp]) -> None:
    with pytest.raises(BadInput, match="a probe needs at least 16 bytes"):
        kind(ENDS, 15)
    assert len(kind(ENDS, 16).payload) == 16


def test_a_syn_has_no_payload() -> None:
    with pytest.raises(BadInput, match="a SYN, which carries no payload"):
        Tcp(ENDS, 1000)


def test_another_one_like_it_has_another_token() -> None:
    probe = Icmp(ENDS, 100)
    again = probe.again()
    assert (again.source, again.target, again.size) == (*ENDS, 100) and again.token != probe.token


def test_what_the_kernel_refuses_is_said_in_its_words() -> None:
    probe = Udp(ENDS)
    probe.refuse(errno.EMSGSIZE)
    assert (probe.refused, probe.error) == (errno.EMSGSIZE, "Message too long")
