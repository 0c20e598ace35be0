"""The benchmark of a night runs, its hand-written rival gives the same amounts, and it says what it extrapolates."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fleet import MARKS, FleetRun, HandRow, NightRow, write_page

ROOT = Path(__file__).resolve().parents[2]


def a_run() -> FleetRun:
    nights = [NightRow(workers, 4, 600.0, 1000, 1300, 2.0, 8.0 / workers, 1.0, 0.04, 300 << 20) for workers in (1, 2)]
    return FleetRun(
        "fleet.py", "now", "abc", "machine", (0.0, 0.0, 0.0), nights, [HandRow(600.0, 1300, 2, 20, 18, 2, 20, 0)]
    )


def test_the_page_keeps_its_words_and_names_the_extrapolation(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text(f"before\n{MARKS[0]}\nold\n{MARKS[1]}\nafter\n")
    write_page(page, a_run())
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "| 2.00 |" in text, "two workers are twice as fast as one"
    assert "EXTRAPOLATED, not run: a thousand wells of 600 m on 2 such workers would take 17 min" in text
    (tmp_path / "bare.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_page(tmp_path / "bare.md", a_run())


def test_the_whole_benchmark_runs_on_a_small_fleet(tmp_path: Path) -> None:
    command = [
        sys.executable,
        str(ROOT / "benchmarks" / "fleet.py"),
        "--smoke",
        "--workers",
        "1",
        "--out",
        str(tmp_path),
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    (file,) = tmp_path.glob("fleet-*.json")
    run = json.loads(file.read_text())
    (hand,) = run["by_hand"]
    assert hand["largest_difference"] < 1e-4
    assert hand["spectra"] > 50
    assert [(row["workers"], row["wells"]) for row in run["nights"]] == [(1, 2)]
    assert "SIMULATED" in done.stdout
    assert sorted(path.name for path in tmp_path.iterdir()) == [file.name], "scratch is removed"
