"""The archive: whole commits only, one engine at a time, and engines that are killed."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
import zarr
from wells.acquisition import engine_killer
from wells.acquisition.killed_engine import AWAY, run_engine
from wells.acquisition.rigs import START

from nightwell.errors import BusyError, ConflictError, FormatError, NotFoundError
from nightwell.wells.acquire import archive as archive_module
from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.archive_layout import Gap, ScanRow, append_rows
from nightwell.wells.acquire.plan import Progress
from nightwell.wells.contract import GAP_REASONS, Origin, validate_scans
from nightwell.wells.instrument import Instrument

SEEDS = range(10)
ORIGIN = Origin("well", Instrument("a stand-in"), simulated=True, provenance="simulated")


def scan(number: int) -> ScanRow:
    time = START + np.timedelta64(number, "s")
    return ScanRow(time, 0, 0, 1, 1e-4, float("nan"), 0, np.full(3, number, dtype=np.float32))


def fill(archive: ScanArchive, count: int, *, origin: Origin = ORIGIN, mz: tuple[int, ...] = (15, 28, 40)) -> list[str]:
    with archive.writing(lambda progress: origin, mz, "", None) as writer:
        begin = writer.progress.scans
        return [
            writer.append(scan(begin + n), None, (), Progress(scans=begin + n + 1, end_s=float(n)))
            for n in range(count)
        ]


@pytest.fixture(scope="module")
def kill() -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, str(Path(engine_killer.__file__))]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        yield process
        assert process.stdin is not None
        process.stdin.close()


def killed(process: subprocess.Popen[str], place: Path, seed: int) -> None:
    assert process.stdin is not None
    assert process.stdout is not None
    process.stdin.write(f"{place} {seed}\n")
    process.stdin.flush()
    assert int(process.stdout.readline()) == -signal.SIGKILL


def test_killed_at_any_point_it_goes_on_with_every_gap_said_and_no_scan_twice(
    kill: subprocess.Popen[str], tmp_path: Path
) -> None:
    archive = ScanArchive(tmp_path, "well")
    counts = []
    for seed in SEEDS:
        killed(kill, tmp_path, seed)
        if not archive.exists():
            continue
        tree = archive.open()
        counts.append(tree["scans"].sizes["scan"])
        # Progress and scans are of one commit: what a reader sees is whole.
        assert archive.progress().scans == counts[-1]
    assert counts[-1] > counts[0]
    assert counts == sorted(counts)
    run_engine(str(tmp_path), 5)
    scans, gaps = archive.open()["scans"].to_dataset(), archive.open()["gaps"].to_dataset()
    time = scans["time"].to_numpy()
    assert (np.diff(time) > np.timedelta64(0, "s")).all()
    assert np.isfinite(scans["intensity"].to_numpy()).all()
    # Each hole in time is a gap, and each gap a hole: 25 s is the way from one port to another, and one scan.
    holes = np.flatnonzero(np.diff(time) > np.timedelta64(60, "s"))
    stopped = gaps.isel(gap=gaps["reason"].to_numpy() == GAP_REASONS.index("stopped"))
    assert stopped["end"].to_numpy().tolist() == time[holes + 1].tolist()
    assert (stopped["end"].to_numpy() - stopped["start"].to_numpy() >= AWAY).all()
    assert ((scans["flag"].to_numpy()[holes + 1] & 1) == 1).all()
    assert len(holes) == len({count for count in counts if count})
    depth = scans["sample_depth"].to_numpy()
    starts = depth[np.flatnonzero(~np.isnan(depth) & ~np.isclose(np.concatenate(([0], depth[:-1])), depth))]
    assert len(starts) == len(set(starts.tolist()))


def test_a_reader_sees_whole_commits_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ScanArchive(tmp_path, "well")
    fill(archive, 2)
    seen: list[int] = []
    inner = append_rows

    def looking(root: zarr.Group, name: str, values: dict[str, object]) -> None:
        inner(root, name, values)
        tree = ScanArchive(tmp_path, "well").open()
        seen.append(tree["scans"].sizes["scan"])

    monkeypatch.setattr(archive_module, "append_rows", looking)
    with archive.writing(lambda progress: ORIGIN, (15, 28, 40), "", None) as writer:
        gap = Gap(START, START, 0)
        writer.append(scan(2), None, (gap,), Progress(scans=3))
    assert seen == [2, 2]
    assert archive.open()["scans"].sizes["scan"] == 3
    assert archive.open()["gaps"].sizes["gap"] == 1


def test_every_commit_can_be_opened_until_it_is_forgotten(tmp_path: Path) -> None:
    archive = ScanArchive(tmp_path, "well")
    versions = fill(archive, 5)
    assert [archive.open(version)["scans"].sizes["scan"] for version in versions] == [1, 2, 3, 4, 5]
    assert archive.version() == versions[-1]
    assert archive.forget_versions(datetime.now(UTC)) >= 3
    assert archive.open()["scans"].to_dataset()["intensity"].to_numpy()[:, 0].tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(NotFoundError):
        archive.open(versions[0])
    fill(archive, 1)
    assert archive.open()["scans"].sizes["scan"] == 6


def test_it_is_raw_scans_as_in_the_contract(tmp_path: Path) -> None:
    archive = ScanArchive(tmp_path, "a well / with a name")
    fill(archive, 40)
    tree = archive.open()
    validate_scans(tree)
    assert tree.attrs["well"] == "well"
    assert tree["scans"]["intensity"].to_numpy().shape == (40, 3)
    assert tree["scans"].to_dataset()["time"].to_numpy()[-1] == START + np.timedelta64(39, "s")
    assert tree["scans"].to_dataset()["intensity"].attrs["units"] == "A"


def test_two_engines_on_one_well_are_refused(tmp_path: Path) -> None:
    archive = ScanArchive(tmp_path, "well")
    with archive.writing(lambda progress: ORIGIN, (15,), "", None):
        with pytest.raises(BusyError, match="no other engine"):
            fill(ScanArchive(tmp_path, "well"), 1)
        fill(ScanArchive(tmp_path, "another"), 1)


def test_two_writers_past_the_lock_cannot_both_commit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As on an object store, where there is no lock: the second commit is refused whole."""
    archive = ScanArchive(tmp_path, "well")
    fill(archive, 1)
    inner = append_rows
    intruded: list[int] = []

    def intruding(root: zarr.Group, name: str, values: dict[str, object]) -> None:
        inner(root, name, values)
        if not intruded:
            intruded.append(1)
            with archive.writing(lambda progress: ORIGIN, (15, 28, 40), "", None) as other:
                other.append(scan(1), None, (), Progress(scans=2))

    writing = archive.writing(lambda progress: ORIGIN, (15, 28, 40), "", None)
    monkeypatch.setattr("fcntl.flock", lambda *arguments: None)
    monkeypatch.setattr(archive_module, "append_rows", intruding)
    with writing as writer, pytest.raises(ConflictError, match="another engine"):
        writer.append(scan(7), None, (), Progress(scans=2))
    assert archive.open()["scans"].to_dataset()["intensity"].to_numpy()[:, 0].tolist() == [0, 1]


def test_what_does_not_fit_the_archive_is_refused(tmp_path: Path) -> None:
    archive = ScanArchive(tmp_path, "well")
    fill(archive, 1)
    fill(archive, 1, mz=(28,))  # within the axis
    with pytest.raises(ConflictError, match="m/z 44"):
        fill(archive, 1, mz=(15, 44))
    measured = Origin("well", Instrument("real"), simulated=False, provenance="measured")
    with pytest.raises(ConflictError, match="found an instrument whose scans are measured"):
        fill(archive, 1, origin=measured)
    assert archive.open()["scans"].sizes["scan"] == 2


def test_a_well_that_was_not_acquired(tmp_path: Path) -> None:
    archive = ScanArchive(tmp_path, "well")
    assert not archive.exists()
    for call in (archive.open, archive.version, archive.progress):
        with pytest.raises(NotFoundError, match="acquired scans of well 'well'"):
            call()
    assert list(tmp_path.iterdir()) == []


def test_a_newer_format_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    archive = ScanArchive(tmp_path, "well")
    with monkeypatch.context() as newer:
        newer.setattr(archive_module, "ACQUISITION_FORMAT", 2)
        fill(archive, 1)
    with pytest.raises(FormatError, match="format up to 1"):
        archive.progress()
