"""Many cases on several worlds at a time, each world in a process of its own with its own object store."""

from __future__ import annotations

import multiprocessing
import os
import signal
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass
from itertools import count
from multiprocessing.queues import SimpleQueue
from pathlib import Path

from kills.cases import Case
from kills.prefect_world import PrefectWorld, deployed_in, running_prefect_world
from kills.world import Result, World, running_world
from s3 import running_moto, running_seaweed

from nightwell.server_settings import ServerDriver
from nightwell.settings import ArrayDriver

STORES = {"moto": running_moto, "seaweedfs": running_seaweed}

Results = SimpleQueue[Result | str | None]

# A fork of this process would inherit its threads' locks, but not the threads.
_CONTEXT = multiprocessing.get_context("spawn")


@dataclass(frozen=True, slots=True)
class Parts:
    """What a world is made of."""

    driver: ArrayDriver
    engine: ServerDriver
    store: str
    behind_prefect: bool = False

    def __str__(self) -> str:
        front = "behind a Prefect server, " if self.behind_prefect else ""
        return f"{front}{self.driver} arrays, engine {self.engine}, {self.store}"


def trials(cases: list[Case], parts: Parts, *, jobs: int) -> Iterator[Result | str]:
    """Try cases, some at a time, and give each result as it comes; in words what is wrong with a world in the end."""
    results: Results = _CONTEXT.SimpleQueue()
    with _started(cases, parts, jobs, results):
        running = jobs
        while running:
            result = results.get()
            if result is None:
                running -= 1
            else:
                yield result


@contextmanager
def _started(cases: list[Case], parts: Parts, jobs: int, results: Results) -> Iterator[None]:
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


def _work(cases: list[Case], parts: Parts, results: Results) -> None:
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
            deployed = stack.enter_context(deployed_in(Path(folder))) if parts.behind_prefect else None
            for number in count(1):
                if not left:
                    break
                place = Path(folder) / f"world-{number}"
                place.mkdir()
                with ExitStack() as own:
                    if deployed is not None:
                        world: World | PrefectWorld = own.enter_context(running_prefect_world(place, deployed, store))
                    else:
                        drivers = (parts.driver, parts.driver)
                        world = own.enter_context(running_world(place, store, drivers=drivers, engine=parts.engine))
                    _until_wrong(world, left, results)
    finally:
        results.put(None)


def _until_wrong(world: World | PrefectWorld, left: list[Case], results: Results) -> None:
    while left:
        result = world.try_case(left.pop(0))
        results.put(result)
        if result.wrongs:
            break
    if isinstance(world, PrefectWorld):
        for wrong in world.last_wrongs():
            results.put(wrong)
