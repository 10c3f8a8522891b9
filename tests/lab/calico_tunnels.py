"""The acceptance checks of calico's encapsulated modes; the file of each kind of tunnel makes a class of them.

On two racks: node1 and node2 are in one subnet, node3 and node4 in another.
"""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wire
from tests.lab.calico import altered, echo, ipv4, main_table, running, send_raw
from tests.lab.documented import check_documented
from tests.lab.frames import captured, ends, having, ping
from tests.lab.pods import node_ip, of, pod, unreached

ECHO = {4: "ICMP 8", 6: "ICMP 128"}


class Tunnelled:
    """`lab` is a class-scoped fixture; `device` and `overhead` by family, `inner` the layer that shows the tunnel."""

    device: dict[int, str]
    overhead: dict[int, int]
    outer: dict[int, tuple[str, ...]]

    def families(self, lab: Any) -> list[int]:
        return [pool.family for pool in lab.cluster.pools]

    def crosses_only(self, lab: Any) -> bool:
        return str(lab.mode).endswith("crosssubnet")

    def tunnel_address(self, lab: Any, node: str, version: int) -> str:
        return next(
            block.cidr.partition("/")[0]
            for block in lab.cluster.blocks
            if block.node == node and (":" in block.cidr) == (version == 6)
        )

    def test_documented_paths(self, lab: Any) -> None:
        check_documented(lab)

    @pytest.mark.case("A4", "F01")
    def test_a4_everybody_reaches_everybody(self, lab: Any) -> None:
        for version in self.families(lab):
            assert unreached(lab, version) == []

    @pytest.mark.case("A5", "F03", "F09", "F22")
    def test_a5_who_is_seen_as_the_sender(self, lab: Any) -> None:
        """A pod as itself; a node by its tunnel address, even when it speaks with another one (masquerade); outside of
        every pool a pod by its node's address."""
        for version in self.families(lab):
            a, far, near = pod(lab, "node1"), pod(lab, "node3"), pod(lab, "node2")
            mine, tunnel = node_ip(lab, "node1", version), self.tunnel_address(lab, "node1", version)
            outside = of(lab.spec.client.addresses, version)
            cases = [
                (a.name, None, of(a.addresses, version), of(far.addresses, version), far.name),
                ("node1", None, tunnel, of(far.addresses, version), far.name),
                ("node1", mine, tunnel, of(far.addresses, version), far.name),
                (a.name, None, mine, outside, "client"),
                ("node1", None, mine if self.crosses_only(lab) else tunnel, of(near.addresses, version), near.name),
            ]
            for source, address, shown, target, place in cases:
                with captured(lab, place) as frames:
                    assert ping(lab, source, target, address=address), (source, address, target)
                assert having(frames, ends(shown, target), ECHO[version]), (source, address, target)

    @pytest.mark.case("A6", "F01", "F10", "VX-01", "VX-02", "VX-06", "VX-07", "VX-13")
    @pytest.mark.case("IP-01", "IP-02", "IP-03", "IP-06", "IP-09")
    def test_a6_encapsulated_where_the_mode_says(self, lab: Any) -> None:
        """Both ways, seen on the rack's switch: the node's addresses outside, the pods' inside, or nothing outside."""
        for version in self.families(lab):
            a, near, far = pod(lab, "node1"), pod(lab, "node2"), pod(lab, "node3")
            for other, tunnelled in ((near, not self.crosses_only(lab)), (far, True)):
                there, back = of(other.addresses, version), of(a.addresses, version)
                with captured(lab, "tor1", "tor2") as frames:
                    assert ping(lab, a.name, there)
                for source, target, here, peer in (
                    (back, there, "node1", other.node),
                    (there, back, other.node, "node1"),
                ):
                    outside = ends(node_ip(lab, here, version), node_ip(lab, peer, version))
                    seen = having(frames, ends(source, target))
                    assert seen and all((outside in one) == tunnelled for one in seen), (source, target)
                    if tunnelled:
                        assert having(frames, outside, *self.outer[version], ends(source, target))
                        hosts = (node_ip(lab, here, version), node_ip(lab, peer, version))
                        sent = [one for one in wire.between(frames, *hosts) if having([one], *self.outer[version])]
                        sent = [one for one in sent if one.device == here]  # no router has had it yet
                        assert wire.faults(sent, self.wire_faults) == []

    @pytest.mark.case("A7", "F11")
    def test_a7_a_pod_cannot_lie_about_its_address(self, lab: Any) -> None:
        a, far = pod(lab, "node1"), pod(lab, "node3")
        for source, arrives in ((a.addresses[0], True), (pod(lab, "node1", 1).addresses[0], False)):
            assert self._arrives(lab, a.name, ipv4(source, far.addresses[0], 1, echo()), far.name) == arrives

    @pytest.mark.case("A7", "F05", "F09")
    def test_a7_tunnel_packets_come_from_nodes_only(self, lab: Any) -> None:
        """The same packet from a node and from the router, which is none."""
        target = pod(lab, "node1")
        inner = ipv4(pod(lab, "node3").addresses[0], target.addresses[0], 1, echo())
        for sender, address, arrives in (("node2", node_ip(lab, "node2"), True), ("gw", "192.168.1.254", False)):
            assert (
                self._arrives(lab, sender, self.forged(address, node_ip(lab, "node1"), inner), target.name) == arrives
            )

    def forged(self, source: str, target: str, inner: bytes) -> bytes:
        """A tunnel packet with these outer addresses."""
        raise NotImplementedError

    def wire_faults(self, frame: bytes) -> list[str]:
        """What is wrong with a tunnel packet on the wire."""
        raise NotImplementedError

    def _arrives(self, lab: Any, sender: str, packet: bytes, at: str) -> bool:
        with captured(lab, at) as frames:
            send_raw(lab, sender, packet)
            target = next(one for one in lab.cluster.pods if one.name == at)
            assert ping(
                lab, pod(lab, "node2").name, target.addresses[0]
            )  # what was sent before is there by now, or lost
        return any(b"podpath!" in frame.raw and not frame.outgoing for frame in frames)

    @pytest.mark.case("A9", "F08", "VX-08", "IP-04")
    def test_a9_the_largest_packet_passes_and_no_larger(self, lab: Any) -> None:
        room = 1500 - max(self.overhead[version] for version in self.families(lab))
        for version in self.families(lab):
            a, far = pod(lab, "node1"), of(pod(lab, "node3").addresses, version)
            payload = room - (28 if version == 4 else 48)
            assert ping(lab, a.name, far, size=payload, whole=True)
            with pytest.raises(OSError) as refused:
                ping(lab, a.name, far, size=payload + 1, whole=True)
            assert refused.value.errno == errno.EMSGSIZE


def check_a10_a_borrowed_address_has_a_route_of_its_own(mode: str, device: dict[int, str], folder: Path) -> None:
    """Of node1's block, on node2: all nodes know, node1 too."""
    borrowed = {4: "10.244.0.20", 6: "fd00:10:244::14"}
    guest = {"name": "guest", "node": "node2", "addresses": list(borrowed.values())}
    with running(mode, altered("one-switch", pods=[guest]), folder) as lab:
        for version in device:
            line = next(one for one in main_table(lab, "node1", version) if one.startswith(f"{borrowed[version]} via"))
            assert f"dev {'eth0' if mode.endswith('crosssubnet') else device[version]} " in line
            assert ping(lab, pod(lab, "node1").name, borrowed[version])
