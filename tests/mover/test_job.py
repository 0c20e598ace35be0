from __future__ import annotations

import json
from dataclasses import fields
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nightwell.errors import FormatError, InputError
from nightwell.mover.job import BackupJob, CopyMode, RestoreJob, StoreAddress, TlsPaths, decode_job, encode_job

text = st.text(max_size=20)
addresses = st.builds(StoreAddress, text, text, text, text)
tls = st.none() | st.just(TlsPaths(Path("/a/ca"), Path("/a/certificate"), Path("/a/key")))
times = st.none() | st.datetimes(timezones=st.just(UTC))
numbers = st.integers(min_value=0, max_value=2**62)
jobs = st.one_of(
    st.builds(
        BackupJob,
        run_id=text,
        fencing_token=numbers,
        volume=text,
        source=text,
        url=text,
        store=addresses,
        mode=st.sampled_from(CopyMode),
        tls=tls,
        split_at=times,
        split_id=st.none() | text,
        previous_split_id=st.none() | text,
        block_bytes=st.none() | numbers,
        threads=numbers,
    ),
    st.builds(
        RestoreJob,
        run_id=text,
        volume=text,
        version_id=text,
        url=text,
        store=addresses,
        tls=tls,
        verify=st.booleans(),
        threads=numbers,
    ),
)
JOB = BackupJob("run-1", 1, "well-7", "a/well-7", "nbd://h/well-7", StoreAddress("http://x", "b"))


@given(jobs)
def test_a_job_survives_the_pipe(job: BackupJob | RestoreJob) -> None:
    line = encode_job(job)
    assert line.count(b"\n") == 1
    assert decode_job(line) == job


def test_no_job_can_hold_credentials() -> None:
    names = {field.name for kind in (BackupJob, RestoreJob, StoreAddress) for field in fields(kind)}
    assert not {name for name in names if "secret" in name or "key" in name or "password" in name}


def changed(**changes: Any) -> bytes:
    document = json.loads(encode_job(JOB))
    document["fields"].update(changes)
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (changed(volume=7), r"BackupJob\.volume: expected str, found 7"),
        (changed(fencing_token="1"), r"BackupJob\.fencing_token: expected int"),
        (changed(fencing_token=True), r"BackupJob\.fencing_token: expected int, found True"),
        (changed(mode="sideways"), r"BackupJob\.mode: 'sideways' is not a valid CopyMode"),
        (changed(split_at="2026-05-01T00:00:00"), r"BackupJob\.split_at: .* has no time zone"),
        (changed(store={"bucket": "b"}), r"BackupJob\.store: endpoint_url, prefix, region, outage_s missing"),
        (changed(colour="red"), r"BackupJob: 'colour' unknown"),
        (b"", "Expecting value"),
        (b"\xff", "decode"),
        (b"[]", "expected an object"),
        (b'{"format": 1, "job": "cook"}', "expected one of backup, restore, found 'cook'"),
        (b'{"format": 1, "job": "backup"}', "expected an object, found NoneType"),
    ],
)
def test_anything_else_is_refused_by_name(line: bytes, said: str) -> None:
    with pytest.raises(InputError, match=said):
        decode_job(line)


def test_another_format_is_told_apart() -> None:
    with pytest.raises(FormatError, match="format 2"):
        decode_job(b'{"format": 2}')


def test_times_come_back_as_the_same_instant() -> None:
    job = BackupJob("r", 1, "v", "s", "u", StoreAddress("e", "b"), split_at=datetime(2026, 5, 1, 3, tzinfo=UTC))
    back = decode_job(encode_job(job))
    assert isinstance(back, BackupJob)
    assert back.split_at == job.split_at
