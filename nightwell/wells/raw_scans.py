"""Raw scans with what is known of each of them before its spectrum is read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.wells.contract import Origin
from nightwell.wells.lag import Registration
from nightwell.wells.streams import ScanKind, Stream

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class RawScans:
    """Raw scans with what is known of each of them before its spectrum is read."""

    dataset: xr.Dataset
    mz: Floats
    time_s: Floats
    stream: NDArray[np.int8]
    kind: NDArray[np.int8]
    registration: Registration
    full_scale_a: float
    start_s: float  # of ``time_s``, seconds since 1970

    def blocks(self, rows: int) -> Iterator[tuple[slice, Floats]]:
        """Yield consecutive scans as float64 (scan, mz)."""
        for start in range(0, self.time_s.size, rows):
            block = slice(start, start + rows)
            intensity = self.dataset["intensity"].isel(scan=block).to_numpy().astype(np.float64)
            yield block, intensity


def raw_scans(tree: xr.DataTree, registration: Registration, origin: Origin) -> RawScans:
    """Read the coordinates of raw scans; spectra are read later, block by block."""
    dataset = tree["scans"].to_dataset()
    time = dataset["time"].to_numpy()
    return RawScans(
        dataset=dataset,
        mz=dataset["mz"].to_numpy(),
        time_s=(time - time[:1]).astype("timedelta64[ns]").astype(np.int64) / 1e9,
        stream=dataset["stream"].to_numpy(),
        kind=dataset["kind"].to_numpy(),
        registration=registration,
        full_scale_a=origin.instrument.full_scale_a or np.inf,
        start_s=float(time[0].astype("datetime64[ns]").astype(np.int64)) / 1e9 if time.size else 0.0,
    )


def samples_of(scans: RawScans, stream: Stream) -> NDArray[np.bool_]:
    """Tell which scans are samples of a stream at a known depth, and carry news of it."""
    found = scans.registration
    wanted = (scans.stream == stream.code) & (scans.kind == ScanKind.SAMPLE.code) & ~np.isnan(found.depth_m)
    chosen: NDArray[np.bool_] = wanted & ~found.no_circulation & ~found.off_bottom
    return chosen
