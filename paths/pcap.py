"""Captured frames as files for Wireshark: one pcapng a device."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from kernel.errors import BadInput
from paths.capture import Frame


def write(folder: Path, frames: Iterable[Frame]) -> list[Path]:
    """NAMESPACE-DEVICE.pcapng for each device that saw a frame, in the order of time. Raises BadInput."""
    from dpkt.pcapng import Writer

    devices: dict[str, list[Frame]] = {}
    for frame in sorted(frames, key=lambda frame: frame.time_ns):
        devices.setdefault(f"{frame.netns}-{frame.device}.pcapng", []).append(frame)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, found in devices.items():
            with (folder / name).open("wb") as out:
                writer = Writer(out)
                for frame in found:
                    writer.writepkt(frame.raw, frame.time_ns / 1e9)
    except OSError as problem:
        raise BadInput(f"captures cannot be written: {problem.strerror}", where=str(folder)) from None
    return [folder / name for name in devices]
