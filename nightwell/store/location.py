"""Where a store is, and who we are to it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from urllib.parse import urlsplit

from nightwell.errors import SettingsError

#: A server that is restarted, or moved to another host, is back within this time.
OUTAGE_S = 60.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreLocation:
    """An S3-compatible endpoint, a bucket, a prefix inside it, and credentials.

    ``prefix`` lets several stores share one bucket; slashes at its ends do not count. ``outage_s`` is how long a
    request is repeated while the server is away or fails. ``session_token`` belongs to temporary credentials. Neither
    secret ever shows in a ``repr``.
    """

    endpoint_url: str
    bucket: str
    access_key: str
    secret_key: str = field(repr=False)
    prefix: str = ""
    region: str = "us-east-1"
    outage_s: float = OUTAGE_S
    session_token: str = field(default="", repr=False)

    def __post_init__(self) -> None:
        parts = urlsplit(self.endpoint_url)
        if parts.scheme not in {"http", "https"} or not parts.hostname:
            raise SettingsError(
                "the store's endpoint",
                expected="an address such as https://host:port",
                found=repr(self.endpoint_url),
                cause="the scheme or the host is missing",
                next_step="correct the endpoint in the settings",
            )
        if not self.bucket or "/" in self.bucket:
            raise SettingsError(
                "the store's bucket",
                expected="a bucket name without slashes",
                found=repr(self.bucket),
                cause="the prefix was written into the bucket's name",
                next_step="put what follows the first slash into the prefix",
            )
        object.__setattr__(self, "prefix", self.prefix.strip("/"))
        object.__setattr__(self, "endpoint_url", self.endpoint_url.rstrip("/"))

    @property
    def allow_http(self) -> bool:
        """Whether the endpoint is spoken to without TLS."""
        return self.endpoint_url.startswith("http://")

    def __str__(self) -> str:
        return f"store {self.endpoint_url}/{self.bucket}" + (f"/{self.prefix}" if self.prefix else "")


def with_credentials(
    location: StoreLocation, access_key: str, secret_key: str, session_token: str = ""
) -> StoreLocation:
    """Return the same place as somebody else sees it."""
    return replace(location, access_key=access_key, secret_key=secret_key, session_token=session_token)
