from __future__ import annotations

import pytest

from bench import bringup, builders, raw
from kernel.state import Netns, State, Veth


def pairs(state: State) -> list[tuple[str, str]]:
    """Every device name with its namespace, both ends of veth pairs."""
    found = []
    for ns in state.namespaces:
        for link in ns.links:
            found.append((ns.name, link.name))
            if isinstance(link, Veth):
                found.append((link.peer_netns, link.peer.name))
    return found


@pytest.mark.parametrize("state", [builders.hosts_state(1000), raw.state(), builders.pods_cluster(100)[1]])
def test_states_name_each_device_once_and_no_stranger(state: State) -> None:
    devices = pairs(state)
    assert len(devices) == len(set(devices))
    assert {place for place, _ in devices} <= set(state.names)


def test_hosts_have_addresses_of_their_own() -> None:
    state = builders.hosts_state(1000)
    addresses = [a.address for ns in state.namespaces for a in ns.addresses]
    assert len(set(addresses)) == 1000
    assert addresses[255] == "10.0.1.0/8"


def test_pods_are_in_their_nodes_block() -> None:
    cluster, underlay = builders.pods_cluster(1000)
    assert len({pod.addresses for pod in cluster.pods}) == 1000
    assert all(pod.addresses[0].startswith(f"10.244.{pod.node[5:]}.") for pod in cluster.pods)
    assert isinstance(underlay["node-10"], Netns)


def test_rounds_are_interleaved_and_mininet_stops_early() -> None:
    assert bringup.jobs([10], 2, False, ["podpath", "mininet"]) == [("podpath", 10), ("mininet", 10)] * 2
    assert bringup.jobs([1000], 1, False, ["podpath", "mininet"]) == [("podpath", 1000)]
    assert ("mininet", 1000) in bringup.jobs([1000], 1, True, ["podpath", "mininet"])


def test_summary_has_medians_and_ratios_and_keeps_errors() -> None:
    figures = dict.fromkeys(bringup.FIGURES, 1.0)
    runs = [{"tool": "podpath", "size": 10} | figures | {"up_s": up} for up in (0.1, 0.3, 0.2)]
    runs += [{"tool": "mininet", "size": 10} | figures | {"up_s": 2.0}, {"tool": "mininet", "size": 10, "error": "no"}]
    ours, theirs = bringup.summary(runs)
    assert (ours["up_s"], ours["rounds"], ours["against_podpath"]) == (0.2, 3, 1.0)
    assert (theirs["against_podpath"], theirs["rounds"], theirs["error"]) == (10.0, 1, "no")
    assert theirs["gone_against_podpath"] == 1.0


@pytest.mark.parametrize("argv", [["--sizes", "1,x"], ["--sizes", "5000"], ["--tools", "munet"]])
def test_bad_options_are_refused(argv: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit, match="2"):
        bringup.main(argv)
    assert "error:" in capsys.readouterr().err


def test_without_root_a_user_namespace_is_used() -> None:
    assert "--user" in bringup.isolated(["true"], root=False)
    assert "--user" not in bringup.isolated(["true"], root=True)
