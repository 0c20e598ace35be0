"""Turns what obstore and boto3 raise into the named errors of this project, by class and status, never by text."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.exceptions import NotFoundError as _ObstoreMissing

from nightwell.errors import CredentialsError, NightwellError, NotFoundError, UnreachableError
from nightwell.store.location import StoreLocation

#: obstore has a class for a missing object and raises Python's own.
OBJECT_MISSING = (FileNotFoundError, _ObstoreMissing)

_REFUSED = (401, 403)
_MISSING = 404


@contextmanager
def named(location: StoreLocation, action: str) -> Iterator[None]:
    """Raise this project's error for whatever a client of the store raises inside."""
    try:
        yield
    except (PermissionDeniedError, UnauthenticatedError) as error:
        raise credentials_refused(location, f"refused to {action}") from error
    except OBJECT_MISSING as error:
        raise NotFoundError(
            str(location),
            expected=f"what is needed to {action}",
            found="no such object or bucket",
            cause="the bucket was removed, or the store was tidied by something else than nightwell",
            next_step="look into the bucket with any S3 tool",
        ) from error
    except ClientError as error:
        raise _of_status(location, action, error) from error
    except (BaseError, BotoCoreError, OSError) as error:
        raise unreachable(location, f"could not {action}: {_first_line(error)}") from error


def credentials_refused(location: StoreLocation, found: str) -> CredentialsError:
    """Return the error for a store that answers and refuses us."""
    return CredentialsError(
        str(location),
        expected="a server that accepts our access key",
        found=found,
        cause="the access key or the secret key is wrong, or the key lacks the right",
        next_step="check both keys and what they may do on this bucket",
    )


def unreachable(location: StoreLocation, found: str) -> UnreachableError:
    """Return the error for a store that does not answer, or answers with a failure of its own."""
    return UnreachableError(
        str(location),
        expected="an answer from the S3 server",
        found=found,
        cause="the server is down, or the endpoint is not an S3 server",
        next_step="check the endpoint and the server, then try again",
    )


def bucket_missing(location: StoreLocation) -> NotFoundError:
    """Return the error for a bucket that is not there."""
    return NotFoundError(
        str(location),
        expected=f"bucket '{location.bucket}'",
        found="no such bucket",
        cause="the bucket's name is mistyped, or it was never created",
        next_step="correct the name, or create the bucket",
    )


def _of_status(location: StoreLocation, action: str, error: ClientError) -> NightwellError:
    status = error.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    if status in _REFUSED:
        return credentials_refused(location, f"HTTP {status} when asked to {action}")
    if status == _MISSING:
        return bucket_missing(location)
    return unreachable(location, f"HTTP {status} when asked to {action}: {_first_line(error)}")


def _first_line(error: BaseException) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0][:300]
