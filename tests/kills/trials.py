"""Many cases on several worlds at a time, each world in a process of its own with its own object store."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from kills.cases import Case
from kills.world import Result, World, running_world
from s3 import running_moto, running_seaweed

from nightwell.server_settings import ServerDriver
from nightwell.settings import ArrayDriver

STORES = {"moto": running_moto, "seaweedfs": running_seaweed}

# A fork of this process would inherit its threads' locks, but not the threads.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of."""

    driver: ArrayDriver
    engine: ServerDriver
    store: str

    def __str__(self) -> str:
        return f"{self.driver} arrays, engine {self.engine}, {self.store}"


def trials(cases: list[Case], parts: Parts, *, jobs: int) -> Iterator[Result]:
    """Try cases, some at a time, and give each result as it comes."""
    results: SimpleQueue[Result | None] = _CONTEXT.SimpleQueue()
    with _started(cases, parts, jobs, results):
        running = jobs
        while running:
            result = results.get()
            if result is None:
                running -= 1
            else:
                yield result


@contextmanager
def _started(cases: list[Case], parts: Parts, jobs: int, results: SimpleQueue[Result | None]) -> Iterator[None]:
    started = [_CONTEXT.Process(target=_work, args=(cases[n::jobs], parts, results)) for n in range(jobs)]
    for process in started:
        process.start()
    try:
        yield
    finally:
        for process in started:
            if process.is_alive() and process.pid is not None:
                os.kill(process.pid, signal.SIGINT)  # its parts end with it
            process.join()


def _work(cases: list[Case], parts: Parts, results: SimpleQueue[Result | None]) -> None:
    """Try cases on one world after another: one that was left with something wrong is not used again."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    left = list(cases)
    try:
        with (
            suppress(KeyboardInterrupt),
            tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as folder,
            ExitStack() as stack,
        ):
            store = stack.enter_context(STORES[parts.store](Path(folder)))
            worlds = 0
            while left:
                worlds += 1
                place = Path(folder) / f"world-{worlds}"
                place.mkdir()
                drivers = (parts.driver, parts.driver)
                with running_world(place, store, drivers=drivers, engine=parts.engine) as world:
                    _until_wrong(world, left, results)
    finally:
        results.put(None)


def _until_wrong(world: World, left: list[Case], results: SimpleQueue[Result | None]) -> None:
    while left:
        result = world.try_case(left.pop(0))
        results.put(result)
        if result.wrongs:
            return
