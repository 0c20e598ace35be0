"""Unit conversion: what stands in a header becomes the contract's unit, through pint, or is refused by name."""

from __future__ import annotations

from functools import cache

import numpy as np
import pint
from numpy.typing import NDArray

from nightwell.errors import InputError

# Spellings of the rigs, in pint's words. Amounts of gas are by volume.
_SPELLINGS = {
    "%": "percent",
    "%vol": "percent",
    "% vol": "percent",
    "vol%": "percent",
    "pct": "percent",
    "ppmv": "ppm",
    "ppm vol": "ppm",
    "gpm": "gallon/minute",
    "galus/min": "gallon/minute",
    "gal/min": "gallon/minute",
    "lpm": "liter/minute",
    "l/min": "liter/minute",
    "lit/min": "liter/minute",
    "l/m": "liter/minute",
    "bpm": "oil_barrel/minute",
    "bbl/min": "oil_barrel/minute",
    "bbl": "oil_barrel",
    "m3/h": "meter**3/hour",
    "m3/hr": "meter**3/hour",
    "m3/min": "meter**3/minute",
    "m3/s": "meter**3/second",
    "m/hr": "meter/hour",
    "ft/h": "foot/hour",
    "ft/hr": "foot/hour",
    "f/hr": "foot/hour",
    "in": "inch",
    '"': "inch",
    "inches": "inch",
    "ft": "foot",
    "f": "foot",
    "feet": "foot",
    "metres": "meter",
    "c/min": "1/minute",
    "spm": "1/minute",
    "torr": "torr",
    "g/cm3": "gram/centimeter**3",
    "g/cc": "gram/centimeter**3",
    "sg": "gram/centimeter**3",
    "ppg": "pound/gallon",
    "lb/gal": "pound/gallon",
    "kg/m3": "kilogram/meter**3",
    "kgm3": "kilogram/meter**3",
    "1": "dimensionless",
}


@cache
def registry() -> pint.UnitRegistry[float]:
    """Return the one unit registry (made on first use: it reads a file)."""
    return pint.UnitRegistry(on_redefinition="raise")


def convert(values: NDArray[np.float64], unit: str, target: str, *, subject: str) -> NDArray[np.float64]:
    """Convert values from the unit of a header to the unit of the contract.

    Parameters
    ----------
    values
        float64; NaN stays NaN.
    unit, target
        As written in a header (``gpm``, ``%``) and in the contract (``m3/s``, ``ppm``).
    subject
        What is converted, for the error: ``column 'Pump flow (gpm)'``.

    Raises
    ------
    InputError
        The unit is unknown, or measures something else.
    """
    if unit == target:
        return values
    factor = _factor(unit.strip(), target)
    if factor is None:
        raise _unusable(subject, f"a known unit that converts to {target}", unit)
    return values * factor


@cache
def _factor(unit: str, target: str) -> float | None:
    """Return the factor between two units; ``None`` when the first is unknown, or measures something else."""
    units = registry()
    wanted = units.Unit(_SPELLINGS.get(target.lower(), target))
    # LAS headers shout: M is a metre there and a mole per litre elsewhere, so the first reading that fits counts.
    for reading in (_SPELLINGS.get(unit.lower(), unit), unit, unit.lower()):
        try:
            return float(units.Quantity(1.0, units.Unit(reading)).to(wanted).magnitude)
        except Exception:  # noqa: BLE001, S112 - pint raises errors of its parser and tokenizer, too
            continue
    return None


def _unusable(subject: str, expected: str, found: str) -> InputError:
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause="the header names another quantity, or a spelling that is not known here",
        next_step="correct the unit in the header",
    )
