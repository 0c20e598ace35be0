"""How large a block of a volume is.

Small blocks store scattered changes tightly; large blocks keep the index of a large volume small. With 1 % of a volume
rewritten in scattered 64 KiB pieces, 4 MiB blocks store more than thirty times what 64 KiB blocks store, and packs make
small blocks as cheap to write as large ones. What speaks against them is the index: see :data:`MAX_BLOCKS`.
"""

from __future__ import annotations

from nightwell.errors import InputError

#: The block of a volume that leaves the choice to us, up to ``MAX_BLOCKS`` of them; see the module's reason.
DEFAULT_BLOCK_BYTES = 64 << 10

#: Above this many blocks the default block doubles. A stored block costs about 0.35 KiB of memory until its version is
#: committed (measured), and a mover has 512 MiB for everything: its memory must not follow the volume's size.
MAX_BLOCKS = 1 << 19

SMALLEST_BLOCK_BYTES = 4 << 10
LARGEST_BLOCK_BYTES = 16 << 20


def default_block_bytes(size_bytes: int) -> int:
    """Return the block size in bytes for a new volume of ``size_bytes``.

    The largest block is 16 MiB: beyond 8 TiB the number of blocks grows, and so does the memory of a backup that stores
    most of them.
    """
    block_bytes = DEFAULT_BLOCK_BYTES
    while block_count(size_bytes, block_bytes) > MAX_BLOCKS and block_bytes < LARGEST_BLOCK_BYTES:
        block_bytes *= 2
    return block_bytes


def check_block_bytes(block_bytes: int) -> int:
    """Return a block size that the store can hold, else raise InputError."""
    is_power = block_bytes > 0 and block_bytes & (block_bytes - 1) == 0
    if not is_power or not SMALLEST_BLOCK_BYTES <= block_bytes <= LARGEST_BLOCK_BYTES:
        raise InputError(
            f"block size {block_bytes}",
            expected=f"a power of two from {SMALLEST_BLOCK_BYTES} to {LARGEST_BLOCK_BYTES} bytes",
            found=f"{block_bytes} bytes",
            cause="the size was given in another unit",
            next_step="leave the block size out, or give one of these powers of two",
        )
    return block_bytes


def block_count(size_bytes: int, block_bytes: int) -> int:
    """Return how many blocks hold ``size_bytes``; the last one may be padded with zeros."""
    return -(-size_bytes // block_bytes)
