"""What stands in the way of a backup is said before anything is touched: all of the error's text."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from machine import MIB, Machine, noise, running_machine
from s3 import fresh_prefix

from nightwell.arrays.client import ArrayClient
from nightwell.arrays.port import PairInfo
from nightwell.errors import CredentialsError
from nightwell.protocol import BackupMode, Phase, Run, Step
from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore

NOBODY = 65534


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory, moto_server: StoreLocation) -> Iterator[Machine]:
    with running_machine(tmp_path_factory.mktemp("machine"), moto_server) as running:
        yield running


@pytest.fixture
def paired(machine: Machine) -> str:
    """Give a volume in a pair of somebody's."""
    name = f"v{len(machine.source_array.volumes())}"
    machine.make_volume(name, MIB, data=noise(MIB))
    machine.source_array.create_volume(f"{name}-copy", MIB)
    machine.source_array.create_pair(name, f"{name}-copy")
    return name


def refused(run: Run) -> str:
    """Return why a run was refused; nothing was begun but the look at the pair."""
    assert run.phase is Phase.REVERTED
    assert set(run.started) == {Step.CHECK_PAIR}
    assert run.failure is not None
    return str(run.failure.as_error())


def test_a_secondary_that_somebody_reads_is_refused_before_the_split(machine: Machine, paired: str) -> None:
    array = machine.source_array
    array.export(f"{paired}-copy", name="theirs", writable=False)
    assert refused(machine.source.back_up(paired)) == (
        f"secondary '{paired}-copy' of volume '{paired}' on array 'source': expected a secondary that nobody "
        "reads: it is brought back in step after the copy; found export 'theirs' of somebody. Likely cause: "
        "another backup, a report or a test uses the secondary. Next step: end that use and run 'nightwell line "
        "withdraw theirs', then back up again."
    )
    assert machine.source.back_up(paired, mode=BackupMode.PAIR).phase is Phase.DONE, "nothing is resynced in this mode"
    array.withdraw("theirs")
    array.export(f"{paired}-copy", name="run-gone", writable=False, owner="gone")
    text = refused(machine.source.back_up(paired))
    assert "found export 'run-gone' of run 'gone'. Likely cause: that run ended without withdrawing it." in text
    array.withdraw("run-gone")
    assert machine.source.back_up(paired).phase is Phase.DONE
    assert machine.leftovers() == []


def test_a_pair_that_the_array_lists_and_did_not_make_is_refused(machine: Machine, paired: str) -> None:
    real = machine.source_array

    class Listing(ArrayClient):
        """The real array, but for the secondary of each pair: it is called what this array does not have."""

        def pair_of(self, volume: str) -> PairInfo | None:
            found = super().pair_of(volume)
            return None if found is None else replace(found, secondary="far/ghost")

    listing = Listing(machine.folder / "arrays" / "source" / "control.sock", name="source")
    site = replace(machine.source, effects=replace(machine.source.effects, array=listing))
    assert refused(site.back_up(paired)) == (
        f"copy pair of volume '{paired}' on array 'source': expected a secondary that this array holds; found "
        "secondary 'far/ghost', which it does not list. Likely cause: the pair was made by another tool or with "
        "another array. Next step: dissolve it where it was made, or use mode 'direct'."
    )
    listing.close()
    pair = real.pair_of(paired)
    assert pair is not None
    assert pair.secondary == f"{paired}-copy", "left alone"


@contextmanager
def as_another_user(socket: Path) -> Iterator[None]:
    """Take away what opens the socket: for root the user, for others the mode."""
    if os.geteuid() == 0:
        os.seteuid(NOBODY)
        try:
            yield
        finally:
            os.seteuid(0)
        return
    socket.chmod(0)
    yield
    socket.chmod(0o600)


def test_an_array_of_another_user_refuses_us_by_name(machine: Machine) -> None:
    control = machine.folder / "arrays" / "source" / "control.sock"
    array = ArrayClient(control, name="source")
    with as_another_user(control), pytest.raises(CredentialsError) as raised:
        array.volumes()
    assert str(raised.value) == (
        f"array 'source': expected leave to open control socket {control}; found [Errno 13] Permission denied. "
        "Likely cause: the array's process belongs to another user, and its socket is open to that user alone. "
        "Next step: give the command, or run the worker, as the user that serves the array."
    )


@pytest.mark.parametrize("wrong", [{"access_key": "nobody"}, {"secret_key": "x"}], ids=lambda one: next(iter(one)))
def test_keys_that_the_store_refuses_are_named(seaweed: StoreLocation, wrong: dict[str, str]) -> None:
    location = replace(fresh_prefix(seaweed), **wrong)  # type: ignore[arg-type]
    with pytest.raises(CredentialsError) as raised:
        BackupStore.open(location, create=True)
    assert str(raised.value) == (
        f"{location}: expected a server that accepts our access key; found HTTP 403 when asked to look at the "
        "bucket. Likely cause: the access key or the secret key is wrong, or the key lacks the right. Next step: "
        "check both keys and what they may do on this bucket."
    )
