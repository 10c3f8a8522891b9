"""Two leaves under a spine, with slow links between them, as a Mininet user writes a topology.

run_topology.py up -f examples/two_leaves.py                      # one rack of two nodes a leaf
run_topology.py up -f examples/two_leaves.py:two-leaves,3,delay=5ms
run_topology.py export --format yaml -f examples/two_leaves.py    # the same as a YAML file
"""

from topologies.topo import LabTopo


class TwoLeaves(LabTopo):
    """`nodes` a leaf; `delay` and `bw` (Mbit/s) between the leaves and the spine."""

    def build(self, nodes: int = 2, bw: float = 100, delay: str | None = None) -> None:
        self.lab(plugin="calico", mode="bgp", pods_per_node=1)
        spine = self.addSwitch("spine")
        for leaf in (1, 2):
            switch = self.addSwitch(f"leaf{leaf}")
            self.addLink(switch, spine, bw=bw, delay=delay)
            for number in range(1, nodes + 1):
                last = 10 * leaf + number
                node = self.addHost(f"node{last}", ip=f"192.168.1.{last}/24", ip6=f"fd00:192:168:1::{last}/64")
                self.addLink(node, switch)
        router = self.addRouter("gw")
        self.addLink(router, spine, ip="192.168.1.254/24", ip6="fd00:192:168:1::fe/64")
        client = self.addClient("client", ip="203.0.113.10/24", ip6="2001:db8:113::10/64")
        self.addLink(client, router, ip="203.0.113.1/24", ip6="2001:db8:113::1/64")


topos = {"two-leaves": TwoLeaves}
