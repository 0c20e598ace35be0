"""The conformance suite of array drivers.

A driver joins with a test class of its own::

    class TestMyArray(ArrayConformance):
        @pytest.fixture
        def array(self) -> Array:
            return MyArray(...)

        @pytest.fixture
        def workbench(self) -> Workbench:
            return Workbench(second=MyArray(...))

A person's own array is tried with :func:`run_suite` (``nightwell validate array``): it makes small volumes whose names
begin with ``nightwell-check-``, and removes them again. The clauses reach the array through its port, and its volumes
over NBD as a host would, never through the driver's own files.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from nightwell.arrays.port import Array
from nightwell.errors import NightwellError
from nightwell.testing import array_line_clauses, array_pair_clauses, array_split_clauses, array_volume_clauses
from nightwell.testing.array_bench import CLAUSES, Clause, ClauseFailed, NotObserved, Workbench

__all__ = [
    "CLAUSES",
    "ArrayConformance",
    "Clause",
    "ClauseFailed",
    "ClauseResult",
    "Outcome",
    "Workbench",
    "check_clause",
    "run_suite",
]

# Importing a module of clauses enters them; their order here is the order of the suite.
_ROOMS = (array_volume_clauses, array_pair_clauses, array_split_clauses, array_line_clauses)


class Outcome(StrEnum):
    """What came of a clause."""

    PASSED = "passed"
    FAILED = "failed"
    NOT_OFFERED = "not offered"  # the array does not claim the capability, or there is no second array
    NOT_OBSERVED = "not observed"  # the array was too quick to be looked at


@dataclass(frozen=True, slots=True)
class ClauseResult:
    """One clause tried on one array.

    ``left_behind`` names what the clause made and could not remove again.
    """

    clause: str
    outcome: Outcome
    detail: str
    seconds: float
    left_behind: tuple[str, ...] = ()


def check_clause(clause: Clause, array: Array, workbench: Workbench) -> ClauseResult:
    """Try one clause and clean up after it; an error of the array is an outcome, never raised."""
    start = time.monotonic()
    outcome, detail = _try(clause, array, workbench)
    left: tuple[str, ...] = ()
    for used in (workbench.second, array):
        if used is not None:
            try:
                left += workbench.clean(used)
            except (NightwellError, OSError) as problem:
                left += (f"what the clause made: {problem}",)
    return ClauseResult(clause.name, outcome, detail, time.monotonic() - start, left)


def _try(clause: Clause, array: Array, workbench: Workbench) -> tuple[Outcome, str]:
    try:
        if clause.capability and not getattr(array.capabilities, clause.capability):
            return Outcome.NOT_OFFERED, f"the array does not claim {clause.capability}"
        if clause.needs_second and workbench.second is None:
            return Outcome.NOT_OFFERED, "there is no second array to import with"
        clause.check(array, workbench)
    except ClauseFailed as problem:
        return Outcome.FAILED, str(problem)
    except NotObserved as problem:
        return Outcome.NOT_OBSERVED, str(problem)
    except Exception as problem:  # noqa: BLE001 - whatever a driver raises where it should not is its failure
        return Outcome.FAILED, f"unexpected {type(problem).__name__}: {problem}"
    return Outcome.PASSED, ""


def run_suite(
    array: Array, workbench: Workbench, progress: Callable[[ClauseResult], None] | None = None
) -> tuple[ClauseResult, ...]:
    """Try every clause on an array.

    Parameters
    ----------
    array
        The array under test.
    workbench
        How to reach it; with a second array for the clauses about imports.
    progress
        Called after each clause.
    """
    results = []
    for clause in CLAUSES.values():
        result = check_clause(clause, array, workbench)
        results.append(result)
        if progress is not None:
            progress(result)
    return tuple(results)


class ArrayConformance:
    """The suite as a pytest class: one test per clause, with the fixtures ``array`` and ``workbench`` of the driver."""

    def pytest_generate_tests(self, metafunc: Any) -> None:
        """Make one test of each clause."""
        if "clause" in metafunc.fixturenames:
            metafunc.parametrize("clause", CLAUSES.values(), ids=CLAUSES.keys())

    def test_clause(self, clause: Clause, array: Array, workbench: Workbench) -> None:
        """Try one clause; one that the array does not offer is skipped with the reason."""
        result = check_clause(clause, array, workbench)
        if result.outcome in {Outcome.NOT_OFFERED, Outcome.NOT_OBSERVED}:
            import pytest  # noqa: PLC0415 - the suite is also run where pytest is not installed

            pytest.skip(result.detail)
        if result.outcome is Outcome.FAILED:
            raise AssertionError(f"{clause.says} {result.detail}")
        if result.left_behind:
            raise AssertionError(f"could not be removed: {'; '.join(result.left_behind)}")
