"""The ``iam`` driver: a user of the store made for one request, with a policy of its own, deleted with it.

The server enforces what the user may do, and refuses its key from the moment it is deleted.
"""

from __future__ import annotations

import time
from hashlib import sha256

from botocore.exceptions import ClientError

from nightwell.errors import CredentialsError
from nightwell.store.document import load_document
from nightwell.store.grants.clients import explained, identity_client
from nightwell.store.grants.policy import policy
from nightwell.store.grants.port import Credentials, Grant
from nightwell.store.location import StoreLocation, with_credentials
from nightwell.store.objects import Objects

_PREFIX = "nightwell-"
_POLICY_NAME = "one-request"
_NAME_CHARACTERS = 64
_KNOWN_TIMEOUT_S = 30.0
_POLL_S = 0.1


class IamGrants:
    """Makes and deletes users.

    Parameters
    ----------
    location
        The store, with the site's credentials, which may make and delete users.
    endpoint_url
        Where the service is; empty: at the store's endpoint.
    """

    driver = "iam"

    def __init__(self, location: StoreLocation, *, endpoint_url: str = "") -> None:
        self._location = location
        self._client = identity_client("iam", location, endpoint_url)

    def issue(self, grant: Grant) -> Credentials:
        """Make the run's user and return its key once the store knows it."""
        self.end(grant.run_id)
        name = user_name(grant.run_id)
        with explained(self._location, self.driver, f"make user {name!r}"):
            self._client.create_user(UserName=name)
            self._client.put_user_policy(
                UserName=name, PolicyName=_POLICY_NAME, PolicyDocument=policy(self._location, grant)
            )
            made = self._client.create_access_key(UserName=name)["AccessKey"]
        issued = Credentials(made["AccessKeyId"], made["SecretAccessKey"])
        self._wait_until_known(issued)
        return issued

    def end(self, run_id: str) -> None:
        """Delete the run's user with its keys and its policy."""
        name = user_name(run_id)
        with explained(self._location, self.driver, f"delete user {name!r}"):
            try:
                keys = self._client.list_access_keys(UserName=name)["AccessKeyMetadata"]
            except self._client.exceptions.NoSuchEntityException:
                return
            for key in keys:
                self._unless_gone("delete_access_key", UserName=name, AccessKeyId=key["AccessKeyId"])
            self._unless_gone("delete_user_policy", UserName=name, PolicyName=_POLICY_NAME)
            self._unless_gone("delete_user", UserName=name)

    def standing(self) -> tuple[str, ...]:
        """Return the runs whose users stand; one with an id too long for a name is not found again this way."""
        with explained(self._location, self.driver, "list the users"):
            pages = self._client.get_paginator("list_users").paginate()
            names = [user["UserName"] for page in pages for user in page["Users"]]
        return tuple(sorted(name.removeprefix(_PREFIX) for name in names if name.startswith(_PREFIX)))

    def _unless_gone(self, call: str, **arguments: str) -> None:
        try:
            getattr(self._client, call)(**arguments)
        except ClientError as error:
            if error.response["Error"]["Code"] != "NoSuchEntity":
                raise

    def _wait_until_known(self, issued: Credentials) -> None:
        """Servers that spread their users over several machines take a moment."""
        deadline = time.monotonic() + _KNOWN_TIMEOUT_S
        objects = Objects(with_credentials(self._location, issued.access_key, issued.secret_key))
        try:
            while True:
                try:
                    load_document(objects)
                except CredentialsError:
                    if time.monotonic() > deadline:
                        raise
                    time.sleep(_POLL_S)
                else:
                    return
        finally:
            objects.close()


def user_name(run_id: str) -> str:
    """Return the name of a run's user: readable where it fits."""
    name = f"{_PREFIX}{run_id}"
    return name if len(name) <= _NAME_CHARACTERS else f"{_PREFIX}{sha256(run_id.encode()).hexdigest()[:50]}"
