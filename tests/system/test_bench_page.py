"""The HTML report as a browser makes it: headless Chromium runs its script and hands back what is on the page."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from bench import document, page
from tests.unit.bench.samples import PLAN, lines

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
BROWSER_S = 60.0


@pytest.fixture(scope="module")
def dom(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The page's elements after its script has run, and everything that the script complained of."""
    folder = tmp_path_factory.mktemp("page")
    report = document.made(PLAN, [*lines(), {"kind": "end"}], "2026-01-01T00:00:00Z")
    report["notes"].append({"text": "</script><b id=injected>"})
    (folder / "report.html").write_text(page.text(json.loads(document.dumped(report))))
    return browsed(folder / "report.html", folder / "profile")


def browsed(file: Path, profile: Path) -> str:
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    assert browser, f"none of {', '.join(BROWSERS)} is installed; run scripts/setup"
    argv = [
        browser,
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={profile}",
    ]
    argv += ["--enable-logging=stderr", "--v=0", "--virtual-time-budget=3000", "--dump-dom", file.as_uri()]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=BROWSER_S, check=True)
    assert "CONSOLE" not in done.stderr, done.stderr  # an error in the page's script
    return done.stdout


def chart(dom: str, name: str) -> str:
    return re.search(rf'<div id="{name}">(.*?)</div>', dom, re.DOTALL)[1]  # type: ignore[index]


def test_every_chart_shows_every_mode(dom: str) -> None:
    assert chart(dom, "throughput").count('class="bar"') == 4
    assert chart(dom, "ratio").count('class="dot"') == 2
    assert chart(dom, "latency").count('class="curve"') == 3
    assert chart(dom, "shaped").count('class="bar"') == 2
    for name in ("throughput", "ratio", "shaped"):
        assert "hybridnet-vxlan" in chart(dom, name)


def test_figures_are_those_of_the_report(dom: str) -> None:
    assert "0.9655 (0.9655)" in chart(dom, "shaped")
    assert "hybridnet-vxlan: 0.500 [0.500, 0.500], 5 rounds: worse" in chart(dom, "ratio")
    assert 'class="pass">pass</td><td class="">goodput hybridnet-vxlan shaped-1500' in dom


def test_nothing_is_fetched_and_no_text_becomes_markup(dom: str) -> None:
    text = page.TEMPLATE.read_text()
    assert re.findall(r"(?:src|href)=|@import|https?://(?!www\.w3\.org/2000/svg)", text) == []
    assert '<b id="injected">' not in dom
