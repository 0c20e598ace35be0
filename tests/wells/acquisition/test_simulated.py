"""A simulated well from the first scan to species: what was acquired can be analysed, and says that it is simulated."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from wells.acquisition.rigs import EXAMPLE, MEMORY, START, small_well

from nightwell.wells.acquire.archive import ScanArchive
from nightwell.wells.acquire.clock import SimulatedClock
from nightwell.wells.acquire.engine import FLAG, Acquired, Engine
from nightwell.wells.acquire.feed import SeriesFeed
from nightwell.wells.acquire.port import Inlet
from nightwell.wells.acquire.schedule import parse_schedule
from nightwell.wells.acquire.simulated import SimulatedSpectrometer
from nightwell.wells.analysis import analyse_well
from nightwell.wells.contract import Origin
from nightwell.wells.simulate import Simulation
from nightwell.wells.spectra import Imperfections
from nightwell.wells.stream_model import amounts_of_stream
from nightwell.wells.streams import ScanKind, Stream

TEXT = (
    EXAMPLE.read_text()
    .replace("every_m = 50", "every_m = 4")
    .replace("largest_rop_m_h = 40", "largest_rop_m_h = 7")
    .replace("every_s = 7200", "every_s = 1800")
)
QUIET = Imperfections(drift=0.0, flicker=0.0, baseline_drift=0.0)


@pytest.fixture(scope="module")
def acquired(tmp_path_factory: pytest.TempPathFactory) -> tuple[ScanArchive, Acquired]:
    composition, series, rig = small_well()
    schedule = parse_schedule(TEXT, source="small.toml")
    clock = SimulatedClock(series.time[0])
    settings = Simulation(rig=rig)
    instrument = SimulatedSpectrometer(composition, series, clock, settings=settings, memory=MEMORY)
    instrument.connect(0)
    facts, feed = instrument.facts, SeriesFeed(series, rig.gas_line_delay_s)
    archive = ScanArchive(tmp_path_factory.mktemp("acquired"), "small")
    origin = Origin("small", facts.instrument, facts.simulated, facts.provenance)
    with archive.writing(lambda progress: origin, schedule.mz, TEXT, feed.gas_line_delay_s) as writer:
        engine = Engine(schedule, instrument, writer, clock, rig=feed)
        done = engine.run(stop=lambda: bool(clock.now() >= series.time[-1]))
    return archive, done


def test_all_four_streams_are_acquired_and_nothing_is_late(acquired: tuple[ScanArchive, Acquired]) -> None:
    archive, done = acquired
    tree = archive.open()
    scans = tree["scans"].to_dataset()
    assert set(scans["stream"].to_numpy().tolist()) == {stream.code for stream in Stream}
    assert set(scans["kind"].to_numpy().tolist()) == {kind.code for kind in ScanKind}
    assert done.late == 0
    assert done.scans == scans.sizes["scan"] == archive.progress().scans
    assert not (scans["flag"].to_numpy() & FLAG["gap_before"]).any()
    depth = scans["sample_depth"].to_numpy()
    assert sorted(set(depth[~np.isnan(depth)].tolist())) == [1504.0, 1508.0]
    assert tree["drilling"].sizes["time"] == small_well()[1].time.size


def test_what_was_acquired_is_labelled_simulated(acquired: tuple[ScanArchive, Acquired]) -> None:
    tree = acquired[0].open()
    assert tree.attrs["simulated"] == 1
    assert tree.attrs["provenance"].startswith("SIMULATED instrument")


def test_what_was_acquired_is_analysed_and_the_zone_is_found(acquired: tuple[ScanArchive, Acquired]) -> None:
    archive, _ = acquired
    result = analyse_well(archive.open(), inputs={"scans": archive.version()})
    assert result.attrs["inputs"] == {"scans": archive.version()}
    assert result.attrs["simulated"] == 1
    streams = {str(stream) for stream in Stream}
    assert set(result.children) == {*streams, "drilling", "qc", "across", "findings"}
    species = result["trap_gas/species"].to_dataset()
    names = [str(name) for name in species["species"].to_numpy()]
    depth, methane = species["depth"].to_numpy(), species["value"].to_numpy()[:, names.index("methane")]
    composition = small_well()[0]
    truth = amounts_of_stream(composition, Stream.TRAP_GAS, Simulation().library, 1)
    column = Simulation().library.names.index("methane")
    expected = np.interp(depth, composition.depth_m, truth[:, column])
    inside = (depth > 1505.5) & (depth < 1507.4) & np.isfinite(methane)
    assert inside.sum() >= 3
    # Half a metre to a row and to a scan: the ramp of the zone is smeared, its amount is not.
    assert np.median(methane[inside] / expected[inside]) == pytest.approx(1.0, abs=0.1)


def test_what_was_let_in_before_stays_behind_and_goes_as_the_model_says() -> None:
    composition, series, rig = small_well()
    clock = SimulatedClock(START)
    settings = Simulation(rig=rig, imperfections=QUIET)
    remembering = SimulatedSpectrometer(composition, series, clock, settings=settings, memory=MEMORY)
    remembering.connect(0)
    standard, blank = Inlet(3, Stream.TRAP_GAS, ScanKind.STANDARD), Inlet(2, Stream.TRAP_GAS, ScanKind.BLANK)

    def methane(inlet: Inlet, wait_s: float) -> float:
        remembering.admit(inlet)
        clock.sleep(wait_s)
        return float(remembering.measure((15,), 1.0).intensity_a[0])

    clean = methane(blank, 0.0)
    full = methane(standard, 500.0)
    assert full > 100 * clean
    for wait_s in (0.0, 3.0, 8.0):
        methane(standard, 500.0)
        share = 0.9 * np.exp(-wait_s / 3.0) + 0.1 * np.exp(-wait_s / 8.0)
        assert methane(blank, wait_s) == pytest.approx(clean + share * (full - clean), rel=0.02)


def test_a_detector_saturates_and_the_noise_of_a_moment_is_that_moments() -> None:
    composition, series, rig = small_well()
    clock = SimulatedClock(START)
    one = SimulatedSpectrometer(composition, series, clock, settings=Simulation(rig=rig))
    one.connect(0)
    one.admit(Inlet(2, Stream.TRAP_GAS, ScanKind.BLANK))
    before = clock.now()
    first = one.measure((28, 40), 0.1)
    clock.set(before)
    assert one.measure((28, 40), 0.1).intensity_a.tolist() == first.intensity_a.tolist()
    full_scale_a = one.facts.instrument.full_scale_a
    assert full_scale_a is not None
    assert (first.intensity_a <= full_scale_a).all()


def test_a_folder_of_raw_scans_is_written_for_the_other_commands(
    acquired: tuple[ScanArchive, Acquired], tmp_path: Path
) -> None:
    from nightwell.wells.container import open_scans, write_scans

    tree = acquired[0].open()
    write_scans(tree.load().map_over_datasets(lambda group: group.drop_encoding()), tmp_path / "scans")
    again = open_scans(tmp_path / "scans")
    np.testing.assert_array_equal(again["scans"]["intensity"].to_numpy(), tree["scans"]["intensity"].to_numpy())
    np.testing.assert_array_equal(again["scans"]["time"].to_numpy(), tree["scans"]["time"].to_numpy())
