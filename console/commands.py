"""Every command with its options and examples; `work` names the function that does it, imported when it runs."""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Callable
from typing import Any

from console.parser import PROGRAM, Number, OneOf, Parser, percent
from kernel.places import HOME, KERNELS
from plugins.registry import MODES, parted

DESCRIPTION = """\
podpath emulates Kubernetes container networks on Mininet with real kernel
devices and real FRR BGP, proves hop by hop the path that a packet takes, and
measures overlay against underlay. Without a command, `up` is meant."""
STATUSES = """\
exit status:
  0    done, and the answer is yes
  1    done, and the answer is no: not delivered, paths differ, not measured
  2    a mistake in the input or a limit of the machine; nothing was built
  130  interrupted (Ctrl-C); `exec` and `attach` pass on their command's own"""
EXAMPLES = (
    f"sudo python {PROGRAM}                        the default lab, then its prompt",
    f"python {PROGRAM} --plugin calico --mode bgp  without root",
    f"python {PROGRAM} trace pod1 pod3             from a second terminal",
    f"python {PROGRAM} doctor                      what this machine can do",
)
WIDTH = 78
"""Columns of what argparse does not fold itself."""
LONGEST_WAIT_S = 600
LARGEST_PROBE = 65000
"""Bytes of payload; with its headers it still fits into one IPv4 packet of 65535."""


def build() -> argparse.ArgumentParser:
    """The whole parser."""
    parser = Parser(prog=PROGRAM, description=DESCRIPTION, epilog=_epilog(EXAMPLES))
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", parser_class=Parser, title="commands")
    for add in COMMANDS.values():
        add(commands)
    commands.add_parser("serve").set_defaults(work="console.serve:serve")  # what kernel.places starts; not for people
    return parser


def _epilog(examples: tuple[str, ...]) -> str:
    return "examples:\n" + "\n".join(f"  {line}" for line in examples) + f"\n\n{STATUSES}"


def _command(commands: Any, name: str, work: str, summary: str, *examples: str) -> argparse.ArgumentParser:
    epilog = _epilog(tuple(f"{PROGRAM} {line}" for line in examples))
    described = textwrap.fill(summary, WIDTH)
    parser: argparse.ArgumentParser = commands.add_parser(name, help=summary, description=described, epilog=epilog)
    parser.set_defaults(work=work, parser=parser)
    return parser


def _choice(parser: argparse.ArgumentParser, option: str, *words: str, **more: Any) -> None:
    check = OneOf(option, words)
    parser.add_argument(option, type=check, metavar=check.metavar, **more)


def _number(parser: argparse.ArgumentParser, check: Number, **more: Any) -> None:
    parser.add_argument(check.option, type=check, metavar="N", **more)


def _lab_choice(parser: argparse.ArgumentParser) -> None:
    """What lab to make: the options that `up`, `export` and `demo` share."""
    source = parser.add_mutually_exclusive_group()
    source.add_argument("-f", "--file", metavar="FILE", help="a topology file: YAML, or Python with a Mininet Topo")
    presets = ", ".join(sorted(path.stem for path in (HOME / "topologies/presets").glob("*.yaml")))
    source.add_argument("--preset", metavar="NAME", help=f"a topology that comes along: {presets}")
    modes: dict[str, list[str]] = {}
    for plugin, mode in map(parted, MODES):
        modes.setdefault(plugin, []).append(mode)
    parser.add_argument("--plugin", metavar="NAME", help=f"{', '.join(modes)} (default: the file's, else hybridnet)")
    known = "; ".join(f"{plugin}: {', '.join(names)}" for plugin, names in modes.items())
    parser.add_argument("--mode", metavar="NAME", help=f"the plugin's mode (default: its first). {known}")
    _kernel(parser)


def _kernel(parser: argparse.ArgumentParser) -> None:
    meaning = "host (root), user (no root), embedded (a kernel as a process), or auto: the first that can do it"
    _choice(parser, "--kernel", "auto", *KERNELS, default="auto", help=meaning)


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
    parser.add_argument("--name", metavar="LAB", help="what to call the lab (default: the topology's name)")
    parser.add_argument("-d", "--detach", action="store_true", help="leave the lab running and return")
    parser.add_argument("--dry-run", action="store_true", help="print what would be done, and do nothing")
    _json(parser)


def _down(commands: Any) -> None:
    parser = _command(commands, "down", "console.lifecycle:down", "end a running lab", "down", "down --name lab2")
    _name(parser)
    _json(parser)


def _attach(commands: Any) -> None:
    summary = "the Mininet prompt of a running lab"
    examples = ("attach", "attach --name lab2 < commands.txt")
    parser = _command(commands, "attach", "console.lifecycle:attach", summary, *examples)
    _name(parser)


def _inspect(commands: Any) -> None:
    summary = "what runs: nodes, pods, links, BGP sessions; or all that the kernel has in one of them"
    parser = _command(
        commands, "inspect", "console.look:inspect", summary, "inspect", "inspect node1", "inspect pod1 --json"
    )
    parser.add_argument("netns", nargs="?", metavar="NODE|POD|SWITCH")
    _name(parser)
    _json(parser)


def _exec(commands: Any) -> None:
    summary = "run a command in a pod, node or switch; its exit status becomes this one's"
    examples = (
        "exec pod1 -- ping -c 3 10.244.0.65",
        "exec node1 -- ip route show table all",
        "exec --name lab2 node1 -- vtysh -N node1 -c 'show bgp summary'",
    )
    parser = _command(commands, "exec", "console.lifecycle:execute", summary, *examples)
    _name(parser)
    parser.add_argument("netns", metavar="POD|NODE|SWITCH")
    parser.add_argument("argv", nargs=argparse.REMAINDER, metavar="-- CMD", help="the command and its arguments")


def _shape(commands: Any) -> None:
    summary = "change a link while the lab runs, in both directions; without values, show what it is like"
    examples = (
        "shape node1 s1 bandwidth=100Mbit delay=5ms loss=1% mtu=1400",
        "shape s1 s2 bandwidth=none",
        "shape node1 s1 --json",
    )
    parser = _command(commands, "shape", "console.lifecycle:shape_link", summary, *examples)
    parser.add_argument("a", metavar="A", help="a switch, or what is plugged into one")
    parser.add_argument("b", metavar="B", help="the other end of the link")
    meaning = "bandwidth (none takes it away), delay, loss, mtu; what is not named stays as it is"
    parser.add_argument("values", nargs="*", metavar="NAME=VALUE", help=meaning)
    _name(parser)
    _json(parser)


def _trace(commands: Any) -> None:
    summary = "send one real packet and show what happened to it on each device, there and back"
    examples = (
        "trace pod1 pod3",
        "trace pod1 pod3 --probe tcp -6",
        "trace pod1 pod3 --size 1472 --pcap captured/ --json",
        "trace pod1 pod3 --svg trace.svg",
        "trace pod1 pod3 --mermaid",
        "trace pod1 pod3 --predict --plugin calico --mode ipip",
        "trace pod1 pod3 --diff calico-bgp hybridnet-vxlan",
    )
    parser = _command(commands, "trace", "console.look:trace", summary, *examples)
    parser.add_argument("source", metavar="FROM", help="a pod, a node or the client")
    parser.add_argument("target", metavar="TO", help="a pod, a node, the client, or an address")
    _choice(parser, "--probe", "icmp", "udp", "tcp", default="icmp", help="what to send (default: icmp)")
    parser.add_argument("-6", dest="family", action="store_const", const=6, default=4, help="IPv6 instead of IPv4")
    _number(parser, Number("--size", int, 0, LARGEST_PROBE, "bytes"), help="bytes of the probe's payload")
    wait = Number("--timeout", float, 0.01, LONGEST_WAIT_S, "seconds")
    _number(parser, wait, default=2.0, help="seconds to wait for the answer (default: 2)")
    parser.add_argument("--pcap", metavar="FOLDER", help="write one pcapng a device there")
    parser.add_argument("--svg", metavar="FILE", help="write a figure of the path there: nodes, devices, headers")
    parser.add_argument("--screen", metavar="FILE", help="write the screen as a picture (SVG) there")
    parser.add_argument("--mermaid", action="store_true", help="print a Mermaid chart instead of the tree")
    apart = parser.add_mutually_exclusive_group()
    meaning = "build nothing: say where the packet will go, from the wanted state alone"
    apart.add_argument("--predict", action="store_true", help=meaning)
    meaning = "trace in two labs, brought up for it, and print only what differs"
    apart.add_argument("--diff", nargs=2, metavar="MODE", help=meaning)
    for inner in ("--inside", "--job"):
        parser.add_argument(inner, help=argparse.SUPPRESS)
    _lab_choice(parser)
    _name(parser)
    _json(parser)


def _verify(commands: Any) -> None:
    summary = (
        "compare documented paths with observed ones: of the running lab, or of every mode; status 1 if they differ"
    )
    examples = ("verify", "verify --all --junit report.xml", "verify --all --modes calico-bgp,calico-ipip --json")
    parser = _command(commands, "verify", "console.look:verify", summary, *examples)
    parser.add_argument("--all", action="store_true", help="every mode, each in a lab of its own")
    parser.add_argument("--modes", metavar="LIST", help="with --all: only these, such as calico-bgp,bifrost-macvlan")
    parser.add_argument("--junit", metavar="FILE", help="with --all: write a JUnit report there")
    parser.add_argument("--looks", help=argparse.SUPPRESS)
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    _kernel(parser)
    _name(parser)
    _json(parser)


def _export(commands: Any) -> None:
    summary = "print the lab as ip, bridge, tc, iptables and frr.conf text, or as JSON; nothing is built"
    examples = (
        "export --format ip > lab.sh",
        "export --format yaml --preset two-rack > lab.yaml",
        "export --format json",
        "export --format schema > lab.schema.json",
    )
    parser = _command(commands, "export", "console.look:export", summary, *examples)
    _lab_choice(parser)
    meaning = "ip: shell commands (default); frr: frr.conf; json: the wanted state; yaml: the topology file; " + (
        "schema: the JSON schema of topology files"
    )
    _choice(parser, "--format", "ip", "frr", "json", "yaml", "schema", default="ip", help=meaning)


def _doctor(commands: Any) -> None:
    summary = "try each kernel feature for real, and say which modes run where and what is missing"
    parser = _command(commands, "doctor", "console.look:doctor", summary, "doctor", "doctor --deep --json")
    parser.add_argument("--deep", action="store_true", help="boot the embedded kernel and try its features too")
    _json(parser)


def _demo(commands: Any) -> None:
    summary = "bring the default lab up, prove every path of its mode, show one as a tree, take it down"
    parser = _command(commands, "demo", "console.lifecycle:demo", summary, "demo", "demo --plugin calico --mode bgp")
    _lab_choice(parser)
    _json(parser)


def _bench(commands: Any) -> None:
    summary = "throughput, latency and cost between pods, mode by mode, against the links alone"
    examples = (
        "bench --quick --modes raw,hybridnet-vxlan,calico-bgp",
        "bench --modes all --full --report out/",
        "bench --report out/ --resume",
        "bench show out/",
        "bench compare base/ head/ --fail-over 5%",
    )
    parser = _command(commands, "bench", "console.measure:bench", summary, *examples)
    modes = "raw,hybridnet-vxlan,calico-bgp"
    meaning = f"raw, PLUGIN-MODE, ... or all (default: {modes})"
    parser.add_argument("--modes", default=modes, metavar="LIST", help=meaning)
    parser.add_argument("--metrics", metavar="LIST", help="tcp_1, tcp_8, udp_rr, tcp_rr, udp_64, connect, ping, ...")
    parser.add_argument("--scenarios", metavar="LIST", help="pod-cross, pod-same, node (default: pod-cross)")
    settings = "unlimited, no-offload, shaped-1500, shaped-9000 (default: unlimited,shaped-1500)"
    parser.add_argument("--settings", metavar="LIST", help=settings)
    size = parser.add_mutually_exclusive_group()
    size.add_argument("--quick", action="store_true", help="the least that says something: a minute for four modes")
    size.add_argument("--full", action="store_true", help="every metric, scenario and setting, 12 rounds")
    seconds = Number("--seconds", float, 1, LONGEST_WAIT_S, "seconds")
    _number(parser, seconds, help="length of one throughput run (default: 2)")
    _number(parser, Number("--rounds", int, 1, 100, "rounds"), help="how often (default: 5)")
    precision = "stop early where ratios to raw are as precise as this, such as 2%%"
    parser.add_argument("--precision", type=percent("--precision"), metavar="N%", help=precision)
    rate = Number("--rate", float, 1, 10**5, "Mbit/s")
    _number(parser, rate, help="of shaped links, in Mbit/s (default: 1000; --quick 200, embedded kernel 50)")
    _number(parser, Number("--seed", int, 0, 2**31, "any kind"), help="of the order in each round (default: 1)")
    parser.add_argument("--report", metavar="DIR", help="folder for JSON, CSV, Markdown, HTML (default: one in runs/)")
    parser.add_argument("--resume", action="store_true", help="go on with the report in --report DIR")
    parser.add_argument("--json", action="store_const", const="-", help="print JSON instead of text")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    _kernel(parser)
    _bench_reports(parser)


def _bench_reports(parser: argparse.ArgumentParser) -> None:
    """What is done with reports that are there."""
    reports = parser.add_subparsers(dest="what", metavar="show|compare", parser_class=Parser, title="reports")
    parser_show = reports.add_parser("show", help="show a report")
    parser_show.add_argument("report_file", metavar="FILE", help="a bench.json, or the folder that holds one")
    parser_show.add_argument("--json", action="store_const", const="-", help="print JSON instead of text")
    parser_show.set_defaults(work="console.measure:show", parser=parser_show)
    parser_compare = reports.add_parser("compare", help="test whether HEAD is worse than BASE; status 1 if it is")
    parser_compare.add_argument("base", metavar="BASE", help="a bench.json, or the folder that holds one")
    parser_compare.add_argument("head", metavar="HEAD", help="another one, of the same machine and kernel")
    meaning = "how much worse fails, when it is told apart (default: 5%%)"
    check = percent("--fail-over")
    parser_compare.add_argument("--fail-over", type=check, default=0.05, metavar="N%", help=meaning)
    parser_compare.add_argument("--force", action="store_true", help="compare what was measured on different machines")
    parser_compare.add_argument("--json", action="store_const", const="-", help="print JSON instead of text")
    parser_compare.set_defaults(work="console.measure:compare", parser=parser_compare)


def _advise(commands: Any) -> None:
    summary = "which mode for which data center: the article's advice as a decision, with commands that show why"
    examples = ("advise --least-invasive --dual-stack", "advise --underlay-bgp --same-subnet", "advise --low-latency")
    parser = _command(commands, "advise", "console.advise:advise", summary, *examples)
    for option, meaning in (
        ("--least-invasive", "leave the physical network as it is"),
        ("--dual-stack", "IPv4 and IPv6"),
        ("--underlay-bgp", "the data center speaks BGP, and pods' routes may be in it"),
        ("--same-subnet", "all nodes are in one subnet (else: in several)"),
        ("--low-latency", "performance and latency come first"),
        ("--public-cloud", "the nodes are virtual machines of a public cloud"),
        ("--no-trunk", "switch ports of the nodes carry no tagged VLANs"),
    ):
        parser.add_argument(option, action="store_true", help=meaning)
    _json(parser)


def _compare(commands: Any) -> None:
    summary = "the article's tables of plugins, each cell from what running labs show; status 1 if they disagree"
    parser = _command(commands, "compare", "console.compare:compare", summary, "compare", "compare --markdown > t.md")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="print JSON instead of text")
    form.add_argument("--markdown", action="store_true", help="print Markdown tables")
    parser.add_argument("--inside", metavar="FOLDER", help=argparse.SUPPRESS)
    _kernel(parser)


def _mtu(commands: Any) -> None:
    summary = (
        "the MTU budget between two pods, layer by layer, and two probes that try its limit; status 1 if they differ"
    )
    examples = ("mtu", "mtu --plugin calico --mode vxlan --link-mtu 9000", "mtu --json")
    parser = _command(commands, "mtu", "console.mtu:mtu", summary, *examples)
    _lab_choice(parser)
    links = Number("--link-mtu", int, 1280, 65535, "bytes")
    _number(parser, links, help="MTU of every link of the lab that is brought up for it, bytes")
    _name(parser)
    _json(parser)


COMMANDS: dict[str, Callable[[Any], None]] = {
    "up": _up,
    "down": _down,
    "attach": _attach,
    "inspect": _inspect,
    "exec": _exec,
    "shape": _shape,
    "trace": _trace,
    "verify": _verify,
    "export": _export,
    "doctor": _doctor,
    "demo": _demo,
    "bench": _bench,
    "advise": _advise,
    "compare": _compare,
    "mtu": _mtu,
}
