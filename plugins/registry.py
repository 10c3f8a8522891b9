"""The modes there are. A new one is a file in its plugin's folder and a line here."""

from __future__ import annotations

import importlib

from kernel.errors import BadInput, meant
from plugins.contract import Mode

MODES = {
    "hybridnet-vxlan": "plugins.hybridnet.vxlan:Vxlan",
    "hybridnet-vlan": "plugins.hybridnet.vlan:Vlan",
    "hybridnet-bgp": "plugins.hybridnet.bgp:Bgp",
    "hybridnet-globalbgp": "plugins.hybridnet.globalbgp:GlobalBgp",
    "calico-bgp": "plugins.calico.bgp:Bgp",
    "calico-ipip": "plugins.calico.ipip:Ipip",
    "calico-ipip-crosssubnet": "plugins.calico.ipip:IpipCrossSubnet",
    "calico-vxlan": "plugins.calico.vxlan:Vxlan",
    "calico-vxlan-crosssubnet": "plugins.calico.vxlan:VxlanCrossSubnet",
    "flannel-vxlan": "plugins.flannel.vxlan:Vxlan",
    "flannel-host-gw": "plugins.flannel.hostgw:HostGw",
    "bifrost-macvlan": "plugins.bifrost.macvlan:OnVlan",
    "macvlan-bridge": "plugins.macvlan.bridge:Bridge",
    "ipvlan-l2": "plugins.ipvlan.l2:L2",
    "ipvlan-l3": "plugins.ipvlan.l3:L3",
    "terway-ipvlan": "plugins.terway.ipvlan:OverIpvlan",
}
"""PLUGIN-MODE and the class that is it; imported when asked for."""


def parted(key: str) -> tuple[str, str]:
    """Plugin and mode of a key: "calico-ipip-crosssubnet" is calico's "ipip-crosssubnet"."""
    plugin, _, name = key.partition("-")
    return plugin, name


def mode(plugin: str, name: str) -> Mode:
    """The mode `name` of `plugin`. Raises BadInput that names what there is."""
    known = [parted(key) for key in MODES]
    plugins = list(dict.fromkeys(of for of, _ in known))
    if plugin not in plugins:
        raise BadInput(f"there is no plugin {plugin!r}", where="--plugin", remedy=meant(plugin, plugins))
    names = [one for of, one in known if of == plugin]
    if name not in names:
        others = [other for other in plugins if f"{other}-{name}" in MODES]
        remedy = f"{others[0]} has it: --plugin {others[0]}" if others else meant(name, names)
        raise BadInput(f"{plugin} has no mode {name!r}", where="--mode", remedy=remedy)
    module, _, attribute = MODES[f"{plugin}-{name}"].partition(":")
    found: Mode = getattr(importlib.import_module(module), attribute)()
    return found
