"""The embedded array in one piece: a directory, its volumes and pairs, and the NBD server over them."""

from __future__ import annotations

import os
from types import TracebackType
from typing import Self

from nightwell.arrays.directory import lock_directory
from nightwell.arrays.embedded.core import VolumeCore
from nightwell.arrays.embedded.line import ExportLine, ServedTable
from nightwell.arrays.embedded.recovery import open_catalogue
from nightwell.arrays.names import check_name
from nightwell.arrays.port import Capabilities
from nightwell.arrays.serving import ArraySettings
from nightwell.errors import InputError
from nightwell.nbd.server import NbdServer

CAPABILITIES = Capabilities(
    persistent_pair=True, group_split=True, change_list=True, secondary_readable_while_pair=True
)


class EmbeddedArray(VolumeCore, ExportLine):
    """An array in this process; it serves from the moment it is made until :meth:`close`.

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
    """

    def __init__(self, settings: ArraySettings) -> None:
        self.name = check_name("array", settings.name)
        self._lock_descriptor = lock_directory(settings.directory, ("volumes", "maps"))
        server: NbdServer | None = None
        try:
            catalogue = open_catalogue(settings.directory, settings.name)
            table = ServedTable(catalogue, tls=settings.line_tls or settings.tls, stall_s=settings.stall_s)
            self.server = server = _start_server(settings, table, catalogue.port)
            with catalogue.lock:
                catalogue.port = self.server.address[1]
                catalogue.save()
                # Last of all: until here a failed start leaves nothing running.
                catalogue.start_copies()
        except BaseException:
            if server is not None:
                server.stop()
            os.close(self._lock_descriptor)
            raise
        VolumeCore.__init__(self, catalogue, self.server.connections)
        ExportLine.__init__(self, catalogue, table, self.server, _base_url(settings, self.server))

    @property
    def capabilities(self) -> Capabilities:
        """What this driver can do."""
        return CAPABILITIES

    @property
    def failure(self) -> str | None:
        """Nothing: it serves for as long as its process lives."""
        return None

    @property
    def nbd_url(self) -> str:
        """Scheme, host and port of the NBD server."""
        return self._base_url

    def close(self) -> None:
        """Stop serving, bring everything to the disk, and say so in the record; may be called again."""
        held = self._held
        with held.lock:
            if held.closed:
                return
        self._table.close()
        self.server.stop()
        with held.lock:
            for linked in held.pairs.values():
                linked.stop_copy()
                linked.pair.flush_maps()
            for volume in held.volumes.values():
                volume.file.sync()
            held.save(clean=True)
            held.close_files()
        os.close(self._lock_descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _start_server(settings: ArraySettings, table: ServedTable, last_port: int) -> NbdServer:
    """Listen where asked; with port 0, first where it was last, so that imports elsewhere find their way back."""
    if not settings.port and last_port:
        server = NbdServer(table, host=settings.host, port=last_port, tls=settings.tls)
        try:
            server.start()
        except InputError:
            pass  # somebody else has taken the port meanwhile
        else:
            return server
    server = NbdServer(table, host=settings.host, port=settings.port, tls=settings.tls)
    server.start()
    return server


def _base_url(settings: ArraySettings, server: NbdServer) -> str:
    host = settings.advertised_host or server.address[0]
    shown = f"[{host}]" if ":" in host else host
    return f"{'nbds' if settings.tls else 'nbd'}://{shown}:{server.address[1]}"
