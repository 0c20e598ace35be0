"""Results as WITS level 0: gas by depth of the returns, lagged mud, cuttings gas and shows."""

from __future__ import annotations

from collections.abc import Iterator
from os import PathLike
from pathlib import Path

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from nightwell.report import style
from nightwell.report.curves import UNSEEN_SPECIES, StreamLog, stream_log
from nightwell.wells.findings import Finding, FindingKind, findings_of
from nightwell.wells.streams import Stream
from nightwell.wells.wits0 import Value, WitsRecord, item_number, wits_items, write_wits0
from nightwell.whole_file import written_whole

Floats = NDArray[np.float64]

#: Gas by depth of the returns; the record of WITS that a gas log goes into.
GAS_RECORD = 13
#: Mud by depth of the returns: total gas in percent, carbon dioxide, hydrogen sulphide.
MUD_RECORD = 14
#: Cuttings: their gas in percent.
CUTTINGS_RECORD = 15
#: Shows, with the gas of a mud sample.
SHOW_RECORD = 16

_PERCENT_PPM = 10_000.0
_COMMENT_LENGTH = 128
_CUTTINGS = (Stream.CUTTINGS_BACKGROUND, Stream.CUTTINGS_CRUSH)


def write_wits(result: xr.DataTree, path: str | PathLike[str], stream: Stream = Stream.TRAP_GAS) -> Path:
    """Write one stream as WITS level 0, one frame per record.

    Record 13, gas by depth, of any stream; besides, of trap gas record 14 (total gas, carbon dioxide, hydrogen
    sulphide) at each depth and record 16 for each show, with the gas of the mud samples in it; of cuttings record 15
    (their gas). Record 12, the chromatograph's cycle by cycle, has no place here: results are against depth.

    Parameters
    ----------
    result
        As :func:`~nightwell.wells.analysis.analyse_well`, with amounts in ppm.
    path
        Where to; written whole or not at all.
    stream
        Whose amounts.

    Returns
    -------
    Path
        The file, metric units. What is not detected or not measured is null (-9999), never zero. The well identifier
        of a result that is simulated in part begins with ``SIMULATED``: a stream has no other place to say so.

    Raises
    ------
    InputError
        The result has no such stream, or no depths.
    """
    text = write_wits0(_records(result, stream))
    target = Path(path)
    target.parent.mkdir(parents=True, exist_ok=True)
    with written_whole(target) as draft:
        draft.write_bytes(text.encode("ascii"))
    return target


def _records(result: xr.DataTree, stream: Stream) -> Iterator[WitsRecord]:
    log = style.cut(result, style.PlotOptions(stream=stream), "WITS records")
    well = _ascii(str(result.attrs["well"]))
    if result.attrs.get("simulated"):
        well = f"SIMULATED {well}"
    gas = log.curve("total_gas")
    percent = np.full(log.depth.size, np.nan) if gas is None else gas.value / _PERCENT_PPM
    kinds: list[tuple[int, dict[str, Floats]]] = [(GAS_RECORD, {})]
    if stream == Stream.TRAP_GAS:
        kinds.append((MUD_RECORD, {"GASA": percent}))
    elif stream in _CUTTINGS:
        kinds.append((CUTTINGS_RECORD, {"GCUT": percent}))
    amounts = {record: _amounts(log, record) for record, _ in kinds}
    for row, depth in enumerate(log.depth.tolist()):
        for record, others in kinds:
            values = _head(record, well, row + 1)
            values[_depth_item(record)] = depth
            values |= {item: float(column[row]) for item, column in amounts[record].items()}
            values |= {item_number(record, name): float(column[row]) for name, column in others.items()}
            yield WitsRecord(record, values)
    if stream == Stream.TRAP_GAS and "findings" in result.children:
        found = findings_of(result["findings"].to_dataset())
        shows = [one for one in found if one.kind is FindingKind.SHOW and one.stream == stream]
        for number, show in enumerate(shows, start=1):
            yield _show(result, show, well, number)


def _show(result: xr.DataTree, show: Finding, well: str, number: int) -> WitsRecord:
    values = _head(SHOW_RECORD, well, number)
    values[item_number(SHOW_RECORD, "SWNO")] = float(number)
    values[item_number(SHOW_RECORD, "DSTM")] = show.top_m
    values[item_number(SHOW_RECORD, "DSBM")] = show.bottom_m
    values[item_number(SHOW_RECORD, "WCOM")] = _ascii(f"nightwell {show.rule}: {show.statement}")[:_COMMENT_LENGTH]
    if Stream.MUD_FLUID in result.children:
        log = stream_log(result, Stream.MUD_FLUID, show.top_m, show.bottom_m)
        for item, column in _amounts(log, SHOW_RECORD).items():
            # A mean over samples of which most show nothing would be one of detection limits.
            most_seen = column.size > 0 and 2 * np.isfinite(column).sum() >= column.size
            values[item] = float(np.nanmedian(column)) if most_seen else float("nan")
    return WitsRecord(SHOW_RECORD, values)


def _head(record: int, well: str, sequence: int) -> dict[int, Value]:
    return {
        item_number(record, "WID"): well,
        item_number(record, "RID"): float(record),
        item_number(record, "SQID"): float(sequence),
    }


def _amounts(log: StreamLog, record: int) -> dict[int, Floats]:
    """Return the species that a record has items for: float64 (depth,) by item, NaN where not detected."""
    names = log.species["species"].to_numpy().tolist()
    hidden = (log.species["flag"].to_numpy() & UNSEEN_SPECIES) != 0
    value = np.where(hidden, np.nan, log.species["value"].to_numpy().astype(np.float64))
    return {
        item: value[:, names.index(known.channel)]
        for (number, item), known in wits_items().items()
        if number == record and known.channel in names
    }


def _depth_item(record: int) -> int:
    return next(item for (number, item), known in wits_items().items() if number == record and known.channel == "depth")


def _ascii(text: str) -> str:
    return " ".join(text.encode("ascii", "replace").decode().split())
