"""What a missing feature is told as, and what is not tried on a machine."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from kernel import features
from kernel.errors import BadInput, MissingTool, PodpathError
from plugins.registry import MODES, mode


def test_every_feature_that_a_mode_needs_is_known() -> None:
    for key in MODES:
        assert mode(*key.split("-", 1)).needs <= set(features.FEATURES), key


def test_every_feature_says_what_it_is_for_and_what_to_do_without() -> None:
    for name, one in features.FEATURES.items():
        assert one.purpose, name
        assert any(words in one.remedy for words in ("use --kernel", "apt-get install", "in its place")), name


def test_the_embedded_kernel_has_all_but_nftables() -> None:
    lacks = {name for name, lack in features.of_embedded().items() if lack and not features.FEATURES[name].programs}
    assert lacks == {"iptables-nft"}


def test_a_missing_program_is_named_with_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    absent = features.FEATURES["frr"].programs
    monkeypatch.setattr(features.os.path, "exists", lambda path: path not in absent)
    monkeypatch.setattr(features.shutil, "which", lambda name, path: None if name in absent else name)
    with pytest.raises(MissingTool) as told:
        features.need_programs({"frr", "veth"})
    assert "vtysh" in told.value.what
    assert "apt-get install frr" in told.value.remedy


class Silent:
    """A kernel that refuses every device as unknown, in a namespace that has `there`."""

    def __init__(self, there: set[str]) -> None:
        self.there = there

    def attempt(self, requests: Any) -> list[Any]:
        from kernel.wire import Refusal

        return [Refusal("it", 95, "Operation not supported")]


@pytest.mark.parametrize(
    ("there", "loadable", "kernel", "said"),
    [
        ({"tunl0"}, False, "host", ""),
        (set(), True, "host", "module ipip is not loaded, and loading it would give the machine itself a device tunl0"),
        (set(), True, "embedded", "the kernel has no device type ipip"),
        (set(), False, "host", "the kernel has no device type ipip"),
    ],
)
def test_a_tunnel_module_is_not_loaded_for_a_trial(
    monkeypatch: pytest.MonkeyPatch, there: set[str], loadable: bool, kernel: str, said: str
) -> None:
    monkeypatch.setattr(features, "indexes", lambda rtnl: rtnl.there)
    monkeypatch.setattr(features, "_loadable", lambda module: loadable)
    monkeypatch.setenv("PODPATH_KERNEL", kernel)
    rtnl: Any = Silent(there)
    assert features.FEATURES["ipip"].trial(rtnl) == said


def test_whether_a_module_could_be_loaded(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    known = tmp_path / "lib/modules" / features.os.uname().release
    setting = tmp_path / "proc/sys/net/core/fb_tunnels_only_for_init_net"
    monkeypatch.setattr(features, "Path", lambda *parts: tmp_path.joinpath(*(str(part).lstrip("/") for part in parts)))
    assert not features._loadable("ipip")
    known.mkdir(parents=True)
    (known / "modules.dep").write_text("kernel/net/ipv4/ipip.ko: kernel/net/ipv4/ip_tunnel.ko\n")
    assert features._loadable("ipip")
    assert not features._loadable("sit")
    setting.parent.mkdir(parents=True)
    setting.write_text("2\n")
    assert not features._loadable("ipip")


def test_an_error_says_what_where_and_what_to_do() -> None:
    assert str(BadInput("it is wrong", where="lab.yaml: nodes[0]", remedy="mend it")) == (
        "lab.yaml: nodes[0]: it is wrong\n  -> mend it"
    )
    assert str(PodpathError("it is wrong")) == "it is wrong"
