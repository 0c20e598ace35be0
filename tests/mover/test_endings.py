"""How a mover ends when its producer, the mover itself, or the host goes away."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace

import boto3
import pytest
from botocore.config import Config
from mover.rig import VOLUME, Rig

from nightwell.errors import NightwellError, UnknownOutcomeError
from nightwell.mover.job import ACCESS_KEY_VARIABLE, SECRET_KEY_VARIABLE, encode_job
from nightwell.servers.process import ProcessServers

PRODUCER = """
import json, sys, time
from pathlib import Path
from nightwell.mover.job import mover_command
from nightwell.servers.port import ServerSpec
from nightwell.servers.process import ProcessServers
given = json.loads(sys.argv[1])
spec = ServerSpec("vs-orphan", "run-orphan", mover_command(), given["environment"])
handle = ProcessServers(Path(given["directory"])).produce(spec)
handle.stdin.write(given["job"].encode())
handle.stdin.flush()
time.sleep(600)
"""


def packs(rig: Rig) -> list[str]:
    where = rig.location
    client = boto3.client(
        "s3",
        endpoint_url=where.endpoint_url,
        aws_access_key_id=where.access_key,
        aws_secret_access_key=where.secret_key,
        region_name=where.region,
        config=Config(s3={"addressing_style": "path"}),
    )
    try:
        found = client.list_objects_v2(Bucket=where.bucket, Prefix=where.prefix).get("Contents", [])
        return [entry["Key"] for entry in found if entry["Key"].endswith(".pack")]
    finally:
        client.close()


def copied(rig: Rig, seed: int = 7) -> None:
    rig.volume().fill(seed)
    mover = rig.produce()
    mover.start(rig.backup_job())
    mover.wait_copied()


def test_a_lifeline_that_closes_before_leave_is_given_leaves_nothing(rig: Rig) -> None:
    copied(rig)
    assert packs(rig)
    rig.process.stdin.close()
    assert rig.process.wait(20) == 3
    assert rig.versions() == ()
    assert packs(rig) == []


def test_a_mover_that_waits_for_an_array_ends_with_its_lifeline(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    reading, answer = threading.Event(), threading.Event()

    def hold(reads: int) -> None:
        reading.set()
        answer.wait(60)

    volume.on_read = hold
    try:
        rig.produce().start(rig.backup_job())
        assert reading.wait(20)
        began_s = time.monotonic()
        rig.process.stdin.close()
        assert rig.process.wait(20) == 3
        assert time.monotonic() - began_s < 8
    finally:
        answer.set()
    assert rig.versions() == ()


def test_a_mover_that_is_killed_before_leave_is_given_committed_nothing(rig: Rig) -> None:
    copied(rig)
    os.kill(rig.process.pid, signal.SIGKILL)
    assert rig.process.wait(20) == -signal.SIGKILL
    with pytest.raises(NightwellError, match="killed by signal 9") as raised:
        rig.conversations[-1].commit()
    assert not isinstance(raised.value, UnknownOutcomeError)
    assert rig.versions() == ()


def test_a_mover_that_is_killed_during_the_commit_leaves_the_old_version_or_one_new(rig: Rig) -> None:
    rig.volume().fill(1)
    first = rig.back_up(here=True)
    expected = [first]
    for seed, delay_s in enumerate((0.0, 0.03, 0.1), start=2):
        copied(rig, seed)
        killer = threading.Timer(delay_s, os.kill, (rig.process.pid, signal.SIGKILL))
        killer.start()
        try:
            told = rig.conversations[-1].commit()
        except UnknownOutcomeError:
            told = None
        except NightwellError:
            assert delay_s == 0.0  # it was gone before leave could be given
            told = None
        killer.join()
        with rig.store() as store:
            found = store.version_of_run(VOLUME, f"run-{len(rig.handles)}")
        assert told is None or found == told
        expected += [] if found is None else [found]
        assert rig.versions() == tuple(expected)
    volume = rig.volume()
    volume.fill(1)
    assert rig.contents(first) == bytes(volume.data)
    volume.fill(9)
    assert rig.contents(rig.back_up(here=True)) == bytes(volume.data)


def test_leave_that_was_given_is_used_although_the_producer_goes(rig: Rig) -> None:
    copied(rig)
    rig.process.stdin.write(b"commit\n")
    rig.process.stdin.close()
    assert rig.process.wait(20) == 0
    assert len(rig.versions()) == 1


def test_a_dead_producer_leaves_no_live_server(rig: Rig) -> None:
    volume = rig.volume()
    volume.fill()
    reading, answer = threading.Event(), threading.Event()

    def hold(reads: int) -> None:
        reading.set()
        answer.wait(60)

    volume.on_read = hold
    directory = rig.servers._directory
    environment = {ACCESS_KEY_VARIABLE: rig.location.access_key, SECRET_KEY_VARIABLE: rig.location.secret_key}
    job = encode_job(replace(rig.backup_job(), run_id="run-orphan")).decode()
    given = {"directory": str(directory), "environment": environment, "job": job}
    producer = subprocess.Popen([sys.executable, "-c", PRODUCER, json.dumps(given)])
    try:
        assert reading.wait(30)
    finally:
        producer.kill()
        producer.wait()
    recoverer = ProcessServers(directory)
    deadline_s = time.monotonic() + 8
    while recoverer.servers()[0].alive:
        assert time.monotonic() < deadline_s, "the mover outlived its producer"
        time.sleep(0.05)
    answer.set()
    assert [(info.server_id, info.run_id) for info in recoverer.servers()] == [("vs-orphan", "run-orphan")]
    recoverer.delete("vs-orphan")
    assert recoverer.servers() == ()
    assert [entry.name for entry in directory.iterdir()] == [".lock"]
    assert rig.versions() == ()
