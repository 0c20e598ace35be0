"""A small volume with an ext4 file system on it, for commands that look into a version."""

from __future__ import annotations

from pathlib import Path

from machine import MIB, Machine

from nightwell.filesystem import SMALLEST_IMAGE_BYTES, make_ext4

SIZE_BYTES = SMALLEST_IMAGE_BYTES
NOTE = "3,415 m: gas peak\n" * 100


def make_well_volume(machine: Machine, name: str, folder: Path) -> None:
    """Make a volume of 8 MiB whose file system holds ``/logs/note.txt`` and ``/logs/[a].txt``."""
    files = folder / f"{name}-files"
    (files / "logs").mkdir(parents=True)
    (files / "logs" / "note.txt").write_text(NOTE)
    (files / "logs" / "[a].txt").write_text("a name in brackets")
    image = folder / f"{name}.img"
    make_ext4(files, image, SIZE_BYTES)
    machine.make_volume(name, SIZE_BYTES)
    data = image.read_bytes()
    for offset_bytes in range(0, SIZE_BYTES, MIB):
        piece = data[offset_bytes : offset_bytes + MIB]
        if piece.strip(b"\0"):
            machine.write(name, offset_bytes, piece)
