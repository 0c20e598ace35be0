"""``nightwell well acquire``, ``acquired`` and ``schedule``: run an instrument by a schedule, and see what came in.

The scientific stack is imported inside the commands: a backup must not wait two seconds for it.
"""

from __future__ import annotations

import shlex
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import Event
from typing import TYPE_CHECKING, Annotated

import typer

from nightwell.cli.common import AsJson, command, print_json, print_rows, say, settings
from nightwell.cli.imports import one_of

if TYPE_CHECKING:
    from nightwell.wells.acquire.plan import Progress
    from nightwell.wells.acquire.schedule import Element

schedule = typer.Typer(no_args_is_help=True, help="Switching schedules.")

Well = Annotated[str, typer.Argument(help="Name of the well.")]


@command
def acquire(
    name: Well,
    *,
    driver: Annotated[str, typer.Option(help="Instrument: simulated, replay or srs-rga.")],
    schedule_file: Annotated[Path | None, typer.Option("--schedule", help="Switching schedule (TOML).")] = None,
    recording: Annotated[Path | None, typer.Option(help="replay: raw scans, or CSV of quadrupole software.")] = None,
    gas_log: Annotated[Path | None, typer.Option(help="simulated: gas log to simulate from.")] = None,
    drilling: Annotated[
        Path | None, typer.Option(help="srs-rga: record of the rig that grows; with --wits the file it is kept in.")
    ] = None,
    wits: Annotated[str, typer.Option(help="srs-rga: the rig's live WITS0 stream, host:port.")] = "",
    wits_units: Annotated[str, typer.Option(help="Units of that stream: metric or fps.")] = "metric",
    device: Annotated[str, typer.Option(help="srs-rga: serial device.")] = "",
    valve_command: Annotated[str, typer.Option(help="srs-rga: program that turns the valve to {port}.")] = "",
    multiplier: Annotated[bool, typer.Option("--multiplier", help="srs-rga: use the electron multiplier.")] = False,
    real_time: Annotated[bool, typer.Option("--real-time", help="simulated: at the pace of time.")] = False,
    scans: Annotated[int | None, typer.Option(min=1, help="Stop after so many scans.")] = None,
    hours: Annotated[float | None, typer.Option(min=0.0, help="Stop after so many hours of the instrument.")] = None,
    as_json: AsJson = False,
) -> None:
    """Run an instrument by a switching schedule; every scan is committed as it arrives. Give it again to go on."""
    from nightwell.wells.acquire import session
    from nightwell.wells.acquire.wits_feed import WitsAddress
    from nightwell.wells.wits0 import WitsUnits

    units = one_of(WitsUnits, wits_units, "--wits-units")
    request = session.Request(
        well=name,
        driver=_driver(driver),
        schedule=schedule_file,
        recording=recording,
        gas_log=gas_log,
        drilling=drilling,
        wits=WitsAddress.parse(wits, units) if wits else None,
        device=device,
        valve_command=tuple(shlex.split(valve_command)),
        multiplier=multiplier,
        real_time=real_time,
    )

    def tell(element: Element, progress: Progress) -> None:
        if not as_json and (progress.scans % 100 == 0 or progress.scans == 1):
            say(f"scan {progress.scans}: {element.name}")

    with _stopped_by_signal() as stopped:
        found = session.acquire(
            request,
            settings().results_location(),
            limits=session.Limits(scans, hours),
            stop=stopped.is_set,
            on_scan=tell,
        )
    if as_json:
        print_json(
            {"well": name, "scans": found.scans, "late": found.late, "gaps": len(found.gaps), "version": found.version}
        )
        return
    say(f"well {name}: {found.scans} scans, {found.late} of them late, {len(found.gaps)} gaps; version {found.version}")


@command
def acquired(
    name: Well,
    *,
    to: Annotated[Path | None, typer.Option(help="Folder to write the raw scans to, for `well analyse`.")] = None,
    as_json: AsJson = False,
) -> None:
    """Show what was acquired of a well, with its gaps; write the raw scans to a folder."""
    import numpy as np

    from nightwell.wells.acquire.archive import ScanArchive
    from nightwell.wells.container import write_scans
    from nightwell.wells.contract import GAP_REASONS
    from nightwell.wells.streams import ScanKind, Stream

    archive = ScanArchive(settings().results_location(), name)
    tree = archive.open()
    scans, gaps = tree["scans"].to_dataset(), tree["gaps"].to_dataset()
    found = [
        (str(stream), str(kind), int(((scans["stream"] == stream.code) & (scans["kind"] == kind.code)).sum()))
        for stream in Stream
        for kind in ScanKind
    ]
    lost = [
        (GAP_REASONS[int(reason)], str(start)[:19], str(end)[:19], "" if np.isnan(depth) else f"{depth:g}")
        for reason, start, end, depth in zip(
            gaps["reason"].values, gaps["start"].values, gaps["end"].values, gaps["sample_depth"].values, strict=True
        )
    ]
    if to is not None:
        write_scans(tree.load().map_over_datasets(lambda group: group.drop_encoding()), to)
    if as_json:
        counted = [{"stream": stream, "kind": kind, "scans": count} for stream, kind, count in found if count]
        print_json(
            {"well": name, "version": archive.version(), "scans": counted, "gaps": lost, "attributes": tree.attrs}
        )
        return
    say(f"{scans.sizes['scan']} scans of {name}, version {archive.version()}")
    say(f"provenance: {tree.attrs['provenance']}")
    rows = [(stream, kind, str(count)) for stream, kind, count in found if count]
    print_rows("Scans", ("stream", "kind", "scans"), rows, empty="no scans yet")
    print_rows("Gaps", ("reason", "from (UTC)", "to (UTC)", "depth, m"), lost, empty="no gaps")
    if to is not None:
        say(f"wrote {to}")


@schedule.command("check")
@command
def check(
    file: Annotated[Path | None, typer.Argument(help="The schedule (TOML); without it, the one that ships.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """Check that a schedule can keep its own rules, and show how long everything takes."""
    from nightwell.wells.acquire.rules import errand_s, load, wait_s
    from nightwell.wells.acquire.schedule import parse_schedule, read_schedule
    from nightwell.wells.acquire.session import shipped_schedule

    found = parse_schedule(shipped_schedule(), source="four_streams.toml") if file is None else read_schedule(file)
    shares = load(found)
    if as_json:
        print_json(
            {
                "schedule": found,
                "load": shares,
                "minimum_purge_s": {e.name: found.minimum_purge_s(e) for e in found.element},
            }
        )
        return
    rows = [
        (
            one.name,
            f"{one.stream} {one.kind}",
            str(one.valve_port),
            f"{one.purge_s:g} ({found.minimum_purge_s(one):.1f})",
            f"{found.visit_s(one):g}",
            f"{errand_s(found, one):g}" if one.name in shares else "",
            f"{wait_s(found, one):g}" if one.name in shares else "",
            f"{100 * shares[one.name]:.1f} %" if one.name in shares else "",
        )
        for one in found.element
    ]
    columns = ("element", "stream and kind", "port", "purge (least), s", "visit, s", "errand, s", "wait, s", "load")
    print_rows(f"Schedule {found.name}: can keep its rules", columns, rows, empty="no elements")
    say(f"load {100 * sum(shares.values()):.1f} % at {found.rules.largest_rop_m_h:g} m/h")


def _driver(name: str) -> session.InstrumentDriver:  # type: ignore[name-defined]  # noqa: F821 - loaded late
    from nightwell.errors import InputError
    from nightwell.wells.acquire.session import InstrumentDriver

    try:
        return InstrumentDriver(name)
    except ValueError as error:
        raise InputError(
            f"driver '{name}'",
            expected=f"one of {', '.join(InstrumentDriver)}",
            found=f"'{name}'",
            cause="a mistyped name",
            next_step="name one of them; CONTRIBUTING.md says how to add an instrument",
        ) from error


@contextmanager
def _stopped_by_signal() -> Iterator[Event]:
    """Let SIGINT and SIGTERM stop after the scan in hand; a second SIGINT ends at once, as always."""
    stopped = Event()
    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}

    def remember(number: int, frame: object) -> None:  # noqa: ARG001 - a handler's signature
        stopped.set()
        signal.signal(number, before[signal.Signals(number)])

    for number in before:
        signal.signal(number, remember)
    try:
        yield stopped
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
