"""The journal's database: its tables, and everything that depends on which engine keeps it.

SQLite is the default: WAL, so that readers never stop the writer, and ``synchronous=FULL``, so that an event that was
appended survives a power loss. All statements are SQLAlchemy's own, and no rule rests on SQLite's one-writer lock:
appending rests on a primary key, leases on compare-and-set. A server database can take over by its URL alone.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import (
    BigInteger,
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    create_engine,
    event,
    insert,
    select,
)
from sqlalchemy.engine import make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError, DatabaseError, IntegrityError, OperationalError
from sqlalchemy.pool import ConnectionPoolEntry

from nightwell.errors import FormatError, InputError, UnreachableError

FORMAT = 1
BUSY_TIMEOUT_S = 30.0

Clock = Callable[[], datetime]
"""Returns the present as an aware UTC time."""

metadata = MetaData()

format_table = Table("journal_format", metadata, Column("version", Integer, primary_key=True))

runs_table = Table(
    "runs",
    metadata,
    Column("run_id", String(200), primary_key=True),
    Column("kind", String(20), nullable=False),
    Column("site", String(20), nullable=False),
    Column("volume", String(400), nullable=False),
    Column("mode", String(20), nullable=False),
    Column("phase", String(20), nullable=False),
    Column("sequence", Integer, nullable=False),
    Column("opened_at_us", BigInteger, nullable=False),
    Column("updated_at_us", BigInteger, nullable=False),
    Index("runs_by_phase", "phase", "volume"),
)

events_table = Table(
    "events",
    metadata,
    Column("run_id", String(200), primary_key=True),
    Column("sequence", Integer, primary_key=True),
    Column("at_us", BigInteger, nullable=False),
    Column("event", Text, nullable=False),
)

leases_table = Table(
    "leases",
    metadata,
    Column("volume", String(400), primary_key=True),
    Column("token", BigInteger, nullable=False),  # never goes down, also not when the lease is released
    Column("run_id", String(200), nullable=True),  # NULL: nobody holds the volume
    Column("owner", String(200), nullable=False),
    Column("expires_at_us", BigInteger, nullable=False),
)

#: The advisory lock of PostgreSQL that writers of a journal's database take; any number that nobody else uses.
_WRITERS_LOCK = 0x6E696768

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def utc_now() -> datetime:
    """Return the present; the clock that is used when none is passed in."""
    return datetime.now(UTC)


def to_us(moment: datetime) -> int:
    """Return an aware time as whole microseconds since 1970 (exact, and the same in every engine)."""
    return (moment - _EPOCH) // timedelta(microseconds=1)


def from_us(moment_us: int) -> datetime:
    """Return the aware UTC time of :func:`to_us`."""
    return _EPOCH + timedelta(microseconds=moment_us)


class Database:
    """One opened journal database.

    Parameters
    ----------
    url
        An SQLAlchemy URL, or the path of an SQLite file.

    Raises
    ------
    InputError
        When the URL is none.
    UnreachableError
        When the database cannot be opened.
    FormatError
        When a newer release made it, or it is not a journal.
    """

    def __init__(self, url: str | Path) -> None:
        self.url = str(url) if "://" in str(url) else f"sqlite:///{url}"
        try:
            self.engine = _engine(self.url)
        except (ArgumentError, ImportError) as error:
            raise InputError(
                "the journal's URL",
                expected="an SQLAlchemy URL such as sqlite:////var/lib/nightwell/journal.db",
                found=str(error),
                cause="a typing error in the settings, or the database's driver is not installed",
                next_step="correct the journal's URL, or install the driver it names",
            ) from error
        try:
            self._prepare()
        except DatabaseError as error:
            self.close()
            raise FormatError(
                f"journal {self.shown}",
                expected="a journal database",
                found=str(error.orig),
                cause="the path names another kind of file, or the file is damaged",
                next_step="check the journal's place in the settings, or restore the file",
            ) from error
        except BaseException:
            self.close()
            raise

    @property
    def shown(self) -> str:
        """The URL without its password."""
        return make_url(self.url).render_as_string(hide_password=True)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Give a connection for reading."""
        with self._answering(), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """Give a connection in one transaction, which is durable when the block ends without an error."""
        with (
            self._answering(),
            self.engine.connect().execution_options(nightwell_writes=True) as connection,
            connection.begin(),
        ):
            yield connection

    def close(self) -> None:
        """Close every connection."""
        self.engine.dispose()

    @contextmanager
    def _answering(self) -> Iterator[None]:
        try:
            yield
        except OperationalError as error:
            raise UnreachableError(
                f"journal {self.shown}",
                expected="a database that can be opened, read and written",
                found=str(error.orig),
                cause="its folder is missing or full or not writable, or the database server is down",
                next_step="check the journal's place in the settings",
            ) from error

    def _prepare(self) -> None:
        try:
            self._create()
        except IntegrityError:
            self._create()  # another process prepared the same new database in between
        with self.reading() as connection:
            versions = connection.execute(select(format_table.c.version)).scalars().all()
        if versions != [FORMAT]:
            newer = bool(versions) and max(versions) > FORMAT
            raise FormatError(
                f"journal {self.shown}",
                expected=f"journal format {FORMAT}",
                found=f"format {', '.join(map(str, versions)) or 'unknown'}",
                cause="a newer release of nightwell made it" if newer else "the database is damaged",
                next_step="use the release that made it" if newer else "restore the database",
            )

    def _create(self) -> None:
        with self.writing() as connection:
            metadata.create_all(connection)
            if connection.execute(select(format_table.c.version)).first() is None:
                connection.execute(insert(format_table).values(version=FORMAT))


def _engine(url: str) -> Engine:
    if make_url(url).get_backend_name() != "sqlite":
        engine = create_engine(url, pool_pre_ping=True)
        if engine.dialect.name == "postgresql":
            event.listen(engine, "begin", _begin_postgresql)
        return engine
    engine = create_engine(url, connect_args={"timeout": BUSY_TIMEOUT_S})
    event.listen(engine, "connect", _set_pragmas)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _set_pragmas(connection: DBAPIConnection, _record: ConnectionPoolEntry) -> None:
    # The driver's own transaction handling would begin late and break the read-then-write of a lease.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin_sqlite(connection: Connection) -> None:
    writes = connection.get_execution_options().get("nightwell_writes", False)
    # IMMEDIATE takes the write lock first: two writers wait for each other instead of failing half-way.
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _begin_postgresql(connection: Connection) -> None:
    # One writer at a time, as on SQLite: each statement of a transaction sees what was committed before it, so two that
    # read a free lease at the same moment would both take it.
    if connection.get_execution_options().get("nightwell_writes", False):
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_WRITERS_LOCK})")
