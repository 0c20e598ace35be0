"""What an array serves, as drivers record it: exports of its volumes, and imports of other arrays' exports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nightwell.arrays import refusals
from nightwell.arrays.port import Export


@dataclass(frozen=True, slots=True)
class ExportRecord:
    """One served volume."""

    name: str
    volume: str
    writable: bool
    owner: str | None = None

    def shown(self, base_url: str, connections: int | None) -> Export:
        """Return it as the port shows it."""
        return Export(self.name, self.volume, f"{base_url}/{self.name}", self.writable, connections, self.owner)


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One attached export of another array."""

    name: str
    url: str
    writable: bool
    size_bytes: int
    owner: str | None = None

    def shown(self, base_url: str, connections: int | None) -> Export:
        """Return it as the port shows it."""
        here = f"{base_url}/{self.name}"
        return Export(self.name, self.name, here, self.writable, connections, self.owner, imported_from=self.url)


def is_recorded(
    wanted: ExportRecord | ImportRecord, exports: Mapping[str, ExportRecord], imports: Mapping[str, ImportRecord]
) -> bool:
    """Say whether just this is served already; ConflictError when its name serves something else."""
    existing = exports.get(wanted.name) or imports.get(wanted.name)
    if existing is not None and existing != wanted:
        kind = "export" if isinstance(wanted, ExportRecord) else "import"
        raise refusals.exists_otherwise(f"{kind} {wanted.name!r}", str(wanted), str(existing))
    return existing is not None
