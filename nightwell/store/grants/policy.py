"""The policy document that says what a grant allows, in the language that S3 servers share."""

from __future__ import annotations

import json
from typing import Any

from nightwell.store.grants.port import Grant, Rights
from nightwell.store.layout import DOCUMENT_KEY, check_volume_name, volume_key
from nightwell.store.location import StoreLocation

_READ = ("s3:GetObject",)
_WRITE = (*_READ, "s3:PutObject", "s3:DeleteObject", "s3:AbortMultipartUpload")


def policy(location: StoreLocation, grant: Grant) -> str:
    """Return the document: the volume's objects, their names, and the store's own document to read."""
    root = f"{location.prefix}/" if location.prefix else ""
    part = root + volume_key(check_volume_name(grant.volume))
    bucket = f"arn:aws:s3:::{location.bucket}"
    statements: list[dict[str, Any]] = [
        {
            "Effect": "Allow",
            "Action": list(_WRITE if grant.rights is Rights.WRITE else _READ),
            "Resource": [f"{bucket}/{part}*"],
        },
        {"Effect": "Allow", "Action": ["s3:GetObject"], "Resource": [f"{bucket}/{root}{DOCUMENT_KEY}"]},
        {
            "Effect": "Allow",
            "Action": ["s3:ListBucket"],
            "Resource": [bucket],
            "Condition": {"StringLike": {"s3:prefix": [f"{part}*"]}},
        },
    ]
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
