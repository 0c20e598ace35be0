"""One machine that plays both sites with real parts: two array processes, an S3 server, settings for them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import tomli_w
from s3 import fresh_prefix

from nightwell.arrays.port import Array, PairState
from nightwell.local.parts import start_array
from nightwell.local.process import LocalProcess
from nightwell.nbd.client import NbdClient
from nightwell.server_settings import ServerDriver
from nightwell.settings import ArrayDriver, Settings, load_settings
from nightwell.sites.build import destination_site, open_array, source_site
from nightwell.sites.destination_site import DestinationSite
from nightwell.sites.source_site import SourceSite
from nightwell.store.location import StoreLocation

MIB = 1 << 20


@dataclass
class Machine:
    """Both sites; their processes can be killed and started again."""

    folder: Path
    settings_file: Path
    source_process: LocalProcess
    destination_process: LocalProcess

    @property
    def settings(self) -> Settings:
        return load_settings(self.settings_file)

    @cached_property
    def source_array(self) -> Array:
        return open_array(self.settings, "source")

    @cached_property
    def destination_array(self) -> Array:
        return open_array(self.settings, "destination")

    @cached_property
    def destination(self) -> DestinationSite:
        return destination_site(self.settings)

    @cached_property
    def source(self) -> SourceSite:
        return source_site(self.settings, self.destination)

    def close(self) -> None:
        for name in ("source", "destination", "source_array", "destination_array"):
            if name in self.__dict__:
                getattr(self, name).close()

    def make_volume(self, name: str, size_bytes: int, *, data: bytes = b"") -> str:
        """Make a volume with some bytes on it; return its host's URL."""
        self.source_array.create_volume(name, size_bytes)
        url = self.source_array.export(name, writable=True).url
        if data:
            self.write(name, 0, data)
        return url

    def write(self, name: str, offset_bytes: int, data: bytes) -> None:
        url = next(e.url for e in self.source_array.exports() if e.volume == name and e.writable)
        with NbdClient.connect(url) as host:
            host.write(offset_bytes, data)
            host.flush()

    def read(self, name: str) -> bytes:
        """Return a volume's bytes as a host reads them."""
        served = [e for e in self.source_array.exports() if e.volume == name]
        export = served[0] if served else self.source_array.export(name, writable=False)
        with NbdClient.connect(export.url) as host:
            return host.read(0, host.size_bytes)

    def digest(self, name: str) -> str:
        """Return the digest of a volume's bytes."""
        return hashlib.sha256(self.read(name)).hexdigest()

    def leftovers(self) -> list[str]:
        """Name everything of a run that is still there; empty when nothing was left behind."""
        found = [f"volume {v.name}" for v in self.source_array.volumes() if v.owner]
        for array in (self.source_array, self.destination_array):
            found += [f"export {e.name} of {array.name}" for e in array.exports() if e.owner or e.imported_from]
        for volume in self.source_array.volumes():
            pair = self.source_array.pair_of(volume.name)
            if pair is not None and (pair.owner or pair.state is not PairState.PAIR):
                found.append(f"pair of {volume.name} in {pair.state}")
        servers = self.settings.servers_directory()
        found += [f"virtual server {p.name}" for p in servers.glob("vs-*")] if servers.exists() else []
        for site in ("source", "destination"):
            ledger = (self.source if site == "source" else self.destination).ledger
            found += [f"open run {r.run_id} at {site}" for r in ledger.journal.open_runs()]
        return found


@contextmanager
def running_machine(
    folder: Path,
    store: StoreLocation,
    *,
    drivers: tuple[ArrayDriver, ArrayDriver] = (ArrayDriver.EMBEDDED, ArrayDriver.EMBEDDED),
    names: tuple[str, str] = ("source", "destination"),
    engine: ServerDriver = ServerDriver.PROCESS,
) -> Iterator[Machine]:
    """Run a machine with a place of its own in ``store``, and arrays of these names."""
    location = fresh_prefix(store)
    source_process, source = start_array(names[0], folder / "arrays" / "source", driver=drivers[0])
    try:
        destination_process, destination = start_array(names[1], folder / "arrays" / "destination", driver=drivers[1])
    except BaseException:
        source_process.kill()
        raise
    file = folder / "nightwell.toml"
    document = {
        "state_directory": str(folder / "state"),
        "source": {"array": {"name": names[0], "control": str(source.control)}, "poll_s": 0.02},
        "destination": {
            "array": {"name": names[1], "control": str(destination.control)},
            "servers": {"driver": str(engine)},
        },
        "store": {
            "endpoint_url": location.endpoint_url,
            "bucket": location.bucket,
            "prefix": location.prefix,
            "access_key": location.access_key,
            "secret_key": location.secret_key,
        },
    }
    file.write_text(tomli_w.dumps(document))
    machine = Machine(folder, file, source_process, destination_process)
    try:
        yield machine
    finally:
        machine.close()
        machine.source_process.kill()
        machine.destination_process.kill()


def noise(size_bytes: int) -> bytes:
    """Return random bytes."""
    return os.urandom(size_bytes)
