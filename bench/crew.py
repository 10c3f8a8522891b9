"""One process for each lab that is up, so that all are up at once and a round goes from one to the next at once.

A lab's daemons have their folder in a mount namespace of that process; a process that hangs is killed, and its mode is
missing in the report from then on.
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import traceback
from collections.abc import Sequence
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from bench.metrics import PROBES, Budget
from bench.settings import Setting
from bench.sites import LabFactory, Site, site
from kernel import inside, mounts
from kernel.errors import NotConverged, PodpathError

UP_S = 120.0
"""How long a lab may take to come up, seconds."""
SLACK_S = 90.0
"""How long a measurement may take beyond its own length, seconds; iperf3's own deadline is shorter."""
FRR_RUN = "/run/frr"


class Worker:
    """The process of one lab."""

    def __init__(self, name: str, link_mtu: int, make_lab: LabFactory) -> None:
        context = multiprocessing.get_context("fork")
        self.name = name
        self._near, far = context.Pipe()
        self._process = context.Process(target=_serve, args=(far, name, link_mtu, make_lab, os.getpid()), daemon=True)
        self._process.start()
        far.close()

    def ready(self) -> dict[str, Any]:
        """What the lab is made of, once it is up. Raises PodpathError with its own reason."""
        found: dict[str, Any] = self._answer(UP_S, "came up")
        return found

    def put(self, one: Setting) -> list[str]:
        """Puts the lab into a setting."""
        notes: list[str] = self._ask(("put", one), SLACK_S, "changed its links")
        return notes

    def measure(self, probe: str, scenario: str, budget: Budget) -> dict[str, Any] | None:
        """Values and what else there is; None when the lab has no such scenario. Raises PodpathError."""
        limit = budget.seconds + budget.omit_s + SLACK_S
        found: dict[str, Any] | None = self._ask(("measure", probe, scenario, budget), limit, f"measured {probe}")
        return found

    @property
    def alive(self) -> bool:
        """It can still be asked."""
        return self._process.is_alive()

    def close(self) -> None:
        """Ends the lab."""
        with contextlib.suppress(OSError):
            self._near.send(("end",))
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join()

    def _ask(self, request: tuple[Any, ...], limit_s: float, what: str) -> Any:
        try:
            self._near.send(request)
        except OSError:
            raise NotConverged(f"the lab of {self.name} has ended") from None
        return self._answer(limit_s, what)

    def _answer(self, limit_s: float, what: str) -> Any:
        if not self._near.poll(limit_s):
            self._process.kill()
            raise NotConverged(f"{self.name} has not {what} within {limit_s:g} s, and was ended")
        try:
            good, answer = self._near.recv()
        except EOFError:
            raise NotConverged(f"the lab of {self.name} has ended") from None
        if not good:
            raise PodpathError(answer)
        return answer


def _serve(pipe: Connection, name: str, link_mtu: int, make_lab: LabFactory, parent: int) -> None:
    """The process itself."""
    inside.die_with(parent)
    try:
        inside.unshare(inside.NEWNS)
        mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
        Path(FRR_RUN).mkdir(parents=True, exist_ok=True)
        mounts.mount("tmpfs", FRR_RUN, "tmpfs", options="mode=755")
        with site(name, link_mtu, make_lab) as here:
            pipe.send((True, here.facts()))
            _answer_all(pipe, here)
    except PodpathError as problem:
        pipe.send((False, str(problem)))
    except Exception:
        pipe.send((False, traceback.format_exc()))


def _answer_all(pipe: Connection, here: Site) -> None:
    while (request := pipe.recv())[0] != "end":
        try:
            pipe.send((True, _done(here, request)))
        except (PodpathError, OSError) as problem:
            pipe.send((False, str(problem)))


def _done(here: Site, request: tuple[Any, ...]) -> Any:
    if request[0] == "put":
        return here.put(request[1])
    _, probe, scenario, budget = request
    if scenario not in here.ends:
        return None
    found = PROBES[probe].run(here.ends[scenario], budget)
    return {"values": dict(found.values), "more": dict(found.more)}


class Crew:
    """All labs of one link MTU; a context manager."""

    def __init__(self, names: Sequence[str], link_mtu: int, make_lab: LabFactory) -> None:
        self._workers = {name: Worker(name, link_mtu, make_lab) for name in names}

    def ready(self) -> tuple[dict[str, dict[str, Any]], dict[str, str]]:
        """Waits for all; facts of those that came up, reasons of those that did not."""
        facts, failed = {}, {}
        for name, worker in list(self._workers.items()):
            try:
                facts[name] = worker.ready()
            except PodpathError as problem:
                failed[name] = str(problem)
                del self._workers[name]
        return facts, failed

    def __getitem__(self, name: str) -> Worker:
        return self._workers[name]

    @property
    def names(self) -> list[str]:
        """Those that can be asked."""
        return [name for name, worker in self._workers.items() if worker.alive]

    def __enter__(self) -> Crew:
        return self

    def __exit__(self, *_: object) -> None:
        for worker in self._workers.values():
            worker.close()
