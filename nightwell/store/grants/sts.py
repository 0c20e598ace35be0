"""The ``sts`` driver: temporary credentials of a role, cut down to one request by a session policy.

The server enforces what they allow, and their end after ``duration_s``. It cannot take them back earlier: after its
request a virtual server's credentials are refused once they have expired, not at once.
"""

from __future__ import annotations

from nightwell.store.grants.clients import explained, identity_client
from nightwell.store.grants.policy import policy
from nightwell.store.grants.port import Credentials, Grant
from nightwell.store.location import StoreLocation

_NAME_CHARACTERS = 64


class StsGrants:
    """Issues sessions of a role.

    Parameters
    ----------
    location
        The store, with the site's credentials, which may assume the role.
    role_arn
        The role; its own policy must allow what nightwell does in the store.
    duration_s
        How long a session lasts. A copy that takes longer fails, and nothing is committed.
    endpoint_url
        Where the service is; empty: at the store's endpoint.
    """

    driver = "sts"

    def __init__(self, location: StoreLocation, *, role_arn: str, duration_s: int, endpoint_url: str = "") -> None:
        self._location = location
        self._role_arn = role_arn
        self._duration_s = duration_s
        self._client = identity_client("sts", location, endpoint_url)

    def issue(self, grant: Grant) -> Credentials:
        """Return a session's credentials."""
        with explained(self._location, self.driver, f"assume role {self._role_arn!r}"):
            answer = self._client.assume_role(
                RoleArn=self._role_arn,
                RoleSessionName=f"nightwell-{grant.run_id}"[:_NAME_CHARACTERS],
                Policy=policy(self._location, grant),
                DurationSeconds=self._duration_s,
            )
        made = answer["Credentials"]
        return Credentials(made["AccessKeyId"], made["SecretAccessKey"], made["SessionToken"], made["Expiration"])

    def end(self, run_id: str) -> None:
        """Do nothing: a session ends by itself, and only then."""

    def standing(self) -> tuple[str, ...]:
        """Return nothing: a session ends by itself."""
        return ()
