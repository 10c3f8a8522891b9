"""The arguments of every command, and where each command's work is."""

from __future__ import annotations

import argparse
import importlib
import os
import sys
from collections.abc import Callable, Sequence
from typing import Any

from kernel.errors import BadInput, PodpathError

USAGE_STATUS = 2
DESCRIPTION = """\
podpath emulates Kubernetes container networks on Mininet with real kernel devices and real FRR BGP,
proves hop by hop the path that a packet takes, and measures overlay against underlay.
Without a command, `up` is meant."""


def example(*lines: str) -> str:
    """A block of examples for the end of a help page."""
    return "examples:\n" + "\n".join(f"  {line}" for line in lines)


class Parser(argparse.ArgumentParser):
    """Raises BadInput for wrong arguments, so that they look like every other mistake."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False, **options)

    def error(self, message: str) -> Any:
        raise BadInput(message, where="arguments", remedy=f"see `{self.prog} --help`")


def build() -> argparse.ArgumentParser:
    """The whole parser."""
    parser = Parser(
        prog="run_topology.py",
        description=DESCRIPTION,
        epilog=example(
            "sudo python run_topology.py                                 # the default lab, then the Mininet prompt",
            "python run_topology.py --plugin calico --mode bgp           # the same without root",
            "python run_topology.py trace pod1 pod3                      # from a second terminal: a packet's path",
            "python run_topology.py doctor                               # what this machine can do",
        ),
    )
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser)
    for add in (_up, _down, _attach, _inspect, _exec, _trace, _verify, _export, _doctor, _demo, _bench, _serve):
        add(commands)
    return parser


def _command(commands: Any, name: str, work: str, summary: str, *examples: str) -> argparse.ArgumentParser:
    epilog = example(*(f"run_topology.py {line}" for line in examples)) if examples else None
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=summary, epilog=epilog)
    parser.set_defaults(work=work)
    return parser


def _lab_choice(parser: argparse.ArgumentParser) -> None:
    """What lab to make: the options that `up`, `export` and `demo` share."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", metavar="FILE", help="a topology file (YAML)")
    source.add_argument(
        "--preset", metavar="NAME", help="a topology that comes along: default, one-switch, two-rack, ..."
    )
    parser.add_argument("--plugin", metavar="NAME", help="hybridnet or calico (default: the file's, else hybridnet)")
    parser.add_argument("--mode", metavar="NAME", help="the plugin's mode, such as vxlan or bgp")
    _kernel(parser)


def _kernel(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--kernel",
        metavar="KERNEL",
        default="auto",
        help="host (root), user (no root), embedded (a kernel as a process), or auto: the first that can do it",
    )


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--name", metavar="LAB", help="the lab's name (needed only when several run)")


def _json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON instead of text")


def _up(commands: Any) -> None:
    summary = "bring a lab up, or change the running one; on a terminal it ends at the Mininet prompt"
    examples = (
        "up --plugin calico --mode bgp --preset route-reflectors",
        "up -f lab.yaml --detach",
        "up --dry-run --plugin hybridnet --mode vxlan",
    )
    parser = _command(commands, "up", "console.lifecycle:up", summary, *examples)
    _lab_choice(parser)
    _name(parser)
    parser.add_argument("-d", "--detach", action="store_true", help="leave the lab running and return")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    _json(parser)


def _down(commands: Any) -> None:
    parser = _command(commands, "down", "console.lifecycle:down", "end a running lab", "down", "down --name lab2")
    _name(parser)


def _attach(commands: Any) -> None:
    summary = "the Mininet prompt of a running lab"
    parser = _command(
        commands, "attach", "console.lifecycle:attach", summary, "attach", "echo 'pingall' | run_topology.py attach"
    )
    _name(parser)


def _inspect(commands: Any) -> None:
    summary = "what runs: nodes, pods, links, routes, BGP sessions; or all that the kernel has in one of them"
    parser = _command(
        commands, "inspect", "console.look:inspect", summary, "inspect", "inspect node1", "inspect pod1 --json"
    )
    parser.add_argument("netns", nargs="?", metavar="NODE|POD|SWITCH")
    _name(parser)
    _json(parser)


def _exec(commands: Any) -> None:
    summary = "run a command in a pod, node or switch"
    parser = _command(
        commands,
        "exec",
        "console.lifecycle:execute",
        summary,
        "exec pod1 -- ping -c 3 pod3",
        "exec node1 -- ip route show table all",
    )
    _name(parser)
    parser.add_argument("netns", metavar="POD|NODE|SWITCH")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")


def _trace(commands: Any) -> None:
    summary = "send one real packet and show what happened to it on each device, there and back"
    parser = _command(
        commands,
        "trace",
        "console.look:trace",
        summary,
        "trace pod1 pod3",
        "trace pod1 pod3 --probe tcp -6",
        "trace pod1 pod3 --size 1472 --pcap captured/ --json",
    )
    parser.add_argument("source", metavar="FROM")
    parser.add_argument("target", metavar="TO", help="a pod, a node, the client, or an address")
    parser.add_argument("--probe", choices=("icmp", "udp", "tcp"), default="icmp")
    parser.add_argument("-6", dest="family", action="store_const", const=6, default=4, help="IPv6 instead of IPv4")
    parser.add_argument("--size", type=int, metavar="BYTES", help="payload bytes of the probe")
    parser.add_argument("--timeout", type=float, default=2.0, metavar="SECONDS", help="how long to wait for the answer")
    parser.add_argument("--pcap", metavar="FOLDER", help="write one pcapng a device there")
    _name(parser)
    _json(parser)


def _verify(commands: Any) -> None:
    summary = "compare the documented path of the lab's mode with the observed one; status 1 if they differ"
    parser = _command(commands, "verify", "console.look:verify", summary, "verify", "verify --json")
    _name(parser)
    _json(parser)


def _export(commands: Any) -> None:
    summary = "print the lab as plain ip, bridge, tc, iptables and frr.conf text, or as JSON; nothing is built"
    parser = _command(
        commands, "export", "console.look:export", summary, "export --format ip > lab.sh", "export --format json"
    )
    _lab_choice(parser)
    parser.add_argument("--format", choices=("ip", "frr", "json", "schema"), default="ip")


def _doctor(commands: Any) -> None:
    summary = "try each kernel feature for real, and say which modes run where and what is missing"
    parser = _command(commands, "doctor", "console.look:doctor", summary, "doctor", "doctor --deep --json")
    parser.add_argument("--deep", action="store_true", help="boot the embedded kernel and try its features too")
    _json(parser)


def _demo(commands: Any) -> None:
    summary = "bring the default lab up, prove every path of its mode, show one as a tree, take it down"
    parser = _command(commands, "demo", "console.lifecycle:demo", summary, "demo", "demo --plugin calico --mode bgp")
    _lab_choice(parser)


def _bench(commands: Any) -> None:
    summary = "throughput and latency between pods of two nodes, mode by mode, against the links alone"
    parser = _command(
        commands,
        "bench",
        "console.measure:bench",
        summary,
        "bench --modes raw,hybridnet-vxlan,calico-bgp",
        "bench --json out.json",
    )
    parser.add_argument("--modes", default="raw,hybridnet-vxlan,calico-bgp", metavar="LIST")
    parser.add_argument("--seconds", type=float, default=3.0, help="length of one throughput run")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", metavar="FILE", help="write the result there too")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    _kernel(parser)


def _serve(commands: Any) -> None:
    """What kernel.places starts as the lab's first process; not for people."""
    commands.add_parser("serve").set_defaults(work="console.serve:serve")


def arguments(argv: Sequence[str]) -> argparse.Namespace:
    """The parsed arguments; no command means `up`."""
    parser = build()
    if not argv or (argv[0].startswith("-") and argv[0] not in ("-h", "--help")):
        argv = ["up", *argv]
    return parser.parse_args(argv)


def run(argv: Sequence[str]) -> int:
    """Runs one command and returns its exit status; every PodpathError is one message and status 2."""
    try:
        chosen = arguments(argv)
        module, _, name = chosen.work.partition(":")
        work: Callable[[argparse.Namespace], int] = getattr(importlib.import_module(module), name)
        return work(chosen)
    except PodpathError as problem:
        print(f"error: {problem}", file=sys.stderr)
        return USAGE_STATUS
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:  # `... | head`: nobody reads any more
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
