"""A result in words."""

from __future__ import annotations

import xarray as xr

from nightwell.report.summary import summarise, summary_text
from nightwell.wells.streams import Stream


def test_the_zone_that_was_put_in_is_named(result: xr.DataTree) -> None:
    summary = summarise(result, Stream.TRAP_GAS)
    gas = [one for one in summary.intervals if one.readings.get("Haworth class", "").startswith("gas")]
    assert len(gas) == 1
    assert abs(gas[0].top_m - 1815.0) < 2.0
    assert abs(gas[0].bottom_m - 1845.0) < 2.0
    assert gas[0].readings["Haworth character"] == "gas, confirmed by Ch"
    assert gas[0].readings["Pixler C1/C2 zones"] == "oil of high gravity or condensate"  # overlapping: both are said
    assert summary.detected[0][1] > 0.9
    assert 0.5 < summary.chi2_per_freedom < 1.5


def test_the_text_speaks_of_every_stream_and_of_what_is_simulated(result: xr.DataTree) -> None:
    text = summary_text(result)
    assert "SIMULATED in part" in text
    for stream in Stream:
        assert f"{stream}: " in text
    assert max(len(line) for line in text.splitlines()) < 125
