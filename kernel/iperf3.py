"""iperf3 between two namespaces: the bit rates that both ends saw."""

from __future__ import annotations

import json
import subprocess
import threading
from dataclasses import dataclass
from typing import Any, Protocol

from kernel.errors import PodpathError

SLACK_S = 20.0
"""How long after the test's own length iperf3 may still take to connect and to report."""
PORT = 5201
"""iperf3's own."""


class Spawns(Protocol):
    """The part of kernel.namespaces.Namespaces that is used here."""

    def spawn(self, name: str, argv: list[str], **popen: Any) -> subprocess.Popen[str]:
        """A child in namespace `name`."""
        ...


@dataclass(frozen=True)
class Throughput:
    """One run: the receiver's bit rate, the sender's, and TCP segments that were sent again."""

    bits_per_second: float
    sent_bits_per_second: float
    retransmits: int


def parse(text: str) -> Throughput:
    """The result in the client's `--json` output; PodpathError with iperf3's own words if it failed."""
    try:
        answer = json.loads(text)
    except ValueError:
        raise failed(text.strip() or "it said nothing") from None
    if "error" in answer:
        raise failed(answer["error"])
    end = answer["end"]
    sent = end.get("sum_sent") or end["sum"]  # a UDP run's only sum is the sender's
    received = end.get("sum_received") or sent
    rates = float(received["bits_per_second"]), float(sent["bits_per_second"])
    return Throughput(*rates, int(sent.get("retransmits", 0)))


def failed(why: str) -> PodpathError:
    return PodpathError(f"iperf3 gave no result: {why}")


def measure(
    namespaces: Spawns,
    source: str,
    target: str,
    address: str,
    seconds: float = 3.0,
    *,
    udp: str | None = None,
    port: int = PORT,
    streams: int = 1,
    reverse: bool = False,
    omit: int = 0,
) -> Throughput:
    """A run of `seconds` (whole ones, at least 1: iperf3 takes no others) from namespace `source` to `target`, which
    holds `address`: TCP, or UDP at the rate `udp`, such as "10M". `reverse` sends the other way, `omit` seconds before
    the run do not count. Raises MissingTool, and PodpathError with iperf3's own words."""
    seconds = max(1, round(seconds))
    pipes: dict[str, Any] = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    server = namespaces.spawn(target, ["iperf3", "-s", "-1", "-p", str(port), "--forceflush"], **pipes)
    watchdog = threading.Timer(seconds + omit + 2 * SLACK_S, server.kill)
    watchdog.daemon = True
    watchdog.start()
    try:
        _listening(server)
        argv = ["iperf3", "-c", address, "-p", str(port), "-t", str(seconds), "--json", "--connect-timeout", "5000"]
        argv += [*(["-u", "-b", udp] if udp else []), *(["-R"] if reverse else [])]
        argv += [*(["-P", str(streams)] if streams > 1 else []), *(["-O", str(omit)] if omit else [])]
        return parse(_output(namespaces.spawn(source, argv, **pipes), seconds + omit))
    finally:
        watchdog.cancel()
        server.kill()
        server.communicate()


def _output(client: subprocess.Popen[str], seconds: float) -> str:
    try:
        return client.communicate(timeout=seconds + SLACK_S)[0]
    except subprocess.TimeoutExpired:
        raise failed(f"no answer in {seconds + SLACK_S:g} s") from None
    finally:
        if client.poll() is None:
            client.kill()
            client.communicate()


def _listening(server: subprocess.Popen[str]) -> None:
    """Returns as soon as the server says that its socket is open; the watchdog ends a silent one."""
    assert server.stdout is not None
    said = []
    for line in server.stdout:
        if "Server listening" in line:
            return
        said.append(line.strip())
    raise failed("the server stopped: " + " ".join(said))
