"""What one variable of a contract must be, and the check of a dataset against it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import xarray as xr

from nightwell.errors import InputError

TIME_DTYPE = "datetime64[ns]"


@dataclass(frozen=True, slots=True)
class Variable:
    """One line of a contract.

    Parameters
    ----------
    name, dims, dtype
        As they stand in the dataset; ``dtype`` in NumPy's words.
    units
        Required value of the ``units`` attribute; empty when the variable has none (times, codes).
    meaning
        One clause for people; written as ``long_name``.
    required
        Whether the variable may be left out.
    codes
        For coded variables, the meanings of the codes: CF flags.
    masks
        True when the codes are bits that may be set together (CF ``flag_masks``), not values.
    """

    name: str
    dims: tuple[str, ...]
    dtype: str
    units: str
    meaning: str
    required: bool = True
    codes: tuple[str, ...] = ()
    masks: bool = False

    def attributes(self) -> dict[str, object]:
        """Return the attributes the variable carries in the store."""
        attributes: dict[str, object] = {"long_name": self.meaning}
        if self.units:
            attributes["units"] = self.units
        if self.codes:
            values = [1 << bit for bit in range(len(self.codes))] if self.masks else list(range(len(self.codes)))
            attributes["flag_masks" if self.masks else "flag_values"] = values
            attributes["flag_meanings"] = " ".join(self.codes)
        return attributes


def check_variables(dataset: xr.Dataset, variables: tuple[Variable, ...], *, where: str) -> None:
    """Check presence, dimensions, dtype, units and codes; no value of a variable is read.

    Parameters
    ----------
    dataset
        The group to check.
    variables
        The contract's lines for that group.
    where
        The group as a person names it: ``group '/scans'``.

    Raises
    ------
    InputError
        Naming the variable, what was expected and what was found.
    """
    for variable in variables:
        subject = f"variable '{variable.name}' of {where}"
        if variable.name not in dataset.variables:
            if variable.required:
                raise refuse(
                    subject, f"a variable with dimensions {_text(variable.dims)}", "none", "it was not written"
                )
            continue
        array = dataset[variable.name]
        if array.dims != variable.dims:
            raise refuse(
                subject, f"dimensions {_text(variable.dims)}", _text(array.dims), "axes were swapped or renamed"
            )
        if array.dtype != np.dtype(variable.dtype):
            raise refuse(subject, f"dtype {variable.dtype}", str(array.dtype), "another program wrote the variable")
        _check_attributes(array, variable, subject)


def _check_attributes(array: xr.DataArray, variable: Variable, subject: str) -> None:
    for name, expected in variable.attributes().items():
        if name == "long_name":
            continue
        found = array.attrs.get(name)
        if isinstance(found, np.ndarray):
            found = found.tolist()
        if variable.masks and name.startswith("flag_") and _is_older(found, expected):
            continue
        if found != expected:
            raise refuse(
                subject, f"attribute {name} = {expected!r}", repr(found), "values may be in other units or codes"
            )


def _is_older(found: object, expected: object) -> bool:
    """Tell whether bits are those of an older release: bits are only ever added, at the end."""
    if isinstance(found, str) and isinstance(expected, str):
        found, expected = found.split(), expected.split()
    return isinstance(found, list) and isinstance(expected, list) and bool(found) and expected[: len(found)] == found


def check_increasing(values: np.ndarray, *, subject: str, strictly: bool = True) -> None:
    """Check that a coordinate is finite and increases.

    Parameters
    ----------
    values
        One-dimensional, float or datetime64.
    subject
        The coordinate as a person names it.
    strictly
        Whether equal neighbours are refused too.

    Raises
    ------
    InputError
        Naming the first row that breaks the order.
    """
    missing = np.isnat(values) if values.dtype.kind == "M" else ~np.isfinite(values)
    if missing.any():
        row = int(np.argmax(missing))
        raise refuse(subject, "a value in every row", f"none in row {row}", "rows were lost when it was written")
    if values.size < 2:  # noqa: PLR2004 - one row is in order whatever it holds
        return
    earlier, later = values[:-1], values[1:]
    broken = later <= earlier if strictly else later < earlier
    if broken.any():
        row = int(np.argmax(broken)) + 1
        raise refuse(
            subject,
            "increasing values" if strictly else "values that never decrease",
            f"{values[row]} in row {row} after {values[row - 1]}",
            "rows were shuffled or doubled, or a clock was set back",
        )


def refuse(subject: str, expected: str, found: str, cause: str) -> InputError:
    """Return the error of a broken contract, with the next step that always applies."""
    return InputError(
        subject,
        expected=expected,
        found=found,
        cause=cause,
        next_step="rewrite the data as docs/cube-contract.md says",
    )


def _text(dims: tuple[object, ...]) -> str:
    return f"({', '.join(str(dim) for dim in dims)})"
