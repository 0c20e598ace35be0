"""A small language for indicators: arithmetic over named curves, with sigma, detection and missing values carried.

``+ - * /``, numbers, names, parentheses, and ``total(a, b, ...)``: the sum of those of its inputs that were measured.
Comparisons joined by ``and``, ``or``, ``not`` make conditions. ``trap_gas.methane`` is the methane of one stream, for
indicators across streams. The text is parsed by Python's own parser and only these nodes are accepted; it is never
evaluated as Python.
"""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]

_ARITHMETIC = (ast.Add, ast.Sub, ast.Mult, ast.Div)
_COMPARISONS: dict[type[ast.cmpop], Callable[[Floats, Floats], Bools]] = {
    ast.Lt: np.less,
    ast.LtE: np.less_equal,
    ast.Gt: np.greater,
    ast.GtE: np.greater_equal,
}
_LONGEST_FORMULA = 600


@dataclass(frozen=True, slots=True)
class Quantity:
    """One value per depth, with all that an indicator needs to know of it.

    Parameters
    ----------
    value
        float64 (depth,); NaN where missing.
    gradient
        Derivative with respect to each input, by name.
    detected
        Whether any of the inputs it was made from is above its detection limit.
    undetected_divisor
        Whether it was divided by something not detected; ``value`` is then NaN.
    """

    value: Floats
    gradient: Mapping[str, Floats] = field(default_factory=dict)
    detected: Bools = field(default_factory=lambda: np.ones(1, dtype=bool))
    undetected_divisor: Bools = field(default_factory=lambda: np.zeros(1, dtype=bool))


@dataclass(frozen=True, slots=True)
class Formula:
    """A parsed formula; made by :func:`parse_formula`."""

    text: str
    tree: ast.expr = field(repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all inputs, in order of appearance."""
        return _all_names(self.tree)

    @property
    def required(self) -> tuple[str, ...]:
        """Names of the inputs that must exist: all but those inside ``total``, of which one is enough."""
        return _all_names(self.tree, inside_total=False)

    @property
    def totals(self) -> tuple[tuple[str, ...], ...]:
        """Names inside each ``total``."""
        return _names_in_totals(self.tree)

    @property
    def streams(self) -> tuple[Stream, ...]:
        """Streams that names with a dot ask for, in order of appearance; none for a formula of any one stream."""
        parts = (split_name(name)[0] for name in self.names)
        return tuple(dict.fromkeys(stream for stream in parts if stream is not None))

    def evaluate(self, inputs: Mapping[str, Quantity]) -> Quantity:
        """Evaluate the formula for many depths at once.

        Parameters
        ----------
        inputs
            Every name in :attr:`required`, and one or more of every ``total``.
        """
        return _evaluate(self.tree, inputs)


@dataclass(frozen=True, slots=True)
class Condition:
    """A parsed condition; made by :func:`parse_condition`."""

    text: str
    tree: ast.expr = field(repr=False, compare=False)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of all inputs, in order of appearance."""
        return _all_names(self.tree)

    def holds(self, inputs: Mapping[str, Floats]) -> Bools:
        """Tell where the condition holds; never where an input is missing (NaN compares false)."""
        known = np.logical_and.reduce([np.isfinite(inputs[name]) for name in self.names])
        return np.asarray(_holds(self.tree, inputs) & known)


def split_name(name: str) -> tuple[Stream | None, str]:
    """Split ``trap_gas.methane`` into its stream and its species; a name without a dot has no stream."""
    stream, dot, species = name.partition(".")
    return (Stream(stream), species) if dot else (None, name)


def parse_formula(text: str, *, subject: str) -> Formula:
    """Parse a formula.

    Parameters
    ----------
    text
        The formula.
    subject
        Where it stands, for the error.

    Raises
    ------
    InputError
        It is not a formula of the language.
    """
    tree = _parse(text, subject)
    _check_formula(tree, text, subject)
    return Formula(" ".join(text.split()), tree)


def parse_condition(text: str, *, subject: str) -> Condition:
    """Parse a condition; parameters and errors as :func:`parse_formula`."""
    tree = _parse(text, subject)
    _check_condition(tree, text, subject)
    return Condition(text, tree)


def _parse(text: str, subject: str) -> ast.expr:
    if len(text) > _LONGEST_FORMULA:
        raise _refuse(subject, f"up to {_LONGEST_FORMULA} characters", f"{len(text)}")
    try:
        return ast.parse(" ".join(text.split()), mode="eval").body
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _refuse(subject, "arithmetic over names of species", f"{text!r} ({error})") from error


def _check_formula(node: ast.expr, text: str, subject: str) -> None:
    match node:
        case ast.BinOp(left=left, op=op, right=right) if isinstance(op, _ARITHMETIC):
            _check_formula(left, text, subject)
            _check_formula(right, text, subject)
        case ast.UnaryOp(op=ast.USub(), operand=operand):
            _check_formula(operand, text, subject)
        case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
            pass
        case ast.Name():
            pass
        case ast.Attribute(value=ast.Name(id=stream)):
            if stream not in tuple(Stream):
                raise _refuse(subject, f"one of {', '.join(Stream)} before the dot", repr(ast.unparse(node)))
        case ast.Call(func=ast.Name(id="total"), args=[_, *_] as names, keywords=[]):
            for name in names:
                if not isinstance(name, ast.Name | ast.Attribute):
                    raise _refuse(subject, "names only inside total(...)", repr(ast.unparse(node)))
                _check_formula(name, text, subject)
        case _:
            raise _refuse(subject, "+ - * / ( ), numbers, names and total(a, b, ...)", repr(ast.unparse(node)))


def _check_condition(node: ast.expr, text: str, subject: str) -> None:
    match node:
        case ast.BoolOp(values=values):
            for value in values:
                _check_condition(value, text, subject)
        case ast.UnaryOp(op=ast.Not(), operand=operand):
            _check_condition(operand, text, subject)
        case ast.Compare(left=left, ops=ops, comparators=comparators) if all(type(op) in _COMPARISONS for op in ops):
            for side in (left, *comparators):
                _check_formula(side, text, subject)
        case _:
            raise _refuse(subject, "comparisons (< <= > >=) joined by and, or, not", repr(ast.unparse(node)))


@lru_cache(maxsize=4096)  # asked for with every block of depths, by each of some fifty profiles
def _all_names(node: ast.AST, *, inside_total: bool = True) -> tuple[str, ...]:
    return tuple(dict.fromkeys(_names(node, inside_total=inside_total)))


@lru_cache(maxsize=4096)
def _names_in_totals(tree: ast.AST) -> tuple[tuple[str, ...], ...]:
    return tuple(tuple(_names(node)) for node in ast.walk(tree) if isinstance(node, ast.Call))


def _names(node: ast.AST, *, inside_total: bool = True) -> Iterator[str]:
    if isinstance(node, ast.Call):
        if inside_total:
            for argument in node.args:
                yield from _names(argument)
        return
    if isinstance(node, ast.Name | ast.Attribute):
        yield ast.unparse(node)
        return
    for child in ast.iter_child_nodes(node):
        yield from _names(child, inside_total=inside_total)


def _evaluate(node: ast.expr, inputs: Mapping[str, Quantity]) -> Quantity:
    match node:
        case ast.Constant(value=value):
            return Quantity(np.array([float(value)]), detected=np.zeros(1, dtype=bool))  # type: ignore[arg-type]  # checked when parsed
        case ast.Name() | ast.Attribute():
            return inputs[ast.unparse(node)]
        case ast.UnaryOp(operand=operand):
            return _scaled(_evaluate(operand, inputs), np.array([-1.0]))
        case ast.Call(args=names):
            return _total([inputs[name] for name in map(ast.unparse, names) if name in inputs])
        case ast.BinOp(left=left, op=op, right=right):
            return _operated(_evaluate(left, inputs), op, _evaluate(right, inputs))
        case _:
            raise AssertionError(ast.dump(node))


def _operated(first: Quantity, op: ast.operator, second: Quantity) -> Quantity:
    if isinstance(op, ast.Div):
        return _divided(first, second)
    if isinstance(op, ast.Mult):
        return _combined(first.value * second.value, first, second.value, second, first.value)
    sign = np.array([1.0 if isinstance(op, ast.Add) else -1.0])
    return _combined(first.value + sign * second.value, first, np.array([1.0]), second, sign)


def _scaled(one: Quantity, factor: Floats) -> Quantity:
    gradient = {name: slope * factor for name, slope in one.gradient.items()}
    return Quantity(one.value * factor, gradient, one.detected, one.undetected_divisor)


def _combined(value: Floats, first: Quantity, by_first: Floats, second: Quantity, by_second: Floats) -> Quantity:
    """Make a quantity of two others from its value and its partial derivatives (the chain rule)."""
    gradient = {name: slope * by_first for name, slope in first.gradient.items()}
    for name, slope in second.gradient.items():
        gradient[name] = gradient.get(name, np.zeros(1)) + slope * by_second
    return Quantity(
        value, gradient, first.detected | second.detected, first.undetected_divisor | second.undetected_divisor
    )


def _divided(first: Quantity, second: Quantity) -> Quantity:
    unknown = np.isnan(second.value)
    undetected = (
        np.zeros(1, dtype=bool) if not second.gradient else (~second.detected | (second.value <= 0.0)) & ~unknown
    )
    divisor = np.where(undetected | (second.value == 0.0), np.nan, second.value)
    value = first.value / divisor
    ratio = _combined(value, first, 1.0 / divisor, second, -value / divisor)
    # What counts as detected is the numerator: the denominator is, or there is no ratio.
    detected = second.detected if not first.gradient else first.detected
    return Quantity(ratio.value, ratio.gradient, detected, ratio.undetected_divisor | undetected)


def _total(parts: list[Quantity]) -> Quantity:
    """Sum what was measured; missing only where every part is missing."""
    known = [np.isfinite(part.value) for part in parts]
    summed = sum(np.where(ok, part.value, 0.0) for ok, part in zip(known, parts, strict=True))
    value = np.where(np.logical_or.reduce(known), summed, np.nan)
    gradient: dict[str, Floats] = {}
    for ok, part in zip(known, parts, strict=True):
        for name, slope in part.gradient.items():
            gradient[name] = gradient.get(name, np.zeros(1)) + np.where(ok, slope, 0.0)
    detected = np.logical_or.reduce([part.detected & ok for ok, part in zip(known, parts, strict=True)])
    return Quantity(value, gradient, detected, np.zeros(1, dtype=bool))


def _holds(node: ast.expr, inputs: Mapping[str, Floats]) -> Bools:
    match node:
        case ast.BoolOp(op=op, values=values):
            parts = [_holds(value, inputs) for value in values]
            return np.asarray((np.logical_and if isinstance(op, ast.And) else np.logical_or).reduce(parts))
        case ast.UnaryOp(operand=operand):
            return ~_holds(operand, inputs)
        case ast.Compare(left=left, ops=ops, comparators=comparators):
            sides = [_number(side, inputs) for side in (left, *comparators)]
            pairs = zip(ops, sides[:-1], sides[1:], strict=True)
            return np.asarray(np.logical_and.reduce([_COMPARISONS[type(op)](a, b) for op, a, b in pairs]))
        case _:
            raise AssertionError(ast.dump(node))


def _number(node: ast.expr, inputs: Mapping[str, Floats]) -> Floats:
    plain = {
        name: Quantity(value, {name: np.ones(1)}, np.ones(1, dtype=bool), np.zeros(1, dtype=bool))
        for name, value in inputs.items()
    }
    return _evaluate(node, plain).value


def _refuse(subject: str, expected: str, found: str) -> InputError:
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause="a typing error, or something the formula language does not have",
        next_step="correct the formula in the profile's file; docs/indicators.md describes the language",
    )
