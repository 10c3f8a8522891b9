"""iperf3 between two namespaces: one TCP stream, the bit rate that the receiver saw."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from kernel.errors import PodpathError

SLACK_S = 20.0
"""How long after the test's own length iperf3 may still take to connect and to report."""


class Spawns(Protocol):
    """The part of kernel.namespaces.Namespaces that is used here."""

    def spawn(self, name: str, argv: list[str], **popen: Any) -> subprocess.Popen[str]:
        """A child in namespace `name`."""
        ...


@dataclass(frozen=True)
class Throughput:
    """One run: the receiver's bit rate, and TCP segments that the sender sent again."""

    bits_per_second: float
    retransmits: int


def parse(text: str) -> Throughput:
    """The result in the client's `--json` output; PodpathError with iperf3's own words if it failed."""
    try:
        answer = json.loads(text)
    except ValueError as problem:
        raise failed(f"its output is no JSON ({problem})") from None
    if "error" in answer:
        raise failed(answer["error"])
    end = answer["end"]
    return Throughput(float(end["sum_received"]["bits_per_second"]), int(end["sum_sent"].get("retransmits", 0)))


def failed(why: str) -> PodpathError:
    return PodpathError(f"iperf3 gave no result: {why}")


def measure(namespaces: Spawns, source: str, target: str, address: str, seconds: float = 3.0) -> Throughput:
    """A run of `seconds` from namespace `source` to `target`, which holds `address`."""
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = namespaces.spawn(target, ["iperf3", "-s", "-1", "--forceflush"], **pipes)
    watchdog = threading.Timer(seconds + 2 * SLACK_S, server.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        _listening(server)
        argv = ["iperf3", "-c", address, "-t", f"{seconds:g}", "--json", "--connect-timeout", "5000"]
        client = namespaces.spawn(source, argv, **pipes)
        try:
            output, _ = client.communicate(timeout=seconds + SLACK_S)
        except subprocess.TimeoutExpired:
            client.kill()
            client.communicate()
            raise failed(f"no answer from {address} in {seconds + SLACK_S:g} s") from None
        return parse(output)
    finally:
        watchdog.cancel()
        server.kill()
        server.communicate()


def _listening(server: subprocess.Popen[str]) -> None:
    """Returns as soon as the server says that its socket is open; the watchdog ends a silent one."""
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        if "Server listening" in line:
            return
        said.append(line.strip())
    raise failed("the server stopped: " + " ".join(said))
