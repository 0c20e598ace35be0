"""What the clauses of the array suite are made of: the registry, the workbench, and the ways to fail."""

from __future__ import annotations

import itertools
import random
import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

from nightwell.arrays.port import Array, Export, PairInfo, PairState
from nightwell.errors import NightwellError
from nightwell.nbd.client import NbdClient
from nightwell.nbd.tls import TlsFiles

MIB = 1 << 20
_POLL_S = 0.002


class ClauseFailed(Exception):  # noqa: N818 - it is an outcome, as in "the clause failed"
    """The array does not do what a clause asks; the text says what was expected and what was seen."""


class NotObserved(Exception):  # noqa: N818 - as above
    """The array was too quick for a clause to see what it must look at."""


@dataclass(frozen=True, slots=True)
class Clause:
    """One rule that every array keeps.

    Parameters
    ----------
    name
        Short, unique, stable.
    check
        Tries the rule on an array; ClauseFailed when it is broken.
    capability
        Name of the capability without which the rule does not apply; empty when it always does.
    needs_second
        Whether a second array, to import from, is needed.
    """

    name: str
    check: Callable[[Array, Workbench], None]
    capability: str = ""
    needs_second: bool = False

    @property
    def says(self) -> str:
        """The rule in one sentence."""
        return (self.check.__doc__ or "").strip().splitlines()[0]


CLAUSES: dict[str, Clause] = {}
_Check = Callable[[Array, "Workbench"], None]


def clause(name: str, *, capability: str = "", needs_second: bool = False) -> Callable[[_Check], _Check]:
    """Enter a function into the suite."""

    def enter(check: _Check) -> _Check:
        if name in CLAUSES:
            raise ValueError(f"two clauses are named {name!r}")
        CLAUSES[name] = Clause(name, check, capability, needs_second)
        return check

    return enter


def expect(condition: bool, text: str) -> None:  # noqa: FBT001 - reads as a sentence
    """Fail the clause unless the condition holds."""
    if not condition:
        raise ClauseFailed(text)


@contextmanager
def refused(action: str, *kinds: type[Exception]) -> Iterator[None]:
    """Fail the clause unless the block raises one of these errors."""
    names = " or ".join(kind.__name__ for kind in kinds)
    try:
        yield
    except kinds:
        return
    except Exception as problem:
        raise ClauseFailed(f"{action}: expected {names}, got {type(problem).__name__}: {problem}") from problem
    raise ClauseFailed(f"{action}: expected {names}, but it succeeded")


def odd_size(array: Array, about_bytes: int = MIB) -> int:
    """Return a size a little above one given, as odd as the array's sectors allow."""
    sector = array.capabilities.sector_bytes
    return -(-(about_bytes + 777) // sector) * sector


class Workbench:
    """Makes what a clause needs on an array, reaches it over NBD as a host would, and cleans up.

    Everything it makes has a name that begins with :attr:`prefix`, so that it can be run on an array in use.

    Parameters
    ----------
    second
        Another array, for the clauses about imports; the first one imports from it.
    tls
        Files with which the clauses reach both arrays' exports.
    patience_s
        How long a clause waits for a state.
    seed
        Of the data written.
    """

    def __init__(
        self,
        *,
        second: Array | None = None,
        tls: TlsFiles | None = None,
        patience_s: float = 60.0,
        seed: int = 1,
    ) -> None:
        self.second = second
        self.prefix = f"nightwell-check-{secrets.token_hex(4)}"
        self._tls = tls
        self._patience_s = patience_s
        self._random = random.Random(seed)  # noqa: S311 - test data
        self._numbers = itertools.count(1)
        self._clients: list[NbdClient] = []

    def name(self, what: str = "volume") -> str:
        """Return a fresh name."""
        return f"{self.prefix}-{what}-{next(self._numbers)}"

    def data(self, length_bytes: int) -> bytes:
        """Return random bytes; of more than 1 MiB each MiB is another rotation of the first, which is quick."""
        piece = self._random.randbytes(min(length_bytes, MIB))
        rotated = (piece[turn:] + piece[:turn] for turn in range(-(-length_bytes // MIB)))
        return piece if length_bytes <= MIB else b"".join(rotated)[:length_bytes]

    def volume(self, array: Array, size_bytes: int = MIB, *, owner: str | None = None) -> str:
        """Make a volume; return its name."""
        return array.create_volume(self.name(), size_bytes, owner=owner).name

    def filled(self, array: Array, size_bytes: int = MIB) -> tuple[str, NbdClient]:
        """Make a volume full of random bytes; return its name and a writable connection."""
        name = self.volume(array, size_bytes)
        client = self.open(array.export(name, writable=True))
        client.write(0, self.data(size_bytes))
        return name, client

    def pair(self, array: Array, size_bytes: int = MIB) -> tuple[str, str, NbdClient]:
        """Make a filled volume and its copy, in PAIR; return both names and a writable connection to P."""
        primary, client = self.filled(array, size_bytes)
        secondary = self.volume(array, size_bytes)
        array.create_pair(primary, secondary)
        self.wait(array, primary, PairState.PAIR)
        return primary, secondary, client

    def split(self, array: Array, primary: str) -> PairInfo:
        """Split one pair."""
        found = array.split([primary])
        expect(len(found) == 1, f"split of one pair answered for {len(found)}")
        return found[0]

    def resync(self, array: Array, primary: str) -> PairInfo:
        """Resync one pair and wait for PAIR."""
        array.resync(primary)
        return self.wait(array, primary, PairState.PAIR)

    def wait(self, array: Array, primary: str, state: PairState) -> PairInfo:
        """Wait until a pair is in a state; fail at once when it has become PSUE."""
        deadline = time.monotonic() + self._patience_s
        while True:
            info = array.pair_of(primary)
            if info is None:
                raise ClauseFailed(f"the pair of {primary} is gone while waiting for {state}")
            if info.state is state:
                return info
            expect(info.state is not PairState.PSUE, f"the pair of {primary} failed: {info.fault}")
            expect(time.monotonic() < deadline, f"{primary} is {info.state} and not {state} after {self._patience_s} s")
            time.sleep(_POLL_S)

    def until(self, condition: Callable[[], bool], text: str) -> None:
        """Wait until a condition holds."""
        deadline = time.monotonic() + self._patience_s
        while not condition():
            expect(time.monotonic() < deadline, f"{text} (waited {self._patience_s} s)")
            time.sleep(_POLL_S)

    def open(self, export: Export, contexts: Sequence[str] = ()) -> NbdClient:
        """Connect to an export; closed by the clause, or by the cleaning after it."""
        client = NbdClient.connect(export.url, contexts=contexts, tls=self._tls)
        self._clients.append(client)
        return client

    def content(self, array: Array, volume: str) -> bytes:
        """Return all bytes of a volume, by a read-only export of its own that is withdrawn again."""
        export = array.export(volume, name=self.name("look"), writable=False)
        with self.open(export) as client:
            found = client.read(0, client.size_bytes)
        array.withdraw(export.name)
        return found

    def clean(self, array: Array) -> tuple[str, ...]:
        """Close our connections and remove everything of ours from the array; return what could not be removed."""
        left: list[str] = []
        while self._clients:
            self._clients.pop().close()

        def remove(what: str, call: Callable[[], None]) -> None:
            try:
                call()
            except NightwellError as problem:
                left.append(f"{what}: {problem}")

        for export in array.exports():
            if export.name.startswith(self.prefix):
                gone = array.withdraw if export.imported_from is None else array.release
                remove(export.name, lambda gone=gone, name=export.name: gone(name))  # type: ignore[misc]
        for volume in array.volumes():
            if volume.name.startswith(self.prefix):
                remove(volume.name, lambda name=volume.name: self._remove_volume(array, name))  # type: ignore[misc]
        return tuple(left)

    @staticmethod
    def _remove_volume(array: Array, name: str) -> None:
        pair = array.pair_of(name)
        if pair is not None:
            array.delete_pair(pair.primary)
        array.delete_volume(name)
