#!/usr/bin/env python3
"""Back up and restore one volume with nightwell and with other tools, side by side on one object server.

The cases, in this order, each for every tool: full; 1 % changed in runs; 1 % changed in scattered 64 KiB pieces;
unchanged; restore of the last (compared with the image afterwards). A figure says something only beside another of the
same run. All tools run with their own defaults unless benchmarks/contenders.py says otherwise.
"""

from __future__ import annotations

import argparse
import datetime as dt
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

from contenders import ROOT, Benji, Contender, Nightwell, NotAvailableError, Restic
from metering import Command, Measurement, measure
from object_server import Bucket, ObjectServer
from results import Row, Run, describe_machine, table, write_json, write_page
from road import Road
from volume_image import Change, change_in_runs, change_scattered, make_image, write_changes

import nightwell

_UNITS = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30}
_SMOKE_BYTES = 64 << 20
SWEEP = tuple(1 << power for power in range(16, 23))  # 64 KiB to 4 MiB


class Bench:
    """One benchmark: an image, an object server, and tools that take turns.

    Parameters
    ----------
    folder
        Scratch; wants about six times the image's size.
    server
        The object server.
    size_bytes
        Size of the image.
    """

    def __init__(self, folder: Path, server: ObjectServer, size_bytes: int) -> None:
        self.folder = folder
        self.server = server
        self.image = folder / "volume.img"
        self.rows: list[Row] = []
        make_image(self.image, size_bytes)

    def run(self, contenders: Sequence[Contender]) -> list[Row]:
        """Measure every case for every tool."""
        for one in contenders:
            one.prepare(self.image)
        states: list[tuple[str, Callable[[], list[Change]]]] = [
            ("full", list),
            ("1 % in runs", lambda: change_in_runs(self.image, seed=11)),
            ("1 % scattered", lambda: change_scattered(self.image, seed=12)),
            ("unchanged", list),
        ]
        for state, (case, change) in enumerate(states):
            changes = self.folder / f"changes-{state}.json"
            written = change()
            write_changes(changes, written)
            self._read_once()
            for one in contenders:
                one.follow(self.image, written)
                self._measure(case, one, one.backup(self.image, state, changes if state else None))
        for one in contenders:
            target = self.folder / "restored" / "volume"
            target.parent.mkdir(exist_ok=True)
            self._measure("restore", one, one.restore(target), target)
        return self.rows

    def _measure(self, case: str, one: Contender, command: Command, target: Path | None = None) -> None:
        before = one.bucket.stored_bytes()
        done = measure(command, server_pid=self.server.pid, log=self.folder / "errors.log", other_pids=one.part_pids)
        verified = None
        if target is not None:
            one.collect(target)
            verified = subprocess.run(["cmp", "--silent", str(self.image), str(target)], check=False).returncode == 0
            target.unlink()
        row = _row(case, one, done, stored_bytes=one.bucket.stored_bytes() - before, verified=verified)
        self.rows.append(row)
        print(f"  {case:14} {one.name:24} {row.wall_s:7.2f} s", file=sys.stderr, flush=True)

    def _read_once(self) -> None:
        """Bring the image into the page cache, so that the first tool does not pay for the others."""
        with self.image.open("rb", buffering=0) as file:
            while file.read(8 << 20):
                pass


def _row(case: str, one: Contender, done: Measurement, *, stored_bytes: int, verified: bool | None) -> Row:
    return Row(
        case=case,
        contender=one.name,
        wall_s=done.wall_s,
        client_cpu_s=done.client_cpu_s,
        server_cpu_s=done.server_cpu_s,
        others_cpu_s=done.others_cpu_s,
        peak_rss_bytes=done.peak_rss_bytes,
        stored_bytes=stored_bytes,
        verified=verified,
    )


def contenders(
    server: ObjectServer, folder: Path, parts: ExitStack, *, smoke: bool
) -> tuple[list[Contender], dict[str, str]]:
    """Return the tools that this machine can run, and why not the others."""
    makers: list[tuple[str, Callable[[Bucket], Contender]]] = [
        ("nightwell-digests", Nightwell),
        ("nightwell-hints", lambda bucket: Nightwell(bucket, change_list=True)),
        ("nightwell-road", lambda bucket: Road(bucket, folder, parts)),
        ("restic", lambda bucket: Restic(bucket, folder)),
    ]
    if not smoke:
        makers += [
            ("benji", lambda bucket: Benji(bucket, folder)),
            ("benji-hints", lambda bucket: Benji(bucket, folder, change_list=True)),
        ]
    found, absent = [], {}
    for name, make in makers:
        try:
            found.append(make(server.make_bucket(name)))
        except NotAvailableError as reason:
            absent[name] = str(reason)
    return found, absent


def sweep(server: ObjectServer) -> list[Contender]:
    """Return nightwell with every block size, to choose the default from."""
    return [
        Nightwell(server.make_bucket(f"sweep-{size}"), block_bytes=size, name=f"nightwell, {size >> 10} KiB blocks")
        for size in SWEEP
    ]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the benchmark; status 1 when a restore differs."""
    options = _parse(arguments)
    load = os.getloadavg()
    options.out.mkdir(parents=True, exist_ok=True)
    with (
        tempfile.TemporaryDirectory(prefix="run-", dir=options.out) as scratch,
        ObjectServer(Path(scratch) / "server") as server,
        ExitStack() as parts,
    ):
        folder = Path(scratch)
        absent: dict[str, str] = {}
        if options.sweep:
            found = sweep(server)
        else:
            found, absent = contenders(server, folder, parts, smoke=options.smoke)
        print(f"{options.size >> 20} MiB, {', '.join(one.name for one in found)}", file=sys.stderr)
        rows = Bench(folder, server, options.size).run(found)
    run = Run(
        command=shlex.join(["make", "bench"] if not arguments and len(sys.argv) == 1 else _words(arguments)),
        when=dt.datetime.now(dt.UTC).strftime("%Y-%m-%d %H:%M UTC"),
        commit=_first_line(["git", "-C", str(ROOT), "rev-parse", "--short", "HEAD"]),
        machine=describe_machine(),
        load_average=load,
        size_bytes=options.size,
        versions=dict(_versions(found)),
        absent=absent,
        rows=rows,
    )
    print(table(run))
    for name, why in absent.items():
        print(f"not measured: {name}: {why}")
    name = "sweep" if options.sweep else "backup"
    write_json(options.out / f"{name}-{run.when[:16].replace(' ', 'T').replace(':', '')}.json", run)
    if options.page:
        write_page(options.page, run, kind="sweep" if options.sweep else "figures")
    return 0 if all(row.verified is not False for row in rows) else 1


def _versions(found: Sequence[Contender]) -> Iterator[tuple[str, str]]:
    yield "nightwell", nightwell.__version__
    yield "SeaweedFS", _number(_first_line([str(Path(sys.executable).parent / "weed"), "version"]))
    if any(isinstance(one, Restic) for one in found):
        yield "restic", _number(_first_line(["restic", "version"]))
    if any(isinstance(one, Benji) for one in found):
        yield "benji", "0.17.0"


def _number(text: str) -> str:
    found = re.search(r"\d+\.\d+(\.\d+)?", text)
    return found[0] if found else text


def _first_line(command: Sequence[str]) -> str:
    done = subprocess.run(list(command), capture_output=True, text=True, check=False)
    return (done.stdout.strip().splitlines() or ["unknown"])[0]


def _words(arguments: Sequence[str] | None) -> list[str]:
    return ["benchmarks/backup.py", *(arguments if arguments is not None else sys.argv[1:])]


def _size(text: str) -> int:
    match = re.fullmatch(r"(\d+)(KiB|MiB|GiB)", text)
    if match is None:
        raise argparse.ArgumentTypeError(f"a size such as 256MiB or 2GiB, not {text!r}")
    return int(match[1]) * _UNITS[match[2]]


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", type=_size, default=2 << 30, help="size of the volume (default: 2GiB)")
    parser.add_argument("--smoke", action="store_true", help="64 MiB, nightwell and restic only: does it work at all")
    parser.add_argument("--sweep", action="store_true", help="nightwell alone, with blocks of 64 KiB to 4 MiB")
    parser.add_argument("--page", type=Path, help="put the figures into this page, as docs/benchmarks.md")
    parser.add_argument("--out", type=Path, default=ROOT / "bench-out", help="folder for scratch and for the JSON")
    options = parser.parse_args(arguments)
    if options.smoke:
        options.size = _SMOKE_BYTES
    return options


if __name__ == "__main__":
    sys.exit(main())
