"""Schedules: what is read, and every rule that refuses one, with its numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wells.acquisition.rigs import EXAMPLE, SMALL

from nightwell.errors import InputError, NotFoundError
from nightwell.wells.acquire.purge import Decay, carry_over, minimum_purge_s
from nightwell.wells.acquire.rules import errand_s, load, violations, wait_s
from nightwell.wells.acquire.schedule import parse_masses, parse_schedule, read_schedule

DECAYS = st.lists(st.builds(Decay, st.floats(0.01, 1.0), st.floats(0.1, 300.0)), min_size=1, max_size=4)


def edited(*changes: tuple[str, str]) -> str:
    """Return the small schedule with pieces replaced, each exactly once."""
    text = SMALL
    for before, after in changes:
        assert before in text, before
        text = text.replace(before, after, 1)
    return text


def element(name: str, *changes: tuple[str, str]) -> str:
    """Return the small schedule with pieces of one element replaced."""
    head, separator, tail = SMALL.partition(f'name = "{name}"')
    for before, after in changes:
        assert before in tail, before
        tail = tail.replace(before, after, 1)
    return head + separator + tail


def refusal(text: str) -> InputError:
    with pytest.raises(InputError) as caught:
        parse_schedule(text, source="s.toml")
    return caught.value


def test_one_exponential_is_the_closed_form() -> None:
    assert minimum_purge_s(100.0, 0.01, [Decay(1.0, 5.0)]) == pytest.approx(5.0 * math.log(100.0 / 0.01), rel=1e-12)
    assert minimum_purge_s(0.005, 0.01, [Decay(1.0, 5.0)]) == 0.0
    assert minimum_purge_s(100.0, 0.01, []) == 0.0


@given(st.floats(1e-2, 1e6), st.floats(1e-4, 0.5), DECAYS)
def test_the_least_purge_is_enough_and_no_less_is(contrast: float, tolerance: float, decays: list[Decay]) -> None:
    purge_s = minimum_purge_s(contrast, tolerance, decays)
    assert carry_over(purge_s, decays) * contrast <= tolerance * (1 + 1e-9)
    if purge_s > 0.0:
        assert carry_over(purge_s * 0.999, decays) * contrast > tolerance


def test_a_purge_for_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="above zero"):
        minimum_purge_s(0.0, 0.01, [Decay(1.0, 5.0)])


def test_the_schedule_that_ships_can_keep_its_rules() -> None:
    schedule = read_schedule(EXAMPLE)
    assert len(schedule.element) == 8
    assert schedule.mz == tuple(range(1, 121))
    assert list(violations(schedule)) == []


def test_the_schedule_of_the_documentation_can_keep_its_rules() -> None:
    page = (EXAMPLE.parents[3] / "docs" / "acquisition.md").read_text()
    (text,) = re.findall(r"(?ms)^```toml\n(.*?)^```", page)
    assert [one.kind for one in parse_schedule(text, source="page").element] == ["sample", "blank", "standard"]


def test_times_are_reckoned_as_by_hand() -> None:
    schedule = parse_schedule(SMALL, source="s.toml")
    crush = schedule.named("crush")
    assert crush is not None
    assert schedule.visit_s(crush) == 20 + 2 + 4 * 3
    assert errand_s(schedule, crush) == 34 + 2 * 25  # a blank before it and one after
    assert load(schedule)["crush"] == pytest.approx((84 + 25) / (10 / 30 * 3600))
    assert wait_s(schedule, crush) == (25 + 28 + 25) + 25 + 25 + 22  # the standard, the gas, a blank, the approach


@pytest.mark.parametrize(
    ("text", "rule", "numbers"),
    [
        (edited(('name = "blank"', 'name = "gas"')), "names", ["two elements 'gas'"]),
        (element("standard", ("valve_port = 3", "valve_port = 1")), "valve ports", ["port 1", "'gas'", "'standard'"]),
        (element("crush", ('by = "depth", every_m = 10', 'by = "idle"')), "idle", ["'gas' and 'crush'"]),
        (edited(('by = "idle"', 'by = "time", every_s = 60')), "trap gas rests", ["'gas' by time"]),
        (element("crush", ('by = "depth", every_m = 10', 'by = "rule"')), "rule trigger", ["'crush' is a sample"]),
        (
            element("standard", ('by = "time", every_s = 5400', 'by = "depth", every_m = 5')),
            "depth trigger", ["'standard' (trap_gas standard)"],
        ),
        (edited(('kind = "blank"', 'kind = "standard"'), ('by = "rule"', 'by = "time", every_s = 5000')),
         "blank after high", ["no element of kind blank"]),
        (element("crush", ("mz = [15, 28, 40]", "mz = [28, 40]")), "blank after high", ["'crush'", "m/z 15"]),
        (edited(("tau_s = 2.0", "tau_s = 5.0")), "minimum purge", ["34.5 s", "contrast of 10", "purges 20 s"]),
        (element("crush", ("scans = 4", "scans = 80")), "trap gas age",
         ["300 s", "'crush' takes up to 262 s", "blanks around it 50 s", "334 s"]),
        (edited(("standard_every_h = 2", "standard_every_h = 1.5")), "standard", ["5400 s", "wait 156 s more"]),
        (element("standard", ('by = "time", every_s = 5400', 'by = "time", every_s = 80')),
             "load", ["'standard' 98 %"]),
        (edited(("every_m = 10", "every_m = 0.5")), "load", ["'crush' 182 %"]),
        (edited(("maximum_age_s = 1200", "maximum_age_s = 100")), "sample age", ["100 s", "150 s"]),
    ],
)  # fmt: skip
def test_a_schedule_that_cannot_keep_its_rules_is_refused(text: str, rule: str, numbers: list[str]) -> None:
    error = refusal(text)
    assert error.subject == f"schedule s.toml, rule '{rule}'"
    for number in numbers:
        assert number in f"{error.expected}; {error.found}", str(error)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("format = 1\nname = ", "TOML"),
        ("format = 2\n", "format up to 1"),
        (edited(("purge_s = 20", "purge_s = -1")), "element 'gas', purge_s"),
        (edited(("purge_s = 20", "prge_s = 20")), "element 'gas', prge_s"),
        (edited(("purge_s = 20", "purge_s = nan")), "element 'gas', purge_s"),
        (edited(("purge_s = 20", "purge_s = 20\nlongest_purge_s = 5")), "longest_purge_s 5 is shorter"),
        (edited(('"trap_gas"', '"trap_gass"')), "'trap_gass'"),
        (edited(("mz = [15, 28, 40]", "mz = [15, 15]")), "twice"),
        (edited(("mz = [15, 28, 40]", "mz = []")), "at least one"),
        (edited(("mz = [15, 28, 40]", 'mz = "15, 14.5"')), "'14.5' is no m/z"),
        (edited(("mz = [15, 28, 40]", "mz = [15, 14.5]")), "14.5"),
        (edited(("tolerance = 0.01", "tolerance = 0")), "carry_over, tolerance"),
        ('format = 1\nname = "n"\nelement = []', "element"),
    ],
)
def test_what_is_no_schedule_is_refused_by_name(text: str, said: str) -> None:
    assert said in str(refusal(text))


def test_masses_are_read_as_people_write_them() -> None:
    assert parse_masses("1-3, 78") == (1, 2, 3, 78)
    for text in ("3-1", "", "a", "1-", "1,,2"):
        with pytest.raises(ValueError, match="is no m/z"):
            parse_masses(text)


def test_files_that_are_no_schedule(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match=r"gone\.toml"):
        read_schedule(tmp_path / "gone.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match="UTF-8"):
        read_schedule(tmp_path / "bytes.toml")
