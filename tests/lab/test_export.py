"""The exported script, run as its first lines say, makes what the engine makes."""

from __future__ import annotations

import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from kernel import diff
from kernel.export import as_ip
from kernel.state import Bridge, Dummy, FilterRule, Gre, Ipip, Ipvlan, Netns, PortVlan, Sit, State, Vlan, Vti, merge
from tests.lab.world import EVERYTHING, pair, planned

INSPECTOR = """
import pickle, sys
from kernel.engine import Engine
from kernel.namespaces import Namespaces

state = pickle.load(sys.stdin.buffer)
namespaces = Namespaces()
namespaces.follow(state.names)
print("\\n".join(Engine(namespaces).plan(state)))
"""
"""Started among the namespaces that the script made: what the engine would still do there."""


def inspected(state: State, script: str, folder: Path) -> str:
    """Runs the script in a mount and network namespace of its own, then the inspector there."""
    made = folder / "lab.sh"
    made.write_text(script)
    then = f'sh {made} </dev/null >&2 && exec {sys.executable} -c "$0"'
    argv = ["unshare", "-mn", "sh", "-c", then, INSPECTOR]
    done = subprocess.run(argv, input=pickle.dumps(state), capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return done.stdout.decode()


def compared(ns: Netns) -> Netns:
    """Without the parts that the engine does not read back: it would apply them as a whole."""
    return replace(ns, **dict.fromkeys(diff.WHOLE, ()))


@pytest.mark.only("machine")
@pytest.mark.parametrize("key", ["hybridnet-vxlan", "calico-bgp"])
def test_the_script_makes_what_the_engine_makes(key: str, tmp_path: Path) -> None:
    state = planned(key)
    wanted = State(tuple(compared(ns) for ns in state.namespaces))
    assert inspected(wanted, as_ip(state), tmp_path).strip() == ""


@pytest.mark.only("embedded")
def test_kinds_that_the_machine_may_lack(tmp_path: Path) -> None:
    links = (
        Vlan("eth0.20", dev="eth0", vid=20),
        Bridge("br0", vlan_filtering=True),
        Dummy("d0", mac="02:00:00:00:00:0d", master="br0"),
        Ipip("tunl0", mtu=1380),
        Gre("gre1", local="192.0.2.1", remote="192.0.2.2", key=7, ttl=64),
        Sit("sit1", local="192.0.2.1", dev="eth0"),
        Sit("isatap1", local="192.0.2.1", isatap=True),
        Vti("vti1", local="192.0.2.1", remote="192.0.2.2", key=7),
    )
    pod = Netns("pod", links=(Ipvlan("eth0", dev="eth0.20", dev_netns="a", mode="l3s", flag="private"),))
    vlans = (PortVlan("d0", 20, pvid=True, untagged=True), PortVlan("d0", 30))
    state = State((*pair(links=links, port_vlans=vlans).namespaces, pod))
    jump = FilterRule(4, "nat", "POSTROUTING", ("-j", "own")), FilterRule(4, "nat", "own", ("-j", "MASQUERADE"))
    more = merge((state, State((Netns("a", filters=jump),))))
    assert inspected(state, as_ip(more), tmp_path).strip() == ""


def test_the_inspector_would_see_a_missing_route(tmp_path: Path) -> None:
    script = as_ip(EVERYTHING) + "ip -n a route del 10.2.0.0/16\n"
    assert inspected(EVERYTHING, script, tmp_path).startswith("a: + ip route replace 10.2.0.0/16")
