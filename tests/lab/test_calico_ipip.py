"""calico's IPIP, always and across subnets only. Only the embedded kernel has tunl0."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kernel.errors import BadInput
from tests.lab import wire
from tests.lab.calico import ipv4, main_table, running, sessions
from tests.lab.calico_tunnels import Tunnelled, check_a10_a_borrowed_address_has_a_route_of_its_own
from tests.lab.pods import pod

MODES = ["ipip", "ipip-crosssubnet"]


@pytest.fixture(scope="class", params=MODES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running(request.param, "two-rack", Path(tmp_path_factory.mktemp("racks"))) as lab:
        yield lab


@pytest.mark.only("embedded")
class TestIpip(Tunnelled):
    device = {4: "tunl0"}
    overhead = {4: 20}
    outer = {4: ("IPIP",)}

    def forged(self, source: str, target: str, inner: bytes) -> bytes:
        return ipv4(source, target, 4, inner)

    def wire_faults(self, frame: bytes) -> list[str]:
        return wire.ipip(frame)

    @pytest.mark.case("A2")
    def test_a2_main_table(self, lab: Any) -> None:
        """Nothing by BGP: felix programs the routes, and zebra keeps those of the pools out."""
        one, two = pod(lab, "node1", 0), pod(lab, "node1", 1)
        near = "eth0 proto 80 onlink" if self.crosses_only(lab) else "tunl0 proto 80 onlink mtu 1480"
        assert main_table(lab, "node1") == sorted(
            [
                "default via 192.168.1.254 dev eth0",
                "blackhole 10.244.0.0/26 proto 80",
                f"{one.addresses[0]} dev <{one.name}> scope link metric 1024",
                f"{two.addresses[0]} dev <{two.name}> scope link metric 1024",
                f"10.244.0.64/26 via 192.168.1.2 dev {near}",
                "10.244.0.128/26 via 192.168.2.3 dev tunl0 proto 80 onlink mtu 1480",
                "10.244.0.192/26 via 192.168.2.4 dev tunl0 proto 80 onlink mtu 1480",
            ]
        )

    @pytest.mark.case("A3")
    def test_a3_device(self, lab: Any) -> None:
        said = lab.namespaces.run("node1", ["ip", "-d", "addr", "show", "tunl0"]).stdout
        assert "mtu 1480 " in said and "ipip remote any local any" in said
        assert "inet 10.244.0.0/32 scope global tunl0" in said

    def test_blocks_are_announced_to_the_router_all_the_same(self, lab: Any) -> None:
        found = lab.routers.show("gw", "show bgp ipv4 unicast json")["routes"]
        assert set(found) == {block.cidr for block in lab.cluster.blocks}
        assert set(sessions(lab, "gw").values()) == {"Established"}
        learned = [line for line in main_table(lab, "gw") if "proto bgp" in line]
        assert len(learned) == len(lab.cluster.nodes)
        assert not any("proto bgp" in line for node in lab.cluster.nodes for line in main_table(lab, node.name))

    def test_pods_have_no_ipv6(self, lab: Any) -> None:
        assert any("tunnel" in note and "IPv6" in note for note in lab.wanted.notes)
        assert all(":" not in address for pod in lab.cluster.pods for address in pod.addresses)
        with pytest.raises(BadInput, match="pod 'pod1' has no IPv6 address in calico ipip.*: an IPIP tunnel"):
            lab.must_carry(6, "pod1", "pod3")
        lab.must_carry(6, "node1", "node2")
        lab.must_carry(4, "pod1", "pod3")


@pytest.mark.case("A10")
@pytest.mark.only("embedded")
@pytest.mark.parametrize("mode", MODES)
def test_a10_a_borrowed_address_has_a_route_of_its_own(mode: str, tmp_path: Path) -> None:
    check_a10_a_borrowed_address_has_a_route_of_its_own(mode, TestIpip.device, tmp_path)
