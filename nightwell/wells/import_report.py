"""What an import did to a file: every conversion, assumption and rejected value, so that nothing is silent."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class ColumnReport:
    """What became of one recognised column.

    Parameters
    ----------
    column, channel
        Header as it stands in the file; the channel it was recognised as.
    unit_found, unit
        Unit of the file and unit it was converted to; ``unit_assumed`` is True when the file gave none.
    missing
        Rows without a value in the file (empty, or a null code such as -999.25).
    zeros
        Rows that are exactly zero: for gases perhaps clipped, or placeholders.
    absurd, absurd_largest
        Rows whose value cannot be real and was set missing, and the one farthest out, in ``unit``.
    """

    column: str
    channel: str
    unit_found: str
    unit: str
    unit_assumed: bool
    missing: int
    zeros: int
    absurd: int
    absurd_largest: float | None

    def line(self) -> str:
        """Return the report of the column as one line."""
        unit = f"unit {self.unit_found} assumed" if self.unit_assumed else f"{self.unit_found or 'no unit'}"
        if self.unit_found != self.unit:
            unit += f" -> {self.unit}"
        text = f"{self.column}: {self.channel}, {unit}, {self.missing} missing, {self.zeros} exactly zero"
        if self.absurd:
            text += f", {self.absurd} absurd set missing (as far out as {self.absurd_largest:,.10g} {self.unit})"
        return text


@dataclass(frozen=True, slots=True)
class UnknownColumn:
    """A column that was left out, and the channels whose names are nearest to its own."""

    column: str
    nearest: tuple[str, ...]

    def line(self) -> str:
        """Return the report of the column as one line."""
        return f"{self.column}: not known" + (f"; nearest: {', '.join(self.nearest)}" if self.nearest else "")


@dataclass(frozen=True, slots=True)
class ImportReport:
    """What an import did to one file.

    Parameters
    ----------
    source
        File name.
    digest
        BLAKE3 of the file, hexadecimal.
    rows
        Rows of data read.
    columns, unknown
        Recognised columns, and columns left out.
    notes
        What else a person should know: gaps, repeated rows, a clock that jumps, assumptions.
    """

    source: str
    digest: str
    rows: int
    columns: tuple[ColumnReport, ...]
    unknown: tuple[UnknownColumn, ...]
    notes: tuple[str, ...] = ()

    def column(self, channel: str) -> ColumnReport:
        """Return the report of a channel (KeyError when the file does not carry it)."""
        for column in self.columns:
            if column.channel == channel:
                return column
        raise KeyError(channel)

    @property
    def absurd(self) -> int:
        """Number of values that were set missing because they cannot be real."""
        return sum(column.absurd for column in self.columns)

    def lines(self) -> list[str]:
        """Return the report as lines for people."""
        head = f"{self.source}: {self.rows} rows, {len(self.columns)} columns used, {len(self.unknown)} left out"
        return [
            head,
            *(column.line() for column in self.columns),
            *(column.line() for column in self.unknown),
            *self.notes,
        ]
