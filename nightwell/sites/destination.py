"""What the destination site does for each step: the effects of a backup's and a restore's destination side.

The conversation with the mover lives in this process between PRODUCE and COMMIT (or VERIFY). When the process dies,
the mover sees its lifeline close and ends without committing; a resumed run begins again at PRODUCE.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from nightwell.arrays.port import Array
from nightwell.errors import FencedError, NotFoundError, SettingsError
from nightwell.mover.conversation import MoverConversation, ProgressCallback
from nightwell.mover.job import (
    ACCESS_KEY_VARIABLE,
    SECRET_KEY_VARIABLE,
    SESSION_TOKEN_VARIABLE,
    BackupJob,
    CopyMode,
    RestoreJob,
    StoreAddress,
    TlsPaths,
    mover_command,
)
from nightwell.nbd.tls import TlsFiles
from nightwell.protocol import NO_FACTS, Effect, EffectContext, Facts, FactValue, Step
from nightwell.server_settings import ServersSettings
from nightwell.servers.port import ServerSpec, VirtualServers
from nightwell.settings import TlsSettings
from nightwell.sites.reach import reachable, without_tls
from nightwell.sites.requests import BackupAnswer, BackupRequest, RestoreRequest
from nightwell.store.grants.port import Grant, Rights, StoreGrants
from nightwell.store.location import StoreLocation
from nightwell.store.store import BackupStore
from nightwell.store.versions import Version

#: Where the mover finds its certificates, below its working directory: no path of this host means anything in there.
_INSIDE = TlsPaths(ca=Path("tls/ca.pem"), certificate=Path("tls/certificate.pem"), key=Path("tls/key.pem"))


_SERVER_PREFIX = "vs-"


@dataclass(slots=True)
class DestinationEffects:
    """The effects of the destination site for one request.

    Parameters
    ----------
    array
        The array that imports the volume over line 1.
    servers
        Produces and deletes virtual servers.
    location
        The store, with the site's own credentials.
    grants
        Gives each virtual server its own.
    settings
        Limits of a virtual server.
    tls
        Certificates with which the virtual server reaches the array's exports.
    on_progress
        Called while the mover copies.
    """

    array: Array
    servers: VirtualServers
    location: StoreLocation
    grants: StoreGrants
    settings: ServersSettings
    tls: TlsSettings | None = None
    on_progress: ProgressCallback | None = None
    _conversation: MoverConversation | None = field(default=None, init=False)

    def backup(self, request: BackupRequest) -> dict[Step, Effect]:
        """Return the effects of a backup's destination side."""
        return {
            Step.IMPORT: lambda context: self._import(context, request.url, writable=False),
            Step.PRODUCE: lambda context: self.produce(context, request.volume, Rights.WRITE),
            Step.COPY: lambda context: self._copy(context, request),
            Step.COMMIT: self.commit,
            Step.FENCE: self.fence,
            Step.DELETE_SERVER: self.delete_server,
            Step.RELEASE_IMPORT: self.release_import,
        }

    def restore(self, request: RestoreRequest) -> dict[Step, Effect]:
        """Return the effects of a restore's destination side."""
        return {
            Step.IMPORT: lambda context: self._import(context, request.url, writable=True),
            Step.PRODUCE: lambda context: self.produce(context, request.volume, Rights.READ),
            Step.COPY: lambda context: self._copy_back(context, request),
            Step.VERIFY: self.verify,
            Step.DELETE_SERVER: self.delete_server,
            Step.RELEASE_IMPORT: self.release_import,
        }

    def _import(self, context: EffectContext, url: str, *, writable: bool) -> Facts:
        imported = self.array.import_volume(url, name=f"run-{context.run_id}", writable=writable, owner=context.run_id)
        return Facts({"import_url": imported.url})

    def produce(self, context: EffectContext, volume: str, rights: Rights) -> Facts:
        """Produce the virtual server with credentials of its own; its mover waits for the job."""
        if rights is Rights.WRITE:
            BackupStore.open(self.location, create=True).close()  # the mover finds a store, and never makes one
        issued = self.grants.issue(Grant(context.run_id, volume, rights))
        handle = self.servers.produce(
            ServerSpec(
                server_id=server_id(context.run_id),
                run_id=context.run_id,
                command=mover_command(),
                environment={
                    ACCESS_KEY_VARIABLE: issued.access_key,
                    SECRET_KEY_VARIABLE: issued.secret_key,
                    SESSION_TOKEN_VARIABLE: issued.session_token,
                },
                memory_bytes=self.settings.memory_mib << 20,
                cpus=self.settings.cpus,
                processes=self.settings.processes,
                files=self._tls_files(),
                reachable=reachable(context.facts.text("import_url"), self.location.endpoint_url, self._own_tls()),
            )
        )
        self._keep_only_while_ours(context)
        self._conversation = MoverConversation(handle, stall_timeout_s=self.settings.patience_s())
        return Facts({"server_id": handle.info.server_id})

    def close(self) -> None:
        """Hang up on the mover, which then ends without committing; the virtual server itself is not deleted."""
        if self._conversation is not None:
            self._conversation.close()
            self._conversation = None

    def _keep_only_while_ours(self, context: EffectContext) -> None:
        """Delete the server again when the lease was lost meanwhile: whoever took the run over may be past deleting."""
        try:
            context.hold.check()
        except FencedError:
            self._end(context.run_id)
            raise

    def _end(self, run_id: str) -> None:
        """End the virtual server, then its credentials."""
        self.servers.delete(server_id(run_id))
        self.grants.end(run_id)

    def _copy(self, context: EffectContext, request: BackupRequest) -> Facts:
        conversation = self._speaking()
        conversation.start(
            BackupJob(
                run_id=context.run_id,
                fencing_token=request.fencing_token,
                volume=request.volume,
                source=request.source,
                url=self._export_url(context),
                store=self._address(),
                mode=CopyMode(request.mode.value),
                tls=self._tls_paths(),
                split_at=request.split_at,
                split_id=request.split_id,
                previous_split_id=request.previous_split_id,
                tells_pair=request.tells_pair and self.array.capabilities.passes_contexts,
                block_bytes=request.block_bytes,
                threads=self.settings.threads,
                line_timeout_s=self.settings.line_timeout_s,
            )
        )
        conversation.wait_copied(self.on_progress)
        return Facts(_stall_facts(conversation))

    def commit(self, context: EffectContext) -> Facts:  # noqa: ARG002  an effect's signature
        """Give the mover leave to commit, and learn the version."""
        return Facts(version_facts(self._speaking().commit()))

    def fence(self, context: EffectContext) -> Facts:
        """End the mover for good, then ask the store whether it had committed."""
        self._end(context.run_id)
        volume = context.facts.text("volume")
        with BackupStore.open(self.location) as store:
            version = store.version_of_run(volume, context.run_id)
        if version is None:
            return Facts({"committed": False})
        return Facts({"committed": True, **version_facts(version)})

    def _copy_back(self, context: EffectContext, request: RestoreRequest) -> Facts:
        conversation = self._speaking()
        conversation.start(
            RestoreJob(
                run_id=context.run_id,
                volume=request.volume,
                version_id=request.version_id,
                url=self._export_url(context),
                store=self._address(),
                tls=self._tls_paths(),
                verify=True,
                threads=self.settings.threads,
                line_timeout_s=self.settings.line_timeout_s,
            )
        )
        done = conversation.wait_restored(self.on_progress)
        written = {"bytes_written": done.bytes_written, "bytes_zeroed": done.bytes_zeroed}
        return Facts({**written, **_stall_facts(conversation)})

    def verify(self, context: EffectContext) -> Facts:  # noqa: ARG002  an effect's signature
        """Wait until the mover has read the target back and found it equal to the version."""
        self._speaking().wait_verified(self.on_progress)
        return NO_FACTS

    def delete_server(self, context: EffectContext) -> Facts:
        """Delete the virtual server, whatever state it is in."""
        self._end(context.run_id)
        self.close()
        return NO_FACTS

    def release_import(self, context: EffectContext) -> Facts:
        """Detach from the other array."""
        self.array.release(f"run-{context.run_id}", owner=context.run_id)
        return NO_FACTS

    def _speaking(self) -> MoverConversation:
        if self._conversation is None:
            raise NotFoundError(
                "the mover's conversation",
                expected="the virtual server that this process produced",
                found="none",
                cause="a defect: the run was resumed without producing a virtual server",
                next_step="report it with the run's journal",
            )
        return self._conversation

    def _address(self) -> StoreAddress:
        at = self.location
        return StoreAddress(at.endpoint_url, at.bucket, at.prefix, at.region, at.outage_s)

    def _speaks_for_mover(self) -> bool:
        """Whether the driver stands between the mover and the array, and so keeps the certificates to itself."""
        return self.servers.isolation.network

    def _export_url(self, context: EffectContext) -> str:
        url = context.facts.text("import_url")
        return without_tls(url) if self._speaks_for_mover() else url

    def _own_tls(self) -> TlsFiles | None:
        tls = self.tls
        return None if tls is None else TlsFiles(ca=tls.ca, certificate=tls.certificate, key=tls.key)

    def _tls_files(self) -> dict[str, str]:
        """Return the certificates' texts under the names that the mover is told."""
        if self.tls is None or self._speaks_for_mover():
            return {}
        here = (self.tls.ca, self.tls.certificate, self.tls.key)
        there = (_INSIDE.ca, _INSIDE.certificate, _INSIDE.key)
        return {str(inside): _text_of(path) for path, inside in zip(here, there, strict=True)}

    def _tls_paths(self) -> TlsPaths | None:
        return None if self.tls is None or self._speaks_for_mover() else _INSIDE


def server_id(run_id: str) -> str:
    """Return the id of the virtual server of a run."""
    return f"{_SERVER_PREFIX}{run_id}"


def run_of(server: str) -> str:
    """Return the run whose virtual server has this id."""
    return server.removeprefix(_SERVER_PREFIX)


def _text_of(path: Path) -> str:
    try:
        return path.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(
            f"TLS file '{path}'",
            expected="a PEM file that the destination site can read",
            found=str(error),
            cause="a wrong path in the settings, or a file of another user",
            next_step="correct section [destination.array.tls]",
        ) from error


def _stall_facts(conversation: MoverConversation) -> dict[str, FactValue]:
    return {"longest_stall_ms": round(conversation.longest_stall_s * 1000)}


def version_facts(version: Version) -> dict[str, FactValue]:
    """Return what a run records of the version it committed."""
    return dict(answer_of(version).model_dump(exclude_unset=True))  # what the copy recorded stays


def answer_of(version: Version) -> BackupAnswer:
    """Return a version as the source site gets to know it."""
    counted = version.statistics
    return BackupAnswer(
        version_id=version.version_id,
        blocks_total=counted.blocks_total,
        blocks_read=counted.blocks_read,
        blocks_zero=counted.blocks_zero,
        blocks_skipped_by_hint=counted.blocks_skipped_by_hint,
        blocks_unchanged=counted.blocks_unchanged,
        blocks_stored=counted.blocks_stored,
        bytes_read=counted.bytes_read,
        bytes_stored=counted.bytes_stored,
        point_in_time=version.point_in_time,
    )
