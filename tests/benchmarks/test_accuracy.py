"""The benchmarks of deconvolution run, and say what they must."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(script: str, *words: str) -> str:
    command = [sys.executable, str(ROOT / "benchmarks" / script), "--smoke", *words]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=os.environ, timeout=300)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_speed_is_measured_beside_scipy_and_put_into_the_page(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    page.write_text("before\n<!-- speed: begin -->\nold\n<!-- speed: end -->\nafter\n")
    printed = run("deconvolve.py", "--page", str(page))
    assert "200 m/z x 48 species" in printed
    rows = {line.split("|")[1].strip(): line.split("|")[3].strip() for line in printed.splitlines() if "|" in line}
    assert rows["scipy.optimize.nnls in a loop"] == "1.0"
    assert float(rows["nightwell, value and sigma"]) > 8.0  # a smoke run on a busy machine
    text = page.read_text()
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert "old" not in text
    assert "cores that they got" in text


def test_accuracy_is_measured_for_every_pattern_error(tmp_path: Path) -> None:
    printed = run("accuracy/accuracy.py", "--data", str(tmp_path / "none"))
    methane = next(line for line in printed.splitlines() if line.startswith("| methane")).split("|")
    errors = [float(cell) for cell in methane[3:7]]
    assert errors == sorted(errors)
    assert errors[0] < 0.3
    assert "A real scan" not in printed
    for gas in ("gulf_coast", "ekofisk"):
        assert gas in printed
