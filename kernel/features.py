"""What a kernel can do, each feature tried for real in a scratch namespace."""

from __future__ import annotations

import functools
import json
import os
import shutil
import socket
import struct
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from kernel import mounts, wire
from kernel.errors import MissingTool, NotPermitted, PodpathError
from kernel.namespaces import Namespaces
from kernel.read import indexes
from kernel.state import Rule

NEWQDISC, NEWTFILTER, NEWACTION = 36, 44, 48
UNKNOWN = (1, 2, 95, 93)
"""EPERM, ENOENT, EOPNOTSUPP, EPROTONOSUPPORT: how rtnetlink says that there is no such kind, or not for us."""


@dataclass(frozen=True)
class Feature:
    """`purpose` is what it is for; `trial` returns "" or why it is missing. `programs` is what a package brings,
    which is the same on every kernel."""

    purpose: str
    trial: Callable[[wire.Rtnl], str]
    remedy: str = "use --kernel embedded"
    programs: tuple[str, ...] = ()


def _link(kind: str, data: bytes = b"") -> Callable[[wire.Rtnl], str]:
    """Makes a device of this kind; another complaint than "no such kind" means that the kernel knows it."""

    def trial(rtnl: wire.Rtnl) -> str:
        info = wire.nest(18, wire.text(1, kind), data)
        body = wire.ifinfo(0, None) + wire.text(3, f"try-{kind}"[:15]) + info
        return _unknown(rtnl, (wire.NEWLINK, wire.CREATE | wire.EXCL, body, lambda: kind), f"device type {kind}")

    return trial


def _tunnel(kind: str, module: str, fallback: str) -> Callable[[wire.Rtnl], str]:
    """Its module makes a device in every namespace, the machine's own too: on the machine it is not loaded for a lab,
    and a namespace that has that device shows that it is loaded."""

    def trial(rtnl: wire.Rtnl) -> str:
        if fallback in indexes(rtnl):
            return ""
        if os.environ.get("PODPATH_KERNEL") != "embedded" and _loadable(module):
            return f"module {module} is not loaded, and loading it would give the machine itself a device {fallback}"
        return _link(kind)(rtnl)

    return trial


def _loadable(module: str) -> bool:
    """The module is there, not in use yet, and would make its device (net.core.fb_tunnels_only_for_init_net below 2;
    Documentation/admin-guide/sysctl/net.rst)."""
    known = Path("/lib/modules", os.uname().release, "modules.dep")
    if Path("/sys/module", module).exists() or not known.exists() or f"/{module}.ko" not in known.read_text():
        return False
    setting = Path("/proc/sys/net/core/fb_tunnels_only_for_init_net")
    return not setting.exists() or setting.read_text().strip() != "2"


def _unknown(rtnl: wire.Rtnl, request: wire.Request, what: str) -> str:
    refused = rtnl.attempt([request])
    return f"the kernel has no {what}" if refused and refused[0].errno in UNKNOWN else ""


def _filtering(rtnl: wire.Rtnl) -> str:
    data = wire.nest(2, wire.attr(7, b"\1"))
    body = wire.ifinfo(0, None) + wire.text(3, "try-filter") + wire.nest(18, wire.text(1, "bridge"), data)
    refused = rtnl.attempt([(wire.NEWLINK, wire.CREATE | wire.EXCL, body, lambda: "bridge")])
    return "its bridge has no VLAN filtering" if refused else ""


def _xfrm(_rtnl: wire.Rtnl) -> str:
    try:
        wire.Rtnl(wire.NETLINK_XFRM).close()
    except OSError as problem:
        return f"the kernel has no IPsec: {problem.strerror}"
    return ""


def _under(kind: str, data: bytes) -> Callable[[wire.Rtnl], str]:
    """Makes a device on top of a veth."""

    def trial(rtnl: wire.Rtnl) -> str:
        base = struct.pack("=i", 900)
        peer = wire.nest(2, wire.nest(1, wire.ifinfo(901, None) + wire.text(3, "try-base1")))
        veth = wire.ifinfo(900, None) + wire.text(3, "try-base0") + wire.nest(18, wire.text(1, "veth"), peer)
        rtnl.attempt([(wire.NEWLINK, wire.CREATE | wire.EXCL, veth, lambda: "veth")])
        body = wire.ifinfo(0, None) + wire.text(3, f"try-{kind}"[:15]) + wire.attr(5, base)
        body += wire.nest(18, wire.text(1, kind), data)
        return _unknown(rtnl, (wire.NEWLINK, wire.CREATE | wire.EXCL, body, lambda: kind), f"device type {kind}")

    return trial


def _qdisc(kind: str) -> Callable[[wire.Rtnl], str]:
    """Asks for the queueing discipline without its options: it is unknown, or it complains about those."""

    def trial(rtnl: wire.Rtnl) -> str:
        parent = 0xFFFFFFF1 if kind == "clsact" else 0xFFFFFFFF
        body = struct.pack("=BxxxiIII", 0, 1, 0, parent, 0) + wire.text(1, kind)
        return _unknown(rtnl, (NEWQDISC, wire.CREATE, body, lambda: kind), f"queueing discipline {kind}")

    return trial


def _u32(rtnl: wire.Rtnl) -> str:
    body = struct.pack("=BxxxiIII", 0, 1, 0xFFFF0000, 0xFFFFFFF1, 0) + wire.text(1, "clsact")
    rtnl.attempt([(NEWQDISC, wire.CREATE, body, lambda: "clsact")])
    body = struct.pack("=BxxxiIII", 0, 1, 0, 0xFFFFFFF2, 1 << 16 | socket.htons(3)) + wire.text(1, "u32")
    return _unknown(rtnl, (NEWTFILTER, wire.CREATE, body, lambda: "u32"), "classifier u32")


def _action(kind: str) -> Callable[[wire.Rtnl], str]:
    def trial(rtnl: wire.Rtnl) -> str:
        body = struct.pack("=Bxxx", 0) + wire.nest(1, wire.nest(1, wire.text(1, kind)))
        return _unknown(rtnl, (NEWACTION, wire.CREATE, body, lambda: kind), f"traffic control action {kind}")

    return trial


def _rule(family: int) -> Callable[[wire.Rtnl], str]:
    def trial(rtnl: wire.Rtnl) -> str:
        rule = Rule(77, 100, 6 if family == 6 else 4, fwmark=1, fwmask=1)
        refused = rtnl.attempt([wire.rule(rule)])
        return f"no policy routing for IPv{family}: {refused[0].reason}" if refused else ""

    return trial


def _file(path: str, what: str) -> Callable[[wire.Rtnl], str]:
    return lambda _: "" if os.path.exists(path) else f"there is no {what}"


def _proxy(rtnl: wire.Rtnl) -> str:
    body = struct.pack("=BxHiHBB", socket.AF_INET, 0, 1, wire.PERMANENT, wire.NTF_PROXY, 0)
    refused = rtnl.attempt([(wire.NEWNEIGH, wire.CREATE, body + wire.attr(1, bytes([10, 0, 0, 1])), lambda: "proxy")])
    return f"no proxy neighbours: {refused[0].reason}" if refused else ""


def _iptables(*kinds: str) -> Callable[[wire.Rtnl], str]:
    def trial(_rtnl: wire.Rtnl) -> str:
        from kernel.firewall import works

        return "" if any(works(kind) for kind in kinds) else f"iptables-{' and iptables-'.join(kinds)} cannot be used"

    return trial


def _ipset(_rtnl: wire.Rtnl) -> str:
    """IPSET_CMD_PROTOCOL, the question that ipset(8) itself asks first (linux/netfilter/ipset/ip_set.h)."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, 12) as sock:
        body = struct.pack("=BBH", socket.AF_INET, 0, 0) + wire.attr(1, b"\7")
        sock.send(wire.HEAD.pack(wire.HEAD.size + len(body), 6 << 8 | 1, wire.REQUEST | wire.ACK, 1, 0) + body)
        for _, errno, _ in wire.errors(sock.recv(4096)):
            if errno:
                return "the kernel has no ipset"
    return "" if shutil.which("ipset", path=PATH) else "ipset is not installed"


def _package(name: str, *programs: str) -> Feature:
    return Feature(
        f"package {name}", lambda _: _absent(programs), f"run `make setup`, or: apt-get install {name}", programs
    )


def _absent(programs: tuple[str, ...]) -> str:
    missing = [one for one in programs if not os.path.exists(one) and not shutil.which(one, path=PATH)]
    return f"there is no {', '.join(missing)}" if missing else ""


def need_programs(needs: Iterable[str]) -> None:
    """Raises MissingTool for the first of these features that is a package, and not installed."""
    for name in sorted(needs):
        if (one := FEATURES.get(name)) and one.programs and (lack := _absent(one.programs)):
            raise MissingTool(f"{one.purpose} is not installed: {lack}", remedy=one.remedy)


PATH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/bin:/bin"
_VLAN = wire.nest(2, wire.attr(1, struct.pack("=H", 10)))
_VXLAN = wire.nest(2, wire.u32(1, 4))
FEATURES: dict[str, Feature] = {
    "veth": Feature("pods, links", _link("veth")),
    "bridge": Feature("switches", _link("bridge")),
    "vlan-filtering": Feature("switches with access and trunk ports (802.1Q)", _filtering),
    "vlan": Feature("VLAN sub-interfaces: hybridnet VLAN, bifrost", _under("vlan", _VLAN)),
    "vxlan": Feature("hybridnet VXLAN, calico VXLAN", _link("vxlan", _VXLAN)),
    "ipip": Feature("calico IPIP", _tunnel("ipip", "ipip", "tunl0")),
    "gre": Feature("GRE tunnels", _tunnel("gre", "ip_gre", "gre0")),
    "sit": Feature("SIT and ISATAP tunnels", _tunnel("sit", "sit", "sit0")),
    "vti": Feature("IPsec tunnels", _tunnel("vti", "ip_vti", "ip_vti0")),
    "xfrm": Feature("IPsec tunnels", _xfrm),
    "dummy": Feature("addresses that no wire has", _link("dummy")),
    "macvlan": Feature("bifrost, macvlan", _under("macvlan", b"")),
    "ipvlan": Feature("ipvlan, terway", _under("ipvlan", b"")),
    "netem": Feature("delay and loss of links", _qdisc("netem")),
    "tbf": Feature("bandwidth of links", _qdisc("tbf")),
    "htb": Feature("classes of bandwidth", _qdisc("htb")),
    "prio": Feature("hybridnet's rewriting of broadcasts", _qdisc("prio")),
    "u32": Feature("hybridnet's rewriting of broadcasts", _u32),
    "pedit": Feature("hybridnet's rewriting of broadcasts", _action("pedit")),
    "clsact": Feature("eBPF at tc", _qdisc("clsact")),
    "policy-routing": Feature("hybridnet", _rule(4)),
    "policy-routing-v6": Feature("hybridnet, IPv6", _rule(6)),
    "proxy-neigh": Feature("next hops that no device has", _proxy),
    "app-solicit": Feature("hybridnet's resolution", _file("/proc/sys/net/ipv4/neigh/lo/app_solicit", "app_solicit")),
    "ipv6": Feature("dual stack", _file("/proc/sys/net/ipv6", "IPv6")),
    "iptables-nft": Feature("masquerade, policy", _iptables("nft"), "iptables-legacy is taken in its place"),
    "iptables-legacy": Feature("masquerade, policy", _iptables("legacy"), "iptables-nft is taken in its place"),
    "iptables": Feature("masquerade, policy (either backend)", _iptables("nft", "legacy")),
    "ipset": Feature("sets of addresses in rules", _ipset),
    "frr": _package("frr", "/usr/lib/frr/bgpd", "/usr/lib/frr/zebra", "vtysh"),
    "iperf3": _package("iperf3", "iperf3"),
    "mininet": _package("mininet", "/usr/lib/python3/dist-packages/mininet/net.py"),
}
EMBEDDED = frozenset(name for name, one in FEATURES.items() if not one.programs) - {"iptables-nft"}
"""What the embedded kernel has; a test there compares."""


@functools.cache
def probe() -> dict[str, str]:
    """Each feature, and "" or why this kernel lacks it; for a process that has mounts of its own, as a lab's has."""
    spaces = Namespaces()
    try:
        spaces.create("probe")
        with spaces.inside("probe"):
            rtnl = wire.Rtnl()
            found = {name: feature.trial(rtnl) for name, feature in FEATURES.items()}
            rtnl.close()
    finally:
        spaces.close()
    return found


def of_embedded() -> dict[str, str]:
    """The same for the embedded kernel without booting it: what it is known to have, and this machine's packages."""
    found: dict[str, str] = {}
    for name, one in FEATURES.items():
        if one.programs:
            found[name] = _absent(one.programs)
        else:
            found[name] = "" if name in EMBEDDED else "the embedded kernel is built without it"
    return found


def probe_apart(kernel: str) -> dict[str, str]:
    """`probe` on "host" or "user", in a child with namespaces and mounts of its own, so that the machine does not
    even get iptables' lock file. Raises NotPermitted where such namespaces are not allowed."""
    from kernel.inside import NEWNET, NEWNS, become_root_of_user_namespace, unshare

    said, say = os.pipe()
    pid = os.fork()
    if not pid:
        try:
            os.environ["PATH"] = PATH  # an ordinary user's has no sbin
            if kernel == "user":
                become_root_of_user_namespace()
            unshare(NEWNS | NEWNET)
            mounts.mount("", "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
            mounts.mount("tmpfs", "/run", "tmpfs")
            os.write(say, json.dumps({"found": probe()}).encode())
        except PodpathError as problem:
            os.write(say, json.dumps({"what": problem.what, "remedy": problem.remedy}).encode())
        finally:
            os._exit(0)
    os.close(say)
    with open(said) as file:
        answer = json.load(file)
    os.waitpid(pid, 0)
    if "found" not in answer:
        raise NotPermitted(answer["what"], remedy=answer["remedy"])
    found: dict[str, str] = answer["found"]
    return found


RESULT = "features.json"
"""Where a guest leaves what it found, in its run folder."""

if __name__ == "__main__":
    Path(os.environ["PODPATH_RUN"], RESULT).write_text(json.dumps(probe()))
