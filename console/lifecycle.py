"""Commands that bring a lab up, use it and end it: up, down, attach, exec, shape, demo."""

from __future__ import annotations

import argparse
import signal
import time
from pathlib import Path
from typing import Any

from cluster.client import call, session
from console import start
from console.screen import looks, print_json, say
from kernel import places
from kernel.errors import BadInput

ENDS = (signal.SIGTERM, signal.SIGHUP)


def up(arguments: argparse.Namespace) -> int:
    """A new lab, or the running one changed; then the prompt, unless it stays in the background."""
    chosen = start.choice(arguments)
    folder = places.run_folder(arguments.name or chosen.spec.name)
    places.sweep()
    running = folder.name in places.running()
    if arguments.dry_run:
        return _dry_run(arguments, chosen, folder, running)
    if running:
        return _change(arguments, chosen, folder)
    return _new(arguments, chosen, folder.name)


def _new(arguments: argparse.Namespace, chosen: start.Choice, name: str) -> int:
    kernel, why = start.choose_kernel(arguments.kernel, chosen, prompt=not arguments.detach)
    start.plan_for(chosen, kernel)  # what is wrong with it is told before anything is built
    say(f"lab {name!r} on the {kernel} kernel: {why}")
    for number in ENDS:
        signal.signal(number, _interrupted)
    lab = start.start(chosen, kernel, name, arguments.detach, say)
    _show(arguments, lab.summary)
    if arguments.detach:
        return 0
    try:
        return session(lab.folder, {"request": "prompt"})
    finally:
        lab.down()


def _interrupted(_number: int, _frame: object) -> None:
    """As Ctrl-C, once: a terminal that is closed sends SIGHUP from the shell and from the kernel, and the second one
    must not come between the lab and its end."""
    for number in ENDS:
        signal.signal(number, signal.SIG_IGN)
    raise KeyboardInterrupt


def _change(arguments: argparse.Namespace, chosen: start.Choice, folder: Path) -> int:
    if arguments.kernel not in ("auto", kernel := places.kernel_of(folder)):
        what = f"the lab {folder.name!r} runs on the {kernel} kernel"
        raise BadInput(what, where="--kernel", remedy="take it down first, or give another --name")
    start.plan_for(chosen, kernel)
    summary = call(folder, chosen.request("up"), say)
    _show(arguments, summary | {"kernel": kernel, "lab": folder.name})
    return 0 if arguments.detach else session(folder, {"request": "prompt"})


def _show(arguments: argparse.Namespace, summary: dict[str, Any]) -> None:
    if arguments.json:
        print_json(summary)
        return
    routed = f", BGP converged in {summary['converged_s']:.2f} s" if summary["converged_s"] is not None else ""
    changed = f"{summary['made']} made, {summary['removed']} removed"
    say(f"up in {summary['seconds']:.2f} s: {summary['nodes']} nodes, {summary['pods']} pods ({changed}){routed}")
    for note in summary["notes"]:
        say(f"note: {note}")


def _dry_run(arguments: argparse.Namespace, chosen: start.Choice, folder: Path, running: bool) -> int:
    """The difference to the running lab, or everything when there is none."""
    if running:
        steps = call(folder, chosen.request("plan"))
    else:
        from console.look import export_text

        steps = export_text(arguments, "ip").splitlines()
    if arguments.json:
        print_json({"lab": folder.name, "running": running, "steps": steps})
    else:
        print("\n".join(steps) if steps else "nothing to do")
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Ends a lab, and tidies up after those that were killed."""
    places.sweep()
    folder = start.running_folder(arguments.name)
    began = time.monotonic()
    start.end(folder)
    if arguments.json:
        print_json({"lab": folder.name, "seconds": time.monotonic() - began})
    else:
        say(f"lab {folder.name!r} is down")
    return 0


def attach(arguments: argparse.Namespace) -> int:
    """The Mininet prompt of a running lab."""
    return session(start.running_folder(arguments.name), {"request": "prompt"})


def execute(arguments: argparse.Namespace) -> int:
    """One command in a namespace of the lab; its exit status is ours."""
    argv = arguments.argv[1:] if arguments.argv[:1] == ["--"] else arguments.argv
    if not argv:
        raise BadInput("no command to run", where="exec", remedy="write it after --, such as: exec pod1 -- ip addr")
    if argv is arguments.argv and argv[0].startswith("-"):
        remedy = f"options come before {arguments.netns}; the command after --"
        raise BadInput(f"{argv[0]!r} is no command", where="exec", remedy=remedy)
    if argv[0] == "vtysh" and "-N" not in argv:  # each router has a path space of its own (bgp.daemons)
        argv = ["vtysh", "-N", arguments.netns, *argv[1:]]
    folder = start.running_folder(arguments.name)
    return session(folder, {"request": "exec", "netns": arguments.netns, "argv": argv})


def shape_link(arguments: argparse.Namespace) -> int:
    """Changes a link of a running lab, and shows what it is like now."""
    from topologies.shaping import as_text, values_of

    values = values_of(arguments.values)
    request = {"request": "shape", "a": arguments.a, "b": arguments.b, "values": values}
    now = call(start.running_folder(arguments.name), request)
    if arguments.json:
        print_json({"a": arguments.a, "b": arguments.b, **now})
    else:
        print(as_text(now))
    return 0


def demo(arguments: argparse.Namespace) -> int:
    """Up, verify, one trace, down."""
    began = time.monotonic()
    chosen = start.choice(arguments)
    kernel, why = start.choose_kernel(arguments.kernel, chosen)
    start.plan_for(chosen, kernel)
    say(f"bringing up {chosen.plugin} {chosen.mode} on the {kernel} kernel: {why}")
    lab = start.start(chosen, kernel, f"demo-{places.unique()}", False, say)
    try:
        verified = call(lab.folder, {"request": "verify"} | looks(), say)
        first, last = chosen.far_pods()
        request = {"request": "trace", "source": first, "target": last, "options": {}, "pcap": False, "forms": []}
        traced = call(lab.folder, request | looks())
    finally:
        lab.down()
    if arguments.json:
        print_json({"up": lab.summary, "verify": verified["verdicts"], "trace": traced["trace"]})
    else:
        print(verified["text"], traced["text"], sep="\n\n")
    say(f"{time.monotonic() - began:.1f} s in all. Now try: {_hint()}")
    return 0 if verified["agree"] and traced["delivered"] else 1


def _hint() -> str:
    return "python run_topology.py   (the same lab with the Mininet prompt; `--help` for the rest)"
