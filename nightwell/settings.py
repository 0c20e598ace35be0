"""Every setting in one typed place: ``nightwell.toml``, overridden by the environment.

An environment variable is ``NIGHTWELL_`` and the path of the setting, joined by two underscores:
``NIGHTWELL_STORE__BUCKET=wells``. Secrets belong there, not in the file. ``NIGHTWELL_SETTINGS`` names another file.
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, get_args, get_origin

from pydantic import BaseModel, Field, PositiveFloat, SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from nightwell.errors import SettingsError
from nightwell.logs import LogForm, LogLevel
from nightwell.server_settings import CredentialsSettings, Section, ServersSettings

DEFAULT_FILE = Path("nightwell.toml")
FILE_VARIABLE = "NIGHTWELL_SETTINGS"


class ArrayDriver(StrEnum):
    """The array drivers that can be named in the settings."""

    EMBEDDED = "embedded"
    QEMU = "qemu"


class TlsSettings(Section):
    """Certificates for line 1. All three or none."""

    ca: Path = Field(description="File of the authority that signed the other array's certificate.")
    certificate: Path = Field(description="File of our own certificate.")
    key: Path = Field(description="File of our own private key.")


class ArraySettings(Section):
    """One storage array."""

    name: str = Field(
        default="", description="Name of the array, as shown in versions and errors; empty: the site's name."
    )
    driver: ArrayDriver = Field(default=ArrayDriver.EMBEDDED, description="Which driver speaks to it.")
    control: Path | None = Field(
        default=None, description="Control socket of the array's process; empty: <site>.sock in the state directory."
    )
    tls: TlsSettings | None = Field(default=None, description="Certificates with which its exports are reached.")


class SourceSettings(Section):
    """The source site: where the volumes are and requests begin."""

    array: ArraySettings = Field(
        default=ArraySettings(),
        description="The array that holds the primary volumes.",
    )
    journal: str = Field(default="", description="Database URL of the journal; empty: SQLite in the state directory.")
    quiesce: tuple[str, ...] = Field(
        default=(), description="Command that quiesces the host before the split; {volume} is replaced. Empty: none."
    )
    thaw: tuple[str, ...] = Field(
        default=(), description="Command that lets the host write again; {volume} is replaced. Empty: none."
    )
    host_command_timeout_s: float = Field(default=60.0, gt=0, description="How long quiesce or thaw may take.")
    wait_pair_timeout_s: float = Field(
        default=86_400.0, gt=0, description="How long a copy or resync may take before the run gives up."
    )
    poll_s: float = Field(default=0.2, gt=0, description="How often the pair's state is asked while waiting.")


class DestinationSettings(Section):
    """The destination site: where requests are carried out."""

    array: ArraySettings = Field(
        default=ArraySettings(),
        description="The array that imports a volume over line 1.",
    )
    journal: str = Field(default="", description="Database URL of the journal; empty: SQLite in the state directory.")
    servers: ServersSettings = Field(default=ServersSettings(), description="Virtual servers.")
    credentials: CredentialsSettings = Field(
        default=CredentialsSettings(), description="Who a virtual server is to the store."
    )


class StoreSettings(Section):
    """The S3-compatible store that keeps the versions."""

    endpoint_url: str = Field(default="", description="Address of the store, such as https://s3.example.org.")
    bucket: str = Field(default="nightwell", min_length=3, description="Bucket; it must exist.")
    prefix: str = Field(default="", description="Prefix of every object's name within the bucket.")
    region: str = Field(default="us-east-1", description="Region of the bucket.")
    access_key: str = Field(default="", description="Access key id.")
    secret_key: SecretStr = Field(default=SecretStr(""), description="Secret access key; set it in the environment.")
    outage_s: float = Field(
        default=60.0, ge=0, description="How long a request is repeated while the S3 server is away or fails."
    )


class BackupSettings(Section):
    """How a backup is made, where the request does not say."""

    block_kib: int | None = Field(
        default=None,
        ge=16,
        le=16_384,
        description="Block size of a volume's first version, in KiB; empty: the default.",
    )
    lease_ttl_s: float = Field(default=60.0, gt=1, description="How long a run's lease on a volume lives unrenewed.")
    rpo_hours: float = Field(
        default=26.0,
        gt=0,
        description="How old a volume's newest good version may be, in hours: a night, and two for the run itself.",
    )
    rpo_hours_of: dict[str, PositiveFloat] = Field(
        default={}, description='The same for single volumes, such as {well = 4}; in the environment {"well": 4}.'
    )


class MethodSettings(Section):
    """Numbers of an analysis; another one makes another analysis."""

    step_m: float = Field(default=0.5, gt=0, description="Depth step of the trap gas, in m.")
    recycled_share: float | None = Field(
        default=None, ge=0, le=1, description="Share of its gas that mud keeps in the pits, where it was not sampled."
    )
    pits_s: float = Field(default=0.0, ge=0, description="How long mud stays in the pits, in s.")
    trap_efficiency: float = Field(default=1.0, gt=0, le=1, description="Share of its gas that the trap frees.")
    reference_rop_m_h: float | None = Field(
        default=None, gt=0, description="Rate of penetration that gas is normalised to; empty: the well's median."
    )
    reference_flow_m3_s: float | None = Field(
        default=None, gt=0, description="Flow that gas is normalised to; empty: the well's median."
    )
    reference_hole_m: float | None = Field(
        default=None, gt=0, description="Hole diameter that gas is normalised to; empty: the well's median."
    )
    pattern_error: float = Field(default=0.02, gt=0, lt=1, description="One-sigma of fragment patterns, relative.")
    monte_carlo_draws: int = Field(
        default=0, ge=0, description="Draws for Monte Carlo uncertainties, 16 or more; 0: the covariance of the fit."
    )


class WellsSettings(Section):
    """How wells are analysed."""

    results: str = Field(
        default="",
        description="Where versioned results are kept: a folder, s3://bucket/prefix, or empty: in the state directory.",
    )
    profiles: Path | None = Field(
        default=None, description="Folder with indicator profiles, classes and rules of your own."
    )
    library: Path | None = Field(
        default=None, description="Folder with a species library of your own; empty: the one that ships."
    )
    method: MethodSettings = Field(default=MethodSettings(), description="Numbers of an analysis.")
    scans: str = Field(
        default="",
        description="Where raw scans of many wells are: a folder, or s3://bucket/prefix at the store's server.",
    )
    volumes: tuple[str, ...] = Field(
        default=(), description="Volumes of the store that hold wells, by name or pattern, such as well*."
    )
    cluster: str = Field(
        default="", description="Address of a Dask cluster for many wells, tcp://host:8786; empty: workers here."
    )
    workers: int = Field(
        default=0, ge=0, le=1024, description="Worker processes here, one well at a time each; 0: one per processor."
    )
    worker_memory_mib: int = Field(
        default=1024, ge=640, description="Memory that a worker may hold, in MiB; a well that needs more is refused."
    )


class FlowsSettings(Section):
    """How the flows reach the other site."""

    remote_deployment: str = Field(
        default="",
        description="Deployment that carries out requests at the destination site; empty: in the same process.",
    )
    start_timeout_s: float = Field(
        default=300.0, gt=0, description="How long a request may wait for a worker of the destination's work pool."
    )
    outage_s: float = Field(
        default=600.0, gt=0, description="How long a request's answer is awaited while line 2 shows no sign of life."
    )
    store_block: str = Field(
        default="", description="Block of the Prefect server that stands for section [store]; empty: the section."
    )
    destination_block: str = Field(
        default="",
        description="Block of the Prefect server that names the destination's deployments; empty: these settings.",
    )
    array_runs: int = Field(
        default=4, ge=1, description="How many runs one array may serve at a time; its limit is made with it."
    )


class LogSettings(Section):
    """How log lines are written, to standard error."""

    form: LogForm = Field(default=LogForm.TEXT, description="Text for people, or one JSON document a line.")
    level: LogLevel | None = Field(
        default=None, description="From which level on; empty: info for JSON, warnings beside a run's display for text."
    )


class Settings(BaseSettings):
    """All settings of one site or of one machine that plays both."""

    model_config = SettingsConfigDict(
        env_prefix="NIGHTWELL_", env_nested_delimiter="__", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    state_directory: Path = Field(
        default=Path(".nightwell"), description="Where journals, records and results live unless a setting moves them."
    )
    source: SourceSettings = Field(default=SourceSettings(), description="The source site.")
    destination: DestinationSettings = Field(default=DestinationSettings(), description="The destination site.")
    store: StoreSettings = Field(default=StoreSettings(), description="The store.")
    backup: BackupSettings = Field(default=BackupSettings(), description="Defaults of backups.")
    wells: WellsSettings = Field(default=WellsSettings(), description="Wells.")
    flows: FlowsSettings = Field(default=FlowsSettings(), description="Flows.")
    log: LogSettings = Field(default=LogSettings(), description="Logs.")

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],  # noqa: ARG003  the signature is pydantic's
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003  the signature is pydantic's
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Let the environment stand above the values of the file, which come as arguments."""
        return env_settings, init_settings

    def journal_url(self, site: str) -> str:
        """Return the database URL of one site's journal (``source`` or ``destination``)."""
        named = self.source.journal if site == "source" else self.destination.journal
        return named or f"sqlite:///{(self.state_directory / f'{site}-journal.sqlite').absolute()}"

    def array(self, site: str) -> ArraySettings:
        """Return one site's array, with what is empty filled from the site's name."""
        given = self.source.array if site == "source" else self.destination.array
        control = given.control or (self.state_directory / f"{site}.sock").absolute()
        return given.model_copy(update={"name": given.name or str(site), "control": control})

    def servers_directory(self) -> Path:
        """Return where the virtual-server driver keeps its records."""
        return self.destination.servers.directory or (self.state_directory / "virtual-servers").absolute()

    def results_location(self) -> str:
        """Return where versioned results of wells are kept."""
        return self.wells.results or str((self.state_directory / "wells").absolute())


def load_settings(file: Path | None = None) -> Settings:
    """Load the settings from a TOML file and the environment.

    Parameters
    ----------
    file
        The file; by default what ``NIGHTWELL_SETTINGS`` names, else ``nightwell.toml`` here if there is one.

    Raises
    ------
    SettingsError
        The named file is missing, is not TOML, or holds an unknown or wrong setting.
    """
    values = _read_file(file)
    _refuse_unknown_variables()
    try:
        return Settings(**values)
    except ValidationError as error:
        first = error.errors()[0]
        path = ".".join(str(part) for part in first["loc"])
        raise SettingsError(
            f"setting '{path}'",
            expected="a setting that nightwell knows, with a value of its type",
            found=_shown(path, first.get("input")) + str(first["msg"]),
            cause="a mistyped name or value in nightwell.toml or in a NIGHTWELL_ variable",
            next_step="run 'nightwell settings' to see every setting with its type and default",
        ) from error


def _shown(path: str, value: object) -> str:
    """Return a value as an error shows it; nothing of a secret, nor of a section, which may hold one."""
    kinds = {row.path: row.kind for row in describe_settings()}
    if isinstance(value, dict | list) or "secret" in kinds.get(path, "") or path.endswith("_key"):
        return ""
    return f"{value!r}: "


def _read_file(file: Path | None) -> dict[str, Any]:
    named = file or (Path(os.environ[FILE_VARIABLE]) if FILE_VARIABLE in os.environ else None)
    if named is None and not DEFAULT_FILE.exists():
        return {}
    chosen = named or DEFAULT_FILE
    try:
        return tomllib.loads(chosen.read_text())
    except OSError as error:
        raise SettingsError(
            f"settings file '{chosen}'",
            expected="a readable file",
            found=error.strerror or str(error),
            cause=f"the path given by --settings or {FILE_VARIABLE} is wrong",
            next_step="correct the path, or leave it out to use nightwell.toml in this folder",
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"settings file '{chosen}'",
            expected="TOML",
            found=str(error),
            cause="a typing mistake in the file",
            next_step="correct the line it names",
        ) from error


def _refuse_unknown_variables() -> None:
    """Refuse a mistyped variable; pydantic-settings would pass over it in silence."""
    known = {row.variable for row in describe_settings()} | {FILE_VARIABLE}
    for name in os.environ:
        # NIGHTWELL_MOVER_ is how a virtual server gets its credentials, NIGHTWELL_TEST_ is for the tests.
        if not name.startswith("NIGHTWELL_") or name.startswith(("NIGHTWELL_MOVER_", "NIGHTWELL_TEST_")):
            continue
        if name.upper() not in known:
            raise SettingsError(
                f"environment variable '{name}'",
                expected="NIGHTWELL_ and the path of a setting, joined by two underscores",
                found="no such setting",
                cause="a mistyped name",
                next_step="run 'nightwell settings' to see every variable",
            )


@dataclass(frozen=True, slots=True)
class SettingDescription:
    """One setting as a person reads of it."""

    path: str
    variable: str
    kind: str
    default: str
    description: str


def describe_settings() -> list[SettingDescription]:
    """Return every setting, in the order of the file."""
    return list(_describe(Settings, ()))


def _describe(model: type[BaseModel], above: tuple[str, ...]) -> Iterator[SettingDescription]:
    for name, field in model.model_fields.items():
        path = (*above, name)
        section = _section_of(field.annotation)
        if section is not None:
            yield from _describe(section, path)
            continue
        yield SettingDescription(
            path=".".join(path),
            variable="NIGHTWELL_" + "__".join(path).upper(),
            kind=_kind(field.annotation),
            default="" if field.is_required() or field.default in (None, (), {}) else str(field.default),
            description=field.description or "",
        )


def _section_of(annotation: Any) -> type[BaseModel] | None:
    candidates = [annotation, *get_args(annotation)]
    return next((c for c in candidates if isinstance(c, type) and issubclass(c, BaseModel)), None)


def _kind(annotation: Any) -> str:
    if isinstance(annotation, type) and issubclass(annotation, StrEnum):
        return " or ".join(annotation)
    if get_origin(annotation) is tuple:
        return "list of text"
    if get_origin(annotation) is dict:
        return "table of numbers"
    if get_args(annotation):
        return " or ".join(_kind(part) for part in get_args(annotation) if part not in (type(None), ...))
    words = {"Path": "path", "str": "text", "SecretStr": "secret text", "int": "integer", "float": "number"}
    return words.get(annotation.__name__, str(annotation.__name__))
