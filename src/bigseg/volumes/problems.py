"""Turn what the file libraries raise into the one exception that users see."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from bigseg.errors import UserError

DAMAGED = "check that the copy or export of the file was complete (compare its size), and write it again if not"


@contextmanager
def explained(path: Path, doing: str, remedy: str = DAMAGED) -> Iterator[None]:
    """Raise any error of a library as a UserError.

    Args:
        path: the file being read.
        doing: what failed, after "cannot", e.g. ``open it as HDF5``.
        remedy: what the user can do.

    Raises:
        UserError: anything failed within; the library's own words are quoted.
    """
    try:
        yield
    except (UserError, MemoryError):
        raise
    except PermissionError as error:
        raise UserError(f"{path} may not be read", "give yourself permission to read it (chmod, chown)") from error
    # Damaged files make TIFF, HDF5, Zarr and codec libraries raise about any type there is.
    except Exception as error:
        words = str(error).strip().splitlines()
        reason = words[0][:300] if words else type(error).__name__
        raise UserError(f"{path}: cannot {doing}: {reason}", remedy) from error
