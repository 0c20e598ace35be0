"""One broken driver per clause: each keeps everything but one thing, as a careless driver would."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from nightwell.errors import InputError
from nightwell.servers import procfs
from nightwell.servers.port import Isolation, Limit, ServerHandle, ServerInfo, ServerSpec
from nightwell.servers.process import MARKER, ProcessHandle, ProcessServers
from nightwell.testing import server_rig
from nightwell.testing.servers import CLAUSES, Clause, ClauseBrokenError, ServersUnderTest, check

Break = Callable[[Path], ProcessServers]


class SwallowsExitStatus(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        handle = super().produce(spec)
        assert isinstance(handle, ProcessHandle)
        inner = handle.wait
        handle.wait = lambda timeout_s=None: None if inner(timeout_s) is None else 0  # type: ignore[method-assign] # fault
        return handle


class MixesErrorsIntoEvents(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, command=("sh", "-c", 'exec "$@" 2>&1', "sh", *spec.command)))


class DropsEnvironment(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, environment={}))


class HandsOnEverything(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, environment={**os.environ, **spec.environment}))


class HoldsTheLifeline(ProcessServers):
    """A child of the producer keeps the other end open, as one that was forked at the wrong moment does."""

    def produce(self, spec: ServerSpec) -> ServerHandle:
        handle = super().produce(spec)
        self.held = os.dup(handle.stdin.fileno())
        return handle


class ListsUnsorted(ProcessServers):
    def servers(self) -> tuple[ServerInfo, ...]:
        return tuple(reversed(super().servers()))


class ForgetsTheEnded(ProcessServers):
    def servers(self) -> tuple[ServerInfo, ...]:
        return tuple(info for info in super().servers() if info.alive)


class RemembersInMemory(ProcessServers):
    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.known: set[str] = set()

    def produce(self, spec: ServerSpec) -> ServerHandle:
        self.known.add(spec.server_id)
        return super().produce(spec)

    def servers(self) -> tuple[ServerInfo, ...]:
        return tuple(info for info in super().servers() if info.server_id in self.known)


class DeletesFilesOnly(ProcessServers):
    def _end(self, server_id: str, leader: object) -> None:
        pass


class DeletesOnlyItsOwn(RemembersInMemory):
    def delete(self, server_id: str) -> None:
        if server_id in self.known:
            super().delete(server_id)


class KillsTheLeaderOnly(ProcessServers):
    def delete(self, server_id: str) -> None:
        for info in super().servers():
            if info.server_id == server_id and info.detail.startswith("pid "):
                with suppress(ProcessLookupError):
                    os.kill(int(info.detail.removeprefix("pid ")), signal.SIGKILL)


class CannotDeleteTwice(ProcessServers):
    def delete(self, server_id: str) -> None:
        if server_id not in {info.server_id for info in self.servers()}:
            raise KeyError(server_id)
        super().delete(server_id)


class DeletesByPrefix(ProcessServers):
    def delete(self, server_id: str) -> None:
        for info in super().servers():
            if info.server_id.startswith(server_id):
                super().delete(info.server_id)


class ProducesBeside(ProcessServers):
    """The old program of the same id keeps running under another name."""

    def produce(self, spec: ServerSpec) -> ServerHandle:
        old = {info.server_id for info in self.servers()}
        return super().produce(replace(spec, server_id=f"{spec.server_id}-{len(old)}"))


class IgnoresMemory(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, memory_bytes=8 << 30))


class ClaimsIsolation(ProcessServers):
    """Says of a plain process what holds for a machine."""

    isolation = Isolation(Limit.SERVER, Limit.SERVER, Limit.SERVER, files=True, network=True, means="words")


class DropsFiles(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, files={}))


class CutsTheNetwork(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        return super().produce(replace(spec, command=("unshare", "--map-root-user", "--net", *spec.command)))


class TakesAnyId(ProcessServers):
    def delete(self, server_id: str) -> None:
        with suppress(InputError):
            super().delete(server_id)


class LeavesWreckage(ProcessServers):
    def produce(self, spec: ServerSpec) -> ServerHandle:
        try:
            return super().produce(spec)
        except Exception:
            handle = super().produce(replace(spec, command=("true",)))
            handle.stdin.close()
            handle.stdout.close()
            raise


BROKEN: dict[str, Break] = {
    "runs_the_program": SwallowsExitStatus,
    "keeps_errors_apart": MixesErrorsIntoEvents,
    "gives_the_environment": DropsEnvironment,
    "inherits_no_secret": HandsOnEverything,
    "closes_the_lifeline": HoldsTheLifeline,
    "lists_servers": ListsUnsorted,
    "lists_the_ended": ForgetsTheEnded,
    "lists_from_elsewhere": RemembersInMemory,
    "deletes": DeletesFilesOnly,
    "deletes_from_elsewhere": DeletesOnlyItsOwn,
    "deletes_descendants": KillsTheLeaderOnly,
    "deletes_twice": CannotDeleteTwice,
    "spares_the_others": DeletesByPrefix,
    "deletes_before_producing_again": ProducesBeside,
    "limits_memory": IgnoresMemory,
    "limits_processes": ClaimsIsolation,
    "gives_files": DropsFiles,
    "hides_files": ClaimsIsolation,
    "reaches_its_addresses": CutsTheNetwork,
    "reaches_nothing_else": ClaimsIsolation,
    "refuses_bad_ids": TakesAnyId,
    "leaves_nothing_unstarted": LeavesWreckage,
}


def test_every_clause_has_a_broken_driver() -> None:
    assert set(BROKEN) == {clause.__name__ for clause in CLAUSES}


@pytest.fixture
def directory(tmp_path: Path) -> Iterator[Path]:
    place = tmp_path / "servers"
    yield place
    own = ProcessServers(place)._marker_prefix
    for pid, marker in procfs.markers(MARKER).items():
        if marker.startswith(own):  # what the broken driver left running
            os.kill(pid, signal.SIGKILL)


@pytest.mark.parametrize("clause", CLAUSES, ids=lambda clause: clause.__name__)
def test_a_driver_that_breaks_it_fails(clause: Clause, directory: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_rig, "PATIENCE_S", 0.5)
    broken = BROKEN[clause.__name__]
    with pytest.raises(ClauseBrokenError):
        check(clause, ServersUnderTest(open_driver=lambda: broken(directory), python=(sys.executable,)))
