"""A volume as a chain of files: the oldest raw, each further one a qcow2 overlay over the one before.

Nodes are named by number, for the daemon takes 31 characters and no more. TRIM is not carried out: a raw file frees
any 4 KiB and an overlay only whole clusters, so P and S would read differently after it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from nightwell.arrays.qemu.daemon import MonitorError, StorageDaemon

_CLUSTER_BYTES = 64 << 10


class Layers:
    """The open chain of one volume.

    Parameters
    ----------
    daemon
        Who holds the files open.
    folder
        Where the files are.
    files
        Their names, the oldest first.
    number
        Gives a number that was never used before in this process.
    """

    def __init__(self, daemon: StorageDaemon, folder: Path, files: tuple[str, ...], number: Callable[[], int]) -> None:
        self._daemon = daemon
        self._folder = folder
        self._number = number
        self.files: list[str] = []
        self.nodes: list[str] = []
        self._protocols: dict[str, str] = {}  # of nodes whose file was opened apart from them
        for file in files:
            self._open(file, backing=self.nodes[-1] if self.nodes else None)

    @property
    def active(self) -> str:
        """Node that the host reads and writes."""
        return self.nodes[-1]

    def draft(self, file: str, size_bytes: int) -> str:
        """Make an overlay and open it, not yet on top; return its node."""
        (self._folder / file).touch(mode=0o600)
        protocol = f"f{self._number()}"
        self._daemon.command(
            "blockdev-add", driver="file", node_name=protocol, filename=str(self._folder / file), discard="ignore"
        )
        job = f"make{self._number()}"
        options = {"driver": "qcow2", "file": protocol, "size": size_bytes, "cluster-size": _CLUSTER_BYTES}
        self._daemon.command("blockdev-create", job_id=job, options=options)
        self._daemon.finish(job)
        node = f"n{self._number()}"
        self._daemon.command_with(
            "blockdev-add",
            {"driver": "qcow2", "node-name": node, "file": protocol, "discard": "ignore", "backing": None},
        )
        self._protocols[node] = protocol
        return node

    def drop_draft(self, file: str, node: str) -> None:
        """Close and delete an overlay that did not come to be used."""
        self._close(node)
        (self._folder / file).unlink(missing_ok=True)

    def adopt(self, file: str, node: str) -> None:
        """Take note that the daemon has put a drafted overlay on top."""
        self.files.append(file)
        self.nodes.append(node)

    def fold_middle(self) -> list[str]:
        """Write what lies between the first and the last file into the first; return the files no longer in use.

        The host goes on writing to the last. Done again after it was cut short it gives the same.
        """
        if len(self.nodes) <= 2:  # noqa: PLR2004  the first and the last
            return []
        job = f"fold{self._number()}"
        self._daemon.command(
            "block-commit",
            job_id=job,
            device=self.active,
            top_node=self.nodes[-2],
            base_node=self.nodes[0],
            auto_dismiss=False,
        )
        self._daemon.finish(job)
        return self._forget(slice(1, -1))

    def fold_all(self) -> list[str]:
        """Write every overlay into the first file; return the files no longer in use."""
        if len(self.nodes) == 1:
            return []
        job = f"fold{self._number()}"
        self._daemon.command(
            "block-commit", job_id=job, device=self.active, base_node=self.nodes[0], auto_dismiss=False
        )
        self._daemon.finish(job)
        return self._forget(slice(1, None))

    def resize(self, size_bytes: int) -> None:
        """Make what the host sees larger."""
        self._daemon.command("block_resize", node_name=self.active, size=size_bytes)

    def sync(self) -> None:
        """Bring to the disk what the daemon has written; the tables of an active overlay are in its memory."""
        for file in self.files:
            descriptor = os.open(self._folder / file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)

    def close(self) -> None:
        """Close all files."""
        for node in reversed(self.nodes):
            self._close(node)
        self.nodes, self.files = [], []

    def _forget(self, which: slice) -> list[str]:
        gone, nodes = self.files[which], self.nodes[which]
        del self.files[which], self.nodes[which]
        for node in reversed(nodes):
            self._close(node)
        return gone

    def _close(self, node: str) -> None:
        try:
            self._daemon.command("blockdev-del", node_name=node)
        except MonitorError as error:
            if "find node" not in error.found:  # a commit has taken it away itself
                raise
        protocol = self._protocols.pop(node, None)
        if protocol is not None:
            self._daemon.command("blockdev-del", node_name=protocol)

    def _open(self, file: str, *, backing: str | None) -> None:
        node = f"n{self._number()}"
        self._daemon.command_with(
            "blockdev-add",
            {
                "driver": "raw" if backing is None else "qcow2",
                "node-name": node,
                "file": {"driver": "file", "filename": str(self._folder / file), "discard": "ignore"},
                "discard": "ignore",
                **({} if backing is None else {"backing": backing}),
            },
        )
        self.adopt(file, node)
