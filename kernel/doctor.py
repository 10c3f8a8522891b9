"""What this machine's kernels can do, which modes that allows, and what to do about the rest.

Each feature is tried in a scratch namespace that is gone afterwards. The embedded kernel is booted only on
request: booting takes seconds, and what it has is known and tested.
"""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from kernel import features, places
from kernel.errors import NotConverged, PodpathError

TRIED, KNOWN, BOOTED = "tried now", "known; --deep boots it and tries", "booted and tried now"
"""How the features of a kernel were found out."""


@dataclass(frozen=True)
class Kernel:
    """One place to run. `why_not` is "" if it can be used here; `lacks` holds every feature and "" or a reason."""

    name: str
    why_not: str
    how: str
    lacks: Mapping[str, str]

    def cannot(self, needs: Iterable[str]) -> str:
        """ "" if what has `needs` runs here, else why not."""
        missing = sorted(name for name in needs if self.lacks.get(name, "unknown"))
        return self.why_not or (f"lacks {', '.join(missing)}" if missing else "")


@dataclass(frozen=True)
class ModeVerdict:
    """Where a mode runs: each kernel and "" or why not; `auto` is the kernel that --kernel auto takes."""

    name: str
    kernels: Mapping[str, str]
    auto: str | None


@dataclass(frozen=True)
class Report:
    """All that `doctor` found."""

    machine: str
    kernels: tuple[Kernel, ...]
    modes: tuple[ModeVerdict, ...]

    @property
    def healthy(self) -> bool:
        """Every mode runs somewhere."""
        return all(mode.auto for mode in self.modes)

    def remedy(self, feature: str) -> str:
        """What to do where a feature is missing; "" where no kernel lacks it."""
        missing = any(kernel.lacks.get(feature) for kernel in self.kernels if not kernel.why_not)
        return features.FEATURES[feature].remedy if missing else ""

    def to_json(self) -> dict[str, Any]:
        """Plain data, as `doctor --json` prints it."""
        return {
            "machine": self.machine,
            "healthy": self.healthy,
            "kernels": [{"name": k.name, "why_not": k.why_not, "how": k.how} for k in self.kernels],
            "features": [
                {
                    "name": name,
                    "purpose": one.purpose,
                    "lacks": {k.name: k.lacks[name] for k in self.kernels if name in k.lacks},
                    "remedy": self.remedy(name),
                }
                for name, one in features.FEATURES.items()
            ],
            "modes": [{"name": m.name, "kernels": dict(m.kernels), "auto": m.auto} for m in self.modes],
        }


def examine(modes: Iterable[tuple[str, frozenset[str]]], *, deep: bool = False) -> Report:
    """`modes` are names and the features that each needs. `deep` boots the embedded kernel, if it is installed."""
    kernels = tuple(_kernel(name, why_not, deep) for name, why_not in places.usable().items())
    return Report(platform.release(), kernels, tuple(_verdict(name, needs, kernels) for name, needs in modes))


def _verdict(name: str, needs: frozenset[str], kernels: tuple[Kernel, ...]) -> ModeVerdict:
    found = {kernel.name: kernel.cannot(needs) for kernel in kernels}
    return ModeVerdict(name, found, next((kernel for kernel, why in found.items() if not why), None))


def _kernel(name: str, why_not: str, deep: bool) -> Kernel:
    how = TRIED if name != "embedded" else BOOTED if deep else KNOWN
    if why_not:
        return Kernel(name, why_not, "not tried", {})
    try:
        if name != "embedded":
            return Kernel(name, "", how, features.probe_apart(name))
        return Kernel(name, "", how, _in_guest() if deep else features.of_embedded())
    except PodpathError as problem:
        return Kernel(name, str(problem), how, {})


def _in_guest() -> dict[str, str]:
    """Boots the embedded kernel and tries every feature there. Raises what booting raises."""
    import json

    with places.scratch("doctor") as folder:
        guest = places.launch("embedded", "doctor", [sys.executable, "-m", "kernel.features"], folder)
        status = guest.wait()
        result = folder / features.RESULT
        if status or not result.exists():
            what = f"the embedded kernel booted, but trying its features ended with status {status}"
            raise NotConverged(what, remedy="run it by hand: run_topology.py up --kernel embedded")
        found: dict[str, str] = json.loads(result.read_text())
        return found
