"""``nightwell versions``, ``verify``, ``files`` and ``extract``: what the store holds, without restoring it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from nightwell.cli.common import AsJson, CommandError, command, in_words, print_json, print_rows, say, settings
from nightwell.filesystem import Ext4Reader
from nightwell.sites.build import store_location
from nightwell.store.reader import VersionReader
from nightwell.store.store import BackupStore
from nightwell.store.verifications import Verification
from nightwell.store.verify import damage_of
from nightwell.store.versions import Version

Volume = Annotated[str, typer.Argument(help="Name of the volume.")]
Selector = Annotated[str, typer.Option("--version", help="'latest', an id, or the beginning of one.")]


@command
def versions(
    volume: Annotated[str | None, typer.Argument(help="Name of the volume; all of them when left out.")] = None,
    *,
    as_json: AsJson = False,
) -> None:
    """List the versions in the store, oldest first, and what their newest verification has shown."""
    with BackupStore.open(store_location(settings())) as store:
        names = [volume] if volume else list(store.volumes())
        found = [version for name in names for version in store.versions(name)]
        verified = {name: store.verifications(name) for name in names}
    outcomes = [verified[version.volume].get(version.version_id) for version in found]
    if as_json:
        print_json([_with_outcome(*pair) for pair in zip(found, outcomes, strict=True)])
        return
    rows = [
        (
            v.volume,
            v.version_id,
            f"{v.split_at or v.committed_at:%F %T}",
            v.mode,
            "yes" if v.point_in_time else "no",
            in_words(v.size_bytes),
            str(v.statistics.blocks_stored),
            in_words(v.statistics.bytes_stored),
            _verified(outcome),
        )
        for v, outcome in zip(found, outcomes, strict=True)
    ]
    columns = (
        *("volume", "version", "stands at (UTC)", "mode", "point in time", "size", "blocks stored", "bytes stored"),
        "verified (UTC)",
    )
    print_rows("Versions", columns, rows, empty="no versions")


@command
def verify(volume: Volume, *, version: Selector = "latest", as_json: AsJson = False) -> None:
    """Read a whole version back from the store and check every block's digest."""
    with BackupStore.open(store_location(settings())) as store:
        chosen = store.find_version(volume, version)
        report = store.verify(chosen)
    if not report.ok:
        raise CommandError(damage_of(volume, report), report=report)
    if as_json:
        print_json(report)
        return
    say(f"version {chosen.version_id}: {report.found}")


@command
def files(
    volume: Volume,
    path: Annotated[str, typer.Argument(help="Folder on the volume's file system.")] = "/",
    *,
    version: Selector = "latest",
    as_json: AsJson = False,
) -> None:
    """List a folder of the ext4 file system in a version, without restoring it."""
    with _version(volume, version) as reader:
        found = list(Ext4Reader(reader.as_file()).entries(path))
    if as_json:
        print_json(found)
        return
    rows = [(str(e.path), "folder" if e.is_folder else in_words(e.size_bytes)) for e in found]
    print_rows(f"{path} on {volume}", ("path", "size"), rows, empty="an empty folder")


@command
def extract(
    volume: Volume,
    path: Annotated[str, typer.Argument(help="File or folder on the volume's file system.")],
    target: Annotated[Path, typer.Argument(help="Where it is written here.")],
    *,
    version: Selector = "latest",
    as_json: AsJson = False,
) -> None:
    """Copy a file or a folder out of a version, without restoring it."""
    with _version(volume, version) as reader:
        written_bytes = Ext4Reader(reader.as_file()).extract(path, target)
    if as_json:
        print_json({"path": path, "target": target, "bytes": written_bytes})
        return
    say(f"extracted {in_words(written_bytes)} to {target}")


def _with_outcome(version: Version, outcome: Verification | None) -> dict[str, object]:
    return {**asdict(version), "verification": outcome}


def _verified(outcome: Verification | None) -> str:
    if outcome is None:
        return "never"
    return f"{outcome.verified_at:%F %T}" if outcome.ok else f"DAMAGED: {outcome.found}"


@contextmanager
def _version(volume: str, selector: str) -> Iterator[VersionReader]:
    with (
        BackupStore.open(store_location(settings())) as store,
        closing(store.open_version(store.find_version(volume, selector))) as reader,
    ):
        yield reader
