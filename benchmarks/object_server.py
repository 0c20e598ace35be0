"""SeaweedFS on loopback, with every port given by the system."""

from __future__ import annotations

import http.client
import sys
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

import boto3
from botocore.config import Config

from nightwell.local.process import LocalProcess, free_port
from nightwell.store.location import StoreLocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

ACCESS_KEY = "benchmark"
SECRET_KEY = "benchmark-secret"
REGION = "us-east-1"

_PORTS = ("master.port", "volume.port", "filer.port", "admin.port")
_OFF = ("webdav", "admin.ui", "master.telemetry")


@dataclass(frozen=True, slots=True)
class Bucket:
    """One bucket of the server; each contender has its own."""

    endpoint_url: str
    name: str

    def stored_bytes(self) -> int:
        """Return the bytes of all objects in it."""
        pages = _client(self.endpoint_url).get_paginator("list_objects_v2").paginate(Bucket=self.name)
        return sum(int(entry["Size"]) for page in pages for entry in page.get("Contents", []))

    def location(self) -> StoreLocation:
        """Return the bucket as nightwell names it."""
        return StoreLocation(
            endpoint_url=self.endpoint_url,
            bucket=self.name,
            access_key=ACCESS_KEY,
            secret_key=SECRET_KEY,
            region=REGION,
        )


class ObjectServer:
    """A SeaweedFS that keeps its data below ``folder``; a context manager."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        port = free_port()
        self.endpoint_url = f"http://127.0.0.1:{port}"
        options = {"s3.port": port, "s3.port.grpc": free_port()}
        for name in _PORTS:
            options |= {name: free_port(), f"{name}.grpc": free_port()}
        self._process = LocalProcess(
            [
                str(Path(sys.executable).parent / "weed"),
                "mini",
                f"-dir={folder}",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",  # the default listens on every address
                "-volume.max=10000",  # without it about ten buckets exhaust the server
                "-s3.port.iceberg=0",
                "-s3.port.lance=0",
                *(f"-{name}={value}" for name, value in options.items()),
                *(f"-{name}=false" for name in _OFF),
            ],
            log=folder.with_suffix(".log"),
            environment={"AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY},
            name="object server (SeaweedFS)",
        )
        self._process.wait_ready(lambda: _answers(port))

    @property
    def pid(self) -> int:
        """The server's process id."""
        return self._process.pid

    def make_bucket(self, name: str) -> Bucket:
        """Make an empty bucket."""
        _client(self.endpoint_url).create_bucket(Bucket=name)
        return Bucket(self.endpoint_url, name)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.stop()


def _client(endpoint_url: str) -> S3Client:
    return boto3.client(
        "s3",
        endpoint_url=endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=REGION,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 5}),
    )


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=1)
    try:
        connection.request("GET", "/status")
        return connection.getresponse().status < http.HTTPStatus.INTERNAL_SERVER_ERROR
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
