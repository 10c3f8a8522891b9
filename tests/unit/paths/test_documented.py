"""The documents themselves, and the pairs that they are about."""

from __future__ import annotations

import pytest

from cluster.plan import cluster_of
from kernel.errors import BadInput
from paths.documented import FOLDER, document, ways
from paths.kinds import pair
from plugins.registry import MODES
from topologies.spec import preset

NAMES = sorted(file.stem for file in FOLDER.glob("*.yaml"))


@pytest.mark.parametrize("name", NAMES)
def test_a_document_leads_from_the_source_to_the_target(name: str) -> None:
    assert name in MODES
    plugin, _, mode = name.partition("-")
    for kind, way in ways(plugin, mode).items():
        pair(cluster_of(preset("two-rack")), kind, 4)  # a kind that there is
        assert all(stage.wire or stage.lost or (stage.at and stage.device and stage.direction) for stage in way.out)
        for path in (way.out, way.back):
            on_wire = any(stage.wire for stage in path)
            assert on_wire or not any(word in kind for word in ("cross-node", "other-node", "client"))
            if path[-1].lost:
                assert path[-1].fact, "a packet is lost for a reason"
                continue
            assert not on_wire or kind not in ("same-node", "same-node-same-vlan", "pod-to-own-node", "own-node-to-pod")
            assert (path[0].at, path[0].direction) == ("source", "out")
            assert (path[-1].at, path[-1].direction) == ("target", "in")
            assert "-to-" not in kind or path[-1].src, "whose address the receiver sees is the point of these paths"


@pytest.mark.parametrize("name", NAMES)
def test_a_document_tells_the_article_s_rules(name: str) -> None:
    told = set(ways(*name.split("-", 1)))
    assert told >= {"pod-to-own-node", "own-node-to-pod", "pod-to-other-node", "other-node-to-pod", "pod-to-client"}
    assert told & {"client-to-pod", "client-to-announced-pod"}


def test_a_way_may_be_another_documents() -> None:
    assert (
        document("calico", "vxlan-crosssubnet")["cross-node-other-subnet"] == document("calico", "vxlan")["cross-node"]
    )
    assert ways("hybridnet", "bgp")["pod-to-own-node"] == ways("hybridnet", "vxlan")["pod-to-own-node"]


def test_an_answer_goes_as_the_opposite_kind_unless_something_else_is_written_down() -> None:
    found = ways("hybridnet", "vxlan")
    assert found["same-node"].back == found["same-node"].out
    assert found["pod-to-own-node"].back == found["own-node-to-pod"].out
    assert found["other-node-to-pod"].back != found["pod-to-other-node"].out


@pytest.mark.parametrize(
    ("kind", "name", "found"),
    [
        ("same-node", "two-rack", ("pod1", "pod2")),
        ("cross-node", "two-rack", ("pod1", "pod3")),
        ("cross-node-same-subnet", "two-rack", ("pod1", "pod3")),
        ("cross-node-other-subnet", "two-rack", ("pod1", "pod5")),
        ("cross-node-other-subnet", "default", None),
        ("same-node-other-vlan", "trunks", ("pod1", "pod2")),
        ("cross-node-same-vlan", "trunks", ("pod1", "pod4")),
        ("cross-node-other-network", "trunks", ("pod1", "pod5")),
        ("pod-to-own-node", "trunks", ("pod1", "node1")),
        ("own-node-to-pod", "trunks", ("node1", "pod1")),
        ("other-node-to-pod", "trunks", ("node2", "pod1")),
        ("pod-to-client", "default", ("pod1", "client")),
        ("client-to-pod", "one-switch", None),
        ("client-to-announced-pod", "default", None),
        ("client-to-announced-pod", "two-rack", ("client", "pod1")),
        ("client-to-unannounced-pod", "default", ("client", "pod1")),
    ],
)
def test_the_first_pair_of_a_kind(kind: str, name: str, found: tuple[str, str] | None) -> None:
    ends = pair(cluster_of(preset(name)), kind, 6)
    assert (ends and (ends[0].name, ends[1].name)) == found


@pytest.mark.parametrize("kind", ["", "node", "same-planet", "cross-node-subnet", "near-node"])
def test_what_is_no_kind(kind: str) -> None:
    with pytest.raises(BadInput, match="is no kind of pair"):
        pair(cluster_of(preset("default")), kind, 4)


def test_a_mode_without_a_document() -> None:
    with pytest.raises(BadInput, match="no documented path of calico-nowhere"):
        document("calico", "nowhere")
