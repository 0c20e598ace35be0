"""Exports and imports: the port's :class:`~nightwell.arrays.port.Line`, and the table that the NBD server asks."""

from __future__ import annotations

from typing import Protocol

from nightwell.arrays import refusals
from nightwell.arrays.embedded.backends import VolumeBackend
from nightwell.arrays.embedded.catalogue import Catalogue
from nightwell.arrays.embedded.imports import ImportBackend, ImportedVolume
from nightwell.arrays.embedded.volume import Volume
from nightwell.arrays.names import check_name
from nightwell.arrays.other_array import STALL_S, probe
from nightwell.arrays.owners import check_owner
from nightwell.arrays.port import Export, PairState
from nightwell.arrays.served import ExportRecord, ImportRecord, is_recorded
from nightwell.errors import NotFoundError
from nightwell.nbd.tls import TlsFiles


class Server(Protocol):
    """What the line needs of the NBD server."""

    def disconnect(self, export_name: str) -> None:
        """Cut an export's connections and wait until none of their requests is in flight."""
        ...

    def connections(self, export_name: str) -> int:
        """Return how many connections hold an export open."""
        ...


class ServedTable:
    """What a client of the NBD server can open at this moment.

    Parameters
    ----------
    catalogue
        What the array holds.
    tls
        Files with which this array proves itself to others.
    stall_s
        How long a request to an import may wait for the line.
    """

    def __init__(self, catalogue: Catalogue, *, tls: TlsFiles | None = None, stall_s: float = STALL_S) -> None:
        self._held = catalogue
        self.tls = tls
        self._stall_s = stall_s
        self._attached: dict[str, ImportedVolume] = {}

    def names(self) -> tuple[str, ...]:
        """Return the names of exports and imports."""
        with self._held.lock:
            return tuple(sorted([*self._held.exports, *self._held.imports]))

    def open(self, name: str) -> VolumeBackend | ImportBackend:
        """Open an export or an import for one connection."""
        with self._held.lock:
            record = self._held.exports.get(name)
            if record is not None:
                volume = self._held.volume(record.volume)
                check_servable(volume, writable=record.writable)
                return VolumeBackend(volume, writable=record.writable)
            attached = self._attach(name)
        return attached.open()  # reaches for the other array: never with the lock held

    def _attach(self, name: str) -> ImportedVolume:
        if name not in self._attached:
            record = self._held.imports.get(name)
            if record is None:
                raise _unknown_export(name)
            self._attached[name] = ImportedVolume(record, tls=self.tls, stall_s=self._stall_s)
        return self._attached[name]

    def detach(self, name: str) -> ImportedVolume | None:
        """Forget an import's line; its waiting requests fail now. The catalogue's lock is held."""
        attached = self._attached.pop(name, None)
        if attached is not None:
            attached.interrupt()
        return attached

    def close(self) -> None:
        """Leave every other array."""
        with self._held.lock:
            lines = [self.detach(name) for name in tuple(self._attached)]
        for line in lines:
            if line is not None:
                line.close()


class ExportLine:
    """Exports and imports over a catalogue.

    Parameters
    ----------
    catalogue
        What the array holds.
    table
        What the server asks.
    server
        The NBD server.
    base_url
        Scheme, host and port under which clients reach it: ``nbd://127.0.0.1:10809``.
    """

    def __init__(self, catalogue: Catalogue, table: ServedTable, server: Server, base_url: str) -> None:
        self._held = catalogue
        self._table = table
        self._server = server
        self._base_url = base_url

    def exports(self) -> tuple[Export, ...]:
        """Return every export and import, sorted by name."""
        with self._held.lock:
            found = [self._shown(record) for record in self._held.exports.values()]
            found += [self._shown(record) for record in self._held.imports.values()]
        return tuple(sorted(found, key=lambda export: export.name))

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        """Serve a volume."""
        name = check_name("export", volume if name is None else name)
        held = self._held
        with held.lock:
            served = held.volume(volume)
            record = ExportRecord(name, volume, writable, owner)
            recorded = is_recorded(record, held.exports, held.imports)
            check_servable(served, writable=writable)
            if not recorded:
                with held.change():
                    held.exports[name] = record
            return self._shown(record)

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an export and cut its connections."""
        held = self._held
        with held.lock:
            if name in held.imports:
                raise refusals.mixed_up(name, "an export", "an import", "release it")
            record = held.exports.get(name)
            if record is not None:
                check_owner(f"export {name!r}", record.owner, owner)
                with held.change():
                    del held.exports[name]
        self._server.disconnect(name)

    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        """Attach another array's export and serve it here."""
        check_name("import", name)
        held = self._held
        size_bytes = probe(url, self._table.tls, writable=writable)
        record = ImportRecord(name, url, writable, size_bytes, owner)
        with held.lock:
            recorded = is_recorded(record, held.exports, held.imports)
            if not recorded:
                with held.change():
                    held.imports[name] = record
            return self._shown(record)

    def release(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an import and detach it."""
        held = self._held
        attached = None
        with held.lock:
            if name in held.exports:
                raise refusals.mixed_up(name, "an import", "an export", "withdraw it")
            record = held.imports.get(name)
            if record is not None:
                check_owner(f"import {name!r}", record.owner, owner)
                with held.change():
                    del held.imports[name]
                attached = self._table.detach(name)
        self._server.disconnect(name)
        if attached is not None:
            attached.close()

    def _shown(self, record: ExportRecord | ImportRecord) -> Export:
        return record.shown(self._base_url, self._server.connections(record.name))


def check_servable(volume: Volume, *, writable: bool) -> None:
    """Refuse (ConflictError) to serve a secondary for writing, or one that is not to be trusted."""
    if volume.primary is None:
        return
    state = volume.pair_state()
    what = f"export of secondary {volume.name!r}"
    if state in {PairState.COPY, PairState.PSUE}:
        raise refusals.wrong_state(what, "state PSUS, or PAIR to look on", state, "wait for PAIR, then split")
    if writable:
        raise refusals.wrong_state(what, "a read-only export", state, "export it read-only, or dissolve the pair")


def _unknown_export(name: str) -> NotFoundError:
    return NotFoundError(
        f"export {name!r}",
        expected="an export of this array",
        found="none of that name",
        cause="the name is mistyped, or the export was withdrawn",
        next_step="list the exports, or export the volume",
    )
