"""iperf3 between two namespaces, with the result that Mininet's `iperf` gives: rates as text."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from kernel.errors import PodpathError
from kernel.namespaces import Namespaces

PATIENCE_S = 20.0
"""How long after the test's own length iperf3 may still take to connect and to report."""
UNITS = {"k": 10**3, "m": 10**6, "g": 10**9}


def measure(
    namespaces: Namespaces, client: str, server: str, address: str, *, udp: str | None, seconds: float, port: int
) -> tuple[float, float]:
    """Bits per second that the server received and that the client sent. `udp` is the rate to send, such as "10M",
    or None for TCP. Raises MissingTool, and PodpathError with iperf3's own words."""
    argv = ["iperf3", "-c", address, "-p", str(port), "-t", f"{seconds:g}", "--json", "--connect-timeout", "5000"]
    if udp:
        argv += ["-u", "-b", udp, "--get-server-output"]
    with _listening(namespaces, server, port):
        process = namespaces.spawn(client, argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        try:
            said, complaint = process.communicate(timeout=seconds + PATIENCE_S)
        except subprocess.TimeoutExpired:
            raise PodpathError(f"iperf3 heard nothing from {address} in {seconds + PATIENCE_S:g} s") from None
        finally:
            process.kill()
            process.wait()
    return _rates(said, complaint)


@contextmanager
def _listening(namespaces: Namespaces, name: str, port: int) -> Iterator[None]:
    """A server for one test; it says when it listens."""
    argv = ["iperf3", "-s", "-1", "-p", str(port), "--forceflush"]
    server = namespaces.spawn(name, argv, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert server.stdout is not None
    try:
        said = []
        for line in server.stdout:
            said.append(line.strip())
            if "Server listening" in line:
                break
        else:
            raise PodpathError(f"iperf3's server in {name!r} ended: {' '.join(said)}")
        yield
    finally:
        server.kill()
        server.wait()
        server.stdout.close()


def _rates(said: str, complaint: str) -> tuple[float, float]:
    try:
        answer: dict[str, Any] = json.loads(said)
    except ValueError:
        raise PodpathError(f"iperf3 gave no result: {(complaint or said).strip()}") from None
    if "error" in answer:
        raise PodpathError(f"iperf3 gave no result: {answer['error']}")
    end = answer["end"]
    sent = end.get("sum_sent") or end["sum"]
    received = end.get("sum_received") or end["sum"]
    return float(received["bits_per_second"]), float(sent["bits_per_second"])


def as_text(rate: float, unit: str | None = None) -> str:
    """A rate as iperf writes it: "9.41 Gbits/sec"; `unit` k, m or g, else the one that fits."""
    if unit is None or unit.lower() not in UNITS:
        unit = next((name for name in "gm" if rate >= UNITS[name]), "k")
    return f"{rate / UNITS[unit.lower()]:.3g} {unit.upper()}bits/sec"
