"""The tests here run inside a lab's own namespaces: once on the machine's kernel, once on the embedded one.

Outside, pytest collects them, once a kernel, and starts itself again on each kernel through kernel.places;
the reports come back through the run folder, line by line, and are shown as if they had run here. So one
closing line counts every test, and nothing of them can touch the machine.
"""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

HOME = Path(__file__).resolve().parents[2]
HERE = Path(__file__).resolve().parent
INSIDE = os.environ.get("PODPATH_KERNEL")
"""The kernel that this pytest runs on; None outside."""
REPORTS = "reports.jsonl"
OWN = "user" if INSIDE == "user" or os.geteuid() != 0 else "host"  # in a user namespace everybody is root
"""The way to the machine's own kernel that this user has."""
SILENCE_S = 300.0
"""How long the inner pytest may say nothing, seconds."""


@pytest.hookimpl(tryfirst=True)
def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Each test once a kernel; a test marked `only("embedded")` on that one.

    First of all hooks: a conftest found late is asked before fixtures with parameters and one found early after them,
    and the outer and the inner pytest must give a test the same name.
    """
    marks = [mark.args for mark in metafunc.definition.iter_markers("only")]
    wanted = [k for k in (OWN, "embedded") if not marks or k in marks[0] or (k == OWN and "machine" in marks[0])]
    kernels = [kernel for kernel in wanted if INSIDE in (None, kernel)]
    metafunc.fixturenames.append("on_kernel")
    metafunc.parametrize("on_kernel", kernels, indirect=True, scope="session")


@pytest.fixture(scope="session")
def on_kernel(request: pytest.FixtureRequest) -> str:
    """The kernel's name."""
    return str(request.param)


class Inner:
    """One pytest on one kernel, and the reports that it has written so far."""

    def __init__(self, kernel: str, items: Sequence[pytest.Item]) -> None:
        from kernel import places
        from kernel.errors import PodpathError

        runs = HOME / "runs"
        runs.mkdir(exist_ok=True)
        self.folder = Path(tempfile.mkdtemp(prefix=f"tests-{kernel}-", dir=runs))
        (self.folder / "items.json").write_text(json.dumps([item.nodeid for item in items]))
        argv = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:terminal", str(HERE)]
        argv.append("--basetemp=/run/pytest")  # the lab's own; /tmp is the machine's
        self.process: places.Process | None = None
        self.trouble = ""
        try:
            self.process = places.launch(kernel, self.folder.name, argv, self.folder)
        except PodpathError as problem:
            self.trouble = str(problem)
        self.reports: dict[str, list[dict[str, Any]]] = {}
        self._seen = 0

    def of(self, nodeid: str) -> list[dict[str, Any]]:
        """The reports of one test, waited for."""
        deadline = time.monotonic() + SILENCE_S
        while not self._finished(nodeid) and time.monotonic() < deadline:
            ended = self.status() is not None
            if self._read():
                deadline = time.monotonic() + SILENCE_S
            elif ended:
                break
            else:
                time.sleep(0.02)  # a file in a guest kernel's file system announces nothing
        return self.reports.get(nodeid, [])

    def status(self) -> int | None:
        """The inner pytest's exit status, once it has ended; 2 when it could not start."""
        return self.process.poll() if self.process else 2

    def _finished(self, nodeid: str) -> bool:
        return any(report["when"] == "teardown" for report in self.reports.get(nodeid, ()))

    def _read(self) -> bool:
        try:
            text = (self.folder / REPORTS).read_bytes()[self._seen :]
        except FileNotFoundError:
            return False
        whole = text[: text.rfind(b"\n") + 1]
        self._seen += len(whole)
        for line in whole.splitlines():
            report = json.loads(line)
            self.reports.setdefault(report["nodeid"], []).append(report)
        return bool(whole)

    def end(self) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Inside: only what the outer pytest chose."""
    if INSIDE and (chosen := Path(os.environ["PODPATH_RUN"], "items.json")).exists():
        wanted = set(json.loads(chosen.read_text()))
        items[:] = [item for item in items if item.nodeid in wanted]


def _lab_items(session: pytest.Session, kernel: str) -> list[pytest.Item]:
    return [item for item in session.items if HERE in item.path.parents and _kernel_of(item) == kernel]


def _kernel_of(item: pytest.Item) -> str:
    return str(getattr(item, "callspec").params["on_kernel"])  # noqa: B009


def pytest_runtest_protocol(item: pytest.Item, nextitem: pytest.Item | None) -> bool | None:
    """Outside: shows the inner pytest's reports in place of running the test. (pytest asks for every item.)"""
    if INSIDE or HERE not in item.path.parents:
        return None
    inners: dict[str, Inner] = item.session.__dict__.setdefault("podpath_inners", {})
    kernel = _kernel_of(item)
    if kernel not in inners:
        inners[kernel] = Inner(kernel, _lab_items(item.session, kernel))
    hook = item.ihook
    hook.pytest_runtest_logstart(nodeid=item.nodeid, location=item.location)
    reports = [
        hook.pytest_report_from_serializable(config=item.config, data=data) for data in inners[kernel].of(item.nodeid)
    ]
    if not reports:
        inner = inners[kernel]
        why = inner.trouble or f"the {kernel} kernel's pytest ended with status {inner.status()} before this test"
        reports = [pytest.TestReport(item.nodeid, item.location, {}, "failed", why, "call", duration=0.0)]
    for report in reports:
        hook.pytest_runtest_logreport(report=report)
    hook.pytest_runtest_logfinish(nodeid=item.nodeid, location=item.location)
    return True


def pytest_runtest_logreport(report: pytest.TestReport) -> None:
    """Inside: hands the report out."""
    if INSIDE:
        with Path(os.environ["PODPATH_RUN"], REPORTS).open("a") as out:
            config = _CONFIG[0]
            data = config.hook.pytest_report_to_serializable(config=config, report=report)
            out.write(json.dumps(data, default=str) + "\n")


_CONFIG: list[pytest.Config] = []


def pytest_configure(config: pytest.Config) -> None:
    _CONFIG.append(config)


def pytest_sessionfinish(session: pytest.Session) -> None:
    for inner in session.__dict__.get("podpath_inners", {}).values():
        inner.end()


@pytest.fixture
def make_lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Any]]:
    """`make_lab(plugin, mode, preset)`: a lab of that kind, up; taken down after the test."""
    from cluster.lab import Lab, features, plan
    from topologies.spec import preset

    labs: list[Lab] = []

    def make(plugin: str = "hybridnet", mode: str = "vxlan", name: str = "one-switch") -> Lab:
        lab = Lab(plan(preset(name), plugin, mode, features()), tmp_path_factory.mktemp("lab"))
        labs.append(lab)
        lab.up()
        return lab

    yield make
    for lab in labs:
        lab.down()


@pytest.fixture
def lab(make_lab: Callable[..., Any]) -> Any:
    """hybridnet VXLAN on the preset `one-switch`, up."""
    return make_lab()


@pytest.fixture
def world() -> Iterator[Any]:
    """Namespaces with an engine of their own, empty."""
    from tests.lab.world import World

    made = World()
    yield made
    made.close()
