"""The run itself, on the chosen kernel: labs up, settings, rounds. What is found is written line by line at once, so
that whatever ends the run leaves all that was measured."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from random import Random
from typing import Any

from bench import cost
from bench.crew import Crew
from bench.machine import machine
from bench.metrics import PROBES
from bench.plan import RAW, Plan, Subject
from bench.settings import Setting
from bench.sites import LabFactory
from bench.stats import Interval, bootstrap
from kernel.errors import PodpathError

LINES = "samples.jsonl"
"""In the run folder: one JSON object a line; `kind` says what it is."""
LEAST = 3
"""Rounds before a metric can be precise enough to stop."""
Key = tuple[str, str, str, str, int]


def key(line: Mapping[str, Any]) -> Key:
    """What a sample is of: setting, mode, scenario, probe, round."""
    return (line["setting"], line["mode"], line["scenario"], line["probe"], line["round"])


class Run:
    """A plan being carried out; `before` are the lines of the run that it resumes."""

    def __init__(
        self, plan: Plan, make_lab: LabFactory, folder: Path, before: Iterable[Mapping[str, Any]] = ()
    ) -> None:
        self._plan, self._make_lab = plan, make_lab
        self._out = (folder / LINES).open("a")
        self._done = {key(line) for line in before if line["kind"] == "sample"}
        self._values: dict[tuple[str, str, Subject], dict[int, float]] = {}
        for line in before:
            if line["kind"] == "sample":
                self._keep(line)

    def all(self) -> None:
        """Everything of the plan."""
        self._say("machine", **machine())
        for mtu, settings in self._plan.groups():
            with Crew(self._plan.labs, mtu, self._make_lab) as crew:
                facts, failed = crew.ready()
                for name, found in facts.items():
                    self._say("facts", mode=name, mtu=mtu, **found)
                for name, why in failed.items():
                    self._say("failure", mode=name, setting=settings[0].name, why=why)
                for one in settings:
                    self._setting(crew, one)
        self._say("end")

    def _setting(self, crew: Crew, one: Setting) -> None:
        for name in crew.names:
            try:
                notes = crew[name].put(one)
            except PodpathError as problem:
                notes = [str(problem)]
            for note in notes:
                self._say("note", mode=name, setting=one.name, text=note)
        for number in range(self._plan.rounds + 1):
            subjects = self._plan.subjects(one, crew.names)
            left = [name for name in self._plan.probes_of(one) if not self._settled(one, name, subjects)]
            idle = cost.background() if left else 0.0
            for name in left:
                for subject in self._plan.order(one, number, name, subjects):
                    self._sample(crew, one, number, name, subject, idle)

    def _sample(self, crew: Crew, one: Setting, number: int, name: str, subject: Subject, idle: float) -> None:
        line = {"setting": one.name, "mode": subject.mode, "scenario": subject.scenario, "probe": name, "round": number}
        if key(line) in self._done or subject.mode not in crew.names:
            return
        budget = self._plan.budget(one, number == 0, idle)
        for attempt in (1, 2):
            began = time.time()
            try:
                found = crew[subject.mode].measure(name, subject.scenario, budget)
            except PodpathError as problem:
                if number:
                    self._say("failure", **line, why=str(problem), attempt=attempt)
                continue
            if found is not None and number:  # round 0 warms up
                whole = line | {"began": began, "ended": time.time()} | found
                self._say("sample", **whole)
                self._keep(whole)
            return

    def _keep(self, line: Mapping[str, Any]) -> None:
        first = PROBES[line["probe"]].metrics[0].name
        subject = Subject(line["mode"], line["scenario"])
        self._values.setdefault((line["setting"], line["probe"], subject), {})[line["round"]] = line["values"][first]

    def _settled(self, one: Setting, name: str, subjects: Sequence[Subject]) -> bool:
        """Every subject's ratio to the baseline is as precise as wished."""
        if self._plan.precision is None:
            return False
        base = self._values.get((one.name, name, Subject(RAW, RAW)), {})
        mine = [self._values.get((one.name, name, subject), {}) for subject in subjects if subject.scenario != RAW]
        found = [paired(values, base) for values in mine]
        return bool(found) and all(x and x.n >= LEAST and x.half_width <= self._plan.precision for x in found)

    def _say(self, kind: str, **more: Any) -> None:
        self._out.write(as_lines([{"kind": kind, **more}]))
        self._out.flush()


def paired(values: Mapping[int, float], base: Mapping[int, float], seed: int = 1) -> Interval | None:
    """The interval of the ratios round by round; None without a common round."""
    ratios = [values[number] / base[number] for number in sorted(values.keys() & base.keys()) if base[number]]
    return bootstrap(ratios, Random(seed)) if ratios else None


def as_lines(lines: Iterable[Mapping[str, Any]]) -> str:
    """As the file holds them."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def read_lines(path: Path) -> list[dict[str, Any]]:
    """The lines that are whole; the last one of a killed run may not be."""
    if not path.exists():
        return []
    text = path.read_text()
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]
