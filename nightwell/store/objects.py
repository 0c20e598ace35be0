"""The objects of a store: obstore moves the data, boto3 works the control plane.

obstore spends a tenth of boto3's processor time on a byte; boto3 knows what obstore does not (buckets, the server's
clock, what a refusal says). Packs go up as single requests with an unsigned payload: a multipart upload costs seventeen
times the processor time, and every block carries a digest of its own.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

import boto3
import obstore
from botocore.config import Config
from botocore.exceptions import ClientError
from obstore.exceptions import AlreadyExistsError, PreconditionError
from obstore.store import S3Store

from nightwell.store.faults import OBJECT_MISSING, bucket_missing, named
from nightwell.store.location import StoreLocation

if TYPE_CHECKING:
    from mypy_boto3_s3 import S3Client

_CONNECT_TIMEOUT = timedelta(seconds=5)
_REQUEST_TIMEOUT = timedelta(seconds=120)
# The time bounds the retries, not their number: four of them are over in half a second, before any server is back.
_MAX_RETRIES = 1_000
_LONGEST_PAUSE = timedelta(seconds=2)
_MISSING = 404

# boto3's default session, which keeps what half a second was spent to load, makes one client at a time.
_MAKING_CLIENTS = threading.Lock()


@dataclass(frozen=True, slots=True)
class ObjectInfo:
    """One object: its key below the store's prefix, its size, and when the server last saw it written."""

    key: str
    size_bytes: int
    written_at: datetime


class Objects:
    """The objects below a store's prefix. Thread-safe. Every method raises this project's errors."""

    def __init__(self, location: StoreLocation) -> None:
        self.location = location
        self._data = S3Store(
            location.bucket,
            prefix=location.prefix or None,
            endpoint=location.endpoint_url,
            region=location.region,
            access_key_id=location.access_key,
            secret_access_key=location.secret_key,
            config={"session_token": location.session_token} if location.session_token else None,
            unsigned_payload=True,
            virtual_hosted_style_request=False,
            client_options={
                "allow_http": location.allow_http,
                "connect_timeout": _CONNECT_TIMEOUT,
                "timeout": _REQUEST_TIMEOUT,
            },
            retry_config={
                "max_retries": _MAX_RETRIES,
                "retry_timeout": timedelta(seconds=location.outage_s),
                "backoff": {"max_backoff": _LONGEST_PAUSE},
            },
        )
        self._control = _control_client(location)

    def check_bucket(self) -> datetime:
        """Return the server's time when it answers, accepts us, and has the bucket."""
        with named(self.location, "look at the bucket"):
            try:
                answer = self._control.head_bucket(Bucket=self.location.bucket)
            except ClientError as error:
                if error.response["ResponseMetadata"]["HTTPStatusCode"] != _MISSING:
                    raise
                raise bucket_missing(self.location) from error
        return _server_time(answer["ResponseMetadata"]["HTTPHeaders"])

    def put(self, key: str, data: bytes | memoryview) -> None:
        """Write one object whole, over whatever is there."""
        with named(self.location, f"write {key}"):
            obstore.put(self._data, key, data, use_multipart=False)

    def put_new(self, key: str, data: bytes) -> bool:
        """Write one object if there is none; return whether this call can be seen to have written it."""
        with named(self.location, f"write {key}"):
            try:
                obstore.put(self._data, key, data, mode="create", use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def replace(self, key: str, data: bytes, *, tag: str) -> bool:
        """Write one object if its entity tag is still ``tag``; return whether it was."""
        with named(self.location, f"replace {key}"):
            try:
                obstore.put(self._data, key, data, mode={"e_tag": tag}, use_multipart=False)
            except (AlreadyExistsError, PreconditionError):
                return False
        return True

    def entity_tag(self, key: str) -> str:
        """Return an object's entity tag."""
        with named(self.location, f"look at {key}"):
            return obstore.head(self._data, key)["e_tag"] or ""

    def size_bytes(self, key: str) -> int:
        """Return an object's size, 0 when there is no such object."""
        with named(self.location, f"look at {key}"):
            try:
                return int(obstore.head(self._data, key)["size"])
            except OBJECT_MISSING:
                return 0

    def get(self, key: str) -> bytes | None:
        """Return an object's bytes, or ``None`` when there is no such object."""
        with named(self.location, f"read {key}"):
            try:
                return bytes(obstore.get(self._data, key).bytes())
            except OBJECT_MISSING:
                return None

    def get_range(self, key: str, offset_bytes: int, length_bytes: int) -> memoryview:
        """Return a range of an object; shorter, or an error, when the object ends before the range does."""
        with named(self.location, f"read {key}"):
            return memoryview(obstore.get_range(self._data, key, start=offset_bytes, length=length_bytes))

    def delete(self, key: str) -> None:
        """Delete one object; one that is not there is fine."""
        with named(self.location, f"delete {key}"):
            try:
                obstore.delete(self._data, key)
            except OBJECT_MISSING:
                return

    def list(self, prefix: str) -> Iterator[ObjectInfo]:
        """Yield all objects whose key starts with ``prefix``."""
        root = f"{self.location.prefix}/" if self.location.prefix else ""
        with named(self.location, f"list {prefix}"):
            pages = self._control.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.location.bucket, Prefix=root + prefix):
                for item in page.get("Contents", ()):
                    yield ObjectInfo(item["Key"].removeprefix(root), item["Size"], item["LastModified"])

    def list_folders(self, prefix: str) -> Iterator[str]:
        """Yield the names of the folders directly below ``prefix``, which ends with a slash."""
        root = f"{self.location.prefix}/" if self.location.prefix else ""
        with named(self.location, f"list {prefix}"):
            pages = self._control.get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.location.bucket, Prefix=root + prefix, Delimiter="/"):
                for item in page.get("CommonPrefixes", ()):
                    yield item["Prefix"].removeprefix(root + prefix).rstrip("/")

    def delete_all(self, keys: Iterable[str]) -> None:
        """Delete objects one after another; those that are not there are fine."""
        for key in keys:
            self.delete(key)

    def close(self) -> None:
        """Close the connections of the control plane."""
        self._control.close()


def _control_client(location: StoreLocation) -> S3Client:
    with _MAKING_CLIENTS:
        return boto3.client(
            "s3",
            endpoint_url=location.endpoint_url,
            region_name=location.region,
            aws_access_key_id=location.access_key,
            aws_secret_access_key=location.secret_key,
            aws_session_token=location.session_token or None,
            config=Config(
                connect_timeout=_CONNECT_TIMEOUT.total_seconds(),
                read_timeout=30,
                retries={"max_attempts": 2},
                s3={"addressing_style": "path"},
                request_checksum_calculation="when_required",  # older servers refuse the newer checksums
                response_checksum_validation="when_required",
            ),
        )


def _server_time(headers: dict[str, str]) -> datetime:
    """Return the time in an answer's ``date`` header, to the second; our own clock if a server sends none."""
    stamp = headers.get("date")
    return parsedate_to_datetime(stamp).astimezone(UTC) if stamp else datetime.now(UTC)
