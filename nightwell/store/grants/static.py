"""The ``static`` driver: for stores that have nothing better, the site's own credentials.

Nothing is limited and nothing ends: whoever takes over a virtual server holds what the site holds.
"""

from __future__ import annotations

from nightwell.store.grants.port import Credentials, Grant
from nightwell.store.location import StoreLocation


class StaticGrants:
    """Hands on the site's own credentials."""

    driver = "static"

    def __init__(self, location: StoreLocation) -> None:
        self._location = location

    def issue(self, grant: Grant) -> Credentials:  # noqa: ARG002  the port's signature
        """Return the site's credentials."""
        own = self._location
        return Credentials(own.access_key, own.secret_key, own.session_token)

    def end(self, run_id: str) -> None:
        """Do nothing: they are the site's."""

    def standing(self) -> tuple[str, ...]:
        """Return nothing: nothing was made."""
        return ()
