"""The settings of virtual servers: what they are made of, and who they are to the store."""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

#: How much slower an emulated processor loads the mover, at least, on a host that does other work as well.
_EMULATED_TIMES = 5


class Section(BaseModel):
    """One section of the settings file."""

    # The error is chained to ours, and a flow's log shows both: its text must not hold what a secret was set to.
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class ServerDriver(StrEnum):
    """The virtual-server drivers that can be named in the settings."""

    PROCESS = "process"
    RUNC = "runc"
    QEMU = "qemu"


class CredentialsDriver(StrEnum):
    """Who a virtual server may be to the store."""

    STATIC = "static"
    STS = "sts"
    IAM = "iam"


class ServersSettings(Section):
    """How the destination site produces virtual servers."""

    driver: ServerDriver = Field(default=ServerDriver.PROCESS, description="What a virtual server is made of.")
    directory: Path | None = Field(
        default=None, description="Where the driver keeps its records; empty: in the state directory."
    )
    memory_mib: int = Field(default=512, ge=256, description="Memory of one virtual server, in MiB.")
    cpus: int = Field(default=2, ge=1, le=64, description="Virtual CPUs of one virtual server.")
    processes: int = Field(
        default=256, ge=64, le=32_768, description="Processes and threads of one virtual server, at most."
    )
    cgroup: str = Field(
        default="/nightwell",
        pattern="^(/[^/]+)*$",
        description="Control group below which theirs are made; empty: none, process limits instead.",
    )
    threads: int = Field(default=4, ge=1, le=32, description="Threads of the mover's block pipeline.")
    line_timeout_s: float = Field(
        default=60.0,
        gt=0,
        description="How long a mover waits for an answer of its array; more than the array's --stall for a cut line.",
    )
    stall_timeout_s: float = Field(
        default=120.0,
        gt=0,
        description="How long a mover may show no progress before it is given up; five times that with driver qemu.",
    )

    def patience_s(self) -> float:
        """Return how long a mover's silence is taken for work: longer where an emulated processor does it."""
        return self.stall_timeout_s * (_EMULATED_TIMES if self.driver is ServerDriver.QEMU else 1)


class CredentialsSettings(Section):
    """Who a virtual server is to the store."""

    driver: CredentialsDriver = Field(
        default=CredentialsDriver.STATIC,
        description="Credentials of a request: the site's own; a session of a role; or a user made for it.",
    )
    role_arn: str = Field(default="", description="Role that sessions are of, for driver sts.")
    duration_s: int = Field(
        default=3600, ge=900, le=43_200, description="How long a session lasts; a copy must end within it."
    )
    endpoint_url: str = Field(
        default="", description="Address of the store's IAM or STS service; empty: the store's own."
    )

    @model_validator(mode="after")
    def _check_role(self) -> Self:
        if self.driver is CredentialsDriver.STS and not self.role_arn:
            raise ValueError("driver sts needs role_arn")
        return self
