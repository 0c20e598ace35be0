"""Profile scans become peak heights at whole m/z, on the scale that the peaks of air show."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.profile_scan import is_profile, peaks_of
from nightwell.wells.quadrupole import import_quadrupole
from nightwell.wells.quadstar import read_quadstar

Floats = NDArray[np.float64]
WriteFile = Callable[..., Path]
RealFile = Callable[[str], Path]

PEAKS = {15: 3e-10, 16: 5e-10, 18: 4e-9, 28: 8e-8, 29: 6e-10, 32: 2e-8, 40: 1e-9, 43: 2e-10}
AXIS = np.round(np.arange(10.0, 50.01, 0.1), 2)


def profile_of(axis: Floats, shift: Callable[[float], float] = lambda _: 0.0, noise_a: float = 0.0) -> Floats:
    """Return two scans: gaussian peaks 0.5 m/z wide at half height, the second one twice as tall."""
    one = sum(height * np.exp(-0.5 * ((axis - mz - shift(mz)) / 0.21) ** 2) for mz, height in PEAKS.items())
    rng = np.random.default_rng(3)
    return np.stack([one, 2.0 * one]) + noise_a * rng.standard_normal((2, axis.size))


@pytest.mark.parametrize("layout", ["wide", "long"])
def test_a_profile_in_csv_becomes_peak_heights_on_a_corrected_scale(write_file: WriteFile, layout: str) -> None:
    profile = profile_of(AXIS, lambda mz: 0.05 + 0.002 * mz)
    if layout == "wide":
        lines = ["Time," + ",".join(f"{mz:.1f} (A)" for mz in AXIS)]
        lines += [f"{1700000000 + at}," + ",".join(f"{one:.6e}" for one in row) for at, row in enumerate(profile)]
    else:
        lines = ["Time,mz,Intensity (A)"]
        lines += [f"{1700000000 + at},{mz:.1f},{one:.6e}" for at, row in enumerate(profile)
                  for mz, one in zip(AXIS, row, strict=True)]  # fmt: skip
    found = import_quadrupole(write_file(*lines))
    scans = found.scans["scans"]
    np.testing.assert_array_equal(scans.mz, np.arange(10, 50))  # that of 50 lies off the axis
    for mz, height in PEAKS.items():
        # Points 0.1 apart beside a peak that is not on one of them: 1 or 2 % are lost between the points.
        np.testing.assert_allclose(scans.intensity.sel(mz=mz), [height, 2 * height], rtol=0.03)
    assert float(scans.intensity.sel(mz=21).max()) < 1e-15
    assert found.report.unknown == ()
    (said,) = (note for note in found.report.notes if note.startswith("heights of 40 peaks from 401 points"))
    assert "by peaks 18, 28, 32, 40" in said
    assert "scale moved by -0.0" in said


def test_without_the_scale_the_heights_would_be_wrong() -> None:
    """So that the test above means something: read at whole m/z, a tenth and more of the height is missing."""
    axis, profile = AXIS, profile_of(AXIS, lambda mz: 0.05 + 0.002 * mz)
    at = int(np.flatnonzero(axis == 40.0)[0])
    assert profile[0, at] < 0.9 * PEAKS[40]


def test_noise_where_there_is_no_peak_does_not_become_current() -> None:
    axis = np.arange(10.0, 150.001, 0.1)
    whole, heights, _ = peaks_of(axis, profile_of(axis, noise_a=1e-13), subject="a test")
    empty = heights[:, whole > 50]
    assert abs(empty.mean()) < 3e-13 / np.sqrt(empty.size)


def test_a_scale_that_is_off_by_half_a_mass_is_refused_and_one_without_air_is_taken_as_it_is() -> None:
    with pytest.raises(InputError, match="0\\.40 off"):
        peaks_of(AXIS, profile_of(AXIS, lambda _: 0.4), subject="a test")
    axis = np.arange(60.0, 90.0, 0.1)
    _, _, note = peaks_of(axis, np.zeros((1, axis.size)), subject="a test")
    assert "no peak of air or moisture" in note
    with pytest.raises(InputError, match="at least one whole m/z"):
        peaks_of(np.arange(27.1, 27.9, 0.1), np.zeros((1, 8)), subject="a test")


@pytest.mark.parametrize(
    ("labels", "told"),
    [
        ([14.0, 14.5, 28.0], False),
        (np.arange(1.0, 51.0), False),
        (np.arange(1.0, 51.0, 0.5), False),
        (np.arange(1.0, 51.0, 0.2), True),
        (np.concatenate([np.arange(14.0, 19.0, 0.1), np.arange(27.0, 29.0, 0.1)]), True),
        ([13.9, 14.0, 14.1], False),
    ],
)
def test_it_is_told_from_other_labels(labels: Floats, told: bool) -> None:  # noqa: FBT001 - a parameter
    assert is_profile(np.asarray(labels, dtype=np.float64)) is told


def test_the_real_profile_keeps_its_peaks(real_file: RealFile) -> None:
    """A real scan of a Pfeiffer quadrupole: its scale is found within a tenth of m/z, and its peaks stay."""
    name = "qms/anatema_2025-03-12_Ar-EtOH_plasma.sac"
    scan = read_quadstar(real_file(name).read_bytes(), name=name)
    whole, heights, note = peaks_of(scan.mz, scan.current_a, subject=name)
    assert "by peaks" in note
    mean = dict(zip(whole.tolist(), heights.mean(axis=0).tolist(), strict=True))
    for peak in (18, 20, 28, 40):
        assert mean[peak] > mean[peak - 1]
        assert mean[peak] > mean[peak + 1]
