"""``nightwell well fleet``: a simulated fleet, what a night has to do, a night, and two nights compared.

The scientific stack is imported inside the commands: a backup must not wait two seconds for it.
"""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nightwell.cli.common import AsJson, CommandError, asked_method, command, print_json, print_rows, say, settings
from nightwell.errors import NightwellError

if TYPE_CHECKING:
    from nightwell.settings import Settings
    from nightwell.wells.archive import Place
    from nightwell.wells.fleet.catalogue import Found
    from nightwell.wells.fleet.difference import WellDifference
    from nightwell.wells.fleet.night import Night

fleet = typer.Typer(no_args_is_help=True, help="Many wells in one night.")

_SHOWN = 12

Scans = Annotated[
    str | None, typer.Option("--scans", help="Place of raw scans: a folder, or s3://bucket/prefix; else wells.scans.")
]
Volumes = Annotated[
    list[str] | None, typer.Option("--volume", help="Volume that holds a well, or a pattern; else wells.volumes.")
]
Library = Annotated[Path | None, typer.Option(help="Species library of your own; else wells.library.")]
RecycledShare = Annotated[
    float | None, typer.Option(help="Share of its gas that mud keeps in the pits; else wells.method.recycled_share.")
]
TrapEfficiency = Annotated[
    float | None, typer.Option(help="Share of its gas that the trap frees; else wells.method.trap_efficiency.")
]


@fleet.command("make")
@command
def make(
    target: Annotated[Path, typer.Argument(help="Folder for the raw scans, one container for each well.")],
    *,
    wells: Annotated[int, typer.Option(help="How many wells.")] = 10,
    length: Annotated[float, typer.Option(help="Drilled interval of each, m.")] = 100.0,
    seed: Annotated[int, typer.Option(help="Of the first well; each further well has the next.")] = 1,
    as_json: AsJson = False,
) -> None:
    """Write a SIMULATED fleet: raw scans of many wells from the forward model, to try a night on."""
    from nightwell.wells.fleet.generator import FleetPlan, write_fleet

    written = write_fleet(FleetPlan(wells, length_m=length, seed=seed), target)
    if as_json:
        print_json({"scans": written, "simulated": True})
        return
    say(f"{len(written)} SIMULATED wells of {length:g} m written to {target}")


@fleet.command("stale")
@command
def stale(
    *,
    scans: Scans = None,
    volume: Volumes = None,
    library: Library = None,
    recycled_share: RecycledShare = None,
    trap_efficiency: TrapEfficiency = None,
    as_json: AsJson = False,
) -> None:
    """List the wells that have no newest analysis of today's scans and method, and why; nothing is computed."""
    from nightwell.reanalysis import method_of
    from nightwell.wells.fleet.find_stale import Need, find_stale

    chosen = settings()
    method = method_of(chosen, library=library, asked=asked_method(recycled_share, trap_efficiency))
    plan = find_stale(_candidates(chosen, scans, volume).candidates, method, _results(chosen))
    needing = [one for one in plan.needs if one.need is not Need.NOTHING]
    if as_json:
        print_json(
            {
                "stale": [
                    {"well": one.scans.well, "scans": one.scans.name, "need": one.need, "reasons": one.reasons}
                    for one in needing
                ],
                "current": [one.scans.well for one in plan.that_need(Need.NOTHING)],
                "withdrawn": [{"scans": one.name, "well": one.well, "note": one.note} for one in plan.withdrawn],
                "failed": [{"scans": one.name, "well": one.well, **one.error.as_dict()} for one in plan.failures],
            }
        )
        return
    rows = [(one.scans.well, one.need.value, ", ".join(one.reasons), one.scans.name) for one in needing]
    rows += [(one.well or "?", "failed", one.error.found, one.name) for one in plan.failures]
    print_rows("Stale wells", ("well", "need", "why", "scans"), rows, empty="no well needs anything")
    if plan.withdrawn:
        say(f"withdrawn: {', '.join(one.note.name for one in plan.withdrawn)}")


@fleet.command("night")
@command
def night(
    *,
    scans: Scans = None,
    volume: Volumes = None,
    cluster: Annotated[str | None, typer.Option(help="Address of a Dask cluster; else wells.cluster.")] = None,
    workers: Annotated[int | None, typer.Option(help="Worker processes here; else wells.workers.")] = None,
    library: Library = None,
    recycled_share: RecycledShare = None,
    trap_efficiency: TrapEfficiency = None,
    as_json: AsJson = False,
) -> None:
    """Analyse every well that needs it, on Dask; what was committed before a kill is not computed again."""
    from nightwell.reanalysis import method_of
    from nightwell.wells.fleet.cluster import dask_client
    from nightwell.wells.fleet.night import run_night
    from nightwell.wells.fleet.well_task import Ending

    chosen = settings()
    found = _candidates(chosen, scans, volume)
    memory_bytes = chosen.wells.worker_memory_mib << 20
    done = run_night(
        found.candidates,
        method_of(chosen, library=library, asked=asked_method(recycled_share, trap_efficiency)),
        _results(chosen),
        lambda: dask_client(
            chosen.wells.cluster if cluster is None else cluster,
            workers=chosen.wells.workers if workers is None else workers,
            memory_bytes=memory_bytes,
        ),
        memory_bytes=memory_bytes,
        passed_over=found.passed_over,
    )
    failed = done.that_ended(Ending.FAILED)
    if failed:
        if not as_json:
            _say_night(done)
        raise CommandError(_failed(done), night=done)
    if as_json:
        print_json(done)
        return
    _say_night(done)


@fleet.command("withdrawn")
@command
def withdrawn(*, as_json: AsJson = False) -> None:
    """List what was withdrawn from the nights with `well forget`, since when and why."""
    from nightwell.wells.fleet.withdrawn import withdrawn_of

    found = sorted(withdrawn_of(_results(settings())).values(), key=lambda one: one.name)
    if as_json:
        print_json(found)
        return
    rows = [(one.name, f"{one.withdrawn_at:%F %T}", one.reason) for one in found]
    print_rows("Withdrawn", ("name", "since (UTC)", "why"), rows, empty="none")


@command
def forget(
    name: Annotated[str, typer.Argument(help="A well, or the container or volume of its scans.")],
    *,
    reason: Annotated[str, typer.Option(help="Why, for whoever comes later.")] = "",
    undo: Annotated[bool, typer.Option("--undo", help="Let nights look at it again.")] = False,
    scans: Scans = None,
    volume: Volumes = None,
    as_json: AsJson = False,
) -> None:
    """Withdraw a well from the nights; its analyses and scans stay, and every night names it."""
    from nightwell.wells.fleet.withdrawn import analysed_wells, take_back, withdraw

    chosen = settings()
    results = _results(chosen)
    if undo:
        note = take_back(results, name)
    else:
        known = analysed_wells(results) | _names(chosen, scans, volume)
        note = withdraw(results, name, reason, known=known)
    if as_json:
        print_json({"note": note, "withdrawn": not undo})
        return
    said = "nights look at it again" if undo else "nights pass it over; its analyses and scans stay"
    say(f"{name}: {said}")


def _names(chosen: Settings, scans: str | None, volume: list[str] | None) -> frozenset[str]:
    """Return the wells and places that a night finds; none when no place is named."""
    named = scans is not None or volume is not None or chosen.wells.scans or chosen.wells.volumes
    if not named:
        return frozenset()
    names: set[str] = set()
    for one in _candidates(chosen, scans, volume).candidates:
        names.add(one.label)
        with suppress(NightwellError):  # what cannot be identified is withdrawn by its place
            names.add(one.identify().well)
    return frozenset(names)


@fleet.command("nights")
@command
def nights(*, as_json: AsJson = False) -> None:
    """List the nights, oldest first."""
    from nightwell.wells.fleet.night import night_ids, read_night

    results = _results(settings())
    found = [read_night(results, one) for one in night_ids(results)]
    if as_json:
        print_json(
            [
                {"night_id": one.night_id, "began_at": one.began_at, "ended_at": one.ended_at, "summary": one.summary}
                for one in found
            ]
        )
        return
    rows = [(one.night_id, f"{(one.ended_at - one.began_at).total_seconds():.0f} s", one.summary) for one in found]
    print_rows("Nights", ("night", "took", "what became of the wells"), rows, empty="none")


@fleet.command("diff")
@command
def diff(
    before: Annotated[str, typer.Argument(help="'before' (the last but one), or the beginning of an id.")] = "before",
    after: Annotated[str, typer.Argument(help="'latest', or the beginning of an id.")] = "latest",
    *,
    as_json: AsJson = False,
) -> None:
    """Say what changed between two nights, well by well."""
    from nightwell.wells.fleet.night import read_night
    from nightwell.wells.fleet.night_difference import difference_of_nights

    results = _results(settings())
    found = difference_of_nights(read_night(results, before), read_night(results, after), results)
    if as_json:
        print_json(found)
        return
    say(f"night {found.before} to night {found.after}: {found.unchanged} wells as before, {len(found.changed)} changed")
    for change in found.versions:
        say(f"  {change.name}: {change.before or 'none'} -> {change.after or 'none'}")
    for title, names in (
        ("failed now", found.newly_failed),
        ("failed before, not now", found.recovered),
        ("in the first night alone", found.only_before),
        ("in the second night alone", found.only_after),
    ):
        if names:
            say(f"  {title}: {', '.join(names[:_SHOWN])}{', ...' if len(names) > _SHOWN else ''}")
    for well in found.changed:
        if well.problem:
            say(f"well {well.well}: {well.problem}")
        if well.difference is not None:
            say_difference(well.difference)


def say_difference(found: WellDifference) -> None:
    """Print what changed between two analyses of a well."""
    if found.before == found.after:
        say(f"well {found.well}: both are analysis {found.before}")
        return
    beyond = found.beyond_sigma
    say(
        f"well {found.well}, analysis {found.before} to {found.after}: {len(found.curves)} of {found.curves_compared} "
        f"curves changed, {len(beyond)} of them beyond one sigma; {len(found.classes)} zones changed class"
    )
    for change in found.versions:
        say(f"  {change.name}: {change.before or 'none'} -> {change.after or 'none'}")
    rows = [
        (
            f"{one.stream}/{one.name}",
            f"{one.max_abs:.4g} {one.units}".strip(),
            f"{one.max_at_m:.1f} m",
            f"{one.rms:.4g}",
            f"{one.max_sigmas:.2f}",
            f"{one.beyond_sigma} of {one.depths}",
        )
        for one in (beyond or found.curves)[:_SHOWN]
    ]
    columns = ("curve", "largest change", "at", "RMS", "sigmas", "depths beyond sigma")
    print_rows("Curves, the largest changes in sigmas first", columns, rows, empty="  every curve is the same")
    zones = [
        (one.stream, one.classification, f"{one.top_m:.1f}-{one.bottom_m:.1f} m", one.before, one.after)
        for one in sorted(found.classes, key=lambda zone: -zone.depths)[:_SHOWN]
    ]
    if zones:
        print_rows("Zones, the thickest first", ("stream", "classification", "depths", "was", "is"), zones, empty="")
    for title, names in (("gone", found.only_before), ("new", found.only_after)):
        if names:
            say(f"  {title}: {', '.join(names)}")


def _say_night(done: Night) -> None:
    say(f"night {done.night_id}: {done.summary}")
    rows = [
        (one.well or one.scans, one.ending.value, ", ".join(one.reasons), one.analysis_id, f"{one.seconds:.2f}")
        for one in done.outcomes
    ]
    print_rows("Wells", ("well", "ended", "why", "newest analysis", "s"), rows, empty="none")
    for one in done.outcomes:
        if one.error:
            say(f"{one.error['subject']}: expected {one.error['expected']}; found {one.error['found']}")
    if done.passed_over:
        say(f"no raw scans in: {', '.join(done.passed_over)}")


def _failed(done: Night) -> NightwellError:
    return NightwellError(
        f"night '{done.night_id}'",
        expected="every well analysed",
        found=done.summary,
        cause="what each failed well says",
        next_step="mend these wells and run the night again: the others are not computed again",
    )


def _candidates(chosen: Settings, scans: str | None, volumes: list[str] | None) -> Found:
    """Find where scans may be; what the command line names stands for all that the settings name."""
    from nightwell.reanalysis import candidates_of

    if scans is None and volumes is None:
        return candidates_of(chosen, chosen.wells.scans, chosen.wells.volumes)
    return candidates_of(chosen, scans or "", tuple(volumes or ()))


def _results(chosen: Settings) -> Place:
    from nightwell.reanalysis import place_of

    return place_of(chosen, chosen.results_location())
