r"""What changed from one analysis of a well to another: versions, curves beyond their errors, classes of depths.

For every curve that both have, over the depths that both have and where both have a value, with
:math:`\Delta_i = b_i - a_i` and :math:`\sigma_i = \max(\sigma_{a,i}, \sigma_{b,i})`:

.. math:: \max_i |\Delta_i|, \quad \sqrt{\tfrac{1}{n} \sum_i \Delta_i^2}, \quad \max_i |\Delta_i| / \sigma_i,
   \quad \#\{i: |\Delta_i| > \sigma_i\}

The larger sigma, not the root of the sum of squares: both analyses stand on the same scans as a rule, so that their
errors are not independent, and what is beyond the larger one was changed by the method.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.archive import ResultsArchive
from nightwell.wells.fingerprint import versions_in
from nightwell.wells.streams import Stream

Floats = NDArray[np.float64]

_CURVES = {"species": "species", "indicators": "indicator"}
_SAME_DEPTH_M = 1e-3


@dataclass(frozen=True, slots=True)
class VersionChange:
    """One version, setting or input that is not the same in both; empty where there is none."""

    name: str
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class CurveChange:
    """How one curve changed.

    Parameters
    ----------
    stream, kind, name
        Which: ``species`` or ``indicators`` of a stream.
    units
        Of the curve.
    depths
        How many have a value in both.
    max_abs, max_at_m, rms
        The largest change, its depth, and the root of the mean square, in the curve's units.
    max_sigmas, beyond_sigma
        The largest change in sigmas (NaN where no sigma is known), and at how many depths it is above one.
    appeared, vanished
        Depths with a value in the second only, in the first only.
    flags_changed
        Depths whose flag is another.
    """

    stream: str
    kind: str
    name: str
    units: str
    depths: int
    max_abs: float
    max_at_m: float
    rms: float
    max_sigmas: float
    beyond_sigma: int
    appeared: int
    vanished: int
    flags_changed: int

    @property
    def changed(self) -> bool:
        """Whether anything is not the same."""
        return bool(self.max_abs > 0.0 or self.appeared or self.vanished or self.flags_changed)


@dataclass(frozen=True, slots=True)
class ClassChange:
    """Depths next to each other whose class changed in the same way."""

    stream: str
    classification: str
    top_m: float
    bottom_m: float
    depths: int
    before: str
    after: str


@dataclass(frozen=True, slots=True)
class WellDifference:
    """What changed from one analysis to another.

    Parameters
    ----------
    well, before, after
        The well, and both analyses' ids.
    versions
        What they were made from that is not the same.
    curves
        Every curve of both that changed, the largest change in sigmas first.
    curves_compared
        How many curves both have.
    only_before, only_after
        Curves of one alone, as ``stream/name``.
    depths_before, depths_after
        Depths of one alone, over all streams.
    classes
        Zones that changed class.
    """

    well: str
    before: str
    after: str
    versions: tuple[VersionChange, ...]
    curves: tuple[CurveChange, ...]
    curves_compared: int
    only_before: tuple[str, ...]
    only_after: tuple[str, ...]
    depths_before: int
    depths_after: int
    classes: tuple[ClassChange, ...]

    @property
    def beyond_sigma(self) -> tuple[CurveChange, ...]:
        """The curves with a change beyond one sigma at any depth."""
        return tuple(one for one in self.curves if one.beyond_sigma)

    @property
    def empty(self) -> bool:
        """Whether results are the same, whatever they were made from."""
        return not (self.curves or self.only_before or self.only_after or self.classes) and (
            self.depths_before == self.depths_after == 0
        )


def difference_of_analyses(archive: ResultsArchive, before: str, after: str = "latest") -> WellDifference:
    """Return what changed between two analyses of an archive, by their selectors (NotFoundError)."""
    first, second = archive.find(before), archive.find(after)
    if first.analysis_id == second.analysis_id:
        return WellDifference(archive.well, first.analysis_id, second.analysis_id, (), (), 0, (), (), 0, 0, ())
    with archive.open(first.analysis_id) as old, archive.open(second.analysis_id) as new:
        return difference(old, new, before=first.analysis_id, after=second.analysis_id)


def difference(old: xr.DataTree, new: xr.DataTree, *, before: str = "", after: str = "") -> WellDifference:
    """Return what changed from one analysis to another.

    Parameters
    ----------
    old, new
        Two analyses of one well, as :func:`~nightwell.wells.analysis.analyse_well`.
    before, after
        Their ids, for the result.

    Raises
    ------
    InputError
        They are of two wells.
    """
    if old.attrs["well"] != new.attrs["well"]:
        raise InputError(
            f"analyses of '{old.attrs['well']}' and '{new.attrs['well']}'",
            expected="two analyses of one well",
            found="two wells",
            cause="a mistyped name",
            next_step="name two analyses of the same well",
        )
    both = [stream for stream in Stream if stream in old.children and stream in new.children]
    curves = [one for stream in both for one in _curves_of(stream, old, new)]
    names_old, names_new = set(_names(old)), set(_names(new))
    depths = [_unmatched(old, new, stream) for stream in Stream]
    classes = [one for stream in both for one in _classes_of(stream, old, new)]
    return WellDifference(
        well=str(old.attrs["well"]),
        before=before,
        after=after,
        versions=tuple(version_changes(_described(old), _described(new))),
        curves=tuple(sorted((one for one in curves if one.changed), key=_by_size)),
        curves_compared=len(curves),
        only_before=tuple(sorted(names_old - names_new)),
        only_after=tuple(sorted(names_new - names_old)),
        depths_before=sum(one for one, _ in depths),
        depths_after=sum(other for _, other in depths),
        classes=tuple(classes),
    )


def version_changes(old: dict[str, str], new: dict[str, str]) -> Iterator[VersionChange]:
    """Yield the names whose values are not the same."""
    for name in sorted(set(old) | set(new)):
        if old.get(name) != new.get(name):
            yield VersionChange(name, old.get(name, ""), new.get(name, ""))


def described(inputs: dict[str, str], versions: dict[str, str]) -> dict[str, str]:
    """Return inputs and versions under one roof: inputs as ``input: name``."""
    return {f"input: {name}": value for name, value in inputs.items()} | versions


def _described(tree: xr.DataTree) -> dict[str, str]:
    attributes = {str(name): value for name, value in tree.attrs.items()}
    inputs = {str(name): str(value) for name, value in dict(attributes["inputs"]).items()}
    return described(inputs, versions_in(attributes))


def _names(tree: xr.DataTree) -> Iterator[str]:
    for stream in Stream:
        for kind, dim in _CURVES.items():
            if stream in tree.children and kind in tree[stream].children:
                yield from (f"{stream}/{name}" for name in tree[stream][kind][dim].to_numpy().tolist())


def _by_size(one: CurveChange) -> tuple[float, str, str]:
    return (-one.max_sigmas if np.isfinite(one.max_sigmas) else 0.0, one.stream, one.name)


def _matched(old: Floats, new: Floats) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
    """Return the rows of both that stand at the same depth (to a millimetre)."""
    _, rows_old, rows_new = np.intersect1d(
        np.round(old / _SAME_DEPTH_M), np.round(new / _SAME_DEPTH_M), return_indices=True
    )
    return rows_old, rows_new


def _depths(tree: xr.DataTree, stream: Stream) -> Floats:
    depths: Floats = tree[stream]["species"]["depth"].to_numpy() if stream in tree.children else np.empty(0)
    return depths


def _unmatched(old: xr.DataTree, new: xr.DataTree, stream: Stream) -> tuple[int, int]:
    first, second = _depths(old, stream), _depths(new, stream)
    rows, _ = _matched(first, second)
    return first.size - rows.size, second.size - rows.size


def _curves_of(stream: Stream, old: xr.DataTree, new: xr.DataTree) -> Iterator[CurveChange]:
    for kind, dim in _CURVES.items():
        first, second = (tree[stream][kind].to_dataset().load() for tree in (old, new))
        rows = _matched(first["depth"].to_numpy(), second["depth"].to_numpy())
        names = second[dim].to_numpy().tolist()
        for column, name in enumerate(first[dim].to_numpy().tolist()):
            if name in names:
                pair = (_column(first, rows[0], column), _column(second, rows[1], names.index(name)))
                units = _units(second, kind, names.index(name))
                yield _compared(stream, kind, str(name), units, first["depth"].to_numpy()[rows[0]], *pair)


@dataclass(frozen=True, slots=True)
class _Column:
    value: Floats
    sigma: Floats
    flag: NDArray[np.uint8]


def _column(group: xr.Dataset, rows: NDArray[np.intp], column: int) -> _Column:
    return _Column(
        group["value"].to_numpy()[rows, column].astype(np.float64),
        group["sigma"].to_numpy()[rows, column].astype(np.float64),
        group["flag"].to_numpy()[rows, column],
    )


def _units(group: xr.Dataset, kind: str, column: int) -> str:
    return str(group["units"].to_numpy()[column] if kind == "indicators" else group["value"].attrs.get("units", ""))


def _compared(
    stream: Stream, kind: str, name: str, units: str, depth: Floats, old: _Column, new: _Column
) -> CurveChange:
    had, has = np.isfinite(old.value), np.isfinite(new.value)
    both = np.flatnonzero(had & has)
    change = np.abs(new.value[both] - old.value[both])
    sigma = np.fmax(old.sigma[both], new.sigma[both])
    with np.errstate(invalid="ignore", divide="ignore"):
        # A change where the error is zero is beyond it; no change is not, whatever the error.
        sigmas = np.where(change == 0.0, 0.0, change / sigma)
    known = sigmas[~np.isnan(sigmas)]
    return CurveChange(
        stream=str(stream),
        kind=kind,
        name=name,
        units=units,
        depths=both.size,
        max_abs=float(change.max(initial=0.0)),
        max_at_m=float(depth[both[np.argmax(change)]]) if both.size else float("nan"),
        rms=float(np.sqrt(np.mean(change**2))) if both.size else 0.0,
        max_sigmas=float(known.max()) if known.size else float("nan"),
        beyond_sigma=int((known > 1.0).sum()),
        appeared=int((has & ~had).sum()),
        vanished=int((had & ~has).sum()),
        flags_changed=int((old.flag != new.flag).sum()),
    )


def _classes_of(stream: Stream, old: xr.DataTree, new: xr.DataTree) -> Iterator[ClassChange]:
    first, second = (tree[stream]["interpretation"].to_dataset().load() for tree in (old, new))
    rows_old, rows_new = _matched(first["depth"].to_numpy(), second["depth"].to_numpy())
    depth = first["depth"].to_numpy()[rows_old]
    for name in (str(one) for one in first.data_vars if one in second.data_vars and _has_classes(first[one])):
        before = _class_names(first[name], rows_old)
        after = _class_names(second[name], rows_new)
        for start, stop in _runs(before, after):
            yield ClassChange(
                stream=str(stream),
                classification=name,
                top_m=float(depth[start]),
                bottom_m=float(depth[stop - 1]),
                depths=stop - start,
                before=before[start],
                after=after[start],
            )


def _has_classes(variable: xr.DataArray) -> bool:
    return variable.dims == ("depth",) and {"flag_masks", "flag_meanings"} <= set(variable.attrs)


def _class_names(variable: xr.DataArray, rows: NDArray[np.intp]) -> list[str]:
    """Return the classes of each depth in words: two versions of a classification may order them otherwise."""
    bits = variable.to_numpy()[rows]
    masks = [int(mask) for mask in np.atleast_1d(variable.attrs["flag_masks"])]
    words = str(variable.attrs["flag_meanings"]).split()
    named = {
        int(code): " + ".join(word for mask, word in zip(masks, words, strict=True) if int(code) & mask) or "none"
        for code in np.unique(bits)
    }
    return [named[int(code)] for code in bits]


def _runs(before: list[str], after: list[str]) -> Iterator[tuple[int, int]]:
    """Yield the first and one past the last row of neighbours that changed in the same way."""
    start = 0
    for row in range(1, len(before) + 1):
        if row == len(before) or (before[row], after[row]) != (before[start], after[start]):
            if before[start] != after[start]:
                yield start, row
            start = row
