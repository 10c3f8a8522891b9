"""What `verify --all` finds: an outcome for each scenario of each mode, as lines, JSON and JUnit."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any
from xml.sax.saxutils import escape, quoteattr

from paths.paint import Paint, wrapped
from paths.rules import Finding
from paths.verify import Scenario

BRING_UP, RULES = "bring-up", "rules of a flat network"
"""Scenarios that are no pair: the lab itself, and the article's rules (paths.rules)."""
LONGEST = 26
"""Columns of a scenario's name: client to unannounced pod, and one to spare."""
XML_BAD = {code: None for code in range(32) if chr(code) not in "\t\n\r"}
"""What XML 1.0 does not allow."""


@dataclass(frozen=True)
class Outcome:
    """One scenario of one mode on one kernel. `family` 0 is none; `said` is what is otherwise than documented."""

    mode: str
    preset: str
    kernel: str
    scenario: str
    family: int
    agrees: bool
    seconds: float
    pair: str = ""
    said: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """For `--json`; `from_json` reads it back."""
        return asdict(self)

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> Outcome:
        """What `to_json` gave."""
        return cls(**{**values, "said": tuple(values["said"])})


def of_scenario(where: tuple[str, str, str], one: Scenario) -> Outcome:
    """`where` is mode, preset and kernel."""
    said = [line for verdict in one.verdicts if not verdict.agrees for line in _divergence(verdict)]
    pair = f"{one.source} → {one.target}"
    return Outcome(*where, one.kind, one.family, one.agrees, one.seconds, pair, tuple(said))


def _divergence(verdict: Any) -> Iterator[str]:
    """Why a way is not as documented."""
    yield f"{verdict.way}: documented {verdict.expected}; observed {verdict.observed}"
    trace = verdict.trace
    if trace.reason:
        yield f"{verdict.way}: {trace.place}: {trace.reason}"
    yield from (f"not as wanted: {line}" for line in trace.differences)


def of_rules(where: tuple[str, str, str], family: int, found: Sequence[Finding], seconds: float) -> Outcome:
    """The flat network's rules in one family."""
    said = tuple(f"{one.rule}: {text}" for one in found if not one.agrees for text in one.said or ("otherwise",))
    return Outcome(*where, RULES, family, all(one.agrees for one in found), seconds, "", said)


# -- as lines ---------------------------------------------------------------------------------------------


def line(one: Outcome, paint: Paint, modes: int, width: int) -> str:
    """One line, and below it what is otherwise; `modes` is the widest mode's width."""
    mark = paint("✔", "green") if one.agrees else paint("✘", "bold", "red")
    family = f"IPv{one.family}" if one.family else ""
    head = f"{mark} {one.mode:<{modes}}  {one.scenario:<{LONGEST}}  {family:<4}  {one.seconds:5.2f} s  "
    lines = [head + paint(one.pair, "dim")]
    lines += [" " * 6 + part for text in one.said for part in wrapped(text, width - 6, 2)]
    return "\n".join(text.rstrip() for text in lines)


def summary(found: Sequence[Outcome], seconds: float) -> str:
    """How many of how many, on which kernels, and how long it took."""
    tried = [one for one in found if one.scenario != BRING_UP]
    modes = {one.mode for one in found}
    kernels = " and ".join(dict.fromkeys(one.kernel for one in found))
    good = f"{sum(one.agrees for one in tried)} of {len(tried)} scenarios of {counted(modes)} are as documented"
    took = f"{int(seconds) // 60} min {seconds % 60:.0f} s" if seconds >= 60 else f"{seconds:.1f} s"
    return f"{good}, on the {kernels} kernel, in {took}"


def counted(modes: Collection[str]) -> str:
    """1 mode, 2 modes, ..."""
    return f"{len(modes)} mode{'' if len(modes) == 1 else 's'}"


# -- for programs -----------------------------------------------------------------------------------------


def junit(found: Sequence[Outcome]) -> str:
    """A test suite for each mode, a test case for each scenario and family (the JUnit XML that CI systems read)."""
    lines = ['<?xml version="1.0" encoding="UTF-8"?>', f"<testsuites {_counts(found)}>"]
    for mode, group in groupby(found, key=lambda one: one.mode):
        mine = list(group)
        lines.append(f"  <testsuite name={quoteattr(mode)} {_counts(mine)}>")
        lines += [text for one in mine for text in _case(one)]
        lines.append("  </testsuite>")
    return "\n".join([*lines, "</testsuites>", ""])


def _counts(found: Sequence[Outcome]) -> str:
    errors = sum(one.scenario == BRING_UP and not one.agrees for one in found)
    failures = sum(not one.agrees for one in found) - errors
    time = sum(one.seconds for one in found)
    return f'tests="{len(found)}" failures="{failures}" errors="{errors}" time="{time:.3f}"'


def _case(one: Outcome) -> Iterator[str]:
    name = one.scenario + (f", IPv{one.family}" if one.family else "")
    attributes = f'classname={quoteattr(f"podpath.{one.mode}")} name={quoteattr(name)} time="{one.seconds:.3f}"'
    if one.agrees:
        yield f"    <testcase {attributes}/>"
        return
    kind = "error" if one.scenario == BRING_UP else "failure"
    text = "\n".join(one.said).translate(XML_BAD)
    first = one.said[0].translate(XML_BAD) if one.said else ""
    yield f"    <testcase {attributes}>"
    yield f"      <{kind} message={quoteattr(first)}>{escape(text)}</{kind}>"
    yield "    </testcase>"
