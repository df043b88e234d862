"""JSON files that steps write: what they hold, and whether it is still what was written."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.layout import MADE_AGAIN
from bigseg.resume.digest import digest_json


def read_figures(path: Path, names: Iterable[str] = ()) -> Any:
    """The content of a JSON file, an object that has all ``names`` if there are any.

    Raises:
        UserError: it is missing or damaged.
    """
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
        wanted = list(names)
        if wanted and not isinstance(found, dict):
            raise ValueError("no object")
        if missing := [name for name in wanted if name not in found]:
            raise ValueError(f"without {', '.join(missing)}")
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is missing or damaged ({error})", MADE_AGAIN) from error
    return found


def holds_figures(path: Path, digest: str) -> bool:
    """Whether a JSON file still has the content with that fingerprint."""
    try:
        return digest_json(read_figures(path)) == digest
    except UserError:
        return False
