"""What the demo reads aloud of a well: the shows of the trap gas, or that there is none and where gas rises."""

from __future__ import annotations

from flows.demo import _read_aloud
from nightwell.wells.findings import Finding, FindingKind
from nightwell.wells.streams import Stream


def a_finding(kind: FindingKind, stream: Stream, statement: str) -> Finding:
    return Finding(kind, stream, 1000.0, 1010.0, statement, "rule@1", "a source")


def test_shows_of_the_trap_gas_are_read_and_rises_only_where_there_is_none() -> None:
    rises = tuple(a_finding(FindingKind.RISE, Stream.TRAP_GAS, f"Gas rises {number}") for number in range(5))
    crushed = a_finding(FindingKind.SHOW, Stream.CUTTINGS_CRUSH, "Gas stands out in grains")
    show = a_finding(FindingKind.SHOW, Stream.TRAP_GAS, "Gas stands out")
    assert _read_aloud((*rises, crushed, show)) == ["1000-1010 m  Gas stands out."]
    assert _read_aloud((*rises, crushed)) == [
        "no show",
        "1000-1010 m  Gas rises 0.",
        "1000-1010 m  Gas rises 1.",
        "1000-1010 m  Gas rises 2.",
    ]
    assert _read_aloud(()) == ["no show"]
