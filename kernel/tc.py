"""Traffic control: impaired links, and hybridnet's rewriting of broadcast on its VXLAN device.

Both are a handful of commands to `tc -batch`, one process for each namespace that has any (tc(8)).
"""

from __future__ import annotations

from collections.abc import Iterable

from kernel.diff import Change
from kernel.errors import KernelRefused, MissingFeature
from kernel.namespaces import Namespaces
from kernel.state import BroadcastRewrite, Netns, Shaping

BURST_S = 0.01
"""A token bucket holds what its rate sends in this time, and never less than two full-sized packets."""
LEAST_BURST = 3200
LATENCY = "50ms"


def shaping(item: Shaping) -> list[str]:
    """netem for delay and loss, tbf for rate; both when both are wanted (tc-netem(8), tc-tbf(8))."""
    impaired = []
    if item.delay_us:
        impaired += ["delay", f"{item.delay_us}us"]
    if item.loss_pct:
        impaired += ["loss", f"{item.loss_pct:g}%"]
    said, parent = [], "root handle 1:"
    if impaired:
        said.append(f"qdisc add dev {item.dev} {parent} netem limit 10000 {' '.join(impaired)}")
        parent = "parent 1: handle 2:"
    if item.rate_bps:
        burst = max(LEAST_BURST, int(item.rate_bps * BURST_S / 8))
        said.append(f"qdisc add dev {item.dev} {parent} tbf rate {item.rate_bps}bit burst {burst} latency {LATENCY}")
    return said


def rewrite(item: BroadcastRewrite) -> list[str]:
    """Frames with the group bit in their destination MAC get `mac` instead: band 0 of a prio qdisc catches
    them with u32 on the byte at offset -14 from the network header and pedit rewrites them
    (hybridnet: pkg/daemon/vxlan/vxlan.go)."""
    pairs = item.mac.replace(":", "")
    first, rest = pairs[:4], pairs[4:]
    edit = f"munge offset -14 u16 set 0x{first} munge offset -12 u32 set 0x{rest}"
    return [
        f"qdisc add dev {item.dev} root handle 1: prio",
        f"filter add dev {item.dev} parent 1: protocol all prio 1 u32 "
        f"match u8 0x01 0x01 at -14 action pedit {edit} pass",
    ]


def lines(ns: Netns) -> list[str]:
    """The commands, without the leading `tc`."""
    return [line for one in ns.shaping for line in shaping(one)] + [x for one in ns.rewrites for x in rewrite(one)]


def apply(namespaces: Namespaces, changes: Iterable[Change]) -> None:
    """Replaces the root qdiscs of the devices concerned. Raises MissingFeature when the kernel lacks one."""
    for change in changes:
        if not change.redo & {"shaping", "rewrites"}:
            continue
        name, whole = change.whole.name, change.whole
        devices = _devices(change.add) | _devices(change.remove)
        if not change.fresh:
            _batch(namespaces, name, [f"qdisc del dev {device} root" for device in sorted(devices)], force=True)
        shaping = tuple(item for item in whole.shaping if item.dev in devices)
        rewrites = tuple(item for item in whole.rewrites if item.dev in devices)
        _batch(namespaces, name, lines(Netns(name, shaping=shaping, rewrites=rewrites)))


def _devices(ns: Netns) -> set[str]:
    return {item.dev for item in ns.shaping} | {item.dev for item in ns.rewrites}


def _batch(namespaces: Namespaces, name: str, commands: list[str], force: bool = False) -> None:
    if not commands:
        return
    text = "".join(command + "\n" for command in commands)
    done = namespaces.run(name, ["tc", *(["-force"] if force else []), "-batch", "-"], text)
    if done.returncode and not force:
        _explain(name, commands, done.stderr)


def _explain(name: str, commands: list[str], said: str) -> None:
    text = said.strip()
    if "qdisc kind is unknown" in text or "No such file or directory" in text or "not found" in text:
        kinds = sorted({kind for kind in ("netem", "tbf", "prio", "pedit") if any(kind in c for c in commands)})
        what = f"this kernel lacks one of {', '.join(kinds)}, which shaping a link or hybridnet's broadcast needs"
        raise MissingFeature(what, where=f"namespace {name}", remedy="use --kernel embedded")
    raise KernelRefused(f"tc refused: {text}", where=f"namespace {name}")
