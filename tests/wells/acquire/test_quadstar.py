"""Quadstar scans: the real file against the peak heights another program made of it, and damaged ones."""

from __future__ import annotations

import struct
from pathlib import Path

import numpy as np
import pytest
from real_files import QUADRUPOLE, QUADSTAR, RealFile

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.import_well import import_spectra
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.quadstar import import_quadstar, is_quadstar, peak_heights, read_quadstar

BASE_S, INFO, DATA = 1_700_000_000, 219, 386


def sac(currents: np.ndarray, *, exponents: list[int] | None = None, per_mz: int = 10, kind: int = 0x11,
        scale: bytes = b"amu", unit: bytes = b"A") -> bytes:  # fmt: skip
    """A file of the layout, m/z from 1 in steps of 1 / per_mz, one cycle a minute."""
    cycles, points = currents.shape
    length = 12 + 4 * points
    content = bytearray(DATA + cycles * length)
    content[:2] = b"\xc6\x02"
    struct.pack_into("<ihi", content, 0x64, cycles, 2, length)
    struct.pack_into("<IH", content, 0xC2, BASE_S, 5000)
    struct.pack_into("<BiiBii", content, 0xC8, 0x0F, 218, DATA - 6, kind, INFO, DATA)
    struct.pack_into("<H13s14s13s14s66sfHBff", content, INFO, 1, b"Ion Current", unit, b"Mass", scale, b"", 1.0,
                     points // per_mz, per_mz, 0.0, 0.0)  # fmt: skip
    for at, row in enumerate(currents):
        place = DATA + at * length
        struct.pack_into("<IH", content, place - 6, 60 * at, 0)
        struct.pack_into("<ih", content, place, 0, (exponents or [-6] * cycles)[at])
        content[place + 6 : place + 6 + 4 * points] = row.astype("<f4").tobytes()
    return bytes(content)


def peaks(heights: list[float]) -> np.ndarray:
    """One cycle of ten points per m/z from 1 on: a triangle at each whole m/z, and a spike half way."""
    mz = 1.0 + np.arange(10 * len(heights)) / 10
    near = np.clip(np.round(mz).astype(int) - 1, 0, len(heights) - 1)
    shape = np.array(heights)[near] * np.maximum(0.0, 1.0 - np.abs(mz - near - 1) / 0.4)
    shape[np.isclose(mz % 1, 0.5)] = 1e-7
    return np.asarray(shape, dtype=np.float64)


def test_the_real_scan_gives_the_peak_heights_that_another_program_made_of_it(real_file: RealFile) -> None:
    found, other = import_quadstar(real_file(QUADSTAR)), import_quadrupole(real_file(QUADRUPOLE))
    ours, theirs = found.scans["scans"], other.scans["scans"]
    np.testing.assert_array_equal(ours.mz, theirs.mz)
    np.testing.assert_allclose(ours.intensity, theirs.intensity, rtol=5e-6)  # they print six digits
    apart = np.abs(ours.time.to_numpy() - theirs.time.to_numpy())
    assert apart.max() < np.timedelta64(60, "ms")  # they print tenths of a second
    assert found.scans.attrs["full_scale_a"] == 1e-6
    assert "1600 points a scan" in found.report.notes[0]


def test_heights_are_the_largest_within_the_window_and_not_the_valley() -> None:
    heights = [1e-9, 2e-9, 3e-12, 4e-9]
    mz, found = peak_heights(1.0 + np.arange(40) / 10, peaks(heights)[None, :])
    np.testing.assert_array_equal(mz, [1, 2, 3, 4])
    np.testing.assert_allclose(found[0], heights)


def test_times_and_units_are_read(tmp_path: Path) -> None:
    path = tmp_path / "run.dat"  # told by content, not by name
    path.write_bytes(sac(np.stack([peaks([1.0, 2.0, 3.0]), peaks([4.0, 5.0, 6.0])]), exponents=[3, 3], unit=b"nA"))
    scans = import_spectra(path).scans["scans"]
    np.testing.assert_allclose(scans.intensity, [[1e-9, 2e-9, 3e-9], [4e-9, 5e-9, 6e-9]])
    start = np.datetime64(BASE_S * 1000 + 500, "ms")
    np.testing.assert_array_equal(scans.time, start + np.array([0, 60]) * np.timedelta64(1, "s"))


def test_a_current_out_of_range_reads_as_saturated(tmp_path: Path) -> None:
    huge = float(np.finfo(np.float32).max)
    rows = np.stack([peaks([1e-9, huge, 3e-9]), peaks([1e-9, 2e-9, huge])])
    path = tmp_path / "run.sac"
    path.write_bytes(sac(rows, exponents=[-6, -8]))
    found = import_quadstar(path)
    intensity = found.scans["scans"].intensity.to_numpy()
    assert intensity[0, 1] == np.float32(1e-6)
    assert np.isnan(intensity[1, 2])  # the range of that cycle is not the instrument's full scale
    assert found.report.notes[1] == "2 peaks out of the range of the electrometer"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"Time,28\n1,2\n", "of another kind"),
        (b"\xc6\x02" + b"\0" * 300, "of another kind"),
        (sac(peaks([1.0, 2.0])[None, :])[:-8], "whole cycles"),
        (sac(peaks([1.0, 2.0])[None, :])[:300], "whole cycles"),
        (sac(peaks([1.0, 2.0])[None, :], kind=0x12), "one analogue trace; found 0"),
        (sac(peaks([1.0, 2.0])[None, :], scale=b"V"), "m/z axis in amu"),
        (sac(peaks([1.0, 2.0])[None, :], unit=b"V"), "converts to A; found V"),
    ],
)
def test_a_damaged_scan_is_refused(content: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        read_quadstar(content, name="run.sac")


def test_it_is_told_from_other_files(tmp_path: Path) -> None:
    assert is_quadstar(sac(peaks([1.0])[None, :]))
    assert not is_quadstar(b"")
    with pytest.raises(NotFoundError):
        import_quadstar(tmp_path / "none.sac")
