"""The embedded kernel from inside: its features are those that it is said to have, and its files are its own."""

from __future__ import annotations

import os
import socket
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.only("embedded")
IPPROTO_SCTP = 132


def test_its_features_are_those_that_it_is_said_to_have() -> None:
    from kernel.features import of_embedded, probe

    found, said = probe(), of_embedded()
    assert {name for name, lack in found.items() if lack} == {name for name, lack in said.items() if lack}


def test_only_the_run_folder_is_the_machines() -> None:
    mounts = [line.split() for line in Path("/proc/mounts").read_text().splitlines()]
    writable = {place for _, place, kind, options, *_ in mounts if kind == "hostfs" and "rw" in options.split(",")}
    assert writable == {os.environ["PODPATH_RUN"]}


@pytest.mark.parametrize("folder", ["/", "/root", "/tmp", "/etc", "/run", "/var/tmp"])
def test_everything_can_be_written_and_stays_here(folder: str) -> None:
    place = Path(folder, "podpath-test")
    place.write_text("mine")
    assert place.read_text() == "mine"
    place.unlink()


def test_the_kernel_fetches_a_module_when_it_is_used() -> None:
    loaded = Path("/proc/modules").read_text()
    assert "sctp " not in loaded
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM, IPPROTO_SCTP):
        assert "sctp " in Path("/proc/modules").read_text()


def test_ps_shows_processes() -> None:
    shown = subprocess.run(["ps", "auxww"], capture_output=True, text=True, check=True)
    assert shown.stderr == ""
    assert "kernel.guest" in shown.stdout


def test_no_device_but_lo_in_a_fresh_namespace() -> None:
    """A tunnel's module gives every namespace a device unless it is told not to."""
    subprocess.run(["ip", "link", "add", "tun-test", "type", "gre", "local", "10.0.0.1"], check=True)
    subprocess.run(["ip", "link", "del", "tun-test"], check=True)
    shown = subprocess.run(["unshare", "-n", "ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    assert [line.split(":")[1].strip() for line in shown.splitlines()] == ["lo"]
