"""Exports and imports: the port's :class:`~nightwell.arrays.port.Line`."""

from __future__ import annotations

import logging
import time
from contextlib import suppress

from nightwell.arrays import refusals
from nightwell.arrays.names import check_name
from nightwell.arrays.other_array import probe
from nightwell.arrays.owners import check_owner
from nightwell.arrays.port import Export, PairState
from nightwell.arrays.qemu.daemon import MonitorError
from nightwell.arrays.qemu.held import Held
from nightwell.arrays.served import ExportRecord, ImportRecord, is_recorded
from nightwell.errors import UnreachableError
from nightwell.nbd.tls import TlsFiles
from nightwell.nbd.url import parse_url
from nightwell.nbd.wire import QEMU_CHANGED_BITMAP

_log = logging.getLogger(__name__)
_POLL_S = 0.01
_GONE_S = 60.0
_SECTOR_BYTES = 512

#: Name of the daemon's object that holds the files with which it proves itself to other arrays.
LINE_TLS = "line-tls"


class QemuLine:
    """Exports and imports over what is held.

    Parameters
    ----------
    held
        What the array holds.
    base_url
        Scheme, host and port under which clients reach it.
    line_tls
        Files with which this array proves itself to others.
    stall_s
        How long a request to an import waits for a cut line.
    """

    def __init__(self, held: Held, base_url: str, line_tls: TlsFiles | None, stall_s: float) -> None:
        self._held = held
        self._base_url = base_url
        self._line_tls = line_tls
        self._stall_s = stall_s

    def exports(self) -> tuple[Export, ...]:
        """Return every export and import, sorted by name."""
        with self._held.calls:
            found = [self._shown(record) for record in self._held.exports.values()]
            found += [self._shown(record) for record in self._held.imports.values()]
        return tuple(sorted(found, key=lambda export: export.name))

    def export(self, volume: str, *, name: str | None = None, writable: bool, owner: str | None = None) -> Export:
        """Serve a volume."""
        name = check_name("export", volume if name is None else name)
        held = self._held
        with held.calls:
            held.volume(volume)
            record = ExportRecord(name, volume, writable, owner)
            recorded = is_recorded(record, held.exports, held.imports)
            _check_servable(held, volume, writable=writable)
            if not recorded:
                with held.change():
                    held.exports[name] = record
                    serve(held, record)
            return self._shown(record)

    def withdraw(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an export and cut its connections."""
        held = self._held
        with held.calls:
            if name in held.imports:
                raise refusals.mixed_up(name, "an export", "an import", "release it")
            record = held.exports.get(name)
            if record is None:
                return
            check_owner(f"export {name!r}", record.owner, owner)
            with held.change():
                del held.exports[name]
            end_service(held, name)

    def import_volume(self, url: str, *, name: str, writable: bool, owner: str | None = None) -> Export:
        """Attach another array's export and serve it here."""
        check_name("import", name)
        held = self._held
        size_bytes = probe(url, self._line_tls, writable=writable)
        if size_bytes % _SECTOR_BYTES:
            raise refusals.no_whole_sectors(f"export {url!r}", size_bytes, _SECTOR_BYTES)
        record = ImportRecord(name, url, writable, size_bytes, owner)
        with held.calls:
            recorded = is_recorded(record, held.exports, held.imports)
            if not recorded:
                with held.change():
                    held.imports[name] = record
                    self.attach(record)
            return self._shown(record)

    def release(self, name: str, *, owner: str | None = None) -> None:
        """Stop serving an import and detach it."""
        held = self._held
        with held.calls:
            if name in held.exports:
                raise refusals.mixed_up(name, "an import", "an export", "withdraw it")
            record = held.imports.get(name)
            if record is None:
                return
            check_owner(f"import {name!r}", record.owner, owner)
            with held.change():
                del held.imports[name]
            end_service(held, name)
            with suppress(MonitorError):
                held.daemon.command("blockdev-del", node_name=held.import_nodes.pop(name))

    def attach(self, record: ImportRecord) -> None:
        """Open the other array's export in the daemon and serve it; UnreachableError when the line is cut."""
        held = self._held
        url = parse_url(record.url)
        node = f"i{held.number()}"
        if url.socket_path is not None:
            server = {"type": "unix", "path": url.socket_path}
        else:
            server = {"type": "inet", "host": url.host, "port": str(url.port)}
        try:
            held.daemon.command(
                "blockdev-add",
                driver="nbd",
                node_name=node,
                server=server,
                export=url.export,
                read_only=not record.writable,
                # At least 1: with 0 an import whose line was cut once would be dead for good.
                reconnect_delay=max(int(self._stall_s), 1),
                tls_creds=LINE_TLS if url.secure else None,
            )
        except MonitorError as problem:
            raise UnreachableError(
                f"export {record.url!r}",
                expected="an array that answers",
                found=problem.found,
                cause="line 1 is cut, or the other array is not running",
                next_step="see that both are up, then try again",
            ) from problem
        held.import_nodes[record.name] = node
        held.daemon.command(
            "block-export-add", id=f"e-{record.name}", type="nbd", node_name=node, name=record.name,
            writable=record.writable,
        )  # fmt: skip

    def _shown(self, record: ExportRecord | ImportRecord) -> Export:
        return record.shown(self._base_url, None)


def serve(held: Held, record: ExportRecord) -> None:
    """Have the daemon serve an export; on a split S with a change list, the list too."""
    pair = held.pair_with(record.volume)
    listed = pair is not None and pair.record.secondary == record.volume and pair.listed
    with held.graph:
        held.daemon.command(
            "block-export-add",
            id=f"e-{record.name}",
            type="nbd",
            node_name=held.top_node(held.volume(record.volume)),
            name=record.name,
            writable=record.writable,
            bitmaps=[QEMU_CHANGED_BITMAP] if listed else None,
        )


def end_service(held: Held, name: str) -> None:
    """Cut everybody off an export, and wait until no request of theirs is in flight."""
    export_id = f"e-{name}"
    with suppress(MonitorError):
        held.daemon.command("block-export-del", id=export_id, mode="hard")
    deadline = time.monotonic() + _GONE_S
    while any(export["id"] == export_id for export in held.daemon.command("query-block-exports")):
        if time.monotonic() > deadline:
            _log.error("export %s: a request is still in flight after %s s", name, _GONE_S)
            raise UnreachableError(
                f"export {name!r}",
                expected=f"its last request to end within {_GONE_S:.0f} s",
                found="one that is still in flight",
                cause="the disk under the array, or line 1, does not answer",
                next_step="withdraw it again; nothing may rely on the volume standing still until that succeeds",
            )
        time.sleep(_POLL_S)


def _check_servable(held: Held, volume: str, *, writable: bool) -> None:
    pair = held.pair_with(volume)
    if pair is None or pair.record.primary == volume:
        return
    what = f"export of secondary {volume!r}"
    if pair.state is not PairState.PSUS:
        raise refusals.wrong_state(what, "state PSUS", pair.state, "wait for PAIR, then split")
    if writable:
        raise refusals.wrong_state(what, "a read-only export", pair.state, "export it read-only, or dissolve the pair")
