"""What `inspect` shows of a lab."""

from __future__ import annotations

from typing import Any

import pytest

from console import views


def test_a_mac_address_is_no_picture(capsys: pytest.CaptureFixture[str]) -> None:
    """To Rich ":cd:" is a compact disc."""
    found: dict[str, Any] = {"lab": "l", "plugin": "p", "mode": "m", "kernel": "host", "pod_mtu": 1500, "pools": []}
    node = {"name": "node1", "mac": "02:4a:7a:cd:e1:a2", "mtu": 1500, "blocks": ()}
    views.lab({**found, "nodes": [node], "pods": [], "links": [], "bgp": [], "notes": []})
    assert "02:4a:7a:cd:e1:a2" in capsys.readouterr().out
