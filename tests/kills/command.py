"""Try the whole matrix, or a part of it: ``PYTHONPATH=tests python -m kills``.

Ends with exit status 1 when anything was left behind or is not as it was, and prints a table for docs/recovery.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, suppress
from pathlib import Path

from kills.cases import Case, every_case, sample
from kills.world import Result, World, running_world
from s3 import running_moto

from nightwell.protocol import Phase
from nightwell.settings import ArrayDriver


def main(arguments: Sequence[str] | None = None) -> int:
    """Try cases and say how they ended."""
    options = _options(arguments)
    signal.signal(signal.SIGINT, signal.default_int_handler)  # in the background a shell has it ignored
    cases = sample(options.seed, options.sample) if options.sample else every_case(options.seed)
    cases = [case for case in cases if options.only in str(case)]
    began_s = time.monotonic()
    results: list[Result] = []
    with suppress(KeyboardInterrupt):  # the table of what was tried until then
        for result in _try(cases, options.driver):
            results.append(result)
            sys.stdout.write(f"{len(results)}/{len(cases)} {_in_words(result)}\n")
            sys.stdout.flush()
    minutes = (time.monotonic() - began_s) / 60
    sys.stdout.write("\n".join(_table(results)) + "\n")
    wrong_count = sum(bool(result.wrongs) for result in results)
    sys.stdout.write(
        f"\nseed {options.seed}, {options.driver} arrays: {len(results)} cases in {minutes:.1f} minutes, "
        f"{wrong_count} wrong\n"
    )
    return 1 if wrong_count else 0


def _in_words(result: Result) -> str:
    not_struck = "" if result.struck else " (never came to that point)"
    wrong = "".join(f"\n    WRONG: {text}" for text in result.wrongs)
    return f"{result.case}: {result.phase}{not_struck}, {result.seconds:.1f} s{wrong}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=0, help="so many cases instead of the whole matrix")
    parser.add_argument("--only", default="", help="cases whose words contain this")
    parser.add_argument("--driver", type=ArrayDriver, default=ArrayDriver.EMBEDDED, choices=list(ArrayDriver))
    return parser.parse_args(arguments)


def _try(cases: list[Case], driver: ArrayDriver) -> Iterator[Result]:
    """Try cases on one world; a case that left something behind gets the next ones a fresh world."""
    with tempfile.TemporaryDirectory(prefix="kills-", ignore_cleanup_errors=True) as folder, ExitStack() as stack:
        store = stack.enter_context(running_moto(Path(folder)))
        worlds = 0
        left = list(cases)
        while left:
            worlds += 1
            place = Path(folder) / f"world-{worlds}"
            place.mkdir()
            with running_world(place, store, drivers=(driver, driver)) as world:
                yield from _until_wrong(world, left)


def _until_wrong(world: World, left: list[Case]) -> Iterator[Result]:
    while left:
        result = world.try_case(left.pop(0))
        yield result
        if result.wrongs:
            return


def _table(results: list[Result]) -> Iterator[str]:
    """Return the results by what was killed."""
    rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        rows[result.case.kind, result.case.victim].append(result)
    yield "| run | killed | cases | struck | done | taken back | wrong |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for (kind, victim), of_row in sorted(rows.items()):
        done = sum(result.phase is Phase.DONE for result in of_row)
        back = sum(result.phase is Phase.REVERTED for result in of_row)
        struck = sum(result.struck for result in of_row)
        wrong = sum(bool(result.wrongs) for result in of_row)
        yield f"| {kind} | {victim} | {len(of_row)} | {struck} | {done} | {back} | {wrong} |"
