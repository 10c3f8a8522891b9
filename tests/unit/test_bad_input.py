"""Every mistake a user can make: one message (where, what, what to do), exit status 2, nothing built.

The exact messages are the files of tests/golden/errors; `pytest --update-golden` writes them anew.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from console.parser import USAGE_STATUS, run
from kernel import places
from plugins import registry

LAB = """\
name: small
pools:
  - {cidr: 10.244.0.0/16, block: 26}
  - {cidr: "fd00:10:244::/64", block: 122}
switches:
  - name: s1
  - name: s2
links:
  - ends: [s1, s2]
nodes:
  - {name: node1, switch: s1, addresses: [192.168.1.1/24, "fd00:192:168:1::1/64"]}
  - {name: node2, switch: s2, addresses: [192.168.1.2/24, "fd00:192:168:1::2/64"]}
pods_per_node: 2
router:
  ports:
    - {switch: s1, addresses: [192.168.1.254/24]}
"""
FILE = "lab.yaml"
NODE1 = '{name: node1, switch: s1, addresses: [192.168.1.1/24, "fd00:192:168:1::1/64"]}'
UP = ("up", "-f", FILE)


@dataclass(frozen=True)
class Case:
    """`edits` are made in LAB; `text` replaces it; `arrange` prepares the folder in another way."""

    argv: tuple[str, ...] = UP
    edits: dict[str, str] = field(default_factory=dict)
    text: str | bytes | None = None
    arrange: Callable[[Path], object] | None = None

    def prepare(self, folder: Path) -> None:
        """Writes the topology file that the case is about."""
        text = LAB if self.text is None else self.text
        for old, new in self.edits.items():
            assert isinstance(text, str) and text.count(old) == 1, f"{old!r} is not once in the file"
            text = text.replace(old, new)
        (folder / FILE).write_bytes(text if isinstance(text, bytes) else text.encode())
        if self.arrange:
            self.arrange(folder)


def edited(old: str, new: str, *argv: str) -> Case:
    return Case(argv or UP, {old: new})


def node(**changed: str) -> Case:
    """node1 with other values."""
    own = {"name": "node1", "switch": "s1", "addresses": '[192.168.1.1/24, "fd00:192:168:1::1/64"]'} | changed
    return Case(edits={NODE1: "{" + ", ".join(f"{key}: {value}" for key, value in own.items()) + "}"})


def directory(folder: Path) -> None:
    (folder / FILE).unlink()
    (folder / FILE).mkdir()


def point(folder: Path, target: str) -> None:
    (folder / FILE).unlink()
    (folder / FILE).symlink_to(target)


def loop(folder: Path) -> None:
    point(folder, FILE)


FILES = {
    "file-missing": Case(("up", "-f", "nowhere.yaml")),
    "file-is-a-folder": Case(arrange=directory),
    "file-empty": Case(text=""),
    "file-binary": Case(text=b"\x7fELF\x02\x01\x01\x00\xff\xfe\x00"),
    "file-with-control-characters": Case(text="name: a\x00b\n"),
    "file-huge": Case(text="# " + "x" * (5 << 20) + "\n"),
    "file-is-a-loop-of-links": Case(arrange=loop),
    "file-endless": Case(arrange=lambda folder: point(folder, "/dev/zero")),
    "yaml-tab": edited("  - name: s2", "\t- name: s2"),
    "yaml-unclosed": edited("[s1, s2]", "[s1, s2"),
    "yaml-two-documents": Case(text=LAB + "---\n" + LAB),
    "yaml-unknown-anchor": edited("pods_per_node: 2", "pods_per_node: *two"),
    "yaml-python-object": edited("pods_per_node: 2", "pods_per_node: !!python/object/apply:os.getcwd []"),
    "yaml-anchors-that-explode": Case(
        text="a: &a [x, x, x, x, x, x, x, x, x]\n"
        + "".join(f"{b}: &{b} [{', '.join([f'*{a}'] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True))
    ),
    "yaml-deep": Case(text="[" * 60 + "]" * 60),
    "yaml-self-reference": edited("links:", "links: &links [*links]\nignored:"),
    "yaml-key-is-a-list": edited("pods_per_node: 2", "? [a, b]\n: 2"),
    "yaml-a-list": Case(text="- node1\n- node2\n"),
    "yaml-a-word": Case(text="hybridnet\n"),
    "key-twice": edited("pods_per_node: 2", "pods_per_node: 2\npods_per_node: 3"),
    "key-unknown": edited("pods_per_node", "pods_per_nodes"),
    "key-unknown-and-so-missing": edited("switches:", "swiches:"),
    "key-unknown-inside": node(adresses="[10.0.0.1/24]"),
    "key-missing": edited("name: small\n", ""),
    "key-missing-inside": edited("switch: s2, ", ""),
    "type-number-for-list": edited("links:\n  - ends: [s1, s2]", "links: 7"),
    "type-text-for-number": edited("pods_per_node: 2", "pods_per_node: many"),
    "type-list-for-text": edited("name: small", "name: [small]"),
    "type-null": edited("switches:\n  - name: s1\n  - name: s2", "switches:"),
    "nodes-none": Case(edits={LAB[LAB.index("nodes:") : LAB.index("pods_per_node")]: "nodes: []\n"}),
    "pods-negative": edited("pods_per_node: 2", "pods_per_node: -1"),
}

NAMES = {
    "node-twice": edited("name: node2", "name: node1"),
    "pod-named-as-node": edited("pods_per_node: 2", "pods:\n  - {name: node1, node: node1}"),
    "name-too-long": edited("name: node1", "name: node-number-one-of-us"),
    "name-of-router-too-long": edited("router:\n", "router:\n  name: gateway-of-all\n"),
    "name-with-capitals": edited("name: node1", "name: Node_1"),
    "name-empty": edited("name: small", 'name: ""'),
    "link-to-nobody": edited("[s1, s2]", "[s1, s3]"),
    "link-to-itself": edited("[s1, s2]", "[s1, s1]"),
    "link-with-one-end": edited("[s1, s2]", "[s1]"),
    "link-twice": edited("  - ends: [s1, s2]", "  - ends: [s1, s2]\n  - ends: [s2, s1]"),
    "switches-in-a-loop": Case(
        edits={
            "  - name: s2\n": "  - name: s2\n  - name: s3\n",
            "  - ends: [s1, s2]": "  - ends: [s1, s2]\n  - ends: [s2, s3]\n  - ends: [s3, s1]",
        }
    ),
    "node-on-no-switch": edited("switch: s2", "switch: s9"),
    "pod-on-no-node": edited("pods_per_node: 2", "pods:\n  - {name: web, node: node9}"),
}

ADDRESSES = {
    "vlan-0": node(vlan="0"),
    "vlan-4095": node(vlan="4095"),
    "vlan-in-trunk-4095": node(trunk="[10, 4095]"),
    "mtu-below-1280-with-ipv6": node(mtu="1279"),
    "mtu-below-68": node(mtu="60"),
    "mac-wrong": node(mac="02-00-00-00-00-01"),
    "mac-of-a-group": node(mac="'03:00:00:00:00:01'"),
    "mac-twice": Case(
        edits={
            "{name: node1": "{mac: '02:00:00:00:00:01', name: node1",
            "{name: node2": "{mac: '02:00:00:00:00:01', name: node2",
        }
    ),
    "address-twice": edited("192.168.1.2/24", "192.168.1.1/24"),
    "address-twice-with-router": edited("192.168.1.254/24", "192.168.1.2/24"),
    "address-without-length": edited("192.168.1.2/24", "192.168.1.2"),
    "address-nonsense": edited("192.168.1.2/24", "192.168.1.300/24"),
    "address-of-network": edited("192.168.1.2/24", "192.168.1.0/24"),
    "address-of-broadcast": edited("192.168.1.2/24", "192.168.1.255/24"),
    "address-of-multicast": edited("192.168.1.2/24", "224.0.0.9/24"),
    "address-of-loopback": edited("192.168.1.2/24", "127.0.0.1/24"),
    "address-none": edited('[192.168.1.2/24, "fd00:192:168:1::2/64"]', "[]"),
    "gateway-in-no-subnet": node(gateway="[10.9.9.9]"),
    "gateway-is-the-node": node(gateway="[192.168.1.1]"),
    "gateway-twice": node(gateway="[192.168.1.254, 192.168.1.253]"),
    "tor-without-router": Case(
        edits={
            LAB[LAB.index("router:") :]: "tors: [{name: tor1, ports: [{switch: s1, addresses: [192.168.1.254/24]}]}]\n",
        }
    ),
    "tor-in-no-subnet-of-the-router": edited(
        "router:\n", "tors: [{name: tor1, ports: [{switch: s2, addresses: [10.9.9.1/24]}]}]\nrouter:\n"
    ),
    "client-without-router": Case(
        edits={
            LAB[LAB.index("router:") :]: "client: {addresses: [203.0.113.10/24], router: [203.0.113.1/24]}\n",
        }
    ),
    "client-in-another-subnet": edited(
        "router:\n", "client: {addresses: [203.0.113.10/24], router: [198.51.100.1/24]}\nrouter:\n"
    ),
    "pools-overlap": edited("block: 26}", "block: 26}\n  - {cidr: 10.244.128.0/17, block: 26}"),
    "pool-overlaps-nodes": edited("10.244.0.0/16", "192.168.0.0/16"),
    "pool-too-small": edited("{cidr: 10.244.0.0/16, block: 26}", "{cidr: 10.244.0.0/26, block: 26}"),
    "pool-smaller-than-block": edited("{cidr: 10.244.0.0/16, block: 26}", "{cidr: 10.244.0.0/28, block: 26}"),
    "pool-too-small-for-pods": Case(edits={"10.244.0.0/16": "10.244.0.0/24", "pods_per_node: 2": "pods_per_node: 200"}),
    "pool-with-host-bits": edited("10.244.0.0/16", "10.244.0.1/16"),
    "pool-none": Case(edits={LAB[LAB.index("pools:") : LAB.index("switches:")]: "pools: []\n"}),
    "pools-of-one-family": edited("block: 26}", "block: 26}\n  - {cidr: 10.245.0.0/16, block: 26}"),
    "pod-address-in-no-pool": edited("pods_per_node: 2", "pods:\n  - {name: web, node: node1, addresses: [10.9.9.9]}"),
    "pod-address-twice": edited(
        "pods_per_node: 2",
        "pods:\n  - {name: web, node: node1, addresses: [10.244.0.9]}\n"
        "  - {name: db, node: node1, addresses: [10.244.0.9]}",
    ),
    "bandwidth-wrong": node(link="{bandwidth: fast}"),
    "bandwidth-zero": node(link="{bandwidth: 0 Mbit}"),
    "delay-wrong": node(link="{delay: 5 minutes}"),
    "loss-above-100": node(link="{loss: 101%}"),
    "asn-0": edited("router:\n", "router:\n  asn: 0\n"),
}

OPTIONS = {
    "command-unknown": Case(("trase", "pod1", "pod3")),
    "command-after-options": Case(("--plugin", "calico", "trace", "pod1", "pod3")),
    "option-unknown": Case(("up", "--plugn", "calico")),
    "option-without-value": Case(("up", "--plugin")),
    "file-and-preset": Case(("up", "-f", FILE, "--preset", "two-rack")),
    "plugin-unknown": Case(("up", "--plugin", "calcio")),
    "plugin-unknown-in-file": edited("name: small", "name: small\nplugin: hybrid"),
    "mode-unknown": Case(("up", "--plugin", "hybridnet", "--mode", "vxlam")),
    "mode-of-another-plugin": Case(("up", "--plugin", "hybridnet", "--mode", "ipip")),
    "mode-without-plugin": Case(("up", "--mode", "ipip")),
    "preset-unknown": Case(("up", "--preset", "two-racks")),
    "kernel-unknown": Case(("up", "--kernel", "usr")),
    "kernel-unknown-bench": Case(("bench", "--kernel", "usr")),
    "lab-name-with-slash": Case(("up", "--name", "a/b")),
    "lab-name-too-long": Case(("up", "--name", "a" * 65)),
    "format-unknown": Case(("export", "--format", "iproute")),
    "trace-without-target": Case(("trace", "pod1")),
    "trace-timeout-negative": Case(("trace", "pod1", "pod3", "--timeout", "-1")),
    "trace-timeout-zero": Case(("trace", "pod1", "pod3", "--timeout", "0")),
    "trace-timeout-endless": Case(("trace", "pod1", "pod3", "--timeout", "inf")),
    "trace-timeout-a-word": Case(("trace", "pod1", "pod3", "--timeout", "soon")),
    "trace-size-negative": Case(("trace", "pod1", "pod3", "--size", "-5")),
    "trace-size-a-word": Case(("trace", "pod1", "pod3", "--size", "big")),
    "trace-probe-unknown": Case(("trace", "pod1", "pod3", "--probe", "x")),
    "exec-without-command": Case(("exec", "pod1")),
    "exec-without-command-after-dashes": Case(("exec", "pod1", "--")),
    "bench-modes-unknown": Case(("bench", "--modes", "raw,calico-bgpp")),
    "bench-modes-none": Case(("bench", "--modes", ",")),
    "bench-seconds-zero": Case(("bench", "--seconds", "0")),
    "bench-rounds-zero": Case(("bench", "--rounds", "0")),
    "bench-metric-unknown": Case(("bench", "--metrics", "tcp1")),
    "bench-setting-unknown": Case(("bench", "--settings", "shaped")),
    "bench-scenario-unknown": Case(("bench", "--scenarios", "pods-cross")),
    "bench-precision-a-word": Case(("bench", "--precision", "high")),
    "bench-resume-nothing": Case(("bench", "--resume")),
    "bench-show-nothing": Case(("bench", "show", "missing/bench.json")),
    "no-lab-down": Case(("down",)),
    "no-lab-inspect": Case(("inspect",)),
    "no-lab-trace": Case(("trace", "pod1", "pod3")),
    "no-lab-exec": Case(("exec", "pod1", "--", "true")),
    "no-lab-attach": Case(("attach",)),
    "no-lab-verify": Case(("verify",)),
    "no-lab-of-that-name": Case(("down", "--name", "lab2")),
}
EVERY_MODE = dict(registry.MODES)
MODES = {
    "hybridnet-vxlan": registry.MODES["hybridnet-vxlan"],
    "calico-bgp": registry.MODES["calico-bgp"],
    "calico-ipip": registry.MODES["calico-ipip"],
}
"""A registry that stays as it is, since the messages name what there is."""
CASES = FILES | NAMES | ADDRESSES | OPTIONS
CASES["family-that-the-mode-lacks"] = edited(
    "name: small", "name: small\nfamilies: [4, 6]", *UP, "--plugin", "calico", "--mode", "ipip", "--kernel", "embedded"
)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty working folder and no lab running."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path / "run"))
    monkeypatch.delenv("PODPATH_CONTROL", raising=False)
    monkeypatch.setattr(registry, "MODES", MODES)
    return tmp_path


@pytest.mark.parametrize("name", CASES)
def test_one_message_and_status_2(
    name: str, folder: Path, capsys: pytest.CaptureFixture[str], golden: Callable[[str, str], None]
) -> None:
    case = CASES[name]
    case.prepare(folder)
    before = sorted(os.listdir(folder))
    status = run(case.argv)
    said = capsys.readouterr()
    command = " ".join(word if len(word) < 40 else word[:8] + "..." for word in case.argv)
    golden(f"errors/{name}.txt", f"$ run_topology.py {command}\n{said.err}")
    assert (status, said.out) == (USAGE_STATUS, "")
    assert sorted(os.listdir(folder)) == before, "something was made"


UNFIT = (
    ("hybridnet-vlan", "default"),
    ("hybridnet-bgp", "default"),
    ("hybridnet-bgp", "trunks"),
    ("hybridnet-globalbgp", "default"),
    ("calico-bgp", "trunks"),
    ("flannel-vxlan", "trunks"),
    ("flannel-host-gw", "two-rack"),
    ("bifrost-macvlan", "default"),
    ("macvlan-bridge", "default"),
    ("ipvlan-l2", "default"),
    ("ipvlan-l3", "two-rack"),
    ("ipvlan-l3", "flat"),
    ("terway-ipvlan", "default"),
)


@pytest.mark.parametrize(("mode", "preset"), UNFIT)
def test_a_mode_and_a_topology_that_do_not_fit(
    mode: str,
    preset: str,
    folder: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    golden: Callable[[str, str], None],
) -> None:
    """On a kernel that could do everything."""
    monkeypatch.setattr(registry, "MODES", EVERY_MODE)
    monkeypatch.setattr(places, "choose", lambda *_: ("embedded", "it has everything"))
    plugin, _, name = mode.partition("-")
    argv = ("up", "-d", "--plugin", plugin, "--mode", name, "--preset", preset)
    status = run(argv)
    said = capsys.readouterr()
    golden(f"errors/unfit-{mode}-{preset}.txt", f"$ run_topology.py {' '.join(argv)}\n{said.err}")
    assert (status, said.out) == (USAGE_STATUS, "")
    assert os.listdir(folder) == []
