"""Debian's zebra and bgpd, a pair for each router, in the router's namespace.

Every pair has a path space of its own (`-N`), so vtysh and `ip netns` users find it by the namespace's name.
They run as the lab's root: Debian's user frr does not exist in a user namespace (`-S` keeps bgpd from asking).
"""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgp.model import Router
from bgp.render import bgpd_conf, zebra_conf
from kernel.errors import MissingTool, NotConverged
from kernel.namespaces import Namespaces
from kernel.watch import appear

FRR = Path("/usr/lib/frr")
STATE = Path("/run/frr")
"""FRR's own run folder; in a lab it is the lab's."""
READY_S = 15.0
"""How long a daemon may take to open its socket, seconds; on the embedded kernel it takes two."""
Running = subprocess.Popen[Any]


@dataclass
class _Pair:
    router: Router
    zebra: Running
    bgpd: Running | None = None

    def processes(self) -> list[Running]:
        return [process for process in (self.bgpd, self.zebra) if process is not None]


class Routers:
    """The routers of a lab. `folder` gets their configuration and logs."""

    def __init__(self, namespaces: Namespaces, folder: Path) -> None:
        self._namespaces = namespaces
        self._folder = folder / "frr"
        self._pairs: dict[str, _Pair] = {}

    @property
    def pids(self) -> list[int]:
        """The process numbers of all daemons."""
        return [process.pid for pair in self._pairs.values() for process in pair.processes()]

    def start(self, routers: Sequence[Router]) -> None:
        """Makes these routers run and no others; a router that runs as wanted is left alone.

        Returns when every daemon answers. Raises MissingTool (FRR), NotConverged with a daemon's last words.
        """
        wanted = {router.netns: router for router in routers}
        for name in [n for n, pair in self._pairs.items() if wanted.get(n) != pair.router]:
            self._end([self._pairs.pop(name)])
        fresh = [router for router in routers if router.netns not in self._pairs]
        if not fresh:
            return
        if not (FRR / "bgpd").exists():
            raise MissingTool("FRR is not installed", where=str(FRR), remedy="run `make setup`")
        for router in fresh:
            self._write(router)
            self._pairs[router.netns] = _Pair(router, self._spawn(router, "zebra"))
        self._await(fresh, "zserv.api")  # a bgpd that finds no zebra tries again only after ten seconds
        for router in fresh:
            self._pairs[router.netns].bgpd = self._spawn(router, "bgpd")
        self._await(fresh, "bgpd.vty")

    def _write(self, router: Router) -> None:
        folder = self._folder / router.netns
        for place in (folder, STATE / router.netns):
            place.mkdir(parents=True, exist_ok=True)
        for leftover in (STATE / router.netns).iterdir():
            leftover.unlink()
        (folder / "zebra.conf").write_text(zebra_conf(router))
        (folder / "bgpd.conf").write_text(bgpd_conf(router))

    def _spawn(self, router: Router, daemon: str) -> Running:
        folder, state = self._folder / router.netns, STATE / router.netns
        argv = [str(FRR / daemon), "-N", router.netns, "-u", "root", "-g", "root"]
        argv += ["-f", str(folder / f"{daemon}.conf"), "-i", str(state / f"{daemon}.pid")]
        argv += ["-A", "127.0.0.1", "-P", "0", *(["-S"] if daemon == "bgpd" else [])]
        with open(folder / f"{daemon}.log", "w") as log:
            return self._namespaces.spawn(router.netns, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _await(self, routers: Iterable[Router], name: str) -> None:
        """Waits for a socket of each router's daemon."""
        paths = {STATE / router.netns / name: router.netns for router in routers}

        def alive() -> bool:
            return all(process.poll() is None for n in paths.values() for process in self._pairs[n].processes())

        if missing := appear(paths, READY_S, alive):
            name = paths[missing[0]]
            daemon = "zebra" if missing[0].name == "zserv.api" else "bgpd"
            what = f"{daemon} of {name!r} did not start: {self._last_words(name, daemon)}"
            raise NotConverged(what, where=str(self._folder / name), remedy="look into its log and configuration there")

    def _last_words(self, name: str, daemon: str) -> str:
        lines = (self._folder / name / f"{daemon}.log").read_text().strip().splitlines()
        return " / ".join(lines[-3:]) or "it said nothing"

    def show(self, netns: str, command: str) -> dict[str, Any]:
        """FRR's answer to a `show ... json` command, through vtysh. Raises NotConverged when it is no JSON."""
        done = self._namespaces.run(netns, ["vtysh", "-N", netns, "-c", command])
        try:
            found: dict[str, Any] = json.loads(done.stdout)
        except ValueError:
            said = (done.stdout + done.stderr).strip()
            raise NotConverged(f"{netns}: `{command}` answered {said!r}", remedy="is the router running?") from None
        return found

    def stop(self) -> None:
        """Ends every daemon, by its number."""
        self._end(self._pairs.values())
        self._pairs.clear()

    @staticmethod
    def _end(pairs: Iterable[_Pair]) -> None:
        processes = [process for pair in pairs for process in pair.processes()]
        for process in processes:
            process.send_signal(signal.SIGKILL)  # gracefully they would withdraw routes from a lab that ends
        for process in processes:
            process.wait()
