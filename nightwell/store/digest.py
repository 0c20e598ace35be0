"""Digests of blocks: BLAKE3, keyed by the store.

The key is derived from the store's id, so digests of two stores cannot be compared with each other. It is no secret:
whoever can read the store can compute it. A digest covers the whole block as it is decoded, zeros of padding included.
A row of zeros in the index stands for a block of zeros, which is not stored.
"""

from __future__ import annotations

from typing import Final

import numpy as np
import numpy.typing as npt
from blake3 import blake3

DIGEST_BYTES: Final = 32

Digests = npt.NDArray[np.uint8]

_CONTEXT = "nightwell store 1: digests of blocks"


class Digester:
    """Computes the digests of one store.

    Parameters
    ----------
    store_id
        The id in the store's format document.
    """

    def __init__(self, store_id: str) -> None:
        self.key = blake3(store_id.encode(), derive_key_context=_CONTEXT).digest()

    def digest(self, block: bytes | memoryview) -> bytes:
        """Return the digest of one whole block, 32 bytes; releases the interpreter's lock."""
        return blake3(block, key=self.key).digest()

    def fingerprint(self, rows: Digests) -> str:
        """Return the digest of a version's digests, in hexadecimal: rows of blocks of zeros count as zeros."""
        return blake3(np.ascontiguousarray(rows).data.cast("B"), key=self.key).hexdigest()
