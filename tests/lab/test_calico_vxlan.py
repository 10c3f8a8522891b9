"""calico's VXLAN, always and across subnets only, in both families and without BGP."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab import wire
from tests.lab.calico import altered, echo, ipv4, main_table, running, udp
from tests.lab.calico_tunnels import Tunnelled, check_a10_a_borrowed_address_has_a_route_of_its_own
from tests.lab.frames import ping
from tests.lab.pods import node_ip, pod

MODES = ["vxlan", "vxlan-crosssubnet"]


@pytest.fixture(scope="class", params=MODES)
def lab(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with running(request.param, "two-rack", Path(tmp_path_factory.mktemp("racks"))) as lab:
        yield lab


def mac(name: str) -> str:
    return "66:" + hashlib.sha1(name.encode()).digest()[:5].hex(":")


class TestVxlan(Tunnelled):
    device = {4: "vxlan.calico", 6: "vxlan-v6.calico"}
    overhead = {4: 50, 6: 70}
    outer = {4: ("UDP 4789", "VXLAN 4096"), 6: ("UDP 4789", "VXLAN 4096")}

    def forged(self, source: str, target: str, inner: bytes) -> bytes:
        ethernet = bytes.fromhex(mac("node1").replace(":", "")) + bytes.fromhex("02aabbccddee") + b"\x08\x00"
        vni = (4096).to_bytes(3, "big")
        return ipv4(source, target, 17, udp(4789, b"\x08\0\0\0" + vni + b"\0" + ethernet + inner))

    def wire_faults(self, frame: bytes) -> list[str]:
        return wire.vxlan(frame, 4096, 4789)

    @pytest.mark.case("A2", "F02")
    def test_a2_main_table(self, lab: Any) -> None:
        one, two = pod(lab, "node1", 0), pod(lab, "node1", 1)
        near = (
            "10.244.0.64/26 via 192.168.1.2 dev eth0 proto 80 onlink"
            if self.crosses_only(lab)
            else "10.244.0.64/26 via 10.244.0.64 dev vxlan.calico onlink mtu 1450"
        )
        assert main_table(lab, "node1") == sorted(
            [
                "default via 192.168.1.254 dev eth0",
                "blackhole 10.244.0.0/26 proto 80",
                f"{one.addresses[0]} dev <{one.name}> scope link metric 1024",
                f"{two.addresses[0]} dev <{two.name}> scope link metric 1024",
                near,
                "10.244.0.128/26 via 10.244.0.128 dev vxlan.calico onlink mtu 1450",
                "10.244.0.192/26 via 10.244.0.192 dev vxlan.calico onlink mtu 1450",
            ]
        )
        far = "fd00:10:244::80/122 via fd00:10:244::80 dev vxlan-v6.calico metric 1024 onlink mtu 1430"
        assert far in main_table(lab, "node1", 6)

    @pytest.mark.case("A3", "F02", "VX-11")
    def test_a3_device_neighbours_and_forwarding_entries(self, lab: Any) -> None:
        """One of each for each other node, whatever the mode; nothing is learned."""
        run = lab.namespaces.run
        for version, suffix in ((4, ""), (6, "-v6")):
            device = self.device[version]
            said = run("node1", ["ip", "-d", "link", "show", device]).stdout
            assert f"mtu {1500 - self.overhead[version]} " in said
            assert f"link/ether {mac('node1' + suffix)} " in said
            local = node_ip(lab, "node1", version)
            assert f"vxlan id 4096 local {local} dev eth0 srcport 0 0 dstport 4789 nolearning" in said
            others = ("node2", "node3", "node4")
            fdb = run("node1", ["bridge", "fdb", "show", "dev", device]).stdout.split("\n")
            assert {line.strip() for line in fdb if line} == {
                f"{mac(name + suffix)} dst {node_ip(lab, name, version)} self permanent" for name in others
            }
            neighbours = run("node1", ["ip", f"-{version}", "neigh", "show", "dev", device, "nud", "permanent"]).stdout
            assert {tuple(line.split()[:3]) for line in neighbours.splitlines()} == {
                (self.tunnel_address(lab, name, version), "lladdr", mac(name + suffix)) for name in others
            }

    def test_no_router_runs(self, lab: Any) -> None:
        assert lab.routers.pids == {}

    @pytest.mark.case("A12", "F05")
    def test_a12_a_node_that_goes_is_forgotten_and_not_let_in(self, lab: Any) -> None:
        """What has its address is a stranger from then on, until the node is back."""
        before, target = lab.spec.model_dump(mode="json"), pod(lab, "node1")
        inner = ipv4(pod(lab, "node3").addresses[0], target.addresses[0], 1, echo())
        from_node4 = self.forged("192.168.2.4", node_ip(lab, "node1"), inner)
        assert self._arrives(lab, "gw", from_node4, target.name)
        lab.change(altered("two-rack", nodes=before["nodes"][:-1]).model_dump_json(), "calico", lab.mode)
        run = lab.namespaces.run
        assert "192.168.2.4" not in run("node1", ["bridge", "fdb", "show"]).stdout
        assert "10.244.0.192" not in run("node1", ["ip", "neigh", "show"]).stdout
        assert not any("10.244.0.192" in line for line in main_table(lab, "node1"))
        assert not self._arrives(lab, "gw", from_node4, target.name)
        assert ping(lab, target.name, pod(lab, "node3").addresses[0])
        lab.change(altered("two-rack").model_dump_json(), "calico", lab.mode)
        assert self._arrives(lab, "gw", from_node4, target.name)
        assert ping(lab, target.name, pod(lab, "node4").addresses[0])


@pytest.mark.case("A10")
@pytest.mark.parametrize("mode", MODES)
def test_a10_a_borrowed_address_has_a_route_of_its_own(mode: str, tmp_path: Path) -> None:
    check_a10_a_borrowed_address_has_a_route_of_its_own(mode, TestVxlan.device, tmp_path)
