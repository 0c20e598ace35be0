"""Every mistake a person can make: one error in five fields, exit code 1, and nothing has changed."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path

import pytest
from cli.command import Cli, assert_one_error, assert_one_error_in_words
from cli.unchanged import Watch
from cli.well_volume import SIZE_BYTES, make_well_volume
from machine import MIB, Machine, noise

from nightwell.nbd.client import NbdClient
from nightwell.protocol import Lease


@pytest.fixture(scope="module")
def prepared(machine: Machine, cli: Cli, tmp_path_factory: pytest.TempPathFactory) -> Machine:
    """Return the machine with a backed up volume, four more to restore to, and a pair of one of them."""
    make_well_volume(machine, "well", tmp_path_factory.mktemp("well"))
    cli.json("backup", "well")
    for name in ("third", "paired"):
        machine.make_volume(name, SIZE_BYTES, data=noise(MIB))
    machine.make_volume("small", SIZE_BYTES - MIB, data=noise(MIB))
    machine.make_volume("raw", MIB, data=noise(MIB))
    cli.json("backup", "raw", "--mode", "direct")
    cli.json("pair", "create", "paired", "paired-copy")
    return machine


@dataclass(frozen=True)
class Case:
    """A mistake: the words of the command, the class of its error, and what it has to say."""

    words: str
    kind: str
    said: str
    meanwhile: Callable[[Machine], AbstractContextManager[object]] = lambda _: nullcontext()

    def __str__(self) -> str:
        return self.words


@contextmanager
def busy(machine: Machine) -> Iterator[None]:
    """Let another run hold the volumes ``well`` and ``third``."""
    leases = machine.source.ledger.leases
    held: list[Lease] = [
        leases.acquire(name, f"other-run-{name}", owner="elsewhere:1:1:b", ttl_s=60) for name in ("well", "third")
    ]
    yield
    for lease in held:
        leases.release(lease)


@contextmanager
def attached(machine: Machine) -> Iterator[None]:
    """Let a host have the volume ``third`` attached."""
    url = next(export.url for export in machine.source_array.exports() if export.volume == "third")
    with NbdClient.connect(url):
        yield


def unknown(words: str, said: str = "nosuch") -> Case:
    return Case(words, "NotFoundError", said)


CASES = [
    # unknown volume
    unknown("backup nosuch"),
    unknown("backup nosuch --mode direct"),
    unknown("restore nosuch third"),
    unknown("restore well nosuch"),
    unknown("versions nosuch"),
    unknown("verify nosuch"),
    unknown("files nosuch"),
    unknown("extract nosuch /logs target"),
    unknown("volume write nosuch file.bin"),
    unknown("volume read nosuch target"),
    unknown("volume grow nosuch 1GiB"),
    unknown("volume delete nosuch"),
    unknown("pair status nosuch"),
    unknown("pair create nosuch well"),
    unknown("pair create nosuch nosuch-copy"),
    unknown("pair split nosuch"),
    unknown("pair resync nosuch"),
    unknown("pair delete nosuch"),
    unknown("well analyse --volume nosuch"),
    # version not found
    unknown("restore well third --version nosuch"),
    unknown("verify well --version nosuch"),
    unknown("files well --version nosuch"),
    unknown("extract well /logs target --version nosuch"),
    unknown("well analyse --volume well --version nosuch"),
    # the volume is in use
    Case("backup well", "BusyError", "other-run-well", busy),
    Case("restore well third", "BusyError", "other-run-third", busy),
    Case("restore well small", "InputError", f"at least {SIZE_BYTES} bytes"),
    Case("restore well paired", "ConflictError", "primary of a pair"),
    Case("restore well paired-copy", "ConflictError", "secondary of a pair"),
    Case("restore well third", "ConflictError", "a host has the volume attached", attached),
    Case("backup paired-copy", "ConflictError", "back up 'paired'"),
    Case("volume delete third", "ConflictError", "1 connections", attached),
    Case("volume delete paired", "ConflictError", "a volume in a pair"),
    Case("volume delete paired-copy", "ConflictError", "a volume in a pair"),
    Case("volume grow paired 1GiB", "ConflictError", "a volume in a pair"),
    Case("volume write paired-copy file.bin", "NotFoundError", "an export of it that can be written"),
    Case("pair create paired third", "ConflictError", "'paired-copy'"),
    Case("pair create paired another", "ConflictError", "'paired-copy'"),
    Case("pair create well small", "ConflictError", "two volumes of one size"),
    Case("pair create well well", "InputError", "well"),
    Case("pair delete third", "NotFoundError", "no pair"),
    Case("pair split third", "ConflictError", "SMPL"),
    # sizes
    Case("volume create new '10 parsecs'", "InputError", "10 parsecs"),
    Case("volume create new 0", "InputError", "positive"),
    Case("volume create new nan", "InputError", "nan"),
    Case("volume create new 1e400", "InputError", "1e400"),
    Case("volume create new '90000000 TiB'", "InputError", "below 8 EiB"),
    Case("volume create new '1000000 TiB'", "InputError", "volume 'new'"),
    Case("volume create ../new 1MiB", "InputError", "../new"),
    Case("volume create well 8MiB", "ConflictError", "a volume of that name"),
    Case("volume grow well 1MiB", "InputError", "volumes grow"),
    Case("volume grow well much", "InputError", "much"),
    # files
    Case("volume write third nosuch.bin", "NotFoundError", "nosuch.bin"),
    Case("volume write third folder", "InputError", "a folder"),
    Case("volume write raw large.bin", "InputError", "at most 1048576 bytes"),
    Case("volume read raw folder", "InputError", "a folder"),
    Case("volume read raw nosuch/target", "NotFoundError", "target"),
    Case("volume read raw file.bin/target", "InputError", "names a file"),
    Case("volume read raw /sys/target", "InputError", "leave to use it"),
    Case("extract well /logs/note.txt folder", "InputError", "a folder"),
    Case("extract well /logs/note.txt file.bin/target", "InputError", "a file stands where a folder has to be"),
    Case("extract well /logs/gone.txt target", "NotFoundError", "/logs/gone.txt"),
    Case("files well /logs/note.txt", "InputError", "the path names a file"),
    Case("files well /gone", "NotFoundError", "/gone"),
    Case("files raw", "FormatError", "ext4"),
    Case("well analyse --volume well", "NotFoundError", "/scans.zarr"),
    # runs
    Case("runs nosuch", "NotFoundError", "nosuch"),
    Case("recover --retry nosuch", "NotFoundError", "nosuch"),
    Case("recover --retry nosuch --site destination", "NotFoundError", "nosuch"),
    Case("resolve nosuch --by me --note done", "NotFoundError", "nosuch"),
]


@pytest.fixture(scope="module")
def watch(prepared: Machine) -> Watch:
    return Watch(prepared)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the folder in which the command runs, with the files that the cases name."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "file.bin").write_bytes(b"a file")
    (tmp_path / "large.bin").write_bytes(bytes(2 * MIB))
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.mark.parametrize("case", CASES, ids=str)
def test_a_mistake_is_one_error_and_changes_nothing(
    prepared: Machine, watch: Watch, cli: Cli, here: Path, case: Case
) -> None:
    words = shlex.split(case.words)
    with watch.nothing_changes(here), case.meanwhile(prepared):
        assert_one_error(cli.run(*words, "--json"), kind=case.kind, said=case.said)
        assert_one_error_in_words(cli.run(*words))


def test_a_mistake_ends_the_process_with_1_and_without_a_traceback(watch: Watch, cli: Cli, here: Path) -> None:
    with watch.nothing_changes(here):
        assert_one_error(cli.process("restore", "well", "small", "--json"), kind="InputError", said="at least")
        assert_one_error_in_words(cli.process("volume", "read", "raw", "folder"))


@pytest.mark.parametrize("words", ["volume list --site elsewhere", "runs --limit 0"])
def test_a_choice_that_there_is_not_is_refused_by_the_options(watch: Watch, cli: Cli, words: str) -> None:
    with watch.nothing_changes():
        ended = cli.run(*shlex.split(words))
    assert ended.code == 2
    assert "Invalid value" in ended.err
