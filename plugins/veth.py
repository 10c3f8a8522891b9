"""What every plugin with routed veth pairs does alike: the pair, the pod's side, the host end's sysctls.

hybridnet took calico's scheme (same names, same MAC, same link-local next hop), so one place holds it.
"""

from __future__ import annotations

from cluster.model import Pod
from kernel.state import DEFAULT, Address, Link, Netns, Route, Sysctl, Veth

HOST_MAC = "ee:ee:ee:ee:ee:ee"
"""Every host end has it, so that pods need no new neighbour entry when they move (calico FAQ)."""
NEXT_HOP = "169.254.1.1"
"""A pod's gateway. No device has it: the host end answers by proxy ARP."""
NEXT_HOP_6 = "fe80::ecee:eeff:feee:eeee"
"""The EUI-64 link-local address of HOST_MAC (RFC 4291, appendix A)."""
POD_NIC = "eth0"
FORWARDING = (Sysctl("net.ipv4.ip_forward", "1"), Sysctl("net.ipv6.conf.all.forwarding", "1"))


def six(address: str) -> bool:
    return ":" in address


def host_prefix(address: str) -> str:
    """The address as a host route."""
    return f"{address}/128" if six(address) else f"{address}/32"


def pair(name: str, pod: Pod, mtu: int) -> Veth:
    """The pair, stated at the host end `name`."""
    peer = Link(POD_NIC, mtu=mtu, mac=pod.mac)
    return Veth(name, mtu=mtu, mac=HOST_MAC, peer_netns=pod.name, peer=peer)


def host_sysctls(name: str, pod: Pod) -> tuple[Sysctl, ...]:
    """Of the host end: it answers for the pod's next hop at once and forwards (calico: configureSysctls in
    cni-plugin/pkg/dataplane/linux; hybridnet: ConfigureHostNic in pkg/daemon/containernetwork)."""
    keys: list[tuple[str, str]] = []
    if any(not six(address) for address in pod.addresses):
        keys += [(f"net.ipv4.conf.{name}.{key}", "1") for key in ("proxy_arp", "route_localnet", "forwarding")]
        keys.append((f"net.ipv4.neigh.{name}.proxy_delay", "0"))
    if any(six(address) for address in pod.addresses):
        keys += [(f"net.ipv6.conf.{name}.{key}", "1") for key in ("proxy_ndp", "forwarding")]
    return tuple(Sysctl(key, value) for key, value in keys)


def pod_side(pod: Pod, addresses: tuple[Address, ...]) -> Netns:
    """The pod's namespace: its addresses and the way to its next hop. The pair is a point-to-point link, so nobody
    waits for duplicate address detection (calico: disableDAD; hybridnet: constants.AcceptDADSysctl)."""
    routes: list[Route] = []
    sysctls: list[Sysctl] = []
    if any(not six(address) for address in pod.addresses):
        routes += [
            Route(f"{NEXT_HOP}/32", dev=POD_NIC, scope="link"),
            Route(DEFAULT[4], dev=POD_NIC, via=NEXT_HOP),
        ]
    if any(six(address) for address in pod.addresses):
        routes.append(Route(DEFAULT[6], dev=POD_NIC, via=NEXT_HOP_6))
        sysctls.append(Sysctl(f"net.ipv6.conf.{POD_NIC}.accept_dad", "0"))
    return Netns(pod.name, addresses=addresses, routes=tuple(routes), sysctls=tuple(sysctls))
