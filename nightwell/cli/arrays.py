"""``nightwell array``, ``volume`` and ``pair``: what a storage engineer does by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from nightwell.arrays.embedded.process import main as run_embedded
from nightwell.arrays.other_array import STALL_S
from nightwell.arrays.port import PairInfo
from nightwell.arrays.qemu.process import main as run_qemu
from nightwell.cli.common import (
    ArraySite,
    AsJson,
    array_of,
    command,
    in_words,
    print_json,
    print_rows,
    reported,
    say,
    settings,
    size_in_bytes,
)
from nightwell.errors import ConflictError, NotFoundError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.transfer import read_file, write_file
from nightwell.protocol import Site
from nightwell.settings import ArrayDriver
from nightwell.sites.checks import find_volume

array = typer.Typer(no_args_is_help=True, help="Run an array.")
volume = typer.Typer(no_args_is_help=True, help="Volumes of an array: create, list, write, read, grow, delete.")
pair = typer.Typer(no_args_is_help=True, help="Copy pairs of an array: status, create, split, resync, delete.")

Primary = Annotated[str, typer.Argument(help="Name of the primary volume.")]
Name = Annotated[str, typer.Argument(help="Name of the volume.")]


@array.command("serve")
def serve(
    *,
    name: Annotated[str, typer.Option(help="The array's name.")],
    directory: Annotated[Path, typer.Option(help="Where everything it holds stands.")],
    driver: Annotated[ArrayDriver, typer.Option(help="What serves the volumes.")] = ArrayDriver.EMBEDDED,
    control: Annotated[
        Path | None, typer.Option(help="Control socket; by default control.sock in the directory.")
    ] = None,
    host: Annotated[str, typer.Option(help="Where its NBD server listens.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port of its NBD server; 0: the last one if it is free, else any.")] = 0,
    advertise: Annotated[
        str | None, typer.Option(help="Host in the URLs of exports, when clients reach it under another name.")
    ] = None,
    stall: Annotated[float, typer.Option(help="How long an import waits for a cut line, in seconds.")] = STALL_S,
    tls_ca: Annotated[Path | None, typer.Option(help="TLS of the NBD server: authority of its clients.")] = None,
    tls_certificate: Annotated[Path | None, typer.Option(help="TLS of the NBD server: certificate.")] = None,
    tls_key: Annotated[Path | None, typer.Option(help="TLS of the NBD server: private key.")] = None,
    line_tls_ca: Annotated[Path | None, typer.Option(help="TLS towards another array: its authority.")] = None,
    line_tls_certificate: Annotated[Path | None, typer.Option(help="TLS towards another array: certificate.")] = None,
    line_tls_key: Annotated[Path | None, typer.Option(help="TLS towards another array: private key.")] = None,
) -> None:
    """Run an array until Ctrl-C or SIGTERM; prints one JSON line when it is ready. It logs as section [log] says."""
    with reported(as_json=False):
        log = settings().log
    given = {
        "name": name,
        "directory": directory,
        "control": control,
        "host": host,
        "port": port,
        "advertise": advertise,
        "stall": stall,
        "tls-ca": tls_ca,
        "tls-certificate": tls_certificate,
        "tls-key": tls_key,
        "line-tls-ca": line_tls_ca,
        "line-tls-certificate": line_tls_certificate,
        "line-tls-key": line_tls_key,
        "log-form": log.form,
        "log-level": log.level,
    }
    words = [f"--{option}={value}" for option, value in given.items() if value is not None]
    run = run_qemu if driver is ArrayDriver.QEMU else run_embedded
    raise typer.Exit(run(["serve", *words]))


@volume.command("create")
@command
def create(
    name: Name,
    size: Annotated[str, typer.Argument(help="Size, such as '1 GiB'.")],
    *,
    site: ArraySite = Site.SOURCE,
    attach: Annotated[bool, typer.Option(help="Serve it at once, writable, for the host that owns it.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make a zero-filled volume and serve it to its host."""
    size_bytes = size_in_bytes(size)
    with array_of(site) as on:
        if name in {info.name for info in on.volumes()}:
            raise ConflictError(
                f"volume '{name}' on array '{on.name}'",
                expected="a name that no volume has",
                found="a volume of that name",
                cause="the volume was created before, and may hold data",
                next_step="choose another name, or delete the existing volume",
            )
        info = on.create_volume(name, size_bytes)
        export = on.export(name, writable=True) if attach else None
    if as_json:
        print_json({"volume": info, "export": export})
        return
    say(f"volume {info.name}: {info.size_bytes} bytes" + (f", served at {export.url}" if export else ""))


@volume.command("list")
@command
def list_volumes(*, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """List the volumes of an array: size, pair, and where each is served."""
    with array_of(site) as on:
        volumes = on.volumes()
        served = {export.volume: export.url for export in on.exports() if export.imported_from is None}
        pairs = {info.name: on.pair_of(info.name) for info in volumes}
    if as_json:
        print_json([{"volume": info, "url": served.get(info.name)} for info in volumes])
        return
    rows = [
        (
            info.name,
            in_words(info.size_bytes),
            _pair_words(info.name, pairs[info.name]),
            info.owner or "",
            served.get(info.name, ""),
        )
        for info in volumes
    ]
    columns = ("volume", "size", "pair", "made by run", "served at")
    print_rows(f"Volumes of {on.name}", columns, rows, empty="no volumes")


@volume.command("write")
@command
def write(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File whose bytes become the volume's first ones.")],
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Write a file to a volume through the array's NBD server, as its host would."""
    written_bytes = write_file(file, _url(site, name, writable=True), tls=_tls(site))
    if as_json:
        print_json({"volume": name, "bytes": written_bytes})
        return
    say(f"wrote {in_words(written_bytes)} to volume {name}")


@volume.command("read")
@command
def read(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write; zeroes become holes.")],
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Read a volume into a file through the array's NBD server."""
    read_bytes = read_file(_url(site, name, writable=False), file, tls=_tls(site))
    if as_json:
        print_json({"volume": name, "bytes": read_bytes})
        return
    say(f"read {in_words(read_bytes)} from volume {name} into {file}")


@volume.command("grow")
@command
def grow(
    name: Name,
    size: Annotated[str, typer.Argument(help="New size, such as '2 GiB'.")],
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Make a volume larger; it must be in no pair."""
    size_bytes = size_in_bytes(size)
    with array_of(site) as on:
        info = on.grow_volume(name, size_bytes)
    if as_json:
        print_json(info)
        return
    say(f"volume {info.name}: {info.size_bytes} bytes")


@volume.command("delete")
@command
def delete(name: Name, *, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """Delete a volume, and all that it holds; refused while it is in a pair or a host is connected."""
    with array_of(site) as on:
        find_volume(on, name)
        on.delete_volume(name)
    if as_json:
        print_json({"deleted": name})
        return
    say(f"volume {name} deleted")


@pair.command("status")
@command
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the volume; all of them when left out.")] = None,
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Show copy pairs and their states: SMPL, COPY, PAIR, PSUS, PSUE."""
    with array_of(site) as on:
        names = [find_volume(on, name).name] if name else [info.name for info in on.volumes()]
        found = [on.pair_of(each) for each in names]
    if as_json:
        print_json([{"volume": each, "pair": one} for each, one in zip(names, found, strict=True)])
        return
    rows = [
        (one.primary, one.secondary, one.state.value, _copied(one), one.owner or "", one.fault or "")
        for each, one in zip(names, found, strict=True)
        if one is not None and (one.primary == each or name)
    ]
    columns = ("primary", "secondary", "state", "copied", "made by run", "fault")
    print_rows(f"Copy pairs of {on.name}", columns, rows, empty=f"{name or 'every volume'}: SMPL, no copy pair")


@pair.command("create")
@command
def create_pair(
    primary: Annotated[str, typer.Argument(help="The volume that its host writes.")],
    secondary: Annotated[str, typer.Argument(help="The volume that becomes its copy; made when there is none.")],
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Pair two volumes of one size; the copy begins at once, over all that the second one holds."""
    with array_of(site) as on:
        size_bytes = find_volume(on, primary).size_bytes
        made = secondary not in {info.name for info in on.volumes()}
        if made:
            on.create_volume(secondary, size_bytes)
        try:
            found = on.create_pair(primary, secondary)
        except BaseException:
            if made:
                on.delete_volume(secondary)
            raise
    _show([found], as_json=as_json)


@pair.command("split")
@command
def split_pair(
    primaries: Annotated[list[str], typer.Argument(help="Primary volumes; all are split at one point in time.")],
    *,
    site: ArraySite = Site.SOURCE,
    as_json: AsJson = False,
) -> None:
    """Split pairs: their secondaries stand still at one point in time."""
    with array_of(site) as on:
        found = on.split(primaries)
    _show(found, as_json=as_json)


@pair.command("resync")
@command
def resync_pair(primary: Primary, *, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """Bring a split secondary back in step, copying only what changed."""
    with array_of(site) as on:
        found = on.resync(primary)
    _show([found], as_json=as_json)


@pair.command("delete")
@command
def delete_pair(primary: Primary, *, site: ArraySite = Site.SOURCE, as_json: AsJson = False) -> None:
    """Dissolve a pair; both volumes stay."""
    with array_of(site) as on:
        find_volume(on, primary)
        if on.pair_of(primary) is None:
            raise NotFoundError(
                f"copy pair of volume '{primary}' on array '{on.name}'",
                expected="a pair to dissolve",
                found="state SMPL, no pair",
                cause="another volume was meant, or the pair is dissolved already",
                next_step="look at the pairs with 'nightwell pair status'",
            )
        on.delete_pair(primary)
    if as_json:
        print_json({"deleted": primary})
        return
    say(f"the pair of volume {primary} is dissolved")


def _show(pairs: Sequence[PairInfo], *, as_json: bool) -> None:
    if as_json:
        print_json(pairs)
        return
    for one in pairs:
        say(f"{one.primary} - {one.secondary}: {one.state.value}, {_copied(one)} copied")


def _copied(one: PairInfo) -> str:
    return f"{in_words(one.copied_bytes)} of {in_words(one.to_copy_bytes)}"


def _pair_words(name: str, one: PairInfo | None) -> str:
    if one is None:
        return "SMPL"
    return f"{one.state.value} {'P of ' + one.secondary if one.primary == name else 'S of ' + one.primary}"


def _url(site: Site, name: str, *, writable: bool) -> str:
    with array_of(site) as on:
        find_volume(on, name)
        for export in on.exports():
            if export.volume == name and export.imported_from is None and (export.writable or not writable):
                return export.url
        raise NotFoundError(
            f"volume '{name}' on array '{on.name}'",
            expected="an export of it" + (" that can be written" if writable else ""),
            found="none",
            cause="the volume was created with --no-attach, or it is the secondary of a pair",
            next_step="name a volume that 'nightwell volume list' shows as served",
        )


def _tls(site: Site) -> TlsFiles | None:
    tls = settings().array(site).tls
    return None if tls is None else TlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key)
