"""Reading the figures that earlier stages wrote."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from bigseg.errors import UserError
from bigseg.layout import MADE_AGAIN


def read_figures(path: Path, names: Iterable[str] = ()) -> dict[str, Any]:
    """The figures in a JSON file, of which some must be there.

    Raises:
        UserError: the file is missing or damaged.
    """
    try:
        found = dict(json.loads(path.read_text(encoding="utf-8")))
        if missing := [name for name in names if name not in found]:
            raise ValueError(f"without {', '.join(missing)}")
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: is missing or damaged ({error})", MADE_AGAIN) from error
    return found
