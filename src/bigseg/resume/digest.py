"""Short fingerprints of arrays and of settings."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xxhash

if TYPE_CHECKING:
    import numpy as np


def digest_arrays(*arrays: np.ndarray) -> str:
    """128-bit fingerprint (hex) of the types, shapes and values of ``arrays``, whatever their layout and byte order."""
    import numpy as np

    state = xxhash.xxh3_128()
    for array in arrays:
        dtype = array.dtype.newbyteorder("<")
        state.update(f"{dtype.str}{array.shape}".encode())
        state.update(np.ascontiguousarray(array, dtype).reshape(-1).view(np.uint8).data)
    return state.hexdigest()


def digest_file(path: Path) -> str:
    """128-bit fingerprint (hex) of the bytes of a file.

    Raises:
        OSError: it cannot be read.
    """
    state = xxhash.xxh3_128()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            state.update(part)
    return state.hexdigest()


def digest_json(value: Any) -> str:
    """128-bit fingerprint (hex) of anything that JSON can express; the order of keys does not matter."""
    return xxhash.xxh3_128_hexdigest(json.dumps(value, sort_keys=True, separators=(",", ":")).encode())
