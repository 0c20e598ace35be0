"""Try the whole matrix, or a part of it: ``PYTHONPATH=tests python -m kills``.

Ends with exit status 1 when anything was left behind or is not as it was, and prints a table for docs/recovery.md.
"""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import suppress

from kills.cases import OF_PREFECT, every_case, sample, victims
from kills.trials import STORES, Parts, trials
from kills.world import Result

from nightwell.protocol import Phase
from nightwell.server_settings import ServerDriver
from nightwell.settings import ArrayDriver


def main(arguments: Sequence[str] | None = None) -> int:
    """Try cases and say how they ended."""
    options = _options(arguments)
    for number in (signal.SIGINT, signal.SIGTERM):  # in the background a shell has the first one ignored
        signal.signal(number, signal.default_int_handler)
    parts = Parts(options.driver, options.engine, options.store, behind_prefect=options.prefect)
    mortal = OF_PREFECT if options.prefect else victims(parts.engine)
    cases = sample(options.seed, options.sample, mortal) if options.sample else every_case(options.seed, mortal)
    cases = [case for case in cases if options.only in str(case)]
    began_s = time.monotonic()
    results: list[Result] = []
    left: list[str] = []
    with suppress(KeyboardInterrupt):  # the table of what was tried until then
        for result in trials(cases, parts, jobs=options.jobs):
            if isinstance(result, str):
                left.append(result)
                sys.stdout.write(f"WRONG in the end: {result}\n")
            else:
                results.append(result)
                sys.stdout.write(f"{len(results)}/{len(cases)} {_in_words(result)}\n")
            sys.stdout.flush()
    minutes = (time.monotonic() - began_s) / 60
    sys.stdout.write("\n".join(_table(results)) + "\n")
    wrong_count = sum(bool(result.wrongs) for result in results)
    sys.stdout.write(
        f"\nseed {options.seed}, {parts}, {options.jobs} at a time: {len(results)} of {len(cases)} cases in "
        f"{minutes:.1f} minutes, {wrong_count} wrong, {len(left)} wrong in the end\n"
    )
    return 1 if wrong_count or left or len(results) < len(cases) else 0


def _in_words(result: Result) -> str:
    not_struck = "" if result.struck else " (never came to that point)"
    wrong = "".join(f"\n    WRONG: {text}" for text in result.wrongs)
    return f"{result.case}: {result.phase}{not_struck}, {result.seconds:.1f} s{wrong}"


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m kills", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--sample", type=int, default=0, help="so many cases instead of the whole matrix")
    parser.add_argument("--only", default="", help="cases whose words contain this")
    parser.add_argument("--jobs", type=int, default=2, help="so many worlds, each with a case at a time")
    parser.add_argument("--driver", type=ArrayDriver, default=ArrayDriver.EMBEDDED, choices=list(ArrayDriver))
    parser.add_argument("--engine", type=ServerDriver, default=ServerDriver.PROCESS, choices=list(ServerDriver))
    parser.add_argument("--prefect", action="store_true", help="behind a real Prefect server: kill it and the workers")
    parser.add_argument("--store", default="moto", choices=list(STORES))
    return parser.parse_args(arguments)


def _table(results: list[Result]) -> Iterator[str]:
    """Return the results by what was killed."""
    rows: dict[tuple[str, str], list[Result]] = defaultdict(list)
    for result in results:
        rows[result.case.kind, result.case.victim].append(result)
    yield "| run | killed | cases | struck | done | taken back | wrong |"
    yield "|---|---|---:|---:|---:|---:|---:|"
    for (kind, victim), of_row in sorted(rows.items()):
        yield _row(kind, victim, of_row)
    yield _row("all", "", results)


def _row(kind: str, victim: str, of_row: list[Result]) -> str:
    done = sum(result.phase is Phase.DONE for result in of_row)
    back = sum(result.phase is Phase.REVERTED for result in of_row)
    struck = sum(result.struck for result in of_row)
    wrong = sum(bool(result.wrongs) for result in of_row)
    return f"| {kind} | {victim} | {len(of_row)} | {struck} | {done} | {back} | {wrong} |"
