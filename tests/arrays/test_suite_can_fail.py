"""Every clause of the array suite fails for an array that breaks it, and for that alone."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from arrays import broken, broken_splits

from nightwell.arrays.embedded.array import EmbeddedArray
from nightwell.arrays.serving import ArraySettings
from nightwell.testing.arrays import CLAUSES, Outcome, Workbench, run_suite

assert broken_splits  # importing it enters its arrays
BROKEN = broken.BROKEN


@pytest.fixture
def directory() -> Iterator[Path]:
    # In memory: 40-odd whole suites say nothing about disks.
    memory = Path("/dev/shm")
    path = Path(tempfile.mkdtemp(prefix="nightwell-", dir=memory if memory.is_dir() else None))
    yield path
    shutil.rmtree(path)


def failures(kind: type[EmbeddedArray], directory: Path) -> dict[str, str]:
    first, second = ArraySettings("first", directory / "first"), ArraySettings("second", directory / "second")
    with kind(first) as array, kind(second) as other:
        results = run_suite(array, Workbench(second=other))
    assert {result.clause for result in results} == set(CLAUSES)
    return {result.clause: result.detail for result in results if result.outcome is Outcome.FAILED}


def test_the_intact_array_fails_none(directory: Path) -> None:
    assert failures(EmbeddedArray, directory) == {}


def test_every_clause_has_a_broken_array() -> None:
    assert set(BROKEN) == set(CLAUSES)


@pytest.mark.parametrize("clause", BROKEN)
def test_exactly_the_broken_clause_fails(clause: str, directory: Path) -> None:
    found = failures(BROKEN[clause], directory)
    assert set(found) == {clause}, found
