"""A site in numbers: what the official parsers read is what the journal, the store and the arrays hold."""

from __future__ import annotations

import math
import re
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.request import Request, urlopen

import pytest
from cli.bad_settings import settings_with
from cli.command import Cli, Ended
from machine import MIB, Machine, noise
from prometheus_client import Metric
from prometheus_client.openmetrics.parser import text_string_to_metric_families
from prometheus_client.parser import text_string_to_metric_families as parse_text
from prometheus_client.samples import Sample

from nightwell import __version__
from nightwell.errors import ConflictError
from nightwell.protocol import BackupMode, EffectContext, Facts, Opened, Phase, RunKind, Site, Step
from nightwell.sites.build import open_servers
from nightwell.sites.leaks import leaks_at_destination
from nightwell.sites.ledger import Effects
from nightwell.sites.requests import FenceRequest
from nightwell.store.grants.static import StaticGrants

SOURCE = {"site": "source", "kind": "backup", "volume": "well"}


def parse_openmetrics(text: str) -> Iterator[Metric]:
    yield from text_string_to_metric_families(text)  # type: ignore[no-untyped-call]  # it has no annotations


class Samples:
    """Metrics as a parser read them."""

    def __init__(self, samples: list[Sample]) -> None:
        self._samples = samples

    @classmethod
    def of(cls, ended: Ended) -> Samples:
        return cls([sample for family in parse_openmetrics(ended.good().out) for sample in family.samples])

    def value(self, name: str, **labels: str) -> float:
        (found,) = [one.value for one in self._samples if one.name == f"nightwell_{name}" and one.labels == labels]
        return float(found)

    def labels(self, name: str, label: str, **given: str) -> set[str]:
        return {
            one.labels[label]
            for one in self._samples
            if one.name == f"nightwell_{name}" and given.items() <= one.labels.items()
        }

    def total(self, name: str, **given: str) -> float:
        return sum(
            one.value
            for one in self._samples
            if one.name == f"nightwell_{name}" and given.items() <= one.labels.items()
        )


@pytest.fixture(scope="module")
def prepared(machine: Machine, cli: Cli) -> Machine:
    """Return a machine with a backed up volume, and one whose only backup was taken back."""
    machine.make_volume("well", 4 * MIB, data=noise(2 * MIB))
    assert cli.json("backup", "well")["committed"]
    machine.make_volume("never", MIB, data=noise(MIB))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("NIGHTWELL_SOURCE__QUIESCE", '["false"]')
        assert cli.run("backup", "never", "--json").code == 1
    return machine


def test_runs_steps_bytes_and_recovery_points_are_told(prepared: Machine, cli: Cli) -> None:
    found = Samples.of(cli.run("metrics"))
    assert found.value("info", version=__version__) == 1
    assert found.value("runs", site="source", kind="backup", phase="done") == 1
    assert found.value("runs", site="source", kind="backup", phase="reverted") == 1
    assert found.value("runs", site="source", kind="restore", phase="done") == 0
    assert (found.value("last_run_committed", **SOURCE), found.total("last_run_committed", volume="never")) == (1, 0)
    steps = found.labels("last_run_step_seconds", "step", **SOURCE)
    assert {"check_pair", "split", "request", "delete_secondary"} <= steps
    assert found.labels("last_run_step_seconds", "step", site="destination") >= {"produce", "copy", "commit"}
    assert found.labels("last_run_step_seconds", "step", volume="never", undo="true") == {
        "quiesce",
        "create_pair",
        "create_secondary",
    }
    seconds = found.total("last_run_step_seconds", **SOURCE)
    assert 0 < seconds <= found.value("last_run_seconds", **SOURCE)
    assert found.value("last_run_bytes", **SOURCE, what="read") == 4 * MIB
    assert found.value("last_run_bytes", **SOURCE, what="stored") > 2 * MIB
    (summary,) = [run for run in prepared.source.ledger.journal.newest_runs() if run.volume == "well"]
    ended = found.value("last_run_ended_timestamp_seconds", **SOURCE)
    assert ended == pytest.approx(summary.updated_at.timestamp(), abs=0.001)
    assert 0 <= found.value("recovery_point_age_seconds", volume="well") < 600
    assert found.value("recovery_point_target_seconds", volume="well") == 26 * 3600
    assert found.value("recovery_point_missed", volume="well") == 0
    assert found.value("recovery_point_age_seconds", volume="never") == math.inf
    assert found.value("recovery_point_missed", volume="never") == 1
    for kind in ("secondary", "pair", "split", "export", "import", "virtual server", "credentials"):
        assert found.total("leaked", kind=kind) == 0
    assert found.total("up") == 5
    assert found.total("owed") == found.total("runs_without_driver") == 0


def test_every_metric_is_documented_and_no_other(prepared: Machine, cli: Cli) -> None:
    told = {family.name.removeprefix("nightwell_") for family in parse_openmetrics(cli.run("metrics").good().out)}
    page = (Path(__file__).parents[2] / "docs" / "operations.md").read_text().split("## Metrics")[1]
    rows = [line.split(" | ")[0] for line in page.splitlines() if line.startswith("| `") and "nightwell_" not in line]
    written = {name for row in rows for name in re.findall(r"`(\w+)`", row)}
    assert written == (told - {"nightwell"}) | {"info"}


@contextmanager
def left_behind(machine: Machine) -> Iterator[None]:
    """Leave what a run makes at both sites, without a run; a person's own things beside it are nobody's leak."""
    source, destination = machine.source_array, machine.destination_array
    source.create_volume("well-s", 4 * MIB, owner="gone-1")
    source.create_pair("well", "well-s", owner="gone-1")
    url = source.export("well", name="run-gone-1", writable=False, owner="gone-1").url
    destination.import_volume(url, name="run-gone-1", writable=False, owner="gone-1")
    server = machine.settings.servers_directory() / "vs-gone-1"
    server.mkdir(parents=True)
    yield
    server.rmdir()
    destination.release("run-gone-1")
    source.withdraw("run-gone-1")
    source.delete_pair("well")
    source.delete_volume("well-s")


def test_what_was_left_behind_is_counted_and_named(prepared: Machine, cli: Cli) -> None:
    assert cli.text("leaks") == "nothing leaked\n"
    with left_behind(prepared):
        found = Samples.of(cli.run("metrics"))
        named = {(one["site"], one["kind"], one["name"]) for one in cli.json("leaks")}
        assert len(cli.json("leaks", "--site", "source")) == 3
        assert "virtual server  vs-gone-1" in cli.text("leaks", "--site", "destination")
    assert found.labels("leaked", "kind", site="source") == {"secondary", "pair", "split", "export"}
    assert (found.total("leaked"), found.value("leaked", site="source", kind="split")) == (5, 0)
    assert named == {
        ("source", "secondary", "well-s"),
        ("source", "pair", "well"),
        ("source", "export", "run-gone-1"),
        ("destination", "import", "run-gone-1"),
        ("destination", "virtual server", "vs-gone-1"),
    }
    assert cli.json("leaks") == []


def test_what_runs_under_way_hold_is_no_leak_but_a_run_without_a_driver_is_told(prepared: Machine, cli: Cli) -> None:
    ledger = prepared.source.ledger
    lease = ledger.begin(Opened("held-1", RunKind.BACKUP, Site.SOURCE, "held", BackupMode.DIRECT))
    prepared.source_array.create_volume("held-s", MIB, owner="held-1")
    assert cli.json("leaks") == []
    assert Samples.of(cli.run("metrics")).value("runs_without_driver", site="source") == 0
    ledger.leases.release(lease)
    assert Samples.of(cli.run("metrics")).value("runs_without_driver", site="source") == 1
    prepared.source_array.delete_volume("held-s")


def test_what_a_stuck_run_owes_is_told_and_the_pair_it_left_split_is_a_leak(prepared: Machine, cli: Cli) -> None:
    array = prepared.source_array
    array.create_volume("stuck-copy", MIB)
    prepared.make_volume("stuck", MIB)
    array.create_pair("stuck", "stuck-copy")

    def refuse(_: EffectContext) -> Facts:
        raise ConflictError("s", expected="e", found="f", cause="c", next_step="n")

    def breaking(effects: Effects) -> Effects:
        return {**effects, Step.EXPORT: refuse, Step.RESYNC: refuse}

    run = prepared.source.back_up("stuck", wrap=breaking)
    assert run.phase is Phase.STUCK
    found = Samples.of(cli.run("metrics", "--site", "source"))
    assert found.value("owed", site="source", step="resync") == 1
    assert found.value("owed", site="source", step="thaw") == 0
    assert found.value("leaked", site="source", kind="split") == 1
    assert [(one["kind"], one["name"], one["run_id"]) for one in cli.json("leaks")] == [("split", "stuck", run.run_id)]
    prepared.source.ledger.resolve(run.run_id, "test", "resynced")
    array.resync("stuck")
    assert cli.json("leaks") == []


class _Issued(StaticGrants):
    """Credentials of two runs stand, one of them unknown here: two sites may share a server."""

    def standing(self) -> tuple[str, ...]:
        return ("another-sites", "known-1")


def test_credentials_that_outlived_their_run_are_a_leak_and_another_sites_are_not(prepared: Machine) -> None:
    site = prepared.destination

    def names() -> list[str]:
        servers = open_servers(prepared.settings)
        found = leaks_at_destination(site.array, servers, _Issued(site.location), site.ledger.journal)
        return [f"{leak.kind} {leak.name}" for leak in found]

    assert names() == [], "neither run is known here"
    site.fence(FenceRequest(run_id="known-1", kind=RunKind.BACKUP, volume="known"))
    assert names() == ["credentials known-1"]


def test_a_pair_that_is_kept_for_the_next_run_is_no_leak(prepared: Machine, cli: Cli) -> None:
    prepared.make_volume("keeping", MIB)
    run = cli.json("backup", "keeping", "--keep-pair")
    (pair,) = [one["pair"] for one in cli.json("pair", "status", "keeping")]
    assert pair["owner"] == run["run_id"]
    assert cli.json("leaks") == []
    cli.text("pair", "delete", "keeping")
    cli.text("volume", "delete", pair["secondary"])


def test_a_part_that_does_not_answer_is_told_and_costs_nothing_else(prepared: Machine, tmp_path: Path) -> None:
    cli = settings_with(prepared, tmp_path, {"source.array.control": str(tmp_path / "gone.sock")})
    found = Samples.of(cli.run("metrics", "--site", "source"))
    assert found.value("up", site="source", part="array") == 0
    assert found.value("up", site="source", part="journal") == 1
    assert found.labels("up", "site") == {"source"}
    assert found.labels("leaked", "kind") == set(), "what is not known is not told as none"
    assert found.value("runs", site="source", kind="backup", phase="done") >= 1


def test_a_textfile_is_what_node_exporter_reads(prepared: Machine, cli: Cli, tmp_path: Path) -> None:
    file = tmp_path / "nightwell.prom"
    assert cli.run("metrics", "--textfile", file).good().out == ""
    families = {family.name: family for family in parse_text(file.read_text())}
    assert {family.type for family in families.values()} == {"gauge"}
    assert families["nightwell_recovery_point_missed"].samples
    assert [path.name for path in tmp_path.iterdir()] == ["nightwell.prom"]


def test_they_are_served_in_the_form_that_is_asked_for(prepared: Machine, cli: Cli) -> None:
    with subprocess.Popen(cli.command("metrics", "--serve", "0"), stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        found = re.search(r"http://127\.0\.0\.1:\d+/metrics", process.stderr.readline())
        assert found is not None
        with urlopen(Request(found[0], headers={"Accept": "application/openmetrics-text"}), timeout=60) as answer:
            text = answer.read().decode()
        process.send_signal(signal.SIGINT)
    names = {family.name for family in parse_openmetrics(text)}
    assert {"nightwell", "nightwell_runs", "nightwell_leaked", "nightwell_recovery_point_age_seconds"} <= names
