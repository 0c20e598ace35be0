"""A world for kill tests: both sites with real parts, volumes as people left them, and who brings dead arrays back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from kills.account import TARGET, Account, wrongs_after
from kills.cases import GONE, Before, Case
from kills.drivers import play_recovery, play_source
from kills.forks import load_ahead, start
from kills.place import Place, array_part
from machine import MIB, Machine, noise, running_machine

from nightwell.arrays.port import PairState
from nightwell.local.parts import start_array
from nightwell.protocol import Phase, RunKind, Site
from nightwell.server_settings import ServerDriver
from nightwell.servers.procfs import ProcessIdentity, identify, is_running
from nightwell.settings import ArrayDriver
from nightwell.store.location import StoreLocation

SIZE_BYTES = 2 * MIB
_RECOVERY_S = 120.0
_EMULATED_RECOVERY_S = 600.0


@dataclass(frozen=True, slots=True)
class Result:
    """How one case ended."""

    case: Case
    struck: bool
    phase: Phase | None
    seconds: float
    wrongs: tuple[str, ...]


@dataclass
class World:
    """Both sites, and the volumes on which the cases are tried one after another."""

    machine: Machine
    drivers: tuple[ArrayDriver, ArrayDriver]
    engine: ServerDriver = ServerDriver.PROCESS
    number: int = 0
    _watched: dict[Site, ProcessIdentity] = field(default_factory=dict)

    @property
    def place(self) -> Place:
        return Place(self.machine.folder)

    def settle(self) -> None:
        """Make the volumes, and back each of them up once."""
        machine = self.machine
        for site in Site:
            self._note_array(site)
        for before in Before:
            machine.make_volume(before, SIZE_BYTES, data=noise(SIZE_BYTES // 2))
            if before is not Before.LONE:
                machine.source_array.create_volume(f"{before}-copy", SIZE_BYTES)
                machine.source_array.create_pair(before, f"{before}-copy")
            first = machine.source.back_up(before)
            assert first.phase is Phase.DONE, first.failure
        machine.make_volume(TARGET, SIZE_BYTES, data=noise(MIB))
        # So that a restore has no host in its way.
        for export in machine.source_array.exports():
            machine.source_array.withdraw(export.name)

    def try_case(self, case: Case) -> Result:
        """Carry one case out, recover, and hold what is left against what stood before."""
        began_s = time.monotonic()
        self.number += 1
        run_id = f"case-{self.number:04d}"
        self.change(case)
        before = Account.of(self.machine)
        self.place.begin_case(case)
        self._watch([start(play_source, self.place, case, run_id, TARGET)], hold_back=case.victim in GONE)
        self._tend_arrays()
        try:
            self._recover(case)
        except TimeoutError as error:
            self.place.note_wrong(str(error))
        run = self.machine.source.ledger.journal.find(run_id)
        wrongs = (*self.place.wrongs(), *wrongs_after(self.machine, case, run_id, before))
        phase = None if run is None else run.phase
        return Result(case, self.place.happened("struck"), phase, time.monotonic() - began_s, wrongs)

    def change(self, case: Case) -> None:
        """Give the volume something new, so that the next version differs."""
        array = self.machine.source_array
        for before in (Before.STALE, Before.PAIRED):
            self._in_step(before)
        changed = TARGET if case.kind is RunKind.RESTORE else case.volume
        array.export(changed, name="host", writable=True)
        self.machine.write(changed, self.number % 8 * (MIB // 8), noise(4096))
        array.withdraw("host")
        if case.before is Before.STALE:
            array.split([Before.STALE])

    def _in_step(self, volume: str) -> None:
        array = self.machine.source_array
        pair = array.pair_of(volume)
        if pair is not None and pair.state is PairState.PSUS:
            array.resync(volume)
        while pair is not None and pair.state is not PairState.PAIR:
            time.sleep(0.01)
            pair = array.pair_of(volume)

    def _recover(self, case: Case) -> None:
        """Recover until nothing is left to do, as the schedule does."""
        patience_s = _EMULATED_RECOVERY_S if self.engine is ServerDriver.QEMU else _RECOVERY_S
        deadline_s = time.monotonic() + patience_s
        while True:
            self._watch([start(play_recovery, self.place, case) for _ in range(case.recoverers)])
            if not self._open_runs():
                return
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"not recovered after {patience_s:.0f} s: {self._open_runs()}")
            time.sleep(0.2)

    def _open_runs(self) -> list[str]:
        found = []
        for site in (self.machine.source, self.machine.destination):
            found += [f"{run.site} {run.run_id} {run.phase}" for run in site.ledger.journal.open_runs()]
        return found

    def _watch(self, processes: list[ForkServerProcess], *, hold_back: bool = False) -> None:
        """Wait for processes, and bring killed arrays back meanwhile unless they are to stay away."""
        while any(process.is_alive() for process in processes):
            if not hold_back:
                self._tend_arrays()
            time.sleep(0.02)
        for process in processes:
            process.join()
            process.close()

    def _tend_arrays(self) -> None:
        for site, identity in self._watched.items():
            if not is_running(identity):
                self._bring_back(site)

    def _bring_back(self, site: Site) -> None:
        machine = self.machine
        old = machine.source_process if site is Site.SOURCE else machine.destination_process
        old.kill()
        driver = self.drivers[0 if site is Site.SOURCE else 1]
        process, _ = start_array(site, machine.folder / "arrays" / site, driver=driver)
        if site is Site.SOURCE:
            machine.source_process = process
        else:
            machine.destination_process = process
        self._note_array(site)

    def _note_array(self, site: Site) -> None:
        process = self.machine.source_process if site is Site.SOURCE else self.machine.destination_process
        identity = identify(process.pid)
        assert identity is not None, f"array {site} runs"
        self._watched[site] = identity
        self.place.note_process(array_part(site), process.pid)


@contextmanager
def running_world(
    folder: Path,
    store: StoreLocation,
    *,
    drivers: tuple[ArrayDriver, ArrayDriver] = (ArrayDriver.EMBEDDED, ArrayDriver.EMBEDDED),
    engine: ServerDriver = ServerDriver.PROCESS,
) -> Iterator[World]:
    """Run a world with a place of its own in ``store``."""
    load_ahead()
    with running_machine(folder, store, drivers=drivers, engine=engine) as machine:
        world = World(machine, drivers, engine)
        world.settle()
        yield world
