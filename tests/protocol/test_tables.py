"""What must hold for the tables, and for the page that shows them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nightwell.errors import InputError
from nightwell.protocol import TABLES, BackupMode, Mode, ProtocolTable, RestoreMode, RunKind, Site, Step
from nightwell.protocol.diagram import main, with_diagrams
from nightwell.protocol.verdicts import REMEDIES

ROOT = Path(__file__).parents[2]
MODES = [(table, mode) for table in TABLES.values() for mode in table.modes]


def test_every_protocol_has_its_modes() -> None:
    for (kind, _), table in TABLES.items():
        assert set(table.modes) == set(BackupMode if kind is RunKind.BACKUP else RestoreMode)


@pytest.mark.parametrize(("table", "mode"), MODES, ids=lambda value: getattr(value, "name", str(value)))
def test_a_table_is_sound(table: ProtocolTable, mode: Mode) -> None:
    rows = table.rows(mode)
    steps = [row.step for row in rows]
    assert len(set(steps)) == len(steps)
    pivot = table.index(mode, table.pivot)
    assert all(row.undo is None for row in rows[pivot + 1 :]), "nothing is undone after the pivot"
    assert pivot + 1 < len(rows), "a pivot is followed by cleanup"
    assert table.renewed is None or table.index(mode, table.renewed) < pivot
    assert table.thaw | table.ask <= {row.step for rows in table.modes.values() for row in rows if row.undo}
    owed = {row.undo for row in rows if row.undo} | set(steps[pivot + 1 :])
    assert owed <= REMEDIES.keys(), "a person is told what to do for everything that can be owed"


@pytest.mark.parametrize(("table", "mode"), MODES, ids=lambda value: getattr(value, "name", str(value)))
def test_everything_that_is_made_is_taken_away_on_both_ways(table: ProtocolTable, mode: Mode) -> None:
    """Each undo of what the run makes has its counterpart among the cleanup; the two ways out cannot drift apart."""
    rows = table.rows(mode)
    undos = {row.undo for row in rows if row.undo} - {Step.FENCE}
    assert undos <= {row.step for row in rows}


def test_the_pairs_existence_is_recorded_before_anything_is_made() -> None:
    table = TABLES[RunKind.BACKUP, Site.SOURCE]
    for mode in (BackupMode.SPLIT, BackupMode.PAIR):
        assert table.rows(mode)[0].step is Step.CHECK_PAIR
    assert set(table.records[Step.CHECK_PAIR]) == {"pair_existed", "secondary_existed", "secondary", "pair_state"}
    assert set(table.records[Step.CHECK_PAIR]) <= table.fixed


def test_the_diagrams_in_the_documentation_are_not_stale(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--check", str(ROOT / "docs" / "protocol.md")]) == 0, capsys.readouterr().err


def test_a_stale_diagram_is_found_and_written_anew(tmp_path: Path) -> None:
    fresh = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    page = tmp_path / "protocol.md"
    page.write_text(fresh.replace("wait_pair --> quiesce", "wait_pair --> split"), encoding="utf-8")
    assert main(["--check", str(page)]) == 1
    assert main([str(page)]) == 0
    assert page.read_text(encoding="utf-8") == fresh


def test_a_page_that_lacks_a_diagram_is_refused() -> None:
    with pytest.raises(InputError, match="backup/source/split"):
        with_diagrams("no markers")


def test_the_documentation_says_what_to_do_for_everything_owed() -> None:
    page = (ROOT / "docs" / "protocol.md").read_text(encoding="utf-8")
    for step in REMEDIES:
        assert f"| `{step}` |" in page
