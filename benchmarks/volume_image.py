"""The volume that is backed up: half zeros, a quarter random, a quarter compressible; and what a host changes in it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

MIB = 1 << 20
_SECTION_BYTES = 8 * MIB  # the kinds of data alternate in sections of this size
_PIECE_BYTES = 64 << 10
_RUN_BYTES = 4 * MIB
_SECTOR_BYTES = 4096  # where a host's writes begin
_CHANGED_SHARE = 0.01
_WORD_BYTES = 8
_WORDS = 1024

Bytes = npt.NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Change:
    """One piece that the host wrote."""

    offset_bytes: int
    length_bytes: int


def make_image(path: Path, size_bytes: int, *, seed: int = 1) -> None:
    """Write the image; zero sections stay holes, as in a volume that was never filled."""
    generator = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.truncate(size_bytes)
        for number, start in enumerate(range(0, size_bytes, _SECTION_BYTES)):
            length = min(_SECTION_BYTES, size_bytes - start)
            kind = number % 4
            if kind in {0, 2}:
                continue
            file.seek(start)
            file.write((_random if kind == 1 else _compressible)(generator, length).tobytes())


def change_in_runs(path: Path, *, seed: int) -> list[Change]:
    """Rewrite 1 % of the image in a few long runs."""
    return _change(path, piece_bytes=_RUN_BYTES, seed=seed)


def change_scattered(path: Path, *, seed: int) -> list[Change]:
    """Rewrite 1 % of the image in 64 KiB pieces, which begin at any multiple of 4 KiB."""
    return _change(path, piece_bytes=_PIECE_BYTES, seed=seed)


def write_changes(path: Path, changes: list[Change]) -> None:
    """Write a change list: pairs of offset and length."""
    path.write_text(json.dumps([[change.offset_bytes, change.length_bytes] for change in changes]))


def read_changes(path: Path) -> list[Change]:
    """Read what :func:`write_changes` wrote."""
    return [Change(int(offset), int(length)) for offset, length in json.loads(path.read_text())]


def _change(path: Path, *, piece_bytes: int, seed: int) -> list[Change]:
    generator = np.random.default_rng(seed)
    size_bytes = path.stat().st_size
    changes = list(_places(generator, size_bytes, piece_bytes))
    with path.open("r+b") as file:
        for number, change in enumerate(changes):
            make = _random if number % 2 else _compressible
            file.seek(change.offset_bytes)
            file.write(make(generator, change.length_bytes).tobytes())
    return changes


def _places(generator: np.random.Generator, size_bytes: int, piece_bytes: int) -> Iterator[Change]:
    """Spread pieces over the volume: one at a random place of each of as many equal stretches."""
    wanted = int(size_bytes * _CHANGED_SHARE)
    piece_bytes = min(piece_bytes, max(_PIECE_BYTES, wanted // _SECTOR_BYTES * _SECTOR_BYTES))
    count = max(1, wanted // piece_bytes)
    stretch = size_bytes // count
    for number in range(count):
        room = max(1, (stretch - piece_bytes) // _SECTOR_BYTES)
        yield Change(number * stretch + int(generator.integers(room)) * _SECTOR_BYTES, piece_bytes)


def _random(generator: np.random.Generator, length: int) -> Bytes:
    return np.frombuffer(generator.bytes(length), dtype=np.uint8)


def _compressible(generator: np.random.Generator, length: int) -> Bytes:
    """Return text-like data: words from a small vocabulary in random order, so that no piece repeats another."""
    vocabulary = np.random.default_rng(0).integers(97, 123, size=(_WORDS, _WORD_BYTES), dtype=np.uint8)
    count = -(-length // _WORD_BYTES)
    return vocabulary[generator.integers(_WORDS, size=count)].reshape(-1)[:length]
