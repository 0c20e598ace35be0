"""The design matrix as the compiled functions of :mod:`nightwell.wells.nnls_kernel` want it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Matrix(NamedTuple):
    """The entries of a design matrix that are not zero: few, for a species shows at some ten m/z.

    Attributes
    ----------
    column_starts, column_rows, column_values : ndarrays
        The m/z of species ``s``, ``column_rows[column_starts[s] : column_starts[s + 1]]``, and the entries there.
    row_starts, row_columns, row_values : ndarrays
        The same by m/z, species ascending.
    peaks : ndarray of int64
        The m/z that any species has.
    mz : int
        How many m/z.
    """

    column_starts: Ints
    column_rows: Ints
    column_values: Floats
    row_starts: Ints
    row_columns: Ints
    row_values: Floats
    peaks: Ints
    mz: int


def matrix_of(design: Floats) -> Matrix:
    """Return a design matrix, dims (mz, species), in the form that compiled functions want."""
    dense = np.asarray(design, dtype=np.float64)
    row, row_columns = np.nonzero(dense)
    column, column_rows = np.nonzero(dense.T)
    return Matrix(
        column_starts=np.searchsorted(column, np.arange(dense.shape[1] + 1)).astype(np.int64),
        column_rows=column_rows.astype(np.int64),
        column_values=dense[column_rows, column],
        row_starts=np.searchsorted(row, np.arange(dense.shape[0] + 1)).astype(np.int64),
        row_columns=row_columns.astype(np.int64),
        row_values=dense[row, row_columns],
        peaks=np.unique(row).astype(np.int64),
        mz=dense.shape[0],
    )
