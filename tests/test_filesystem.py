"""ext4 images are made and read back without root."""

from __future__ import annotations

import io
import subprocess
from pathlib import Path

import pytest
from tools import tool

from nightwell.errors import FormatError, InputError, NotFoundError
from nightwell.filesystem import Ext4Reader, make_ext4


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    source = tmp_path / "well"
    (source / "scans" / "deep").mkdir(parents=True)
    (source / "scans" / "deep" / "chunk").write_bytes(bytes(range(256)) * 9000)
    (source / "scans" / "zarr.json").write_text("{}")
    (source / "scans" / "link").symlink_to("/etc/passwd")
    (source / "empty").mkdir()
    return source


def test_a_folder_comes_back_as_it_was(folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_ext4(folder, image, 16 << 20)
    subprocess.run([tool("e2fsck"), "-fn", str(image)], check=True, capture_output=True)
    with image.open("rb", buffering=0) as stream:
        written = Ext4Reader(stream).extract("/", tmp_path / "out")
    assert written == 256 * 9000 + 2
    out = tmp_path / "out"
    assert (out / "scans/deep/chunk").read_bytes() == (folder / "scans/deep/chunk").read_bytes()
    assert sorted(p.name for p in out.rglob("*")) == ["chunk", "deep", "empty", "scans", "zarr.json"]


def test_a_listing_names_sizes(folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_ext4(folder, image, 16 << 20)
    with image.open("rb") as stream:
        found = {str(e.path): (e.is_folder, e.size_bytes) for e in Ext4Reader(stream).entries("/scans")}
    assert found["/scans/zarr.json"] == (False, 2)
    assert found["/scans/deep"][0]
    assert "/scans/link" not in found


def test_a_path_that_is_not_there_is_named(folder: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    make_ext4(folder, image, 16 << 20)
    with image.open("rb") as stream, pytest.raises(NotFoundError, match="/nowhere"):
        Ext4Reader(stream).extract("/nowhere", tmp_path / "out")


def test_other_bytes_are_refused() -> None:
    with pytest.raises(FormatError, match="ext4"):
        Ext4Reader(io.BytesIO(bytes(1 << 20)))


def test_a_folder_that_does_not_fit_is_refused_and_leaves_nothing(folder: Path, tmp_path: Path) -> None:
    (folder / "large").write_bytes(bytes(range(256)) * 80_000)
    with pytest.raises(InputError, match="larger"):
        make_ext4(folder, tmp_path / "image", 9 << 20)
    assert not (tmp_path / "image").exists()
