"""The whole road as a contender: host, array, copy pair, line 1, virtual server, mover, store; by the command line.

The pair exists before, as it does on every night but the first; the array's own copying is not part of the seconds. A
restore is read back and compared by the mover, which the other tools do not do: it is part of the seconds.
"""

from __future__ import annotations

import dataclasses
import json
import sys
import time
from contextlib import ExitStack
from pathlib import Path

from metering import Command
from object_server import Bucket
from volume_image import Change

from nightwell.arrays.client import ArrayClient
from nightwell.arrays.port import PairState
from nightwell.local.parts import start_array
from nightwell.nbd.client import NbdClient
from nightwell.nbd.transfer import read_file, write_file
from nightwell.settings import StoreSettings

PRIMARY, SECONDARY, THIRD = "volume", "volume-s", "third"
_COPY_DEADLINE_S = 600.0


class Road:
    """nightwell as a site runs it. A context manager, because it has arrays to end."""

    name = "nightwell, whole road"

    def __init__(self, bucket: Bucket, folder: Path, parts: ExitStack) -> None:
        self.bucket = bucket
        self._settings = folder / "road.toml"
        arrays = {}
        pids = []
        for site in ("source", "destination"):
            process, arrays[site] = start_array(site, folder / f"array-{site}")
            parts.callback(process.stop)
            pids.append(process.pid)
        self.part_pids = tuple(pids)
        assert arrays["source"].control is not None, "start_array names it"
        self._array = ArrayClient(arrays["source"].control, name="source")
        parts.callback(self._array.close)
        self._host_url = ""
        self._settings.write_text(self._toml(folder, {site: str(array.control) for site, array in arrays.items()}))

    def prepare(self, image: Path) -> None:
        """Give the host its volume and the volume its pair."""
        size_bytes = image.stat().st_size
        for name in (PRIMARY, SECONDARY, THIRD):
            self._array.create_volume(name, size_bytes)
        self._host_url = self._array.export(PRIMARY, writable=True).url
        self._array.create_pair(PRIMARY, SECONDARY)
        write_file(image, self._host_url)
        self._wait_pair()

    def follow(self, image: Path, changes: list[Change]) -> None:
        """Write as the host what changed in the image."""
        with NbdClient.connect(self._host_url) as host, image.open("rb") as file:
            for change in changes:
                file.seek(change.offset_bytes)
                host.write(change.offset_bytes, file.read(change.length_bytes))
            host.flush()
        self._wait_pair()

    def backup(self, image: Path, state: int, changes: Path | None) -> Command:  # noqa: ARG002  the array knows them
        """Back up through the command line."""
        return self._command("backup", PRIMARY)

    def restore(self, target: Path) -> Command:  # noqa: ARG002  it goes to a third volume; see collect
        """Restore the newest version to the third volume."""
        return self._command("restore", PRIMARY, THIRD)

    def collect(self, target: Path) -> None:
        """Read the third volume into the file that is compared with the image."""
        export = self._array.export(THIRD, writable=False)
        read_file(export.url, target)
        self._array.withdraw(export.name)

    def _command(self, *words: str) -> Command:
        return Command([sys.executable, "-m", "nightwell", "--settings", str(self._settings), *words, "--json"])

    def _wait_pair(self) -> None:
        deadline = time.monotonic() + _COPY_DEADLINE_S
        while True:
            pair = self._array.pair_of(PRIMARY)
            if pair is not None and pair.state is PairState.PAIR:
                return
            if time.monotonic() > deadline:
                raise TimeoutError(f"the pair is {pair.state if pair else 'gone'}, not in step")
            time.sleep(0.05)

    def _toml(self, folder: Path, controls: dict[str, str]) -> str:
        location = dataclasses.asdict(self.bucket.location())
        known = StoreSettings.model_fields  # keys of a person have no session token
        store = "".join(f"{name} = {json.dumps(value)}\n" for name, value in location.items() if name in known)
        sites = "".join(
            f'[{site}.array]\nname = "{site}"\ncontrol = {json.dumps(control)}\n' for site, control in controls.items()
        )
        return f"state_directory = {json.dumps(str(folder / 'road-state'))}\n[store]\n{store}{sites}"
