"""Import spectra from Pfeiffer Quadstar 32-bit analogue scans (``.sac``).

The layout is not published; it was taken apart by others [Bubek2012, Quadstarfiles] and checked here against a real
file and the peak heights that another program made of it. All numbers are little-endian. A header says how many cycles
there are and how far apart; a table of traces says where each keeps its description and its first cycle; each cycle
holds the time since the start, the exponent of the electrometer's range, and one float32 per point of the m/z axis.

A peak's height is the largest current within 0.4 of the whole m/z. A current above the range of the electrometer is a
saturated one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from blake3 import blake3
from numpy.typing import NDArray

from nightwell.errors import InputError
from nightwell.wells.delimited import read_bytes
from nightwell.wells.import_report import ColumnReport
from nightwell.wells.instrument import Instrument
from nightwell.wells.rig import DrillingSeries
from nightwell.wells.spectra_import import ScanLabels, Spectra, SpectraImport, SpectraSource, assemble
from nightwell.wells.units import convert

Floats = NDArray[np.float64]

#: Half the window in which a peak is looked for, in m/z: half way to the neighbour, less the valley between them.
PEAK_HALF_WIDTH = 0.4

_MAGIC = b"\xc6\x02"
_CYCLES_AT, _BASE_TIME_AT, _TRACES_AT = 0x64, 0xC2, 0xC8
_TRACE = struct.Struct("<Bii")
_ANALOGUE = 0x11  # the only kind of trace whose layout is known
_INFO = struct.Struct("<H13s14s13s14s66sfHBff")
_TIME = struct.Struct("<IH")  # seconds, tenths of a millisecond
_DATA = struct.Struct("<ih")  # points (sometimes wrong), exponent of the range
_MAX_TRACES = 64
_MAX_POINTS = 1 << 20


@dataclass(frozen=True, slots=True)
class QuadstarScan:
    """The analogue trace of a ``.sac`` file.

    Parameters
    ----------
    time
        datetime64[ns] (cycle), UTC.
    mz
        float64 (point): m/z of each point.
    current_a
        float64 (cycle, point).
    full_scale_a
        float64 (cycle): range of the electrometer; a larger current is saturated.
    unit
        Of the current, as the file names it.
    """

    time: NDArray[np.datetime64]
    mz: Floats
    current_a: Floats
    full_scale_a: Floats
    unit: str


def is_quadstar(content: bytes) -> bool:
    """Tell whether bytes are a Quadstar scan."""
    if not content.startswith(_MAGIC) or len(content) < _TRACES_AT + _TRACE.size:
        return False
    cycles, traces, length = struct.unpack_from("<ihi", content, _CYCLES_AT)
    return bool(cycles > 0 and 0 < traces <= _MAX_TRACES and length > 0)


def read_quadstar(content: bytes, *, name: str) -> QuadstarScan:
    """Read a ``.sac`` file.

    Parameters
    ----------
    content
        The file.
    name
        Of the file, for the errors.

    Raises
    ------
    InputError
        No Quadstar scan, cut short, without an analogue trace or with several, or a unit that is no current.
    """
    if not is_quadstar(content):
        raise _refuse(name, "a Quadstar 32-bit analogue scan", f"{len(content)} bytes of another kind",
                      "another format, or another version of Quadstar")  # fmt: skip
    cycles, traces, length = struct.unpack_from("<ihi", content, _CYCLES_AT)
    try:
        table = [_TRACE.unpack_from(content, _TRACES_AT + _TRACE.size * at) for at in range(traces)]
        analogue = [(info, data) for kind, info, data in table if kind == _ANALOGUE]
        if len(analogue) != 1:
            raise _refuse(name, "one analogue trace", f"{len(analogue)} among {traces} traces",
                          "a scan of bar graphs, or of several detectors")  # fmt: skip
        return _read(content, *analogue[0], cycles, length, name)
    except struct.error as error:
        raise _refuse(name, f"{cycles} whole cycles", f"{len(content)} bytes",
                      "the file was copied while the measurement was running") from error  # fmt: skip


def peak_heights(mz: Floats, current: Floats) -> tuple[Floats, Floats]:
    """Return the heights of the peaks at whole m/z.

    Parameters
    ----------
    mz
        float64 (point), increasing.
    current
        float64 (scan, point).

    Returns
    -------
    tuple
        float64 (mz): each whole m/z on the axis; float64 (scan, mz): the largest current within 0.4 of it.
    """
    whole = np.arange(np.ceil(mz[0] - 1e-6), np.floor(mz[-1] + 1e-6) + 1.0)
    first = np.searchsorted(mz, whole - PEAK_HALF_WIDTH - 1e-6)
    last = np.searchsorted(mz, whole + PEAK_HALF_WIDTH + 1e-6)
    heights = [current[:, low:high].max(axis=1) for low, high in zip(first.tolist(), last.tolist(), strict=True)]
    return whole, np.stack(heights, axis=1)


def import_quadstar(
    path: Path | str,
    *,
    well: str | None = None,
    labels: ScanLabels | None = None,
    instrument: Instrument | None = None,
    drilling: DrillingSeries | None = None,
    gas_line_delay_s: float = 0.0,
) -> SpectraImport:
    """Import peak heights from a ``.sac`` file; parameters as :func:`~nightwell.wells.quadrupole.import_quadrupole`.

    Raises
    ------
    NotFoundError
        There is no such file.
    InputError
        As :func:`read_quadstar`, or a clock that goes back.
    """
    path = Path(path)
    content = read_bytes(path)
    found = read_quadstar(content, name=path.name)
    over = found.current_a > found.full_scale_a[:, None]
    # A current out of range is stored as the largest float: as the range itself, it reads as saturated later on.
    current = np.where(over, found.full_scale_a[:, None], found.current_a)
    mz, heights = peak_heights(found.mz, current)
    saturated = peak_heights(found.mz, over.astype(np.float64))[1] > 0
    full_scale_a = float(found.full_scale_a.max())
    heights[saturated & (found.full_scale_a < full_scale_a)[:, None]] = np.nan  # a smaller range: not full scale
    notes = [
        f"heights of {mz.size} peaks from {found.mz.size} points a scan (largest within {PEAK_HALF_WIDTH} of each m/z)"
    ]
    if saturated.any():
        notes.append(f"{int(saturated.sum())} peaks out of the range of the electrometer")
    return assemble(
        Spectra(found.time, mz, heights, {}, (_report(found, heights),), notes=tuple(notes)),
        SpectraSource(path.name, blake3(content).hexdigest(), found.time.size),
        well=well or path.stem,
        labels=labels or ScanLabels(),
        instrument=instrument or Instrument("Pfeiffer quadrupole (Quadstar)", full_scale_a=full_scale_a),
        drilling=drilling,
        gas_line_delay_s=gas_line_delay_s,
    )


def _read(content: bytes, info_at: int, data_at: int, cycles: int, length: int, name: str) -> QuadstarScan:
    _, _, unit, _, scale, _, first_mz, width, per_mz, _, _ = _INFO.unpack_from(content, info_at)
    points = width * per_mz
    if not 0 < points <= _MAX_POINTS or not np.isfinite(first_mz) or _text(scale) != "amu":
        raise _refuse(name, "an m/z axis in amu", f"{points} points from {first_mz:g} {_text(scale)}",
                      "another version of Quadstar")  # fmt: skip
    if min(info_at, data_at) < _TRACES_AT or data_at + (cycles - 1) * length + _DATA.size + 4 * points > len(content):
        raise struct.error
    base_s, base_tenths_ms = _TIME.unpack_from(content, _BASE_TIME_AT)
    time, exponents, currents = [], [], []
    for at in range(data_at, data_at + cycles * length, length):
        since_s, since_tenths_ms = _TIME.unpack_from(content, at - _TIME.size)
        time.append((base_s + since_s) * 10**9 + (base_tenths_ms + since_tenths_ms) * 10**5)
        exponents.append(_DATA.unpack_from(content, at)[1])
        currents.append(np.frombuffer(content, "<f4", count=points, offset=at + _DATA.size).astype(np.float64))
    unit_text = _text(unit)
    current = convert(np.stack(currents), unit_text, "A", subject=f"trace of {name}")
    return QuadstarScan(
        time=np.array(time, dtype=np.int64).astype("datetime64[ns]"),
        mz=first_mz + np.arange(points) / per_mz,
        current_a=current,
        full_scale_a=convert(10.0 ** np.array(exponents, dtype=np.float64), unit_text, "A", subject=f"range of {name}"),
        unit=unit_text,
    )


def _report(found: QuadstarScan, heights: Floats) -> ColumnReport:
    return ColumnReport(
        column="analogue trace",
        channel="intensity",
        unit_found=found.unit,
        unit="A",
        unit_assumed=False,
        missing=int(np.isnan(heights).sum()),
        zeros=int((heights == 0.0).sum()),
        absurd=0,
        absurd_largest=None,
    )


def _text(field: bytes) -> str:
    return field.split(b"\0")[0].decode("latin-1").strip()


def _refuse(name: str, expected: str, found: str, cause: str) -> InputError:
    return InputError(
        f"spectra {name}",
        expected=expected,
        found=found,
        cause=cause,
        next_step="export the peak heights as CSV from Quadstar (Dispsav), and import that",
    )
