from __future__ import annotations

import pytest

from bench import convergence, speakers


@pytest.mark.parametrize("design", convergence.DESIGNS)
@pytest.mark.parametrize("size", [3, 4, 10])
def test_peers_are_mutual_and_as_many_as_the_design_says(size: int, design: str) -> None:
    found = {one.router_id: {peer.address for peer in one.peers} for one in speakers.routers(size, design)}
    assert all(one in found[other] for one, others in found.items() for other in others)
    assert sum(map(len, found.values())) / 2 == convergence.expected_sessions(size, design)


def test_clients_are_nodes_and_only_a_reflector_has_any() -> None:
    for one in speakers.routers(4, "reflectors"):
        clients = [peer.address for peer in one.peers if peer.client]
        assert clients == ([speakers.address(n) for n in range(4)] if one.cluster_id else [])


def test_without_a_node_nobody_expects_its_prefix() -> None:
    left = speakers.without(speakers.routers(4, "mesh"), "n0")
    assert [one.netns for one in left] == ["n1", "n2", "n3"]
    assert all(len(one.expects) == 2 and speakers.prefix(0) not in one.expects for one in left)


def test_medians_and_exponents_of_growth() -> None:
    runs = [
        {"size": n, "design": "mesh", "cold_s": 2.0 + r, "sessions": n * (n - 1) // 2, "messages": n * n}
        for n in (4, 8, 16)
        for r in range(3)
    ]
    found = convergence.rows([*runs, {"size": 16, "design": "mesh", "error": "exit status 1"}])
    assert [(row["size"], row["rounds"], row["cold_s"]) for row in found] == [(4, 3, 3.0), (8, 3, 3.0), (16, 3, 3.0)]
    growth = {one["figure"]: one["exponent"] for one in convergence.exponents(found)}
    assert (growth["messages"], growth["cold_s"]) == (2.0, 0.0)


def test_wrong_sizes_are_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        convergence.main(["--sizes", "4,900"])
    assert ended.value.code == 2
    assert "from 3 to 64" in capsys.readouterr().err
