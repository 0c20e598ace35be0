"""The depth log as a picture: what must be on it, and what it refuses."""

from __future__ import annotations

import struct
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from matplotlib.figure import Figure
from matplotlib.text import Text

from nightwell.errors import InputError
from nightwell.report.curves import stream_log, thin
from nightwell.report.depth_log import DepthLogOptions, depth_log_png, draw_depth_log, write_depth_log
from nightwell.wells.deconvolve import SpeciesFlag
from nightwell.wells.streams import Stream

SMALL = DepthLogOptions(width_in=16.0, height_in=12.0, dpi=60)


def words(figure: Figure) -> str:
    return "\n".join(text.get_text() for text in figure.findobj(Text) if isinstance(text, Text))


def test_it_is_a_png_of_the_size_asked_for(result: xr.DataTree, tmp_path: Path) -> None:
    path = write_depth_log(result, tmp_path / "logs" / "well.png", SMALL)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:24]) == (960, 720)
    assert [file.name for file in path.parent.iterdir()] == ["well.png"]


def test_it_says_what_it_is_made_from(result: xr.DataTree) -> None:
    said = words(draw_depth_log(result, SMALL))
    for needed in (
        result.attrs["well"],
        result.attrs["library_version"],
        result.attrs["profiles_version"],
        result.attrs["inputs"]["scans"],
        "SIMULATED SPECTRA",
        "measured depth, m",
        "C1-C5",
        "Wh",
        "1,000,000",
        "mud fluid",
        "oil",
    ):
        assert needed in said, needed


def test_a_measured_well_carries_no_stamp(result: xr.DataTree) -> None:
    measured = result.copy()
    measured.attrs["simulated"] = 0
    assert "SIMULATED" not in words(draw_depth_log(measured, SMALL))


def test_depth_grows_downwards_and_gas_is_logarithmic(result: xr.DataTree) -> None:
    figure = draw_depth_log(result, SMALL)
    bodies = [axes for axes in figure.axes if axes.get_ylim()[0] > 100]
    assert all(axes.get_ylim()[0] > axes.get_ylim()[1] for axes in bodies)
    assert any(axes.get_xscale() == "log" and axes.get_xlim() == (1.0, 1e6) for axes in bodies)


def test_readings_in_words_stay_within_their_frame(result: xr.DataTree) -> None:
    figure = draw_depth_log(result, DepthLogOptions(top_m=1817.0, bottom_m=1859.0))  # readings at both ends
    figure.canvas.draw()
    (axes,) = (one for one in figure.axes if any(" m: " in text.get_text() for text in one.texts))
    frame = axes.get_window_extent()
    for text in axes.texts:
        words = text.get_window_extent()
        assert frame.y0 < words.y0 < words.y1 < frame.y1, text.get_text()


def test_what_is_not_detected_is_not_drawn(result: xr.DataTree) -> None:
    log = stream_log(result, Stream.TRAP_GAS, 0.0, 1e9)
    curve = log.curve("helium")
    assert curve is not None
    flag = result["trap_gas/species"]["flag"].sel(species="helium").to_numpy()
    hidden = (flag & SpeciesFlag.BELOW_DETECTION) != 0
    assert hidden.any()
    assert np.isnan(curve.value[hidden]).all()
    assert log.curve("unobtainium") is None


def test_thinning_keeps_medians_and_hides_lonely_spikes() -> None:
    depth = np.arange(10.0)
    columns = np.array([[1, 1, 1, 9, np.nan, np.nan, np.nan, 5, 2, 4]], dtype=float).T
    middle, found = thin(depth, columns, 3)
    assert middle == pytest.approx([1.5, 5.5, 8.75])
    assert found[:, 0] == pytest.approx([1.0, np.nan, 3.0], nan_ok=True)
    assert thin(depth, columns, 10)[1] is columns


def test_an_interval_and_another_stream_can_be_drawn(result: xr.DataTree) -> None:
    options = DepthLogOptions(
        stream=Stream.CUTTINGS_CRUSH, top_m=1810.0, bottom_m=1850.0, width_in=16.0, height_in=12.0, dpi=60
    )
    said = words(draw_depth_log(result, options))
    assert "cuttings crush" in said
    assert depth_log_png(result, options).startswith(b"\x89PNG")


def test_a_wrong_interval_or_stream_is_refused(result: xr.DataTree) -> None:
    with pytest.raises(InputError, match="an interval within"):
        draw_depth_log(result, DepthLogOptions(top_m=5000.0))
    without = result.drop_nodes("mud_fluid")
    with pytest.raises(InputError, match="not measured"):
        draw_depth_log(without, DepthLogOptions(stream=Stream.MUD_FLUID))


def test_threads_draw_at_the_same_time_and_alike(result: xr.DataTree) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: depth_log_png(result, SMALL), range(2))
    assert first == second
