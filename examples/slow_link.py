"""Mininet's API over a lab, in a script: how a slow link between switches shows between pods.

    .venv/bin/python examples/slow_link.py

It starts itself again on the first kernel of this machine that has what it needs: root is not needed.
"""

import os
import shutil
import sys
from pathlib import Path

from kernel import places
from kernel.errors import PodpathError
from plugins.registry import mode
from topologies.spec import preset

NEEDS = preset("default").needs | mode("hybridnet", "vxlan").needs | {"netem", "tbf", "iperf3", "mininet"}


def outside() -> int:
    """On the machine: chooses a kernel and runs this file there."""
    kernel, why = places.choose("auto", NEEDS, "examples/slow_link.py")
    print(f"on the {kernel} kernel: {why}", flush=True)
    folder = places.run_folder("slow-link")
    try:
        return places.launch(kernel, "slow-link", [sys.executable, str(Path(__file__).resolve())], folder).wait()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def inside() -> int:
    """In namespaces of its own, or in a guest kernel."""
    from mininet.log import setLogLevel

    from cluster.lab import Lab, features, plan
    from topologies.mininet_net import LabNet

    setLogLevel("error")  # Mininet's own words
    with Lab(plan(preset("default"), "hybridnet", "vxlan", features()), Path(os.environ["PODPATH_RUN"])) as lab:
        lab.up()
        net = LabNet(lab.spec, lab.namespaces, lab.state, lab)
        pods = net.get("pod1", "pod6")
        for values in ({}, {"bandwidth": "100Mbit"}, {"bandwidth": None, "delay": "10ms"}):
            if values:
                net.shape("s1", "s2", **values)
            _, _, (_, _, _, milliseconds, _, _) = net.pingFull(pods)[0]
            print(net.spec.link_between("s1", "s2"))
            print(f"    round trip {milliseconds:.2f} ms, throughput {net.iperf(pods, seconds=2)[0]}", flush=True)
        print(net["s1"].cmd("tc qdisc show dev s2"))
        net.stop()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(inside() if "PODPATH_KERNEL" in os.environ else outside())
    except PodpathError as problem:
        sys.exit(f"error: {problem}")
