"""Debian's zebra and bgpd, a pair for each router, in the router's namespace.

Every pair has a path space of its own (`-N`), so vtysh and `ip netns` users find it by the namespace's name.
They run as the lab's root: Debian's user frr does not exist in a user namespace (`-S` keeps bgpd from asking).
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from bgp import change, vty
from bgp.converge import Deaths, wait
from bgp.model import Router
from bgp.render import bgpd_conf, zebra_conf
from kernel.errors import BadInput, MissingTool, NotConverged
from kernel.namespaces import Namespaces
from kernel.watch import appear

FRR = Path("/usr/lib/frr")
BGP_PORT = 179
"""RFC 4271, section 8."""
STATE = Path("/run/frr")
"""FRR's own run folder; in a lab it is the lab's."""
CONFIGURATION = {"zebra": zebra_conf, "bgpd": bgpd_conf}
SOCKETS = {"zebra": "zserv.api", "bgpd": "bgpd.vty"}
"""What a daemon opens when it is ready; a bgpd that finds no zebra tries again only after ten seconds."""
READY_S, EACH_S = 15.0, 1.0
"""How long daemons that start together may take to open their sockets, seconds, and more for each of them: the
embedded kernel has one processor, and there one takes half a second."""
LEAVE_S = 5.0
"""How long a zebra may take to remove its routes, seconds."""
LAST_LINES = 3
Running = subprocess.Popen[Any]


@dataclass
class _Pair:
    router: Router
    zebra: Running | None = None
    bgpd: Running | None = None

    def processes(self) -> list[tuple[str, Running]]:
        return [(n, one) for n, one in (("zebra", self.zebra), ("bgpd", self.bgpd)) if one is not None]

    def ended(self) -> list[tuple[str, int]]:
        """The daemons that ended by themselves, with their status."""
        return [(n, one.returncode) for n, one in self.processes() if one.poll() is not None]


class Routers:
    """The routers of a lab. `folder` gets their logs."""

    def __init__(self, namespaces: Namespaces, folder: Path) -> None:
        self._namespaces = namespaces
        self._folder = folder / "frr"
        self._pairs: dict[str, _Pair] = {}

    @property
    def pids(self) -> dict[str, dict[str, int]]:
        """The process numbers of all daemons: router -> daemon -> number."""
        return {name: {daemon: one.pid for daemon, one in pair.processes()} for name, pair in self._pairs.items()}

    def start(self, routers: Sequence[Router]) -> None:
        """Makes these routers run and no others. A router that runs as wanted is left alone, one that is to change is
        told what to change, and only where that will not do is it started anew.

        Returns when every daemon answers. Raises MissingTool (FRR), NotConverged with a daemon's last words; then none
        of those that were to start is left running.
        """
        wanted = {router.netns: router for router in routers}
        self._retire(name for name in list(self._pairs) if name not in wanted)
        self._end(name for name, pair in list(self._pairs.items()) if not self._tell(pair, wanted[name]))
        fresh = [router for router in routers if router.netns not in self._pairs]
        if not fresh:
            return
        if not (FRR / "bgpd").exists():
            raise MissingTool("FRR is not installed", where=str(FRR), remedy="run `make setup`")
        for router in fresh:
            self._must_be_free(router.netns)
        for router in fresh:
            self._pairs[router.netns] = _Pair(router)
            self._write(router)
        try:
            for daemon in SOCKETS:
                self._launch(daemon, fresh)
        except BaseException:
            self._end(router.netns for router in fresh)
            raise

    def _must_be_free(self, netns: str) -> None:
        """Raises BadInput when something listens on BGP's port there: bgpd would start, and only not be reached."""
        with self._namespaces.inside(netns):
            for family, everywhere in ((socket.AF_INET, "0.0.0.0"), (socket.AF_INET6, "::")):
                try:
                    with socket.socket(family) as sock:
                        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                        sock.bind((everywhere, BGP_PORT))
                except OSError as problem:
                    if problem.errno == errno.EADDRINUSE:
                        what = f"port {BGP_PORT} of {netns!r} is taken, so bgpd cannot listen"
                        remedy = f"end what has it; `exec {netns} -- ss -ltnp` shows that"
                        raise BadInput(what, remedy=remedy) from None

    def wait(self, deadline_s: float) -> float:
        """Waits until BGP has converged (bgp.converge.wait); returns the seconds that took. Raises NotConverged with
        what is missing, or with the last words of a daemon that ended."""
        with contextlib.ExitStack() as stack:
            deaths = stack.enter_context(self._deaths())
            return wait([pair.router for pair in self._pairs.values()], self._namespaces, deadline_s, deaths)

    @contextlib.contextmanager
    def _deaths(self) -> Iterator[Deaths]:
        found: dict[int, Any] = {}
        try:
            for name, pair in self._pairs.items():
                for daemon, process in pair.processes():
                    found[os.pidfd_open(process.pid)] = lambda n=name, d=daemon: self._dead(n, d)
            yield found
        finally:
            for fd in found:
                os.close(fd)

    def kill(self, netns: str, daemons: Sequence[str] = ("bgpd",)) -> None:
        """Ends daemons of a router at once (SIGKILL), as a crash would. Raises BadInput."""
        pair = self._pair(netns)
        for daemon, process in pair.processes():
            if daemon in daemons:
                process.kill()
                process.wait()
                setattr(pair, daemon, None)

    def revive(self, netns: str) -> None:
        """Starts those daemons of a router again that do not run. Raises BadInput, NotConverged."""
        pair = self._pair(netns)
        for daemon in SOCKETS:
            process = dict(pair.processes()).get(daemon)
            if process is None or process.poll() is not None:
                (STATE / netns / SOCKETS[daemon]).unlink(missing_ok=True)
                self._launch(daemon, [pair.router])

    def show(self, netns: str, command: str) -> dict[str, Any]:
        """FRR's answer to a `show ... json` command, the same as vtysh's. Raises BadInput, NotConverged."""
        self._pair(netns)
        daemon = "bgpd" if "bgp" in command.split() else "zebra"
        said = vty.ask(STATE / netns / f"{daemon}.vty", [command])[0]
        try:
            found: dict[str, Any] = json.loads(said)
        except ValueError:
            raise NotConverged(f"{netns}: `{command}` answered {said.strip()!r}", remedy="is it JSON?") from None
        return found

    def stop(self) -> None:
        """Ends every daemon, by its number."""
        self._end(list(self._pairs))

    # -- one router --

    def _pair(self, netns: str) -> _Pair:
        if netns not in self._pairs:
            raise BadInput(f"{netns!r} runs no router", remedy=f"one of: {', '.join(self._pairs) or 'none'}")
        return self._pairs[netns]

    def _tell(self, pair: _Pair, new: Router) -> bool:
        """Makes a running router `new` by telling its daemons; False when it must be started anew."""
        if pair.ended() or len(pair.processes()) < len(CONFIGURATION) or not change.fits(pair.router, new):
            return False
        try:
            for daemon, configuration in CONFIGURATION.items():
                if said := change.commands(configuration(pair.router), configuration(new)):
                    vty.ask(STATE / new.netns / f"{daemon}.vty", said)
        except NotConverged:
            return False
        pair.router = new
        self._configure(new)
        return True

    def _write(self, router: Router) -> None:
        """The router's folders, free of what daemons before left, and its configuration."""
        for place in (self._folder / router.netns, STATE / router.netns):
            place.mkdir(parents=True, exist_ok=True)
        for leftover in (STATE / router.netns).iterdir():
            leftover.unlink()
        self._configure(router)

    def _configure(self, router: Router) -> None:
        """Beside the sockets: zebra gives up the capability to read what is another user's, as the lab's own folder is
        in a guest kernel."""
        for daemon, configuration in CONFIGURATION.items():
            (STATE / router.netns / f"{daemon}.conf").write_text(configuration(router))

    def _launch(self, daemon: str, routers: Sequence[Router]) -> None:
        """Starts this daemon of all `routers` together, and waits until each has opened its socket."""
        for router in routers:
            setattr(self._pairs[router.netns], daemon, self._spawn(router, daemon))
        paths = {STATE / router.netns / SOCKETS[daemon]: router.netns for router in routers}

        def dead() -> str | None:
            return next((name for name in paths.values() if self._pairs[name].ended()), None)

        if missing := appear(paths, READY_S + EACH_S * len(routers), lambda: dead() is None):
            raise self._dead(dead() or paths[missing[0]], daemon)

    def _spawn(self, router: Router, daemon: str) -> Running:
        state = STATE / router.netns
        argv = [str(FRR / daemon), "-N", router.netns, "-u", "root", "-g", "root"]
        argv += ["-f", str(state / f"{daemon}.conf"), "-i", str(state / f"{daemon}.pid")]
        argv += ["-A", "127.0.0.1", "-P", "0", "--log", "stdout", "--log-level", "informational"]
        argv += ["-S"] if daemon == "bgpd" else []
        with open(self._folder / router.netns / f"{daemon}.log", "w") as log:
            return self._namespaces.spawn(router.netns, argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log)

    def _dead(self, name: str, daemon: str) -> NotConverged:
        """What to raise when a daemon of router `name` ended, or did not come up."""
        ended = self._pairs[name].ended()
        which, status = ended[0] if ended else (daemon, None)
        log = self._folder / name / f"{which}.log"
        lines = " / ".join(log.read_text().strip().splitlines()[-LAST_LINES:]) or "nothing"
        happened = f"ended with status {status}" if ended else "did not open its socket in time"
        what = f"{which} {happened}; it said last: {lines}"
        remedy = "mend what it says; `export --format frr` shows its configuration"
        return NotConverged(what, where=f"router {name}", remedy=remedy)

    def _retire(self, names: Iterable[str]) -> None:
        """Ends routers whose namespaces may live on: a zebra that is asked takes its routes along."""
        leaving = list(names)
        pairs = [self._pairs[name] for name in leaving]
        for pair in pairs:
            for daemon, process in pair.processes():
                process.send_signal(signal.SIGTERM if daemon == "zebra" else signal.SIGKILL)
        for pair in pairs:
            for _, process in pair.processes():
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(LEAVE_S)
        self._end(leaving)

    def _end(self, names: Iterable[str]) -> None:
        pairs = [self._pairs.pop(name) for name in names]
        processes = [process for pair in pairs for _, process in pair.processes()]
        for process in processes:
            process.send_signal(signal.SIGKILL)  # gracefully they would withdraw routes from a lab that ends
        for process in processes:
            process.wait()
