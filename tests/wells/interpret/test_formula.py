"""The formula language: what it accepts, what it refuses, and what it carries along."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightwell.errors import InputError
from nightwell.wells.formula import Quantity, parse_condition, parse_formula


def quantity(name: str, *values: float, detected: bool = True) -> Quantity:
    known = np.array(values)
    return Quantity(known, {name: np.ones(1)}, np.full(known.size, detected), np.zeros(known.size, dtype=bool))


@pytest.mark.parametrize(
    "text",
    [
        "__import__('os').system('true')",
        "methane.real",
        "methane[0]",
        "methane ** 2",
        "methane // 2",
        "methane if ethane else 1",
        "lambda: 1",
        "[methane]",
        "'text'",
        "True",
        "total()",
        "total(methane + ethane)",
        "total(*methane)",
        "sum(methane)",
        "methane; ethane",
        "methane < ethane",
        "",
        "(" * 400 + "methane" + ")" * 400,
        "-" * 900 + "methane",
    ],
)
def test_what_is_not_arithmetic_is_refused(text: str) -> None:
    with pytest.raises(InputError, match="an indicator"):
        parse_formula(text, subject="an indicator")


@pytest.mark.parametrize("text", ["methane", "methane + 1", "methane == 1", "methane < 1 or ethane", "f(x) < 1"])
def test_what_is_not_a_comparison_is_no_condition(text: str) -> None:
    with pytest.raises(InputError, match="a class"):
        parse_condition(text, subject="a class")


@given(st.floats(1.0, 100.0), st.floats(1.0, 100.0), st.floats(1.0, 100.0))
def test_gradient_is_the_derivative(a: float, b: float, c: float) -> None:
    formula = parse_formula("100 * (a - b / 3) / (a + b + total(b, c)) - -c", subject="test")
    inputs = {"a": a, "b": b, "c": c}
    exact = formula.evaluate({name: quantity(name, value) for name, value in inputs.items()})
    for name, value in inputs.items():
        step = 1e-5 * value
        ends = [
            formula.evaluate({n: quantity(n, v + (sign * step if n == name else 0.0)) for n, v in inputs.items()})
            for sign in (-1.0, 1.0)
        ]
        slope = (ends[1].value - ends[0].value) / (2 * step)
        assert exact.gradient[name] == pytest.approx(slope, rel=1e-5, abs=1e-6)


def test_a_total_is_missing_only_when_all_of_it_is() -> None:
    formula = parse_formula("total(a, b, c)", subject="test")
    inputs = {"a": quantity("a", 1.0, np.nan, np.nan), "b": quantity("b", 2.0, 5.0, np.nan)}
    assert formula.evaluate(inputs).value == pytest.approx([3.0, 5.0, np.nan], nan_ok=True)
    assert formula.required == ()
    assert formula.totals == (("a", "b", "c"),)


def test_a_ratio_without_a_detected_denominator_is_not_a_number() -> None:
    formula = parse_formula("a / (b + c)", subject="test")
    found = formula.evaluate(
        {"a": quantity("a", 1.0), "b": quantity("b", 2.0, detected=False), "c": quantity("c", 1.0, detected=False)}
    )
    assert np.isnan(found.value).all()
    assert found.undetected_divisor.all()
    one_is_enough = formula.evaluate(
        {"a": quantity("a", 1.0), "b": quantity("b", 2.0, detected=False), "c": quantity("c", 1.0)}
    )
    assert one_is_enough.value == pytest.approx([1 / 3])


def test_a_condition_never_holds_where_something_is_missing() -> None:
    condition = parse_condition("not a < 1 or b > 0", subject="test")
    a, b = np.array([2.0, np.nan, 0.5, 0.5]), np.array([np.nan, 1.0, 1.0, -1.0])
    assert condition.holds({"a": a, "b": b}).tolist() == [False, False, True, False]


def test_names_with_a_dot_are_of_a_stream() -> None:
    formula = parse_formula("total(trap_gas.a, mud_fluid.a) / trap_gas.b", subject="test")
    assert formula.names == ("trap_gas.a", "mud_fluid.a", "trap_gas.b")
    assert formula.required == ("trap_gas.b",)
    assert [str(stream) for stream in formula.streams] == ["trap_gas", "mud_fluid"]
    found = formula.evaluate(
        {name: quantity(name, value) for name, value in (("trap_gas.a", 6.0), ("trap_gas.b", 2.0))}
    )
    assert found.value == pytest.approx([3.0])
    assert set(found.gradient) == {"trap_gas.a", "trap_gas.b"}
    for text in ("trap_gas.a.b", "total(trap_gas)", "a.b", "trap_gas.a()", "total(a.b, c)"):
        if text != "total(trap_gas)":
            with pytest.raises(InputError, match="an indicator"):
                parse_formula(text, subject="an indicator")
