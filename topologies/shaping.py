"""A link's shape as words: `bandwidth=100Mbit delay=5ms loss=1% mtu=1400`."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from kernel.errors import BadInput

NAMES = ("bandwidth", "delay", "loss", "mtu")
EXAMPLE = "such as bandwidth=100Mbit delay=5ms loss=1% mtu=1400"


def values_of(words: Iterable[str]) -> dict[str, Any]:
    """The values that words state, as LabSpec.with_link takes them; "none" takes a bandwidth away.

    Raises BadInput for a word that is no NAME=VALUE or names something that a link does not have."""
    found: dict[str, Any] = {}
    for word in words:
        name, equals, value = word.partition("=")
        if not equals or name not in NAMES:
            raise BadInput(f"{word!r} is no value of a link", remedy=EXAMPLE)
        if name in found:
            raise BadInput(f"{name!r} is given twice", remedy=EXAMPLE)
        found[name] = None if name == "bandwidth" and value == "none" else value
    return found


def as_text(shape: dict[str, Any]) -> str:
    """What `LabSpec.link_between` found, in the same words."""
    rate = shape["bandwidth"]
    return " ".join(
        (
            f"bandwidth={'none' if rate is None else _rate(rate)}",
            f"delay={_time(shape['delay'])}",
            f"loss={shape['loss']:g}%",
            f"mtu={shape['mtu']}",
        )
    )


def _rate(bits: int) -> str:
    for unit, size in (("Gbit", 10**9), ("Mbit", 10**6), ("kbit", 10**3)):
        if bits >= size:
            return f"{bits / size:.6g}{unit}"
    return f"{bits}bit"


def _time(microseconds: int) -> str:
    if microseconds >= 1000:
        return f"{microseconds / 1000:g}ms"
    return f"{microseconds}us" if microseconds else "0ms"
