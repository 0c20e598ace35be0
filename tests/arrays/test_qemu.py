"""What the qemu array does beside the suite: deaths, points in time, certificates and its own limits."""

from __future__ import annotations

import hashlib
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from arrays.running import RunningArray, wait_until
from arrays.test_kill import MIB, filled, pair_of, settle, writers

from nightwell.arrays.port import PairState
from nightwell.arrays.qemu import split as qemu_split
from nightwell.arrays.qemu.array import QemuArray
from nightwell.arrays.qemu.held import Held
from nightwell.arrays.serving import ArraySettings
from nightwell.errors import CredentialsError, InputError, NightwellError
from nightwell.nbd.certificates import make_certificates
from nightwell.nbd.client import NbdClient
from nightwell.testing.arrays import CLAUSES, Outcome, Workbench, check_clause

MODULE = "nightwell.arrays.qemu"


def content(process: RunningArray, volume: str) -> bytes:
    export = process.client.export(volume, name=f"look-{volume}", writable=False)
    with NbdClient.connect(export.url) as client:
        found = client.read(0, client.size_bytes)
    process.client.withdraw(export.name)
    return found


def check_exact(process: RunningArray) -> None:
    """Stop the host, split, and compare what both volumes read."""
    assert settle(process).state is PairState.PAIR
    process.client.split(["p"])
    assert content(process, "p") == content(process, "s"), "silently wrong"


@pytest.mark.parametrize("moment_s", [0.0, 0.05])
@pytest.mark.parametrize("state", [PairState.COPY, PairState.PAIR])
def test_killed_while_linked(state: PairState, moment_s: float, tmp_path: Path) -> None:
    size_bytes = 32 * MIB
    with RunningArray("array", tmp_path, module=MODULE) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        if state is PairState.PAIR:
            settle(process)
            process.client.split(["p"])
            settle(process)
        with writers(url, size_bytes):
            threading.Event().wait(moment_s)  # any moment will do
            process.kill()
        process.start()
        check_exact(process)


def test_killed_while_split_the_point_in_time_stays_and_the_resync_is_differential(tmp_path: Path) -> None:
    size_bytes = 32 * MIB
    with RunningArray("array", tmp_path, module=MODULE) as process:
        url = filled(process, size_bytes)
        process.client.create_pair("p", "s")
        settle(process)
        (split,) = process.client.split(["p"])
        frozen = hashlib.blake2b(content(process, "s")).digest()
        with writers(url, MIB):
            threading.Event().wait(0.05)
            process.kill()
        process.start()
        again = pair_of(process)
        assert (again.state, again.split_id, again.split_at) == (PairState.PSUS, split.split_id, split.split_at)
        assert hashlib.blake2b(content(process, "s")).digest() == frozen
        assert settle(process).to_copy_bytes <= 2 * MIB, "the resync was not differential"
        check_exact(process)


@pytest.mark.parametrize("step", ["block-dirty-bitmap-add", "blockdev-snapshot", "blockdev-backup"])
def test_killed_in_a_split(step: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The daemon dies right after each transaction of the split; what the array's record says then must do."""
    array = QemuArray(ArraySettings("array", tmp_path))
    for name in ("p", "s"):
        array.create_volume(name, 4 * MIB)
    with NbdClient.connect(array.export("p", writable=True).url) as client:
        client.write(0, os.urandom(4 * MIB))
        client.flush()
        array.create_pair("p", "s")
        wait_until(lambda: array.pair_of("p").state is PairState.PAIR, "PAIR")  # type: ignore[union-attr]
        client.write(MIB, b"before the split")
        client.flush()
    daemon = array.daemon
    carry_out = daemon.transaction

    def die_after(actions: Sequence[tuple[str, dict[str, object]]], *, grouped: bool = False) -> None:
        carry_out(actions, grouped=grouped)
        if actions[0][0] == step:
            os.kill(daemon.pid, signal.SIGKILL)
            daemon.wait()
            record.append((tmp_path / "state.json").read_bytes())

    record: list[bytes] = []
    monkeypatch.setattr(daemon, "transaction", die_after)
    with pytest.raises(NightwellError):
        array.split(["p"])
    array.close()
    (tmp_path / "state.json").write_bytes(record[0])  # as it stood when the daemon died
    with RunningArray("array", tmp_path, module=MODULE) as process:
        check_exact(process)
        assert content(process, "p")[MIB : MIB + 16] == b"before the split"


def test_a_daemon_that_dies_ends_the_array_with_an_error(tmp_path: Path) -> None:
    with RunningArray("array", tmp_path, module=MODULE) as process:
        children = Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text().split()
        assert len(children) == 1
        os.kill(int(children[0]), signal.SIGKILL)
        assert process._reap() == 1
        assert "ended by itself" in (tmp_path / "log").read_text()


def test_a_killed_array_leaves_no_daemon(tmp_path: Path) -> None:
    with RunningArray("array", tmp_path, module=MODULE) as process:
        pid = int(Path(f"/proc/{process.process.pid}/task/{process.process.pid}/children").read_text())
        process.kill()
        wait_until(lambda: not Path(f"/proc/{pid}").exists(), "the end of the daemon")


def test_imports_come_back_although_their_array_was_away_at_the_start(tmp_path: Path) -> None:
    with RunningArray("far", tmp_path / "far", module=MODULE) as far:
        far.client.create_volume("v", MIB)
        url = far.client.export("v", writable=True).url
        with RunningArray("near", tmp_path / "near", module=MODULE) as near:
            near.client.import_volume(url, name="i", writable=True)
            assert near.stop() == far.stop() == 0
            near.start()
            far.start()

            def reads() -> bool:
                try:
                    with NbdClient.connect(near.client.exports()[0].url) as client:
                        client.write(0, b"again")
                        return client.read(0, 5) == b"again"
                except NightwellError:
                    return False

            wait_until(reads, "the import")


def test_cancelling_the_mirrors_one_after_another_is_no_group_split(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The suite's clause on group splits finds the naive split, which the driver does not do, to be wrong."""

    def naive(held: Held, parts: Sequence[qemu_split._Part]) -> None:
        for part in parts:
            assert part.pair.copier is not None
            part.pair.copier.stop()
        held.daemon.transaction(
            [("blockdev-snapshot", {"node": part.frozen, "overlay": part.overlay}) for part in parts]
        )
        for part in parts:
            part.primary.layers.adopt(part.file, part.overlay)
            part.primary.coming = None

    with QemuArrayInThisProcess(tmp_path) as array:
        clause = CLAUSES["group-split"]
        assert check_clause(clause, array, Workbench()).outcome is Outcome.PASSED
        monkeypatch.setattr(qemu_split, "_take", naive)
        tries = [check_clause(clause, array, Workbench(seed=seed)) for seed in range(5)]
        assert any("not of the same point in time" in one.detail for one in tries), tries


def test_clients_without_a_certificate_of_the_authority_are_turned_away(tmp_path: Path) -> None:
    ours, theirs = (make_certificates(tmp_path / who, hosts=("127.0.0.1",)) for who in ("ours", "theirs"))
    options = [f"--tls-{part}={getattr(ours.server, part)}" for part in ("ca", "certificate", "key")]
    with RunningArray("array", tmp_path / "array", *options, module=MODULE) as process:
        process.client.create_volume("v", MIB)
        url = process.client.export("v", writable=True).url
        assert url.startswith("nbds://")
        with NbdClient.connect(url, tls=ours.client) as good:
            good.write(0, b"secret")
        with pytest.raises(NightwellError):
            NbdClient.connect(url, tls=theirs.client)
        with pytest.raises(CredentialsError):
            NbdClient.connect(url.replace("nbds", "nbd"))


def test_half_a_sector_is_refused(tmp_path: Path) -> None:
    with (
        QemuArrayInThisProcess(tmp_path) as array,
        pytest.raises(InputError, match=r"whole sectors of 512 bytes.*ask for 1024"),
    ):
        array.create_volume("v", 777)


class QemuArrayInThisProcess:
    """An array of this process, closed with the block."""

    def __init__(self, directory: Path) -> None:
        self.array = QemuArray(ArraySettings("array", directory))

    def __enter__(self) -> QemuArray:
        return self.array

    def __exit__(self, *error: object) -> None:
        self.array.close()


@pytest.fixture(autouse=True)
def _no_daemon_stays(tmp_path: Path) -> Iterator[None]:
    yield
    # The kernel ends the daemon of a killed driver; on a loaded machine that takes a moment.
    wait_until(lambda: not daemons_of(tmp_path), "the end of every daemon")


def daemons_of(directory: Path) -> list[str]:
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            ours = str(directory) in str((process / "cwd").readlink())
            if ours and b"qemu-storage-daemon" in (process / "cmdline").read_bytes():
                found.append(process.name)
        except OSError:
            continue  # it has ended, or is not ours
    return found
