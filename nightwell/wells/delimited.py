"""Read text files of unknown encoding and separator; shared by every importer of CSV."""

from __future__ import annotations

from io import StringIO
from pathlib import Path

import numpy as np
import pandas as pd
from blake3 import blake3
from numpy.typing import NDArray

from nightwell.errors import InputError, NotFoundError

_NULL_TEXTS = {"", "nan", "null", "none", "n/a", "na", "-"}
_ROWS_SHOWN = 5
_LEAP_STEPS = 20.0  # a step so many times the usual one, and ...
_LEAP_S = 3600.0  # ... at least so long, is a leap of the clock or a break


def read_bytes(path: Path) -> bytes:
    """Return the bytes of a file.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    try:
        return path.read_bytes()
    except (FileNotFoundError, IsADirectoryError) as error:
        raise NotFoundError(
            f"file {path}",
            expected="a file to import",
            found="a directory" if path.is_dir() else "no such file",
            cause="the path is misspelt",
            next_step="name an existing file",
        ) from error


def read_text(path: Path) -> tuple[str, str]:
    """Return the text of a file, and the BLAKE3 of its bytes.

    Raises
    ------
    NotFoundError
        There is no such file.
    """
    content = read_bytes(path)
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError:
        text = content.decode("latin-1")  # older logging software; it never fails
    return text, blake3(content).hexdigest()


def separator_of(line: str) -> str:
    """Return the separator of a header line: the one of comma, semicolon and tab that it holds most of."""
    return max(",;\t", key=line.count)


def split_table(text: str, *, subject: str) -> pd.DataFrame:
    """Return all cells of a delimited text as text, header line first.

    Raises
    ------
    InputError
        The text is empty, or its rows do not fit its header.
    """
    separator = separator_of(text.partition("\n")[0])
    try:
        table: pd.DataFrame = pd.read_csv(
            StringIO(text), sep=separator, dtype=str, header=None, keep_default_na=False, skip_blank_lines=True
        )
    except (pd.errors.EmptyDataError, pd.errors.ParserError) as error:
        raise InputError(
            subject,
            expected="a header line and rows with as many columns",
            found=str(error).strip() or "no text",
            cause="the file is empty, cut short, or not a CSV",
            next_step="export it again as CSV, one header line first",
        ) from error
    return table


def numbers_of(column: pd.Series[str], *, subject: str) -> NDArray[np.float64]:
    """Return a column as float64; what stands for no value is NaN.

    Raises
    ------
    InputError
        A cell holds text that is neither a number nor a known null; its rows are named.
    """
    if column.dtype.kind in "fi":
        return column.to_numpy(dtype=np.float64, copy=True)
    texts = column.astype(str).str.strip()
    blank = texts.str.lower().isin(_NULL_TEXTS)
    values = pd.to_numeric(texts.mask(blank), errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan, copy=True)
    wrong = np.flatnonzero(np.isnan(values) & ~blank.to_numpy())
    if wrong.size:
        raise InputError(
            subject,
            expected="numbers",
            found=f"{texts.iloc[int(wrong[0])]!r} in {rows_text(wrong)}",
            cause="a decimal comma, or a remark among the values",
            next_step="write numbers with a decimal point, and leave missing values empty",
        )
    return values


def times_of(column: pd.Series[str], *, subject: str) -> NDArray[np.datetime64]:
    """Return a column as datetime64[ns], UTC: ISO 8601, or seconds since 1970.

    Raises
    ------
    InputError
        A cell is neither.
    """
    texts = column.astype(str).str.strip()
    numbers = pd.to_numeric(texts, errors="coerce")
    try:
        if numbers.notna().all():
            return (numbers.to_numpy(dtype=np.float64) * 1e9).round().astype("int64").astype("datetime64[ns]")
        return pd.to_datetime(texts, utc=True, format="ISO8601").dt.tz_localize(None).to_numpy(dtype="datetime64[ns]")
    except (ValueError, TypeError) as error:
        raise InputError(
            subject,
            expected="times as ISO 8601 (UTC) or as seconds since 1970",
            found=str(error).splitlines()[0],
            cause="another notation of date and time",
            next_step="write times as 2024-05-17T12:00:00Z",
        ) from error


def notes_of_times(time: NDArray[np.datetime64]) -> tuple[str, ...]:
    """Return a sentence for each leap of a clock: a step far longer than the usual one (at most the first few)."""
    steps_s = np.diff(time).astype("timedelta64[ns]").astype(np.int64) / 1e9
    if steps_s.size < 2:  # noqa: PLR2004 - the usual step needs a second one
        return ()
    leaps = np.flatnonzero((steps_s > _LEAP_S) & (steps_s > _LEAP_STEPS * np.median(steps_s)))
    told = [
        f"the clock leaps {steps_s[at] / 3600:,.1f} h ahead after row {at + 1} ({time[at]})" for at in leaps.tolist()
    ]
    more = [f"{len(told) - _ROWS_SHOWN} more leaps of the clock"] if len(told) > _ROWS_SHOWN else []
    return (*told[:_ROWS_SHOWN], *more)


def rows_text(rows: NDArray[np.intp]) -> str:
    """Return row numbers for a message: counted from 1, without header lines, the first few of many."""
    shown = ", ".join(str(row + 1) for row in rows[:_ROWS_SHOWN].tolist())
    if rows.size == 1:
        return f"row {shown}"
    return f"{rows.size} rows: {shown}{', ...' if rows.size > _ROWS_SHOWN else ''}"
