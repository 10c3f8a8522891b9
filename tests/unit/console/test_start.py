"""From arguments to a topology, a mode, a kernel and a run folder."""

from __future__ import annotations

import argparse
import fcntl
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from console import start
from console.parser import arguments
from kernel import places
from kernel.errors import BadInput, LabBusy, MissingFeature, MissingTool
from topologies.spec import PRESETS

FILE = """\
name: mine
{more}
pools: [{{cidr: 10.244.0.0/16}}]
switches: [{{name: s1}}]
nodes: [{{name: node1, switch: s1, addresses: [192.168.1.1/24]}}]
"""


def up(*words: str) -> argparse.Namespace:
    return arguments(["up", *words])


@pytest.fixture
def file(tmp_path: Path) -> Callable[[str], str]:
    def write(more: str = "") -> str:
        path = tmp_path / "lab.yaml"
        path.write_text(FILE.format(more=more))
        return str(path)

    return write


def test_default() -> None:
    chosen = start.choice(up())
    assert (chosen.spec.name, chosen.plugin, chosen.mode) == ("default", "hybridnet", "vxlan")
    assert len(chosen.spec.nodes) == 3 and len(chosen.spec.switches) == 2 and chosen.spec.pods_per_node == 2


@pytest.mark.parametrize("name", PRESETS)
def test_preset(name: str) -> None:
    chosen = start.choice(up("--preset", name))
    assert chosen.source.stem == name
    assert chosen.source.read_text()


def test_a_plugin_alone_brings_its_first_mode() -> None:
    chosen = start.choice(up("--plugin", "calico"))
    assert chosen.plugin == "calico" and chosen.mode


def test_a_files_mode_counts_unless_another_is_asked_for(file: Callable[[str], str]) -> None:
    path = file("plugin: calico\nmode: bgp")
    assert start.choice(up("-f", path)).mode == "bgp"
    asked = start.choice(up("-f", path, "--plugin", "hybridnet"))
    assert (asked.plugin, asked.mode) == ("hybridnet", "vxlan")
    assert start.choice(up("-f", file())).plugin == "hybridnet"


def test_a_wrong_mode_in_the_file_is_told_at_the_file(file: Callable[[str], str]) -> None:
    path = file("plugin: calico\nmode: bgpp")
    with pytest.raises(BadInput) as told:
        start.choice(up("-f", path))
    assert told.value.where == f"{path}: mode"
    with pytest.raises(BadInput) as told:
        start.choice(up("-f", path, "--mode", "bgppp"))
    assert told.value.where == "--mode"


def test_far_pods_are_on_two_nodes_or_the_same_when_there_is_one(file: Callable[[str], str]) -> None:
    assert start.choice(up()).far_pods() == ("pod1", "pod3")
    assert start.choice(up("-f", file())).far_pods() == ("pod1", "pod2")


def test_kernel_is_the_first_that_has_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    has = {"host": frozenset({"veth"}), "user": frozenset({"veth"}), "embedded": frozenset({"veth", "ipip"})}
    monkeypatch.setattr(places, "why_not", lambda kernel: "it needs root" if kernel == "host" else "")
    monkeypatch.setattr(places, "features_of", lambda kernel: has[kernel])
    kernel, why = places.choose("auto", frozenset({"veth", "ipip"}), "calico ipip")
    assert kernel == "embedded"
    assert "not host: it needs root" in why and "not user: it lacks ipip" in why
    with pytest.raises(MissingFeature, match="the user kernel lacks ipip, which calico ipip needs"):
        places.choose("user", frozenset({"ipip"}), "calico ipip")
    with pytest.raises(MissingFeature, match="no kernel here can run it: .*embedded: it lacks x"):
        places.choose("auto", frozenset({"x"}), "it")


def test_a_missing_package_is_no_missing_feature(monkeypatch: pytest.MonkeyPatch) -> None:
    from kernel.features import FEATURES, Feature

    monkeypatch.setitem(FEATURES, "frr", Feature("FRR", lambda _: "", "install it", ("/nowhere/bgpd",)))
    with pytest.raises(MissingTool, match="bgpd"):
        places.choose("auto", frozenset({"frr"}), "calico bgp")


@pytest.fixture
def living(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], Path]]:
    """`living(name)`: the run folder of a lab that lives, as far as its lock tells."""
    monkeypatch.setenv("PODPATH_RUN_ROOT", str(tmp_path))
    monkeypatch.delenv("PODPATH_CONTROL", raising=False)
    held = []

    def make(name: str) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        lock = (folder / places.LOCK).open("w")
        fcntl.flock(lock, fcntl.LOCK_EX)
        held.append(lock)
        return folder

    yield make
    for lock in held:
        lock.close()


def test_the_only_lab_needs_no_name(living: Callable[[str], Path]) -> None:
    folder = living("a")
    assert start.running_folder(None) == start.running_folder("a") == folder


def test_several_labs_need_one(living: Callable[[str], Path]) -> None:
    living("first")
    folder = living("second")
    with pytest.raises(BadInput, match="several labs run: first, second"):
        start.running_folder(None)
    assert start.running_folder("second") == folder
    with pytest.raises(LabBusy) as told:
        start.running_folder("secnd")
    assert told.value.remedy == "did you mean 'second'?"


def test_a_dead_labs_folder_is_no_lab(living: Callable[[str], Path], tmp_path: Path) -> None:
    (tmp_path / "dead").mkdir()
    (tmp_path / "dead" / places.LOCK).touch()
    with pytest.raises(LabBusy, match="no lab is running"):
        start.running_folder(None)
    living("alive")
    assert start.running_folder(None).name == "alive"
