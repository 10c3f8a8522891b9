"""Each documented path of a mode is the observed one, there and back, in each family that the mode carries."""

from __future__ import annotations

from pathlib import Path

import pytest

from cluster.lab import Lab, features, plan
from paths.documented import FOLDER, document
from paths.verify import verify
from plugins.registry import mode as find
from topologies.spec import preset

DOCUMENTED = sorted(file.stem for file in FOLDER.glob("*.yaml"))
NEEDS_EMBEDDED = [name for name in DOCUMENTED if name.startswith(("calico-ipip", "hybridnet-vlan"))]


def check(name: str, folder: Path) -> None:
    plugin, _, mode = name.partition("-")
    found = find(plugin, mode)
    with Lab(plan(preset(found.preset), plugin, mode, features()), folder) as lab:
        lab.up()
        verdicts = verify(lab)
    assert [f"{one.source} {one.kind} {one.way}: {one.observed}" for one in verdicts if not one.agrees] == []
    expected = {(kind.replace("-", " "), family) for kind in document(plugin, mode) for family in found.families}
    assert {(one.kind, one.family) for one in verdicts} == expected
    assert len(verdicts) == 2 * len(expected)


@pytest.mark.only("machine")
@pytest.mark.parametrize("name", [name for name in DOCUMENTED if name not in NEEDS_EMBEDDED])
def test_documented_paths(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)


@pytest.mark.only("embedded")
@pytest.mark.parametrize("name", NEEDS_EMBEDDED)
def test_documented_paths_of_modes_that_need_the_embedded_kernel(name: str, tmp_path: Path) -> None:
    check(name, tmp_path)
