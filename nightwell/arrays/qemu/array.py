"""The qemu array in one piece: a directory, its daemon, and what both hold."""

from __future__ import annotations

import logging
import os
import socket
import threading
from dataclasses import replace
from pathlib import Path

from nightwell.arrays.directory import lock_directory
from nightwell.arrays.names import check_name
from nightwell.arrays.port import Capabilities, PairState
from nightwell.arrays.qemu.daemon import MonitorError, StorageDaemon
from nightwell.arrays.qemu.held import Held, Pair, Volume
from nightwell.arrays.qemu.layers import Layers
from nightwell.arrays.qemu.line import LINE_TLS, QemuLine, serve
from nightwell.arrays.qemu.pairs import SECTOR_BYTES, QemuVolumes, start_copy
from nightwell.arrays.qemu.state import ArrayState
from nightwell.arrays.served import ImportRecord
from nightwell.arrays.serving import ArraySettings
from nightwell.errors import ConflictError, InputError, NightwellError
from nightwell.nbd.tls import TlsFiles, server_context

CAPABILITIES = Capabilities(
    persistent_pair=True,
    group_split=True,
    change_list=True,
    secondary_readable_while_pair=False,  # QEMU lets nobody read what a mirror writes
    pair_context=False,  # its NBD server knows no contexts but its own
    counts_connections=False,
    passes_contexts=False,
    sector_bytes=SECTOR_BYTES,
)
_SERVER_TLS = "server-tls"
_REATTACH_S = 1.0

_log = logging.getLogger(__name__)


class QemuArray(QemuVolumes, QemuLine):
    """An array served by a ``qemu-storage-daemon`` of its own, from the moment it is made until :meth:`close`.

    Parameters
    ----------
    settings
        How to run it.

    Raises
    ------
    ConflictError
        Another process uses the directory, or it belongs to another array.
    FormatError, IntegrityError
        What the directory holds cannot be read.
    InputError
        Name, directory, address or TLS files cannot be used.
    NotFoundError
        ``qemu-storage-daemon`` is not installed.
    """

    def __init__(self, settings: ArraySettings) -> None:
        self.name = check_name("array", settings.name)
        self._lock_descriptor = lock_directory(settings.directory, ("volumes",))
        self._stopping = threading.Event()
        self._failure: str | None = None
        daemon: StorageDaemon | None = None
        try:
            daemon = StorageDaemon(settings.directory)
            held = Held(settings.directory, self.name, daemon)
            state = held.load()
            _check_name(settings, state)
            line_tls = settings.line_tls or settings.tls
            held.port = _listen(daemon, settings, state.port if state is not None else 0)
            if line_tls is not None:
                _offer(daemon, settings.directory / "tls-line", LINE_TLS, line_tls, endpoint="client")
            QemuVolumes.__init__(self, held)
            QemuLine.__init__(self, held, _base_url(settings, held.port), line_tls, settings.stall_s)
            if state is not None:
                self._restore(state)
            held.save()
        except BaseException:
            if daemon is not None:
                daemon.stop()
            os.close(self._lock_descriptor)
            raise

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return CAPABILITIES

    @property
    def nbd_url(self) -> str:
        """Scheme, host and port of the NBD server."""
        return self._base_url

    @property
    def daemon(self) -> StorageDaemon:
        """The daemon under it."""
        return self._held.daemon

    @property
    def failure(self) -> str | None:
        """Why it has stopped serving by itself, or ``None``."""
        return self._failure

    def wait_for_daemon(self) -> None:
        """Block until the daemon has ended; an end that nobody asked for is the array's failure."""
        status = self.daemon.wait()
        if not self._stopping.is_set():
            self._failure = f"qemu-storage-daemon ended by itself with status {status}: read daemon.log, start again"

    def close(self) -> None:
        """Stop serving, bring everything to the disk, and say so in the record; may be called again."""
        held = self._held
        with held.calls:
            if held.closed:
                return
            held.closed = True
            self._stopping.set()
            for pair in held.pairs.values():
                if pair.copier is not None:
                    pair.copier.stop()
            in_order = held.daemon.stop()
            for volume in held.volumes.values():
                volume.layers.sync()
            held.save(clean=in_order)
            os.close(self._lock_descriptor)

    def _restore(self, state: ArrayState) -> None:
        held = self._held
        for record in state.volumes:
            layers = Layers(held.daemon, held.volumes_folder, record.layers, held.number)
            held.volumes[record.name] = Volume(record.name, record.size_bytes, record.owner, layers)
        _sweep(held)
        # QEMU keeps the tables of an overlay in memory until the host flushes. What it lost of P when it was killed is
        # on a linked S all the same, and no overlay tells where: S is copied anew. A split S was not written.
        for found in state.pairs:
            linked = found.state is PairState.COPY
            full = found.full or (linked and not state.clean)
            held.pairs[found.primary] = Pair(replace(found, splitting=False, full=full))
        held.exports = {record.name: record for record in state.exports}
        for export in held.exports.values():
            serve(held, export)
        held.imports = {record.name: record for record in state.imports}
        missing = [record for record in held.imports.values() if not self._attached(record)]
        if missing:
            threading.Thread(target=self._reattach, args=(missing,), name="reattach", daemon=True).start()
        for pair in held.pairs.values():
            if pair.record.state is PairState.COPY:
                start_copy(held, pair)

    def _reattach(self, missing: list[ImportRecord]) -> None:
        """Attach imports whose array was not there when this one started."""
        while missing and not self._stopping.wait(_REATTACH_S):
            with self._held.calls:
                if self._held.closed:
                    return
                wanted = [record for record in missing if self._held.imports.get(record.name) == record]
                missing = [record for record in wanted if not self._attached(record)]

    def _attached(self, record: ImportRecord) -> bool:
        try:
            self.attach(record)
        except NightwellError as problem:
            _log.warning("import %s waits for its array: %s", record.name, problem.found)
            return False
        return True


def _check_name(settings: ArraySettings, state: ArrayState | None) -> None:
    if state is not None and state.name != settings.name:
        raise ConflictError(
            f"array directory {settings.directory}",
            expected=f"the directory of array {settings.name!r}",
            found=f"that of array {state.name!r}",
            cause="two arrays' directories were mixed up",
            next_step=f"name the array {state.name!r}, or give another directory",
        )


def _sweep(held: Held) -> None:
    """Delete files that no volume consists of: what a killed process made, or was about to delete."""
    known = {file for volume in held.volumes.values() for file in volume.layers.files}
    for path in held.volumes_folder.iterdir():
        if path.name not in known and path.suffix in {".raw", ".qcow2"}:
            path.unlink()


def _listen(daemon: StorageDaemon, settings: ArraySettings, last_port: int) -> int:
    """Start the NBD server; return its port: the one asked for, the last one again when it is free, or any."""
    if settings.tls is not None:
        server_context(settings.tls)  # files that cannot be used are named in its words, not in QEMU's
        _offer(daemon, settings.directory / "tls-server", _SERVER_TLS, settings.tls, endpoint="server")
    candidates = [settings.port] if settings.port else [*([last_port] if last_port else []), 0, 0, 0]
    problem: MonitorError | None = None
    for candidate in candidates:
        port = candidate or _free_port(settings.host)
        try:
            daemon.command(
                "nbd-server-start",
                addr={"type": "inet", "data": {"host": settings.host, "port": str(port)}},
                tls_creds=_SERVER_TLS if settings.tls is not None else None,
                max_connections=0,
            )
        except MonitorError as error:
            problem = error
        else:
            return port
    assert problem is not None, "every candidate was refused"
    raise InputError(
        f"address {settings.host}:{settings.port}",
        expected="one that can be listened on",
        found=problem.found,
        cause="another program listens there, or the address is not this machine's",
        next_step="give another host or port",
    ) from problem


def _free_port(host: str) -> int:
    try:
        with socket.create_server((host, 0)) as probe:
            return int(probe.getsockname()[1])
    except OSError as problem:
        raise InputError(
            f"address {host}",
            expected="one that can be listened on",
            found=str(problem),
            cause="the address is not this machine's",
            next_step="give another host",
        ) from problem


def _offer(daemon: StorageDaemon, folder: Path, name: str, files: TlsFiles, *, endpoint: str) -> None:
    """Give the daemon certificates in the one folder layout that it takes."""
    folder.mkdir(mode=0o700, exist_ok=True)
    for link, target in (
        ("ca-cert.pem", files.ca),
        (f"{endpoint}-cert.pem", files.certificate),
        (f"{endpoint}-key.pem", files.key),
    ):
        path = folder / link
        path.unlink(missing_ok=True)
        path.symlink_to(target.absolute())
    try:
        daemon.command(
            "object-add", qom_type="tls-creds-x509", id=name, endpoint=endpoint, dir=str(folder.absolute()),
            verify_peer=True,
        )  # fmt: skip
    except MonitorError as problem:
        raise InputError(
            f"TLS files of the {endpoint} side",
            expected="a certificate of the CA, valid now, and its key",
            found=problem.found,
            cause="an expired certificate, or one that lacks what QEMU asks for",
            next_step="make new certificates, then start the array again",
        ) from problem


def _base_url(settings: ArraySettings, port: int) -> str:
    host = settings.advertised_host or settings.host
    shown = f"[{host}]" if ":" in host else host
    return f"{'nbds' if settings.tls else 'nbd'}://{shown}:{port}"
