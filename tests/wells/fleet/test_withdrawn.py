"""A well that is gone does not fail every night for ever, and nothing is lost in silence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from s3 import fresh_prefix

from nightwell.errors import FormatError, InputError, NotFoundError
from nightwell.store import StoreLocation
from nightwell.wells.archive import Place
from nightwell.wells.fleet.catalogue import candidates_in
from nightwell.wells.fleet.find_stale import find_stale
from nightwell.wells.fleet.night import run_night
from nightwell.wells.fleet.well_task import Ending
from nightwell.wells.fleet.withdrawn import analysed_wells, take_back, withdraw, withdrawn_of
from nightwell.wells.method import Method

WELLS = [f"SIMULATED-{number:05d}" for number in range(3)]


@pytest.fixture
def scans(fleet: Path, tmp_path: Path) -> Path:
    """Return scans of one well that can be read, and of one that never will be again."""
    shutil.copytree(fleet / f"{WELLS[0]}.zarr", tmp_path / "scans" / "good")
    (tmp_path / "scans" / "broken").mkdir()
    (tmp_path / "scans" / "broken" / "zarr.json").write_text("{")
    return tmp_path / "scans"


def night_of(scans: Path, method: Method, results: Path) -> list[tuple[str, Ending]]:
    def no_cluster() -> None:
        pytest.fail("a cluster was started with nothing to do")

    done = run_night(candidates_in(scans).candidates, method, results, no_cluster, memory_bytes=1 << 30)  # type: ignore[arg-type]  # never called
    return [(one.well, one.ending) for one in done.outcomes]


def test_a_withdrawn_well_or_place_is_passed_over_by_name_until_it_is_taken_back(
    scans: Path, method: Method, tmp_path: Path
) -> None:
    results, known = tmp_path / "results", frozenset({"broken", WELLS[0]})
    withdraw(results, WELLS[0], "another company's", known=known)
    assert night_of(scans, method, results) == [("", Ending.FAILED), (WELLS[0], Ending.WITHDRAWN)]
    withdraw(results, "broken", "its disk is gone", known=known)
    done = run_night(candidates_in(scans).candidates, method, results, None, memory_bytes=1 << 30)  # type: ignore[arg-type]  # never called
    assert done.summary == "0 of 0 wells failed; 0 computed, 0 restored, 0 current; 2 withdrawn"
    (broken,) = (one for one in done.outcomes if one.well == "broken")
    assert "its disk is gone" in broken.reasons[0]
    assert (scans / "good").is_dir(), "scans stay"

    take_back(results, WELLS[0])
    plan = find_stale(candidates_in(scans).candidates, method, results)
    assert [one.scans.well for one in plan.needs] == [WELLS[0]]
    assert [one.note.name for one in plan.withdrawn] == ["broken"]
    with pytest.raises(NotFoundError, match="no note of that name"):
        take_back(results, WELLS[0])


def test_a_mistyped_name_a_withdrawal_without_a_reason_and_an_edited_note_are_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"none of that name; there are: A-1"):
        withdraw(tmp_path, "A-2", "gone", known=frozenset({"A-1"}))
    with pytest.raises(InputError, match="a reason"):
        withdraw(tmp_path, "A-1", " ", known=frozenset({"A-1"}))
    assert withdrawn_of(tmp_path) == {}
    withdraw(tmp_path, "well 7/a", "gone", known=frozenset({"well 7/a"}))
    assert set(withdrawn_of(tmp_path)) == {"well 7/a"}
    (note,) = (tmp_path / "withdrawn").iterdir()
    note.write_text("{}")
    with pytest.raises(FormatError, match="withdrawn well"):
        withdrawn_of(tmp_path)


def test_notes_are_kept_on_an_object_store_too(moto_server: StoreLocation) -> None:
    place: Place = fresh_prefix(moto_server)
    assert withdrawn_of(place) == {}
    assert analysed_wells(place) == frozenset()
    note = withdraw(place, "A 1", "gone", known=frozenset({"A 1"}))
    assert withdrawn_of(place) == {"A 1": note}
    take_back(place, "A 1")
    assert withdrawn_of(place) == {}
