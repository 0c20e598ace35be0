"""Single plots: what stands on them, what they refuse, and that PNG and PDF come out whole."""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

from nightwell.errors import InputError
from nightwell.report import style
from nightwell.report.curves import stream_log
from nightwell.report.heat_map import binned, draw_heat_map
from nightwell.report.intervals import MOST, Summary
from nightwell.report.pixler import draw_pixler, load_zones, runs_of, together
from nightwell.report.plots import write_plot
from nightwell.report.quality_panel import draw_quality_panel, standards_of
from nightwell.report.spectra import spectra_of
from nightwell.report.spectrum import draw_spectrum, owners
from nightwell.report.ternary import draw_ternary, shares_of, to_plane
from nightwell.wells.analysis import analyse_well
from nightwell.wells.calibrate.learn import CalibrationSettings, calibrate
from nightwell.wells.cube import build_cube
from nightwell.wells.method import Method
from nightwell.wells.streams import Stream

DRAWN: dict[str, Callable[[xr.DataTree, style.PlotOptions], Figure]] = {
    "pixler": draw_pixler,
    "ternary": draw_ternary,
    "heat-map": draw_heat_map,
    "spectrum": draw_spectrum,
    "quality": draw_quality_panel,
}


def without_responses(result: xr.DataTree) -> xr.DataTree:
    """Return a result as releases made it that kept no responses."""
    older = result.copy()
    for stream in Stream:
        if stream in result.children:
            older[f"{stream}/species"] = xr.DataTree(result[f"{stream}/species"].to_dataset().drop_vars("response"))
    return older


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_a_plot_says_what_it_is_made_from(kind: str, result: xr.DataTree) -> None:
    said = words(DRAWN[kind](result, style.PlotOptions()))
    for needed in ("SIMULATED", "Provenance: ", "trap gas", str(result.attrs["library_version"])):
        assert needed in said, needed


def test_a_measured_well_carries_no_stamp(result: xr.DataTree) -> None:
    measured = result.copy()
    measured.attrs["simulated"] = 0
    assert "SIMULATED" not in words(draw_ternary(measured))


@pytest.mark.parametrize("kind", sorted(DRAWN))
def test_a_plot_refuses_a_stream_or_depths_that_are_not_there(kind: str, result: xr.DataTree) -> None:
    with pytest.raises(InputError, match="an interval within"):
        DRAWN[kind](result, style.PlotOptions(top_m=9000.0))
    with pytest.raises(InputError, match="not measured"):
        DRAWN[kind](result.drop_nodes("mud_fluid"), style.PlotOptions(stream=Stream.MUD_FLUID))


def test_png_and_pdf_come_out_and_other_names_are_refused(result: xr.DataTree, tmp_path: Path) -> None:
    picture = write_plot("pixler", result, tmp_path / "pixler.png")
    head = picture.read_bytes()[:24]
    assert struct.unpack(">II", head[16:24]) == (style.WIDTH_IN * style.DPI, style.HEIGHT_IN * style.DPI)
    paper = write_plot("ternary", result, tmp_path / "ternary.pdf").read_bytes()
    assert paper.startswith(b"%PDF")
    assert write_plot("ternary", result, tmp_path / "again.pdf").read_bytes() == paper
    with pytest.raises(InputError, match=r"\.png or \.pdf"):
        write_plot("pixler", result, tmp_path / "pixler.gif")
    assert {path.name for path in tmp_path.iterdir()} == {"pixler.png", "ternary.pdf", "again.pdf"}


def test_pixler_zones_touch_and_ratios_have_a_logarithmic_axis(result: xr.DataTree) -> None:
    zones = load_zones()
    assert [zone.high for zone in zones[:-1]] == [zone.low for zone in zones[1:]]
    axes = draw_pixler(result).axes[0]
    assert axes.get_yscale() == "log"
    gas = [line for line in axes.lines if line.get_marker() == "o"]
    assert gas, "no interval was drawn"


def test_numbers_of_pixler_lines_that_would_cover_each_other_stand_together() -> None:
    def begins(at: int, height: float) -> Summary:
        median = np.where(np.arange(4) < at, np.nan, height)
        return Summary(1000.0, 1010.0, 500.0, median, median, median, "gas")

    shown = [begins(0, 50.0), begins(0, 51.0), begins(0, 10.0), begins(0, 52.0), begins(1, 51.0)]
    assert list(together(shown).values()) == [[3], [1, 2, 4], [5]]
    assert runs_of([2, 1, 4, 7, 5]) == "1-2, 4-5, 7"


def test_the_longest_legend_of_the_pixler_plot_stands_clear_of_the_depths(
    result: xr.DataTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = Summary(1000.0, 1010.0, 500.0, *(np.full(4, 10.0),) * 3, "very light dry gas, not productive")
    monkeypatch.setattr("nightwell.report.pixler.summaries", lambda *_: ((one,) * MOST, 3))
    figure = draw_pixler(result)
    figure.canvas.draw()
    legend = figure.axes[0].get_legend()
    assert legend is not None
    assert len(legend.get_texts()) == MOST
    assert legend.get_window_extent().y0 > figure.axes[1].get_tightbbox().y1  # type: ignore[union-attr]  # it is drawn


def test_shares_of_the_ternary_sum_to_a_hundred(result: xr.DataTree) -> None:
    shares = shares_of(stream_log(result, Stream.TRAP_GAS, 0.0, 1e9))
    known = np.isfinite(shares).all(axis=1)
    assert known.any()
    assert shares[known].sum(axis=1) == pytest.approx(100.0)
    assert to_plane(np.array([0.0, 0.0, 100.0])) == pytest.approx([0.5, np.sqrt(0.75)])


def test_the_spectra_are_those_of_the_cube(result: xr.DataTree, cube: xr.DataTree) -> None:
    spectra = spectra_of(result, Stream.TRAP_GAS, cube=cube)
    measured = cube["trap_gas"]["intensity"].to_numpy()
    scale = np.nanmax(measured)
    assert np.nanmax(np.abs(spectra.measured - measured)) < 1e-6 * scale
    known = np.isfinite(measured)
    assert np.all(spectra.sigma[known] >= spectra.noise[known])
    row = spectra.nearest(1830.0)
    assert owners(spectra, row)[int(np.flatnonzero(spectra.mz == 16)[0])] == "methane"
    said = words(draw_spectrum(result, style.PlotOptions(depth_m=1830.0), cube))
    assert "16 methane" in said
    assert "in sigma" in said


def test_a_cube_or_library_of_another_analysis_is_refused(result: xr.DataTree, cube: xr.DataTree) -> None:
    other = cube.copy()
    other["trap_gas"] = xr.DataTree(cube["trap_gas"].to_dataset().isel(depth=slice(1, None)))
    with pytest.raises(InputError, match="cube of stream"):
        spectra_of(result, Stream.TRAP_GAS, cube=other)
    older = without_responses(result)
    assert "16 methane" in words(draw_spectrum(older, style.PlotOptions(depth_m=1830.0)))
    older.attrs["library_version"] = "0" * 16
    with pytest.raises(InputError, match="kept no responses"):
        draw_spectrum(older)


def test_the_spectra_of_a_calibrated_well_are_those_that_the_fit_saw(calibrated_scans: xr.DataTree) -> None:
    method = Method.default()
    learned = calibrate(calibrated_scans, method.library, settings=CalibrationSettings(method.cube))
    cube = build_cube(calibrated_scans, replace(method.cube, calibration=learned))
    result = analyse_well(calibrated_scans)
    spectra = spectra_of(result, Stream.TRAP_GAS)
    measured = cube["trap_gas"]["intensity"].to_numpy()
    assert np.nanmax(np.abs(spectra.measured - measured)) < 1e-6 * np.nanmax(measured)
    at = spectra.species.index("ethane")
    library = method.library.design_matrix(spectra.mz, transmission_exponent=learned.transmission_exponent)
    shape, own = (column / column.max() for column in (spectra.design[:, at], library[:, at]))
    assert np.abs(shape - own).max() > 0.001, "the standards taught the instrument's own pattern"
    with_cube = spectra_of(result, Stream.TRAP_GAS, cube=cube)
    strong = measured > 1e-3 * np.nanmax(measured)
    assert 0.3 < np.nanmedian(with_cube.sigma[strong] / spectra.sigma[strong]) < 3.0, "the estimated noise is near it"
    for draw in (draw_spectrum, draw_heat_map):
        assert "SIMULATED" in words(draw(result))
    said = words(draw_quality_panel(result))
    assert "found of methane" in said


def test_grouped_rows_are_medians() -> None:
    values = np.array([[1.0], [5.0], [3.0], [np.nan], [np.nan], [np.nan], [2.0]])
    assert binned(values, np.arange(7), 3)[:, 0] == pytest.approx([3.0, np.nan, 2.0], nan_ok=True)
    assert binned(values, np.arange(7), 4)[:, 0] == pytest.approx([3.0, 3.0, np.nan, 2.0], nan_ok=True)
    assert binned(values, np.arange(7), 7)[:, 0] == pytest.approx(values[:, 0], nan_ok=True)


def test_quality_shows_blanks_of_the_analysis_or_of_the_scans_or_says_neither(
    result: xr.DataTree, scans: xr.DataTree
) -> None:
    assert "not in this analysis" in words(draw_quality_panel(result))
    said = words(draw_quality_panel(result, scans=scans))
    assert "not in this analysis" not in said
    assert "m/z 28" in said
    own = result.copy()
    mz = result["trap_gas/species"]["mz"].to_numpy()
    hours = np.datetime64("2024-01-01", "ns") + np.arange(3) * np.timedelta64(1, "h")
    own["qc"] = xr.DataTree(xr.Dataset(
        {
            "blank_time": ("blank", hours), "blank_stream": ("blank", np.zeros(3, dtype=np.int8)),
            "blank_intensity": (("blank", "mz"), np.full((3, mz.size), 1e-10)),
            "standard_time": ("standard", hours), "drift_gain": ("standard", np.log([1.0, 1.02, 0.97])),
        },
        coords={"mz": mz},
    ))  # fmt: skip
    said = words(draw_quality_panel(own))
    assert "sensitivity at m/z 28" in said
    assert standards_of(own["qc"].to_dataset(), None)["sensitivity at m/z 28"][1] == pytest.approx([0.0, 2.0, -3.0])
    assert "not in this analysis" not in said
