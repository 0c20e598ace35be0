"""The main job on one machine: back up a volume under a live writer, restore it, re-analyse its well from the backup.

Run by ``infra/demo.py``, which starts a throw-away Prefect first.
"""

from __future__ import annotations

import os
import textwrap
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import tomli_w
from prefect import flow
from rich.console import Console

from flows.backup import backup_volume
from flows.reanalyse import Products, reanalyse_well
from flows.reanalyse_wells import reanalyse_wells
from flows.restore import restore_volume
from nightwell.arrays.port import Array, PairState
from nightwell.cli.common import in_words
from nightwell.cli.display import RunDisplay, summary_line
from nightwell.errors import IntegrityError, NightwellError
from nightwell.filesystem import make_ext4
from nightwell.local.live_host import LiveHost, RecordedRegion
from nightwell.local.parts import start_array, start_object_store
from nightwell.nbd.client import NbdClient
from nightwell.nbd.transfer import write_file
from nightwell.protocol import Run
from nightwell.reanalysis import place_of
from nightwell.report.findings import findings_within
from nightwell.settings import FILE_VARIABLE, Settings, load_settings
from nightwell.sites.build import open_array, open_ledger
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.container import write_scans
from nightwell.wells.findings import Finding, FindingKind
from nightwell.wells.import_well import build_scans
from nightwell.wells.streams import Stream
from tasks.watch import shown_on

VOLUME, THIRD, COPY = "well", "third", "well-copy"
_MIB = 1 << 20
_LOGGER_BYTES = 128 * _MIB  # beside the file system: what the host keeps writing
_PIECE_BYTES = 64 << 10
_LINE_WIDTH, _MOST_RISES = 110, 3
_WRITES_PER_S = 200.0  # 0.8 MB/s: a busy logger, not a benchmark


class _Demo:
    """What the steps of the demo share."""

    def __init__(self, out: Path, console: Console) -> None:
        self.out = out
        self.console = console
        self.settings: Settings = load_settings()
        self.source: Array = open_array(self.settings, "source")
        self.region = RecordedRegion(0, _LOGGER_BYTES)
        self.image = out / "volume.ext4"
        self.size_bytes = 0

    @property
    def url(self) -> str:
        return next(e.url for e in self.source.exports() if e.volume == VOLUME)

    def say(self, text: str) -> None:
        self.console.print(text)

    def last_run(self) -> Run:
        ledger = open_ledger(self.settings, "source")
        try:
            return ledger.journal.load(ledger.journal.runs(1)[0].run_id)
        finally:
            ledger.close()


@flow(name="demo", flow_run_name="demo", persist_result=False)
def demo(out: str, gas_log: str | None = None, drilling: str | None = None) -> None:
    """Back up, restore and re-analyse a well on embedded parts.

    Args:
        out: Folder for everything that is made.
        gas_log: A real gas log; without it the well is made from published gas compositions.
        drilling: Its drilling parameters.
    """
    console = Console(highlight=False, soft_wrap=True)
    folder = Path(out)
    with _parts(folder, console), shown_on(RunDisplay(console)):
        demo = _Demo(folder, console)
        _write_well(demo, gas_log, drilling)
        first = _back_up_under_a_writer(demo)
        _change_and_back_up_again(demo)
        _restore_and_compare(demo, first)
        _reanalyse(demo)
        demo.source.close()


@contextmanager
def _parts(folder: Path, console: Console) -> Iterator[None]:
    """Run arrays and an S3 server, and settings that name them."""
    with ExitStack() as parts:
        console.rule("[bold]1  embedded parts[/]", align="left")
        source_process, source = start_array("source", folder / "arrays" / "source")
        parts.callback(source_process.stop)
        destination_process, destination = start_array("destination", folder / "arrays" / "destination")
        parts.callback(destination_process.stop)
        store_process, store = start_object_store(folder)
        parts.callback(store_process.stop)
        file = folder / "nightwell.toml"
        document = {
            "state_directory": str(folder / "state"),
            "source": {"array": {"name": source.name, "control": str(source.control)}, "poll_s": 0.05},
            "destination": {"array": {"name": destination.name, "control": str(destination.control)}},
            "store": {
                "endpoint_url": store.endpoint_url,
                "bucket": store.bucket,
                "access_key": store.access_key,
                "secret_key": store.secret_key.get_secret_value(),
            },
        }
        file.write_text(tomli_w.dumps(document))
        os.environ[FILE_VARIABLE] = str(file)
        console.print(
            f"  array 'source' (pid {source_process.pid}), array 'destination' (pid {destination_process.pid})"
        )
        console.print(f"  S3 server: moto (pid {store_process.pid}) at {store.endpoint_url}, in memory, SIMULATED")
        yield


def _write_well(demo: _Demo, gas_log: str | None, drilling: str | None) -> None:
    demo.console.rule("[bold]2  a well on a logical volume[/]", align="left")
    found = build_scans(gas_log=Path(gas_log) if gas_log else None, drilling=Path(drilling) if drilling else None)
    for report in found.reports:
        demo.say(f"  {report.source}: {report.rows} rows")
    demo.say(f"  [bold yellow]SIMULATED[/] {found.scans.attrs['provenance']}")
    folder = demo.out / "volume"
    write_scans(found.scans, folder / "scans.zarr")
    taken_bytes = sum(file.stat().st_size + 4096 for file in folder.rglob("*"))
    file_system_bytes = -(-(taken_bytes * 5 // 4 + 48 * _MIB) // _MIB) * _MIB
    make_ext4(folder, demo.image, file_system_bytes)
    demo.region = RecordedRegion(file_system_bytes, _LOGGER_BYTES)
    demo.size_bytes = file_system_bytes + _LOGGER_BYTES
    demo.source.create_volume(VOLUME, demo.size_bytes)
    url = demo.source.export(VOLUME, writable=True).url
    write_file(demo.image, url)
    with NbdClient.connect(url) as host:
        host.write(demo.region.offset_bytes, demo.region.initial().data)
        host.flush()
    demo.say(
        f"  {found.scans['scans'].sizes['scan']} raw scans on ext4 ({in_words(file_system_bytes)}), and "
        f"{in_words(_LOGGER_BYTES)} that the host keeps writing, written to {url} as a host would"
    )


def _back_up_under_a_writer(demo: _Demo) -> str:
    demo.console.rule("[bold]3  backup while the host keeps writing[/]", align="left")
    host = LiveHost(demo.url, demo.region, writes_per_s=_WRITES_PER_S)
    host.start()
    try:
        _completed(backup_volume(VOLUME, return_state=True))
    finally:
        writes = host.stop()
    run = demo.last_run()
    demo.say(f"  {summary_line(run)}\n  the host wrote {writes} records meanwhile")
    _expect_no_pair(demo)
    demo.say("[bold]   a person makes a copy pair; 1 % changes; again[/]")
    return str(run.version_id)


def _change_and_back_up_again(demo: _Demo) -> None:
    demo.source.create_volume(COPY, demo.size_bytes)
    demo.source.create_pair(VOLUME, COPY)
    for what in ("by digests: this pair has no earlier split", "by the array's change list"):
        _change_one_percent(demo)
        _completed(backup_volume(VOLUME, return_state=True))
        run = demo.last_run()
        demo.say(f"  changes found {what}\n  {summary_line(run)}")
    pair = demo.source.pair_of(VOLUME)
    if pair is None or pair.state is not PairState.PAIR:
        raise _wrong("the pair", "PAIR", "no pair" if pair is None else pair.state.value)
    demo.say(f"  pair {VOLUME} - {COPY} is back in {pair.state.value}")


def _change_one_percent(demo: _Demo) -> None:
    rng = np.random.default_rng()
    pieces = demo.size_bytes // 100 // _PIECE_BYTES
    places = rng.choice(demo.region.length_bytes // _PIECE_BYTES, pieces, replace=False)
    with NbdClient.connect(demo.url) as host:
        for place in places:
            host.write(demo.region.offset_bytes + int(place) * _PIECE_BYTES, rng.bytes(_PIECE_BYTES))
        host.flush()


def _restore_and_compare(demo: _Demo, version_id: str) -> None:
    demo.console.rule("[bold]4  restore the first version to a third volume[/]", align="left")
    demo.source.create_volume(THIRD, demo.size_bytes)
    _completed(restore_volume(VOLUME, THIRD, version_id, return_state=True))
    url = demo.source.export(THIRD, writable=False).url
    with NbdClient.connect(url) as host, demo.image.open("rb") as image:
        split = demo.region.offset_bytes
        if host.read(0, split) != image.read():
            raise _wrong("the file system on the third volume", "the bytes that were written", "other bytes")
        region = np.frombuffer(host.read(split, demo.region.length_bytes), dtype=np.uint8)
    writes = demo.region.check_point_in_time(region)
    demo.say(
        f"  equal, byte for byte, to what stood at the split: {in_words(split)} of file system, and the host's region "
        f"after exactly {writes} of its writes"
    )


def _reanalyse(demo: _Demo) -> None:
    demo.console.rule("[bold]5  re-analysis of the well, from the newest backup[/]", align="left")
    products: Any = reanalyse_well(VOLUME, out=str(demo.out / "well"))  # what the state holds that the flow returns
    for line in products.lines():
        demo.say(f"  {line}")
    findings = _findings(demo, products)
    demo.say(f"[bold]   what it reads, of {len(findings)} findings ('nightwell well report' has all)[/]")
    for line in _read_aloud(findings):
        demo.say(f"  {line}")
    demo.say("[bold]   the night over all wells: nothing is computed twice[/]")
    night = reanalyse_wells(volumes=[VOLUME], return_state=True)
    _completed(night)
    demo.say(f"  {night.message}")


def _findings(demo: _Demo, products: Products) -> tuple[Finding, ...]:
    archive = ResultsArchive(place_of(demo.settings, products.results), products.well)
    return findings_within(archive.open(products.analysis_id))


def _read_aloud(findings: tuple[Finding, ...]) -> list[str]:
    """Return the shows of the trap gas, or its rises where it has no show, in words, each with its depths."""
    gas = [one for one in findings if one.stream == Stream.TRAP_GAS]
    shows = [one for one in gas if one.kind is FindingKind.SHOW]
    told = shows or [one for one in gas if one.kind is FindingKind.RISE][:_MOST_RISES]
    lines = [f"{one.top_m:.0f}-{one.bottom_m:.0f} m  {one.statement}." for one in told]
    wrapped = [textwrap.wrap(line, _LINE_WIDTH, subsequent_indent="    ") for line in lines]
    return [*([] if shows else ["no show"]), *(line for lines in wrapped for line in lines)]


def _expect_no_pair(demo: _Demo) -> None:
    left = [v.name for v in demo.source.volumes() if v.name != VOLUME]
    if demo.source.pair_of(VOLUME) is not None or left:
        raise _wrong("the source array", "no pair and no secondary of the run", f"a pair, or {left}")
    demo.say("  the secondary was made for this run: pair and secondary are gone, the virtual server is deleted")


def _completed(state: object) -> None:
    result = getattr(state, "result", None)
    assert result is not None, "a flow returns its state"
    result()  # raises what the flow failed with


def _wrong(subject: str, expected: str, found: str) -> NightwellError:
    return IntegrityError(
        subject, expected=expected, found=found, cause="a defect", next_step="report it with the folder of the demo"
    )
