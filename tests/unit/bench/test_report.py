from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from rich.console import Console

from bench import checks, document, markdown, outputs, published, screen
from bench.plan import AGAIN, RAW
from kernel.errors import BadInput, PodpathError
from tests.unit.bench.samples import PLAN, lines, sample

SCHEMA = json.loads(document.SCHEMA_FILE.read_text())


def report(end: bool = True, **options: Any) -> document.Report:
    return document.made(PLAN, [*lines(**options), *([{"kind": "end"}] if end else [])], "2026-01-01T00:00:00Z")


def row(made: document.Report, mode: str, metric: str, setting: str = "unlimited") -> dict[str, Any]:
    wanted = (mode, metric, setting)
    return next(one for one in made["rows"] if (one["mode"], one["metric"], one["setting"]) == wanted)


def check(made: document.Report, name: str) -> dict[str, Any]:
    return next(one for one in made["checks"] if one["name"] == name)


def test_a_report_fits_its_schema_whole_and_cut_short() -> None:
    for made in (report(), report(end=False, rounds=1), document.made(PLAN, [], "")):
        jsonschema.validate(json.loads(document.dumped(made)), SCHEMA)
    assert report()["run"]["complete"]
    assert not report(end=False)["run"]["complete"]


def test_modes_are_told_apart_only_beyond_the_noise() -> None:
    made = report()
    slow, fast = row(made, "hybridnet-vxlan", "udp_rr_p50"), row(made, "calico-bgp", "udp_rr_p50")
    assert slow["against_raw"]["median"] == pytest.approx(2)
    assert (slow["verdict"], slow["rank"]) == ("worse", 2)
    assert (fast["verdict"], fast["rank"]) == ("no difference seen", 1)
    assert row(made, AGAIN, "udp_rr_p50")["verdict"] == "control"
    assert made["ties"] == [tie for tie in made["ties"] if set(tie["modes"]) == {"calico-bgp", "hybridnet-vxlan"}]


def test_a_tie_is_never_ranked() -> None:
    modes = (RAW, "calico-bgp", "hybridnet-vxlan")
    alike = [sample(mode, "udp_rr", n, udp_rr_p50=20 + n % 2) for n in range(1, 6) for mode in modes]
    made = document.made(PLAN, alike, "")
    assert [one["modes"] for one in made["ties"]] == [["calico-bgp", "hybridnet-vxlan"]]
    assert {one["rank"] for one in made["rows"] if one["mode"] != RAW} == {1}


def test_one_round_tells_nothing_apart() -> None:
    assert row(report(rounds=1), "hybridnet-vxlan", "tcp_1")["verdict"] == "too few rounds"


def test_shaped_goodput_is_held_against_header_sizes() -> None:
    good = check(report(), "goodput hybridnet-vxlan shaped-1500")
    assert (good["result"], good["tier"]) == ("pass", 1)
    assert "0.9655 measured, 0.9655 predicted" in good["text"]
    assert checks.status(report()) == 0
    bad = report(vxlan_goodput=0.955)
    assert check(bad, "goodput hybridnet-vxlan shaped-1500")["result"] == "fail"
    assert checks.status(bad) == 1


def test_a_link_that_was_not_full_shows_nothing() -> None:
    slow = [sample(mode, "tcp_1", n, "shaped-1500", tcp_1=4e8) for n in range(1, 4) for mode in (RAW, "calico-bgp")]
    made = document.made(PLAN, [*lines(rounds=0), *slow], "")
    assert [(one["name"], one["result"]) for one in made["checks"] if one["tier"] == 1] == [
        ("link-filled shaped-1500", "unknown")
    ]


def test_no_measurement_is_status_2() -> None:
    assert checks.status(document.made(PLAN, [], "")) == 2
    only_raw = [sample(RAW, "tcp_1", n, tcp_1=1e9) for n in range(1, 4)]
    assert checks.status(document.made(PLAN, only_raw, "")) == 2


def test_published_ratios_warn_and_change_nothing() -> None:
    made = report()
    vxlan = next(one for one in made["published"] if one["metric"] == "tcp_1" and one["mode"] == "hybridnet-vxlan")
    assert (vxlan["inside"], vxlan["ratio"]) == (True, pytest.approx(0.5))
    bgp = next(one for one in made["published"] if one["metric"] == "udp_rr_p50" and one["mode"] == "calico-bgp")
    assert not bgp["inside"]
    assert "one thread" in bgp["why"]


def test_every_published_band_is_of_a_metric_and_has_a_source() -> None:
    for one in published.bands():
        assert one["metric"] in published.WHY
        assert one["low"] < one["high"]
        assert one["grade"] in "DPL"
        assert one["source"]


def test_csv_has_a_row_for_each_figure() -> None:
    made = report()
    found = list(csv.DictReader(io.StringIO(outputs.as_csv(made))))
    assert len(found) == sum(len(one["values"]) for one in made["samples"])
    assert float(found[0]["value"]) == made["samples"][0]["values"][found[0]["metric"]]


def test_markdown_has_a_line_for_each_row_and_marks_what_failed() -> None:
    made = report(vxlan_goodput=0.955)
    text = markdown.text(made)
    assert "**1 checks failed**" in text
    assert "| ✗ | goodput hybridnet-vxlan shaped-1500 | 1 |" in text
    assert text.count("\n| tcp_1 | pod-cross | hybridnet-vxlan |") == 2


def test_the_tables_fit_eighty_columns() -> None:
    out = io.StringIO()
    screen.show(report(), Console(file=out, width=80))
    shown = out.getvalue()
    assert max(len(line) for line in shown.splitlines()) <= 80
    assert "hybridnet-vxlan" in shown
    assert "…" not in shown


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"schema": 1, "run": {', "it is no whole report"),
        ('{"schema": 2}', "it has schema version 2, and this program reads 1"),
        ('{"schema": 1, "run": {}}', "it is cut short: no 'machine'"),
        ("[]", "it is no report of bench"),
    ],
)
def test_what_is_no_report_is_a_message(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bench.json").write_text(text)
    with pytest.raises(BadInput, match=message):
        document.read(tmp_path / "bench.json")


def test_a_written_report_is_read_back(tmp_path: Path) -> None:
    made = report()
    outputs.write_all(tmp_path, made)
    assert document.read(tmp_path / "bench.json") == json.loads(document.dumped(made))


def test_a_full_disk_is_a_message() -> None:
    with pytest.raises(PodpathError, match="cannot be written"):
        document.write(Path("/dev/full/bench.json"), "x")
