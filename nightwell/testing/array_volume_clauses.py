"""Clauses about volumes, owners and what is gone."""

# ruff: noqa: D401 - a clause's docstring is the rule itself, not a command

from __future__ import annotations

from contextlib import suppress

from nightwell.arrays.port import Array
from nightwell.errors import ConflictError, InputError, NotFoundError
from nightwell.testing.array_bench import MIB, Workbench, clause, expect, odd_size, refused


@clause("create-zero-filled")
def create_zero_filled(array: Array, work: Workbench) -> None:
    """A new volume has the size asked for, to the byte, belongs to its owner, is listed, and reads as zeros."""
    size_bytes = odd_size(array)
    made = array.create_volume(work.name(), size_bytes, owner="run-a")
    expect((made.size_bytes, made.owner) == (size_bytes, "run-a"), f"made otherwise than asked: {made}")
    expect(made in array.volumes(), "the new volume is not listed")
    expect(work.content(array, made.name) == bytes(size_bytes), "the new volume does not read as zeros")


@clause("create-again")
def create_again(array: Array, work: Workbench) -> None:
    """Making a volume again with the same size and owner succeeds and changes nothing."""
    made = array.create_volume(work.name(), MIB, owner="run-a")
    with work.open(array.export(made.name, writable=True)) as client:
        client.write(1000, b"kept")
    expect(array.create_volume(made.name, MIB, owner="run-a") == made, "the second answer differs")
    expect(work.content(array, made.name)[1000:1004] == b"kept", "the volume was emptied")


@clause("create-conflict")
def create_conflict(array: Array, work: Workbench) -> None:
    """Making a volume that exists with another size or owner is refused, and changes nothing."""
    made = array.create_volume(work.name(), MIB, owner="run-a")
    with refused("create with another size", ConflictError):
        array.create_volume(made.name, 2 * MIB, owner="run-a")
    with refused("create with another owner", ConflictError):
        array.create_volume(made.name, MIB, owner="run-b")
    expect(made in array.volumes(), "the refused calls changed the volume")


@clause("bad-names")
def bad_names(array: Array, work: Workbench) -> None:
    """A name that could be a path, an option or a URL's end is refused."""
    for name in ("", "..", "a/b", "-a", "a b", "a?b", "a\nb", "ä", "x" * 200):
        with refused(f"create {name!r}", InputError):
            array.create_volume(name, MIB)
    volume = work.volume(array)
    with refused("export 'a/b'", InputError):
        array.export(volume, name="a/b", writable=False)


@clause("bad-sizes")
def bad_sizes(array: Array, work: Workbench) -> None:
    """A volume without a byte is refused."""
    for size_bytes in (0, -1):
        with refused(f"create with {size_bytes} bytes", InputError):
            array.create_volume(work.name(), size_bytes)


@clause("unknown-volume")
def unknown_volume(array: Array, work: Workbench) -> None:
    """Every call that needs a volume says NotFoundError when there is none."""
    name, other = work.name(), work.volume(array)
    with refused("pair_of", NotFoundError):
        array.pair_of(name)
    with refused("grow_volume", NotFoundError):
        array.grow_volume(name, MIB)
    with refused("create_pair of an unknown P", NotFoundError):
        array.create_pair(name, other)
    with refused("create_pair with an unknown S", NotFoundError):
        array.create_pair(other, name)
    with refused("split", NotFoundError):
        array.split([name])
    with refused("resync", NotFoundError):
        array.resync(name)
    with refused("export", NotFoundError):
        array.export(name, writable=False)


@clause("gone-is-gone")
def gone_is_gone(array: Array, work: Workbench) -> None:
    """Removing what does not exist succeeds: it is gone, as asked."""
    array.delete_volume(work.name(), owner="run-a")
    array.delete_pair(work.name(), owner="run-a")
    array.delete_pair(work.volume(array))
    array.withdraw(work.name(), owner="run-a")
    array.release(work.name(), owner="run-a")
    volume = work.volume(array)
    array.delete_volume(volume)
    array.delete_volume(volume)
    expect(volume not in {found.name for found in array.volumes()}, "the deleted volume is still listed")


@clause("grow")
def grow(array: Array, work: Workbench) -> None:
    """Growing keeps the data and adds zeros; the same size again succeeds, a smaller one is refused."""
    size_bytes = odd_size(array)
    name, client = work.filled(array)
    before = client.read(0, MIB)
    client.close()
    expect(array.grow_volume(name, size_bytes).size_bytes == size_bytes, "another size was answered")
    expect(array.grow_volume(name, size_bytes).size_bytes == size_bytes, "growing again changed the size")
    expect(
        work.content(array, name) == before + bytes(size_bytes - MIB), "old bytes were lost, or new ones are not zero"
    )
    with refused("grow to a smaller size", InputError):
        array.grow_volume(name, MIB)


@clause("grow-in-pair")
def grow_in_pair(array: Array, work: Workbench) -> None:
    """A volume in a pair cannot grow, be it P or S."""
    primary, secondary, _ = work.pair(array)
    for name in (primary, secondary):
        with refused("grow in a pair", ConflictError):
            array.grow_volume(name, 2 * MIB)


@clause("delete-in-pair")
def delete_in_pair(array: Array, work: Workbench) -> None:
    """A volume in a pair cannot be deleted, be it P or S; without the pair it can."""
    primary, secondary = work.volume(array), work.volume(array)
    array.create_pair(primary, secondary)
    for name in (primary, secondary):
        with refused("delete in a pair", ConflictError):
            array.delete_volume(name)
    expect(array.pair_of(primary) is not None, "the refused calls dissolved the pair")
    array.delete_pair(primary)
    array.delete_volume(secondary)
    expect(secondary not in {found.name for found in array.volumes()}, "the volume is still there")


@clause("delete-connected")
def delete_connected(array: Array, work: Workbench) -> None:
    """A volume with a connected export cannot be deleted; once nobody is connected it can."""
    name, client = work.filled(array)
    with refused("delete while connected", ConflictError):
        array.delete_volume(name)
    client.write(0, b"still served")
    client.close()
    _delete_when_nobody_is_left(array, work, name)
    expect(name not in {export.name for export in array.exports()}, "the deleted volume's export is still listed")


@clause("owner-of-volume")
def owner_of_volume(array: Array, work: Workbench) -> None:
    """A volume is deleted by its owner or by hand, never by another run; a run never deletes what a person made."""
    owned, by_hand = work.volume(array, owner="run-a"), work.volume(array)
    for name in (owned, by_hand):
        with refused("delete by another run", ConflictError):
            array.delete_volume(name, owner="run-b")
    expect({owned, by_hand} <= {found.name for found in array.volumes()}, "a refused call deleted the volume")
    array.delete_volume(owned, owner="run-a")
    array.delete_volume(work.volume(array, owner="run-a"))


@clause("owner-of-pair")
def owner_of_pair(array: Array, work: Workbench) -> None:
    """A pair is dissolved by its owner or by hand, never by another run."""
    primary, secondary = work.volume(array), work.volume(array)
    pair = array.create_pair(primary, secondary, owner="run-a")
    expect(pair.owner == "run-a", f"the pair belongs to {pair.owner!r}")
    with refused("delete_pair by another run", ConflictError):
        array.delete_pair(primary, owner="run-b")
    expect(array.pair_of(primary) is not None, "the refused call dissolved the pair")
    array.delete_pair(primary, owner="run-a")
    array.create_pair(primary, secondary, owner="run-a")
    array.delete_pair(primary)
    expect(array.pair_of(primary) is None, "the pair is still there")


@clause("owner-of-export")
def owner_of_export(array: Array, work: Workbench) -> None:
    """An export is withdrawn by its owner or by hand, never by another run."""
    volume = work.volume(array)
    export = array.export(volume, writable=False, owner="run-a")
    expect(export.owner == "run-a", f"the export belongs to {export.owner!r}")
    with refused("withdraw by another run", ConflictError):
        array.withdraw(export.name, owner="run-b")
    work.open(export).close()
    array.withdraw(export.name, owner="run-a")
    array.withdraw(array.export(volume, writable=False, owner="run-a").name)
    expect(volume not in {found.name for found in array.exports()}, "the export is still there")


def _delete_when_nobody_is_left(array: Array, work: Workbench, name: str) -> None:
    """Delete a volume as soon as the array has noticed that its client has gone."""
    if array.capabilities.counts_connections:
        work.until(
            lambda: not any(export.connections for export in array.exports() if export.name == name),
            "the closed connection is still counted",
        )
        array.delete_volume(name)
        return

    def deleted() -> bool:
        with suppress(ConflictError):
            array.delete_volume(name)
            return True
        return False

    work.until(deleted, "the closed connection still keeps the volume")
