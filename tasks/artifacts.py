"""What a run shows on its page: progress while copying, a table at its end, the depth log as a picture."""

from __future__ import annotations

import base64
import logging
import threading
import time
from collections.abc import Sequence
from contextvars import copy_context
from functools import partial
from io import BytesIO
from pathlib import Path
from uuid import UUID

import httpx
from PIL import Image
from prefect.artifacts import (
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)
from prefect.exceptions import PrefectHTTPStatusError
from prefect.utilities.slugify import slugify

from nightwell.protocol import Ending, Recorded, Run, RunKind, StepTime, ending, runbook, timeline, verdict
from nightwell.sites.recovery_points import RecoveryPoint, Timeliness, in_words
from nightwell.store.verify import VerifyReport
from tasks.effects import NAMES

_LOG = logging.getLogger(__name__)
_EVERY_S = 2.0
_MIB = 1 << 20
_BAR_PLACES = 24


class Progress:
    """A progress bar that is made with the first step and moved at most every two seconds.

    Told from a thread of its own: a Prefect server that is slow or away must not hold up, or end, what is under way.
    """

    def __init__(self, words: str) -> None:
        self._words = words
        self._artifact: UUID | None = None
        self._next_s = 0.0
        self._telling: threading.Thread | None = None

    def __call__(self, done: int, total: int) -> None:
        """Show how far it is."""
        now_s = time.monotonic()
        if (now_s < self._next_s and done < total) or (self._telling is not None and self._telling.is_alive()):
            return
        self._next_s = now_s + _EVERY_S
        # A copy of our context: the artifact belongs to this task run.
        tell = partial(copy_context().run, self._tell, 100.0 * done / max(total, 1))
        self._telling = threading.Thread(target=tell, name="progress", daemon=True)
        self._telling.start()

    def _tell(self, percent: float) -> None:
        try:
            if self._artifact is None:
                made = create_progress_artifact(percent, description=self._words)
                assert isinstance(made, UUID), "the synchronous call returns the id"
                self._artifact = made
            else:
                update_progress_artifact(self._artifact, percent)
        # A run that has ended meanwhile has closed its client, which httpx says with a plain RuntimeError.
        except (httpx.TransportError, PrefectHTTPStatusError, RuntimeError) as error:
            _LOG.debug("Progress could not be shown: %s", error)


class CopyProgress(Progress):
    """How far a copy is, in bytes."""

    def __init__(self, subject: str) -> None:
        super().__init__(f"Copying {subject}")


def publish_run(run: Run, events: Sequence[Recorded]) -> None:
    """Publish how a run ended, its timeline, and for a backup its blocks and bytes.

    The keys are those of the volume: its runs stand together in the UI, the newest first.
    """
    key = slugify(f"{run.opened.kind}-{run.volume}")
    what = f"{run.opened.kind.capitalize()} of {run.volume}"
    create_markdown_artifact(_verdict_text(run), key=key, description=what)
    publish_timeline(key, what, events)
    if run.committed and run.opened.kind is RunKind.BACKUP:
        create_table_artifact(backup_rows(run), key=f"{key}-blocks", description=f"{what}: blocks and bytes")


def _verdict_text(run: Run) -> str:
    text = f"**{verdict(run)}**\n\nRun `{run.run_id}`\n"
    return text if ending(run) is Ending.DONE else f"{text}\nWhat to look at and what to do: `{runbook(run)}`\n"


def publish_timeline(key: str, what: str, events: Sequence[Recorded]) -> None:
    """Publish when each step of a run began, the seconds it took, and a bar of it."""
    steps = timeline(events)
    if steps:
        create_table_artifact(
            timeline_rows(steps), key=f"{key}-timeline", description=f"{what}: timeline, with seconds per step"
        )


def timeline_rows(steps: Sequence[StepTime]) -> list[dict[str, str]]:
    """Return the steps of a run as rows for a table, with bars that stand on one scale of time."""
    begun_at = steps[0].started_at
    begins_s = [(step.started_at - begun_at).total_seconds() for step in steps]
    whole_s = max(begin_s + (step.seconds or 0.0) for begin_s, step in zip(begins_s, steps, strict=True))
    return [
        {
            "step": f"{'undo: ' if step.undo else ''}{NAMES[step.step]}",
            "begins after (s)": f"{begin_s:.2f}",
            "seconds": "" if step.seconds is None else f"{step.seconds:.2f}",
            "timeline": _bar(begin_s, step.seconds or 0.0, whole_s),
            "outcome": step.outcome.value,
        }
        for begin_s, step in zip(begins_s, steps, strict=True)
    ]


def _bar(begin_s: float, seconds: float, whole_s: float) -> str:
    """Return a bar of fixed width on which one step is filled; a short one still fills one place."""
    per_place_s = whole_s / _BAR_PLACES or 1.0
    first = min(int(begin_s / per_place_s), _BAR_PLACES - 1)
    filled = min(max(1, round(seconds / per_place_s)), _BAR_PLACES - first)
    return "░" * first + "█" * filled + "░" * (_BAR_PLACES - first - filled)


def backup_rows(run: Run) -> list[dict[str, str]]:
    """Return what a backup read, skipped and stored, as rows for a table."""
    facts = run.facts
    stored, read = facts.number("bytes_stored"), facts.number("bytes_read")
    stall = facts.get("longest_stall_ms")
    counted = [
        ("blocks in all", "blocks_total"),
        ("read", "blocks_read"),
        ("not read: unchanged or holes, says the array", "blocks_skipped_by_hint"),
        ("zero", "blocks_zero"),
        ("unchanged since the last version", "blocks_unchanged"),
        ("stored", "blocks_stored"),
    ]
    rows = [{"what": words, "value": f"{facts.number(name)}"} for words, name in counted]
    return [
        {"what": "version", "value": str(run.version_id)},
        *rows,
        {"what": "read from the volume", "value": f"{read / _MIB:.1f} MiB"},
        {"what": "sent to the store", "value": f"{stored / _MIB:.1f} MiB"},
        {"what": "longest time without progress", "value": f"{int(stall) / 1000:.1f} s" if stall is not None else ""},
        {
            "what": "one point in time",
            "value": "yes" if facts.flag("point_in_time") else "no: the host wrote meanwhile",
        },
    ]


def publish_picture(picture: Path, subject: str, name: str) -> None:
    """Publish a PNG inside the artifact: the page needs no other server for it.

    Parameters
    ----------
    picture
        The file.
    subject, name
        What it shows and of what: the versions of one picture of one thing stand together in the UI.
    """
    data = base64.b64encode(_with_palette(picture.read_bytes())).decode()
    # In Markdown, because the page of an image artifact repeats its address below the picture, all megabytes of it.
    text = f"![{subject} of {name}](data:image/png;base64,{data})"
    create_markdown_artifact(text, key=slugify(f"{subject}-{name}"), description=f"{subject} of {name}")


def _with_palette(png: bytes) -> bytes:
    """Return a picture with as many pixels and at most 256 colours, unless that makes it no smaller.

    The server keeps every version of an artifact in its database; a plot of few colours takes a third this way.
    """
    reduced = BytesIO()
    with Image.open(BytesIO(png)) as image:
        image.convert("RGB").quantize(256, dither=Image.Dither.NONE).save(reduced, "PNG", optimize=True)
    return min(png, reduced.getvalue(), key=len)


def publish_recovery_points(points: Sequence[RecoveryPoint]) -> None:
    """Publish the age of each volume's newest good version against its target, the worst first; one row a volume."""
    rows = [
        {
            "volume": point.volume,
            "state": point.timeliness.upper() if point.timeliness is not Timeliness.IN_TIME else point.timeliness,
            "age": "" if point.age_s is None else in_words(point.age_s),
            "target": in_words(point.target_s),
            "newest good version": point.version_id,
            "taken at (UTC)": "" if point.taken_at is None else f"{point.taken_at:%F %T}",
            "note": _note(point),
        }
        for point in points
    ]
    text = "Recovery points of all volumes: age of the newest good version against its target (RPO)"
    create_table_artifact(rows, key="recovery-points", description=text)


def _note(point: RecoveryPoint) -> str:
    notes = {
        "newer of no single point in time: the host wrote meanwhile": point.torn,
        "newer DAMAGED: failed their verification": point.damaged,
    }
    said = [f"{count} {words}" for words, count in notes.items() if count]
    return "; ".join([*said, point.problem] if point.problem else said)


def publish_verification(volume: str, report: VerifyReport) -> None:
    """Publish what reading a version back has shown; the verifications of one volume stand together in the UI."""
    rows = [
        {"what": "version", "value": report.version_id},
        {"what": "whole", "value": "yes" if report.ok else "NO"},
        {"what": "blocks in all", "value": f"{report.blocks_total}"},
        {"what": "blocks read and compared", "value": f"{report.blocks_checked}"},
        {"what": "damaged blocks", "value": f"{len(report.damaged)}"},
        {"what": "wrong references", "value": f"{len(report.references_wrong)}"},
        {"what": "index whole", "value": "yes" if report.index_whole else "NO"},
    ]
    create_table_artifact(rows, key=slugify(f"verification-{volume}"), description=f"Verification of {volume}")
