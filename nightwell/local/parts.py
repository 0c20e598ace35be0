"""The embedded parts of a site on one machine: arrays and an S3 server, each a process of its own."""

from __future__ import annotations

from pathlib import Path

import boto3
from botocore.config import Config

from nightwell.local.process import LocalProcess, free_port, listens, python
from nightwell.settings import ArrayDriver, ArraySettings, StoreSettings

#: moto checks no secret; these make it plain in logs that nothing real is behind them.
_MOTO_KEY = "embedded-demo"


def start_array(
    name: str, folder: Path, *, driver: ArrayDriver = ArrayDriver.EMBEDDED
) -> tuple[LocalProcess, ArraySettings]:
    """Start an array that keeps its volumes in ``folder``; it is ready when this returns."""
    folder.mkdir(parents=True, exist_ok=True)
    control = folder / "control.sock"
    command = python("-m", f"nightwell.arrays.{driver}", "serve", "--name", name, "--directory", str(folder))
    log = folder.parent / f"{name}.log"
    said_before = log.stat().st_size if log.exists() else 0
    process = LocalProcess([*command, "--control", str(control)], log=log, name=f"array {name}")
    # Its own word, not the socket: one that was killed leaves its socket behind.
    process.wait_ready(lambda: b'"ready": true' in log.read_bytes()[said_before:])
    return process, ArraySettings(name=name, driver=driver, control=control)


def moto_command(port: int) -> list[str]:
    """Return the command that serves moto's S3 on a loopback port."""
    return python("-m", "nightwell.local.moto_server", "--port", str(port))


def start_object_store(folder: Path, *, bucket: str = "nightwell") -> tuple[LocalProcess, StoreSettings]:
    """Start moto's S3 server and make a bucket. It keeps everything in memory and checks no credentials."""
    port = free_port()
    process = LocalProcess(
        moto_command(port),
        log=folder / "moto.log",
        name="S3 server (moto)",
    )
    process.wait_ready(lambda: listens(port))
    settings = StoreSettings.model_validate(
        {"endpoint_url": f"http://127.0.0.1:{port}", "bucket": bucket, "access_key": _MOTO_KEY, "secret_key": _MOTO_KEY}
    )
    boto3.client(
        "s3",
        endpoint_url=settings.endpoint_url,
        aws_access_key_id=settings.access_key,
        aws_secret_access_key=settings.secret_key.get_secret_value(),
        region_name=settings.region,
        config=Config(s3={"addressing_style": "path"}),
    ).create_bucket(Bucket=bucket)
    return process, settings
