"""The tools that are measured, each as its own manual says to use it for a block volume in S3."""

from __future__ import annotations

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Protocol

from metering import Command
from nightwell_worker import Job
from object_server import ACCESS_KEY, REGION, SECRET_KEY, Bucket
from volume_image import Change, read_changes

from nightwell.programs import find_program

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
BENCH_VENV = ROOT / ".venv-bench"

_PASSWORD = "benchmark-passphrase"


class NotAvailableError(Exception):
    """A tool cannot be had on this machine; the text says why."""


class Contender(Protocol):
    """One tool in one configuration."""

    name: str
    bucket: Bucket
    part_pids: tuple[int, ...]  # processes beside the measured one, whose CPU seconds are counted

    def prepare(self, image: Path) -> None:
        """Make its repository."""
        ...

    def follow(self, image: Path, changes: list[Change]) -> None:
        """Bring its own copy of the volume, if it has one, to the image's state; not measured."""
        ...

    def backup(self, image: Path, state: int, changes: Path | None) -> Command:
        """Return the command that backs up the image, which is in its ``state``-th state."""
        ...

    def restore(self, target: Path) -> Command:
        """Return the command that restores the newest backup as ``target``."""
        ...

    def collect(self, target: Path) -> None:
        """Make ``target`` hold what was restored, if the command did not; not measured."""
        ...


class ReadsImage:
    """A tool that reads the image and writes the target itself."""

    part_pids: tuple[int, ...] = ()

    def follow(self, image: Path, changes: list[Change]) -> None:
        """Do nothing: the image is what it reads."""

    def collect(self, target: Path) -> None:
        """Do nothing: it wrote the target."""


class Nightwell(ReadsImage):
    """This project's block pipeline; with or without the array's change list."""

    def __init__(
        self, bucket: Bucket, *, change_list: bool = False, block_bytes: int | None = None, name: str = ""
    ) -> None:
        self.name = name or ("nightwell, change list" if change_list else "nightwell, digests only")
        self.bucket = bucket
        self._change_list = change_list
        self._block_bytes = block_bytes

    def prepare(self, image: Path) -> None:  # noqa: ARG002  any size will do
        """Make the store; that the server's conditional writes hold is proved here, once."""
        _run(self._command(Job("create", "", {})))

    def backup(self, image: Path, state: int, changes: Path | None) -> Command:
        """Back up through the worker."""
        hint = str(changes) if changes and self._change_list else None
        return self._command(Job("backup", str(image), {}, state=state, changes=hint, block_bytes=self._block_bytes))

    def restore(self, target: Path) -> Command:
        """Restore through the worker."""
        return self._command(Job("restore", str(target), {}))

    def _command(self, job: Job) -> Command:
        job = dataclasses.replace(job, location=dataclasses.asdict(self.bucket.location()))
        return Command([sys.executable, str(HERE / "nightwell_worker.py"), json.dumps(dataclasses.asdict(job))])


class Restic(ReadsImage):
    """restic: content-defined chunks, zstd, encryption (it has no other way)."""

    name = "restic"

    def __init__(self, bucket: Bucket, folder: Path) -> None:
        program = find_program("restic")
        if program is None:
            raise NotAvailableError("restic is not installed: python3 infra/fetch_tools.py restic")
        self.bucket = bucket
        self._program = str(program)
        self._environment = {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_DEFAULT_REGION": REGION,
            "RESTIC_PASSWORD": _PASSWORD,
            "RESTIC_REPOSITORY": f"s3:{bucket.endpoint_url}/{bucket.name}",
            "RESTIC_CACHE_DIR": str(folder / "restic-cache"),
        }

    def prepare(self, image: Path) -> None:  # noqa: ARG002  any size will do
        """Make the repository, of the format that compresses."""
        _run(self._command("init", "--repository-version", "2"))

    def backup(self, image: Path, state: int, changes: Path | None) -> Command:  # noqa: ARG002  it has no use for them
        """Back up a volume as its manual does: from standard input; it knows no change list."""
        command = self._command("backup", "--quiet", "--stdin", "--stdin-filename", "volume")
        return dataclasses.replace(command, stdin=image)

    def restore(self, target: Path) -> Command:
        """Restore into a folder, which it does in parallel (``dump`` does not)."""
        return self._command("restore", "--quiet", "latest", "--target", str(target.parent))

    def _command(self, *words: str) -> Command:
        return Command([self._program, *words], self._environment)


class Benji(ReadsImage):
    """benji: fixed blocks of 4 MiB, zstd at nightwell's level, no encryption; takes a change list as RBD hints."""

    def __init__(self, bucket: Bucket, folder: Path, *, change_list: bool = False) -> None:
        self.name = "benji, change list" if change_list else "benji"
        self.bucket = bucket
        self._program = str(install_benji())
        self._folder = folder / bucket.name
        self._folder.mkdir(parents=True)
        self._change_list = change_list
        self._state = 0

    def prepare(self, image: Path) -> None:  # noqa: ARG002  any size will do
        """Write the configuration and make the database."""
        (self._folder / "benji.yaml").write_text(json.dumps(self._configuration()))
        _run(self._command("database-init"))

    def backup(self, image: Path, state: int, changes: Path | None) -> Command:
        """Back up the file; with a change list, what it names only."""
        self._state = state
        words = ["backup", "--uid", f"state-{state}"]
        if changes and self._change_list:
            hints = self._folder / f"hints-{state}.json"
            pieces = [[one.offset_bytes, one.length_bytes] for one in read_changes(changes)]
            hints.write_text(json.dumps([{"offset": at, "length": length, "exists": "true"} for at, length in pieces]))
            words += ["--rbd-hints", str(hints), "--base-version", f"state-{state - 1}"]
        return self._command(*words, f"file:{image}", "volume")

    def restore(self, target: Path) -> Command:
        """Restore to a new file, leaving holes."""
        return self._command("restore", "--sparse", "--force", f"state-{self._state}", f"file:{target}")

    def _command(self, *words: str) -> Command:
        return Command([self._program, "--config-file", str(self._folder / "benji.yaml"), "--no-color", *words])

    def _configuration(self) -> dict[str, object]:
        storage = {
            "awsAccessKeyId": ACCESS_KEY,
            "awsSecretAccessKey": SECRET_KEY,
            "endpointUrl": self.bucket.endpoint_url,
            "bucketName": self.bucket.name,
            "regionName": REGION,
            "addressingStyle": "path",
            "activeTransforms": ["zstd"],
        }
        return {
            "configurationVersion": "1",
            "databaseEngine": f"sqlite:///{self._folder}/benji.sqlite",
            "logFile": str(self._folder / "benji.log"),
            "defaultStorage": "s3",
            "storages": [{"name": "s3", "module": "s3", "storageId": 1, "configuration": storage}],
            "transforms": [{"name": "zstd", "module": "zstd", "configuration": {"level": 1}}],
            "ios": [{"name": "file", "module": "file", "configuration": {}}],
        }


def install_benji() -> Path:
    """Install benji into an environment of its own, once; return the program.

    Raises
    ------
    NotAvailableError
        It cannot be installed (one of its parts is compiled, so it needs a C compiler and Python's headers).
    """
    program = BENCH_VENV / "bin" / "benji"
    if program.exists():
        return program
    uv = str(Path(sys.executable).parent / "uv")
    steps = (
        [uv, "venv", "--quiet", "--allow-existing", "--python", sys.executable, str(BENCH_VENV)],
        [uv, "pip", "sync", "--quiet", "--python", str(BENCH_VENV / "bin" / "python"), str(HERE / "benji.lock")],
    )
    for step in steps:
        done = subprocess.run(step, capture_output=True, text=True, check=False)
        if done.returncode:
            last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise NotAvailableError(f"benji cannot be installed here: {last}")
    return program


def _run(command: Command) -> None:
    with tempfile.TemporaryFile() as output:
        done = subprocess.run(
            list(command.arguments),
            env={**os.environ, **command.environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            output.seek(0)
            raise NotAvailableError(f"{command.arguments[0]} failed: {output.read()[-500:].decode(errors='replace')}")
