"""The benchmark measures what it says: the right volume, processor seconds of the right side, honest ratios."""

from __future__ import annotations

import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from metering import Command, CommandFailedError, measure
from results import MARKS, Row, Run, page_part, ratios, read_json, table, write_page
from volume_image import MIB, Change, change_in_runs, change_scattered, make_image

from nightwell.programs import find_program

ROOT = Path(__file__).resolve().parents[2]
BURN = "import time; end = time.process_time() + {seconds}\nwhile time.process_time() < end: pass"


def row(case: str, contender: str, wall_s: float, stored_bytes: int) -> Row:
    return Row(case, contender, wall_s, 1.0, 1.0, 0.0, MIB, stored_bytes)


def a_run(rows: list[Row]) -> Run:
    return Run("make bench", "now", "abc", "machine", (0.0, 0.0, 0.0), 64 * MIB, {"restic": "0.14.0"}, {}, rows)


def sections(image: Path, size_bytes: int = 8 * MIB) -> list[float]:
    """Return how far each section shrinks; a section of zeros counts as 0."""
    data = image.read_bytes()
    parts = [data[at : at + size_bytes] for at in range(0, len(data), size_bytes)]
    return [len(zlib.compress(part, 1)) / len(part) if any(part) else 0.0 for part in parts]


def test_the_image_is_half_zero_a_quarter_random_a_quarter_compressible(tmp_path: Path) -> None:
    make_image(tmp_path / "image", 64 * MIB)
    shrunk = sections(tmp_path / "image")
    assert len(shrunk) == 8
    assert sum(share == 0 for share in shrunk) == 4
    assert sum(share > 0.99 for share in shrunk) == 2
    assert sum(0.1 < share < 0.6 for share in shrunk) == 2


def test_changes_rewrite_one_percent_where_they_say(tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_image(image, 64 * MIB)
    for change, pieces in ((change_in_runs, 1), (change_scattered, 10)):
        before = image.read_bytes()
        changes = change(image, seed=5)
        after = image.read_bytes()
        assert len(changes) == pieces
        assert 0.009 < sum(one.length_bytes for one in changes) / len(after) <= 0.01
        assert len(after) == len(before)
        rest_before, rest_after = bytearray(before), bytearray(after)
        for one in changes:
            here = slice(one.offset_bytes, one.offset_bytes + one.length_bytes)
            assert before[here] != after[here]
            rest_before[here] = rest_after[here] = bytes(one.length_bytes)
        assert rest_before == rest_after
        assert not any(overlap(one, other) for one in changes for other in changes if one is not other)


def overlap(one: Change, other: Change) -> bool:
    return max(one.offset_bytes, other.offset_bytes) < min(
        one.offset_bytes + one.length_bytes, other.offset_bytes + other.length_bytes
    )


def test_processor_seconds_of_client_and_server_are_told_apart(tmp_path: Path) -> None:
    # The server burns for as long as the client runs, and stops when its input ends.
    forever = "import sys, threading\nthreading.Thread(target=sys.stdin.read).start()\n"
    forever += "while threading.active_count() > 1: pass"
    server = subprocess.Popen([sys.executable, "-c", forever], stdin=subprocess.PIPE)
    try:
        # The client's work is done by a child of it, which has to be counted too.
        client = f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {BURN.format(seconds=0.6)!r}])"
        done = measure(Command([sys.executable, "-c", client]), server_pid=server.pid, log=tmp_path / "log")
        idle = measure(Command(["sleep", "0.5"]), server_pid=os.getpid(), log=tmp_path / "log")
    finally:
        server.communicate()
    assert done.client_cpu_s == pytest.approx(0.65, abs=0.15)
    assert 0.1 < done.server_cpu_s <= done.wall_s * 1.1
    assert idle.client_cpu_s < 0.1
    assert idle.wall_s == pytest.approx(0.5, abs=0.2)


def test_peak_memory_is_seen(tmp_path: Path) -> None:
    hungry = "import time; held = bytearray(200 << 20); held[::4096] = bytes(len(held[::4096])); time.sleep(0.2)"
    done = measure(Command([sys.executable, "-c", hungry]), server_pid=os.getpid(), log=tmp_path / "log")
    assert 200 * MIB < done.peak_rss_bytes < 260 * MIB


def test_a_command_that_fails_is_no_figure(tmp_path: Path) -> None:
    failing = Command([sys.executable, "-c", "raise SystemExit('the bucket is gone')"])
    with pytest.raises(CommandFailedError, match="the bucket is gone"):
        measure(failing, server_pid=os.getpid(), log=tmp_path / "log")


def test_ratios_are_against_the_best_other_tool_of_each_figure() -> None:
    rows = [
        row("full", "nightwell, digests only", 5.0, 100),
        row("full", "restic", 20.0, 200),
        row("full", "benji", 10.0, 400),
        row("unchanged", "nightwell, digests only", 1.0, 0),
    ]
    (only,) = ratios(rows)
    assert (only.wall, only.best_wall) == (0.5, "benji")
    assert (only.stored, only.best_stored) == (0.5, "restic")


def test_the_page_keeps_its_words_and_takes_the_figures(tmp_path: Path) -> None:
    page = tmp_path / "page.md"
    begin_mark, end_mark = MARKS["figures"]
    page.write_text(f"before\n{begin_mark}\nold\n{end_mark}\nafter\n")
    run = a_run([row("full", "nightwell, digests only", 5.0, MIB), row("full", "restic", 20.0, 2 * MIB)])
    write_page(page, run)
    text = page.read_text()
    assert "old" not in text
    assert text.startswith("before\n")
    assert text.endswith("after\n")
    assert page_part(run) in text
    assert "0.25" in table(run)
    assert "0.50" in table(run)
    (tmp_path / "bare.md").write_text("no marks")
    with pytest.raises(ValueError, match="lacks the marks"):
        write_page(tmp_path / "bare.md", run)


def test_the_whole_benchmark_runs_on_a_small_volume(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "benchmarks" / "backup.py"), "--smoke", "--out", str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    (result,) = tmp_path.glob("backup-*.json")
    run = read_json(result)
    tools = {"nightwell, digests only", "nightwell, change list", "nightwell, whole road"} | (
        {"restic"} if find_program("restic") else set()
    )
    assert {one.contender for one in run.rows} == tools
    assert {name.split()[0] for name in run.absent} | tools >= {"restic"}
    figures = {(one.case, one.contender): one for one in run.rows}
    for tool in tools:
        assert figures["restore", tool].verified is True
        assert figures["full", tool].stored_bytes > 16 * MIB
        assert figures["unchanged", tool].stored_bytes < MIB
    for tool in tools - {"restic"}:
        assert figures["1 % scattered", tool].stored_bytes < 2 * MIB
    assert all(one.others_cpu_s > 0 for one in run.rows if one.contender == "nightwell, whole road")
    assert list(tmp_path.glob("run-*")) == []
