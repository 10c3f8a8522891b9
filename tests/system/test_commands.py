"""Every command on a running lab, from outside and through pipes: text, JSON and exit statuses."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from console.commands import COMMANDS

Run = Callable[..., subprocess.CompletedProcess[str]]
HOME = Path(__file__).resolve().parents[2]
OWN = "host" if os.geteuid() == 0 else "user"
HELP_S = 0.3
"""What a help page may take, seconds."""


@pytest.fixture(scope="module")
def lab(podpath: Run) -> dict[str, object]:
    """The default lab on the machine's own kernel; what `up --json` said of it."""
    done = podpath("up", "-d", "--kernel", OWN, "--json")
    assert done.returncode == 0, done.stderr
    said: dict[str, object] = json.loads(done.stdout)
    return said


def test_up_says_what_came_up(lab: dict[str, object]) -> None:
    assert (lab["lab"], lab["kernel"], lab["nodes"], lab["pods"]) == ("default", OWN, 3, 6)


@pytest.mark.usefixtures("lab")
def test_up_again_changes_nothing(podpath: Run) -> None:
    assert podpath("up", "--dry-run").stdout == "nothing to do\n"
    again = json.loads(podpath("up", "-d", "--json").stdout)
    assert (again["made"], again["removed"], again["messages"]) == (0, 0, 0)


@pytest.mark.usefixtures("lab")
def test_dry_run_of_another_mode_shows_the_difference_and_makes_none(podpath: Run) -> None:
    steps = json.loads(podpath("up", "--dry-run", "--plugin", "calico", "--mode", "bgp", "--json").stdout)
    assert steps["running"] and any("cali" in step for step in steps["steps"])
    assert podpath("up", "--dry-run").stdout == "nothing to do\n"


@pytest.mark.usefixtures("lab")
def test_another_kernel_for_a_running_lab_is_refused(podpath: Run) -> None:
    done = podpath("up", "-d", "--kernel", "embedded")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith(f"error: --kernel: the lab 'default' runs on the {OWN} kernel")


@pytest.mark.usefixtures("lab")
def test_inspect_text_and_json_tell_the_same(podpath: Run) -> None:
    found = json.loads(podpath("inspect", "--json").stdout)
    text = podpath("inspect").stdout
    assert len(found["pods"]) == 6
    for pod in found["pods"]:
        assert all(address in text for address in pod["addresses"])
    assert "\x1b" not in text, "colours in a pipe"


@pytest.mark.usefixtures("lab")
def test_inspect_of_a_node_is_what_its_own_tools_say(podpath: Run) -> None:
    found = json.loads(podpath("inspect", "node1", "--json").stdout)
    shown = podpath("exec", "node1", "--", "ip", "-j", "route", "show", "table", "39999").stdout
    own = {one["dst"] for one in json.loads(shown)}
    ours = {
        one["dst"].removesuffix("/32") for one in found["routes"] if one["table"] == 39999 and ":" not in one["dst"]
    }
    assert own == {address for address in ours if ":" not in address} != set()
    assert {"POSTROUTING"} <= {one["chain"] for one in found["filters"]}
    assert found["ipsets"]


@pytest.mark.usefixtures("lab")
@pytest.mark.parametrize("command", ["inspect", "exec", "trace"])
def test_a_name_that_nobody_has(command: str, podpath: Run) -> None:
    more = {"exec": ("--", "true"), "trace": ("pod3",)}.get(command, ())
    done = podpath(command, "pod11", *more)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.count("\n") == 2 and "'pod11'" in done.stderr and "pod1" in done.stderr.splitlines()[1]


@pytest.mark.usefixtures("lab")
def test_exec_passes_streams_and_status(podpath: Run) -> None:
    done = podpath("exec", "pod1", "--", "sh", "-c", "read word; echo out $word; echo err >&2; exit 7", input="in\n")
    assert (done.returncode, done.stdout, done.stderr) == (7, "out in\n", "err\n")
    assert podpath("exec", "pod1", "--", "no-such-program").returncode == 2
    assert podpath("exec", "pod1", "--", "ping", "-c", "1", "-W", "2", "203.0.113.10").returncode == 0


@pytest.mark.usefixtures("lab")
def test_trace_text_json_captures_chart_and_pictures(podpath: Run, tmp_path: Path) -> None:
    seen = json.loads(podpath("trace", "pod1", "pod3", "--json").stdout)
    assert seen["disposition"] == "replied" and seen["forward"] and seen["return"]
    pictures = tmp_path / "trace.svg", tmp_path / "screen.svg"
    options = ("--pcap", str(tmp_path / "captured"), "--svg", str(pictures[0]), "--screen", str(pictures[1]))
    done = podpath("trace", "pod1", "pod3", *options)
    assert done.returncode == 0 and "pod1 → pod3" in done.stdout
    assert any("node1" in path.name for path in (tmp_path / "captured").iterdir())
    assert all(picture.read_text().startswith("<svg") for picture in pictures)
    assert ">hybridnet vxlan: pod1 to pod3<" in pictures[0].read_text()
    assert podpath("trace", "pod1", "pod3", "--mermaid").stdout.splitlines()[3] == "flowchart LR"


@pytest.mark.usefixtures("lab")
def test_trace_that_gets_no_answer_has_status_1(podpath: Run) -> None:
    done = podpath("trace", "pod1", "10.244.99.99", "--timeout", "0.5")
    assert (done.returncode, done.stderr) == (1, "")
    assert "10.244.99.99" in done.stdout


@pytest.mark.usefixtures("lab")
def test_captures_that_cannot_be_written_are_no_trace(podpath: Run, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = podpath("trace", "pod1", "pod3", "--pcap", str(tmp_path / "file" / "x"))
    assert done.returncode == 2 and done.stderr.startswith("error: --pcap: ")


@pytest.mark.usefixtures("lab")
def test_verify(podpath: Run) -> None:
    done = podpath("verify", "--json")
    assert done.returncode == 0, done.stdout
    found = json.loads(done.stdout)
    assert found["paths"] and found["rules"]
    assert all(one["agrees"] for one in (*found["paths"], *found["rules"]))


@pytest.mark.usefixtures("lab")
def test_verify_of_a_broken_path_has_status_1_and_names_the_place(podpath: Run) -> None:
    argv = ("ip", "route", "show", "table", "39999")
    before = podpath("exec", "node2", "--", *argv).stdout
    route = next(line for line in before.splitlines() if line.startswith("10.244.0.65"))
    assert podpath("exec", "node2", "--", "ip", "route", "del", *route.split(), "table", "39999").returncode == 0
    broken = podpath("verify")
    assert podpath("up", "-d").returncode == 0  # makes it whole again
    assert broken.returncode == 1 and "node2" in broken.stdout
    assert podpath("trace", "pod1", "pod3").returncode == 0


@pytest.mark.usefixtures("lab")
def test_the_prompt_takes_commands_from_a_pipe(podpath: Run) -> None:
    done = podpath("attach", input="pod1 ping -c 1 pod3\ntrace pod1 pod3\nexit\n")
    assert done.returncode == 0
    assert "1 received, 0% packet loss" in done.stdout and "answered in" in done.stdout


@pytest.mark.usefixtures("lab")
def test_two_labs_need_a_name(podpath: Run) -> None:
    assert podpath("up", "-d", "--name", "other", "--preset", "one-switch").returncode == 0
    done = podpath("inspect")
    assert done.returncode == 2 and "several labs run: default, other" in done.stderr
    assert json.loads(podpath("inspect", "--name", "other", "--json").stdout)["lab"] == "one-switch"
    assert json.loads(podpath("down", "--name", "other", "--json").stdout)["lab"] == "other"
    assert podpath("inspect").returncode == 0


def test_a_lab_that_starts_is_not_taken_twice(podpath: Run, run_root: Path) -> None:
    import fcntl

    (run_root / "taken").mkdir()
    with (run_root / "taken" / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = podpath("up", "-d", "--name", "taken")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: the lab 'taken' is still starting\n")
    podpath("down", "--name", "nobody")
    assert not (run_root / "taken").exists()


def test_up_in_the_foreground_ends_with_its_input(podpath: Run, run_root: Path) -> None:
    done = podpath("up", "--name", "short", "--preset", "one-switch", input="pod1 hostname -I\n")
    assert done.returncode == 0 and "10.244.0." in done.stdout
    assert not (run_root / "short").exists()


def test_a_router_of_the_lab_is_asked_with_vtysh(podpath: Run, run_root: Path) -> None:
    assert podpath("up", "-d", "--plugin", "calico", "--mode", "bgp", "--name", "bgp").returncode == 0
    asked = podpath("exec", "--name", "bgp", "node1", "--", "vtysh", "-c", "show bgp summary json")
    podpath("down", "--name", "bgp")
    assert json.loads(asked.stdout)["ipv4Unicast"]["peerCount"] == 2
    assert not (run_root / "bgp").exists()


def test_demo_proves_a_mode_and_leaves_nothing(podpath: Run) -> None:
    done = podpath("demo", "--plugin", "calico", "--mode", "bgp", "--json")
    said = json.loads(done.stdout)
    assert done.returncode == 0 and said["trace"]["disposition"] == "replied"
    assert said["verify"]["paths"] and all(one["agrees"] for one in said["verify"]["paths"])


def test_embedded_kernel_from_boot_to_down(podpath: Run) -> None:
    said = json.loads(podpath("up", "-d", "--kernel", "embedded", "--name", "guest", "--json").stdout)
    assert said["kernel"] == "embedded"
    assert podpath("exec", "--name", "guest", "pod1", "--", "sh", "-c", "exit 5").returncode == 5
    assert podpath("trace", "pod1", "pod3", "--name", "guest").returncode == 0
    assert podpath("down", "--name", "guest").returncode == 0


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_answers_at_once(command: str) -> None:
    """In time of the processor, which a busy machine does not stretch."""
    argv = [sys.executable, str(HOME / "run_topology.py"), *([command] if command else []), "--help"]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(argv, stdout=subprocess.DEVNULL, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    assert after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime < HELP_S


def test_help_needs_no_environment_of_its_own() -> None:
    done = subprocess.run(["/usr/bin/python3", "-I", str(HOME / "run_topology.py"), "--help"], capture_output=True)
    assert done.returncode == 0 and b"examples:" in done.stdout


def test_a_pipe_that_is_closed_early_is_no_mistake(environment: dict[str, str]) -> None:
    line = f"'{sys.executable}' '{HOME / 'run_topology.py'}' export --format json | head -c 1"
    done = subprocess.run(["bash", "-o", "pipefail", "-c", line], env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_verify_all_brings_labs_up_by_itself(podpath: Run, tmp_path: Path) -> None:
    report = tmp_path / "report.xml"
    done = podpath("verify", "--all", "--modes", "macvlan-bridge", "--junit", str(report))
    assert done.returncode == 0, done.stderr
    *lines, last = done.stdout.splitlines()
    assert all(line.startswith("✔ macvlan-bridge ") for line in lines) and len(lines) > 10
    assert last.startswith(f"{len(lines) - 1} of {len(lines) - 1} scenarios of 1 mode are as documented")
    assert report.read_text().count("<testcase ") == len(lines)


def test_trace_in_two_modes_and_in_none(podpath: Run) -> None:
    done = podpath("trace", "pod1", "pod3", "--diff", "calico-bgp", "hybridnet-vxlan")
    assert done.returncode == 0, done.stderr
    assert "out   3 of 10 devices alike" in done.stdout and "    + eth0.vxlan4, 98 bytes, routed" in done.stdout
    foreseen = podpath("trace", "pod1", "pod3", "--predict", "--plugin", "bifrost", "--json", "--kernel", "embedded")
    assert json.loads(foreseen.stdout)["expected_forward"][-1]["netns"] == "pod3"
