"""Clients of a store's identity services, and what their refusals mean."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

import boto3
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError

from nightwell.errors import CredentialsError, UnreachableError
from nightwell.store.location import StoreLocation


def identity_client(service: str, location: StoreLocation, endpoint_url: str) -> Any:
    """Return a client of ``iam`` or ``sts`` with the site's credentials; at the store's endpoint when none is given."""
    return boto3.client(
        cast("Any", service),
        endpoint_url=endpoint_url or location.endpoint_url,
        region_name=location.region,
        aws_access_key_id=location.access_key,
        aws_secret_access_key=location.secret_key,
        aws_session_token=location.session_token or None,
        config=Config(connect_timeout=5, read_timeout=30, retries={"max_attempts": 3}),
    )


@contextmanager
def explained(location: StoreLocation, service: str, action: str) -> Iterator[None]:
    """Raise this project's error for whatever an identity service raises inside."""
    try:
        yield
    except ClientError as error:
        raise CredentialsError(
            f"credentials for one request, from the {service.upper()} service of {location}",
            expected=f"leave to {action}",
            found=str(error),
            cause="the server does not offer the service, or our own key may not use it",
            next_step="give the site's key the right, or choose 'static' as destination.credentials.driver",
        ) from error
    except BotoCoreError as error:
        raise UnreachableError(
            f"{service.upper()} service of {location}",
            expected=f"an answer when asked to {action}",
            found=str(error),
            cause="the server is down, or destination.credentials.endpoint_url names another",
            next_step="check that it runs, then run again",
        ) from error
