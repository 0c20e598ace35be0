"""Acquire a well with an instrument at the source site, by a switching schedule."""

from __future__ import annotations

import shlex
from pathlib import Path

from prefect import flow

from nightwell.wells.acquire.session import InstrumentDriver, Limits, Request
from nightwell.wells.acquire.wits_feed import WitsAddress
from nightwell.wells.wits0 import WitsUnits
from tasks.acquire import acquire_scans, report_acquisition
from tasks.blocks import load_site_settings
from tasks.names import at_its_site


@flow(name="acquire-well", flow_run_name=at_its_site("acquire {well} by {driver}"), persist_result=False)
def acquire_well(  # noqa: PLR0917 - they are fields of Prefect's form
    well: str,
    driver: InstrumentDriver,
    schedule: str | None = None,
    recording: str | None = None,
    gas_log: str | None = None,
    drilling: str | None = None,
    wits: str = "",
    wits_units: WitsUnits = WitsUnits.METRIC,
    device: str = "",
    valve_command: str = "",
    multiplier: bool = False,  # noqa: FBT001, FBT002 - a parameter in Prefect's form
    real_time: bool = False,  # noqa: FBT001, FBT002 - as above
    scans: int | None = None,
    hours: float | None = None,
) -> str:
    """Run an instrument by a switching schedule; every scan is committed as it arrives, and a new run goes on.

    Args:
        well: Name of the well.
        driver: Which instrument: simulated, replay or srs-rga.
        schedule: File of the switching schedule; by default the one that ships, or what a recording holds.
        recording: For replay, a folder of raw scans or a CSV of quadrupole software.
        gas_log: For simulated, a gas log to simulate from.
        drilling: For srs-rga, the record of the rig in time, which grows while it drills; with wits, where it is kept.
        wits: For srs-rga, host:port of the rig's live WITS level 0 stream.
        wits_units: Units of that stream: metric or fps.
        device: For srs-rga, the serial device.
        valve_command: For srs-rga, the program that turns the inlet valve to {port}.
        multiplier: For srs-rga, whether to use the electron multiplier.
        real_time: For simulated, at the pace of time instead of as fast as can be.
        scans: Stop after so many scans.
        hours: Stop after so many hours of the instrument's time.
    """
    request = Request(
        well=well,
        driver=driver,
        schedule=_path(schedule),
        recording=_path(recording),
        gas_log=_path(gas_log),
        drilling=_path(drilling),
        wits=WitsAddress.parse(wits, wits_units) if wits else None,
        device=device,
        valve_command=tuple(shlex.split(valve_command)),
        multiplier=multiplier,
        real_time=real_time,
    )
    found = acquire_scans(request, load_site_settings().results_location(), Limits(scans, hours))
    report_acquisition(well, found)
    return found.version


def _path(text: str | None) -> Path | None:
    return None if text is None else Path(text)
