"""A throw-away Prefect server on loopback: no account, no internet, no telemetry.

Imports nothing of Prefect, so that a caller can set the environment before Prefect reads it.
"""

from __future__ import annotations

from http import HTTPStatus
from http.client import HTTPConnection, HTTPException
from pathlib import Path

from nightwell.local.process import LocalProcess, free_port, python

#: What keeps Prefect silent and quick on one machine; also for programs that only use the server.
QUIET = {
    "DO_NOT_TRACK": "1",
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_CLI_COLORS": "false",
    "PREFECT_LOGGING_TO_API_WHEN_MISSING_FLOW": "ignore",
    # The older page makes no request to other hosts at all.
    "PREFECT_SERVER_UI_V2_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # Leases of limits survive a restart of the server; in memory they leak their slot for ever.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
}


class LocalPrefectServer:
    """A Prefect server with its database in ``folder``.

    Parameters
    ----------
    folder
        Home of Prefect for the server and its clients.
    database_url
        SQLAlchemy URL of a PostgreSQL database (driver asyncpg) in place of SQLite in the folder.
    """

    def __init__(self, folder: Path, *, database_url: str | None = None) -> None:
        self._port = free_port()
        self.url = f"http://127.0.0.1:{self._port}"
        self.environment = {
            **QUIET,
            "PREFECT_HOME": str(folder / "prefect"),
            "PREFECT_API_URL": f"{self.url}/api",
        }
        self._folder = folder
        self._server_environment = {
            **QUIET,
            "PREFECT_HOME": self.environment["PREFECT_HOME"],
            # Without it the page asks the default port, where nobody or another server answers.
            "PREFECT_SERVER_UI_API_URL": self.environment["PREFECT_API_URL"],
        }
        if database_url is not None:
            self._server_environment["PREFECT_API_DATABASE_CONNECTION_URL"] = database_url
        self.start()

    def start(self) -> None:
        """Start the server, also again after it was stopped or killed: same address, same database."""
        self.process = LocalProcess(
            python("-m", "prefect", "server", "start", "--host", "127.0.0.1", "--port", str(self._port)),
            log=self._folder / "prefect-server.log",
            environment=self._server_environment,
            name="Prefect server",
        )
        self.process.wait_ready(self._healthy, timeout_s=180.0)

    def _healthy(self) -> bool:
        connection = HTTPConnection("127.0.0.1", self._port, timeout=2)
        try:
            connection.request("GET", "/api/health")
            return connection.getresponse().status == HTTPStatus.OK
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    def stop(self) -> None:
        """End the server."""
        self.process.stop()
