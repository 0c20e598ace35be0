"""``nightwell array``, ``volume`` and ``pair``: what a storage engineer does by hand."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nightwell.arrays.embedded.process import main as run_array
from nightwell.arrays.port import Array, PairInfo
from nightwell.cli.common import (
    AsJson,
    command,
    console,
    in_words,
    print_json,
    print_rows,
    settings,
    size_in_bytes,
)
from nightwell.errors import NotFoundError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.transfer import read_file, write_file
from nightwell.sites.build import open_array
from nightwell.sites.source import find_volume

array = typer.Typer(no_args_is_help=True, help="Run an embedded array.")
volume = typer.Typer(no_args_is_help=True, help="Volumes of an array: create, list, write, read, grow, delete.")
pair = typer.Typer(no_args_is_help=True, help="Copy pairs of an array: status, create, split, resync, delete.")

Site = Annotated[str, typer.Option("--site", help="Whose array: source or destination.")]
Name = Annotated[str, typer.Argument(help="Name of the volume.")]


@array.command("serve", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def serve(context: typer.Context) -> None:
    """Run an embedded array until Ctrl-C; takes --name, --directory, --port, --control and TLS files (see --help of python -m nightwell.arrays.embedded serve)."""  # noqa: E501  Typer shows the first paragraph
    raise typer.Exit(run_array(["serve", *context.args]))


@volume.command("create")
@command
def create(
    name: Name,
    size: Annotated[str, typer.Argument(help="Size, such as '1 GiB'.")],
    *,
    site: Site = "source",
    attach: Annotated[bool, typer.Option(help="Serve it at once, writable, for the host that owns it.")] = True,
    as_json: AsJson = False,
) -> None:
    """Make a zero-filled volume and serve it to its host."""
    on = open_array(settings(), site)
    info = on.create_volume(name, size_in_bytes(size))
    export = on.export(name, writable=True) if attach else None
    if as_json:
        print_json({"volume": info, "export": export})
        return
    console().print(f"volume {info.name}: {info.size_bytes} bytes" + (f", served at {export.url}" if export else ""))


@volume.command("list")
@command
def list_volumes(*, site: Site = "source", as_json: AsJson = False) -> None:
    """List the volumes of an array."""
    on = open_array(settings(), site)
    volumes = on.volumes()
    served = {export.volume: export.url for export in on.exports() if export.imported_from is None}
    if as_json:
        print_json([{"volume": info, "url": served.get(info.name)} for info in volumes])
        return
    rows = [
        (info.name, in_words(info.size_bytes), _pair_words(on, info.name), info.owner or "", served.get(info.name, ""))
        for info in volumes
    ]
    print_rows(
        f"Volumes of {on.name}", ("volume", "size", "pair", "made by run", "served at"), rows, empty="no volumes"
    )


@volume.command("write")
@command
def write(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File whose bytes become the volume's first ones.")],
    *,
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Write a file to a volume through the array's NBD server, as its host would."""
    written_bytes = write_file(file, _url(site, name, writable=True), tls=_tls(site))
    if as_json:
        print_json({"volume": name, "bytes": written_bytes})
        return
    console().print(f"wrote {in_words(written_bytes)} to volume {name}")


@volume.command("read")
@command
def read(
    name: Name,
    file: Annotated[Path, typer.Argument(help="File to write; zeroes become holes.")],
    *,
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Read a volume into a file through the array's NBD server."""
    read_bytes = read_file(_url(site, name, writable=False), file, tls=_tls(site))
    if as_json:
        print_json({"volume": name, "bytes": read_bytes})
        return
    console().print(f"read {in_words(read_bytes)} from volume {name} into {file}")


@volume.command("grow")
@command
def grow(
    name: Name,
    size: Annotated[str, typer.Argument(help="New size, such as '2 GiB'.")],
    *,
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Make a volume larger."""
    info = open_array(settings(), site).grow_volume(name, size_in_bytes(size))
    if as_json:
        print_json(info)
        return
    console().print(f"volume {info.name}: {info.size_bytes} bytes")


@volume.command("delete")
@command
def delete(name: Name, *, site: Site = "source", as_json: AsJson = False) -> None:
    """Delete a volume that is in no pair and attached to no host."""
    on = open_array(settings(), site)
    for export in on.exports():
        if export.volume == name and export.connections == 0 and export.owner is None:
            on.withdraw(export.name)
    on.delete_volume(name)
    if as_json:
        print_json({"deleted": name})
        return
    console().print(f"volume {name} deleted")


@pair.command("status")
@command
def status(
    name: Annotated[str | None, typer.Argument(help="Name of the volume; all of them when left out.")] = None,
    *,
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Show copy pairs and their states: SMPL, COPY, PAIR, PSUS, PSUE."""
    on = open_array(settings(), site)
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
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Pair two volumes of one size; the copy begins at once."""
    on = open_array(settings(), site)
    if secondary not in {info.name for info in on.volumes()}:
        on.create_volume(secondary, find_volume(on, primary).size_bytes)
    _show(on.create_pair(primary, secondary), as_json=as_json)


@pair.command("split")
@command
def split_pair(
    primaries: Annotated[list[str], typer.Argument(help="Primary volumes; all are split at one point in time.")],
    *,
    site: Site = "source",
    as_json: AsJson = False,
) -> None:
    """Split pairs: their secondaries stand still at one point in time."""
    pairs = open_array(settings(), site).split(primaries)
    for one in pairs:
        _show(one, as_json=as_json)


@pair.command("resync")
@command
def resync_pair(primary: Name, *, site: Site = "source", as_json: AsJson = False) -> None:
    """Bring a split secondary back in step, copying only what changed."""
    _show(open_array(settings(), site).resync(primary), as_json=as_json)


@pair.command("delete")
@command
def delete_pair(primary: Name, *, site: Site = "source", as_json: AsJson = False) -> None:
    """Dissolve a pair; both volumes stay."""
    open_array(settings(), site).delete_pair(primary)
    if as_json:
        print_json({"deleted": primary})
        return
    console().print(f"the pair of volume {primary} is dissolved")


def _show(one: PairInfo, *, as_json: bool) -> None:
    if as_json:
        print_json(one)
        return
    console().print(f"{one.primary} - {one.secondary}: {one.state.value}, {_copied(one)} copied")


def _copied(one: PairInfo) -> str:
    return f"{in_words(one.copied_bytes)} of {in_words(one.to_copy_bytes)}"


def _pair_words(on: Array, name: str) -> str:
    one = on.pair_of(name)
    if one is None:
        return "SMPL"
    return f"{one.state.value} {'P of ' + one.secondary if one.primary == name else 'S of ' + one.primary}"


def _url(site: str, name: str, *, writable: bool) -> str:
    on = open_array(settings(), site)
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


def _tls(site: str) -> TlsFiles | None:
    tls = settings().array(site).tls
    return None if tls is None else TlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key)
