"""Log lines say which run, volume, site and step they belong to, in every process that works for a run."""

from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import threading
from contextlib import redirect_stderr
from pathlib import Path
from typing import Any

import pytest
from cli.command import Cli
from machine import MIB, Machine, noise

from nightwell.arrays.client import ArrayClient
from nightwell.errors import ConflictError
from nightwell.logs import LogForm, LogLevel, about, now_about, write_logs

AS_JSON = ("NIGHTWELL_LOG__FORM", "json")
Line = dict[str, Any]


def lines_of(text: str) -> list[Line]:
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]


@pytest.fixture(scope="module")
def logged(machine: Machine, cli: Cli) -> list[Line]:
    """Return what a backup by both sites in one process logs as JSON."""
    machine.make_volume("logged", 4 * MIB, data=noise(2 * MIB))
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv(*AS_JSON)
        ended = cli.process("backup", "logged", "--json").good()
    assert ended.document["committed"], "nothing but the document on standard output"
    assert machine.settings.store.secret_key.get_secret_value() not in ended.err
    return lines_of(ended.err)


def test_every_line_of_a_backup_names_its_run_volume_and_site(logged: list[Line]) -> None:
    assert len({line["run"] for line in logged}) == 1
    assert {line["volume"] for line in logged} == {"logged"}
    assert {line["site"] for line in logged} == {"source", "destination"}
    assert {line["level"] for line in logged} == {"info"}
    assert all(line["time"].endswith("Z") for line in logged)


def test_every_step_is_one_line_with_its_seconds(logged: list[Line]) -> None:
    finished = [line for line in logged if line.get("event") == "Finished"]
    at_source = [line["step"] for line in finished if line["site"] == "source"]
    assert at_source[:3] == ["check_pair", "create_secondary", "create_pair"]
    assert [line["step"] for line in finished if line["site"] == "destination"] == [
        "import",
        "produce",
        "copy",
        "commit",
        "delete_server",
        "release_import",
    ]
    seconds = {line["step"]: line["seconds"] for line in finished}
    assert seconds["request"] > seconds["copy"] > 0
    ends = [line for line in logged if line.get("event") == "ended"]
    assert [line["site"] for line in ends] == ["destination", "source"]
    assert all("step" not in line and line["ending"] == "done" for line in ends)


def test_what_the_mover_says_in_its_virtual_server_is_logged_by_who_produced_it(logged: list[Line]) -> None:
    said = [line for line in logged if line["logger"] == "nightwell.mover.work"]
    assert [line["message"].split()[0] for line in said] == ["copies", "read", "committed"]
    (run_id,) = {line["run"] for line in said}
    assert {line["server"] for line in said} == {f"vs-{run_id}"}
    assert [line["step"] for line in said] == ["copy", "copy", "commit"]


def test_a_step_that_fails_logs_the_five_fields_and_the_way_back(
    cli: Cli, machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.make_volume("refused", MIB, data=noise(MIB))
    monkeypatch.setenv(*AS_JSON)
    monkeypatch.setenv("NIGHTWELL_SOURCE__QUIESCE", '["false"]')
    ended = cli.run("backup", "refused", "--json")
    assert ended.code == 1
    lines = lines_of(ended.err)
    (failed,) = [line for line in lines if line.get("event") == "Failed"]
    assert (failed["level"], failed["step"], failed["error"]["found"]) == ("warning", "quiesce", "exit status 1: ")
    assert set(failed["error"]) == {"error", "subject", "expected", "found", "cause", "next_step"}
    assert [line["step"] for line in lines if line.get("event") == "Undone"] == [
        "quiesce",
        "create_pair",
        "create_secondary",
    ]
    assert lines[-1]["message"].endswith("no version was made")
    assert lines[-1]["level"] == "warning"


def test_text_beside_a_display_says_nothing_twice(cli: Cli, machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.make_volume("quiet", MIB, data=noise(MIB))
    with monkeypatch.context() as patched:
        patched.setenv("NIGHTWELL_SOURCE__QUIESCE", '["false"]')
        ended = cli.run("backup", "quiet")
    assert ended.out.count("exit status 1") == 1, "the display"
    assert ended.err.count("exit status 1") == 1, "the error"
    monkeypatch.setenv("NIGHTWELL_LOG__LEVEL", "info")
    asked = cli.run("backup", "quiet")
    assert " info site=destination run=" in asked.err
    assert " volume=quiet step=copy copy finished" in asked.err


def test_an_array_logs_who_changed_what(tmp_path: Path) -> None:
    words = ["array", "serve", "--name", "bench", "--directory", str(tmp_path / "array")]
    with subprocess.Popen(
        [sys.executable, "-m", "nightwell", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, AS_JSON[0]: AS_JSON[1]},
    ) as process:
        assert process.stdout is not None
        array = ArrayClient(json.loads(process.stdout.readline())["control"])
        array.create_volume("well-s", MIB, owner="run-1")
        array.volumes()
        with pytest.raises(ConflictError):
            array.delete_volume("well-s", owner="run-2")
        array.close()
        process.send_signal(signal.SIGTERM)
        lines = lines_of(process.communicate(timeout=30)[1])
    assert [(line["call"], line["run"], line["name"], line["level"]) for line in lines] == [
        ("create_volume", "run-1", "well-s", "info"),
        ("delete_volume", "run-2", "well-s", "warning"),
    ]
    assert {line["array"] for line in lines} == {"bench"}
    assert lines[1]["error"]["error"] == "ConflictError"


def test_what_a_line_belongs_to_ends_with_its_block_and_is_not_another_threads() -> None:
    log = logging.getLogger("nightwell.test")
    written = io.StringIO()
    with redirect_stderr(written):
        write_logs(LogForm.TEXT, LogLevel.DEBUG)
        write_logs(LogForm.JSON, LogLevel.DEBUG)  # replaces it: each line is written once
        with about(run="r-1", volume="v"):
            with about(volume="w"):
                now_about(step="copy")
                log.debug("inner")
            log.info("outer")
            thread = threading.Thread(target=log.info, args=("elsewhere",))
            thread.start()
            thread.join()
            try:
                int("why")
            except ValueError:
                log.exception("broken")
    inner, outer, elsewhere, broken = lines_of(written.getvalue())
    assert (inner["run"], inner["volume"], inner["step"]) == ("r-1", "w", "copy")
    assert (outer["run"], outer["volume"], outer.get("step")) == ("r-1", "v", None)
    assert "run" not in elsewhere
    assert broken["exception"].endswith("invalid literal for int() with base 10: 'why'")
