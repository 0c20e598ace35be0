"""Numbers of several spectra side by side, for compiled functions: one instruction of the processor works on all lanes.

A ``Lanes`` value holds ``LANES`` float64 in a register of the processor. Compilers turn a plain loop into such
instructions only where they can prove that arrays do not overlap, which in compiled Python they cannot.

The functions here exist inside compiled functions alone. What a machine has no wide registers for is done in narrower
ones.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.core.datamodel import models
from numba.extending import intrinsic, register_model
from numba.np import arrayobj
from numpy.typing import NDArray


def forget_stale(folder: Path) -> None:
    """Remove compiled functions that are older than any source file of the solver: Numba looks at their own file alone.

    What one file calls of another is compiled into it, so a change would go unseen.
    """
    newest = max(path.stat().st_mtime_ns for path in (*folder.glob("nnls*.py"), *folder.glob("lanes.py")))
    for index in (folder / "__pycache__").glob("nnls*.nbi"):
        with suppress(OSError):  # gone, or a folder that others own: then Numba keeps its files elsewhere
            if index.stat().st_mtime_ns < newest:
                index.unlink()


forget_stale(Path(__file__).parent)

_Function = TypeVar("_Function", bound=Callable[..., object])
# Without the interpreter lock, so that dask's threads share the work; cached, so that only the first run compiles.
# "contract" lets a product and a sum round once instead of twice; nothing else of the arithmetic is loosened.
compiled = cast(
    "Callable[[_Function], _Function]",
    numba.njit(cache=True, nogil=True, error_model="numpy", fastmath={"contract"}),
)
_inside = cast("Callable[[Callable[..., Any]], Callable[..., Any]]", intrinsic)

#: Spectra side by side: 64 bytes, a line of the cache, and the widest registers that processors have.
LANES = 8

_LINE_BYTES = 64
_CONTRACT = ("contract",)
_VECTOR = ir.VectorType(ir.DoubleType(), LANES)


class Lanes(types.Type):
    """The type of a value with one number for each lane."""

    def __init__(self) -> None:
        super().__init__(name=f"Lanes({LANES})")


@register_model(Lanes)
class _Model(models.PrimitiveModel):
    def __init__(self, manager: object, of: Lanes) -> None:
        super().__init__(manager, of, _VECTOR)  # type: ignore[no-untyped-call]  # numba has no types


_LANES = Lanes()


def _address(context: Any, builder: Any, array_type: Any, array: Any, row: Any) -> Any:
    data = arrayobj.make_array(array_type)(context, builder, array).data
    first = builder.mul(row, ir.Constant(row.type, LANES))
    return builder.bitcast(builder.gep(data, [first]), _VECTOR.as_pointer())


def _call(builder: Any, name: str, value: Any) -> Any:
    kind = ir.FunctionType(_VECTOR, [_VECTOR])
    return builder.call(cgutils.get_or_insert_function(builder.module, kind, f"llvm.{name}.v{LANES}f64"), [value])


@_inside
def load(_: Any, array: Any, row: Any) -> Any:
    """Return row ``row`` of a contiguous array of float64, dims (rows, LANES)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row = arguments
        return builder.load(_address(context, builder, signature.args[0], array, row), align=8)

    return _LANES(array, row), generate


@_inside
def store(_: Any, array: Any, row: Any, value: Any) -> Any:
    """Write a value to row ``row`` of a contiguous array of float64, dims (rows, LANES)."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array, row, value = arguments
        builder.store(value, _address(context, builder, signature.args[0], array, row), align=8)
        return context.get_dummy_value()

    return types.none(array, row, value), generate


@_inside
def spread(_: Any, number: Any) -> Any:
    """Return one number in all lanes."""

    def generate(_context: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        one = builder.insert_element(cgutils.get_null_value(_VECTOR), arguments[0], ir.Constant(ir.IntType(32), 0))
        same = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [0] * LANES)
        return builder.shuffle_vector(one, one, same)

    return _LANES(number), generate


@_inside
def add(_: Any, a: Any, b: Any) -> Any:
    """Return ``a + b``."""
    return _LANES(a, b), lambda _context, builder, _signature, of: builder.fadd(*of, flags=_CONTRACT)


@_inside
def subtract(_: Any, a: Any, b: Any) -> Any:
    """Return ``a - b``."""
    return _LANES(a, b), lambda _context, builder, _signature, of: builder.fsub(*of, flags=_CONTRACT)


@_inside
def multiply(_: Any, a: Any, b: Any) -> Any:
    """Return ``a * b``."""
    return _LANES(a, b), lambda _context, builder, _signature, of: builder.fmul(*of, flags=_CONTRACT)


@_inside
def divide(_: Any, a: Any, b: Any) -> Any:
    """Return ``a / b``."""
    return _LANES(a, b), lambda _context, builder, _signature, of: builder.fdiv(*of)


@_inside
def add_product(_: Any, total: Any, a: Any, b: Any) -> Any:
    """Return ``total + a * b``."""

    def generate(_context: Any, builder: Any, _signature: Any, of: Any) -> Any:
        return builder.fadd(of[0], builder.fmul(of[1], of[2], flags=_CONTRACT), flags=_CONTRACT)

    return _LANES(total, a, b), generate


@_inside
def less_product(_: Any, total: Any, a: Any, b: Any) -> Any:
    """Return ``total - a * b``."""

    def generate(_context: Any, builder: Any, _signature: Any, of: Any) -> Any:
        return builder.fsub(of[0], builder.fmul(of[1], of[2], flags=_CONTRACT), flags=_CONTRACT)

    return _LANES(total, a, b), generate


@_inside
def where_above(_: Any, a: Any, b: Any, then: Any, otherwise: Any) -> Any:
    """Return ``then`` in lanes where ``a > b`` and ``otherwise`` in the others, also where one is NaN."""

    def generate(_context: Any, builder: Any, _signature: Any, of: Any) -> Any:
        return builder.select(builder.fcmp_ordered(">", of[0], of[1]), of[2], of[3])

    return _LANES(a, b, then, otherwise), generate


@_inside
def larger(_: Any, most: Any, a: Any) -> Any:
    """Return ``abs(a)`` in lanes where it is above ``most``, which is not negative, and ``most`` in the others."""

    def generate(_context: Any, builder: Any, _signature: Any, of: Any) -> Any:
        magnitude = _call(builder, "fabs", of[1])
        return builder.select(builder.fcmp_unordered(">", magnitude, of[0]), magnitude, of[0])

    return _LANES(most, a), generate


@_inside
def root(_: Any, a: Any) -> Any:
    """Return the square root."""
    return _LANES(a), lambda _context, builder, _signature, of: _call(builder, "sqrt", of[0])


def lanes(rows: int) -> NDArray[np.float64]:
    """Return zeros for ``rows`` values, each on a line of the cache: to reach over two costs twice the time."""
    room = np.zeros((rows + 1) * LANES)
    first = -room.ctypes.data % _LINE_BYTES // room.itemsize
    return room[first : first + rows * LANES].reshape(rows, LANES)
