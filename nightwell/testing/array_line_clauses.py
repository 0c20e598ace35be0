"""Clauses about what an array serves, and what it attaches from another one."""

# ruff: noqa: D401 - a clause's docstring is the rule itself, not a command

from __future__ import annotations

import socket
import threading

from nightwell.arrays.port import Array, Export
from nightwell.errors import ConflictError, NightwellError, NotFoundError, UnreachableError
from nightwell.nbd.wire import ALLOCATION, CHANGED, PAIR
from nightwell.testing.array_bench import MIB, Workbench, clause, expect, odd_size, refused


def _listed(array: Array, name: str) -> Export | None:
    return next((export for export in array.exports() if export.name == name), None)


@clause("export-again")
def export_again(array: Array, work: Workbench) -> None:
    """Exporting again in the same way succeeds, and answers for the export that exists."""
    volume = work.volume(array)
    first = array.export(volume, name=work.name("export"), writable=True, owner="run-a")
    again = array.export(volume, name=first.name, writable=True, owner="run-a")
    expect((again.url, again.volume, again.writable) == (first.url, volume, True), f"another export: {again}")


@clause("export-conflict")
def export_conflict(array: Array, work: Workbench) -> None:
    """An export's name is used once: another volume, mode or owner under it is refused."""
    volume, other, name = work.volume(array), work.volume(array), work.name("export")
    array.export(volume, name=name, writable=False, owner="run-a")
    with refused("another volume under the name", ConflictError):
        array.export(other, name=name, writable=False, owner="run-a")
    with refused("another mode under the name", ConflictError):
        array.export(volume, name=name, writable=True, owner="run-a")
    with refused("another owner under the name", ConflictError):
        array.export(volume, name=name, writable=False, owner="run-b")
    listed = _listed(array, name)
    expect(listed is not None and (listed.volume, listed.writable) == (volume, False), f"it became {listed}")


@clause("export-read-only")
def export_read_only(array: Array, work: Workbench) -> None:
    """A read-only export says so, and refuses every change."""
    name, client = work.filled(array)
    before = client.read(0, MIB)
    export = array.export(name, name=work.name("export"), writable=False)
    with work.open(export) as look:
        expect(look.read_only, "the export does not say that it is read-only")
        with refused("a write", OSError):
            look.write(0, b"x")
    expect(client.read(0, MIB) == before, "a refused write changed the volume")


@clause("export-listed")
def export_listed(array: Array, work: Workbench) -> None:
    """Exports are listed with their volume, their mode and, by an array that counts, how many clients are connected."""
    volume = work.volume(array)
    export = array.export(volume, name=work.name("export"), writable=False)
    with work.open(export), work.open(export):
        listed = _listed(array, export.name)
        expect(listed is not None, "the export is not listed")
        wanted = 2 if array.capabilities.counts_connections else None
        expect(listed is not None and listed.connections == wanted, f"2 clients are connected, listed: {listed}")
        expect(listed is not None and listed.imported_from is None, "a volume's export claims to be an import")


@clause("withdraw-cuts")
def withdraw_cuts(array: Array, work: Workbench) -> None:
    """When a withdrawal returns, its clients are cut, none of their writes lands any more, and the name is gone."""
    volume = work.volume(array)
    export = array.export(volume, name=work.name("export"), writable=True)
    started = threading.Event()
    ended: list[Exception] = []

    def write() -> None:
        try:
            with work.open(export) as client:
                for number in range(1, 1_000_000):
                    client.write(number * 4096 % MIB, number.to_bytes(8, "big") * 512)
                    started.set()
        except (NightwellError, OSError) as problem:
            ended.append(problem)

    writer = threading.Thread(target=write, daemon=True)
    writer.start()
    work.until(started.is_set, "the writer cannot write")
    array.withdraw(export.name)
    first = work.content(array, volume)
    expect(_listed(array, export.name) is None, "the withdrawn export is still listed")
    writer.join(timeout=2.0)  # it ends at once, unless it was not cut
    expect(bool(ended), "the writer is still connected after the withdrawal")
    expect(work.content(array, volume) == first, "a write landed after the withdrawal")
    with refused("connecting to a withdrawn export", NotFoundError):
        work.open(export)
    array.withdraw(export.name)


@clause("import-passes-through", needs_second=True)
def import_passes_through(array: Array, work: Workbench) -> None:
    """An import shows the other array's bytes, size and contexts unchanged."""
    second = _second(work)
    size_bytes = odd_size(array)
    primary, secondary, client = work.pair(array, size_bytes)
    work.split(array, primary)
    client.write(100, work.data(10))
    work.resync(array, primary)
    work.split(array, primary)
    export = array.export(secondary, writable=False)
    contexts = (ALLOCATION, CHANGED, PAIR)
    attached = second.import_volume(export.url, name=work.name("import"), writable=False, owner="run-a")
    expect(attached.imported_from == export.url, f"imported_from is {attached.imported_from}")
    with work.open(export, contexts) as near, work.open(attached, contexts) as far:
        expect(far.size_bytes == near.size_bytes, f"{far.size_bytes} bytes there, {near.size_bytes} bytes here")
        expect(far.read_only, "a read-only import does not say so")
        expect(far.read(0, size_bytes) == near.read(0, size_bytes), "the import shows other bytes")
        passed = near.contexts if second.capabilities.passes_contexts else near.contexts & {ALLOCATION}
        expect(far.contexts == passed, f"contexts {sorted(far.contexts)} there, {sorted(near.contexts)} here")
        for context in passed:
            expect(list(far.extents(context)) == list(near.extents(context)), f"context {context} differs")


@clause("import-writable", needs_second=True)
def import_writable(array: Array, work: Workbench) -> None:
    """What is written, zeroed and flushed through a writable import is on the other array's volume."""
    second = _second(work)
    volume, client = work.filled(array)
    expected = bytearray(client.read(0, MIB))
    attached = second.import_volume(
        array.export(volume, name=work.name("export"), writable=True).url, name=work.name("import"), writable=True
    )
    data = work.data(70_000)
    with work.open(attached) as far:
        far.write(12_345, data)
        far.zero(500_000, 100_000)
        far.flush()
    expected[12_345 : 12_345 + len(data)] = data
    expected[500_000:600_000] = bytes(100_000)
    expect(client.read(0, MIB) == bytes(expected), "the other array's volume holds something else")


@clause("import-refused", needs_second=True)
def import_refused(array: Array, work: Workbench) -> None:
    """An import tells apart an array that does not answer, an export that is not there, and one that is read-only."""
    second = _second(work)
    export = array.export(work.volume(array), writable=False)
    with socket.create_server(("127.0.0.1", 0)) as closed:
        port = closed.getsockname()[1]
    with refused("import from a closed port", UnreachableError):
        second.import_volume(f"nbd://127.0.0.1:{port}/x", name=work.name("import"), writable=False)
    with refused("import of an unknown export", NotFoundError):
        second.import_volume(f"{export.url}-none", name=work.name("import"), writable=False)
    with refused("writable import of a read-only export", ConflictError):
        second.import_volume(export.url, name=work.name("import"), writable=True)
    expect(not [found for found in second.exports() if work.prefix in found.name], "a refused import is listed")


@clause("import-again", needs_second=True)
def import_again(array: Array, work: Workbench) -> None:
    """Importing again in the same way succeeds; another URL, mode or owner under the name is refused."""
    second = _second(work)
    volume, name = work.volume(array), work.name("import")
    first = array.export(volume, name=work.name("export"), writable=True)
    other = array.export(volume, name=work.name("export"), writable=True)
    second.import_volume(first.url, name=name, writable=False, owner="run-a")
    second.import_volume(first.url, name=name, writable=False, owner="run-a")
    with refused("another URL under the name", ConflictError):
        second.import_volume(other.url, name=name, writable=False, owner="run-a")
    with refused("another mode under the name", ConflictError):
        second.import_volume(first.url, name=name, writable=True, owner="run-a")
    with refused("another owner under the name", ConflictError):
        second.import_volume(first.url, name=name, writable=False, owner="run-b")


@clause("release", needs_second=True)
def release(array: Array, work: Workbench) -> None:
    """Releasing an import, by its owner or by hand, cuts its clients and leaves the other array's export alone."""
    second = _second(work)
    export = array.export(work.volume(array), writable=False)
    attached = second.import_volume(export.url, name=work.name("import"), writable=False, owner="run-a")
    with refused("release by another run", ConflictError):
        second.release(attached.name, owner="run-b")
    far = work.open(attached)
    far.read(0, 1)
    second.release(attached.name, owner="run-a")
    with refused("reading after the release", NightwellError):
        far.read(0, 1)
    expect(_listed(second, attached.name) is None, "the released import is still listed")
    with refused("connecting to a released import", NotFoundError):
        work.open(attached)
    second.release(attached.name, owner="run-a")
    with work.open(export) as near:
        near.read(0, 1)


def _second(work: Workbench) -> Array:
    if work.second is None:
        raise ValueError("this clause needs a second array on the workbench")
    return work.second
