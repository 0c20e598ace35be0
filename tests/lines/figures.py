"""What the proofs have measured, as a table below the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass

import pytest

PROPERTY = "road"
Tell = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Figure:
    """One row: what was done to the road, how long it took, how long the copy stood still, and how it ended."""

    what: str
    seconds: float
    outcome: str
    stall_s: float | None = None


@pytest.fixture
def tell(record_property: Callable[[str, object], None]) -> Tell:
    """Return what takes a row of the table."""

    def take(what: str, seconds: float, outcome: str, stall_s: float | None = None) -> None:
        record_property(PROPERTY, asdict(Figure(what, seconds, outcome, stall_s)))

    return take


def table(figures: Iterable[Figure]) -> str:
    """Return the table, as Markdown."""
    lines = ["| what | seconds | longest stall | outcome |", "|---|---|---|---|"]
    for figure in figures:
        stall = "-" if figure.stall_s is None else f"{figure.stall_s:.1f} s"
        lines.append(f"| {figure.what} | {figure.seconds:.1f} | {stall} | {figure.outcome} |")
    return "\n".join(lines)
